/**
 * The sharp cases of the reference (ttrpc.md, section 5) on limits, ids and ends, where the
 * server's driver matters: a raw peer against an RpcServer, in memory and over real sockets.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText } from "../../src/base/bytes.ts";
import { EchoResponseSchema } from "../gen/covey/test/v1/test_pb.ts";
import { close, codeOf, data, frame, none, pack, pattern, request } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { bothTest, MemoryStage, memoryTest } from "./support/stage.ts";
import {
  count,
  echo,
  echoed,
  open,
  result,
  sumMessage,
  testService,
} from "./support/test_frames.ts";

const message = (text: string) => pack(EchoResponseSchema, { payload: encodeText(text) });

bothTest(
  "11 server: 4 MiB passes, one byte more is answered 8, the next call works",
  async (stage) => {
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
  },
);

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
  assert.deepEqual(frames.map((one) => [one.id, one.type]), [[1, 2], [3, 2], [5, 3], [5, 2], [
    7,
    2,
  ]]);
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
  const byId = frames.map((one) => [one.id, codeOf(one)]).toSorted((a, b) =>
    a[0] - b[0] || a[1] - b[1]
  );
  assert.deepEqual(byId, [[0, 3], [4, 3], [5, 0], [5, 3], [7, 0]]);
  assert.equal(handled, 2);
});

bothTest(
  "16 server: Data on a live unary call ends it with 3, its handler learns it",
  async (stage) => {
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
  },
);

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
    peer.send(
      data(1, sumMessage(9n)),
      data(3, pack(EchoResponseSchema, { payload: pattern(20_000) })),
    );
  }
  peer.send(close(1), close(3), request(5, 0, { service: testService, method: "Nothing" }));
  const frames = await peer.take(4);
  assert.equal(peer.untaken.length, 0);
  const kinds = frames.map((one) => `${one.id} ${one.type} ${one.flags}`).toSorted();
  assert.deepEqual(kinds, ["1 2 0", "3 3 0", "3 3 5", "5 2 0"]);
});
