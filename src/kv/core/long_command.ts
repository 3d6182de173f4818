/**
 * Commands that may change any number of keys, in slices: deleting an interval and removing leases.
 * How they are sliced shows nowhere, because nothing is read or written in between as of their
 * revision.
 */
import type { Change, Store } from "./store.ts";
import type { DeleteRangeCommand } from "./command.ts";
import type { KeyValue, KvResult } from "./result.ts";
import { noBytes } from "./bytes.ts";
import type { Position } from "./key_index.ts";

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

/** Removes leases: their keys in order, then themselves. */
export class LongRevoke implements LongCommand {
  readonly change: Change;
  readonly #store: Store;
  readonly #keys: readonly Uint8Array[];
  readonly #removed: () => void;
  #at = 0;

  constructor(store: Store, keys: readonly Uint8Array[], removed: () => void) {
    this.#store = store;
    this.#keys = keys;
    this.#removed = removed;
    this.change = { main: store.revision + 1, sub: 0 };
  }

  step(keys: number): boolean {
    const to = Math.min(this.#keys.length, this.#at + keys);
    for (; this.#at < to; this.#at++) {
      this.#store.deleteRange(this.#keys[this.#at], noBytes, this.change);
    }
    if (this.#at < this.#keys.length) return false;
    this.#removed();
    return true;
  }

  result(revision: number): KvResult {
    return { kind: "leaseRevoke", revision, deleted: this.change.sub };
  }
}
