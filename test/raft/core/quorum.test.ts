/** The arithmetic of majorities against a twin that tries every subset of the voters. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import {
  everything,
  jointIndex,
  jointVote,
  majorityIndex,
  majorityVote,
  VoteResult,
} from "../../../src/raft/core/quorum.ts";

/** Every set of voters that is more than half of them. */
function quorums(voters: readonly number[]): number[][] {
  const found: number[][] = [];
  for (let mask = 0; mask < 1 << voters.length; mask++) {
    const set = voters.filter((_, at) => (mask >> at) & 1);
    if (set.length * 2 > voters.length) found.push(set);
  }
  return found;
}

/** The highest index that all of some quorum have. */
function naiveIndex(voters: readonly number[], acknowledged: ReadonlyMap<number, number>): number {
  if (voters.length === 0) return everything;
  return Math.max(
    ...quorums(voters).map((set) => Math.min(...set.map((id) => acknowledged.get(id) ?? 0))),
  );
}

/** Won if some quorum has granted; lost if none can any more. */
function naiveVote(voters: readonly number[], votes: ReadonlyMap<number, boolean>): VoteResult {
  if (voters.length === 0) return VoteResult.won;
  const all = quorums(voters);
  if (all.some((set) => set.every((id) => votes.get(id) === true))) return VoteResult.won;
  return all.some((set) => set.every((id) => votes.get(id) !== false))
    ? VoteResult.pending
    : VoteResult.lost;
}

function subset(random: Prng): number[] {
  const share = random.fraction();
  return [1, 2, 3, 4, 5, 6, 7].filter(() => random.chance(share));
}

test("20,000 random configurations: the same index and the same result as the naive twin", () => {
  const random = new Prng(1);
  const seen = new Map<VoteResult, number>();
  for (let round = 0; round < 20_000; round++) {
    const incoming = subset(random);
    const outgoing = random.chance(0.3) ? [] : subset(random);
    const acknowledged = new Map<number, number>();
    const votes = new Map<number, boolean>();
    for (let id = 1; id <= 8; id++) {
      if (random.chance(0.8)) acknowledged.set(id, random.below(random.pick([3, 100])));
      if (random.chance(0.7)) votes.set(id, random.chance(0.6));
    }
    const of = (id: number): number => acknowledged.get(id) ?? 0;
    const say = JSON.stringify({ incoming, outgoing, acknowledged: [...acknowledged] });
    assert.equal(majorityIndex(incoming, of), naiveIndex(incoming, acknowledged), say);
    assert.equal(
      jointIndex(incoming, outgoing, of),
      Math.min(naiveIndex(incoming, acknowledged), naiveIndex(outgoing, acknowledged)),
      say,
    );
    assert.equal(majorityVote(incoming, votes), naiveVote(incoming, votes));
    const both = [naiveVote(incoming, votes), naiveVote(outgoing, votes)];
    const wanted = both.includes(VoteResult.lost)
      ? VoteResult.lost
      : both.includes(VoteResult.pending)
      ? VoteResult.pending
      : VoteResult.won;
    const result = jointVote(incoming, outgoing, votes);
    assert.equal(result, wanted);
    seen.set(result, (seen.get(result) ?? 0) + 1);
  }
  for (const result of Object.values(VoteResult)) assert.ok((seen.get(result) ?? 0) > 1000);
});
