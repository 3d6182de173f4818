/** What a node keeps: values of its own keys, and in a share of the memory copies of others'. */
import type { CacheCounters } from "./counters.ts";
import type { CacheSettings } from "./options.ts";
import type { Clock, Timer } from "../runtime/port.ts";
import type { CoveyError } from "../base/error.ts";
import { type Entry, entryBytes, Sieve } from "./core/sieve.ts";
import { ownBytes, ownText } from "./core/own_bytes.ts";

/** Entries that are looked at in one turn: less than a millisecond. */
const entriesPerTurn = 4096;
/** What an error takes beside its details. */
const errorBytes = 4096;

/** What is to be kept. */
export interface Kept {
  readonly table: Map<string, Entry>;
  readonly key: string;
  /** On the monotonic clock; Infinity for no end. */
  readonly expiresMs: number;
  /** Among the copies. */
  readonly isCopy: boolean;
}

export class Store {
  readonly own: Sieve;
  readonly copies: Sieve;
  readonly #clock: Clock;
  readonly #counters: CacheCounters;
  readonly #sweepMs: number;
  #sweep: Timer | undefined = undefined;
  #isSweeping = false;
  /** Tables that are not used any more and still have entries. */
  readonly #dropped: Map<string, Entry>[] = [];
  #dropping: Timer | undefined = undefined;
  #stopped = false;

  constructor(settings: CacheSettings, clock: Clock, counters: CacheCounters) {
    const copyBytes = Math.floor(settings.memoryBytesMax * settings.copyShare);
    this.own = new Sieve(settings.memoryBytesMax - copyBytes);
    this.copies = new Sieve(copyBytes);
    this.#clock = clock;
    this.#counters = counters;
    this.#sweepMs = settings.sweepMs;
  }

  get bytes(): number {
    return this.own.bytes + this.copies.bytes;
  }

  get entries(): number {
    return this.own.count + this.copies.count;
  }

  get evicted(): number {
    return this.own.evicted + this.copies.evicted;
  }

  /** What is there and has time left; it counts as asked for. */
  find(table: Map<string, Entry>, key: string): Entry | undefined {
    const entry = table.get(key);
    if (entry === undefined) return undefined;
    if (entry.expiresMs !== Infinity && entry.expiresMs <= this.#clock.monotonicMs()) {
      entry.place!.remove(entry);
      this.#counters.expired++;
      return undefined;
    }
    entry.visited = true;
    return entry;
  }

  isCopy(entry: Entry): boolean {
    return entry.place === this.copies;
  }

  /** False when there can be no room for it. */
  keep(kept: Kept, value: Uint8Array): boolean {
    const bytes = entryBytes(kept.key, value.length);
    // Nothing is copied for what does not come in.
    if (bytes > this.#list(kept).bytesMax) return false;
    return this.#add(kept, ownBytes(value), undefined, bytes);
  }

  keepError(kept: Kept, error: CoveyError): void {
    let bytes = entryBytes(kept.key, errorBytes);
    for (const { typeUrl, value } of error.details) bytes += value.length + typeUrl.length * 2 + 64;
    this.#add(kept, undefined, error, bytes);
  }

  remove(entry: Entry): void {
    entry.place!.remove(entry);
    this.#counters.removed++;
  }

  /** Takes the room of a table that nobody looks into any more, a piece at a time. */
  drop(table: Map<string, Entry>): void {
    this.#counters.removed += table.size;
    this.#dropped.push(table);
    if (this.#dropping === undefined) this.dropSome();
  }

  stop(): void {
    this.#stopped = true;
    this.#sweep?.cancel();
    this.#dropping?.cancel();
  }

  #list({ isCopy }: Kept): Sieve {
    return isCopy ? this.copies : this.own;
  }

  #add(
    kept: Kept,
    value: Uint8Array | undefined,
    error: CoveyError | undefined,
    bytes: number,
  ): boolean {
    const { table, expiresMs } = kept;
    const added = this.#list(kept).add({
      key: ownText(kept.key),
      table,
      value,
      error,
      bytes,
      expiresMs,
      visited: false,
      place: undefined,
      newer: undefined,
      older: undefined,
    });
    if (added && expiresMs !== Infinity) this.#armSweep(this.#sweepMs);
    return added;
  }

  #armSweep(delayMs: number): void {
    if (this.#stopped) return;
    this.#sweep ??= this.#clock.timer(delayMs, sweepStore, this);
  }

  /** The timer's work; public only for the timer. */
  sweepSome(): void {
    this.#sweep = undefined;
    if (!this.#isSweeping) {
      this.#isSweeping = true;
      this.own.beginSweep();
      this.copies.beginSweep();
    }
    const before = this.entries;
    const nowMs = this.#clock.monotonicMs();
    const hasMore = this.own.sweep(nowMs, entriesPerTurn) ||
      this.copies.sweep(nowMs, entriesPerTurn);
    this.#counters.expired += before - this.entries;
    if (hasMore) return this.#armSweep(1);
    this.#isSweeping = false;
    // Without anything that could expire nothing is armed: an idle cache does not wake the node.
    if (this.own.expiring + this.copies.expiring > 0) this.#armSweep(this.#sweepMs);
  }

  /** The timer's work; public only for the timer. */
  dropSome(): void {
    this.#dropping = undefined;
    let left = entriesPerTurn;
    while (left > 0 && this.#dropped.length > 0) {
      const [table] = this.#dropped;
      for (const entry of table.values()) {
        if (left-- === 0) break;
        entry.place!.remove(entry);
      }
      if (table.size === 0) this.#dropped.shift();
    }
    if (this.#dropped.length > 0 && !this.#stopped) {
      this.#dropping = this.#clock.timer(1, dropFromStore, this);
    }
  }
}

function sweepStore(store: Store): void {
  store.sweepSome();
}

function dropFromStore(store: Store): void {
  store.dropSome();
}
