/** Whether a change that an operator asks for is one that the group can live with. */
import { Code, CoveyError } from "../base/error.ts";
import { rootGroup } from "./cluster.ts";
import { Role } from "./core/ready.ts";
import type { Status } from "./core/status.ts";
import type { GroupOfAny, RequestOptions } from "./group_types.ts";
import { leaderDetail } from "./leader_detail.ts";
import { declines, type SpaceHost } from "./low_space.ts";
import type { Member } from "./members.ts";
import { bestSuccessor } from "./successor.ts";

/** A learner that lacks no more entries than this has caught up. */
const behindMax = 1_000;

/**
 * Resolves when a leader has no objection, and rejects with the objection otherwise. One that was
 * elected a moment ago has heard of nobody yet, and takes no change of the configuration before its
 * first entry is applied: it waits before it refuses, an election timeout at most.
 */
export async function judged(
  group: GroupOfAny,
  { timeoutMs = Infinity, signal }: RequestOptions,
  objection: (status: Status) => CoveyError | undefined,
): Promise<void> {
  const { term } = group;
  const isLost = (): boolean => !group.leads || group.term !== term;
  await group.when(
    () => {
      const status = group.status();
      return isLost() || status.hasHeard || (group.isLeading && objection(status) === undefined);
    },
    timeoutMs / 2,
    signal,
  );
  if (group.stopped !== undefined) throw group.stopped;
  if (isLost()) throw notLeader(group);
  const problem = objection(group.status());
  if (problem !== undefined || !group.isLeading) throw problem ?? notLeader(group);
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
  if (hasCaughtUp(status, replica)) return undefined;
  const progress = status.members.find(({ id }) => id === replica);
  return new CoveyError(
    Code.failedPrecondition,
    `learner ${replica} has not caught up: it lacks ` +
      `${status.lastIndex - (progress?.match ?? 0)} entries; try again later`,
  );
}

/** Why nobody could take over, as far as the leader has heard of the others. */
export function successionProblem(host: SpaceHost, group: GroupOfAny): CoveyError | undefined {
  return bestSuccessor(host, group) !== undefined ? undefined : new CoveyError(
    Code.failedPrecondition,
    "there is no other voter to hand over to that is there and has room on its disk",
  );
}

/**
 * Resolves when a replica would take over, for all that this leader knows, and rejects otherwise.
 * What its node said last may be a heartbeat old: it gets a moment to say that it has room now.
 */
export async function willLead(
  host: SpaceHost,
  group: GroupOfAny,
  replica: number,
  { timeoutMs = Infinity, signal }: RequestOptions,
): Promise<void> {
  const isWilling = (): boolean => !group.leads || !declines(host, group, replica);
  await group.when(isWilling, Math.min(timeoutMs / 2, group.electionTimeoutMs), signal);
  if (!isWilling()) throw new CoveyError(Code.failedPrecondition, noRoom(replica));
}

function noRoom(replica: number): string {
  return `replica ${replica} leaves leading to others: the disk of its node is nearly full; make ` +
    "room on it";
}

/** Why a replica did not become the leader, as far as it shows here; undefined when it may yet. */
export function transferProblem(
  host: SpaceHost,
  group: GroupOfAny,
  replica: number,
): string | undefined {
  const status = group.status();
  const progress = status.members.find(({ id }) => id === replica);
  if (!group.leads || progress === undefined) return "this node does not lead any more";
  if (declines(host, group, replica)) return noRoom(replica);
  if (!progress.recentActive) return "nothing is heard of it";
  if (hasCaughtUp(status, replica)) return undefined;
  return `it lacks ${status.lastIndex - progress.match} entries`;
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

/** Whether a replica lacks little, as far as its leader knows. */
export function hasCaughtUp(status: Status, replica: number): boolean {
  const progress = status.members.find(({ id }) => id === replica);
  return progress !== undefined && progress.recentActive &&
    progress.match + behindMax >= status.lastIndex &&
    progress.match >= status.committed - behindMax && progress.match > 0;
}
