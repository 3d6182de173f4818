/**
 * The window of appends that a follower has not acknowledged, limited by messages and by bytes. A
 * ring of last indexes and sizes, grown only as far as it is used: most followers never have more
 * than a few appends under way.
 */
import { assert } from "../../base/assert.ts";
import type { LogIndex } from "./types.ts";

/** Shared by all windows of a replica; the driver may change it at any time. */
export interface InflightLimits {
  readonly messagesMax: number;
  /** The window is full once so many bytes are under way; the append that passes it is let out. */
  bytesMax: number;
}

export class Inflights {
  readonly #limits: InflightLimits;
  #lastIndexes: LogIndex[] = [];
  #sizes: number[] = [];
  #start = 0;
  #count = 0;
  #bytes = 0;

  constructor(limits: InflightLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  isFull(): boolean {
    return this.#count >= this.#limits.messagesMax || this.#bytes >= this.#limits.bytesMax;
  }

  /** An append whose last entry is `lastIndex` went out. Indexes never descend. */
  add(lastIndex: LogIndex, bytes: number): void {
    assert(!this.isFull(), "an append is sent only into a window with room");
    if (this.#count === this.#lastIndexes.length) this.#grow();
    const at = (this.#start + this.#count) % this.#lastIndexes.length;
    this.#lastIndexes[at] = lastIndex;
    this.#sizes[at] = bytes;
    this.#count++;
    this.#bytes += bytes;
  }

  /** Everything up to `index` has been acknowledged. */
  freeUpTo(index: LogIndex): void {
    while (this.#count > 0 && this.#lastIndexes[this.#start] <= index) {
      this.#bytes -= this.#sizes[this.#start];
      this.#start = (this.#start + 1) % this.#lastIndexes.length;
      this.#count--;
    }
  }

  clear(): void {
    this.#start = 0;
    this.#count = 0;
    this.#bytes = 0;
  }

  #grow(): void {
    const size = Math.min(this.#limits.messagesMax, Math.max(4, this.#count * 2));
    const indexes: LogIndex[] = [];
    const sizes: number[] = [];
    for (let at = 0; at < size; at++) {
      const from = (this.#start + at) % Math.max(1, this.#count);
      indexes.push(at < this.#count ? this.#lastIndexes[from] : 0 as LogIndex);
      sizes.push(at < this.#count ? this.#sizes[from] : 0);
    }
    this.#lastIndexes = indexes;
    this.#sizes = sizes;
    this.#start = 0;
  }
}
