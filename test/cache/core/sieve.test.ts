/** SIEVE against a plain model, and its bound in bytes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import { type Entry, Sieve } from "../../../src/cache/core/sieve.ts";
import { ownBytes, ownText } from "../../../src/cache/core/own_bytes.ts";

function entryOf(
  table: Map<string, Entry>,
  key: string,
  bytes: number,
  expiresMs = Infinity,
): Entry {
  return {
    key,
    table,
    value: undefined,
    error: undefined,
    bytes,
    expiresMs,
    visited: false,
    place: undefined,
    newer: undefined,
    older: undefined,
  };
}

/** The paper's algorithm on an array, oldest first. */
class Twin {
  readonly items: { key: string; bytes: number; visited: boolean }[] = [];
  hand = 0;
  readonly #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.items.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  remove(key: string): void {
    const at = this.items.findIndex((item) => item.key === key);
    if (at < 0) return;
    this.items.splice(at, 1);
    if (at < this.hand) this.hand--;
  }

  add(key: string, bytes: number): void {
    this.remove(key);
    if (bytes > this.#bytesMax) return;
    while (this.bytes + bytes > this.#bytesMax) {
      for (;;) {
        if (this.hand >= this.items.length) this.hand = 0;
        const item = this.items[this.hand];
        if (!item.visited) break;
        item.visited = false;
        this.hand++;
      }
      this.items.splice(this.hand, 1);
    }
    // A hand that stands behind the last one begins anew, as the paper's does.
    if (this.hand >= this.items.length) this.hand = 0;
    this.items.push({ key, bytes, visited: false });
  }
}

test("it does what the paper says, with any sizes and removals, for 40 seeds", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const prng = new Prng(seed);
    const bytesMax = prng.between(1, 60);
    const sieve = new Sieve(bytesMax);
    const twin = new Twin(bytesMax);
    const table = new Map<string, Entry>();
    for (let step = 0; step < 600; step++) {
      const key = `k${prng.below(30)}`;
      const entry = table.get(key);
      const choice = prng.below(10);
      if (choice < 5) {
        const bytes = prng.between(1, prng.chance(0.05) ? 80 : 9);
        assert.equal(sieve.add(entryOf(table, key, bytes)), bytes <= bytesMax);
        twin.add(key, bytes);
      } else if (choice < 9) {
        if (entry !== undefined) entry.visited = true;
        const item = twin.items.find((one) => one.key === key);
        if (item !== undefined) item.visited = true;
      } else {
        if (entry !== undefined) sieve.remove(entry);
        twin.remove(key);
      }
      const kept = [...sieve];
      assert.deepEqual(
        kept.map(({ key, bytes, visited }) => ({ key, bytes, visited })),
        twin.items,
        `seed ${seed}, step ${step}`,
      );
      assert.ok(sieve.bytes === twin.bytes && sieve.bytes <= bytesMax);
      assert.equal(table.size, kept.length);
      assert.ok(kept.every((one) => table.get(one.key) === one && one.place === sieve));
    }
  }
});

test("an entry moves from one list to another by coming in there", () => {
  const table = new Map<string, Entry>();
  const own = new Sieve(100);
  const copies = new Sieve(100);
  copies.add(entryOf(table, "a", 40));
  own.add(entryOf(table, "a", 60));
  assert.deepEqual([copies.bytes, copies.count, own.bytes, own.count], [0, 0, 60, 1]);
  assert.equal(table.get("a")!.place, own);
  // What does not fit at all is not there afterwards either.
  assert.equal(copies.add(entryOf(table, "a", 101)), false);
  assert.deepEqual([table.size, own.count], [0, 0]);
});

test("a hand that meets marks alone gives up after a bounded number of steps", () => {
  const table = new Map<string, Entry>();
  const sieve = new Sieve(10_000);
  for (let at = 0; at < 10_000; at++) sieve.add(entryOf(table, `k${at}`, 1));
  for (const entry of sieve) entry.visited = true;
  sieve.add(entryOf(table, "new", 1));
  const marked = [...sieve].filter(({ visited }) => visited).length;
  assert.equal(sieve.count, 10_000);
  assert.equal(marked, 10_000 - 4096 - 1, "4,096 marks were taken, and one marked entry went");
});

test("a sweep takes what has expired, in pieces, whatever goes meanwhile", () => {
  const prng = new Prng(5);
  const table = new Map<string, Entry>();
  const sieve = new Sieve(1_000_000);
  for (let at = 0; at < 3000; at++) {
    sieve.add(entryOf(table, `k${at}`, 1, at % 3 === 0 ? 100 : at % 3 === 1 ? 200 : Infinity));
  }
  assert.equal(sieve.expiring, 2000);
  sieve.beginSweep();
  let pieces = 1;
  while (sieve.sweep(150, 64)) {
    pieces++;
    for (let removal = 0; removal < 5; removal++) {
      const entry = table.get(`k${prng.below(3000)}`);
      if (entry !== undefined) sieve.remove(entry);
    }
  }
  assert.ok(pieces > 40, `${pieces}`);
  assert.ok([...sieve].every(({ expiresMs }) => expiresMs !== 100));
  const expiring = [...sieve].filter(({ expiresMs }) => expiresMs === 200).length;
  assert.equal(sieve.expiring, expiring);
  assert.ok(expiring > 800);
});

test("what is kept keeps nothing else alive", () => {
  const slab = new Uint8Array(8192);
  for (const length of [0, 10, 1024, 1025, 8000]) {
    const kept = ownBytes(slab.subarray(100, 100 + length));
    assert.equal(kept.length, length);
    assert.equal(kept.buffer.byteLength, length);
  }
  const whole = new Uint8Array(5000);
  assert.equal(ownBytes(whole), whole, "a large array that is whole is not copied");
  const growing = new Uint8Array(new ArrayBuffer(5000, { maxByteLength: 1 << 20 }));
  assert.notEqual(ownBytes(growing), growing);
  const long = "x".repeat(1 << 16) + "é漢😀";
  assert.equal(ownText(long.slice(-5)), long.slice(-5));
});
