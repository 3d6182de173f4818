/**
 * Which entries are on disk. Batches are written in order and reported in order, while newer ones
 * are being made. What a batch made durable is cut down as soon as a later one overwrites part of
 * it: an entry that was truncated and came back with the same term and index is durable when the
 * batch that brought it back is, not when the first one is.
 */
import { assert } from "../../base/assert.ts";
import type { HardState, LogIndex } from "./types.ts";

interface Flight {
  readonly batch: number;
  /** The last entry that is durable with this batch, unless something overwrote it since. */
  lastIndex: LogIndex;
  readonly hardState: HardState | undefined;
  readonly mustSync: boolean;
}

export class Durability {
  #batch = 0;
  #persisted = 0;
  #flights: Flight[] = [];
  #handedIndex: LogIndex;
  #stableIndex: LogIndex;
  #hardState: HardState;
  #waitingTicks = 0;

  constructor(lastIndex: LogIndex, hardState: HardState) {
    this.#handedIndex = lastIndex;
    this.#stableIndex = lastIndex;
    this.#hardState = hardState;
  }

  /** The last entry that a batch holds. */
  get handedIndex(): LogIndex {
    return this.#handedIndex;
  }

  /** Entries up to here are on disk, as they are in memory. */
  get stableIndex(): LogIndex {
    return this.#stableIndex;
  }

  /** As it would be read after a crash. */
  get hardState(): HardState {
    return this.#hardState;
  }

  /** How long a batch has been waiting for the disk, without any progress. */
  get waitingTicks(): number {
    return this.#waitingTicks;
  }

  /** A new batch holds everything up to `lastIndex`; its number is the answer. */
  hand(
    lastIndex: LogIndex,
    options: { readonly hardState: HardState | undefined; readonly mustSync: boolean },
  ): number {
    this.#handedIndex = lastIndex;
    this.#flights.push({ batch: ++this.#batch, lastIndex, ...options });
    return this.#batch;
  }

  /** The entries from `index` on are gone or replaced. */
  truncated(index: LogIndex): void {
    const last = index - 1 as LogIndex;
    if (this.#handedIndex > last) this.#handedIndex = last;
    if (this.#stableIndex > last) this.#stableIndex = last;
    for (const flight of this.#flights) {
      if (flight.lastIndex > last) flight.lastIndex = last;
    }
  }

  /** A snapshot replaces the log; it ends at `index` and is part of the batch being made. */
  replaced(index: LogIndex): void {
    this.truncated(1 as LogIndex);
    this.#handedIndex = index;
  }

  /** Batches up to this one are on disk. */
  persisted(batch: number): void {
    assert(
      Number.isSafeInteger(batch) && batch <= this.#batch,
      "only a batch that was handed out can be persisted",
    );
    assert(batch >= this.#persisted, "batches are persisted in order");
    this.#persisted = batch;
    let done = 0;
    for (const flight of this.#flights) {
      if (flight.batch > batch) break;
      done++;
      if (flight.lastIndex > this.#stableIndex) this.#stableIndex = flight.lastIndex;
      if (flight.hardState !== undefined) this.#hardState = flight.hardState;
      this.#waitingTicks = 0;
    }
    if (done > 0) this.#flights = this.#flights.slice(done);
    assert(this.#stableIndex <= this.#handedIndex, "what is durable was handed out");
  }

  tick(): void {
    const isWaiting = this.#flights.some((flight) => flight.mustSync);
    this.#waitingTicks = isWaiting ? this.#waitingTicks + 1 : 0;
  }
}
