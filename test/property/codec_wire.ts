/** Random bytes on the wire for message types: legal ones in all their forms, and damaged ones. */
import { type DescField, type DescMessage, ScalarType } from "npm:@bufbuild/protobuf@2.17.0";
import type { Prng } from "../../src/base/prng.ts";

const varints = [0n, 1n, 2n, 127n, 128n, 300n, (1n << 31n) - 1n, 1n << 31n, (1n << 32n) - 1n]
  .concat([1n << 32n, 1n << 35n, (1n << 53n) + 1n, 1n << 63n, (1n << 64n) - 1n, -3n, 7n]);
const text = new TextEncoder();
const texts = ["", "a", "é", "\ufeffx", "a".repeat(33), "b".repeat(70), "é".repeat(70), "🙂"]
  .map((each) => text.encode(each));
/** Overlong, a surrogate, cut, and a stray byte. */
const badTexts = [[0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82], [0x61, 0xff]];

export class RandomWire {
  readonly #random: Prng;
  /** How likely something is written in an unusual way, though legally. */
  readonly #unusual: number;

  constructor(random: Prng, unusual: number) {
    this.#random = random;
    this.#unusual = unusual;
  }

  message(schema: DescMessage, depth: number): number[] {
    const random = this.#random;
    const bytes: number[] = [];
    const { fields } = schema;
    for (let count = random.pick([0, 1, 2, 5, 9]); count > 0; count--) {
      if (fields.length === 0 || random.chance(this.#unusual / 3)) this.#unknown(bytes, 2);
      else this.#field(bytes, random.pick(fields), depth);
    }
    return bytes;
  }

  #field(bytes: number[], field: DescField, depth: number): void {
    const random = this.#random;
    if (field.fieldKind === "map") {
      const entry: number[] = [];
      if (random.chance(0.9)) this.#scalar(entry, field.mapKey, 1);
      if (random.chance(0.9)) {
        if (field.mapKind === "message") {
          this.#tag(entry, 2, 2);
          this.#delimited(entry, depth > 0 ? this.message(field.message, depth - 1) : []);
        } else {
          this.#scalar(entry, field.mapKind === "enum" ? ScalarType.INT32 : field.scalar, 2);
        }
      }
      this.#tag(bytes, field.number, 2);
      this.#delimited(bytes, entry);
      return;
    }
    if (field.message !== undefined) {
      const inner = depth > 0 ? this.message(field.message, depth - 1) : [];
      if (field.delimitedEncoding) {
        this.#tag(bytes, field.number, 3);
        bytes.push(...inner);
        this.#tag(bytes, field.number, 4);
      } else {
        this.#tag(bytes, field.number, 2);
        this.#delimited(bytes, inner);
      }
      return;
    }
    const type = field.enum !== undefined ? ScalarType.INT32 : field.scalar!;
    const packable = type !== ScalarType.STRING && type !== ScalarType.BYTES;
    if (field.fieldKind !== "list" || !packable || random.chance(0.4)) {
      this.#scalar(bytes, type, field.number);
      return;
    }
    const items: number[] = [];
    for (let count = random.pick([0, 1, 3, 40]); count > 0; count--) this.#value(items, type);
    this.#tag(bytes, field.number, 2);
    this.#delimited(bytes, items);
  }

  #scalar(bytes: number[], type: ScalarType, number: number): void {
    // The library reads a field's own type whatever the tag says.
    const wire = this.#random.chance(this.#unusual / 10) ? this.#random.below(6) : wireOf(type);
    this.#tag(bytes, number, wire);
    this.#value(bytes, type);
  }

  #value(bytes: number[], type: ScalarType): void {
    const random = this.#random;
    if (type === ScalarType.STRING) {
      const bad = random.chance(this.#unusual / 10);
      this.#delimited(bytes, bad ? random.pick(badTexts) : random.pick(texts));
    } else if (type === ScalarType.BYTES) {
      this.#delimited(bytes, this.#raw(random.pick([0, 1, 5, 70, 200])));
    } else {
      const wire = wireOf(type);
      if (wire === 0) this.#varint(bytes, random.pick(varints) + BigInt(random.below(3)), 10);
      else bytes.push(...this.#raw(wire === 1 ? 8 : 4));
    }
  }

  #raw(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    // Zeros and ones alone give the special floats too.
    if (this.#random.chance(0.7)) this.#random.fill(bytes);
    else bytes.fill(this.#random.pick([0, 255]));
    return bytes;
  }

  #unknown(bytes: number[], depth: number): void {
    const random = this.#random;
    const number = random.pick([19, 99, 100, 101, 150, 300, 5000, 536870910]);
    const wire = random.below(depth > 0 ? 5 : 3);
    if (wire === 4) return this.#field(bytes, { ...unknownField, number } as DescField, 0);
    this.#tag(bytes, number, wire);
    if (wire === 0) this.#varint(bytes, random.pick(varints), 10);
    else if (wire === 1) bytes.push(...this.#raw(8));
    else if (wire === 2) this.#delimited(bytes, this.#raw(random.below(4)));
    else {
      this.#unknown(bytes, depth - 1);
      this.#tag(bytes, number, 4);
    }
  }

  #tag(bytes: number[], number: number, wire: number): void {
    this.#varint(bytes, BigInt(((number << 3) | wire) >>> 0), this.#random.pick([5, 5, 6]));
  }

  #delimited(bytes: number[], content: ArrayLike<number>): void {
    this.#varint(bytes, BigInt(content.length), 10);
    for (let at = 0; at < content.length; at++) bytes.push(content[at]);
  }

  /** Sometimes longer than needed, up to so many bytes. */
  #varint(bytes: number[], value: bigint, bytesMax: number): void {
    let rest = BigInt.asUintN(64, value);
    const least = this.#random.chance(this.#unusual / 5) ? this.#random.between(1, bytesMax) : 1;
    for (let length = 1; rest > 0x7fn || length < least; length++) {
      bytes.push(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    bytes.push(Number(rest));
  }

  /** Some of the bytes changed, lost, doubled or new. */
  damaged(bytes: readonly number[]): number[] {
    const random = this.#random;
    const result = [...bytes];
    for (let times = random.pick([1, 1, 2, 4]); times > 0; times--) {
      const at = random.below(result.length + 1);
      switch (random.below(7)) {
        case 0:
          if (at < result.length) result[at] ^= 1 << random.below(8);
          break;
        case 1:
          if (at < result.length) result[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, 0x0a, 0x0b]);
          break;
        case 2:
          result.length = at;
          break;
        case 3:
          result.splice(at, random.between(1, 3));
          break;
        case 4:
          result.splice(at, 0, ...this.#raw(random.between(1, 3)));
          break;
        case 5:
          result.splice(at, 0, ...result.slice(random.below(at + 1), at));
          break;
        default:
          if (at < result.length) result[at] = (result[at] + random.pick([1, -1])) & 255;
      }
    }
    return result;
  }
}

const unknownField = { fieldKind: "scalar", scalar: ScalarType.STRING };

function wireOf(type: ScalarType): number {
  switch (type) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return 2;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return 1;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return 5;
    default:
      return 0;
  }
}
