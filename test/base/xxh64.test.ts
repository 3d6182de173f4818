/** XXH64 against the published vectors and against an independent twin on BigInt. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { Xxh64, xxh64 } from "../../src/base/xxh64.ts";
import { Prng } from "../../src/base/prng.ts";

const mask = (1n << 64n) - 1n;
const prime1 = 11400714785074694791n;
const prime2 = 14029467366897019727n;
const prime3 = 1609587929392839161n;
const prime4 = 9650029242287828579n;
const prime5 = 2870177450012600261n;

const rotate = (x: bigint, bits: bigint) => ((x << bits) | (x >> (64n - bits))) & mask;
const round = (lane: bigint, input: bigint) =>
  (rotate((lane + input * prime2) & mask, 31n) * prime1) & mask;

/** The specification's steps, word for word, with nothing shared with the product's code. */
function twin(bytes: Uint8Array, seed: bigint): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  let hash: bigint;
  if (bytes.length >= 32) {
    const lanes = [seed + prime1 + prime2, seed + prime2, seed, seed - prime1].map((x) => x & mask);
    for (; at + 32 <= bytes.length; at += 32) {
      for (let lane = 0; lane < 4; lane++) {
        lanes[lane] = round(lanes[lane], view.getBigUint64(at + lane * 8, true));
      }
    }
    hash = (rotate(lanes[0], 1n) + rotate(lanes[1], 7n) + rotate(lanes[2], 12n) +
      rotate(lanes[3], 18n)) & mask;
    for (const lane of lanes) hash = ((hash ^ round(0n, lane)) * prime1 + prime4) & mask;
  } else {
    hash = (seed + prime5) & mask;
  }
  hash = (hash + BigInt(bytes.length)) & mask;
  for (; at + 8 <= bytes.length; at += 8) {
    hash = (rotate(hash ^ round(0n, view.getBigUint64(at, true)), 27n) * prime1 + prime4) & mask;
  }
  if (at + 4 <= bytes.length) {
    const word = BigInt(view.getUint32(at, true));
    hash = (rotate(hash ^ ((word * prime1) & mask), 23n) * prime2 + prime3) & mask;
    at += 4;
  }
  for (; at < bytes.length; at++) {
    hash = (rotate(hash ^ ((BigInt(bytes[at]) * prime5) & mask), 11n) * prime1) & mask;
  }
  hash ^= hash >> 33n;
  hash = (hash * prime2) & mask;
  hash ^= hash >> 29n;
  hash = (hash * prime3) & mask;
  return hash ^ (hash >> 32n);
}

const text = (value: string) => new TextEncoder().encode(value);

test("the published vectors", () => {
  const vectors: [string, bigint][] = [
    ["", 0xef46db3751d8e999n],
    ["a", 0xd24ec4f1a98c6e5bn],
    ["as", 0x1c330fb2d66be179n],
    ["asd", 0x631c37ce72a97393n],
    ["asdf", 0x415872f599cea71en],
    ["abc", 0x44bc2cf5ad770999n],
    ["Call me Ishmael. Some years ago--never mind how long precisely-", 0x02a2e85470d6fd96n],
  ];
  for (const [input, expected] of vectors) {
    assert.equal(xxh64(text(input)), expected, input);
    assert.equal(twin(text(input), 0n), expected, `twin: ${input}`);
    const hex = expected.toString(16).padStart(16, "0");
    assert.equal(new Xxh64().update(text(input)).digestHex(), hex);
  }
});

test("lengths 0 to 100 and some long ones, with seeds of every width", () => {
  const random = new Prng(7);
  const seeds = [0n, 1n, 0x7fffffffn, 0x80000000n, 0xffffffffn, 0x9e3779b185ebca8dn, mask];
  for (let length = 0; length <= 104; length++) {
    const bytes = new Uint8Array(length <= 100 ? length : length * 331);
    random.fill(bytes);
    for (const seed of seeds) {
      assert.equal(xxh64(bytes, seed), twin(bytes, seed), `length ${bytes.length}, seed ${seed}`);
    }
  }
  assert.equal(xxh64(text("abc"), -1), twin(text("abc"), mask));
});

test("pieces of any size give the hash of the whole, and a digest does not disturb the run", () => {
  const random = new Prng(11);
  const bytes = new Uint8Array(1000);
  random.fill(bytes);
  for (let trial = 0; trial < 200; trial++) {
    const hash = new Xxh64(trial);
    let at = 0;
    while (at < bytes.length) {
      const end = Math.min(bytes.length, at + random.below(80));
      hash.update(bytes.subarray(at, end));
      at = end;
      assert.equal(hash.digest(), twin(bytes.subarray(0, at), BigInt(trial)));
    }
    hash.reset();
    assert.equal(hash.digest(), twin(new Uint8Array(0), BigInt(trial)));
  }
});
