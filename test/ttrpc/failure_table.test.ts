/**
 * The reference's table of failures (ttrpc.md, section 1), column Go: what a server answers to a
 * client's mistakes. After each of them the connection goes on.
 */
import assert from "node:assert/strict";
import { rpcLimitsDefault } from "../../src/ttrpc/limits.ts";
import { EchoResponseSchema } from "../gen/covey/test/v1/test_pb.ts";
import {
  close,
  codeOf,
  data,
  frame,
  hex,
  pack,
  readResponse,
  request,
  response,
} from "./support/frames.ts";
import { failure } from "./support/outcome.ts";
import { bothTest, type Stage } from "./support/stage.ts";
import { count, echo, open } from "./support/test_frames.ts";

interface Row {
  readonly name: string;
  /** The mistake; ids below 90 are its own. */
  readonly frames: readonly Uint8Array[];
  /** Ids and codes of the Response frames that answer it. */
  readonly answers: readonly (readonly [id: number, code: number])[];
  /** The message of the first answer, where Go's words are known. */
  readonly message?: string;
}

const stray = pack(EchoResponseSchema, { payload: new Uint8Array([1]) });

const rows: readonly Row[] = [
  {
    name: "unknown service: 12",
    frames: [request(1, 0, { service: "no.Such", method: "Echo" })],
    answers: [[1, 12]],
    message: "service no.Such",
  },
  {
    name: "unknown method: 12",
    frames: [open(1, 0, "NoSuch")],
    answers: [[1, 12]],
    message: "method NoSuch",
  },
  { name: "bad envelope: 3", frames: [frame(1, 1, 0, hex("0a0501"))], answers: [[1, 3]] },
  {
    name: "bad inner payload: 13",
    frames: [open(1, 0, "Echo", { payload: hex("0a0501") })],
    answers: [[1, 13]],
  },
  {
    name: "bad inner payload of a server-streaming call: 13",
    frames: [open(1, 1, "Count", { payload: hex("08") })],
    answers: [[1, 13]],
  },
  { name: "plain handler error: 2", frames: [open(1, 0, "Fail")], answers: [[1, 2]] },
  {
    name: "even id: 3",
    frames: [echo(2, {})],
    answers: [[2, 3]],
    message: "StreamID must be odd for client initiated streams",
  },
  {
    name: "used id: 3",
    frames: [open(1, 0, "Nothing"), open(1, 0, "Nothing")],
    answers: [[1, 0], [1, 3]],
    message: undefined,
  },
  { name: "unknown type, odd id: ignored", frames: [frame(1, 0x42, 0, stray)], answers: [] },
  { name: "unknown type, even id: 3", frames: [frame(2, 0x42, 0)], answers: [[2, 3]] },
  { name: "a Response from a client: ignored", frames: [frame(1, 2, 0, stray)], answers: [] },
  { name: "Data on a stream that never was: 3", frames: [data(1, stray)], answers: [[1, 3]] },
  {
    name: "Data on a dead stream: 3",
    frames: [count(1, {}), data(1, stray)],
    answers: [[1, 3]],
  },
  {
    // Go's server dies of this; Rust's answers 3.
    name: "Data on a live unary call: 3, and the server lives",
    frames: [echo(1, { delayMillis: 60_000 }), data(1, stray)],
    answers: [[1, 3]],
  },
  {
    name: "Data after the client closed: 3",
    frames: [open(1, 6, "Chat", { metadata: [] }), close(1), data(1, stray)],
    answers: [[1, 3]],
  },
  {
    name: "a second close: nothing",
    frames: [open(1, 6, "Sum"), close(1), close(1)],
    answers: [[1, 0]],
  },
  {
    name: "a deadline that has passed: 4",
    frames: [echo(1, {}, { timeoutNano: -1n })],
    answers: [[1, 4]],
  },
  {
    name: "a frame above the limit: 8",
    frames: [frame(1, 1, 0, new Uint8Array((4 << 20) + 1))],
    answers: [[1, 8]],
  },
];

async function serve(stage: Stage) {
  return await stage.serve({
    handlers: {
      fail: () => {
        throw new Error("plain");
      },
      // Goes on until its call is over, so that the stream is alive whatever comes.
      async *chat(requests) {
        for await (const _ of requests);
        await new Promise(() => {});
        yield {};
      },
    },
  });
}

for (const row of rows) {
  bothTest(row.name, async (stage) => {
    const { address, server } = await serve(stage);
    const peer = await stage.raw(address);
    peer.send(...row.frames, echo(99, {}));
    const seen: [number, number][] = [];
    const responses = [];
    for (let frame = await peer.response(); frame.id !== 99; frame = await peer.response()) {
      seen.push([frame.id, codeOf(frame)]);
      responses.push(frame);
    }
    // An answer that takes a handler may come after the next call's.
    while (seen.length < row.answers.length) {
      const late = await peer.response();
      seen.push([late.id, codeOf(late)]);
      responses.push(late);
    }
    assert.deepEqual(seen.toSorted((a, b) => a[1] - b[1]), row.answers);
    if (row.message !== undefined) {
      assert.equal(readResponse(responses[0]).status!.message, row.message);
    }
    peer.send(echo(101, {}));
    assert.deepEqual([codeOf(await peer.response()), server.connections], [0, 1]);
  });
}

bothTest(
  "stream buffer full: 8 where Go has 3, for this is what the code is for",
  async (stage) => {
    const { address, server } = await stage.serve({
      handlers: { sum: () => new Promise(() => {}) },
    });
    const peer = await stage.raw(address);
    peer.send(open(1, 6, "Sum"));
    for (let index = 0; index < 40; index++) peer.send(data(1, new Uint8Array(50_000)));
    // A handler that has not begun to read is given this long.
    await stage.elapse(rpcLimitsDefault.streamStallMs + 1);
    const refusal = await peer.response();
    assert.deepEqual([refusal.id, codeOf(refusal)], [1, 8]);
    peer.send(echo(3, {}));
    assert.deepEqual([codeOf(await peer.response()), server.connections], [0, 1]);
  },
);

/** What a client makes of a server's mistakes: the call fails, the connection goes on. */
bothTest("a server's mistakes fail their call and nothing else", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address);
  await channel.connect();
  const peer = await raw.accept();
  const mistakes: readonly ((id: number) => Uint8Array)[] = [
    (id) => frame(id, 2, 0, hex("0a0501")),
    (id) => frame(id, 2, 0, hex("120201")),
    (id) => frame(id, 2, 0, hex("1202ffff")),
    (id) => data(id, stray),
    (id) => frame(id, 2, 0, new Uint8Array((4 << 20) + 1)),
  ];
  const codes: number[] = [];
  for (const mistake of mistakes) {
    const call = failure(client.echo({}));
    peer.send(mistake((await peer.next()).id));
    codes.push((await call).code);
  }
  assert.deepEqual(codes, [13, 13, 13, 13, 8]);
  // Codes outside the set are unknown; the message is kept.
  for (const code of [17, -1, 999]) {
    const call = failure(client.nothing({}));
    const { id } = await peer.next();
    peer.send(response(id, { status: { code, message: "odd" } }));
    assert.deepEqual([(await call).code, (await call).rawMessage], [2, "odd"]);
  }
  const fine = client.nothing({});
  peer.send(frame((await peer.next()).id, 2, 0));
  await fine;
  assert.equal(channel.counters.connectionsTotal, 1);
});
