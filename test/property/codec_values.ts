/** Random values of message types: init objects, messages, and what is nearly one of them. */
import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescOneof,
  isMessage,
  ScalarType,
} from "npm:@bufbuild/protobuf@2.17.0";
import type { Prng } from "../../src/base/prng.ts";

type Fields = Record<string, unknown>;

export interface Strangeness {
  /** How likely a value is of another type than its field. */
  readonly value: number;
  /** How likely a property is a getter; it calls this. */
  readonly getter: number;
  readonly onGet: () => void;
}

export const sane: Strangeness = { value: 0, getter: 0, onGet: () => {} };

const int32s = [0, -0, 1, -1, 127, 128, 16383, 16384, 2 ** 31 - 1, -(2 ** 31)];
const uint32s = [0, -0, 1, 127, 128, 16384, 2 ** 21, 2 ** 28, 2 ** 31, 2 ** 32 - 1];
const int64s = [0n, 1n, -1n, 127n, 128n, -(1n << 32n), (1n << 53n) - 1n, (1n << 53n) + 1n]
  .concat([1n << 35n, (1n << 63n) - 1n, -(1n << 63n), -(1n << 53n) - 1n, 0xdeadbeefn]);
const uint64s = [0n, 1n, 127n, 128n, 1n << 32n, (1n << 53n) + 1n, 1n << 63n, (1n << 64n) - 1n];
const floats = [0, -0, 1.5, 0.1, NaN, Infinity, -Infinity, 3.4028234663852886e38, 1e-45];
const doubles = [...floats, 1e308, 5e-324, Number.MAX_SAFE_INTEGER, -1e-300];
const texts = [
  "",
  "a",
  "\0",
  "\u007f",
  "\u0080",
  "é",
  "\ufeff",
  "a\ufeff",
  "漢字",
  "🙂",
  "x\u{10ffff}",
];
const lengths = [31, 32, 33, 63, 64, 65, 126, 127, 128, 129, 255, 256, 257, 300];

class OwnBytes extends Uint8Array<ArrayBuffer> {}

const strangers: readonly unknown[] = [
  undefined,
  null,
  "",
  "5",
  "-7",
  "1e2",
  "abc",
  "NaN",
  "a\ud800b",
  "\udfff".repeat(200),
  1.5,
  -1,
  2 ** 31,
  2 ** 32,
  -(2 ** 31) - 1,
  3.5e38,
  0n,
  5n,
  -5n,
  1n << 63n,
  1n << 64n,
  true,
  false,
  {},
  [],
  [1, 2, 300],
  new Uint8Array(0),
  new Uint8Array([1]),
  new Date(0),
  Object(5),
  Symbol("strange"),
  { case: "none", value: 1 },
  { case: undefined },
  { $typeName: "google.protobuf.Empty" },
  { $typeName: 5 },
  Object.assign([], { $typeName: "google.protobuf.Empty" }),
  new Map([["a", 1]]),
  new Float64Array([1, 2]),
  // deno-lint-ignore no-sparse-arrays
  [1, , 3],
];

export class RandomValues {
  readonly #random: Prng;
  readonly #strangeness: Strangeness;

  constructor(random: Prng, strangeness: Strangeness) {
    this.#random = random;
    this.#strangeness = strangeness;
  }

  /** A message or an init object, with few or all of its fields. */
  any(schema: DescMessage): unknown {
    const random = this.#random;
    if (random.chance(0.5)) return this.init(schema, 3);
    const message = create(schema, this.#init(schema, 3, this.#share(), false));
    if (random.chance(this.#strangeness.value * 5)) this.#spoil(schema, message as never);
    return message;
  }

  init(schema: DescMessage, depth: number): Fields {
    return this.#init(schema, depth, this.#share(), true);
  }

  #share(): number {
    return this.#random.pick([0.1, 0.3, 0.9, 1]);
  }

  #init(schema: DescMessage, depth: number, share: number, lazy: boolean): Fields {
    const random = this.#random;
    const init: Fields = random.chance(0.05) ? Object.create(null) : {};
    for (const member of schema.members) {
      if (!random.chance(share)) {
        if (random.chance(0.05)) init[member.localName] = random.pick([undefined, null]);
        continue;
      }
      const value = this.#strange() ??
        (member.kind === "oneof" ? this.#choice(member, depth) : this.#field(member, depth));
      if (lazy && random.chance(this.#strangeness.getter)) {
        const { onGet } = this.#strangeness;
        Object.defineProperty(init, member.localName, {
          enumerable: true,
          get() {
            onGet();
            return value;
          },
        });
      } else {
        init[member.localName] = value;
      }
    }
    return random.chance(this.#strangeness.value) ? Object.create(init) : init;
  }

  /** A message that somebody has written to, past its types. */
  #spoil(schema: DescMessage, message: Fields): void {
    const random = this.#random;
    for (let times = random.between(1, 2); times > 0; times--) {
      const member = random.pick(schema.members);
      const roll = member === undefined ? 0 : random.below(5);
      if (roll === 0) {
        message.$unknown = random.pick([[], [{ no: 900, wireType: 0, data: Uint8Array.of(5) }]]);
      } else if (roll === 1) {
        delete message[member.localName];
      } else if (roll === 2 && member.kind === "oneof") {
        message[member.localName] = this.#choice(member, 1);
      } else if (roll < 4 && member.kind === "field") {
        // Nested init objects among them, which only `create` takes.
        message[member.localName] = this.#field(member, 1);
      } else {
        message[member.localName] = random.pick(strangers);
      }
    }
  }

  #strange(): unknown {
    return this.#random.chance(this.#strangeness.value) ? this.#random.pick(strangers) : undefined;
  }

  #choice(oneof: DescOneof, depth: number): unknown {
    const field = this.#random.pick(oneof.fields);
    return { case: field.localName, value: this.#strange() ?? this.#field(field, depth) };
  }

  #field(field: DescField, depth: number): unknown {
    switch (field.fieldKind) {
      case "scalar":
        return this.scalar(field.scalar);
      case "enum":
        return this.#enum(field.enum);
      case "message":
        return this.#message(field, field.message, depth);
      case "list":
        return this.#list(() =>
          field.listKind === "scalar"
            ? this.scalar(field.scalar)
            : field.listKind === "enum"
            ? this.#enum(field.enum)
            : this.#message(field, field.message, depth)
        );
      case "map": {
        const map: Fields = {};
        for (let count = this.#random.below(3); count > 0; count--) {
          const key = field.mapKey === ScalarType.STRING
            ? this.#random.pick(["", "a", "__proto__", "é"])
            : String(this.scalar(field.mapKey));
          const value = field.mapKind === "scalar"
            ? this.scalar(field.scalar)
            : field.mapKind === "enum"
            ? this.#enum(field.enum)
            : this.#message(field, field.message, depth);
          Object.defineProperty(map, key, { value, enumerable: true, configurable: true });
        }
        return map;
      }
    }
  }

  #list(item: () => unknown): unknown[] {
    const random = this.#random;
    const length = random.chance(0.05) ? random.pick([40, 130]) : random.below(4);
    return Array.from({ length }, () => this.#strange() ?? item());
  }

  #enum(desc: DescEnum): number {
    const known = this.#random.pick(desc.values).number;
    return desc.open && this.#random.chance(0.3) ? this.#random.pick(int32s) : known;
  }

  #message(field: DescField, schema: DescMessage, depth: number): unknown {
    const { typeName } = schema;
    if (
      typeName === "google.protobuf.Struct" && field.parent.typeName !== "google.protobuf.Value"
    ) {
      return this.#random.pick([{}, { a: 1, b: [null, "x", { c: true }] }, { __proto__: 1 }]);
    }
    const wrapped = typeName.startsWith("google.protobuf.") && typeName.endsWith("Value") &&
      field.fieldKind === "message" && field.oneof === undefined && schema.fields.length === 1;
    if (wrapped && schema.fields[0].fieldKind === "scalar") {
      return this.scalar(schema.fields[0].scalar);
    }
    const init = depth === 0 ? {} : this.#init(schema, depth - 1, depth > 2 ? 0.5 : 0.3, true);
    return this.#random.chance(0.3) ? this.#made(schema, init) : init;
  }

  /** Made of the init object, unless that is too strange to be made of. */
  #made(schema: DescMessage, init: Fields): unknown {
    try {
      return create(schema, init);
    } catch (error) {
      if (error instanceof Error && !isMessage(init)) return init;
      throw error;
    }
  }

  scalar(type: ScalarType): unknown {
    const random = this.#random;
    switch (type) {
      case ScalarType.BOOL:
        return random.chance(0.5);
      case ScalarType.STRING:
        return random.chance(0.2)
          ? random.pick(["a", "é", "漢", "🙂", "aé"]).repeat(random.pick(lengths))
          : random.pick(texts);
      case ScalarType.BYTES:
        return this.#bytes();
      case ScalarType.INT32:
      case ScalarType.SINT32:
      case ScalarType.SFIXED32:
        return random.chance(0.5) ? random.pick(int32s) : random.next() | 0;
      case ScalarType.UINT32:
      case ScalarType.FIXED32:
        return random.chance(0.5) ? random.pick(uint32s) : random.next();
      case ScalarType.FLOAT:
        return random.pick(floats);
      case ScalarType.DOUBLE:
        return random.chance(0.5) ? random.pick(doubles) : random.fraction() * 1e9;
      case ScalarType.UINT64:
      case ScalarType.FIXED64:
        return random.chance(0.5) ? random.pick(uint64s) : BigInt.asUintN(64, this.#long());
      default:
        return random.chance(0.5) ? random.pick(int64s) : this.#long();
    }
  }

  #long(): bigint {
    const long = (BigInt(this.#random.next()) << 32n) | BigInt(this.#random.next());
    return BigInt.asIntN(64, long) >> BigInt(this.#random.below(64));
  }

  #bytes(): Uint8Array | number[] {
    const random = this.#random;
    const length = random.chance(0.1) ? random.pick([...lengths, 2048, 2049]) : random.below(5);
    const bytes = new Uint8Array(length);
    random.fill(bytes);
    switch (random.below(8)) {
      case 0:
        return OwnBytes.from(bytes);
      case 1: {
        const shared = new Uint8Array(new SharedArrayBuffer(length + 3), 3);
        shared.set(bytes);
        return shared;
      }
      case 2:
        // `create` takes arrays too, of numbers as they come.
        return this.#strangeness.value > 0 ? [...bytes, 256, -1, 1.5] : bytes;
      default:
        return bytes;
    }
  }
}
