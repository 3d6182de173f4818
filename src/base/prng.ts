/**
 * The seeded generator for everything that must replay: xoshiro128** by Blackman and Vigna, its
 * state filled by splitmix32. Integers only, so that both engines give the same sequence.
 */
export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    let state = seed >>> 0;
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let z = state ^ (state >>> 16);
      z = Math.imul(z, 0x21f0aaad);
      z ^= z >>> 15;
      z = Math.imul(z, 0x735a2d97);
      return z ^ (z >>> 15);
    };
    this.#a = next();
    this.#b = next();
    this.#c = next();
    this.#d = next();
    // The all-zero state is the generator's one fixed point.
    if ((this.#a | this.#b | this.#c | this.#d) === 0) this.#a = 1;
  }

  /** The next 32 bits, unsigned. */
  next(): number {
    const product = Math.imul(this.#b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** A whole number from 0 up to but not including `bound`, which is at most 2^32. */
  below(bound: number): number {
    // Rejection keeps it unbiased; the loop ends at once for all but the last partial range.
    const limit = 0x100000000 - (0x100000000 % bound);
    let value = this.next();
    while (value >= limit) value = this.next();
    return value % bound;
  }

  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** A fraction from 0 up to but not including 1, of 32 bits. */
  fraction(): number {
    return this.next() / 0x100000000;
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** One of the items; there must be at least one. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }

  /** A generator of its own, so that one part's draws do not shift another's. */
  fork(): Prng {
    return new Prng(this.next());
  }

  fill(target: Uint8Array): void {
    for (let at = 0; at < target.length; at++) target[at] = this.next() & 255;
  }
}
