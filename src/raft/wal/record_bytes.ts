/** Integers in bytes, both ways, without objects. */
import { assert } from "../../base/assert.ts";

export function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

export function getU32(bytes: Uint8Array, at: number): number {
  return (bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24) >>> 0;
}

export function putU24(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
}

export function getU24(bytes: Uint8Array, at: number): number {
  return bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16;
}

export function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

export function getU16(bytes: Uint8Array, at: number): number {
  return bytes[at] | bytes[at + 1] << 8;
}

export function putU48(bytes: Uint8Array, at: number, value: number): void {
  putU32(bytes, at, value >>> 0);
  putU16(bytes, at + 4, Math.floor(value / 0x100000000));
}

export function getU48(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at) + getU16(bytes, at + 4) * 0x100000000;
}

/** A safe integer in eight bytes. */
export function putU64(bytes: Uint8Array, at: number, value: number): void {
  putU32(bytes, at, value >>> 0);
  putU32(bytes, at + 4, Math.floor(value / 0x100000000));
}

/** Undefined when it is above 2^53 - 1. */
export function getU64(bytes: Uint8Array, at: number): number | undefined {
  const value = getU32(bytes, at) + getU32(bytes, at + 4) * 0x100000000;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** The longest varint of a safe integer. */
export const varintBytesMax = 8;

/** Writes a varint and returns where it ends. */
export function putVarint(bytes: Uint8Array, at: number, value: number): number {
  assert(Number.isSafeInteger(value) && value >= 0, "what is written to the log is a safe integer");
  let rest = value;
  while (rest >= 0x80) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  bytes[at++] = rest;
  return at;
}

/** A record whose checksum is right and whose content makes no sense: never served. */
export class MalformedRecord extends Error {
  override name = "MalformedRecord";
  /** Whether a later version may understand it. */
  readonly newer: boolean;
  constructor(message: string, newer = false) {
    super(message);
    this.newer = newer;
  }
}

/** Reads on from a place in bytes; throws {@link MalformedRecord} at an end that comes too early. */
export class ByteCursor {
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  end = 0;

  set(bytes: Uint8Array, at: number, end: number): this {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    return this;
  }

  byte(): number {
    if (this.at >= this.end) throw new MalformedRecord("ends within a field");
    return this.bytes[this.at++];
  }

  varint(): number {
    let value = 0;
    for (let scale = 1, digits = 0; digits < varintBytesMax; digits++, scale *= 0x80) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
    }
    throw new MalformedRecord("a number above 2^53 - 1");
  }

  /** Passes over `length` bytes and returns where they began. */
  pass(length: number): number {
    const from = this.at;
    if (length > this.end - from) throw new MalformedRecord("ends within its data");
    this.at = from + length;
    return from;
  }

  /** Nothing may follow. */
  finish(): void {
    if (this.at !== this.end) throw new MalformedRecord("has bytes left over");
  }
}
