/** Bytes to messages at the edges of the wire format, each beside the protobuf library. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { create, type DescMessage, fromBinary, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { Prng } from "../../src/base/prng.ts";
import { planOf } from "../../src/ttrpc/codec/plan.ts";
import { EditionOddSchema } from "../gen/covey/test/codec/v1/edition2023_pb.ts";
import {
  OldDefaultsSchema,
  OldEnumsSchema,
  OldGroupsSchema,
  OldHolderSchema,
  OldSchema,
} from "../gen/covey/test/codec/v1/proto2_pb.ts";
import {
  ChoiceSchema,
  EmptySchema,
  ExpandedSchema,
  KnownSchema,
  MarkedSchema,
  NumbersSchema,
  PackedSchema,
  PlainSchema,
  TreeSchema,
} from "../gen/covey/test/codec/v1/proto3_pb.ts";
import {
  CountResponseSchema,
  EchoRequestSchema,
  EchoResponseSchema,
} from "../gen/covey/test/v1/test_pb.ts";
import { schemas } from "../property/codec_schemas.ts";
import { CodecTwin, libraryBytes } from "../property/codec_twin.ts";
import { RandomValues, sane } from "../property/codec_values.ts";

type Part = number | readonly number[] | Uint8Array;

function bytes(...parts: Part[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => typeof part === "number" ? [part] : [...part]));
}

/** A varint of at least so many bytes. */
function varint(value: bigint | number, least = 1): number[] {
  const result: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 0x7fn || result.length < least - 1; rest >>= 7n) {
    result.push(Number(rest & 0x7fn) | 0x80);
  }
  return [...result, Number(rest)];
}

function tag(number: number, wire: number, least = 1): number[] {
  return varint(number * 8 + wire, least);
}

function delimited(number: number, content: ArrayLike<number>): number[] {
  return [...tag(number, 2), ...varint(content.length), ...Array.from(content)];
}

test("varints of one to eleven bytes, as tag, as length and as value", () => {
  const twin = new CodecTwin();
  for (let least = 1; least <= 11; least++) {
    for (const value of [0n, 5n, 1n << 31n, 1n << 32n, 1n << 35n, 1n << 63n, (1n << 64n) - 1n]) {
      for (const last of [0, 1, 2, 0x10, 0x7f]) {
        const long = varint(value, least);
        // Bits above the 64th, which nobody has to look at.
        const odd = long.with(-1, long.at(-1)! | last);
        for (const number of [1, 2, 3, 4, 7, 8, 9, 15]) {
          twin.decode(PlainSchema, bytes(tag(number, 0), odd));
          twin.decode(MarkedSchema, bytes(tag(number, 0), odd));
          twin.decode(PackedSchema, bytes(tag(number, 0), odd));
          twin.decode(PackedSchema, bytes(delimited(number, odd), delimited(number, odd)));
        }
        twin.decode(PlainSchema, bytes(odd, 0));
      }
    }
    for (const content of [[], [0x61], new Array(200).fill(0x61)]) {
      const length = varint(content.length, least);
      for (const number of [12, 13, 14]) {
        twin.decode(PlainSchema, bytes(tag(number, 2), length, content));
        twin.decode(PlainSchema, bytes(tag(number, 2, least), varint(content.length), content));
      }
    }
    twin.decode(PlainSchema, bytes(tag(2, 0, least), 5));
    twin.decode(NumbersSchema, bytes(tag(536870911, 0, least), 5));
    twin.decode(NumbersSchema, bytes(tag(15, 0, least).with(-1, 0x10), 5));
  }
});

test("every field number and wire type, known or not", () => {
  const twin = new CodecTwin();
  const contents: Part[] = [[], [0], [1, 2], varint(300), [4, 1, 2, 3, 4], new Uint8Array(8), [
    0x0c,
  ]];
  for (const schema of [PlainSchema, PackedSchema, ChoiceSchema, NumbersSchema, OldGroupsSchema]) {
    for (const number of [0, 1, 2, 4, 7, 13, 14, 17, 18, 19, 254, 255, 256, 2047, 536870911]) {
      for (let wire = 0; wire < 8; wire++) {
        for (const content of contents) {
          twin.decode(schema, bytes(tag(number, wire), content));
          twin.decode(schema, bytes(tag(number, wire), content, tag(number, 4)));
          twin.decode(schema, bytes(tag(2, 0), 1, tag(number, wire), content, tag(2, 0), 3));
        }
      }
    }
  }
});

test("a message cut at every byte, for every message type", () => {
  const twin = new CodecTwin();
  for (const [index, schema] of schemas.entries()) {
    const values = new RandomValues(new Prng(index + 1), sane);
    for (let times = 0; times < 4; times++) {
      const whole = twin.encode(schema, values.init(schema, 2)) ?? new Uint8Array(0);
      const length = Math.min(whole.length, 600);
      for (let end = 0; end <= length; end++) twin.decode(schema, whole.slice(0, end));
      for (let start = 0; start < Math.min(length, 100); start++) {
        twin.decode(schema, whole.slice(start));
      }
    }
  }
});

test("lengths that leave their message, and numbers that do", () => {
  const twin = new CodecTwin();
  for (const length of [1, 2, 3, 127, 128, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53]) {
    for (const number of [2, 3, 4]) {
      twin.decode(TreeSchema, bytes(tag(number, 2), varint(length)));
      twin.decode(TreeSchema, bytes(tag(number, 2), varint(length), 0x0a));
      twin.decode(TreeSchema, bytes(delimited(2, [...tag(number, 2), ...varint(length)]), 0x0a, 0));
      twin.decode(PackedSchema, bytes(tag(number, 2), varint(length), 1, 1));
    }
  }
  // The field ends behind its message, yet inside of the whole: the library lets that pass.
  for (const inner of [[0x22, 3], [0x30, 0x80], [0x0a, 5, 0x61], [0x12, 2, 0x0a]]) {
    twin.decode(TreeSchema, bytes(delimited(2, inner), 0x0a, 1, 0x61, 0x30, 1));
    twin.decode(TreeSchema, bytes(delimited(3, inner), 0x0a, 1, 0x61, 0x30, 1));
    twin.decode(TreeSchema, bytes(delimited(5, inner), 0x0a, 1, 0x61, 0x30, 1));
  }
  for (let number = 1; number <= 18; number++) {
    for (const content of [[0x80], [1, 2, 3], [0, 0, 0, 0, 1], [0xff, 0xff]]) {
      twin.decode(PackedSchema, bytes(delimited(number, content), new Uint8Array(12)));
    }
  }
});

test("packed where tags are expected and the other way round, mixed", () => {
  const twin = new CodecTwin();
  const values = new RandomValues(new Prng(1), sane);
  // The scalars of both have the same numbers up to here.
  for (let number = 1; number <= 11; number++) {
    const one = PlainSchema.fields.find((each) => each.number === number)!;
    const many = PackedSchema.fields.find((each) => each.number === number)!;
    for (let times = 0; times < 20; times++) {
      const items = [1, 2, 3].map(() => values.scalar(one.scalar!));
      const single = libraryBytes(PlainSchema, { [one.localName]: items[0] });
      const packed = libraryBytes(PackedSchema, { [many.localName]: items });
      for (const schema of [PackedSchema, ExpandedSchema, PlainSchema]) {
        twin.decode(schema, bytes(single, packed, single, single));
        twin.decode(schema, bytes(packed, single, packed));
      }
    }
  }
  for (const number of [2, 3, 16]) {
    const single = [...tag(number, 0), ...varint(-1)];
    const packed = delimited(number, [1, 2, ...varint(300)]);
    twin.decode(PackedSchema, bytes(single, packed, single, delimited(number, []), packed));
    twin.decode(PackedSchema, bytes(delimited(number, []), single, tag(1, 0), 1, packed));
  }
});

test("fields that come again: the last wins, messages are merged", () => {
  const twin = new CodecTwin();
  const plain = delimited(10, delimited(13, [0x61]));
  const more = delimited(10, [...tag(2, 0), 5]);
  const number = [...tag(3, 0), 7];
  const texts = delimited(8, [0x62]);
  const deeper = delimited(11, delimited(1, [0x63]));
  const all = [plain, more, number, texts, deeper, delimited(12, delimited(1, [0x64])), []];
  for (const first of all) {
    for (const second of all) {
      for (const third of all) twin.decode(ChoiceSchema, bytes(first, second, third));
    }
  }
  const left = delimited(2, delimited(1, [0x61]));
  twin.decode(TreeSchema, bytes(left, delimited(2, tag(6, 0).concat(1)), left));
  twin.decode(
    TreeSchema,
    bytes(delimited(1, [0x61]), delimited(1, []), tag(6, 0), 1, tag(6, 0), 0),
  );
  twin.decode(EmptySchema, bytes(delimited(1, [])));
});

test("nesting: to the library's limit and beyond", () => {
  const twin = new CodecTwin();
  for (const depth of [1, 5, 30, 31, 32, 33, 34, 35, 64, 98, 99, 100, 101, 200]) {
    for (const number of [2, 3, 5]) {
      let content: number[] = delimited(1, [0x61]);
      for (let level = 0; level < depth; level++) content = delimited(number, content);
      twin.decode(TreeSchema, bytes(content));
      twin.decode(TreeSchema, bytes(content, delimited(4, [1])));
    }
  }
});

test("texts: every length, byte-order marks, and what is no UTF-8", () => {
  const twin = new CodecTwin();
  const encoder = new TextEncoder();
  for (const length of [0, 1, 30, 31, 32, 33, 62, 63, 64, 65, 66, 127, 128, 2048, 16383, 16384]) {
    for (const text of ["a", "é", "\ufeff", "🙂"]) {
      for (const end of ["", "é", "\0"]) {
        const content = encoder.encode(`${text.repeat(length)}${end}`);
        twin.decode(PlainSchema, bytes(delimited(13, content), tag(1, 0), 1));
        twin.decode(PackedSchema, bytes(delimited(14, content), delimited(14, content)));
        twin.decode(EditionOddSchema, bytes(delimited(3, content), delimited(4, content)));
      }
    }
    for (
      const bad of [[0x80], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2]]
    ) {
      const content = [...new Array(length).fill(0x61), ...bad];
      twin.decode(PlainSchema, bytes(delimited(13, content), tag(1, 0), 1));
      twin.decode(EditionOddSchema, bytes(delimited(3, content)));
    }
  }
});

test("bytes: copies of any length; large messages and long lists", () => {
  const twin = new CodecTwin();
  for (const length of [1, 63, 64, 65, 127, 128, 2047, 2048, 2049, 8191, 8192, 16384, 3 << 20]) {
    twin.decode(TreeSchema, libraryBytes(TreeSchema, { leaf: new Uint8Array(length) }));
    const left = { leaf: new Uint8Array(length).fill(1) };
    twin.decode(TreeSchema, libraryBytes(TreeSchema, { left, leaf: left.leaf }));
  }
  const numbers = Array.from({ length: 100_000 }, (_, index) => index * 30_000 - (1 << 30));
  twin.decode(PackedSchema, libraryBytes(PackedSchema, { int32s: numbers, doubles: numbers }));
  twin.decode(ExpandedSchema, libraryBytes(ExpandedSchema, { int32s: numbers }));
  const children = numbers.slice(0, 20_000).map((each) => ({ name: String(each), leaf: [1] }));
  twin.decode(TreeSchema, libraryBytes(TreeSchema, { children }));
  assert.equal(twin.decodedFast, 13 * 2 + 3);
});

test("an owned message's bytes are views of it, a Buffer's are Buffers", () => {
  const twin = new CodecTwin();
  const own = libraryBytes(TreeSchema, { leaf: [1, 2, 3], left: { leaf: [4] } });
  for (const source of [own, Buffer.from(own), new Uint8Array(new SharedArrayBuffer(16))]) {
    if (source !== own) source.set(own);
    const exact = source.subarray(0, own.length);
    const message = twin.decoder.decodeOwned(planOf(TreeSchema), exact);
    assert.deepEqual(message, fromBinary(TreeSchema, exact));
    const { leaf } = message as unknown as { leaf: Uint8Array };
    assert.equal(leaf.buffer, source.buffer);
  }
});

test("a decoder goes on after what it could not read", () => {
  const twin = new CodecTwin();
  const good = libraryBytes(OldSchema, { text: "x", number: 5, many: [{ int32Value: 1 }] });
  for (
    const bad of [[0], [0x0a, 0x80], [0xff], delimited(6, [0xff]), tag(7, 2), delimited(8, [0])]
  ) {
    twin.decode(OldSchema, bytes(bad));
    assert.ok(twin.decode(OldSchema, good));
  }
  assert.ok(twin.decode(OldSchema, bytes(good, delimited(100, [0x61]), tag(101, 0), 1)));
  assert.ok(twin.decode(OldEnumsSchema, bytes(tag(1, 0), 7, tag(1, 0), 99, delimited(3, [0, 9]))));
  assert.ok(twin.decode(OldDefaultsSchema, bytes(tag(2, 0), varint(-5))));
  assert.ok(twin.decode(OldHolderSchema, bytes(delimited(1, []))));
});

test("what calls usually bring needs no library", () => {
  const usual: [DescMessage, object][] = [
    [EchoRequestSchema, { payload: new Uint8Array(64), delayMillis: 5, metadataKey: "é" }],
    [EchoResponseSchema, { metadataValues: ["a", "b".repeat(500)], hasDeadline: true }],
    [CountResponseSchema, { index: 2 ** 32 - 1, payload: new Uint8Array(1024) }],
    [PackedSchema, { uint64s: [1n << 63n], colors: [1, 77], plains: [{ sint64Value: -1n }] }],
    [ExpandedSchema, { int32s: [1, -2], floats: [NaN, -0] }],
    [MarkedSchema, { int32Value: 0, doubleValue: NaN, plain: { empty: {} } }],
    [ChoiceSchema, { kind: { case: "choice", value: { before: "x" } }, before: "y" }],
    [KnownSchema, { timestamp: { seconds: 5n }, times: [{ nanos: 1 }], mask: { paths: ["a"] } }],
    [OldSchema, { kind: { case: "number", value: 5 }, packed: [1n], many: [{ stringValue: "" }] }],
  ];
  const twin = new CodecTwin();
  for (const [schema, init] of usual) {
    twin.decode(schema, toBinary(schema, create(schema, init as never)));
  }
  assert.equal(twin.decodedFast, usual.length);
});
