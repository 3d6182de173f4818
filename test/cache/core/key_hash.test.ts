/** Keys as bytes, their hash, and who owns them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import { KeyHash } from "../../../src/cache/core/key_hash.ts";
import { Murmur } from "../../../src/cache/core/murmur.ts";
import { Rendezvous } from "../../../src/cache/core/rendezvous.ts";

const text = new TextEncoder();

test("MurmurHash3 as its author's tests have it, with both seeds", () => {
  // From the reference implementation's well-known vectors, x86_32.
  const vectors: readonly [string, number, number][] = [
    ["", 0, 0],
    ["", 1, 0x514e28b7],
    ["", 0xffffffff, 0x81f16f39],
    ["hello", 0, 0x248bfa47],
    ["hello, world", 0, 0x149bbb7f],
    ["The quick brown fox jumps over the lazy dog", 0, 0x2e4ff723],
    ["test", 0x9747b28c, 0x704b81dc],
    ["abc", 0x9747b28c, 0xc84a62dd],
    ["ab", 0x9747b28c, 0x74875592],
    ["a", 0x9747b28c, 0x7fa09ea6],
  ];
  const murmur = new Murmur();
  for (const [input, seed, expected] of vectors) {
    const bytes = text.encode(input);
    murmur.take(bytes, bytes.length, seed, 7);
    assert.equal(murmur.high >>> 0, expected, input);
    murmur.take(bytes, bytes.length, 7, seed);
    assert.equal(murmur.low >>> 0, expected, input);
  }
});

test("a key's bytes are its UTF-8, whatever characters it has", () => {
  const hash = new KeyHash("n", 4096);
  const murmur = new Murmur();
  const seed = text.encode("n");
  const { high, low } = murmur.take(seed, seed.length, 1, 2);
  for (
    const key of ["a", "é", "漢字", "😀 and 𝄞", "\u0000", "\ud7ff\ue000\uffff", "x".repeat(700)]
  ) {
    assert.equal(hash.take(key), undefined);
    const bytes = text.encode(key);
    assert.equal(hash.length, bytes.length);
    const expected = new Murmur().take(bytes, bytes.length, high, low);
    assert.deepEqual([hash.high, hash.low], [expected.high, expected.low]);
  }
});

test("what is no key is refused, at the exact length", () => {
  const hash = new KeyHash("n", 10);
  assert.equal(hash.take(""), "key_empty");
  assert.equal(hash.take("0123456789"), undefined);
  assert.equal(hash.take("0123456789a"), "key_too_large");
  assert.equal(hash.take("éééééé"), "key_too_large");
  assert.equal(hash.take("012345678é"), "key_too_large");
  assert.equal(hash.take("01234567é"), undefined);
  assert.equal(hash.take("01234567漢"), "key_too_large");
  assert.equal(hash.take("0123456漢"), undefined);
  assert.equal(hash.take("0123456😀"), "key_too_large");
  assert.equal(hash.take("012345😀"), undefined);
  for (const half of ["\ud83d", "a\ude00", "\ud83dx", "\ud83d\ud83d\ude00"]) {
    assert.equal(hash.take(half), "key_malformed", JSON.stringify(half));
  }
});

const membersOf = (count: number, prng: Prng) =>
  Array.from({ length: count }, () => ({
    nodeId: Array.from({ length: 4 }, () => prng.next().toString(16).padStart(8, "0")).join(""),
  }));

test("every build gives the same owners", () => {
  const members = ["a", "b", "c", "d", "e"].map((one) => ({ nodeId: one.repeat(32) }));
  const table = new Rendezvous(members);
  const images = new KeyHash("images", 1024);
  const owners = Array.from({ length: 24 }, (_, at) => {
    images.take(`key-${at}`);
    return table.owner(images)!.nodeId[0];
  }).join("");
  // Members of different builds work together: what stands here stays.
  assert.equal(owners, "aebabbcbccdcedcbadebabcb");
  const other = new KeyHash("documents", 1024);
  const moved = Array.from({ length: 1000 }, (_, at) => {
    images.take(`key-${at}`);
    other.take(`key-${at}`);
    return table.owner(images) === table.owner(other);
  }).filter((same) => !same).length;
  assert.ok(moved > 700, `${moved} of 1,000 keys have another owner in another namespace`);
});

test("keys are spread evenly, and only those of who joins or leaves move", () => {
  const prng = new Prng(11);
  const hash = new KeyHash("images", 1024);
  for (const count of [2, 5, 60]) {
    const members = membersOf(count, prng);
    const table = new Rendezvous(members);
    const without = new Rendezvous(members.slice(1));
    const shuffled = new Rendezvous([...members].reverse());
    const keys = count * 1000;
    const owned = new Map<string, number>();
    for (let at = 0; at < keys; at++) {
      assert.equal(hash.take(`device/${at}/state`), undefined);
      const { nodeId } = table.owner(hash)!;
      owned.set(nodeId, (owned.get(nodeId) ?? 0) + 1);
      assert.equal(shuffled.owner(hash)!.nodeId, nodeId, "whatever order they are given in");
      const [first, second] = table.ranked(hash, 2);
      assert.equal(first.nodeId, nodeId);
      const after = without.owner(hash)!.nodeId;
      assert.equal(after, nodeId === members[0].nodeId ? second.nodeId : nodeId);
    }
    // 1,000 each, with a deviation of √1,000: six of them are beyond chance.
    for (const { nodeId } of members) {
      const share = owned.get(nodeId) ?? 0;
      assert.ok(share > 810 && share < 1190, `${share} keys of 1,000 with ${count} members`);
    }
  }
});

test("nobody owns a key where nobody is, and a member named twice counts once", () => {
  const hash = new KeyHash("images", 1024);
  hash.take("a");
  assert.equal(new Rendezvous([]).owner(hash), undefined);
  assert.deepEqual(new Rendezvous([]).ranked(hash, 3), []);
  const twice = new Rendezvous([{ nodeId: "a" }, { nodeId: "b" }, { nodeId: "a" }]);
  assert.equal(twice.members.length, 2);
});
