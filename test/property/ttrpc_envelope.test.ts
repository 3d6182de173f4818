/**
 * The hand-written envelope codec against the protobuf library on random messages: the same bytes
 * accepted, with the same values. Where the two may differ a third reader, slow and strict, says
 * why: the library is more lenient than protobuf's specification and Go's decoder, and ours is not.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "npm:fast-check@4.10.2";
import { create, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { concatBytes, equalBytes, toHex } from "../../src/base/bytes.ts";
import { RequestSchema, ResponseSchema } from "../../src/gen/covey/rpc/v1/rpc_pb.ts";
import {
  encodeExtensions,
  encodeStatus,
  okResponseBytes,
  requestBytes,
  requestMetadata,
  requestPrefix,
  writeOkResponse,
  writeRequest,
} from "../../src/ttrpc/core/envelope.ts";
import { type Kind, requestKind, responseKind } from "./ttrpc_envelope_views.ts";

const options = { seed: 20261, numRuns: 2000 };

// -- messages --------------------------------------------------------------------------------

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constantFrom("", "a", "\ufeff"),
);
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.constantFrom(127, 128, 16_383, 16_384).map((length) => new Uint8Array(length).fill(length)),
);
const timeout = fc.oneof(
  fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
  fc.constantFrom(
    -1n,
    0n,
    1n,
    (1n << 53n) + 1n,
    (1n << 63n) - 1n,
    -(1n << 63n),
    1n << 31n,
    1n << 32n,
  ),
);
const pairs = fc.array(fc.tuple(text, text), { maxLength: 5 });
const request = fc.record({
  service: text,
  method: text,
  payload: bytes,
  timeoutNano: timeout,
  pairs,
});
const code = fc.oneof(
  fc.integer({ min: 1, max: 16 }),
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
);
const details = fc.array(fc.record({ typeUrl: text, value: fc.uint8Array({ maxLength: 50 }) }), {
  maxLength: 3,
});
const status = fc.record({ code, message: text, details });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const extensions = fc.record({ version: u32, windowBytes: u32, pairs });

const keyValues = (list: readonly (readonly [string, string])[]) =>
  list.map(([key, value]) => ({ key, value }));

function encodeRequest(one: {
  service: string;
  method: string;
  payload: Uint8Array;
  timeoutNano: bigint;
  pairs: [string, string][];
}): Uint8Array {
  const prefix = requestPrefix(one.service, one.method);
  const metadata = requestMetadata(one.pairs.flat());
  const low = Number(BigInt.asIntN(32, one.timeoutNano));
  const high = Number(BigInt.asIntN(32, one.timeoutNano >> 32n));
  const length = requestBytes(prefix, one.payload.length, low, high, metadata);
  const target = new Uint8Array(length + 7);
  writeRequest(target, 7, prefix, one.payload, low, high, metadata);
  return target.subarray(7);
}

test("requests: our bytes are the library's, and both read them the same", () => {
  fc.assert(
    fc.property(request, (one) => {
      const { pairs, ...rest } = one;
      const expected = toBinary(
        RequestSchema,
        create(RequestSchema, { ...rest, metadata: keyValues(pairs) }),
      );
      const made = encodeRequest(one);
      if (!equalBytes(made, expected)) assert.fail(`${toHex(made)} is not ${toHex(expected)}`);
      assert.deepEqual(requestKind.ours(made), requestKind.library(made));
      assert.deepEqual(requestKind.ours(made)!.timeoutNano, one.timeoutNano);
    }),
    options,
  );
});

test("responses: our bytes are the library's, and both read them the same", () => {
  const outcome = fc.oneof(bytes, status);
  fc.assert(
    fc.property(outcome, fc.option(extensions, { nil: undefined }), (one, extra) => {
      const isOk = one instanceof Uint8Array;
      const tail = extra === undefined
        ? new Uint8Array(0)
        : encodeExtensions({ ...extra, metadata: extra.pairs.flat() });
      const head = isOk ? new Uint8Array(okResponseBytes(one.length)) : encodeStatus(one);
      if (isOk) writeOkResponse(head, 0, one);
      const made = concatBytes([head, tail]);
      const message = create(ResponseSchema, {
        ...(isOk ? { payload: one } : { status: one }),
        ...(extra === undefined
          ? {}
          : { extensions: { ...extra, metadata: keyValues(extra.pairs) } }),
      });
      const expected = toBinary(ResponseSchema, message);
      if (!equalBytes(made, expected)) assert.fail(`${toHex(made)} is not ${toHex(expected)}`);
      assert.deepEqual(responseKind.ours(made), responseKind.library(made));
    }),
    options,
  );
});

// -- wire format -----------------------------------------------------------------------------

function varint(value: bigint, padding = 0): Uint8Array {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest > 0x7fn) {
    out.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  out.push(Number(rest));
  // The same value with more bytes than it needs, which is allowed.
  for (; padding > 0 && out.length < 10; padding--) {
    out[out.length - 1] |= 0x80;
    out.push(0);
  }
  return Uint8Array.from(out);
}

function tag(field: number, type: number): Uint8Array {
  return varint(BigInt(field) << 3n | BigInt(type));
}

function delimited(field: number, data: Uint8Array): Uint8Array {
  return concatBytes([tag(field, 2), varint(BigInt(data.length)), data]);
}

const padding = fc.integer({ min: 0, max: 3 });
const anyVarint = fc.tuple(timeout, padding).map(([value, more]) => varint(value, more));
const textBytes = text.map((one) => new TextEncoder().encode(one));
const soup = (pieces: fc.Arbitrary<Uint8Array>, maxLength: number) =>
  fc.array(pieces, { maxLength }).map(concatBytes);

/** Fields that neither message knows, groups among them. */
const unknown = fc.letrec<{ field: Uint8Array; group: Uint8Array }>((tie) => ({
  field: fc.oneof(
    { maxDepth: 4 },
    fc.tuple(fc.integer({ min: 6, max: 90 }), anyVarint).map(([field, value]) =>
      concatBytes([tag(field, 0), value])
    ),
    fc.tuple(fc.constantFrom(7, 99, 536_870_911), fc.uint8Array({ minLength: 8, maxLength: 8 }))
      .map(([field, data]) => concatBytes([tag(field, 1), data])),
    fc.tuple(fc.integer({ min: 6, max: 90 }), fc.uint8Array({ minLength: 4, maxLength: 4 }))
      .map(([field, data]) => concatBytes([tag(field, 5), data])),
    fc.tuple(fc.integer({ min: 6, max: 90 }), fc.uint8Array({ maxLength: 20 }))
      .map(([field, data]) => delimited(field, data)),
    tie("group"),
  ),
  group: fc.tuple(fc.integer({ min: 6, max: 90 }), fc.array(tie("field"), { maxLength: 3 }))
    .map(([field, inner]) => concatBytes([tag(field, 3), ...inner, tag(field, 4)])),
})).field;

const pairField = (field: number) =>
  soup(
    fc.oneof(
      textBytes.map((one) => delimited(1, one)),
      textBytes.map((one) => delimited(2, one)),
      unknown,
    ),
    4,
  ).map((inner) => delimited(field, inner));

const requestSoup = soup(
  fc.oneof(
    textBytes.map((one) => delimited(1, one)),
    textBytes.map((one) => delimited(2, one)),
    fc.uint8Array({ maxLength: 30 }).map((one) => delimited(3, one)),
    anyVarint.map((one) => concatBytes([tag(4, 0), one])),
    pairField(5),
    unknown,
  ),
  10,
);

const statusSoup = soup(
  fc.oneof(
    fc.tuple(code, padding).map(([one, more]) =>
      concatBytes([tag(1, 0), varint(BigInt(one), more)])
    ),
    textBytes.map((one) => delimited(2, one)),
    pairField(3),
    unknown,
  ),
  5,
);

const extensionSoup = soup(
  fc.oneof(
    u32.map((one) => concatBytes([tag(1, 0), varint(BigInt(one))])),
    u32.map((one) => concatBytes([tag(2, 0), varint(BigInt(one))])),
    pairField(3),
    unknown,
  ),
  5,
);

const responseSoup = soup(
  fc.oneof(
    statusSoup.map((one) => delimited(1, one)),
    fc.uint8Array({ maxLength: 30 }).map((one) => delimited(2, one)),
    extensionSoup.map((one) => delimited(100, one)),
    unknown,
  ),
  6,
);

const kinds: readonly (readonly [Kind, fc.Arbitrary<Uint8Array>])[] = [
  [requestKind, requestSoup],
  [responseKind, responseSoup],
];

/** Ours must be the twin's always, and the library's unless the twin knows of a leniency. */
function compare(kind: Kind, encoded: Uint8Array, lenient: Map<string, number>): void {
  const ours = kind.ours(encoded);
  const { view, leniencies } = kind.twin(encoded);
  assert.deepEqual(ours, view, toHex(encoded));
  if (leniencies.size === 0) {
    assert.deepEqual(ours, kind.library(encoded), toHex(encoded));
  } else for (const one of leniencies) lenient.set(one, (lenient.get(one) ?? 0) + 1);
}

for (const [kind, arbitrary] of kinds) {
  test(`${kind.name}s: unknown, repeated and shuffled fields are read as the library does`, () => {
    const lenient = new Map<string, number>();
    fc.assert(
      fc.property(arbitrary, (encoded) => {
        assert.ok(kind.library(encoded) !== undefined, "the generator makes valid messages");
        compare(kind, encoded, lenient);
      }),
      options,
    );
    assert.equal(lenient.size, 0, "nothing here is a matter of taste");
  });

  test(`${kind.name}s: cut at any byte, changed at any byte, or random, the answer is the same`, () => {
    const lenient = new Map<string, number>();
    fc.assert(
      fc.property(arbitrary, fc.nat(), fc.nat(), fc.nat(255), (encoded, cut, at, value) => {
        compare(kind, encoded.subarray(0, cut % (encoded.length + 1)), lenient);
        if (encoded.length === 0) return;
        const changed = encoded.slice();
        changed[at % changed.length] = value;
        compare(kind, changed, lenient);
        // A byte taken out shifts every length behind it.
        compare(
          kind,
          concatBytes([
            changed.subarray(0, at % changed.length),
            changed.subarray(at % changed.length + 1),
          ]),
          lenient,
        );
      }),
      options,
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (encoded) => compare(kind, encoded, lenient)),
      { ...options, numRuns: 20_000 },
    );
    // Each of them did come up, so that the list is no idle excuse.
    for (const name of ["wire type", "nested bounds"]) {
      assert.ok(lenient.get(name)! > 0, `${name} was met`);
    }
  });
}

test("nested groups: deep ones are read, too deep ones refused, by both", () => {
  for (
    const [depth, accepted] of [[1, true], [50, true], [90, true], [150, false], [
      5000,
      false,
    ]] as const
  ) {
    const nested = concatBytes([
      ...Array.from({ length: depth }, () => tag(9, 3)),
      ...Array.from({ length: depth }, () => tag(9, 4)),
    ]);
    for (const kind of [requestKind, responseKind]) {
      assert.equal(kind.ours(nested) !== undefined, accepted, `${depth}`);
      assert.equal(kind.library(nested) !== undefined, accepted, `${depth}`);
    }
  }
});
