/**
 * The sharp cases of the reference (ttrpc.md, section 5) where the server's driver matters: a raw
 * peer against an RpcServer, in memory and over the engine's sockets.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { concatBytes, encodeText } from "../../src/base/bytes.ts";
import { Prng } from "../../src/base/prng.ts";
import {
  CountResponseSchema,
  EchoResponseSchema,
  SumResponseSchema,
} from "../gen/covey/test/v1/test_pb.ts";
import {
  close,
  codeOf,
  data,
  frame,
  none,
  pack,
  pattern,
  readResponse,
  request,
  show,
} from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import type { RawPeer } from "./support/raw_peer.ts";
import { bothTest, memoryTest, MemoryStage } from "./support/stage.ts";
import { count, echo, echoed, open, result, sumMessage, testService } from "./support/test_frames.ts";

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
  memoryTest(`02 server: short writes and odd pieces never cut frames, seed ${seed}`, async (stage) => {
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
  });
}

bothTest("03 server: an empty result is a Response of length zero", async (stage) => {
  const { address } = await stage.serve();
  const peer = await stage.raw(address);
  peer.send(open(1, 0, "Nothing"));
  assert.equal(show(await peer.next()), "00000000 00000001 0200");
});

bothTest("04 05 06 server: what is a message and what is not, by the handler's count", async (stage) => {
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
    assert.equal(result(SumResponseSchema, await peer.next()).count, expected, `session ${index}`);
  }
  peer.send(open(21, 1, "Count"));
  assert.equal(show(await peer.next()), "00000000 00000015 0305", "an empty request asks for none");
});

bothTest("07 08 server: response streams end with one Data 05 and nothing else", async (stage) => {
  const { address } = await stage.serve();
  const peer = await stage.raw(address);
  peer.send(count(1, { count: 2 }), open(3, 6, "Chat"), data(3, message("a")), close(3), echo(5, {}));
  const frames = await peer.take(3 + 2 + 1);
  const kinds = (id: number) => frames.filter((one) => one.id === id).map((one) => show(one).slice(18, 22));
  assert.deepEqual([kinds(1), kinds(3), kinds(5)], [["0300", "0300", "0305"], ["0300", "0305"], ["0200"]]);
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

bothTest("11 server: 4 MiB passes, one byte more is answered 8, the next call works", async (stage) => {
  const { address, server } = await stage.serve({
    handlers: { echo: (request) => ({ payload: request.payload.subarray(0, 3) }) },
  });
  const peer = await stage.raw(address);
  const most = 4 << 20;
  const base = echo(1, { payload: pattern(most - 1000) }).length - 10 - (most - 1000);
  peer.send(echo(1, { payload: pattern(most - base) }));
  assert.equal(echoed(await peer.next()).length, 3);
  peer.send(echo(3, { payload: pattern(most - base + 1) }), echo(5, { payload: pattern(9) }));
  const [refusal, next] = await peer.take(2);
  assert.deepEqual([refusal.id, codeOf(refusal)], [3, 8]);
  assert.deepEqual([next.id, echoed(next).length], [5, 3]);
  assert.equal(server.counters.limitHits.message_bytes, 1);
});

bothTest("12 server: a length of 2^24 closes the connection at once", async (stage) => {
  const { address, server } = await stage.serve();
  const peer = await stage.raw(address);
  peer.send(echo(1, { delayMillis: 60_000 }), frame(3, 1, 0, none, 1 << 24));
  await peer.gone();
  assert.equal(server.counters.connectionsBrokenTotal, 1);
  assert.equal(server.counters.callsOpen, 0);
});

bothTest("13 server: a reply above the limit fails its own call only", async (stage) => {
  const { address } = await stage.serve({
    handlers: {
      echo: (request) => ({ payload: new Uint8Array(request.delayMillis) }),
      async *count(request) {
        yield { index: 1 };
        yield { payload: new Uint8Array(request.bytes) };
        yield { index: 2 };
      },
    },
  });
  const peer = await stage.raw(address);
  peer.send(
    echo(1, { delayMillis: 5 << 20 }),
    echo(3, { delayMillis: 5 }),
    count(5, { bytes: 5 << 20 }),
    echo(7, { delayMillis: 5 }),
  );
  const frames = (await peer.take(5)).toSorted((a, b) => a.id - b.id);
  assert.deepEqual(frames.map((one) => [one.id, one.type]), [[1, 2], [3, 2], [5, 3], [5, 2], [7, 2]]);
  assert.deepEqual([0, 1, 3, 4].map((index) => codeOf(frames[index])), [8, 0, 8, 0]);
});

bothTest("14 server: even, zero and used ids are answered 3 and run no handler", async (stage) => {
  let handled = 0;
  const { address } = await stage.serve({
    handlers: {
      echo() {
        handled++;
        return {};
      },
    },
  });
  const peer = await stage.raw(address);
  peer.send(echo(5, {}), echo(4, {}), echo(0, {}), echo(5, {}), echo(7, {}));
  const frames = await peer.take(5);
  const byId = frames.map((one) => [one.id, codeOf(one)]).toSorted((a, b) => a[0] - b[0] || a[1] - b[1]);
  assert.deepEqual(byId, [[0, 3], [4, 3], [5, 0], [5, 3], [7, 0]]);
  assert.equal(handled, 2);
});

bothTest("16 server: Data on a live unary call ends it with 3, its handler learns it", async (stage) => {
  const reasons: unknown[] = [];
  const { address } = await stage.serve({
    handlers: {
      echo: (_, context) =>
        new Promise((resolve) =>
          context.signal.addEventListener("abort", () => {
            reasons.push(context.signal.reason);
            resolve({});
          })
        ),
    },
  });
  const peer = await stage.raw(address);
  peer.send(echo(1, {}), data(1, message("stray")), data(1), open(3, 0, "Nothing"));
  const frames = await peer.take(3);
  assert.deepEqual(frames.map((one) => [one.id, codeOf(one)]), [[1, 3], [1, 3], [3, 0]]);
  assert.equal((reasons[0] as { code: number }).code, 3);
});

bothTest("17 server: unknown types and flags are ignored", async (stage) => {
  const { address } = await stage.serve();
  const peer = await stage.raw(address);
  for (let type = 4; type < 256; type++) peer.send(frame(1, type, 0xff, pattern(type)));
  peer.send(frame(1, 2, 0), frame(1, 0, 0), echo(1, { payload: encodeText("x") }));
  assert.equal(echoed(await peer.next()).length, 1);
  assert.deepEqual(peer.untaken, []);
});

memoryTest("18 server: timeouts of every size, on a clock that is moved", async (stage) => {
  const left: (number | undefined)[] = [];
  const { address, server } = await stage.serve({
    handlers: {
      echo: (_, context) => {
        left.push(context.timeoutMs);
        return new Promise(() => {});
      },
    },
  });
  const peer = await stage.raw(address);
  const timeouts = [-1n, 1n, 2_000_000n, (1n << 53n) + 1n, (1n << 63n) - 1n];
  timeouts.forEach((timeoutNano, index) => peer.send(echo(1 + 2 * index, {}, { timeoutNano })));
  const [expired] = await peer.take(1);
  await turns();
  assert.deepEqual([expired.id, codeOf(expired)], [1, 4]);
  assert.equal(left.length, 4);
  assert.ok(left[0]! <= 0.001 && left[1]! <= 2);
  assert.ok(left[2]! > 9_007_199_000 && left[3]! > 9_223_372_036_000);
  await stage.clock.advance(1);
  await stage.clock.advance(1);
  assert.deepEqual((await peer.take(2)).map((one) => [one.id, codeOf(one)]), [[3, 4], [5, 4]]);
  await stage.clock.jump(2 ** 31);
  assert.equal(server.counters.callsOpen, 2, "far deadlines do not wrap");
  await stage.clock.jump(7e9);
  assert.deepEqual([(await peer.next()).id, server.counters.callsOpen], [7, 1]);
});

bothTest("19 server: metadata of every shape, and invalid UTF-8 is answered 3", async (stage) => {
  const seen: [string, string][][] = [];
  const { address } = await stage.serve({
    handlers: {
      echo(_, context) {
        seen.push([...context.metadata]);
        return { metadataValues: context.metadata.getAll("Mixed-CASE") };
      },
    },
  });
  const peer = await stage.raw(address);
  const metadata = [
    { key: "Mixed-Case", value: "1" },
    { key: "mixed-case", value: "2" },
    { key: "empty", value: "" },
    { key: "", value: "" },
  ];
  peer.send(echo(1, {}, { metadata }));
  assert.deepEqual(result(EchoResponseSchema, await peer.next()).metadataValues, ["1", "2"]);
  assert.deepEqual(seen[0], [["mixed-case", "1"], ["mixed-case", "2"], ["empty", ""], ["", ""]]);
  const bad = echo(3, {}, { metadata: [{ key: "k", value: "~~~" }] });
  bad.fill(0xff, bad.lastIndexOf(0x7e) - 2);
  peer.send(bad, echo(5, {}));
  const [refusal, next] = await peer.take(2);
  assert.deepEqual([refusal.id, codeOf(refusal), next.id, codeOf(next)], [3, 3, 5, 0]);
});

test("22 server: an end at any byte of a frame fails what is pending once", async () => {
  const whole = echo(3, { payload: pattern(40) });
  for (let at = 0; at < whole.length; at += 3) {
    const stage = new MemoryStage();
    let aborted = 0;
    const { address, server } = await stage.serve({
      handlers: {
        echo: (_, context) =>
          new Promise((resolve) =>
            context.signal.addEventListener("abort", () => {
              aborted++;
              resolve({});
            })
          ),
      },
    });
    const peer = await stage.raw(address);
    peer.send(echo(1, {}), whole.subarray(0, at));
    await turns();
    // Half-closed or closed or reset, it is the end either way.
    if (at % 2 === 0) peer.connection.shutdown();
    else peer.connection.abort();
    await turns();
    assert.equal(aborted, 1);
    assert.equal(server.connections, 0);
    assert.equal(server.counters.callsOpen, 0);
    assert.equal(server.counters.connectionsOpen, 0);
    await stage.close();
  }
});

bothTest("25 server: a handler that ends while its client sends ends quietly", async (stage) => {
  const { address } = await stage.serve({
    handlers: {
      async sum(requests) {
        for await (const one of requests) return { sum: one.value };
        return {};
      },
      async *chat(requests) {
        for await (const one of requests) {
          yield { payload: one.payload };
          return;
        }
      },
    },
  });
  const peer = await stage.raw(address);
  peer.send(open(1, 6, "Sum"), open(3, 6, "Chat"));
  for (let index = 0; index < 300; index++) {
    peer.send(data(1, sumMessage(9n)), data(3, pack(EchoResponseSchema, { payload: pattern(20_000) })));
  }
  peer.send(close(1), close(3), request(5, 0, { service: testService, method: "Nothing" }));
  const frames = await peer.take(4);
  assert.equal(peer.untaken.length, 0);
  const kinds = frames.map((one) => `${one.id} ${one.type} ${one.flags}`).toSorted();
  assert.deepEqual(kinds, ["1 2 0", "3 3 0", "3 3 5", "5 2 0"]);
});
