/** How many, and who, it takes to decide in a configuration. */
import { Bitmap } from "./bitmap.ts";

/**
 * What becomes of two members when one of them is gone. `stall`: nothing changes until it is back,
 * as with any other half. `first`: the one whose address is lower decides alone, the other one never.
 */
export type TwoMembers = "stall" | "first";

export class Quorums {
  readonly voters: Bitmap;
  readonly #count: number;
  readonly #fast: number;
  readonly #classic: number;
  /** Who decides alone. */
  readonly #first: number | undefined;

  /** `core`: places of those who vote among `size` members, ascending. */
  constructor(core: readonly number[], size: number, twoMembers: TwoMembers) {
    this.voters = new Bitmap(size);
    for (const place of core) this.voters.add(place);
    this.#count = core.length;
    this.#fast = core.length - Math.floor((core.length - 1) / 4);
    this.#classic = Math.floor(core.length / 2) + 1;
    this.#first = core.length === 2 && twoMembers === "first" ? core[0] : undefined;
  }

  isFast(from: Bitmap): boolean {
    return this.#first === undefined ? from.size >= this.#fast : from.has(this.#first);
  }

  isClassic(from: Bitmap): boolean {
    return this.#first === undefined ? from.size >= this.#classic : from.has(this.#first);
  }

  /** Whether anything can be decided although these say nothing. */
  classicWithout(silent: Bitmap): boolean {
    if (this.#first !== undefined) return !silent.has(this.#first);
    return this.#count - this.voters.common(silent) >= this.#classic;
  }

  /** Whether the fast round can decide although these say nothing. */
  fastWithout(silent: Bitmap): boolean {
    if (this.#first !== undefined) return !silent.has(this.#first);
    return this.#count - this.voters.common(silent) >= this.#fast;
  }

  /**
   * Whether a value may have been decided in the fast round, or may be yet: of those who promised
   * these voted for it, and anybody else might have.
   */
  mayBeFast(voted: Bitmap, promised: Bitmap): boolean {
    if (this.#first !== undefined) return voted.has(this.#first);
    return voted.size + this.#count - promised.size >= this.#fast;
  }
}
