/**
 * Bytes to messages without the protobuf library's reader, view and context for each. It knows the
 * usual: every field known, of the expected wire type, well formed. Whatever else comes, down to
 * unknown fields and merged messages, is decoded from the start by the library, whose messages and
 * errors are therefore the only ones (docs/decisions/0005).
 */
import { create, fromBinary, type Message } from "npm:@bufbuild/protobuf@2.17.0";
import type { Slab } from "../core/slab.ts";
import { type FieldPlan, FieldType, type MessagePlan, WireType } from "./plan.ts";

/** More nesting than this is left to the library. */
const depthMax = 32;
/** Shorter texts are looked through here: most are ASCII, and a decoder costs more than they do. */
const asciiBytesMax = 64;

const none = new Uint8Array(0);
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const numberBits = new DataView(new ArrayBuffer(8));

type Fields = Record<string, unknown>;

/** What to say of bytes that were not decoded; the cause is what the decoder threw. */
export function undecodable(typeName: string, cause: unknown): string {
  const most = cause instanceof Error
    ? /recursion depth of (\d+)/.exec(cause.message)?.[1]
    : undefined;
  if (most === undefined) return `malformed ${typeName}`;
  return `${typeName} is nested too deep: at most ${most} messages within each other`;
}

/** Decodes messages one after the other; it holds nothing of them between two calls. */
export class MessageDecoder {
  #buffer: Uint8Array = none;
  #at = 0;
  /** Copies of bytes fields come from here; without it they are views of the buffer. */
  #slab: Slab | undefined = undefined;
  /** Halves of the varint that was read last. */
  #low = 0;
  #high = 0;
  #failed = false;

  /**
   * The message in `buffer[start, end)`. The buffer is the caller's again afterwards: bytes fields
   * are copies, cut from the slab. Throws what the library throws.
   */
  decode(plan: MessagePlan, buffer: Uint8Array, start: number, end: number, slab: Slab): Message {
    return this.#try(plan, buffer, start, end, slab) ??
      fromBinary(plan.schema, slab.copy(buffer, start, end));
  }

  /** The message in bytes that nobody writes again: bytes fields are views of them. */
  decodeOwned(plan: MessagePlan, bytes: Uint8Array): Message {
    return this.#try(plan, bytes, 0, bytes.length, undefined) ?? fromBinary(plan.schema, bytes);
  }

  #try(
    plan: MessagePlan,
    buffer: Uint8Array,
    start: number,
    end: number,
    slab: Slab | undefined,
  ): Message | undefined {
    this.#buffer = buffer;
    this.#at = start;
    this.#slab = slab;
    this.#failed = false;
    const message = this.#message(plan, end, 0);
    this.#buffer = none;
    this.#slab = undefined;
    return this.#failed ? undefined : message;
  }

  #message(plan: MessagePlan, end: number, depth: number): Message {
    const message = create(plan.schema);
    const values = message as unknown as Fields;
    if (depth > depthMax) this.#failed = true;
    while (this.#at < end && !this.#failed) {
      const tag = this.#varint32(end);
      const field = plan.byNumber[tag >>> 3];
      if (field === undefined || this.#failed) {
        this.#failed = true;
        return message;
      }
      const wire = tag & 7;
      if (field.repeated) this.#list(field, wire, values[field.name] as unknown[], end, depth);
      else if (wire !== field.wire) this.#failed = true;
      else if (field.oneof !== undefined) {
        const value = this.#value(field, end, depth);
        // Two messages of one choice are merged: that is the library's.
        const before = values[field.oneof] as { readonly case: unknown };
        if (field.message !== undefined && before.case === field.name) this.#failed = true;
        values[field.oneof] = { case: field.name, value };
      } else {
        if (field.message !== undefined && values[field.name] !== undefined) this.#failed = true;
        values[field.name] = this.#value(field, end, depth);
      }
    }
    if (this.#at !== end) this.#failed = true;
    return message;
  }

  #list(field: FieldPlan, wire: number, items: unknown[], end: number, depth: number): void {
    if (wire === field.wire) {
      items.push(this.#value(field, end, depth));
    } else if (wire === WireType.delimited && field.type !== FieldType.library) {
      const last = this.#delimited(end);
      while (this.#at < last && !this.#failed) items.push(this.#value(field, last, depth));
    } else {
      this.#failed = true;
    }
  }

  #value(field: FieldPlan, end: number, depth: number): unknown {
    switch (field.type) {
      case FieldType.bytes: {
        const last = this.#delimited(end);
        if (this.#failed) return undefined;
        const start = this.#at;
        this.#at = last;
        return this.#slab === undefined
          ? this.#buffer.subarray(start, last)
          : this.#slab.copy(this.#buffer, start, last);
      }
      case FieldType.string:
        return this.#string(this.#delimited(end));
      case FieldType.message: {
        const last = this.#delimited(end);
        return this.#failed ? undefined : this.#message(field.message!, last, depth + 1);
      }
      case FieldType.bool:
        this.#varint(end);
        return (this.#low | this.#high) !== 0;
      case FieldType.int32:
        this.#varint(end);
        return this.#low | 0;
      case FieldType.uint32:
        this.#varint(end);
        return this.#low >>> 0;
      case FieldType.sint32:
        this.#varint(end);
        return (this.#low >>> 1) ^ -(this.#low & 1);
      case FieldType.fixed32:
        return this.#bits32(end) >>> 0;
      case FieldType.sfixed32:
        return this.#bits32(end);
      case FieldType.float:
        numberBits.setInt32(0, this.#bits32(end), true);
        return numberBits.getFloat32(0, true);
      case FieldType.double:
        this.#bits64(end);
        numberBits.setInt32(0, this.#low, true);
        numberBits.setInt32(4, this.#high, true);
        return numberBits.getFloat64(0, true);
      case FieldType.int64:
        this.#varint(end);
        return signed(this.#low, this.#high);
      case FieldType.uint64:
        this.#varint(end);
        return unsigned(this.#low, this.#high);
      case FieldType.sint64: {
        this.#varint(end);
        const sign = -(this.#low & 1);
        return signed(((this.#low >>> 1) | (this.#high << 31)) ^ sign, (this.#high >>> 1) ^ sign);
      }
      case FieldType.fixed64:
        this.#bits64(end);
        return unsigned(this.#low, this.#high);
      case FieldType.sfixed64:
        this.#bits64(end);
        return signed(this.#low, this.#high);
      default:
        this.#failed = true;
        return undefined;
    }
  }

  /** The end of a field with a length in front. */
  #delimited(end: number): number {
    const length = this.#varint32(end);
    if (length > end - this.#at) this.#failed = true;
    return this.#at + length;
  }

  #string(last: number): string | undefined {
    if (this.#failed) return undefined;
    const start = this.#at;
    const buffer = this.#buffer;
    this.#at = last;
    const length = last - start;
    if (length <= asciiBytesMax) {
      const codes: number[] = new Array(length);
      let index = 0;
      for (; index < length; index++) {
        const byte = buffer[start + index];
        if (byte > 0x7f) break;
        codes[index] = byte;
      }
      if (index === length) return String.fromCharCode.apply(undefined, codes);
    }
    try {
      return utf8.decode(buffer.subarray(start, last));
    } catch {
      // The library reads it again and says what is wrong.
      this.#failed = true;
      return undefined;
    }
  }

  /** Tags and lengths. What is longer than 32 bits need is legal or not: the library knows. */
  #varint32(end: number): number {
    const start = this.#at;
    const byte = start < end ? this.#buffer[start] : 0x80;
    if (byte < 0x80) {
      this.#at = start + 1;
      return byte;
    }
    this.#varint(end);
    if (this.#high !== 0 || this.#at - start > 5) this.#failed = true;
    return this.#low >>> 0;
  }

  /** Of the tenth byte all but one bit are too many, and ignored as the library does. */
  #varint(end: number): void {
    const buffer = this.#buffer;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.#at >= end) break;
      const byte = buffer[this.#at++];
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        this.#low = low;
        this.#high = high;
        return;
      }
    }
    this.#failed = true;
  }

  #bits32(end: number): number {
    const at = this.#at;
    if (end - at < 4) {
      this.#failed = true;
      return 0;
    }
    this.#at = at + 4;
    const buffer = this.#buffer;
    return buffer[at] | (buffer[at + 1] << 8) | (buffer[at + 2] << 16) | (buffer[at + 3] << 24);
  }

  #bits64(end: number): void {
    this.#low = this.#bits32(end);
    this.#high = this.#bits32(end);
  }
}

function unsigned(low: number, high: number): bigint {
  const h = high >>> 0;
  if (h < 0x200000) return BigInt(h * 0x100000000 + (low >>> 0));
  return (BigInt(h) << 32n) | BigInt(low >>> 0);
}

function signed(low: number, high: number): bigint {
  const h = high | 0;
  if (h < 0x200000 && h >= -0x200000) return BigInt(h * 0x100000000 + (low >>> 0));
  return (BigInt(h) << 32n) | BigInt(low >>> 0);
}
