/** Whether a change that an operator asks for is one that the group can live with. */
import { Code, CoveyError } from "../base/error.ts";
import type { Clock } from "../runtime/port.ts";
import { rootGroup } from "./cluster.ts";
import { Role } from "./core/ready.ts";
import type { MemberStatus, Status } from "./core/status.ts";
import type { GroupOfAny, RequestOptions } from "./group_types.ts";
import { leaderDetail } from "./leader_detail.ts";
import type { Member } from "./members.ts";
import { bestSuccessor } from "./successor.ts";

/** A learner that lacks no more entries than this has caught up. */
const behindMax = 1_000;
/** How often a leader that was elected a moment ago looks whom it has heard of. */
const lookMs = 20;

/**
 * Resolves when a leader has no objection, and rejects with the objection otherwise. One that was
 * elected a moment ago has heard of nobody yet, and takes no change of the configuration before its
 * first entry is applied: it waits before it refuses, an election timeout at most.
 */
export async function judged(
  group: GroupOfAny,
  clock: Clock,
  { timeoutMs = Infinity, signal }: RequestOptions,
  objection: (status: Status) => CoveyError | undefined,
): Promise<void> {
  const { term } = group;
  const untilMs = clock.monotonicMs() + timeoutMs / 2;
  for (;;) {
    if (!group.leads || group.term !== term) throw notLeader(group);
    const status = group.status();
    const problem = objection(status);
    if (problem === undefined && group.isLeading) return;
    if (signal?.aborted || clock.monotonicMs() >= untilMs || status.hasHeard) {
      throw problem ?? notLeader(group);
    }
    await group.leaderChanged(lookMs, signal);
  }
}

export function notLeader(group: GroupOfAny): CoveyError {
  const { leader, role } = group;
  if (role === Role.leader) {
    return new CoveyError(
      Code.unavailable,
      "this node leads since a moment, and has not committed anything yet: try again",
    );
  }
  return new CoveyError(
    Code.unavailable,
    leader === undefined
      ? "there is no leader: try again"
      : `this node does not lead; ${leader.name} at ${leader.address} does`,
    { details: leader === undefined ? [] : [leaderDetail(group.id, leader)] },
  );
}

/** Throws when this replica can never be taken out as things are. */
export function checkRemoval(group: GroupOfAny, replica: number): void {
  const { voters } = group.status().configuration;
  if (group.members.get(replica) === undefined) throw unknownReplica(group, replica);
  if (voters.length === 1 && voters[0] === replica) {
    throw new CoveyError(
      Code.failedPrecondition,
      `replica ${replica} is the only voter: add another one first`,
    );
  }
}

/** Why the group could not go on without this replica, as far as its leader has heard of the others. */
export function removalProblem(status: Status, replica: number): CoveyError | undefined {
  const { voters } = status.configuration;
  if (!voters.includes(replica)) return undefined;
  const alive = status.members.filter(({ id, recentActive }) =>
    voters.includes(id) && (recentActive || id === status.id)
  ).map(({ id }) => id);
  const left = voters.filter((id) => id !== replica);
  const leftAlive = left.filter((id) => alive.includes(id)).length;
  // The change must be committed by the old majority, and the new one must be able to go on.
  if (alive.length > Math.floor(voters.length / 2) && leftAlive > Math.floor(left.length / 2)) {
    return undefined;
  }
  return new CoveyError(
    Code.failedPrecondition,
    `without replica ${replica} only ${leftAlive} of ${left.length} voters would be there, ` +
      "which is no majority: bring another voter back or add one first",
  );
}

/** Throws when this replica can never become a voter as things are. */
export function checkPromotion(group: GroupOfAny, replica: number): void {
  const { configuration, members } = group.status();
  if (configuration.voters.includes(replica)) {
    throw new CoveyError(Code.failedPrecondition, `replica ${replica} is a voter already`);
  }
  if (!members.some(({ id }) => id === replica)) throw unknownReplica(group, replica);
}

/** A voter that lacks much of the log counts for the quorum and does not help it. */
export function promotionProblem(status: Status, replica: number): CoveyError | undefined {
  const progress = status.members.find(({ id }) => id === replica);
  if (progress !== undefined && hasCaughtUp(status, progress)) return undefined;
  return new CoveyError(
    Code.failedPrecondition,
    `learner ${replica} has not caught up: it lacks ` +
      `${status.lastIndex - (progress?.match ?? 0)} entries; try again later`,
  );
}

/** Why nobody could take over, as far as the leader has heard of the others. */
export function successionProblem(status: Status): CoveyError | undefined {
  return bestSuccessor(status) !== undefined ? undefined : new CoveyError(
    Code.failedPrecondition,
    "there is no other voter to hand over to",
  );
}

/** Why a node cannot become a replica, or go on becoming one, as it is. */
export function additionProblem(
  group: GroupOfAny,
  name: string,
  { member, isInCluster }: { readonly member: Member | undefined; readonly isInCluster: boolean },
): CoveyError | undefined {
  if (group.id !== rootGroup) {
    return isInCluster ? undefined : new CoveyError(
      Code.failedPrecondition,
      `node ${name} is in no cluster yet: add it to the key-value group first`,
    );
  }
  if (isInCluster) {
    return member !== undefined ? undefined : new CoveyError(
      Code.failedPrecondition,
      `node ${name} was removed from this cluster: stop it and give it an empty data directory`,
    );
  }
  if (member === undefined) return undefined;
  // It has forgotten how it voted, and what it acknowledged.
  const { configuration, members } = group.status();
  const match = members.find(({ id }) => id === member.replica)?.match ?? 0;
  if (match === 0 && configuration.learners.includes(member.replica)) return undefined;
  return new CoveyError(
    Code.failedPrecondition,
    `node ${name} was replica ${member.replica}, and its data is gone: remove replica ` +
      `${member.replica}, and start the node with an empty data directory`,
  );
}

export function unknownReplica(group: GroupOfAny, replica: number): CoveyError {
  return new CoveyError(Code.notFound, `group ${group.name} has no replica ${replica}`);
}

export function hasCaughtUp(status: Status, progress: MemberStatus): boolean {
  return progress.recentActive && progress.match + behindMax >= status.lastIndex &&
    progress.match >= status.committed - behindMax && progress.match > 0;
}
