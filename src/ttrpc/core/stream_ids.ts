/**
 * Which stream ids a client has used on a connection. Go's server demands that they increase;
 * Rust's client may put them on the wire out of order, since it allocates before it queues. By
 * default an id that was skipped may therefore still come, once; `strict` is Go's rule.
 */

/** Skipped ranges that are remembered; the oldest are forgotten, and their ids count as used. */
const gapsMax = 256;

export class StreamIds {
  readonly #strict: boolean;
  #last = -1;
  /** Skipped odd ids as [first, last] pairs, ascending. */
  #gaps: number[] | undefined = undefined;

  constructor(strict: boolean) {
    this.#strict = strict;
  }

  /** The highest id seen, -1 before the first. */
  get last(): number {
    return this.#last;
  }

  /** Whether a new stream may have this id; if so the id is used from now on. */
  use(id: number): boolean {
    if (id > this.#last) {
      if (id > this.#last + 2 && !this.#strict) this.#skip(this.#last + 2, id - 2);
      this.#last = id;
      return true;
    }
    return !this.#strict && this.#gaps !== undefined && this.#fill(this.#gaps, id);
  }

  #skip(first: number, last: number): void {
    this.#gaps ??= [];
    this.#gaps.push(first, last);
    bound(this.#gaps);
  }

  #fill(gaps: number[], id: number): boolean {
    for (let at = 0; at < gaps.length; at += 2) {
      const first = gaps[at];
      const last = gaps[at + 1];
      if (id < first || id > last) continue;
      if (first === last) gaps.splice(at, 2);
      else if (id === first) gaps[at] = id + 2;
      else if (id === last) gaps[at + 1] = id - 2;
      else {
        gaps.splice(at + 1, 1, id - 2, id + 2, last);
        bound(gaps);
      }
      return true;
    }
    return false;
  }
}

function bound(gaps: number[]): void {
  if (gaps.length > gapsMax * 2) gaps.splice(0, 2);
}
