/**
 * Envelopes that no usual encoder writes, on whole servers and channels: what protobuf allows is
 * served, what it forbids fails its own call, and the connection goes on. Each verdict is that of
 * Go's decoder, tried against its server.
 */
import assert from "node:assert/strict";
import { concatBytes, encodeText } from "../../src/base/bytes.ts";
import {
  close,
  codeOf,
  frame,
  hex,
  pack,
  pattern,
  readResponse,
  requestData,
} from "./support/frames.ts";
import { EchoRequestSchema, EchoResponseSchema } from "../gen/covey/test/v1/test_pb.ts";
import { failure } from "./support/outcome.ts";
import { bothTest } from "./support/stage.ts";
import { echo, echoed, testService } from "./support/test_frames.ts";

const service = concatBytes([hex("0a19"), encodeText(testService)]);
const method = concatBytes([hex("1204"), encodeText("Echo")]);
const payload = concatBytes([hex("1a03"), pack(EchoRequestSchema, { payload: pattern(1) })]);
const plain = concatBytes([service, method, payload]);

const join = (...parts: readonly (Uint8Array | string)[]) =>
  concatBytes(parts.map((part) => typeof part === "string" ? hex(part) : part));

const accepted: readonly (readonly [name: string, envelope: Uint8Array, echoed?: Uint8Array])[] = [
  ["fields from last to first", join("2a0012020a00", "2000", payload, method, service)],
  [
    "unknown fields of every wire type",
    join("3801", plain, "410102030405060708", "4a0161", "4d01020304"),
  ],
  ["an unknown group with groups inside", join("33 0801 3b 120161 3c 34", plain)],
  ["the largest field number", join("f8ffffff0f 00", plain)],
  ["known fields with other wire types", join("0805 1501020304 1801 220101 2801", plain)],
  ["overlong tags and lengths", join(plain, "a0808000 00", "9a808000 83808000 0a01aa"), hex("aa")],
  ["a timeout in ten bytes that is zero", join(plain, "20 80808080808080808000")],
  ["the payload twice: the last counts", join(plain, "1a04 0a02aabb"), hex("aabb")],
  ["the payload twice, empty at last", join(plain, "1a00"), hex("")],
  ["service and method twice: the last counts", join("0a0178 120179", plain)],
  [
    "metadata without key, without value, with neither, with unknown fields",
    join(plain, "2a03120176 2a030a016b 2a00 2a04 1801 2000"),
  ],
  ["a timeout twice: the last counts", join("20 01", plain, "20 8080d0b8e1a702")],
];

bothTest("requests that are unusual and well formed are served", async (stage) => {
  const { address, server } = await stage.serve();
  const peer = await stage.raw(address);
  for (const [index, [name, envelope, expected]] of accepted.entries()) {
    peer.send(frame(1 + 2 * index, 1, 0, envelope));
    const answer = await peer.next();
    assert.deepEqual([answer.id, codeOf(answer)], [1 + 2 * index, 0], name);
    assert.deepEqual(echoed(answer), expected ?? pattern(1), name);
  }
  assert.equal(server.connections, 1);
});

const malformed: readonly (readonly [name: string, envelope: Uint8Array])[] = [
  ["a length beyond the end", join(plain, "4a05 61")],
  ["a length of 2^32 and more", join(plain, "4a 808080808010")],
  ["a varint that does not end", join(plain, "20 ff")],
  ["a varint of eleven bytes", join(plain, "20 ffffffffffffffffffff01")],
  ["a tenth byte above 1", join(plain, "20 80808080808080808002")],
  ["a cut fixed32", join(plain, "4d010203")],
  ["a cut fixed64", join(plain, "4101020304050607")],
  ["field number 0", join(plain, "0000")],
  ["a tag above 32 bits", join(plain, "f8ffffff1f 00")],
  ["wire type 6", join(plain, "36")],
  ["wire type 7", join(plain, "37")],
  ["a group that does not end", join(plain, "33 0801")],
  ["an end without its group", join(plain, "34")],
  ["a group that another one ends", join(plain, "33 3c")],
  ["metadata that is cut", join(plain, "2a02 0a05")],
  ["metadata with a bad tag", join(plain, "2a01 07")],
];

/** Bytes that are no UTF-8, as Go's `utf8.Valid` sees it. */
const notText: readonly (readonly [name: string, text: string])[] = [
  ["a byte that never occurs", "ff"],
  ["a lone continuation", "80"],
  ["a cut sequence of two", "c3"],
  ["a cut sequence of three", "e282"],
  ["a cut sequence of four", "f09f98"],
  ["an overlong slash", "c0af"],
  ["an overlong NUL", "c080"],
  ["overlong in three", "e08080"],
  ["overlong in four", "f0808080"],
  ["a high surrogate", "eda080"],
  ["a pair of surrogates", "eda0bdedb880"],
  ["beyond U+10FFFF", "f4908080"],
  ["a sequence of five", "f888808080"],
  ["good text around it", "61 c3 62"],
];

/** A delimited field with these bytes. */
function field(tag: string, text: string): Uint8Array {
  const bytes = hex(text);
  return join(tag, bytes.length.toString(16).padStart(2, "0"), bytes);
}

bothTest("requests that are malformed or no UTF-8 are answered 3, one by one", async (stage) => {
  let handled = 0;
  const { address, server } = await stage.serve({
    handlers: {
      echo(request) {
        handled++;
        return { payload: request.payload };
      },
    },
  });
  const envelopes = [...malformed];
  for (const [name, text] of notText) {
    envelopes.push(
      [`service: ${name}`, join(field("0a", text), plain)],
      [`method: ${name}`, join(field("12", text), plain)],
      [`metadata key: ${name}`, join(plain, field("2a", `0a${hexByte(text)}${text}`))],
      [`metadata value: ${name}`, join(plain, field("2a", `12${hexByte(text)}${text}`))],
    );
  }
  const peer = await stage.raw(address);
  for (const [index, [name, envelope]] of envelopes.entries()) {
    const id = 1 + 4 * index;
    peer.send(frame(id, 1, 0, envelope), echo(id + 2, { payload: pattern(5) }));
    const [refusal, next] = await peer.take(2);
    assert.deepEqual([refusal.id, codeOf(refusal)], [id, 3], name);
    assert.deepEqual([next.id, echoed(next)], [id + 2, pattern(5)], name);
  }
  assert.equal(handled, envelopes.length, "no handler ran for any of them");
  assert.equal(server.connections, 1);
});

function hexByte(text: string): string {
  return hex(text).length.toString(16).padStart(2, "0");
}

bothTest("names that are odd and good text come back in the refusal", async (stage) => {
  const { address } = await stage.serve();
  const peer = await stage.raw(address);
  const names = [
    "",
    "\0",
    "\ufeffEcho",
    "Ключ",
    "\uffff",
    "😀",
    "Echo ",
    "echo",
    "constructor",
    "__proto__",
  ];
  for (const [index, name] of names.entries()) {
    const envelope = { service: testService, method: name, payload: pattern(2) };
    peer.send(frame(1 + 4 * index, 1, 0, requestData(envelope)));
    const byMethod = await peer.next();
    assert.deepEqual([codeOf(byMethod), readResponse(byMethod).status!.message], [
      12,
      `method ${name}`,
    ]);
    peer.send(frame(3 + 4 * index, 1, 0, requestData({ ...envelope, service: name })));
    const byService = await peer.next();
    assert.deepEqual([codeOf(byService), readResponse(byService).status!.message], [
      12,
      `service ${name}`,
    ]);
  }
});

const inner = pack(EchoResponseSchema, { payload: pattern(1) });
const good = join("1203", inner);

const fine: readonly (readonly [name: string, response: Uint8Array, payload: Uint8Array])[] = [
  ["the payload before an empty status", join(good, "0a00"), pattern(1)],
  [
    "a status of code 0 with words and details",
    join("0a0a 0800 120161 1a03 0a0174", good),
    pattern(1),
  ],
  ["unknown fields and a group", join("3801 4a0161", good, "33 0801 34"), pattern(1)],
  ["known fields with other wire types", join("0805 1501020304", good), pattern(1)],
  ["the payload twice: the last counts", join(good, "1204 0a02aabb"), hex("aabb")],
  ["field 100 of another wire type", join("a00605", good), pattern(1)],
  ["overlong lengths", join("12838000", inner), pattern(1)],
];

const failing:
  readonly (readonly [name: string, response: Uint8Array, code: number, words: string])[] = [
    ["a status in two parts is merged", join("0a02 0805", "0a05 1203 6d7367"), 5, "msg"],
    ["the second part's code counts", join("0a07 0805 1203 6d7367", "0a02 0809"), 9, "msg"],
    ["a payload beside an error does not count", join("0a02 0805", good), 5, ""],
    ["a code with unused bytes", join("0a06 0885808080 00"), 5, ""],
    ["a code outside the set", join("0a02 0811"), 2, ""],
    ["a negative code", join("0a0b 08 ffffffffffffffffff01"), 2, ""],
    ["a code above 32 bits is cut to them", join("0a07 08 858080808001"), 5, ""],
    [
      "words that are no UTF-8",
      join("0a05 0805 1201ff"),
      13,
      "the server's response envelope is malformed",
    ],
    [
      "details that are cut",
      join("0a04 1a02 0a05"),
      13,
      "the server's response envelope is malformed",
    ],
    ["a tag of 0", join(good, "00"), 13, "the server's response envelope is malformed"],
    ["a cut length", join("12"), 13, "the server's response envelope is malformed"],
    [
      "an extension that is cut",
      join(good, "a20601 08"),
      13,
      "the server's response envelope is malformed",
    ],
  ];

bothTest("responses that are unusual are read as protobuf says", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address);
  await channel.connect();
  const peer = await raw.accept();
  for (const [name, envelope, expected] of fine) {
    const call = client.echo({});
    peer.send(frame((await peer.next()).id, 2, 0, envelope));
    assert.deepEqual((await call).payload, expected, name);
  }
  for (const [name, envelope, code, words] of failing) {
    const call = failure(client.echo({}));
    peer.send(frame((await peer.next()).id, 2, 0, envelope));
    const error = await call;
    assert.deepEqual([error.code, error.rawMessage, error.sent], [code, words, true], name);
    // The same for a stream, whose other streams go on.
    const stream = client.count({})[Symbol.asyncIterator]();
    const beside = client.count({})[Symbol.asyncIterator]();
    const [first, second] = await peer.take(2);
    peer.send(frame(first.id, 2, 0, envelope), close(second.id));
    assert.equal((await failure(stream.next())).code, code, name);
    assert.equal((await beside.next()).done, true, name);
  }
  assert.equal(channel.counters.connectionsTotal, 1);
  assert.equal(channel.counters.callsOpen, 0);
});
