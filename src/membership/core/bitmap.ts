/** A set of places in a configuration, as bits: votes of two thousand members are 250 bytes. */
export class Bitmap {
  readonly words: Uint32Array;
  #size = 0;

  /** Of places below `length`. */
  constructor(length: number) {
    this.words = new Uint32Array((length + 31) >>> 5);
  }

  get size(): number {
    return this.#size;
  }

  has(place: number): boolean {
    return (this.words[place >>> 5] & (1 << (place & 31))) !== 0;
  }

  /** Says whether that is news. */
  add(place: number): boolean {
    const bit = 1 << (place & 31);
    if ((this.words[place >>> 5] & bit) !== 0) return false;
    this.words[place >>> 5] |= bit;
    this.#size++;
    return true;
  }

  delete(place: number): void {
    if (!this.has(place)) return;
    this.words[place >>> 5] &= ~(1 << (place & 31));
    this.#size--;
  }

  /** Adds all of the other one, which has the same length. */
  addAll(other: Bitmap): void {
    for (let at = 0; at < this.words.length; at++) {
      const news = other.words[at] & ~this.words[at];
      if (news === 0) continue;
      this.words[at] |= news;
      this.#size += bitCount(news);
    }
  }

  /** How many are in both. */
  common(other: Bitmap): number {
    let count = 0;
    for (let at = 0; at < this.words.length; at++) {
      count += bitCount(this.words[at] & other.words[at]);
    }
    return count;
  }

  clone(): Bitmap {
    const copy = new Bitmap(this.words.length * 32);
    copy.addAll(this);
    return copy;
  }

  /** Ascending. */
  *[Symbol.iterator](): Generator<number> {
    for (let at = 0; at < this.words.length; at++) {
      let word = this.words[at];
      while (word !== 0) {
        yield at * 32 + 31 - Math.clz32(word & -word);
        word &= word - 1;
      }
    }
  }
}

/** How many bits of a 32-bit number are set. */
export function bitCount(bits: number): number {
  let rest = bits - ((bits >>> 1) & 0x55555555);
  rest = (rest & 0x33333333) + ((rest >>> 2) & 0x33333333);
  return Math.imul((rest + (rest >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
