/**
 * The sharp cases of the reference (ttrpc.md, section 5) on frames and streams, where the server's
 * driver matters: a raw peer against an RpcServer, in memory and over the engine's sockets.
 */
import assert from "node:assert/strict";
import { fromBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { concatBytes, encodeText } from "../../src/base/bytes.ts";
import { Prng } from "../../src/base/prng.ts";
import {
  CountResponseSchema,
  EchoResponseSchema,
  SumResponseSchema,
} from "../gen/covey/test/v1/test_pb.ts";
import { close, codeOf, data, frame, pack, pattern, readResponse, show } from "./support/frames.ts";
import type { RawPeer } from "./support/raw_peer.ts";
import { bothTest, memoryTest } from "./support/stage.ts";
import { count, echo, echoed, open, result, sumMessage } from "./support/test_frames.ts";

const message = (text: string) => pack(EchoResponseSchema, { payload: encodeText(text) });

bothTest("01 server: a session in single bytes, then the same in one write", async (stage) => {
  const { address } = await stage.serve();
  const session = (id: number) =>
    concatBytes([
      echo(id, { payload: encodeText("hello") }),
      open(id + 2, 6, "Sum"),
      data(id + 2, sumMessage(4n)),
      data(id + 2),
      close(id + 2),
      echo(id + 4, {}),
    ]);
  const peer = await stage.raw(address);
  const bytes = session(1);
  for (const byte of bytes) {
    peer.send(new Uint8Array([byte]));
    await peer.flushed();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const slow = await peer.take(3);
  peer.send(session(7));
  const fast = await peer.take(3);
  for (const frames of [slow, fast]) {
    const [first, second, third] = frames.toSorted((a, b) => a.id - b.id);
    assert.equal(echoed(first).length, 5);
    assert.deepEqual(result(SumResponseSchema, second).count, 2);
    assert.equal(result(SumResponseSchema, second).sum, 4n);
    assert.equal(echoed(third).length, 0);
  }
});

async function readStreams(peer: RawPeer, ids: readonly number[], each: number, size: number) {
  const indexes = new Map(ids.map((id) => [id, 0]));
  for (let left = ids.length * (each + 1); left > 0; left--) {
    const one = await peer.next();
    const index = indexes.get(one.id)!;
    if (index === each) {
      assert.equal(show(one).slice(18), "0305");
      continue;
    }
    const { payload, index: told } = fromBinary(CountResponseSchema, one.data);
    assert.equal(told, index);
    assert.equal(payload.length, size);
    indexes.set(one.id, index + 1);
  }
}

bothTest("02 server: large streams at once never mix their frames", async (stage) => {
  const { address, server } = await stage.serve();
  const peer = await stage.raw(address);
  const ids = [1, 3, 5, 7, 9, 11, 13, 15];
  const size = 100_000;
  peer.connection.pause();
  peer.send(...ids.map((id) => count(id, { count: 12, bytes: size })));
  await peer.flushed();
  await new Promise((resolve) => setImmediate(resolve));
  peer.connection.resume();
  await readStreams(peer, ids, 12, size);
  assert.equal(server.counters.callsOpen, 0);
});

for (let seed = 1; seed <= 12; seed++) {
  memoryTest(
    `02 server: short writes and odd pieces never cut frames, seed ${seed}`,
    async (stage) => {
      Object.assign(stage.net.faults, {
        random: new Prng(seed),
        capacityBytes: 997,
        writeBytesMax: 350,
        chunkBytesMax: 700,
      });
      const { address } = await stage.serve();
      const peer = await stage.raw(address);
      peer.send(
        count(1, { count: 40, bytes: 300 }),
        count(3, { count: 40, bytes: 300 }),
        ...[5, 7, 9].map((id) => echo(id, { payload: pattern(3000, id) })),
      );
      const frames = await peer.take(2 * 41 + 3);
      assert.deepEqual(
        frames.filter((one) => one.type === 2).map((one) => [one.id, echoed(one)]),
        [5, 7, 9].map((id) => [id, pattern(3000, id)]),
      );
      for (const id of [1, 3]) {
        const stream = frames.filter((one) => one.id === id);
        assert.equal(stream.pop()!.flags, 5);
        stream.forEach((one, index) =>
          assert.equal(fromBinary(CountResponseSchema, one.data).index, index)
        );
      }
    },
  );
}

bothTest("03 server: an empty result is a Response of length zero", async (stage) => {
  const { address } = await stage.serve();
  const peer = await stage.raw(address);
  peer.send(open(1, 0, "Nothing"));
  assert.equal(show(await peer.next()), "00000000 00000001 0200");
});

bothTest(
  "04 05 06 server: what is a message and what is not, by the handler's count",
  async (stage) => {
    const { address } = await stage.serve();
    const peer = await stage.raw(address);
    const sessions: readonly (readonly [number, Uint8Array[], number])[] = [
      [2, [data(1), data(1), close(1)], 2],
      [6, [close(3)], 0],
      [2, [close(5)], 0],
      [6, [data(7), frame(7, 3, 4), close(7)], 1],
      [6, [frame(9, 3, 1, sumMessage(7n))], 1],
      [6, [data(11, sumMessage(1n)), frame(11, 3, 1)], 2],
    ];
    for (const [index, [flags, frames, expected]] of sessions.entries()) {
      peer.send(open(1 + 2 * index, flags, "Sum"), ...frames);
      assert.equal(
        result(SumResponseSchema, await peer.next()).count,
        expected,
        `session ${index}`,
      );
    }
    peer.send(open(21, 1, "Count"));
    assert.equal(
      show(await peer.next()),
      "00000000 00000015 0305",
      "an empty request asks for none",
    );
  },
);

bothTest("07 08 server: response streams end with one Data 05 and nothing else", async (stage) => {
  const { address } = await stage.serve();
  const peer = await stage.raw(address);
  peer.send(
    count(1, { count: 2 }),
    open(3, 6, "Chat"),
    data(3, message("a")),
    close(3),
    echo(5, {}),
  );
  const frames = await peer.take(3 + 2 + 1);
  const kinds = (id: number) =>
    frames.filter((one) => one.id === id).map((one) => show(one).slice(18, 22));
  assert.deepEqual([kinds(1), kinds(3), kinds(5)], [["0300", "0300", "0305"], ["0300", "0305"], [
    "0200",
  ]]);
});

bothTest("09 server: a stream's messages come before its error", async (stage) => {
  const { address } = await stage.serve({
    handlers: {
      async *failStream() {
        for (let index = 0; index < 10; index++) yield { payload: pattern(200_000, index) };
        throw new Error("a bug in a handler");
      },
    },
  });
  const peer = await stage.raw(address);
  peer.send(open(1, 1, "FailStream"));
  const frames = await peer.take(11);
  frames.slice(0, 10).forEach((one, index) =>
    assert.deepEqual(fromBinary(EchoResponseSchema, one.data).payload, pattern(200_000, index))
  );
  assert.equal(codeOf(frames[10]), 2);
  assert.equal(readResponse(frames[10]).status!.message, "a bug in a handler");
});

bothTest("10 server: the last message and the close are never lost, 500 streams", async (stage) => {
  const { address } = await stage.serve();
  const peer = await stage.raw(address);
  for (let run = 0; run < 500; run++) {
    const id = 1 + 2 * run;
    const frames = concatBytes([open(id, 6, "Sum"), data(id, sumMessage(5n)), close(id)]);
    const cut = run % (frames.length + 1);
    peer.send(frames.slice(0, cut), frames.slice(cut));
    const answer = await peer.next();
    assert.equal(answer.id, id);
    assert.equal(result(SumResponseSchema, answer).sum, 5n);
  }
});
