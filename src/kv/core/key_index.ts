/**
 * The keys in order: a sorted row of leaves, each a packed row of key addresses. Two levels are
 * enough for tens of millions of keys, because a leaf is split once in some hundred inserts and the
 * row of leaves is moved as one block then. Each leaf counts its live keys (those whose newest
 * revision is no deletion), which makes counting a range cheap.
 */
import { assert } from "../../base/assert.ts";
import { compareBytes } from "./bytes.ts";
import type { Records } from "./records.ts";

const leafKeysMax = 256;
/** Leaves that together have no more than this become one. */
const leafKeysMerged = 96;

export class Leaf {
  readonly keys: Uint32Array = new Uint32Array(leafKeysMax);
  count = 0;
  live = 0;
}

/** A place in the index; valid until a key is inserted or removed. */
export interface Position {
  leaf: number;
  slot: number;
}

export class KeyIndex {
  readonly leaves: Leaf[] = [new Leaf()];
  /** The first key of each leaf, in one row: most of a search is here. */
  #fences = new Uint32Array(64);
  readonly #records: Records;
  /** Where {@link find} ended: the key, or where it would stand. */
  #leaf = 0;
  #slot = 0;
  #size = 0;
  #live = 0;

  constructor(records: Records) {
    this.#records = records;
  }

  /** All keys, deleted ones included until they are compacted away. */
  get size(): number {
    return this.#size;
  }

  get live(): number {
    return this.#live;
  }

  /** The key's address, or 0; remembers the place for what follows. */
  find(key: Uint8Array, keyFrom = 0, keyTo = key.length): number {
    const leaves = this.leaves;
    const records = this.#records;
    const fences = this.#fences;
    // The last leaf whose first key is not after the wanted one.
    let low = 0, high = leaves.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (records.compareKey(fences[middle], key, keyFrom, keyTo) <= 0) low = middle;
      else high = middle - 1;
    }
    this.#leaf = low;
    const leaf = leaves[low];
    const keys = leaf.keys;
    let from = 0, to = leaf.count;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const order = records.compareKey(keys[middle], key, keyFrom, keyTo);
      if (order === 0) {
        this.#slot = middle;
        return keys[middle];
      }
      if (order < 0) from = middle + 1;
      else to = middle;
    }
    this.#slot = from;
    return 0;
  }

  /** As {@link find}, and at once where keys come in their order: behind the one that was last. */
  findNext(key: Uint8Array, keyFrom: number, keyTo: number): number {
    const records = this.#records;
    const leaf = this.leaves[this.#leaf];
    const next = this.#slot + 1;
    if (next > leaf.count || records.compareKey(leaf.keys[next - 1], key, keyFrom, keyTo) >= 0) {
      return this.find(key, keyFrom, keyTo);
    }
    if (next < leaf.count) {
      const order = records.compareKey(leaf.keys[next], key, keyFrom, keyTo);
      if (order < 0) return this.find(key, keyFrom, keyTo);
      this.#slot = next;
      return order === 0 ? leaf.keys[next] : 0;
    }
    const isLast = this.#leaf === this.leaves.length - 1;
    if (!isLast && records.compareKey(this.#fences[this.#leaf + 1], key, keyFrom, keyTo) <= 0) {
      return this.find(key, keyFrom, keyTo);
    }
    this.#slot = next;
    return 0;
  }

  /** The first key that is not before the given one. */
  seek(key: Uint8Array, position: Position): void {
    this.find(key);
    position.leaf = this.#leaf;
    position.slot = this.#slot;
    this.settle(position);
  }

  /** Moves a position past the end of its leaf to the next one; false at the end of all. */
  settle(position: Position): boolean {
    while (position.leaf < this.leaves.length) {
      if (position.slot < this.leaves[position.leaf].count) return true;
      position.leaf++;
      position.slot = 0;
    }
    return false;
  }

  /** Inserts a key, not live yet, where {@link find} just did not find it. */
  insert(address: number): void {
    let leaf = this.leaves[this.#leaf];
    if (leaf.count === leafKeysMax) leaf = this.#split(leaf);
    leaf.keys.copyWithin(this.#slot + 1, this.#slot, leaf.count);
    leaf.keys[this.#slot] = address;
    if (this.#slot === 0) this.#fences[this.#leaf] = address;
    leaf.count++;
    this.#size++;
  }

  /** The key that {@link find} just found, or that was just inserted, became live or dead. */
  countLive(change: 1 | -1): void {
    this.countLiveIn(this.#leaf, change);
  }

  countLiveIn(leaf: number, change: number): void {
    this.leaves[leaf].live += change;
    this.#live += change;
  }

  /** Removes the key, which is not live, that {@link find} just found. */
  removeFound(): void {
    const at = this.#leaf;
    const leaf = this.leaves[at];
    leaf.keys.copyWithin(this.#slot, this.#slot + 1, leaf.count);
    leaf.count--;
    if (this.#slot === 0) this.#fences[at] = leaf.keys[0];
    this.#size--;
    assert(leaf.live <= leaf.count, "only dead keys are removed");
    this.#merge(at);
  }

  /** After the last key of all, for keys that come in order; false if the key is not after it. */
  append(key: Uint8Array, address: number): boolean {
    const last = this.leaves.length - 1;
    const leaf = this.leaves[last];
    if (leaf.count > 0 && this.#records.compareKey(leaf.keys[leaf.count - 1], key) >= 0) {
      return false;
    }
    this.#leaf = last;
    this.#slot = leaf.count;
    this.insert(address);
    return true;
  }

  /** Returns the leaf that the remembered place is in now. */
  #split(leaf: Leaf): Leaf {
    const next = new Leaf();
    // Keys that come in order fill their leaves: past the last one a new leaf begins.
    const atEnd = this.#leaf === this.leaves.length - 1 && this.#slot === leaf.count;
    const cut = atEnd ? leaf.count : leaf.count >>> 1;
    next.keys.set(leaf.keys.subarray(cut, leaf.count));
    next.count = leaf.count - cut;
    leaf.count = cut;
    for (let slot = 0; slot < next.count; slot++) {
      if (this.#isLive(next.keys[slot])) next.live++;
    }
    leaf.live -= next.live;
    this.#addFence(this.#leaf + 1, next.keys[0]);
    this.leaves.splice(this.#leaf + 1, 0, next);
    if (this.#slot <= cut && !atEnd) return leaf;
    this.#leaf++;
    this.#slot -= cut;
    return next;
  }

  /** Joins a leaf that became small with a neighbour that is small too. */
  #merge(at: number): void {
    if (this.leaves.length === 1) return;
    const left = Math.min(at, this.leaves.length - 2);
    const first = this.leaves[left];
    const second = this.leaves[left + 1];
    // An empty leaf always fits into its neighbour.
    if (first.count + second.count > leafKeysMerged && this.leaves[at].count > 0) return;
    first.keys.set(second.keys.subarray(0, second.count), first.count);
    first.count += second.count;
    first.live += second.live;
    this.#fences[left] = first.keys[0];
    this.#fences.copyWithin(left + 1, left + 2, this.leaves.length);
    this.leaves.splice(left + 1, 1);
  }

  #addFence(at: number, key: number): void {
    const count = this.leaves.length;
    if (count === this.#fences.length) {
      const grown = new Uint32Array(count * 2);
      grown.set(this.#fences);
      this.#fences = grown;
    }
    this.#fences.copyWithin(at + 1, at, count);
    this.#fences[at] = key;
  }

  #isLive(key: number): boolean {
    const newest = this.#records.newest(key);
    return newest !== 0 && this.#records.version(newest) !== 0;
  }

  /** Every invariant, for tests. */
  check(): string | undefined {
    let size = 0, live = 0;
    let last: Uint8Array | undefined;
    for (const [at, leaf] of this.leaves.entries()) {
      if (leaf.count > 0 && this.#fences[at] !== leaf.keys[0]) return "a wrong fence";
      if (leaf.count === 0 && this.leaves.length > 1) return "an empty leaf among others";
      let alive = 0;
      for (let slot = 0; slot < leaf.count; slot++) {
        const key = this.#records.keyBytes(leaf.keys[slot]);
        if (last !== undefined && compareBytes(last, key) >= 0) return "keys out of order";
        last = key;
        if (this.#isLive(leaf.keys[slot])) alive++;
      }
      if (alive !== leaf.live) return `a leaf counts ${leaf.live} live keys and has ${alive}`;
      size += leaf.count;
      live += alive;
    }
    if (size !== this.#size || live !== this.#live) return "the totals are wrong";
    return undefined;
  }
}
