/** A replica with all that is known of it: where its node is, for how long, and what becomes of it. */
import type { Memory } from "./memory.ts";
import type { Departure, Group, Inputs, Policy, Replica, ViewMember } from "./types.ts";
import { spell, spellOf } from "./words.ts";

export const Fate = {
  stays: "stays",
  /** Its node left on purpose or is about to, or was kicked. */
  left: "left",
  /** Its data is gone: nobody comes back as this replica. */
  lost: "lost",
  /** Nothing was seen or heard of it for so long that it is given up. */
  dead: "dead",
} as const;
export type Fate = (typeof Fate)[keyof typeof Fate];

export interface Seat {
  readonly replica: Replica;
  /** Its node in the view. */
  readonly member: ViewMember | undefined;
  readonly isSelf: boolean;
  readonly zone: string;
  readonly fate: Fate;
  readonly departure: Departure | undefined;
  /** Its node says that it has no replica, or another one has its name and address. */
  readonly isDisowned: boolean;
  /** The node is the same and has to be given a new replica id, once this one is taken out. */
  readonly isVacant: boolean;
  /** For how long its node is in the view as this replica; undefined while it is not. */
  readonly presentMs: number | undefined;
  readonly absentMs: number | undefined;
  /** For how long the leader is in contact with it; undefined while it is not. */
  readonly contactMs: number | undefined;
  readonly silentMs: number | undefined;
  /** Out of the view and out of contact, for as long as both are so; 0 while one is not. */
  readonly goneMs: number;
  /** Entries that it lacks. */
  readonly behind: number;
  /** Why it cannot have a vote now, as sentences; empty when it can. */
  readonly hindrances: readonly string[];
}

export function seatsOf(
  inputs: Inputs,
  memory: Memory,
  policy: Policy,
  nowMs: number,
): readonly Seat[] {
  const byNode = new Map(inputs.view.members.map((member) => [member.nodeId, member]));
  const places = new Map(inputs.view.members.map((member) => [placeOf(member), member.nodeId]));
  return inputs.group.replicas.map((replica) => {
    const { id, nodeId } = replica;
    const member = byNode.get(nodeId);
    const presence = memory.presence(id);
    const contact = memory.contact(id);
    const presentMs = presence.isThere ? nowMs - presence.sinceMs : undefined;
    const absentMs = presence.isThere ? undefined : nowMs - presence.sinceMs;
    const contactMs = contact.isThere ? nowMs - contact.sinceMs : undefined;
    const silentMs = contact.isThere ? undefined : nowMs - contact.sinceMs;
    const isVacant = member !== undefined && !presence.isThere;
    const successor = places.get(placeOf(replica));
    const isSuperseded = member === undefined && successor !== undefined;
    const departure = member === undefined
      ? inputs.departures.get(nodeId)
      : member.isLeaving
      ? "left"
      : undefined;
    const isDisowned = isVacant || isSuperseded;
    const goneMs = absentMs === undefined || silentMs === undefined
      ? 0
      : Math.min(absentMs, silentMs);
    const seat = {
      replica,
      member,
      isSelf: id === inputs.group.self,
      zone: memory.zone(id),
      departure,
      isDisowned,
      isVacant,
      presentMs,
      absentMs,
      contactMs,
      silentMs,
      goneMs,
      behind: Math.max(0, inputs.group.lastIndex - replica.match),
    };
    return {
      ...seat,
      fate: fateOf(seat, policy),
      hindrances: hindrancesOf(seat, inputs.group, policy),
    };
  });
}

type Bare = Omit<Seat, "fate" | "hindrances">;

/** One configuration has one name and one address: it is the same machine with an empty directory. */
function placeOf({ name, address }: { readonly name: string; readonly address: string }): string {
  return `${name} ${address}`;
}

function fateOf(seat: Bare, policy: Policy): Fate {
  const { departure, isSelf, isDisowned, goneMs } = seat;
  if (departure !== undefined) return Fate.left;
  if (isSelf) return Fate.stays;
  if (goneMs < limitOf(seat, policy)) return Fate.stays;
  return isDisowned ? Fate.lost : Fate.dead;
}

/** For how long it has to be gone until it is given up. */
export function limitOf(
  { replica, isDisowned }: Pick<Seat, "replica" | "isDisowned">,
  policy: Policy,
): number {
  if (replica.isVoter) return policy.replaceAfterMs;
  // Nobody counts on a learner, and this one will not come back.
  return isDisowned ? Math.min(policy.stabilizeMs, policy.removeAfterMs) : policy.removeAfterMs;
}

/** Whether it has about what the leader has, or lacks nothing that a majority has. */
function hasCaughtUp(
  replica: Replica,
  { lastIndex, committed }: Group,
  behindMax: number,
): boolean {
  if (replica.match === 0 || replica.inSnapshot) return false;
  return lastIndex - replica.match <= behindMax || replica.match >= committed;
}

function hindrancesOf(seat: Bare, group: Group, policy: Policy): string[] {
  const { replica, member, presentMs, contactMs, isVacant, behind } = seat;
  const { stabilizeMs, behindMax } = policy;
  const why: string[] = [];
  if (isVacant) why.push("says that it has lost its replica");
  else if (member === undefined) why.push("is not in the view");
  else if (member.isLeaf) why.push("is a leaf, which never votes");
  if (presentMs !== undefined && presentMs < stabilizeMs) {
    why.push(`is in the view for ${spellOf(presentMs, stabilizeMs)}`);
  }
  if (contactMs === undefined) why.push("is out of the leader's contact");
  else if (contactMs < stabilizeMs) {
    why.push(`is in the leader's contact for ${spellOf(contactMs, stabilizeMs)}`);
  }
  if (!hasCaughtUp(replica, group, behindMax)) {
    why.push(
      replica.inSnapshot
        ? "is being sent a snapshot"
        : `lacks ${behind} entries, and may lack ${behindMax}`,
    );
  }
  if (!replica.hasRoom) why.push("has a disk that is nearly full");
  return why;
}

/** In view, in contact, and for so long both: the steadier, the better a voter. */
export function steadyMs({ presentMs, contactMs }: Seat): number {
  return Math.min(presentMs ?? 0, contactMs ?? 0);
}

/** Where it is, and how long it may stay so, as sentences. */
export function whereabouts(seat: Seat, policy: Policy): string[] {
  const { absentMs, silentMs, isVacant, isDisowned, isSelf, departure, member, goneMs } = seat;
  if (departure !== undefined) {
    if (member !== undefined) return ["is about to leave"];
    return [departure === "left" ? "left on purpose" : "was kicked out of the cluster"];
  }
  if (isSelf) return member === undefined ? ["leads, and is not in the view"] : [];
  const limitMs = limitOf(seat, policy);
  if (absentMs === undefined) {
    if (silentMs === undefined) return [];
    return [
      `is in the view, but out of the leader's contact for ${spell(silentMs)}: it is kept`,
    ];
  }
  const what = isVacant
    ? "has lost its replica, and says so"
    : isDisowned
    ? "is out of the view, where another node has its name and address,"
    : "is out of the view";
  if (silentMs === undefined) {
    return [`${what} for ${spell(absentMs)}, but in the leader's contact: it is kept`];
  }
  return [`${what} for ${spellOf(absentMs, limitMs)}`].concat(
    silentMs < absentMs || goneMs < limitMs
      ? [`is out of the leader's contact for ${spellOf(silentMs, limitMs)}`]
      : [],
  );
}
