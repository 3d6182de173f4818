/**
 * MurmurHash3 (x86, 32 bits; Austin Appleby, public domain), twice at once with two seeds: 64 bits
 * for less than a tenth of what our XXH64 takes for a short key, which is asked for with each call
 * to an owner. Members agree on owners by it, so it stays as it is. Not a cryptographic hash.
 */

/** Halves of a 64-bit hash. */
export interface Hash {
  readonly high: number;
  readonly low: number;
}

const first = 0xcc9e2d51 | 0;
const second = 0x1b873593 | 0;

export class Murmur implements Hash {
  high = 0;
  low = 0;

  /** Takes the first `length` bytes; each seed has 32 bits. */
  take(bytes: Uint8Array, length: number, seedHigh: number, seedLow: number): this {
    let high = seedHigh | 0;
    let low = seedLow | 0;
    const whole = length & ~3;
    for (let at = 0; at < whole; at += 4) {
      const word = scramble(
        bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24,
      );
      high ^= word;
      high = Math.imul(high << 13 | high >>> 19, 5) + 0xe6546b64 | 0;
      low ^= word;
      low = Math.imul(low << 13 | low >>> 19, 5) + 0xe6546b64 | 0;
    }
    let rest = 0;
    for (let at = length - 1; at >= whole; at--) rest = rest << 8 | bytes[at];
    if (length > whole) {
      const word = scramble(rest);
      high ^= word;
      low ^= word;
    }
    this.high = mix(high ^ length);
    this.low = mix(low ^ length);
    return this;
  }
}

/** The finalizer: every bit of the input moves every bit of the output. */
export function mix(value: number): number {
  let mixed = Math.imul(value ^ value >>> 16, 0x85ebca6b);
  mixed = Math.imul(mixed ^ mixed >>> 13, 0xc2b2ae35);
  return mixed ^ mixed >>> 16;
}

function scramble(word: number): number {
  const product = Math.imul(word, first);
  return Math.imul(product << 15 | product >>> 17, second);
}
