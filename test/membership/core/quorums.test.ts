/** How many it takes, by tables, and by what Fast Paxos asks of any two quorums. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Bitmap } from "../../../src/membership/core/bitmap.ts";
import { Quorums, type TwoMembers } from "../../../src/membership/core/quorums.ts";

function quorumsOf(size: number, twoMembers: TwoMembers = "stall"): Quorums {
  return new Quorums([...Array(size).keys()], size, twoMembers);
}

function firsts(count: number, size: number): Bitmap {
  const bitmap = new Bitmap(size);
  for (let place = 0; place < count; place++) bitmap.add(place);
  return bitmap;
}

function least(size: number, isEnough: (from: Bitmap) => boolean): number {
  for (let count = 0; count <= size; count++) if (isEnough(firsts(count, size))) return count;
  throw new Error("not even all of them are enough");
}

// N, fast, classic: as in the tables of FastPaxosWithoutFallbackTests.
const table = [
  [1, 1, 1],
  [2, 2, 2],
  [3, 3, 2],
  [4, 4, 3],
  [5, 4, 3],
  [6, 5, 4],
  [7, 6, 4],
  [8, 7, 5],
  [9, 7, 5],
  [10, 8, 6],
  [20, 16, 11],
  [48, 37, 25],
  [50, 38, 26],
  [51, 39, 26],
  [100, 76, 51],
  [102, 77, 52],
] as const;

test("quorums are the table's", () => {
  for (const [size, fast, classic] of table) {
    const quorums = quorumsOf(size);
    assert.equal(least(size, (from) => quorums.isFast(from)), fast, `fast of ${size}`);
    assert.equal(least(size, (from) => quorums.isClassic(from)), classic, `classic of ${size}`);
    assert.equal(quorums.classicWithout(firsts(size - classic, size)), true);
    assert.equal(quorums.classicWithout(firsts(size - classic + 1, size)), false);
    assert.equal(quorums.fastWithout(firsts(size - fast, size)), true);
    assert.equal(quorums.fastWithout(firsts(size - fast + 1, size)), false);
  }
});

test("two fast quorums and a classic one have somebody in common, for any N", () => {
  for (let size = 1; size <= 300; size++) {
    const quorums = quorumsOf(size);
    const fast = least(size, (from) => quorums.isFast(from));
    const classic = least(size, (from) => quorums.isClassic(from));
    assert.ok(2 * fast + classic > 2 * size, `${size}`);
    assert.ok(2 * classic > size, `${size}`);
  }
});

test("sharp 2: two members either stall without each other, or the first one decides alone", () => {
  const stall = quorumsOf(2);
  const first = quorumsOf(2, "first");
  const [lower, higher] = [new Bitmap(2), new Bitmap(2)];
  lower.add(0);
  higher.add(1);
  for (const one of [lower, higher]) {
    assert.equal(stall.isFast(one) || stall.isClassic(one), false);
    assert.equal(stall.classicWithout(one), false);
  }
  assert.equal(first.isFast(lower) && first.isClassic(lower), true);
  assert.equal(first.isFast(higher) || first.isClassic(higher), false);
  assert.equal(first.classicWithout(higher), true);
  assert.equal(first.classicWithout(lower), false);
  // Three are a majority of their own, whatever the policy.
  assert.equal(quorumsOf(3, "first").isClassic(firsts(1, 3)), false);
});

test("only what nobody else can have outvoted may be decided in the fast round", () => {
  const quorums = quorumsOf(5);
  const [voted, promised] = [firsts(2, 5), firsts(3, 5)];
  assert.equal(quorums.mayBeFast(voted, promised), true);
  assert.equal(quorums.mayBeFast(firsts(1, 5), promised), false);
});
