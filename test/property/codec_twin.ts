/** The message codec beside the protobuf library, which is right by definition. */
import assert from "node:assert/strict";
import {
  create,
  type DescMessage,
  fromBinary,
  isMessage,
  type Message,
  toBinary,
} from "npm:@bufbuild/protobuf@2.17.0";
import { equalBytes, toHex } from "../../src/base/bytes.ts";
import { MessageDecoder } from "../../src/ttrpc/codec/decode.ts";
import { MessageEncoder } from "../../src/ttrpc/codec/encode.ts";
import { planOf } from "../../src/ttrpc/codec/plan.ts";
import { Slab } from "../../src/ttrpc/core/slab.ts";

/** What somebody got, or the error instead. */
export type Outcome<T> = { readonly value: T } | { readonly error: string };

export function attempt<T>(get: () => T): Outcome<T> {
  try {
    return { value: get() };
  } catch (error) {
    const name = error instanceof Error ? error.constructor.name : typeof error;
    return { error: `${name}: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** What the library makes of a message or of what `create` takes for one. */
export function libraryBytes(schema: DescMessage, value: unknown): Uint8Array {
  return toBinary(
    schema,
    isMessage(value) ? value : create(schema, value as Record<string, unknown>),
  );
}

/** Counts what is copied, and so tells whether the decoder asked the library. */
export class CountingSlab extends Slab {
  readonly lengths: number[] = [];

  override copy(source: Uint8Array, start: number, end: number): Uint8Array {
    this.lengths.push(end - start);
    return super.copy(source, start, end);
  }
}

export class CodecTwin {
  readonly encoder: MessageEncoder = new MessageEncoder(true);
  readonly decoder: MessageDecoder = new MessageDecoder();
  readonly slab: CountingSlab = new CountingSlab();
  /** How much was done without the library. */
  encodedFast = 0;
  decodedFast = 0;
  /** Every message that was encoded, as it is held by whoever sends it, and as it was. */
  readonly #kept: { readonly bytes: Uint8Array; readonly copy: Uint8Array }[] = [];

  /** Encodes with both, which must agree; the bytes, or undefined when both threw the same. */
  encode(schema: DescMessage, value: unknown): Uint8Array | undefined {
    const expected = attempt(() => libraryBytes(schema, value));
    const actual = attempt(() => {
      this.encoder.encode(planOf(schema), value);
      const { bytes, start, end } = this.encoder;
      return bytes.subarray(start, end);
    });
    if ("error" in expected || "error" in actual) {
      assert.deepEqual(actual, expected);
      return undefined;
    }
    if (!equalBytes(actual.value, expected.value)) {
      assert.equal(toHex(actual.value), toHex(expected.value));
    }
    if (actual.value.buffer.byteLength > actual.value.length) this.encodedFast++;
    this.#kept.push({ bytes: actual.value, copy: expected.value });
    return expected.value;
  }

  /**
   * Decodes in both ways and with the library; the message, or undefined when all threw the same.
   * The bytes lie between others, which read like more of the message, and are overwritten before
   * the message is looked at.
   */
  decode(schema: DescMessage, bytes: Uint8Array): Message | undefined {
    const plan = planOf(schema);
    const expected = attempt(() => fromBinary(schema, bytes.slice()));
    const before = 13;
    const buffer = new Uint8Array(before + bytes.length * 2 + 16);
    buffer.set(bytes, before);
    buffer.set(bytes, before + bytes.length);
    this.slab.lengths.length = 0;
    const copied = attempt(() =>
      this.decoder.decode(plan, buffer, before, before + bytes.length, this.slab)
    );
    buffer.fill(0xa5);
    assertSame(copied, expected);
    const { lengths } = this.slab;
    if (bytes.length > 0 && lengths.at(-1) !== bytes.length) this.decodedFast++;
    const own = bytes.slice();
    assertSame(attempt(() => this.decoder.decodeOwned(plan, own)), expected);
    return "value" in expected ? expected.value : undefined;
  }

  /** What was encoded has stayed as it was, though more was encoded since. */
  assertKept(): void {
    for (const { bytes, copy } of this.#kept) {
      if (!equalBytes(bytes, copy)) assert.equal(toHex(bytes), toHex(copy));
    }
    this.#kept.length = 0;
  }
}

/** Alike down to prototypes, the order of properties, NaN and -0, which `deepEqual` lets pass. */
export function assertSame(actual: unknown, expected: unknown): void {
  const where = difference(actual, expected, "");
  if (where === undefined) return;
  // Says more, where it sees a difference at all.
  assert.deepEqual(actual, expected);
  assert.fail(`not the same at ${where}`);
}

function difference(actual: unknown, expected: unknown, path: string): string | undefined {
  if (Object.is(actual, expected)) return undefined;
  if (
    typeof actual !== "object" || typeof expected !== "object" ||
    actual === null || expected === null ||
    Object.getPrototypeOf(actual) !== Object.getPrototypeOf(expected)
  ) return path || "/";
  if (actual instanceof Uint8Array) {
    return equalBytes(actual, expected as Uint8Array) ? undefined : path;
  }
  const keys = Reflect.ownKeys(actual);
  const others = Reflect.ownKeys(expected);
  if (keys.length !== others.length) return `${path}: ${String(keys)} for ${String(others)}`;
  for (const [index, key] of keys.entries()) {
    if (key !== others[index]) return `${path}: ${String(keys)} for ${String(others)}`;
    const found = difference(
      Reflect.get(actual, key),
      Reflect.get(expected, key),
      `${path}/${String(key)}`,
    );
    if (found !== undefined) return found;
  }
  return undefined;
}
