/**
 * Messages to bytes, without an object or an array for each. It does what the protobuf library
 * does for messages and for their plain init objects, byte for byte, and gives up on whatever it is
 * not made for: then {@link MessageEncoder.encode} asks the library, which also has the error
 * messages. docs/decisions/0005 has the figures that made it worth its while.
 */
import { create, isMessage, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { writeVarint, writeVarint64 } from "../core/wire.ts";
import { type FieldPlan, FieldType, type MessagePlan } from "./plan.ts";

/** Messages are written one behind the other into blocks of this size. */
const blockBytes = 8 << 10;
/** More nesting than this is left to the library. */
const depthMax = 32;
/** Below this a loop is faster than `set`. */
const loopBytesMax = 64;
/** Texts longer than this are encoded apart: in place they need room for three bytes a unit. */
const inPlaceMax = 256;

const none = new Uint8Array(0);
const utf8 = new TextEncoder();
const numberBits = new DataView(new ArrayBuffer(8));

type Fields = Record<string, unknown>;

/**
 * Writes messages into blocks of memory. One that keeps, as clients need for what may have to be
 * sent again, writes them one behind the other and none over another: a message has its bytes,
 * `bytes[start, end)`, for as long as somebody holds on to that block. One that does not has a
 * single block, and a message is there until the next one is encoded.
 */
export class MessageEncoder {
  readonly #keeps: boolean;
  /** The message that was encoded last is `bytes[start, end)`. */
  bytes: Uint8Array = none;
  start = 0;
  end = 0;
  /** The block that is filled, where the present message begins, and where it goes on. */
  #block: Uint8Array = none;
  #start = 0;
  #at = 0;
  /** A getter of a message that is being encoded may want to encode another one. */
  #busy = false;

  constructor(keeps: boolean) {
    this.#keeps = keeps;
  }

  /** Encodes one message, or what `create` takes for one. Throws what the library throws. */
  encode(plan: MessagePlan, value: unknown): void {
    if (!this.#busy && typeof value === "object" && value !== null && this.#encode(plan, value)) {
      this.bytes = this.#block;
      this.start = this.#start;
      this.end = this.#at;
      return;
    }
    const { schema } = plan;
    this.bytes = toBinary(schema, isMessage(value) ? value : create(schema, value as Fields));
    this.start = 0;
    this.end = this.bytes.length;
  }

  #encode(plan: MessagePlan, value: object): boolean {
    // A block that had to be large is not kept alive by the small messages behind it.
    if (this.#block.length > blockBytes) {
      this.#block = none;
      this.#at = 0;
    }
    if (!this.#keeps) this.#at = 0;
    this.#start = this.#at;
    this.#busy = true;
    let done = false;
    try {
      done = this.#message(plan, value, 0, false);
    } catch {
      // A getter threw, or a value is stranger than what is looked for here: the library meets it
      // again, and its error is the one that counts.
    }
    this.#busy = false;
    if (!done) this.#at = this.#start;
    return done;
  }

  /** Room for `length` more bytes; what the message has so far moves along. */
  #reserve(length: number): void {
    if (this.#at + length <= this.#block.length) return;
    const begun = this.#at - this.#start;
    const needed = begun + length;
    const block = new Uint8Array(needed < blockBytes ? blockBytes : needed + (needed >> 2));
    block.set(this.#block.subarray(this.#start, this.#at));
    this.#block = block;
    this.#start = 0;
    this.#at = begun;
  }

  /** `inMade`: the message is a field of one that `create` has made. */
  #message(plan: MessagePlan, message: object, depth: number, inMade: boolean): boolean {
    const values = message as Fields;
    const typeName = values.$typeName;
    const made = typeName !== undefined;
    if (made) {
      if (typeName !== plan.typeName || values.$unknown !== undefined) return false;
    } else if (inMade || Array.isArray(message)) {
      // Only `create` takes plain objects for messages, and it takes no arrays.
      return false;
    }
    if (depth > depthMax) return false;
    const fields = plan.fields;
    for (let index = 0; index < fields.length; index++) {
      const field = fields[index];
      if (field.oneof !== undefined) {
        const choice = values[field.oneof] as { case?: unknown; value?: unknown } | undefined;
        if (choice === undefined && !made) continue;
        if (typeof choice !== "object" || choice === null) return false;
        if (choice.case === field.name && !this.#single(field, choice.value, depth, made)) {
          return false;
        }
        continue;
      }
      const value = values[field.name];
      if (value === undefined) {
        // A message without a field that it always has is broken: the library says how.
        if (field.required || (made && !field.explicit)) return false;
      } else if (field.repeated) {
        if (!this.#list(field, value, depth, made)) return false;
      } else if (field.isMap) {
        if (typeof value !== "object" || !isEmpty(value)) return false;
      } else if (field.explicit) {
        // Defaults of unset fields are on the message's prototype.
        if (made && !Object.hasOwn(values, field.name)) {
          if (field.required) return false;
          continue;
        }
        if (!this.#single(field, value, depth, made)) return false;
      } else if (!isZero(field, value) && !this.#single(field, value, depth, made)) return false;
    }
    return true;
  }

  #list(field: FieldPlan, items: unknown, depth: number, made: boolean): boolean {
    if (!Array.isArray(items)) return false;
    if (items.length === 0) return true;
    if (field.type === FieldType.library) return false;
    if (!field.packed) {
      for (let index = 0; index < items.length; index++) {
        if (!this.#single(field, items[index], depth, made)) return false;
      }
      return true;
    }
    this.#tag(field);
    const mark = this.#fork();
    for (let index = 0; index < items.length; index++) {
      if (!this.#value(field, items[index])) return false;
    }
    this.#join(mark);
    return true;
  }

  #single(field: FieldPlan, value: unknown, depth: number, made: boolean): boolean {
    switch (field.type) {
      case FieldType.library:
        return false;
      case FieldType.bytes:
        if (!(value instanceof Uint8Array)) return false;
        this.#tag(field);
        this.#bytes(value);
        return true;
      case FieldType.string:
        if (typeof value !== "string") return false;
        this.#tag(field);
        this.#string(value);
        return true;
      case FieldType.message: {
        if (typeof value !== "object" || value === null) return false;
        this.#tag(field);
        const mark = this.#fork();
        if (!this.#message(field.message!, value, depth + 1, made)) return false;
        this.#join(mark);
        return true;
      }
      default:
        this.#tag(field);
        return this.#value(field, value);
    }
  }

  #tag(field: FieldPlan): void {
    this.#reserve(10);
    const { tag } = field;
    if (tag < 0x80) this.#block[this.#at++] = tag;
    else this.#at = writeVarint(this.#block, this.#at, tag);
  }

  /** A length that is not known yet: one byte, which most need. Positions are relative. */
  #fork(): number {
    this.#reserve(1);
    this.#at++;
    return this.#at - this.#start;
  }

  #join(mark: number): void {
    const length = this.#at - this.#start - mark;
    if (length >= 0x80) {
      const more = length < 0x4000 ? 1 : length < 0x200000 ? 2 : length < 0x10000000 ? 3 : 4;
      this.#reserve(more);
      const from = this.#start + mark;
      this.#block.copyWithin(from + more, from, this.#at);
      this.#at += more;
    }
    writeVarint(this.#block, this.#start + mark - 1, length);
  }

  #bytes(value: Uint8Array): void {
    const { length } = value;
    this.#reserve(length + 5);
    const bytes = this.#block;
    let at = writeVarint(bytes, this.#at, length);
    if (length <= loopBytesMax) {
      for (let from = 0; from < length; from++) bytes[at++] = value[from];
    } else {
      bytes.set(value, at);
      at += length;
    }
    this.#at = at;
  }

  #string(value: string): void {
    const { length } = value;
    if (length > inPlaceMax) {
      this.#bytes(utf8.encode(value));
      return;
    }
    this.#reserve(length * 3 + 5);
    const bytes = this.#block;
    if (length < 0x80) {
      let at = this.#at;
      bytes[at++] = length;
      let index = 0;
      for (; index < length; index++) {
        const code = value.charCodeAt(index);
        if (code > 0x7f) break;
        bytes[at++] = code;
      }
      if (index === length) {
        this.#at = at;
        return;
      }
    }
    const mark = this.#fork();
    this.#at += utf8.encodeInto(value, bytes.subarray(this.#at)).written;
    this.#join(mark);
  }

  /** One number, without its tag. */
  #value(field: FieldPlan, value: unknown): boolean {
    switch (field.type) {
      case FieldType.bool:
        if (typeof value !== "boolean") return false;
        this.#varint(value ? 1 : 0);
        return true;
      case FieldType.int32:
        if (!isInt32(value)) return false;
        this.#varint64(value, value < 0 ? -1 : 0);
        return true;
      case FieldType.uint32:
        if (!isUint32(value)) return false;
        this.#varint(value);
        return true;
      case FieldType.sint32:
        if (!isInt32(value)) return false;
        this.#varint((value << 1) ^ (value >> 31));
        return true;
      case FieldType.fixed32:
        if (!isUint32(value)) return false;
        this.#bits32(value);
        return true;
      case FieldType.sfixed32:
        if (!isInt32(value)) return false;
        this.#bits32(value);
        return true;
      case FieldType.float:
        // What is no 32-bit number the library refuses.
        if (typeof value !== "number" || (isFinite(value) && !isFinite(Math.fround(value)))) {
          return false;
        }
        numberBits.setFloat32(0, value, true);
        this.#bits32(numberBits.getInt32(0, true));
        return true;
      case FieldType.double:
        if (typeof value !== "number") return false;
        numberBits.setFloat64(0, value, true);
        this.#bits32(numberBits.getInt32(0, true));
        this.#bits32(numberBits.getInt32(4, true));
        return true;
      default:
        return typeof value === "bigint" && this.#long(field.type, value);
    }
  }

  #long(type: FieldType, value: bigint): boolean {
    const signed = type !== FieldType.uint64 && type !== FieldType.fixed64;
    if (value !== (signed ? BigInt.asIntN(64, value) : BigInt.asUintN(64, value))) return false;
    let low: number;
    let high: number;
    const number = Number(value);
    if (Number.isSafeInteger(number)) {
      low = number | 0;
      high = Math.floor(number / 0x100000000) | 0;
    } else {
      low = Number(BigInt.asIntN(32, value));
      high = Number(BigInt.asIntN(32, value >> 32n));
    }
    if (type === FieldType.fixed64 || type === FieldType.sfixed64) {
      this.#bits32(low);
      this.#bits32(high);
    } else if (type === FieldType.sint64) {
      const sign = high >> 31;
      this.#varint64((low << 1) ^ sign, ((high << 1) | (low >>> 31)) ^ sign);
    } else {
      this.#varint64(low, high);
    }
    return true;
  }

  #varint(value: number): void {
    this.#reserve(5);
    this.#at = writeVarint(this.#block, this.#at, value);
  }

  #varint64(low: number, high: number): void {
    this.#reserve(10);
    this.#at = writeVarint64(this.#block, this.#at, low, high);
  }

  #bits32(value: number): void {
    this.#reserve(4);
    const bytes = this.#block;
    bytes[this.#at++] = value;
    bytes[this.#at++] = value >>> 8;
    bytes[this.#at++] = value >>> 16;
    bytes[this.#at++] = value >>> 24;
  }
}

/** Whether a field without presence holds its zero, which is not written. */
function isZero(field: FieldPlan, value: unknown): boolean {
  switch (field.type) {
    case FieldType.bytes:
      return value instanceof Uint8Array && value.length === 0;
    case FieldType.string:
      return value === "";
    case FieldType.bool:
      return value === false;
    case FieldType.float:
    case FieldType.double:
      return Object.is(value, 0);
    case FieldType.int64:
    case FieldType.uint64:
    case FieldType.sint64:
    case FieldType.fixed64:
    case FieldType.sfixed64:
      return value === 0n;
    default:
      return value === field.zero;
  }
}

function isInt32(value: unknown): value is number {
  return typeof value === "number" && (value | 0) === value;
}

function isUint32(value: unknown): value is number {
  return typeof value === "number" && (value >>> 0) === value;
}

function isEmpty(record: object | null): boolean {
  if (record === null) return false;
  for (const _ in record) return false;
  return true;
}
