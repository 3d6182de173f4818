/** What is said of each member: its role, the one that it is to have, and why. */
import { isFit } from "./candidates.ts";
import { Fate, limitOf, type Seat, steadyMs, whereabouts } from "./seat.ts";
import type { Newcomer, Situation } from "./situation.ts";
import type { Change, MemberReport, RoleName, TimerReport } from "./types.ts";
import { compareText, list } from "./words.ts";

/** Ascending by name, then by node id. */
export function membersOf(situation: Situation, change: Change | undefined): MemberReport[] {
  return [
    ...situation.seats.map((seat) => seatReport(seat, situation, change)),
    ...situation.newcomers.map((newcomer) => newcomerReport(newcomer, situation, change)),
  ].sort((a, b) =>
    compareText(a.name, b.name) || compareText(a.nodeId, b.nodeId) || a.replica - b.replica
  );
}

function seatReport(
  seat: Seat,
  { policy }: Situation,
  change: Change | undefined,
): MemberReport {
  const { replica, member, zone, behind, hindrances, isSelf } = seat;
  const reasons = whereabouts(seat, policy);
  if (replica.isVoter) {
    if (member?.isLeaf) reasons.push("is a leaf, which is to have no vote");
    if (!replica.hasRoom) reasons.push("has a disk that is nearly full");
  } else if (seat.fate === Fate.stays && reasons.length === 0) {
    reasons.push(
      hindrances.length === 0
        ? "is ready to become a voter"
        : `cannot become a voter: ${list(hindrances)}`,
    );
  }
  return {
    nodeId: replica.nodeId,
    name: member?.name ?? replica.name,
    address: member?.address ?? replica.address,
    replica: replica.id,
    zone,
    role: replica.isVoter ? "voter" : "learner",
    wanted: wantedOf(seat, change),
    inView: member !== undefined,
    inContact: replica.inContact || isSelf,
    behind,
    reasons,
    timers: timersOf(seat, policy),
  };
}

function wantedOf(seat: Seat, change: Change | undefined): RoleName {
  const { replica, fate, member } = seat;
  if (change?.kind === "voters") {
    if (change.promote.includes(replica.id)) return "voter";
    if (change.demote.includes(replica.id)) return "learner";
    if (change.remove.includes(replica.id)) return "none";
  }
  if (fate === Fate.left || fate === Fate.lost) return "none";
  if (fate === Fate.dead) return replica.isVoter ? "learner" : "none";
  if (replica.isVoter) return member === undefined || isFit(seat) ? "voter" : "learner";
  return member?.isLeaf === true ? "observer" : "learner";
}

function timersOf(seat: Seat, policy: Situation["policy"]): TimerReport[] {
  const { replica, goneMs, isSelf, fate } = seat;
  if (isSelf || fate === Fate.left) return [];
  if (goneMs > 0) {
    const what = replica.isVoter ? "replace" : "remove";
    return [{ what, elapsedMs: goneMs, limitMs: limitOf(seat, policy) }];
  }
  const elapsedMs = steadyMs(seat);
  if (replica.isVoter || elapsedMs >= policy.stabilizeMs) return [];
  return [{ what: "promote", elapsedMs, limitMs: policy.stabilizeMs }];
}

function newcomerReport(
  { member }: Newcomer,
  { inputs }: Situation,
  change: Change | undefined,
): MemberReport {
  const { nodeId, name, address, zone, isLeaf, isLeaving, standing } = member;
  const isNext = change?.kind === "add_learner" && change.nodeId === nodeId;
  const report = {
    nodeId,
    name,
    address,
    replica: 0,
    zone,
    role: isLeaf ? "observer" : "none",
    wanted: isNext ? "learner" : "observer",
    inView: true,
    inContact: false,
    behind: inputs.group.lastIndex,
    timers: [],
  } as const;
  if (isLeaving) return { ...report, wanted: "none", reasons: ["is about to leave"] };
  if (isLeaf) return { ...report, reasons: ["is a leaf: it observes"] };
  switch (standing) {
    case "vacant":
      return {
        ...report,
        reasons: [isNext ? "is to become a learner" : "has no replica, and none is needed now"],
      };
    case "unknown":
      return { ...report, reasons: ["has not said yet whether it has a replica"] };
    case "taken":
      return {
        ...report,
        reasons: ["has a replica that was removed: give it an empty data directory"],
      };
    case "foreign":
      return { ...report, reasons: ["has a replica of another cluster"] };
  }
}
