/** Messages to bytes at the edges of every kind, each beside the protobuf library. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { create, type DescMessage, isMessage } from "npm:@bufbuild/protobuf@2.17.0";
import { MessageEncoder } from "../../src/ttrpc/codec/encode.ts";
import { planOf } from "../../src/ttrpc/codec/plan.ts";
import { EditionRequiredSchema, EditionSchema } from "../gen/covey/test/codec/v1/edition2023_pb.ts";
import {
  OldDefaultsSchema,
  OldEnumsSchema,
  OldHolderSchema,
  OldRequiredSchema,
  OldSchema,
} from "../gen/covey/test/codec/v1/proto2_pb.ts";
import {
  ChoiceSchema,
  EmptySchema,
  ExpandedSchema,
  KnownSchema,
  LongsSchema,
  MapsSchema,
  MarkedSchema,
  NumbersSchema,
  PackedSchema,
  PlainSchema,
  type Tree,
  TreeSchema,
} from "../gen/covey/test/codec/v1/proto3_pb.ts";
import {
  CountResponseSchema,
  EchoRequestSchema,
  EchoResponseSchema,
  FailRequestSchema,
} from "../gen/covey/test/v1/test_pb.ts";
import { attempt, CodecTwin, libraryBytes } from "../property/codec_twin.ts";

/** Around the lengths at which a varint grows, and at which the codec goes another way. */
const edges = [0, 1, 31, 32, 33, 63, 64, 65, 125, 126, 127, 128, 129, 255, 256, 257, 258]
  .concat([
    2047,
    2048,
    2049,
    8185,
    8192,
    8193,
    16381,
    16382,
    16383,
    16384,
    16385,
    2097151,
    2097152,
  ]);

/** What a property may be set to by somebody who passes by the types. */
const strangers: readonly unknown[] = [
  undefined,
  null,
  ...[0, -0, 1, -1, 1.5, NaN, Infinity, -Infinity, 2 ** 31, -(2 ** 31), -(2 ** 31) - 1, 2 ** 32],
  ...[2 ** 32 - 1, 2 ** 53, 2 ** 64, 3.4028234663852886e38, 3.4028235677973366e38, 1e39, 1e-50],
  ...["", "0", "1", "-1", "5 ", "1e3", "1.5", "NaN", "x", "Infinity", "\ud800", "9".repeat(30)],
  ...[0n, 1n, -1n, 1n << 31n, 1n << 32n, (1n << 63n) - 1n, 1n << 63n, -(1n << 63n) - 1n],
  ...[(1n << 64n) - 1n, 1n << 64n, -(1n << 63n), (1n << 53n) + 1n, true, false, Symbol("s")],
  ...[{}, [], [0], [1, 2], [300, -1], ["1"], [null], [undefined], [[]], [{}], new Array(2)],
  new Uint8Array(0),
  Uint8Array.of(1, 2),
  Buffer.from("text"),
  new Uint8Array(new SharedArrayBuffer(9), 3, 5),
  new ArrayBuffer(3),
  new Float64Array([1, 2]),
  new Map([["a", 1]]),
  new Date(5),
  Object.create(Uint8Array.prototype),
  Object("text"),
  Object(7),
  () => 5,
  { case: undefined },
  { case: "int32Value", value: 5 },
  { case: "empty", value: {} },
  { case: "empty", value: undefined },
  { case: "stringValue", value: undefined },
  { case: "boolValue", value: 1 },
  { case: "none", value: 1 },
  { case: 5, value: 1 },
  { $typeName: "covey.test.codec.v1.Empty" },
  { $typeName: "covey.test.codec.v1.Plain" },
  { $typeName: undefined },
  { $typeName: 5 },
  { toString: () => "covered" },
  create(EmptySchema),
  create(PlainSchema, { int32Value: 5 }),
  create(OldSchema, { text: "x" } as never),
];

test("every property of every kind, set to anything", () => {
  const twin = new CodecTwin();
  const kinds: DescMessage[] = [PlainSchema, MarkedSchema, PackedSchema, ExpandedSchema];
  kinds.push(ChoiceSchema, TreeSchema, MapsSchema, KnownSchema, LongsSchema, OldSchema);
  kinds.push(OldEnumsSchema, OldDefaultsSchema, EditionSchema);
  for (const schema of kinds) {
    for (const member of schema.members) {
      for (const value of strangers) {
        const values: unknown[] = [value];
        if (member.kind === "oneof") {
          for (const { localName } of member.fields) values.push({ case: localName, value });
        } else if (member.fieldKind === "list") {
          values.push([value]);
        }
        for (const each of values) {
          const init = { [member.localName]: each };
          twin.encode(schema, init);
          const message = create(schema);
          Object.assign(message, init);
          twin.encode(schema, message);
          twin.encode(schema, Object.create(init));
        }
      }
    }
  }
  twin.assertKept();
});

test("anything for a message", () => {
  const twin = new CodecTwin();
  for (const schema of [EmptySchema, PlainSchema, OldSchema, OldRequiredSchema, TreeSchema]) {
    for (const value of [...strangers, ...strangers.map((each) => [each])]) {
      twin.encode(schema, value);
    }
  }
});

test("a message takes only messages, an init object both", () => {
  const twin = new CodecTwin();
  const tree = create(TreeSchema, { name: "root" });
  for (const inner of [{ name: "plain" }, {}, [], create(TreeSchema, { name: "made" })]) {
    for (
      const way of [{ left: inner }, { children: [inner] }, { way: { case: "up", value: inner } }]
    ) {
      twin.encode(TreeSchema, way);
      twin.encode(TreeSchema, Object.assign(create(TreeSchema), way));
      twin.encode(TreeSchema, { left: Object.assign(create(TreeSchema), way) });
    }
  }
  tree.left = { name: "plain" } as Tree;
  assert.throws(
    () => new MessageEncoder(true).encode(planOf(TreeSchema), tree),
    /cannot use field/,
  );
  // A message with nothing in it has no field to complain about.
  const holder = Object.assign(create(PlainSchema), { empty: {} });
  twin.encode(PlainSchema, holder);
});

test("required fields: the library says that one is missing", () => {
  const twin = new CodecTwin();
  const old = create(OldSchema);
  for (
    const init of [{}, { number: 0 }, { old }, { number: 0, old: {} }, { number: null, old }]
  ) {
    twin.encode(OldRequiredSchema, init);
    twin.encode(OldRequiredSchema, create(OldRequiredSchema, init as never));
    twin.encode(OldHolderSchema, { needy: init });
    twin.encode(OldHolderSchema, { needies: [{ number: 1, old }, init] });
  }
  twin.encode(EditionRequiredSchema, {});
  twin.encode(EditionRequiredSchema, { text: "" });
  assert.throws(
    () => twin.encoder.encode(planOf(OldHolderSchema), { needy: { number: 1 } }),
    /required field not set/,
  );
});

test("defaults on the prototype are not written, the same values of one's own are", () => {
  const twin = new CodecTwin();
  const message = create(OldDefaultsSchema);
  assert.equal(twin.encode(OldDefaultsSchema, message)?.length, 0);
  const { number, chunk } = message;
  Object.assign(message, { number, chunk });
  message.inner = create(OldDefaultsSchema, { yes: true, infinite: -Infinity });
  assert.ok(twin.encode(OldDefaultsSchema, message)!.length > 10);
  const edition = create(EditionSchema, { int32Value: 0, implicitNumber: 0 });
  assert.equal(twin.encode(EditionSchema, edition)?.length, 2);
});

test("lengths at their edges: texts, bytes, lists and messages in messages", () => {
  const twin = new CodecTwin();
  const deep = (length: number) => ({ left: { left: { leaf: new Uint8Array(length) } } });
  for (const length of edges) {
    // From different places of a block.
    for (const shift of [0, 1, 7000]) {
      twin.encode(TreeSchema, { leaf: new Uint8Array(shift) });
      twin.encode(PlainSchema, { bytesValue: new Uint8Array(length).fill(length) });
      twin.encode(PlainSchema, { stringValue: "a".repeat(length) });
      if (length > 9000) continue;
      twin.encode(PackedSchema, { int32s: new Array(length).fill(5) });
      twin.encode(TreeSchema, { children: [deep(length), { name: "é".repeat(length) }] });
    }
    for (let less = 0; less < (length > 20000 ? 5 : 14); less++) {
      twin.encode(TreeSchema, deep(Math.max(0, length - less)));
    }
    if (length > 20000) continue;
    for (const text of ["é", "漢", "🙂", "\ufeff", "a".repeat(126) + "é", "\ud800", "é\udc00"]) {
      twin.encode(PlainSchema, { stringValue: text.repeat(Math.ceil(length / text.length)) });
      twin.encode(PlainSchema, { stringValue: `${"a".repeat(length)}${text}` });
      twin.encode(PlainSchema, { stringValue: `${text}${"é".repeat(length)}\ud83d` });
    }
  }
  twin.assertKept();
});

test("a block ends anywhere in a message", () => {
  const twin = new CodecTwin();
  const tree = { name: "a", leaf: new Uint8Array(60), way: { case: "down", value: -1n } };
  const long = { leaf: new Uint8Array(100), name: "é".repeat(40) };
  const messages: [DescMessage, object][] = [
    [TreeSchema, { ...tree, left: { left: { left: long } }, children: [tree, {}, long] }],
    [TreeSchema, { left: { left: { left: { leaf: new Uint8Array(200) } } } }],
    [TreeSchema, { left: { name: "a".repeat(100), left: { name: "b".repeat(250) } } }],
    [PackedSchema, {
      fixed32s: new Array(60).fill(1),
      plains: [{ doubleValue: 1, boolValue: true }],
    }],
    [PackedSchema, { doubles: new Array(20).fill(0.1) }],
    [PackedSchema, { bools: new Array(130).fill(true), int32s: new Array(20).fill(-1) }],
    [PackedSchema, { chunks: [Uint8Array.of(1, 2, 3)], strings: ["漢字", "", "x"] }],
    [NumbersSchema, { i: 1, h: 1n, g: { g: { i: -1, h: 2n } } }],
  ];
  for (let rest = 0; rest <= 300; rest++) {
    for (const [schema, init] of messages) {
      twin.encode(TreeSchema, { leaf: new Uint8Array(9000) });
      twin.encode(TreeSchema, { leaf: new Uint8Array(8192 - 8 - rest) });
      twin.encode(schema, init);
    }
  }
  assert.equal(twin.encodedFast, 301 * 3 * messages.length);
  twin.assertKept();
});

test("large messages, and small ones after them", () => {
  const twin = new CodecTwin();
  const bytes = new Uint8Array(3 << 20).fill(7);
  const numbers = Array.from({ length: 100_000 }, (_, index) => index * 30_000 - (1 << 30));
  const children = numbers.map((number) => ({ way: { case: "down", value: BigInt(number) } }));
  for (
    const init of [
      { leaf: bytes, name: "x" },
      { left: { left: { leaf: bytes }, name: "after" }, name: "last" },
      { children },
      { left: { children } },
    ]
  ) {
    twin.encode(TreeSchema, { name: "small" });
    twin.encode(TreeSchema, init);
    twin.encode(TreeSchema, { name: "small" });
    assert.equal(twin.encoder.bytes.length, 8192, "a large block is not kept by small messages");
  }
  twin.encode(PackedSchema, { int32s: numbers, doubles: numbers, sint64s: numbers.map(BigInt) });
  twin.encode(PackedSchema, { strings: numbers.map(String), plains: numbers.map(() => ({})) });
  twin.encode(ExpandedSchema, { int32s: numbers });
  assert.equal(twin.encodedFast, 15);
  twin.assertKept();
});

test("nesting: as deep as one likes, and without an end", () => {
  const twin = new CodecTwin();
  for (const depth of [1, 5, 30, 31, 32, 33, 34, 35, 64, 100, 101, 200]) {
    let init: object = { name: "leaf" };
    let message = create(TreeSchema, { name: "leaf" });
    for (let level = 0; level < depth; level++) {
      init = level % 3 === 0 ? { children: [init] } : { left: init };
      message = create(TreeSchema, { way: { case: "up", value: message } });
    }
    twin.encode(TreeSchema, init);
    twin.encode(TreeSchema, message);
  }
  const circle: Record<string, unknown> = { name: "round" };
  circle.left = circle;
  assert.throws(() => twin.encoder.encode(planOf(TreeSchema), circle), RangeError);
  twin.encode(TreeSchema, { name: "after" });
});

test("field numbers up to the largest", () => {
  const twin = new CodecTwin();
  const all = { a: 1, b: 2, c: "c", d: "d", e: Uint8Array.of(5), f: [6, -6], h: 8n, i: -9 };
  const bytes = twin.encode(NumbersSchema, { ...all, g: { ...all, g: {} } });
  assert.equal(twin.encodedFast, 1);
  assert.deepEqual([...bytes!.slice(-6)], [0xf8, 0xff, 0xff, 0xff, 0x0f, 17]);
});

test("a getter that encodes with the same encoder, or throws", () => {
  const twin = new CodecTwin();
  const { encoder } = twin;
  const inner = create(PlainSchema, { stringValue: "inner", fixed64Value: 5n });
  const expected = libraryBytes(PlainSchema, inner);
  let seen = 0;
  const init = {
    name: "before",
    get left() {
      encoder.encode(planOf(PlainSchema), inner);
      assert.deepEqual(encoder.bytes.slice(encoder.start, encoder.end), expected);
      seen++;
      return { name: "from a getter", leaf: new Uint8Array(9000) };
    },
    leaf: Uint8Array.of(1),
  };
  twin.encode(TreeSchema, init);
  // Also while the library does the work.
  twin.encode(TreeSchema, { children: [init, { name: 5 }] });
  assert.ok(seen >= 4 && twin.encodedFast === 1, `${seen}`);
  const thrown = new TypeError("by the getter");
  const throws = {
    leaf: new Uint8Array(50),
    get left(): never {
      throw thrown;
    },
  };
  assert.throws(() => encoder.encode(planOf(TreeSchema), throws), (error) => error === thrown);
  twin.encode(TreeSchema, { name: "after", left: { name: "that" } });
  assert.equal(twin.encodedFast, 2);
  twin.assertKept();
});

test("messages that are held stay as they are, whatever is encoded after them", () => {
  const twin = new CodecTwin();
  for (let index = 0; index < 5000; index++) {
    const leaf = new Uint8Array((index * 37) % 700).fill(index);
    twin.encode(TreeSchema, index % 7 === 0 ? { leaf, name: 5 } : { leaf, left: { leaf } });
    if (index % 500 === 0) twin.encode(TreeSchema, { leaf: new Uint8Array(20_000) });
  }
  // What is encoded may be what was encoded before.
  const { encoder } = twin;
  for (let times = 0; times < 300; times++) {
    twin.encode(TreeSchema, { leaf: encoder.bytes.subarray(encoder.start, encoder.end) });
  }
  twin.assertKept();
});

test("an encoder that does not keep has one block for all messages, and writes the same bytes", () => {
  const encoder = new MessageEncoder(false);
  const blocks = new Set<Uint8Array>();
  for (let index = 1; index < 1000; index++) {
    const message = { leaf: new Uint8Array((index * 37) % 700).fill(index) };
    encoder.encode(planOf(TreeSchema), message);
    blocks.add(encoder.bytes);
    assert.deepEqual(
      encoder.bytes.slice(encoder.start, encoder.end),
      libraryBytes(TreeSchema, message),
    );
  }
  assert.equal(blocks.size, 1);
});

test("what the library had to encode takes no room in the blocks", () => {
  const encoder = new MessageEncoder(true);
  encoder.encode(planOf(TreeSchema), { name: "one" });
  const { bytes, end } = encoder;
  for (let times = 0; times < 20; times++) {
    encoder.encode(planOf(TreeSchema), { name: "x".repeat(400), leaf: [1, 2] });
    assert.notEqual(encoder.bytes, bytes);
    encoder.encode(planOf(TreeSchema), { children: [{ name: "x".repeat(90), leaf: [1, 2] }] });
  }
  encoder.encode(planOf(TreeSchema), { name: "two" });
  assert.equal(encoder.bytes, bytes);
  assert.equal(encoder.start, end);
});

test("what calls usually send needs no library", () => {
  const usual: [DescMessage, object][] = [
    [EchoRequestSchema, { payload: new Uint8Array(64), delayMillis: 5, metadataKey: "é" }],
    [EchoResponseSchema, { metadataValues: ["a", "b".repeat(500)], hasDeadline: true }],
    [CountResponseSchema, { index: 2 ** 32 - 1, payload: new Uint8Array(1024) }],
    [FailRequestSchema, { code: -5, message: "漢字" }],
    [MarkedSchema, { int32Value: 0, doubleValue: NaN, plain: { empty: {} } }],
    [PackedSchema, { uint64s: [1n << 63n], colors: [1, 77], plains: [{ sint64Value: -1n }] }],
    [ChoiceSchema, { kind: { case: "choice", value: { before: "x" } }, before: "y" }],
    [MapsSchema, { before: 1, texts: {} }],
    [KnownSchema, { timestamp: { seconds: 5n }, times: [{ nanos: 1 }], mask: { paths: ["a"] } }],
    [OldSchema, { stringValue: "", packed: [1n], many: [{ floatValue: 1 }], extra: "ignored" }],
    [OldEnumsSchema, { number: 5, kind: { case: "text", value: "a" } }],
    [EditionSchema, { implicitText: "a", expanded: [1, 2], inner: { color: 0 } }],
  ];
  const twin = new CodecTwin();
  for (const [schema, init] of usual) {
    const before = twin.encodedFast;
    twin.encode(schema, init);
    const message: unknown = create(schema, init as never);
    assert.ok(isMessage(message, schema));
    twin.encode(schema, message);
    assert.equal(twin.encodedFast, before + 2, schema.typeName);
  }
});

test("errors are the library's, word for word", () => {
  const encoder = new MessageEncoder(true);
  for (
    const [schema, init, message] of [
      [PlainSchema, { int32Value: 5n }, /Plain\.int32_value to binary: invalid int32: bigint/],
      [PlainSchema, { uint64Value: -1n }, /Plain\.uint64_value to binary: invalid uint64: -1/],
      [PackedSchema, { floats: [1e39] }, /Packed\.floats to binary: invalid float32/],
    ] as const
  ) {
    assert.throws(() => encoder.encode(planOf(schema), init), message);
    const expected = attempt(() => libraryBytes(schema, init));
    assert.deepEqual(attempt(() => encoder.encode(planOf(schema), init)), expected);
  }
});
