/**
 * How keys and their revisions lie in the arena.
 *
 *   key       newest record · length · bytes
 *   revision  mod · create · version · sub · previous record · key · length of the value | lease flag
 *             · [lease] · value
 *
 * The revisions of a key hang on it from the newest to the oldest that is kept.
 */
import { Arena, slabOf, unitOf } from "./arena.ts";
import type { KeyValue } from "./result.ts";
import { type ByteWriter, copyInto, hashBytes, noBytes } from "./bytes.ts";
import { assert } from "../../base/assert.ts";

const keyHeaderBytes = 8;
const headerBytes = 36;
const leaseUnit = 5;
const headerBytesWithLease = 48;
const leaseFlag = 0x80000000;
const lengthMask = 0x7fffffff;
/** Versions are counted in 32 bits. */
const versionMax = 0xffffffff;

/** Stands for "no record" and "no key". */
export const nowhere = 0;

export interface RecordFields {
  readonly mod: number;
  /** Position among the changes of its revision. */
  readonly sub: number;
  readonly create: number;
  /** 0 for a deletion. */
  readonly version: number;
  readonly lease: number;
  readonly previous: number;
}

export class Records {
  readonly arena: Arena = new Arena();
  readonly #slabs = this.arena.slabs;

  addKey(key: Uint8Array, from = 0, to = key.length): number {
    const address = this.arena.allocate(keyHeaderBytes + to - from);
    const slab = this.#slabs[slabOf(address)];
    const unit = unitOf(address);
    slab.words[unit * 2] = nowhere;
    slab.words[unit * 2 + 1] = to - from;
    copyInto(slab.bytes, unit * 8 + keyHeaderBytes, key, from, to);
    return address;
  }

  newest(key: number): number {
    return this.#slabs[slabOf(key)].words[unitOf(key) * 2];
  }

  setNewest(key: number, record: number): void {
    this.#slabs[slabOf(key)].words[unitOf(key) * 2] = record;
  }

  keyLength(key: number): number {
    return this.#slabs[slabOf(key)].words[unitOf(key) * 2 + 1];
  }

  /** A copy. */
  keyBytes(key: number): Uint8Array {
    const slab = this.#slabs[slabOf(key)];
    const unit = unitOf(key);
    const from = unit * 8 + keyHeaderBytes;
    return slab.bytes.slice(from, from + slab.words[unit * 2 + 1]);
  }

  /** Of the bytes, as {@link hashBytes} makes it. */
  keyHash(key: number): number {
    const slab = this.#slabs[slabOf(key)];
    const unit = unitOf(key);
    const from = unit * 8 + keyHeaderBytes;
    return hashBytes(slab.bytes, from, from + slab.words[unit * 2 + 1]);
  }

  /** Negative, zero or positive as the key sorts before, with or after the bytes. */
  compareKey(key: number, other: Uint8Array, otherFrom = 0, otherTo = other.length): number {
    const slab = this.#slabs[slabOf(key)];
    const unit = unitOf(key);
    const length = slab.words[unit * 2 + 1];
    const bytes = slab.bytes;
    const otherLength = otherTo - otherFrom;
    const first = unit * 8 + keyHeaderBytes;
    const end = first + Math.min(length, otherLength);
    for (let at = first, from = otherFrom; at < end; at++, from++) {
      const difference = bytes[at] - other[from];
      if (difference !== 0) return difference;
    }
    return length - otherLength;
  }

  /** Negative, zero or positive as the first key sorts before, with or after the second. */
  compareKeys(key: number, other: number): number {
    const slab = this.#slabs[slabOf(other)];
    const unit = unitOf(other);
    const from = unit * 8 + keyHeaderBytes;
    return this.compareKey(key, slab.bytes, from, from + slab.words[unit * 2 + 1]);
  }

  /** The value is `value[from, to)`. */
  add(key: number, fields: RecordFields, value: Uint8Array, from = 0, to = value.length): number {
    const length = to - from;
    assert(fields.version <= versionMax, "a key has fewer than 2^32 versions");
    const start = fields.lease === 0 ? headerBytes : headerBytesWithLease;
    const address = this.arena.allocate(start + length);
    const slab = this.#slabs[slabOf(address)];
    const unit = unitOf(address);
    const word = unit * 2;
    slab.doubles[unit] = fields.mod;
    slab.doubles[unit + 1] = fields.create;
    const words = slab.words;
    words[word + 4] = fields.version;
    words[word + 5] = fields.sub;
    words[word + 6] = fields.previous;
    words[word + 7] = key;
    words[word + 8] = fields.lease === 0 ? length : (length | leaseFlag) >>> 0;
    if (fields.lease !== 0) slab.doubles[unit + leaseUnit] = fields.lease;
    if (length > 0) copyInto(slab.bytes, unit * 8 + start, value, from, to);
    return address;
  }

  mod(record: number): number {
    return this.#slabs[slabOf(record)].doubles[unitOf(record)];
  }

  create(record: number): number {
    return this.#slabs[slabOf(record)].doubles[unitOf(record) + 1];
  }

  version(record: number): number {
    return this.#slabs[slabOf(record)].words[unitOf(record) * 2 + 4];
  }

  sub(record: number): number {
    return this.#slabs[slabOf(record)].words[unitOf(record) * 2 + 5];
  }

  previous(record: number): number {
    return this.#slabs[slabOf(record)].words[unitOf(record) * 2 + 6];
  }

  setPrevious(record: number, previous: number): void {
    this.#slabs[slabOf(record)].words[unitOf(record) * 2 + 6] = previous;
  }

  key(record: number): number {
    return this.#slabs[slabOf(record)].words[unitOf(record) * 2 + 7];
  }

  valueLength(record: number): number {
    return this.#slabs[slabOf(record)].words[unitOf(record) * 2 + 8] & lengthMask;
  }

  lease(record: number): number {
    const slab = this.#slabs[slabOf(record)];
    const unit = unitOf(record);
    return (slab.words[unit * 2 + 8] & leaseFlag) === 0 ? 0 : slab.doubles[unit + leaseUnit];
  }

  /** The value where it lies: valid until the next change. */
  valueView(record: number): Uint8Array {
    const slab = this.#slabs[slabOf(record)];
    const unit = unitOf(record);
    const packed = slab.words[unit * 2 + 8];
    const from = unit * 8 + ((packed & leaseFlag) === 0 ? headerBytes : headerBytesWithLease);
    return slab.bytes.subarray(from, from + (packed & lengthMask));
  }

  /** Writes the key's bytes behind their length. */
  writeKey(writer: ByteWriter, key: number): void {
    const slab = this.#slabs[slabOf(key)];
    const unit = unitOf(key);
    const from = unit * 8 + keyHeaderBytes;
    writer.bytes(slab.bytes, from, from + slab.words[unit * 2 + 1]);
  }

  /** Writes the value behind its length. */
  writeValue(writer: ByteWriter, record: number): void {
    const slab = this.#slabs[slabOf(record)];
    const unit = unitOf(record);
    const packed = slab.words[unit * 2 + 8];
    const from = unit * 8 + ((packed & leaseFlag) === 0 ? headerBytes : headerBytesWithLease);
    writer.bytes(slab.bytes, from, from + (packed & lengthMask));
  }

  /** Copies it all; `withValue` false leaves the value empty. */
  keyValue(record: number, withValue = true): KeyValue {
    return {
      key: this.keyBytes(this.key(record)),
      value: withValue ? this.valueView(record).slice() : noBytes,
      createRevision: this.create(record),
      modRevision: this.mod(record),
      version: this.version(record),
      lease: this.lease(record),
    };
  }
}
