/**
 * A stable sort that can be taken in steps: short runs are sorted at once, then merged pairwise
 * until one is left.
 */
const runItems = 256;

export class SlicedSort<T> {
  readonly #compare: (a: T, b: T) => number;
  #from: T[];
  #to: T[];
  /** Length of sorted runs; 0 while they are being made. */
  #width = 0;
  /** Where the present pass stands. */
  #at = 0;

  /** The items are the sort's from here on. */
  constructor(items: T[], compare: (a: T, b: T) => number) {
    this.#compare = compare;
    this.#from = items;
    this.#to = new Array(items.length);
  }

  /** Moves about this many items; true when all is sorted. */
  step(items: number): boolean {
    const { length } = this.#from;
    for (let left = items; left > 0;) {
      if (this.#width >= length) return true;
      const before = this.#at;
      if (this.#width === 0) this.#sortRun();
      else this.#mergePair();
      left -= this.#at - before;
      if (this.#at >= length) this.#nextPass();
    }
    return this.#width >= length;
  }

  /** Once {@link step} said true. */
  get sorted(): T[] {
    return this.#from;
  }

  #sortRun(): void {
    const end = Math.min(this.#from.length, this.#at + runItems);
    const run = this.#from.slice(this.#at, end).sort(this.#compare);
    for (const item of run) this.#from[this.#at++] = item;
  }

  #mergePair(): void {
    const from = this.#from, to = this.#to;
    let left = this.#at;
    const middle = Math.min(from.length, left + this.#width);
    const end = Math.min(from.length, middle + this.#width);
    let right = middle;
    for (let at = this.#at; at < end; at++) {
      const takesLeft = left < middle &&
        (right >= end || this.#compare(from[left], from[right]) <= 0);
      to[at] = takesLeft ? from[left++] : from[right++];
    }
    this.#at = end;
  }

  #nextPass(): void {
    this.#at = 0;
    if (this.#width === 0) this.#width = runItems;
    else {
      this.#width *= 2;
      [this.#from, this.#to] = [this.#to, this.#from];
    }
  }
}
