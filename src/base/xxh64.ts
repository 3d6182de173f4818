/**
 * XXH64 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md), synchronous and without `BigInt`
 * on the way: each 64-bit lane is two 32-bit halves, because `Math.imul` on halves is some twenty
 * times faster than `BigInt.asUintN` on both engines. Not a cryptographic hash.
 */

// The spec's five primes, high and low half.
const p1High = 0x9e3779b1 | 0, p1Low = 0x85ebca87 | 0;
const p2High = 0xc2b2ae3d | 0, p2Low = 0x27d4eb4f | 0;
const p3High = 0x165667b1 | 0, p3Low = 0x9e3779f9 | 0;
const p4High = 0x85ebca77 | 0, p4Low = 0xc2b2ae63 | 0;
const p5High = 0x27d4eb2f | 0, p5Low = 0x165667c5 | 0;

const stripeBytes = 32;

/** The high 32 bits of the unsigned product of two 32-bit numbers. */
function highProduct(a: number, b: number): number {
  const a0 = a & 0xffff, a1 = a >>> 16, b0 = b & 0xffff, b1 = b >>> 16;
  const middle = (Math.imul(a1, b0) + (Math.imul(a0, b0) >>> 16)) | 0;
  const carry = (Math.imul(a0, b1) + (middle & 0xffff)) | 0;
  return (Math.imul(a1, b1) + (middle >>> 16) + (carry >>> 16)) | 0;
}

/** 1 when the unsigned sum of two halves, whose 32-bit result is given, went past 2^32. */
function carryOf(sum: number, part: number): number {
  return (sum >>> 0) < (part >>> 0) ? 1 : 0;
}

/**
 * A running XXH64. `update` may be called any number of times; `digest` may be asked at any point
 * and does not end the run.
 */
export class Xxh64 {
  /** Accumulators 1 to 4 as high, low pairs. */
  readonly #lanes = new Int32Array(8);
  /** Bytes that do not fill a stripe yet. */
  readonly #rest = new Uint8Array(stripeBytes);
  #restBytes = 0;
  /** Total length, exact up to 2^53. */
  #totalBytes = 0;
  readonly #seedHigh: number;
  readonly #seedLow: number;

  /** `seed` is taken modulo 2^64. */
  constructor(seed: number | bigint = 0) {
    const wide = BigInt.asUintN(64, BigInt(seed));
    this.#seedHigh = Number(wide >> 32n) | 0;
    this.#seedLow = Number(wide & 0xffffffffn) | 0;
    this.reset();
  }

  /** Back to the state of a new one with the same seed. */
  reset(): this {
    this.#restBytes = 0;
    this.#totalBytes = 0;
    const high = this.#seedHigh, low = this.#seedLow;
    this.#setLane(0, high, low);
    this.#addLane(0, p1High, p1Low);
    this.#addLane(0, p2High, p2Low);
    this.#setLane(2, high, low);
    this.#addLane(2, p2High, p2Low);
    this.#setLane(4, high, low);
    this.#setLane(6, high, low);
    // Minus prime 1 is adding its two's complement; the low half is not zero, so no carry there.
    this.#addLane(6, ~p1High, -p1Low | 0);
    return this;
  }

  update(bytes: Uint8Array): this {
    const total = bytes.length;
    this.#totalBytes += total;
    let at = 0;
    if (this.#restBytes > 0) {
      at = Math.min(stripeBytes - this.#restBytes, total);
      this.#rest.set(at === total ? bytes : bytes.subarray(0, at), this.#restBytes);
      this.#restBytes += at;
      if (this.#restBytes < stripeBytes) return this;
      this.#stripes(this.#rest, 0, stripeBytes);
      this.#restBytes = 0;
    }
    const whole = at + (total - at) - (total - at) % stripeBytes;
    if (whole > at) this.#stripes(bytes, at, whole);
    if (whole < total) {
      this.#rest.set(bytes.subarray(whole), 0);
      this.#restBytes = total - whole;
    }
    return this;
  }

  /** The hash of all bytes so far. */
  digest(): bigint {
    const [high, low] = this.#finish();
    return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  }

  /** The hash of all bytes so far, as 16 hexadecimal digits. */
  digestHex(): string {
    const [high, low] = this.#finish();
    return (high >>> 0).toString(16).padStart(8, "0") + (low >>> 0).toString(16).padStart(8, "0");
  }

  #setLane(at: number, high: number, low: number): void {
    this.#lanes[at] = high;
    this.#lanes[at + 1] = low;
  }

  #addLane(at: number, high: number, low: number): void {
    const sum = (this.#lanes[at + 1] + low) | 0;
    this.#lanes[at] = (this.#lanes[at] + high + carryOf(sum, low)) | 0;
    this.#lanes[at + 1] = sum;
  }

  /** Whole stripes from `at` up to `end`: lane = rotate(lane + input * prime 2, 31) * prime 1. */
  #stripes(bytes: Uint8Array, at: number, end: number): void {
    const lanes = this.#lanes;
    while (at < end) {
      for (let lane = 0; lane < 8; lane += 2) {
        const low = bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24;
        const high = bytes[at + 4] | bytes[at + 5] << 8 | bytes[at + 6] << 16 | bytes[at + 7] << 24;
        at += 8;
        const productLow = Math.imul(low, p2Low);
        const productHigh = highProduct(low, p2Low) + Math.imul(high, p2Low) +
          Math.imul(low, p2High);
        const sumLow = (lanes[lane + 1] + productLow) | 0;
        const sumHigh = (lanes[lane] + productHigh + carryOf(sumLow, productLow)) | 0;
        const turnedHigh = sumHigh << 31 | sumLow >>> 1;
        const turnedLow = sumLow << 31 | sumHigh >>> 1;
        lanes[lane + 1] = Math.imul(turnedLow, p1Low);
        lanes[lane] = highProduct(turnedLow, p1Low) + Math.imul(turnedHigh, p1Low) +
          Math.imul(turnedLow, p1High);
      }
    }
  }

  /** Works on a copy of the state, so that the run can go on. */
  #finish(): readonly [high: number, low: number] {
    const state = new Wide();
    if (this.#totalBytes >= stripeBytes) {
      const lanes = this.#lanes;
      const turns = [1, 7, 12, 18];
      for (let at = 0; at < 4; at++) {
        const lane = new Wide(lanes[at * 2], lanes[at * 2 + 1]).rotate(turns[at]);
        state.add(lane.high, lane.low);
      }
      for (let at = 0; at < 4; at++) {
        const lane = new Wide(lanes[at * 2], lanes[at * 2 + 1])
          .multiply(p2High, p2Low).rotate(31).multiply(p1High, p1Low);
        state.xor(lane.high, lane.low).multiply(p1High, p1Low).add(p4High, p4Low);
      }
    } else {
      state.add(this.#seedHigh, this.#seedLow).add(p5High, p5Low);
    }
    state.add(Math.floor(this.#totalBytes / 0x100000000) | 0, this.#totalBytes | 0);

    const rest = this.#rest, end = this.#restBytes;
    let at = 0;
    for (; at + 8 <= end; at += 8) {
      const word = new Wide(readHalf(rest, at + 4), readHalf(rest, at))
        .multiply(p2High, p2Low).rotate(31).multiply(p1High, p1Low);
      state.xor(word.high, word.low).rotate(27).multiply(p1High, p1Low).add(p4High, p4Low);
    }
    if (at + 4 <= end) {
      const word = new Wide(0, readHalf(rest, at)).multiply(p1High, p1Low);
      state.xor(word.high, word.low).rotate(23).multiply(p2High, p2Low).add(p3High, p3Low);
      at += 4;
    }
    for (; at < end; at++) {
      const word = new Wide(0, rest[at]).multiply(p5High, p5Low);
      state.xor(word.high, word.low).rotate(11).multiply(p1High, p1Low);
    }
    state.shiftXor(33).multiply(p2High, p2Low).shiftXor(29).multiply(p3High, p3Low).shiftXor(32);
    return [state.high, state.low];
  }
}

/** A 64-bit number in two halves, for the once-per-digest part where clarity beats speed. */
class Wide {
  high: number;
  low: number;

  constructor(high = 0, low = 0) {
    this.high = high;
    this.low = low;
  }

  add(high: number, low: number): this {
    const sum = (this.low + low) | 0;
    this.high = (this.high + high + carryOf(sum, low)) | 0;
    this.low = sum;
    return this;
  }

  xor(high: number, low: number): this {
    this.high ^= high;
    this.low ^= low;
    return this;
  }

  multiply(high: number, low: number): this {
    const upper = highProduct(this.low, low) + Math.imul(this.high, low) +
      Math.imul(this.low, high);
    this.low = Math.imul(this.low, low);
    this.high = upper | 0;
    return this;
  }

  /** Rotates left by 1 to 31 bits. */
  rotate(bits: number): this {
    const high = this.high << bits | this.low >>> (32 - bits);
    this.low = this.low << bits | this.high >>> (32 - bits);
    this.high = high;
    return this;
  }

  /** x ^= x >>> bits, for 1 to 63 bits. */
  shiftXor(bits: number): this {
    if (bits >= 32) {
      this.low ^= this.high >>> (bits - 32);
      return this;
    }
    const low = this.low >>> bits | this.high << (32 - bits);
    this.high ^= this.high >>> bits;
    this.low ^= low;
    return this;
  }
}

function readHalf(bytes: Uint8Array, at: number): number {
  return bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24;
}

/** XXH64 of the bytes. */
export function xxh64(bytes: Uint8Array, seed: number | bigint = 0): bigint {
  return new Xxh64(seed).update(bytes).digest();
}
