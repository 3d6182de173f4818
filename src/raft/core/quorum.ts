/**
 * The arithmetic of majorities, single and joint (dissertation, sections 3.3 and 4.3). A decision of
 * a joint configuration needs both majorities; an empty half agrees with everything.
 */
import type { ReplicaId } from "./types.ts";

export const VoteResult = { pending: 0, lost: 1, won: 2 } as const;
export type VoteResult = (typeof VoteResult)[keyof typeof VoteResult];

/** What an empty set of voters acknowledges: everything, so that the other half decides. */
export const everything = Number.MAX_SAFE_INTEGER;

/** How many of `size` voters are a majority. */
export function majorityOf(size: number): number {
  return Math.floor(size / 2) + 1;
}

/** The highest number that a majority of the voters has acknowledged. */
export function majorityIndex(
  voters: readonly ReplicaId[],
  acknowledged: (voter: ReplicaId) => number,
): number {
  if (voters.length === 0) return everything;
  // A handful of voters: an insertion sort, descending, beats anything cleverer.
  const sorted: number[] = [];
  for (const voter of voters) {
    const value = acknowledged(voter);
    let at = sorted.length;
    sorted.push(value);
    while (at > 0 && sorted[at - 1] < value) {
      sorted[at] = sorted[at - 1];
      at--;
    }
    sorted[at] = value;
  }
  return sorted[majorityOf(voters.length) - 1];
}

/** The highest number that majorities of both halves have acknowledged. */
export function jointIndex(
  incoming: readonly ReplicaId[],
  outgoing: readonly ReplicaId[],
  acknowledged: (voter: ReplicaId) => number,
): number {
  return Math.min(
    majorityIndex(incoming, acknowledged),
    majorityIndex(outgoing, acknowledged),
  );
}

/** Where a vote stands; `votes` may hold answers of replicas that are not asked. */
export function majorityVote(
  voters: readonly ReplicaId[],
  votes: ReadonlyMap<ReplicaId, boolean>,
): VoteResult {
  if (voters.length === 0) return VoteResult.won;
  let granted = 0;
  let missing = 0;
  for (const voter of voters) {
    const vote = votes.get(voter);
    if (vote === undefined) missing++;
    else if (vote) granted++;
  }
  const needed = majorityOf(voters.length);
  if (granted >= needed) return VoteResult.won;
  return granted + missing >= needed ? VoteResult.pending : VoteResult.lost;
}

/** Lost as soon as one half is lost, won when both are. */
export function jointVote(
  incoming: readonly ReplicaId[],
  outgoing: readonly ReplicaId[],
  votes: ReadonlyMap<ReplicaId, boolean>,
): VoteResult {
  const first = majorityVote(incoming, votes);
  const second = majorityVote(outgoing, votes);
  if (first === VoteResult.lost || second === VoteResult.lost) return VoteResult.lost;
  if (first === VoteResult.won && second === VoteResult.won) return VoteResult.won;
  return VoteResult.pending;
}
