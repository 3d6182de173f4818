/**
 * The few protobuf wire primitives that the envelope needs, written for the path of every call:
 * no objects, no big integers, positions instead of slices
 * (https://protobuf.dev/programming-guides/encoding/).
 */

/** Below this a loop is faster than a view and `set`. */
const loopBytesMax = 96;

/** Copies `source[from, to)` to `target` at `at`. */
export function copyInto(
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  from: number,
  to: number,
): void {
  if (to - from <= loopBytesMax) {
    for (let read = from, write = at; read < to; read++, write++) target[write] = source[read];
  } else {
    target.set(from === 0 && to === source.length ? source : source.subarray(from, to), at);
  }
}

/** A copy of `source[from, to)`; `slice` of a Node Buffer would be a view. */
export function copyOf(source: Uint8Array, from: number, to: number): Uint8Array {
  return new Uint8Array(source.subarray(from, to));
}

/** Bytes that a varint of an unsigned 32-bit value takes. */
export function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  return value < 0x10000000 ? 4 : 5;
}

/** Writes an unsigned 32-bit varint; returns the position after it. */
export function writeVarint(target: Uint8Array, at: number, value: number): number {
  let rest = value >>> 0;
  while (rest > 0x7f) {
    target[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[at++] = rest;
  return at;
}

/** Bytes that a varint of a 64-bit value, given in two halves, takes. */
export function varint64Bytes(low: number, high: number): number {
  const h = high >>> 0;
  if (h === 0) return varintBytes(low >>> 0);
  if (h < 0x8) return 5;
  if (h < 0x400) return 6;
  if (h < 0x20000) return 7;
  if (h < 0x1000000) return 8;
  return h < 0x80000000 ? 9 : 10;
}

export function writeVarint64(target: Uint8Array, at: number, low: number, high: number): number {
  let l = low >>> 0;
  let h = high >>> 0;
  while (h !== 0 || l > 0x7f) {
    target[at++] = (l & 0x7f) | 0x80;
    l = ((l >>> 7) | (h << 25)) >>> 0;
    h >>>= 7;
  }
  target[at++] = l;
  return at;
}

/**
 * Reads one message's fields in order. After {@link next} the fields of the cursor describe the
 * field that was read; a malformed message sets {@link failed} and ends the loop.
 */
export class WireCursor {
  #buffer: Uint8Array = new Uint8Array(0);
  #at = 0;
  #end = 0;
  /** The field's number and wire type. */
  field = 0;
  type = 0;
  /** The halves of a varint (type 0). */
  low = 0;
  high = 0;
  /** The range of a length-delimited field (type 2). */
  start = 0;
  end = 0;
  failed = false;

  open(buffer: Uint8Array, start: number, end: number): void {
    this.#buffer = buffer;
    this.#at = start;
    this.#end = end;
    this.failed = false;
  }

  /** Drops the reference to the buffer. */
  shut(): void {
    this.#buffer = new Uint8Array(0);
  }

  /** Moves to the next field; false at the end or when the message is malformed. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    this.#varint();
    if (this.failed) return false;
    // A tag is a 32-bit varint; field numbers go from 1 to 2^29-1.
    if (this.high !== 0 || this.low >>> 3 === 0) return this.#fail();
    this.field = this.low >>> 3;
    this.type = this.low & 7;
    switch (this.type) {
      case 0:
        this.#varint();
        return !this.failed;
      case 1:
        return this.#skip(8);
      case 2: {
        this.#varint();
        if (this.failed) return false;
        if (this.high !== 0 || this.low >>> 0 > this.#end - this.#at) return this.#fail();
        this.start = this.#at;
        this.end = this.#at + (this.low >>> 0);
        this.#at = this.end;
        return true;
      }
      case 3:
        return this.#skipGroup(this.field);
      case 5:
        return this.#skip(4);
      default:
        return this.#fail();
    }
  }

  #fail(): boolean {
    this.failed = true;
    return false;
  }

  #skip(bytes: number): boolean {
    if (this.#end - this.#at < bytes) return this.#fail();
    this.#at += bytes;
    return true;
  }

  /** Skips a group of the old wire format, nested ones included, without recursion. */
  #skipGroup(field: number): boolean {
    const open: number[] = [field];
    while (open.length > 0) {
      if (this.#at >= this.#end || open.length > 100) return this.#fail();
      this.#varint();
      if (this.failed || this.high !== 0 || this.low >>> 3 === 0) return this.#fail();
      const inner = this.low >>> 3;
      switch (this.low & 7) {
        case 0:
          this.#varint();
          break;
        case 1:
          this.#skip(8);
          break;
        case 2:
          this.#varint();
          if (this.failed || this.high !== 0) return this.#fail();
          this.#skip(this.low >>> 0);
          break;
        case 3:
          open.push(inner);
          break;
        case 4:
          if (open.pop() !== inner) return this.#fail();
          break;
        case 5:
          this.#skip(4);
          break;
        default:
          return this.#fail();
      }
      if (this.failed) return false;
    }
    this.field = field;
    this.type = 3;
    return true;
  }

  #varint(): void {
    const buffer = this.#buffer;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.#at >= this.#end) {
        this.failed = true;
        return;
      }
      const byte = buffer[this.#at++];
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else if (shift < 63) high |= bits << (shift - 32);
      else if (bits > 1) {
        // The tenth byte holds one bit.
        this.failed = true;
        return;
      } else high |= bits << 31;
      if (byte < 0x80) {
        this.low = low;
        this.high = high;
        return;
      }
    }
    this.failed = true;
  }
}
