/** Each policy chooses as it says, among whoever is a candidate at that moment. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText } from "../../../src/base/bytes.ts";
import { CoveyError } from "../../../src/base/error.ts";
import { Prng } from "../../../src/base/prng.ts";
import { createPolicy, type Pick } from "../../../src/routing/core/picks.ts";
import { candidate, type TestCandidate } from "./candidates.ts";

const all = (count: number): TestCandidate[] =>
  Array.from({ length: count }, (_, index) => candidate(index));

/** How often each is chosen. */
function counted(
  candidates: readonly TestCandidate[],
  rounds: number,
  choose: (round: number) => TestCandidate,
): number[] {
  const counts = new Map<TestCandidate, number>(candidates.map((one) => [one, 0]));
  for (let round = 0; round < rounds; round++) {
    const chosen = choose(round);
    assert.ok(counts.has(chosen), "one of the candidates");
    counts.set(chosen, counts.get(chosen)! + 1);
  }
  return [...counts.values()];
}

/** The sum of squares by which the counts differ from an even spread, each in its expectation. */
function chiSquare(counts: readonly number[]): number {
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return counts.reduce((sum, count) => sum + (count - mean) ** 2 / mean, 0);
}

test("round robin: one after the other, from one that is drawn", () => {
  const candidates = all(5);
  const firsts = new Set<string>();
  for (let seed = 0; seed < 40; seed++) {
    const policy = createPolicy("round_robin", new Prng(seed));
    const chosen = Array.from({ length: 15 }, () => policy.choose(candidates, undefined).name);
    firsts.add(chosen[0]);
    const start = candidates.findIndex(({ name }) => name === chosen[0]);
    assert.deepEqual(chosen, chosen.map((_, at) => `node${(start + at) % 5}`));
  }
  assert.equal(firsts.size, 5);
});

test("round robin: who comes and goes skips nobody and doubles nobody", () => {
  const six = all(6);
  const policy = createPolicy("round_robin", new Prng(1));
  const choose = (...indexes: number[]) =>
    Number(policy.choose(indexes.map((index) => six[index]), undefined).name.slice(4));
  while (choose(1, 3, 5) !== 3);
  assert.equal(choose(1, 5), 5, "the last one left: the next is behind it");
  assert.equal(choose(1, 2, 5), 1);
  assert.equal(choose(0, 1, 2, 5), 2, "one came in front");
  assert.equal(choose(3, 4), 3, "all others left");
  assert.equal(choose(3), 3, "one alone");
  assert.equal(choose(0, 1), 0, "around the end");
});

test("least pending: never one with more calls than another", () => {
  const candidates = all(8);
  const random = new Prng(2);
  const policy = createPolicy("least_pending", new Prng(3));
  for (let round = 1; round < 3000; round++) {
    for (const one of candidates) one.pending = random.below(4);
    const chosen = policy.choose(candidates, undefined);
    assert.equal(chosen.pending, Math.min(...candidates.map(({ pending }) => pending)));
  }
});

test("least pending: idle members share the calls more evenly than a draw would", () => {
  let sum = 0;
  for (let seed = 0; seed < 20; seed++) {
    const candidates = all(10);
    const policy = createPolicy("least_pending", new Prng(seed));
    const counts = counted(candidates, 5000, (round) => {
      const chosen = policy.choose(candidates, undefined);
      chosen.lastCall = round + 1;
      return chosen;
    });
    sum += chiSquare(counts);
  }
  // With a plain draw it is 9 on average, the degrees of freedom, with a deviation of 0.95.
  assert.ok(sum / 20 < 5, `${sum / 20}`);
});

test("least pending: calls that last are levelled", () => {
  const candidates = all(7);
  const policy = createPolicy("least_pending", new Prng(5));
  for (let call = 0; call < 700; call++) policy.choose(candidates, undefined).pending++;
  assert.deepEqual(candidates.map(({ pending }) => pending), new Array(7).fill(100));
});

test("nearest: the shortest round trip, unknown ones last, the least busy of equals", () => {
  const candidates = all(5);
  const policy = createPolicy("nearest", new Prng(6));
  const name = () => policy.choose(candidates, undefined).name;
  candidates[3].tripMs = 5;
  assert.equal(name(), "node3");
  candidates[1].tripMs = 0.3;
  candidates[4].tripMs = 0.2;
  assert.equal(name(), "node4");
  candidates[0].tripMs = 0;
  assert.equal(name(), "node0");
  candidates[2].tripMs = 0;
  candidates[0].pending = 1;
  assert.equal(name(), "node2");
  for (const one of candidates) one.tripMs = undefined;
  for (const one of candidates) one.pending = one === candidates[1] ? 0 : 1;
  assert.equal(name(), "node1", "nothing is known: as with least pending");
});

test("by name and by tag: nobody else is admitted, and the tag's policy chooses", () => {
  const candidates = all(6);
  for (const index of [1, 2, 5]) candidates[index].tags = ["other", "ssd"];
  const admitted = (pick: Pick): string[] => {
    const { admits } = createPolicy(pick, new Prng(1));
    return candidates.filter(admits!).map(({ name }) => name);
  };
  assert.deepEqual(admitted({ name: "node4" }), ["node4"]);
  assert.deepEqual(admitted({ name: "node" }), []);
  assert.deepEqual(admitted({ tag: "ssd" }), ["node1", "node2", "node5"]);
  assert.deepEqual(admitted({ tag: "ss" }), []);
  assert.deepEqual(admitted({ tag: "ssd", then: { name: "node2" } }), ["node2"]);
  assert.deepEqual(admitted({ tag: "ssd", then: { tag: "none" } }), []);
  assert.equal(
    createPolicy({ tag: "ssd", then: { name: "a" } }, new Prng(1)).demand,
    'the tag "ssd" and the name "a"',
  );
  candidates[2].tripMs = 1;
  const nearest = createPolicy({ tag: "ssd", then: "nearest" }, new Prng(1));
  assert.equal(nearest.choose(candidates.filter(nearest.admits!), undefined).name, "node2");
  const inTurn = createPolicy({ tag: "ssd" }, new Prng(1));
  const three = candidates.filter(inTurn.admits!);
  assert.deepEqual(counted(three, 9, () => inTurn.choose(three, undefined)), [3, 3, 3]);
});

test("what is no policy is refused, with what is allowed", () => {
  const bad: readonly unknown[] = [
    "fastest",
    "",
    7,
    7n,
    null,
    undefined,
    {},
    { name: "" },
    { name: 3 },
    { tag: "" },
    { tag: "a", then: "b" },
  ];
  for (const pick of bad) {
    assert.throws(() => createPolicy(pick as Pick, new Prng(1)), (error: unknown) => {
      assert.ok(error instanceof CoveyError, `${error}`);
      assert.equal(error.code, 3);
      assert.match(error.rawMessage, /^pick: found .*allowed: "round_robin"/);
      return true;
    });
  }
});

const keys = Array.from({ length: 10_000 }, (_, number) => encodeText(`device/${number}`));

test("rendezvous: keys are spread evenly", () => {
  for (const count of [2, 3, 10, 50]) {
    const candidates = all(count);
    const policy = createPolicy("key", new Prng(1));
    const counts = counted(
      candidates,
      keys.length,
      (round) => policy.choose(candidates, keys[round]),
    );
    // The mean is the degrees of freedom, the deviation the root of twice that: four of them.
    const freedom = count - 1;
    const most = freedom + 4 * Math.sqrt(2 * freedom);
    assert.ok(chiSquare(counts) < most, `${count}: ${chiSquare(counts)}, most ${most}`);
  }
});

test("rendezvous: who leaves moves its own keys alone, evenly; who returns gets them back", () => {
  const candidates = all(10);
  const policy = createPolicy("key", new Prng(1));
  const before = keys.map((key) => policy.choose(candidates, key));
  for (const leaver of [candidates[0], candidates[4], candidates[9]]) {
    const rest = candidates.filter((one) => one !== leaver);
    const moved: TestCandidate[] = [];
    for (const [at, key] of keys.entries()) {
      const owner = policy.choose(rest, key);
      if (before[at] === leaver) moved.push(owner);
      else assert.equal(owner, before[at]);
    }
    assert.ok(Math.abs(moved.length - keys.length / 10) < keys.length / 100, `${moved.length}`);
    const counts = counted(rest, moved.length, (at) => moved[at]);
    assert.ok(chiSquare(counts) < 8 + 4 * Math.sqrt(16), `${counts}`);
    assert.deepEqual(keys.map((key) => policy.choose(candidates, key)), before);
  }
});

test("rendezvous: a newcomer takes its share from each, and nothing moves among the others", () => {
  const candidates = all(11);
  const ten = candidates.slice(0, 10);
  const policy = createPolicy("key", new Prng(1));
  const takenFrom: TestCandidate[] = [];
  for (const key of keys) {
    const before = policy.choose(ten, key);
    const after = policy.choose(candidates, key);
    if (after === candidates[10]) takenFrom.push(before);
    else assert.equal(after, before);
  }
  const counts = counted(ten, takenFrom.length, (at) => takenFrom[at]);
  assert.ok(chiSquare(counts) < 9 + 4 * Math.sqrt(18), `${counts}`);
});

test("rendezvous: the node's id decides, not its address, name or place in the list", () => {
  const candidates = all(6);
  const policy = createPolicy("key", new Prng(1));
  const other = createPolicy("key", new Prng(2));
  const moved = candidates.map(({ nodeId }, index) => candidate(20 - index, { nodeId }));
  for (const key of keys.slice(0, 500)) {
    const { nodeId } = policy.choose(candidates, key);
    assert.equal(policy.choose([...candidates].reverse(), key).nodeId, nodeId);
    assert.equal(other.choose(moved, key).nodeId, nodeId);
  }
});

test("rendezvous: a call without a key is refused, not sent", () => {
  const policy = createPolicy("key", new Prng(1));
  assert.throws(
    () => policy.choose(all(2), undefined),
    (error: unknown) => error instanceof CoveyError && error.code === 3 && error.sent === false,
  );
});
