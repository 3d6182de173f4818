/** The index of watches against a list that is looked through. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText } from "../../src/base/bytes.ts";
import { Prng } from "../../src/base/prng.ts";
import { compareBytes, hashBytes, inInterval, prefixEnd } from "../../src/kv/core/bytes.ts";
import { type Interval, type KeyView, WatchIndex } from "../../src/kv/watch_index.ts";

function view(key: Uint8Array): KeyView {
  return { keyHash: () => hashBytes(key), compareKey: (other) => compareBytes(key, other) };
}

function find(index: WatchIndex<number>, key: Uint8Array): number[] {
  const found: number[] = [];
  index.find(view(key), found);
  return found.sort((a, b) => a - b);
}

function randomKey(prng: Prng): Uint8Array {
  const key = new Uint8Array(prng.between(1, 3));
  for (let at = 0; at < key.length; at++) key[at] = prng.pick([0, 1, 97, 98, 254, 255]);
  return key;
}

function randomInterval(prng: Prng): Interval {
  for (;;) {
    const key = randomKey(prng);
    const end = prng.pick([new Uint8Array(0), Uint8Array.of(0), prefixEnd(key), randomKey(prng)]);
    if (end.length === 0 || (end.length === 1 && end[0] === 0) || compareBytes(key, end) < 0) {
      return { key, end };
    }
  }
}

test("finds what looking through all of them finds, whatever is added and removed", () => {
  for (let seed = 1; seed <= 60; seed++) {
    const prng = new Prng(seed);
    const index = new WatchIndex<number>();
    const all = new Map<number, Interval>();
    for (let step = 1; step <= 300; step++) {
      if (all.size === 0 || prng.chance(0.6)) {
        // The same interval comes again and again.
        const interval = all.size > 0 && prng.chance(0.3)
          ? prng.pick([...all.values()])
          : randomInterval(prng);
        all.set(step, interval);
        index.add(interval, step);
      } else {
        const [member, interval] = prng.pick([...all]);
        all.delete(member);
        index.delete(interval, member);
      }
      assert.equal(index.size, all.size);
      const key = randomKey(prng);
      const expected = [...all].filter(([, one]) => inInterval(key, one.key, one.end))
        .map(([member]) => member);
      assert.deepEqual(find(index, key), expected, `seed ${seed}, step ${step}`);
    }
  }
});

test("what was never added is not removed", () => {
  const index = new WatchIndex<number>();
  const a = { key: encodeText("a"), end: new Uint8Array(0) };
  const all = { key: encodeText("a"), end: Uint8Array.of(0) };
  index.add(a, 1);
  index.add(all, 2);
  index.delete(a, 2);
  index.delete(all, 1);
  index.delete({ key: encodeText("b"), end: new Uint8Array(0) }, 1);
  index.delete({ key: encodeText("b"), end: Uint8Array.of(0) }, 1);
  assert.equal(index.size, 2);
  assert.deepEqual(find(index, encodeText("a")), [1, 2]);
});

test("keys whose hashes are equal are told apart", () => {
  const byHash = new Map<number, Uint8Array>();
  const prng = new Prng(7);
  let pair: [Uint8Array, Uint8Array] | undefined;
  while (pair === undefined) {
    const key = new Uint8Array(8);
    prng.fill(key);
    const hash = hashBytes(key);
    const other = byHash.get(hash);
    if (other !== undefined && compareBytes(key, other) !== 0) pair = [key, other];
    byHash.set(hash, key);
  }
  const [a, b] = pair;
  const index = new WatchIndex<number>();
  const none = new Uint8Array(0);
  index.add({ key: a, end: none }, 1);
  index.add({ key: b, end: none }, 2);
  assert.deepEqual([find(index, a), find(index, b)], [[1], [2]]);
  index.delete({ key: a, end: none }, 1);
  assert.deepEqual([find(index, a), find(index, b)], [[], [2]]);
  index.add({ key: a, end: none }, 3);
  index.delete({ key: b, end: none }, 2);
  assert.deepEqual([find(index, a), find(index, b)], [[3], []]);
});

test("a change among 10,000 keys and 10,000 prefixes compares a few of them", () => {
  const index = new WatchIndex<number>();
  const none = new Uint8Array(0);
  for (let at = 0; at < 10_000; at++) {
    index.add({ key: encodeText(`key/${at}`), end: none }, at);
    const prefix = encodeText(`prefix/${at}/`);
    index.add({ key: prefix, end: prefixEnd(prefix) }, 10_000 + at);
  }
  for (const [text, wanted] of [["key/77", 77], ["prefix/77/x", 10_077]] as const) {
    const key = encodeText(text);
    let compared = 0;
    const found: number[] = [];
    index.find({
      keyHash: () => hashBytes(key),
      compareKey: (other) => {
        compared++;
        return compareBytes(key, other);
      },
    }, found);
    assert.deepEqual(found, [wanted]);
    assert.ok(compared < 200, `${compared} comparisons`);
  }
});
