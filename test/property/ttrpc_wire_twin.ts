/**
 * Reads protobuf's wire format slowly and strictly, as its specification and Go's decoder do, and
 * tells where the JavaScript library is known to be more lenient: there it may accept, or read
 * something else.
 */

/** What a field of a message is; anything else is an unknown field and skipped. */
export type Field =
  | { readonly kind: "text" | "bytes" | "int32" | "uint32" | "int64" }
  | { readonly kind: "message"; readonly schema: Schema; readonly repeated: boolean };
export type Schema = Readonly<Record<number, Field & { readonly name: string }>>;

export type Value = string | Uint8Array | number | bigint | Parsed | Parsed[];
export interface Parsed {
  [name: string]: Value;
}

class Refusal extends Error {}

export class WireTwin {
  /** Why the library may differ on the bytes that were read last. */
  readonly leniencies: Set<string> = new Set();
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  /** The message, or undefined when the bytes are none. */
  read(bytes: Uint8Array, schema: Schema): Parsed | undefined {
    this.leniencies.clear();
    this.#bytes = bytes;
    this.#at = 0;
    try {
      const into: Parsed = {};
      this.#message(bytes.length, schema, into);
      return into;
    } catch (error) {
      if (error instanceof Refusal) return undefined;
      throw error;
    }
  }

  #message(end: number, schema: Schema, into: Parsed): void {
    while (this.#at < end) {
      const [number, type] = this.#tag(end);
      const field = schema[number];
      if (field === undefined) {
        this.#skip(end, number, type, 1);
        continue;
      }
      const expected = field.kind.startsWith("int") || field.kind === "uint32" ? 0 : 2;
      if (type !== expected) {
        // The library reads the field's own type whatever the tag says.
        this.leniencies.add("wire type");
        this.#skip(end, number, type, 1);
        continue;
      }
      if (expected === 0) {
        const value = this.#varint(end);
        into[field.name] = field.kind === "int64"
          ? BigInt.asIntN(64, value)
          : field.kind === "int32"
          ? Number(BigInt.asIntN(32, value))
          : Number(BigInt.asUintN(32, value));
        continue;
      }
      const until = this.#length(end);
      const data = this.#bytes.slice(this.#at, until);
      if (field.kind === "text") into[field.name] = text(data);
      else if (field.kind === "bytes") into[field.name] = data;
      else if (field.kind === "message") {
        let inner: Parsed = {};
        if (field.repeated) (into[field.name] ??= [] as Parsed[]) as Parsed[];
        else inner = into[field.name] as Parsed ?? inner;
        this.#message(until, field.schema, inner);
        if (field.repeated) (into[field.name] as Parsed[]).push(inner);
        else into[field.name] = inner;
      }
      this.#at = until;
    }
  }

  #skip(end: number, number: number, type: number, depth: number): void {
    // Both have a limit for nested groups, the library one level earlier or later by where it is.
    if (depth > 95) this.leniencies.add("depth");
    if (depth > 101) throw new Refusal("too deep");
    if (type === 0) this.#varint(end);
    else if (type === 1) this.#forward(end, 8);
    else if (type === 2) this.#at = this.#length(end);
    else if (type === 5) this.#forward(end, 4);
    else if (type === 3) {
      while (true) {
        const [inner, innerType] = this.#tag(end);
        if (innerType === 4) {
          if (inner !== number) throw new Refusal("the wrong group ends");
          return;
        }
        this.#skip(end, inner, innerType, depth + 1);
      }
    } else throw new Refusal("no such wire type");
  }

  #forward(end: number, count: number): void {
    if (end - this.#at < count) {
      this.leniencies.add("nested bounds");
      throw new Refusal("cut");
    }
    this.#at += count;
  }

  #tag(end: number): [number: number, type: number] {
    const tag = this.#varint(end);
    if (tag > 0xffffffffn || tag >> 3n === 0n) throw new Refusal("no such field");
    return [Number(tag >> 3n), Number(tag & 7n)];
  }

  #length(end: number): number {
    const length = this.#varint(end);
    if (length > 0xffffffffn) this.leniencies.add("length above 32 bits");
    if (length > BigInt(end - this.#at)) {
      // The library lets an inner field run over its message's end, into what comes after it.
      if (end < this.#bytes.length) this.leniencies.add("nested bounds");
      throw new Refusal("cut");
    }
    return this.#at + Number(length);
  }

  #varint(end: number): bigint {
    let value = 0n;
    for (let index = 0; index < 10; index++) {
      if (this.#at >= end) {
        if (end < this.#bytes.length) this.leniencies.add("nested bounds");
        throw new Refusal("cut");
      }
      const byte = this.#bytes[this.#at++];
      value |= BigInt(byte & 0x7f) << BigInt(7 * index);
      if (byte < 0x80) {
        if (value >= 1n << 64n) break;
        return value;
      }
    }
    // The library drops bits above 64, and skips unknown varints of any length.
    this.leniencies.add("varint above 64 bits");
    throw new Refusal("varint");
  }
}

function text(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Refusal("no UTF-8");
  }
}

const pair: Schema = { 1: { name: "key", kind: "text" }, 2: { name: "value", kind: "text" } };

export const requestFields: Schema = {
  1: { name: "service", kind: "text" },
  2: { name: "method", kind: "text" },
  3: { name: "payload", kind: "bytes" },
  4: { name: "timeoutNano", kind: "int64" },
  5: { name: "metadata", kind: "message", schema: pair, repeated: true },
};

const any: Schema = { 1: { name: "typeUrl", kind: "text" }, 2: { name: "value", kind: "bytes" } };

const status: Schema = {
  1: { name: "code", kind: "int32" },
  2: { name: "message", kind: "text" },
  3: { name: "details", kind: "message", schema: any, repeated: true },
};

const extensions: Schema = {
  1: { name: "version", kind: "uint32" },
  2: { name: "windowBytes", kind: "uint32" },
  3: { name: "metadata", kind: "message", schema: pair, repeated: true },
};

export const responseFields: Schema = {
  1: { name: "status", kind: "message", schema: status, repeated: false },
  2: { name: "payload", kind: "bytes" },
  100: { name: "extensions", kind: "message", schema: extensions, repeated: false },
};
