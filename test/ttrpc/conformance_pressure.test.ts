/**
 * Cases 20 and 21 of the reference (ttrpc.md, section 5): peers that do not read, and streams that
 * nobody reads, on both sides.
 */
import assert from "node:assert/strict";
import { rpcLimitsDefault } from "../../src/ttrpc/limits.ts";
import { data, pack, pattern, response } from "./support/frames.ts";
import { CountResponseSchema, EchoRequestSchema } from "../gen/covey/test/v1/test_pb.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import { bothTest, memoryTest } from "./support/stage.ts";
import { count, echo, echoed, open } from "./support/test_frames.ts";

bothTest(
  "20 client: a peer that stops reading delays no deadline and no other peer",
  async (stage) => {
    const [stuck, healthy] = [await stage.rawServer(), await stage.serve()];
    stuck.onPeer = (peer) => peer.connection.pause();
    const { client, channel } = stage.dial(stuck.address);
    const other = stage.dial(healthy.address);
    await channel.connect();
    await other.channel.connect();
    const peer = await stuck.accept();
    const started = stage.clock.monotonicMs();
    const codes = new Map<number, number>();
    const calls = Array.from(
      { length: 600 },
      (_, index) =>
        client.echo({ payload: pattern(60_000) }, { timeoutMs: 150 + index % 20 }).then(
          () => assert.fail("nobody answers"),
          (error) => codes.set(error.code, (codes.get(error.code) ?? 0) + 1),
        ),
    );
    await turns();
    const machine = channel.link!.machine;
    assert.ok(machine.output.queuedBytes <= 512 << 10, "the output is short");
    assert.ok(machine.callCount < 600, "the queue has an end");
    for (let run = 0; run < 20; run++) {
      await other.client.echo({ payload: pattern(60_000) }, { timeoutMs: 1000 });
    }
    await stage.elapse(200);
    await Promise.all(calls);
    const tookMs = stage.clock.monotonicMs() - started;
    assert.ok(tookMs < 2000, `the last deadline fired after ${tookMs} ms`);
    assert.deepEqual([...codes.keys()].toSorted(), [4, 8]);
    assert.equal(channel.counters.callsOpen, 0);
    assert.equal(machine.callCount, 0);
    assert.ok(channel.counters.limitHits.connection_queue > 0);
    assert.equal(peer.closed, false);
  },
);

bothTest("20 client: a deadline fires for a call that joins a long output", async (stage) => {
  const stuck = await stage.rawServer();
  stuck.onPeer = (peer) => peer.connection.pause();
  const { client, channel } = stage.dial(stuck.address);
  await channel.connect();
  // No deadline here, so that nothing but the second call arms a timer.
  const first = failure(client.echo({ payload: pattern(3 << 20) }));
  await turns();
  const second = failure(client.nothing({}, { timeoutMs: 50 }));
  await stage.elapse(60);
  assert.equal((await second).code, 4);
  channel.close();
  assert.equal((await first).code, 1);
});

bothTest("20 client: when such a peer never reads, the connection is given up", async (stage) => {
  const stuck = await stage.rawServer();
  stuck.onPeer = (peer) => peer.connection.pause();
  const { client, channel } = stage.dial(stuck.address, { limits: { ioStallMs: 1500 } });
  const call = failure(client.echo({ payload: pattern((4 << 20) - 100) }));
  await turns();
  await stage.elapse(5000);
  assert.equal((await call).code, 14);
  assert.equal(channel.counters.connectionsBrokenTotal, 1);
});

bothTest(
  "20 server: a client that stops reading delays no deadline and no other client",
  async (stage) => {
    const expired: number[] = [];
    const { address, server } = await stage.serve({
      handlers: {
        echo: (request, context) => {
          if (request.delayMillis === 0) return { payload: request.payload };
          return new Promise((_, reject) =>
            context.signal.addEventListener("abort", () => {
              expired.push((context.signal.reason as { code: number }).code);
              reject(context.signal.reason);
            })
          );
        },
      },
    });
    const peer = await stage.raw(address);
    const { client } = stage.dial(address);
    peer.connection.pause();
    for (let index = 0; index < 40; index++) {
      peer.send(echo(1 + 2 * index, { delayMillis: 1 }, { timeoutNano: 100_000_000n }));
    }
    peer.send(count(101, { count: 200, bytes: 60_000 }), count(103, { count: 200, bytes: 60_000 }));
    for (let index = 0; index < 200; index++) {
      peer.send(echo(201 + 2 * index, { payload: pattern(60_000) }));
    }
    await client.echo({ payload: pattern(60_000) }, { timeoutMs: 2000 });
    await turns();
    await stage.elapse(150);
    while (expired.length < 40) await turns(1);
    assert.deepEqual(new Set(expired), new Set([4]));
    for (let run = 0; run < 20; run++) {
      await client.echo({ payload: pattern(60_000) }, { timeoutMs: 2000 });
    }
    const { counters } = server;
    assert.ok(counters.sentBytesTotal < 6 << 20, "what nobody reads is not made");
    assert.equal(counters.connectionsOpen, 2);
    // It reads at last: everything that was asked for comes.
    peer.connection.resume();
    const answers = new Map<number, number>();
    while (answers.size < 242) {
      const frame = await peer.next();
      if (frame.type === 2 || frame.flags === 5) answers.set(frame.id, frame.data.length);
    }
    assert.ok(answers.get(599)! > 60_000);
  },
);

memoryTest("20 server: what a client that never reads makes it keep is bounded", async (stage) => {
  const limits = { queueBytesMax: 1 << 20, ioStallMs: 3000 };
  const { address, server } = await stage.serve({ limits });
  const peer = await stage.raw(address);
  peer.connection.pause();
  // Refusals for nothing, at no cost for the sender, and streams that wait for their turn.
  for (let index = 0; index < 50; index++) {
    peer.send(count(1 + 2 * index, { count: 9, bytes: 50_000 }));
  }
  for (let index = 0; index < 20_000; index++) peer.send(echo(2, {}));
  for (let run = 0; run < 50; run++) await turns();
  const { address: _, ...rest } = { address, connections: server.connections };
  assert.deepEqual(rest, { connections: 1 });
  await stage.clock.advance(6000);
  assert.equal(server.connections, 0);
  assert.equal(server.counters.connectionsBrokenTotal, 1);
  assert.equal(server.counters.callsOpen, 0);
});

for (const peer of ["covey", "any"] as const) {
  bothTest(
    `21 client: beside a stream that nobody reads calls go on, peer ${peer}`,
    async (stage) => {
      const { client, channel, server } = await stage.pair({}, { peer });
      const unread = client.count({ count: 100_000, bytes: 1000 });
      let slowestMs = 0;
      for (let run = 0; run < 100; run++) {
        const beganMs = stage.clock.monotonicMs();
        await client.echo({ payload: pattern(100) }, { timeoutMs: 5000 });
        slowestMs = Math.max(slowestMs, stage.clock.monotonicMs() - beganMs);
      }
      assert.ok(slowestMs < 1000, `${slowestMs} ms`);
      if (peer === "covey") {
        // It costs its window and one message, and can be read to its end.
        const { streamQueueBytesMax } = rpcLimitsDefault;
        const sent = server.counters.sentBytesTotal;
        assert.ok(sent < streamQueueBytesMax + (64 << 10), `${sent} bytes were sent`);
        let messages = 0;
        for await (const { index } of unread) {
          assert.equal(index, messages++);
          if (messages === 5000) break;
        }
        assert.equal(messages, 5000);
      } else {
        const { messages, error } = await drain(unread);
        assert.deepEqual([error!.code, error!.sent], [8, true]);
        assert.ok(messages.length * 1000 <= 2 * rpcLimitsDefault.streamQueueBytesMax);
        assert.equal(channel.counters.limitHits.stream_queue, 1);
      }
      await client.nothing({});
    },
  );

  bothTest(
    `21 server: beside a stream that no handler reads calls go on, peer ${peer}`,
    async (stage) => {
      const finished: Promise<void>[] = [];
      const { client, server } = await stage.pair({
        handlers: {
          async sum(_, context) {
            // Never reads.
            await new Promise<void>((resolve) => {
              finished.push(
                new Promise((done) =>
                  context.signal.addEventListener("abort", () => {
                    resolve();
                    done();
                  })
                ),
              );
            });
            return {};
          },
        },
      }, { peer });
      const controller = new AbortController();
      const feed = (async function* () {
        while (true) yield { value: 1n };
      })();
      const sum = failure(client.sum(feed, { signal: controller.signal }));
      const calls = (async () => {
        for (let run = 0; run < 100; run++) {
          await client.echo({ payload: pattern(100) }, { timeoutMs: 5000 });
        }
      })();
      // Without credits the stream holds the connection for its first `streamStallMs`.
      if (peer === "any") {
        let failed = false;
        void sum.then(() => failed = true);
        for (; !failed; await turns(5)) await stage.elapse(10);
      }
      await calls;
      if (peer === "covey") {
        assert.equal(server.counters.limitHits.stream_queue, 0);
        controller.abort();
        assert.equal((await sum).code, 1);
        await Promise.all(finished);
      } else {
        assert.equal((await sum).code, 8);
        assert.equal(server.counters.limitHits.stream_queue, 1);
      }
      await client.nothing({});
      assert.equal(server.counters.callsOpen, 0);
    },
  );
}

memoryTest(
  "21 client: a slow reader of a peer without credits is bounded and not failed",
  async (stage) => {
    const raw = await stage.rawServer();
    const limits = { streamQueueBytesMax: 50_000 };
    const { client, channel } = stage.dial(raw.address, { limits });
    const stream = client.count({});
    const iterator = stream[Symbol.asyncIterator]();
    const peer = await raw.accept();
    const { id } = await peer.next();
    for (let index = 0; index < 500; index++) {
      peer.send(data(id, pack(CountResponseSchema, { index, payload: pattern(1000) })));
    }
    for (let index = 0; index < 500; index++) {
      assert.equal((await iterator.next()).value!.index, index);
      await stage.clock.advance(20);
    }
    assert.equal(channel.counters.limitHits.stream_queue, 0);
    peer.send(response(id, { status: { code: 9, message: "" } }));
    assert.equal((await failure(iterator.next())).code, 9);
  },
);

memoryTest(
  "21 server: a slow handler of a peer without credits is bounded and not failed",
  async (stage) => {
    const { address, server } = await stage.serve({
      limits: { streamQueueBytesMax: 50_000 },
      handlers: {
        async sum(requests) {
          let count = 0;
          for await (const _ of requests) {
            count++;
            await new Promise<void>((resolve) => stage.clock.timer(20, resolve, undefined));
          }
          return { count };
        },
      },
    });
    const peer = await stage.raw(address);
    peer.send(open(1, 6, "Sum"));
    for (let index = 0; index < 300; index++) {
      peer.send(data(1, pack(EchoRequestSchema, { metadataKey: "x".repeat(1000) })));
    }
    peer.send(new Uint8Array([0, 0, 0, 0, 0, 0, 0, 1, 3, 5]));
    while (peer.frames.length === 0) await stage.clock.advance(100);
    assert.equal(server.counters.limitHits.stream_queue, 0);
    assert.equal(server.counters.callsByCode[0], 1);
    peer.send(echo(3, { payload: pattern(10) }));
    await peer.next();
    assert.equal(echoed(await peer.next()).length, 10);
  },
);

bothTest("21 both: covey peers with many unread streams each way keep calling", async (stage) => {
  const limits = { streamQueueBytesMax: 64 << 10 };
  const { client, channel, server } = await stage.pair({ limits }, { limits, peer: "covey" });
  const unread = Array.from({ length: 50 }, () => client.count({ count: 1000, bytes: 1000 }));
  const feeds = Array.from({ length: 50 }, () => new Feed<{ payload: Uint8Array }>());
  const chats = feeds.map((feed) => client.chat(feed));
  for (const feed of feeds) for (let at = 0; at < 200; at++) feed.push({ payload: pattern(1000) });
  for (let run = 0; run < 50; run++) await client.echo({ payload: pattern(1000) });
  assert.ok(server.counters.sentBytesTotal < 100 * (66 << 10) + 200_000);
  // A chat that nobody reads stops its handler, which stops reading, which stops the sender.
  assert.ok(feeds.every((feed) => feed.taken < 200));
  const first = await drain(unread[0]);
  assert.deepEqual([first.messages.length, first.error], [1000, undefined]);
  feeds[0].end();
  assert.equal((await drain(chats[0])).messages.length, 200);
  assert.equal(channel.counters.limitHits.stream_queue, 0);
});
