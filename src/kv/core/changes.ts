/**
 * The changes since some revision, one by one where they lie, for whoever serves many watches: most
 * changes concern few of them, so nothing is copied before somebody wants it.
 */
import type { EventCursor } from "./events.ts";
import { eventOfRecord } from "./events.ts";
import type { KvEvent } from "./result.ts";
import type { Store } from "./store.ts";

/** What is told of a change. */
export interface ToldChange {
  readonly revision: number;
  /** Its number among the changes of its revision, from 0. */
  readonly sub: number;
  readonly isDelete: boolean;
  /** The change as an event; every call gives the same one. */
  event(previous: boolean): KvEvent;
}

/** One change. Valid while it is visited; the events that it gave stay. */
export class Change implements ToldChange {
  readonly #store: Store;
  #record = 0;
  #key = 0;
  #plain: KvEvent | undefined = undefined;
  #full: KvEvent | undefined = undefined;

  constructor(store: Store) {
    this.#store = store;
  }

  /** For the walk alone. */
  show(record: number): this {
    this.#record = record;
    this.#key = this.#store.records.key(record);
    this.#plain = undefined;
    this.#full = undefined;
    return this;
  }

  get revision(): number {
    return this.#store.records.mod(this.#record);
  }

  get sub(): number {
    return this.#store.records.sub(this.#record);
  }

  get isDelete(): boolean {
    return this.#store.records.version(this.#record) === 0;
  }

  /** Of the key's bytes; `hashBytes` gives the same. */
  keyHash(): number {
    return this.#store.records.keyHash(this.#key);
  }

  /** Negative, zero or positive as its key sorts before, with or after these bytes. */
  compareKey(bytes: Uint8Array): number {
    return this.#store.records.compareKey(this.#key, bytes);
  }

  event(previous: boolean): KvEvent {
    if (previous) return this.#full ??= eventOfRecord(this.#store, this.#record, true);
    return this.#plain ??= eventOfRecord(this.#store, this.#record, false);
  }
}

/** A change that outlives its visit. */
export function kept(change: Change): ToldChange {
  const { revision, sub, isDelete } = change;
  const full = change.event(true), plain = change.event(false);
  return { revision, sub, isDelete, event: (previous) => previous ? full : plain };
}

export interface ChangesRequest {
  readonly from: EventCursor;
  /** Look at so many changes at most. */
  readonly changesMax: number;
  /** False: this one is not wanted now, and nothing after it. */
  readonly visit: (change: Change) => boolean;
}

export type ChangesPage =
  | {
    readonly kind: "changes";
    /** The first change that was not visited. */
    readonly next: EventCursor;
    /** Nothing is left up to the store's newest revision. */
    readonly caughtUp: boolean;
  }
  | { readonly kind: "compacted"; readonly compactRevision: number };

export function walkChanges(store: Store, request: ChangesRequest): ChangesPage {
  const { history, records } = store;
  const { from, changesMax, visit } = request;
  if (from.revision < store.compactRevision) {
    return { kind: "compacted", compactRevision: store.compactRevision };
  }
  const { begin, end } = store.unread(from);
  const stop = Math.min(end, begin + Math.max(changesMax, 1));
  const change = new Change(store);
  let position = begin;
  while (position < stop && visit(change.show(history.record(position)))) position++;
  if (position === end) return { kind: "changes", next: store.after(from), caughtUp: true };
  const record = history.record(position);
  const next = { revision: records.mod(record), sub: records.sub(record) };
  return { kind: "changes", next, caughtUp: false };
}
