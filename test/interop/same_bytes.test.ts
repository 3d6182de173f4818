/**
 * The same bytes to Go's server and to covey's: whatever a client sends, both answer on the same
 * ids with the same kinds of frames, codes and messages. Where covey differs, it does so on purpose,
 * and the reason stands beside its answers.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type DescMethod, fromJson, type JsonValue, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { type Address, parseAddress } from "../../src/base/address.ts";
import { concatBytes, toHex } from "../../src/base/bytes.ts";
import type { Net } from "../../src/runtime/port.ts";
import { createRpcServer } from "../../src/standalone.ts";
import { selectRuntime } from "../../src/start.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { buildGoPeer, startGoServer } from "../support/go_peer.ts";
import { testHandlers } from "../support/test_service.ts";
import {
  close,
  data,
  type Frame,
  frame,
  hex,
  readResponse,
  request,
} from "../ttrpc/support/frames.ts";
import { dialRaw } from "../ttrpc/support/raw_peer.ts";

const go = await buildGoPeer();
const skip = go.skip ?? false;

const { method } = TestService;

function message(of: DescMethod, init: JsonValue): Uint8Array {
  return toBinary(of.input, fromJson(of.input, init));
}

function call(
  id: number,
  flags: number,
  of: DescMethod,
  init?: JsonValue,
  extras = {},
): Uint8Array {
  const payload = init === undefined ? undefined : message(of, init);
  return request(id, flags, { service: TestService.typeName, method: of.name, payload, ...extras });
}

const echo = (id: number, init: JsonValue = {}, extras = {}) =>
  call(id, 0, method.echo, init, extras);
const sum = (id: number, value: number) => data(id, message(method.sum, { value: `${value}` }));
const chat = (id: number, init: JsonValue = {}) => data(id, message(method.chat, init));
const envelope = (...more: string[]) =>
  frame(1, 1, 0, concatBytes([echo(1, { payload: "YQ==" }).subarray(10), ...more.map(hex)]));
const oversized = new Uint8Array((4 << 20) + 1);

interface Session {
  readonly name: string;
  readonly frames: readonly Uint8Array[];
  /** Covey's answers where they are not Go's, and why. */
  readonly differs?: { readonly why: string; readonly answers: readonly string[] };
}

const sessions: readonly Session[] = [
  {
    name: "unary, whatever its flags",
    frames: [0, 1, 2, 3, 4, 5, 6, 7, 0xf8].map((flags, index) =>
      call(1 + 2 * index, flags, method.echo, { payload: "YWI=" })
    ),
  },
  {
    name: "server streaming, whatever its flags",
    frames: [0, 1, 2, 4, 6, 0xf9].map((flags, index) =>
      call(1 + 2 * index, flags, method.count, { count: 2, bytes: 1 })
    ),
  },
  {
    name: "client streaming, opened with 00, 02, 04, 06",
    frames: [0, 2, 4, 6].flatMap((
      flags,
      index,
    ) => [call(1 + 2 * index, flags, method.sum), sum(1 + 2 * index, 5), close(1 + 2 * index)]),
  },
  {
    name: "a first message in the request of a client stream",
    frames: [
      call(1, 2, method.sum, { value: "7" }),
      sum(1, 5),
      close(1),
      call(3, 0, method.sum, {}),
      close(3),
    ],
  },
  {
    name: "Data 00 and 02, empty ones, and Data 04",
    frames: [
      call(1, 6, method.sum),
      sum(1, 5),
      data(1),
      frame(1, 3, 2, message(method.sum, { value: "9" })),
      frame(1, 3, 4),
      frame(1, 3, 4, message(method.sum, { value: "100" })),
      close(1),
    ],
  },
  {
    name: "Data 01 without a message inside",
    frames: [call(1, 6, method.sum), sum(1, 5), frame(1, 3, 1)],
  },
  {
    name: "chat with three messages",
    frames: [
      call(1, 6, method.chat),
      chat(1, { payload: "YQ==" }),
      chat(1),
      chat(1, { payload: "Yg==" }),
      close(1),
    ],
  },
  { name: "a second close", frames: [call(1, 6, method.sum), close(1), close(1)] },
  {
    name: "an error after two messages",
    frames: [
      call(1, 1, method.failStream, { code: 9, message: "late", after: 2 }),
    ],
  },
  {
    name: "errors of every code, with details",
    frames: Array.from({ length: 16 }, (_, index) =>
      call(1 + 2 * index, 0, method.fail, {
        code: index + 1,
        message: `m${index}`,
        after: index % 3,
      })),
  },
  {
    name: "even ids of every type",
    frames: [
      echo(2),
      chat(4),
      frame(6, 2, 0),
      frame(8, 77, 0xff),
      echo(0),
      echo(0xfffffffe),
    ],
  },
  {
    name: "ids that were used, and one that is in use",
    frames: [
      echo(5, { delayMillis: 20 }),
      echo(5),
      echo(7, { delayMillis: 20 }),
      echo(7),
      echo(7),
    ],
  },
  {
    name: "unknown types",
    frames: [0, 4, 5, 6, 7, 8, 9, 255].flatMap((
      type,
    ) => [frame(1, type, 0), frame(99, type, 0xff, hex("616263"))]),
  },
  { name: "a Response to the server", frames: [frame(1, 2, 0, hex("0a00"))] },
  {
    name: "no service, no method",
    frames: [
      frame(1, 1, 0),
      request(3, 0, { service: "no.Such", method: "Echo" }),
      request(5, 0, { service: TestService.typeName, method: "" }),
      request(7, 0, { service: TestService.typeName, method: "echo" }),
    ],
  },
  {
    name: "unknown fields, groups, known fields of other types",
    frames: [
      envelope("3801 4a0161 4d01020304 410102030405060708", "33 0801 3b 3c 34", "0805 1801 220101"),
    ],
  },
  { name: "the payload twice", frames: [envelope("1a04 0a02aabb")] },
  { name: "overlong varints", frames: [envelope("20 80808080808080808000", "a0808000 00")] },
  ...[
    "0000",
    "36",
    "34",
    "33 0801",
    "33 3c",
    "4a05 61",
    "20 ff",
    "20 80808080808080808002",
    "2a02 0a05",
    "0a01ff",
    "1202c080",
    "2a03 0a01ff",
    "2a05 1203eda080",
  ].map((more) => ({ name: `an envelope with ${more}`, frames: [envelope(more), echo(1)] })),
  {
    name: "a message that is none",
    frames: [
      request(1, 0, { service: TestService.typeName, method: "Echo", payload: hex("0a0501") }),
    ],
  },
  {
    name: "metadata: twice, empty, without key",
    frames: [
      echo(1, { metadataKey: "k" }, {
        metadata: [{ key: "k", value: "1" }, { key: "", value: "x" }, { key: "k", value: "" }, {}],
      }),
    ],
  },
  {
    name: "deadlines of all sizes",
    frames: [
      echo(1, { delayMillis: 5 }, { timeoutNano: (1n << 63n) - 1n }),
      echo(3, { delayMillis: 5 }, { timeoutNano: (1n << 53n) + 1n }),
      echo(5, { delayMillis: 5000 }, { timeoutNano: -1n }),
      echo(7, { delayMillis: 5000 }, { timeoutNano: -(1n << 63n) }),
      echo(9, { delayMillis: 5000 }, { timeoutNano: 5_000_000n }),
    ],
  },
  {
    name: "frames above the limit: a request, unknown types, a message",
    frames: [
      frame(1, 1, 0, oversized),
      frame(3, 77, 0, oversized),
      frame(5, 2, 0, oversized),
      call(7, 6, method.chat),
      frame(7, 3, 0, oversized),
    ],
  },
  {
    name: "Data on streams that never were",
    frames: [chat(1), close(3), frame(5, 3, 1, hex("0a0161"))],
  },
  {
    name: "a frame above the limit on an even id",
    frames: [frame(2, 1, 0, oversized)],
    differs: { why: "the id is judged first, as in every other frame", answers: ["2 0200 code 3"] },
  },
  {
    name: "Data 01 with a message",
    frames: [call(1, 6, method.sum), frame(1, 3, 1, message(method.sum, { value: "5" }))],
    differs: {
      why: "it is delivered, and no error follows",
      answers: ["1 0200 code 0 1204 08051001"],
    },
  },
  {
    name: "a message in two cases",
    frames: [echo(1, { metadataKey: "K" }, { metadata: [{ key: "K", value: "1" }] })],
    differs: { why: "keys have no case", answers: ["1 0200 code 0 1203 120131"] },
  },
  {
    name: "an id that was skipped",
    frames: [echo(5), echo(3)],
    differs: {
      why: "Rust's client sends its ids out of order",
      answers: ["3 0200 code 0", "5 0200 code 0"],
    },
  },
];

/** A frame without the words of a refusal, which are each implementation's own. */
function line({ id, type, flags, data }: Frame): string {
  const head = `${id} ${toHex(new Uint8Array([type, flags]))}`;
  if (type !== 2) return `${head} ${toHex(data)}`;
  const { status, payload } = readResponse({ id, type, flags, data });
  const details = (status?.details ?? []).map((one) => ` ${one.typeUrl} ${toHex(one.value)}`).join(
    "",
  );
  const result = payload.length === 0 ? "" : ` 12${toHex(data.subarray(1, 2))} ${toHex(payload)}`;
  return `${head} code ${status?.code ?? 0}${details}${result}`;
}

/** Everything that a server answers to a session, by id; frames of one id keep their order. */
async function answers(
  net: Net,
  address: Address,
  frames: readonly Uint8Array[],
): Promise<string[]> {
  const peer = await dialRaw(net, address);
  // Its answer comes last: nothing else here takes as long, and both servers answer in between.
  const last = 0xffffffff;
  peer.send(...frames, echo(last, { delayMillis: 300 }));
  const lines: [number, string][] = [];
  for (let one = await peer.next(); one.id !== last; one = await peer.next()) {
    lines.push([one.id, line(one)]);
  }
  peer.connection.abort();
  return lines.toSorted((a, b) => a[0] - b[0]).map(([, text]) => text);
}

test("Go's server and covey's give the same answers to the same bytes", { skip }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "covey-same-bytes-"));
  const runtime = await selectRuntime();
  const server = await createRpcServer({ runtime });
  const theirs = await startGoServer(go.program!, `${folder}/go.sock`);
  try {
    server.registry.add(TestService, testHandlers(runtime.clock));
    const listener = await server.listen({ address: parseAddress(`unix:${folder}/covey.sock`) });
    const goAddress = parseAddress(`unix:${theirs.address}`);
    await Promise.all(sessions.map(async ({ name, frames, differs }) => {
      const [ours, expected] = await Promise.all([
        answers(runtime.net, listener.address, frames),
        answers(runtime.net, goAddress, frames),
      ]);
      if (differs === undefined) assert.deepEqual(ours, expected, name);
      else {
        assert.deepEqual(ours, differs.answers, `${name}: ${differs.why}`);
        assert.notDeepEqual(ours, expected, `${name}: no difference is left, take it off the list`);
      }
    }));
  } finally {
    await server.stop(0);
    await theirs.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
