/** Bytes in order: comparing, and the reader and writer of the machine's own formats. */

/** Negative, zero or positive as `a` sorts before, with or after `b`. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const common = Math.min(a.length, b.length);
  for (let at = 0; at < common; at++) {
    const difference = a[at] - b[at];
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/**
 * Whether a key is in the interval that `key` and `end` name, as etcd reads them: no end is the one
 * key, an end of a single zero byte is every key from `key` on, else `end` is excluded.
 */
export function inInterval(candidate: Uint8Array, key: Uint8Array, end: Uint8Array): boolean {
  const order = compareBytes(candidate, key);
  if (end.length === 0) return order === 0;
  if (order < 0) return false;
  return isOpenEnd(end) || compareBytes(candidate, end) < 0;
}

/** The end that means "no end". */
export function isOpenEnd(end: Uint8Array): boolean {
  return end.length === 1 && end[0] === 0;
}

export const noBytes: Uint8Array = new Uint8Array(0);

/**
 * Up to here a loop is no slower than a view and `set`. A view is one more object, and in
 * JavaScriptCore it moves the source out of the collector's heap for good: 400 bytes more for each
 * entry that the log keeps.
 */
const loopBytesMax = 512;

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
  } else target.set(from === 0 && to === source.length ? source : source.subarray(from, to), at);
}

/** The end of the interval that holds every key with this prefix. */
export function prefixEnd(prefix: Uint8Array): Uint8Array {
  for (let last = prefix.length - 1; last >= 0; last--) {
    if (prefix[last] === 255) continue;
    const end = prefix.slice(0, last + 1);
    end[last]++;
    return end;
  }
  return Uint8Array.of(0);
}

/** 32 bits of `bytes[from, to)`, for tables in memory (FNV-1a). */
export function hashBytes(bytes: Uint8Array, from = 0, to = bytes.length): number {
  let hash = 0x811c9dc5;
  for (let at = from; at < to; at++) hash = Math.imul(hash ^ bytes[at], 0x01000193);
  return hash >>> 0;
}

/** The bytes that {@link ByteWriter.number} writes. */
export function numberBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}

/** Grows as it is written to. Numbers are safe integers from 0 as little-endian base-128. */
export class ByteWriter {
  #bytes: Uint8Array;
  #at = 0;

  constructor(bytesExpected = 64) {
    this.#bytes = new Uint8Array(bytesExpected);
  }

  get length(): number {
    return this.#at;
  }

  byte(value: number): this {
    this.#room(1);
    this.#bytes[this.#at++] = value;
    return this;
  }

  number(value: number): this {
    this.#room(value < 128 ? 1 : numberBytes(value));
    const bytes = this.#bytes;
    let rest = value;
    while (rest > 0x7fffffff) {
      bytes[this.#at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest > 0x7f) {
      bytes[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    bytes[this.#at++] = rest;
    return this;
  }

  /** Bytes without their length. */
  raw(bytes: Uint8Array, from = 0, to = bytes.length): this {
    this.#room(to - from);
    copyInto(this.#bytes, this.#at, bytes, from, to);
    this.#at += to - from;
    return this;
  }

  /** Bytes after their length. */
  bytes(bytes: Uint8Array, from = 0, to = bytes.length): this {
    return this.number(to - from).raw(bytes, from, to);
  }

  /** What was written, until it is written to again. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  clear(): void {
    this.#at = 0;
  }

  /** What was written, for good: a copy unless it fills the writer's room exactly. */
  finish(): Uint8Array {
    return this.#at === this.#bytes.length ? this.#bytes : this.#bytes.slice(0, this.#at);
  }

  /** A copy of what was written; the writer begins anew. */
  take(): Uint8Array {
    const bytes = this.#bytes.slice(0, this.#at);
    this.#at = 0;
    return bytes;
  }

  #room(more: number): void {
    const needed = this.#at + more;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = grown;
  }
}

/** The most bytes that a safe integer takes. */
const numberBytesMax = 8;

/**
 * Reads what {@link ByteWriter} wrote. A malformed input sets {@link failed} and every further read
 * gives zero or nothing, so that a decoder needs to look at it only once, at its end.
 */
export class ByteReader {
  #bytes: Uint8Array;
  #at: number;
  #end: number;
  failed = false;

  constructor(bytes: Uint8Array, from = 0, to = bytes.length) {
    this.#bytes = bytes;
    this.#at = from;
    this.#end = to;
  }

  /** Reads something else from here on. */
  open(bytes: Uint8Array, from: number): this {
    this.#bytes = bytes;
    this.#at = from;
    this.#end = bytes.length;
    this.failed = false;
    return this;
  }

  get position(): number {
    return this.#at;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  byte(): number {
    if (this.#at >= this.#end) return this.fail();
    return this.#bytes[this.#at++];
  }

  number(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < numberBytesMax; count++) {
      if (this.#at >= this.#end) return this.fail();
      const byte = this.#bytes[this.#at++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value <= Number.MAX_SAFE_INTEGER ? value : this.fail();
      scale *= 128;
    }
    return this.fail();
  }

  /** A number of items that follow, each of which takes at least one byte. */
  count(): number {
    const count = this.number();
    return count <= this.left ? count : this.fail();
  }

  /** Bytes after their length, as a view of the input. */
  bytes(): Uint8Array {
    const length = this.skipBytes();
    return length === 0 ? noBytes : this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** So many bytes, as a view of the input. */
  raw(length: number): Uint8Array {
    if (length > this.left) {
      this.fail();
      return noBytes;
    }
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** Passes over bytes after their length and gives the length: they end at the position then. */
  skipBytes(): number {
    const length = this.number();
    if (this.failed || length > this.left) return this.fail();
    this.#at += length;
    return length;
  }

  fail(): 0 {
    this.failed = true;
    this.#at = this.#end;
    return 0;
  }
}
