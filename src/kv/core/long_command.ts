/**
 * Commands that may change any number of keys, in slices: deleting an interval and removing leases.
 * How they are sliced shows nowhere, because nothing is read or written in between as of their
 * revision.
 */
import { assert } from "../../base/assert.ts";
import type { Change, Store } from "./store.ts";
import type { DeleteRangeCommand } from "./command.ts";
import type { KeyValue, KvResult } from "./result.ts";
import { noBytes } from "./bytes.ts";
import { nowhere } from "./records.ts";
import type { Position } from "./key_index.ts";
import { SlicedSort } from "./sliced_sort.ts";

export interface LongCommand {
  readonly change: Change;
  /** Changes up to about this many keys; true when it is finished. */
  step(keys: number): boolean;
  /** Once it is finished and its revision is the store's. */
  result(revision: number): KvResult;
}

export class LongDelete implements LongCommand {
  readonly change: Change;
  readonly #store: Store;
  readonly #command: DeleteRangeCommand;
  readonly #previous: KeyValue[] = [];
  readonly #position: Position = { leaf: 0, slot: 0 };

  constructor(store: Store, command: DeleteRangeCommand) {
    this.#store = store;
    // The command's bytes are the entry's, which need not outlive the first slice.
    this.#command = { ...command, key: command.key.slice(), end: command.end.slice() };
    this.change = { main: store.revision + 1, sub: 0 };
    store.index.seek(this.#command.key, this.#position);
  }

  step(keys: number): boolean {
    const { key, end, previous } = this.#command;
    const collected = previous ? this.#previous : undefined;
    if (end.length > 0) {
      const run = { change: this.change, previous: collected, keys };
      return this.#store.deleteSome(this.#position, end, run);
    }
    this.#store.deleteRange(key, end, this.change, collected);
    return true;
  }

  result(revision: number): KvResult {
    const deleted = this.change.sub;
    return { kind: "deleteRange", revision, deleted, previous: this.#previous };
  }
}

/** Addresses that are collected or sorted in the time in which one key is deleted. */
const sortedPerKey = 4;

/** Removes leases: their keys in order, then themselves. */
export class LongRevoke implements LongCommand {
  readonly change: Change;
  readonly #store: Store;
  readonly #addresses: Iterator<number>;
  readonly #found: number[] = [];
  #sort: SlicedSort<number> | undefined = undefined;
  readonly #removed: () => void;
  #at = 0;

  /** `addresses` are those of live keys, each once. They hold: nothing is cleaned meanwhile. */
  constructor(store: Store, addresses: Iterator<number>, removed: () => void) {
    this.#store = store;
    this.#addresses = addresses;
    this.#removed = removed;
    this.change = { main: store.revision + 1, sub: 0 };
  }

  step(keys: number): boolean {
    const sort = this.#sort ??= this.#collect(keys * sortedPerKey);
    if (sort === undefined || !sort.step(keys * sortedPerKey)) return false;
    const { sorted } = sort;
    const { records } = this.#store;
    const to = Math.min(sorted.length, this.#at + keys);
    for (; this.#at < to; this.#at++) {
      this.#store.deleteRange(records.keyBytes(sorted[this.#at]), noBytes, this.change);
    }
    if (this.#at < sorted.length) return false;
    this.#removed();
    return true;
  }

  /** Undefined until all are found. */
  #collect(most: number): SlicedSort<number> | undefined {
    const { records } = this.#store;
    for (let left = most; left > 0; left--) {
      const { done, value } = this.#addresses.next();
      if (done === true) return new SlicedSort(this.#found, (a, b) => records.compareKeys(a, b));
      assert(this.#store.liveOf(value) !== nowhere, "a lease holds live keys");
      this.#found.push(value);
    }
    return undefined;
  }

  result(revision: number): KvResult {
    return { kind: "leaseRevoke", revision, deleted: this.change.sub };
  }
}
