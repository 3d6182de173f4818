/**
 * Which value goes when there is no room: SIEVE (Zhang and others, "SIEVE is simpler than LRU: an
 * efficient turn-key eviction algorithm for web caches", NSDI 2024). Entries stand in the order in
 * which they came and never move; a hit only marks one. A hand goes from the oldest to the newest:
 * it takes the mark from those that have it, and the first without goes.
 *
 * What is bounded is bytes, overhead counted. The bound holds at every moment: room is made before
 * an entry comes in.
 */
import { assert } from "../../base/assert.ts";
import type { CoveyError } from "../../base/error.ts";

/** What an entry takes beside its key and value: this object, its place in the table, the arrays. */
const overheadBytes = 400;
/** Allocators round up: JavaScriptCore's by up to a quarter (measured) where values are small. */
const roundingShift = 2;
const roundingBytesMax = 384;

/**
 * The bytes that an entry counts for. They are no fewer than the heap grows by on either engine
 * (docs/decisions has the figures).
 */
export function entryBytes(key: string, valueBytes: number): number {
  const rounding = Math.min(valueBytes >> roundingShift, roundingBytesMax);
  return overheadBytes + rounding + key.length * 2 + valueBytes;
}

/** The hand takes at most so many marks for one entry: what it holds the thread is bounded. */
const stepsMax = 4096;

/** One value, or the error of the filler that has none. */
export interface Entry {
  readonly key: string;
  /** The namespace's, by key. */
  readonly table: Map<string, Entry>;
  readonly value: Uint8Array | undefined;
  readonly error: CoveyError | undefined;
  /** With the overhead. */
  readonly bytes: number;
  /** On the monotonic clock; Infinity for no end. */
  readonly expiresMs: number;
  /** It was asked for since the hand passed. */
  visited: boolean;
  /** Where it stands; undefined when it is gone. */
  place: Sieve | undefined;
  newer: Entry | undefined;
  older: Entry | undefined;
}

export class Sieve {
  readonly bytesMax: number;
  bytes = 0;
  count = 0;
  /** Those of them whose time ends. */
  expiring = 0;
  /** Entries that went for want of room. */
  evicted = 0;
  #newest: Entry | undefined = undefined;
  #oldest: Entry | undefined = undefined;
  /** Where the hand stands; undefined: it begins anew at the oldest. */
  #hand: Entry | undefined = undefined;
  /** Where the search for expired entries goes on. */
  #cursor: Entry | undefined = undefined;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  /** False when it cannot come in, whatever goes for it. An entry of the same key goes first. */
  add(entry: Entry): boolean {
    assert(entry.place === undefined, "an entry comes in once");
    const before = entry.table.get(entry.key);
    if (before !== undefined) before.place!.remove(before);
    if (entry.bytes > this.bytesMax) return false;
    while (this.bytes + entry.bytes > this.bytesMax) this.#evict();
    entry.place = this;
    entry.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = entry;
    else this.#newest.newer = entry;
    this.#newest = entry;
    entry.table.set(entry.key, entry);
    this.bytes += entry.bytes;
    this.count++;
    if (entry.expiresMs !== Infinity) this.expiring++;
    return true;
  }

  remove(entry: Entry): void {
    assert(entry.place === this, "an entry is removed from where it stands");
    const { newer, older } = entry;
    if (this.#hand === entry) this.#hand = newer;
    if (this.#cursor === entry) this.#cursor = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    entry.newer = entry.older = entry.place = undefined;
    entry.table.delete(entry.key);
    this.bytes -= entry.bytes;
    this.count--;
    if (entry.expiresMs !== Infinity) this.expiring--;
  }

  #evict(): void {
    let entry = this.#hand ?? this.#oldest;
    assert(entry !== undefined, "bytes are held by entries");
    for (let step = 0; entry.visited && step < stepsMax; step++) {
      entry.visited = false;
      entry = entry.newer ?? this.#oldest!;
    }
    this.#hand = entry;
    this.remove(entry);
    this.evicted++;
  }

  /** Begins a search for what has expired. */
  beginSweep(): void {
    this.#cursor = this.#oldest;
  }

  /** Looks at some entries and removes those whose time is over; false when it has seen all. */
  sweep(nowMs: number, steps: number): boolean {
    for (let step = 0; step < steps; step++) {
      const entry = this.#cursor;
      if (entry === undefined) return false;
      this.#cursor = entry.newer;
      if (entry.expiresMs <= nowMs) this.remove(entry);
    }
    return this.#cursor !== undefined;
  }

  /** The entries from the oldest to the newest, for tests and statistics. */
  *[Symbol.iterator](): IterableIterator<Entry> {
    for (let entry = this.#oldest; entry !== undefined; entry = entry.newer) yield entry;
  }
}
