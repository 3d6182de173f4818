/** A managed connection: when it dials, and how it ends. */
import assert from "node:assert/strict";
import type { Address } from "../../src/base/address.ts";
import { frame, response } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import { bothTest, memoryTest } from "./support/stage.ts";
import { open } from "./support/test_frames.ts";

const nowhere: Address = { kind: "tcp", host: "127.0.0.1", port: 1 };

memoryTest(
  "a peer that is not there is dialled with a back-off that grows to its most",
  async (stage) => {
    const backoff = { firstMs: 100, mostMs: 1000 };
    const { client, channel } = stage.dial(nowhere, { backoff });
    const waitsMs: number[] = [];
    for (let round = 0; round < 12; round++) {
      const before = stage.net.dials;
      assert.equal((await failure(client.nothing({}))).code, 14);
      assert.equal(channel.state, "backoff");
      // Until it is over calls fail at once, without a dial.
      assert.equal((await failure(client.nothing({}))).sent, false);
      assert.equal(stage.net.dials, before + 1);
      const fromMs = stage.clock.nowMs;
      while (channel.state === "backoff") await stage.clock.advance(1);
      waitsMs.push(stage.clock.nowMs - fromMs);
    }
    waitsMs.forEach((waitMs, round) => {
      const mostMs = Math.min(100 * 2 ** round, 1000);
      assert.ok(waitMs >= mostMs / 2 && waitMs <= mostMs + 1, `round ${round} waited ${waitMs} ms`);
    });
    assert.ok(new Set(waitsMs.slice(5)).size > 2, "with jitter");
  },
);

memoryTest(
  "waiting for readiness calls outlive failed dials, until their deadline",
  async (stage) => {
    const { client, channel } = stage.dial(nowhere, { waitForReady: true });
    const expired = failure(client.nothing({}, { timeoutMs: 500 }));
    const call = client.nothing({}, { timeoutMs: 60_000 });
    await stage.clock.advance(1000);
    assert.deepEqual([(await expired).code, (await expired).sent], [4, false]);
    assert.ok(stage.net.dials > 2);
    channel.close();
    assert.equal((await failure(call)).code, 1);
  },
);

memoryTest(
  "waiting for readiness a call goes through as soon as the server is there",
  async (stage) => {
    const raw = await stage.rawServer();
    raw.listener.stop();
    const { client } = stage.dial(raw.address, { waitForReady: true });
    const call = client.nothing({}, { timeoutMs: 60_000 });
    await stage.clock.advance(2000);
    await raw.listen(stage.net, raw.address);
    await stage.clock.advance(20_000);
    const peer = await raw.accept();
    peer.send(response((await peer.next()).id));
    await call;
  },
);

bothTest("after a loss the next call dials again", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address);
  for (let round = 1; round <= 3; round++) {
    const call = client.nothing({});
    const peer = await raw.accept();
    peer.send(response((await peer.next()).id));
    await call;
    const pending = failure(client.nothing({}));
    await peer.next();
    if (round % 2 === 0) peer.connection.close();
    else peer.connection.abort();
    assert.deepEqual([(await pending).code, (await pending).sent], [14, true]);
    assert.equal(channel.counters.connectionsTotal, round);
  }
});

memoryTest("an old connection that is lost during a dial does not fail the dial", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address, { peer: "covey" });
  const first = client.nothing({});
  const old = await raw.accept();
  await old.answerHello();
  const { id } = await old.next();
  // The server says goodbye, and closes while the new connection is being made.
  stage.net.faults.dialsHang = true;
  old.send(frame(1, 8, 0));
  await turns();
  const second = client.nothing({}, { timeoutMs: 60_000 });
  await turns();
  assert.equal(channel.state, "connecting");
  old.send(response(id));
  await first;
  old.connection.close();
  await turns();
  assert.equal(channel.state, "connecting");
  stage.net.faults.dialsHang = false;
  const fresh = await raw.accept();
  await fresh.answerHello();
  fresh.send(response((await fresh.next()).id));
  await second;
  assert.equal(channel.state, "ready");
  assert.equal(stage.net.dials, 2);
});

memoryTest("goaway: new calls dial anew, those in flight finish where they are", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address, { peer: "covey" });
  const slow = client.nothing({});
  const old = await raw.accept();
  await old.answerHello();
  const { id } = await old.next();
  old.send(frame(1, 8, 0));
  await turns();
  const call = client.nothing({});
  const fresh = await raw.accept();
  await fresh.answerHello();
  fresh.send(response((await fresh.next()).id));
  await call;
  old.send(response(id));
  await slow;
  await stage.clock.advance(2000);
  assert.equal(old.ended || old.closed, true, "nobody needs it any more");
  assert.equal(channel.counters.connectionsOpen, 1);
});

memoryTest("a peer that never answers the hello is a failed dial", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address, { peer: "covey", dialTimeoutMs: 2000 });
  const call = failure(client.nothing({}));
  const peer = await raw.accept();
  await peer.next();
  await stage.clock.advance(2000);
  assert.deepEqual([(await call).code, (await call).sent], [14, false]);
  assert.equal(channel.state, "backoff");
  assert.equal(peer.ended || peer.closed, true);
});

memoryTest("a peer that answers the hello that it shuts down is a failed dial", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address, { peer: "covey" });
  const call = failure(client.nothing({}));
  const peer = await raw.accept();
  const { id } = await peer.next();
  const status = { code: 14, message: "the server is shutting down" };
  peer.send(response(id, { status, extensions: { version: 1, windowBytes: 65536 } }));
  assert.deepEqual([(await call).code, (await call).sent, channel.state], [14, false, "backoff"]);
  await turns();
  assert.deepEqual([stage.net.dials, channel.counters.connectionsOpen], [1, 0]);
});

memoryTest("a peer that closes instead of answering the hello is a failed dial", async (stage) => {
  const raw = await stage.rawServer();
  raw.onPeer = (peer) => peer.connection.close();
  const { client, channel } = stage.dial(raw.address, { peer: "covey" });
  const error = await failure(client.nothing({}));
  assert.deepEqual([error.code, error.sent, channel.state], [14, false, "backoff"]);
});

memoryTest("keepalive: a covey peer that gives no sign of life is given up", async (stage) => {
  const raw = await stage.rawServer();
  const limits = { keepaliveIntervalMs: 10_000, keepaliveTimeoutMs: 5000 };
  const { client, channel } = stage.dial(raw.address, { peer: "covey", limits });
  const call = failure(client.nothing({}));
  const peer = await raw.accept();
  await peer.answerHello();
  await peer.next();
  await stage.clock.advance(11_000);
  const ping = await peer.next();
  assert.equal(ping.type, 4);
  peer.send(frame(ping.id, 5, 0));
  await stage.clock.advance(8000);
  assert.deepEqual(peer.untaken, [], "the answer counts as life");
  while (peer.untaken.length === 0) await stage.clock.advance(1000);
  assert.equal((await peer.next()).type, 4);
  await stage.clock.advance(4000);
  assert.equal(channel.counters.connectionsBrokenTotal, 0);
  await stage.clock.advance(3000);
  assert.deepEqual([(await call).code, (await call).sent], [14, true]);
  assert.equal(channel.counters.connectionsBrokenTotal, 1);
});

memoryTest(
  "keepalive: a server gives up a dead covey client, and ends its handlers",
  async (stage) => {
    const aborted: number[] = [];
    const { address, server } = await stage.serve({
      limits: { keepaliveIntervalMs: 10_000, keepaliveTimeoutMs: 5000 },
      handlers: {
        nothing: (_, { signal }) =>
          new Promise((resolve) =>
            signal.addEventListener("abort", () => {
              aborted.push((signal.reason as { code: number }).code);
              resolve({});
            })
          ),
      },
    });
    const { client } = stage.dial(address, { peer: "covey", limits: { keepaliveIntervalMs: 0 } });
    const call = failure(client.nothing({}));
    await turns();
    await stage.clock.advance(60_000);
    assert.equal(server.connections, 1, "a living client answers");
    const raw = await stage.raw(address);
    await raw.sayHello();
    raw.send(open(3, 0, "Nothing"));
    await turns();
    assert.equal(server.connections, 2);
    await stage.clock.advance(20_000);
    assert.equal(server.connections, 1);
    assert.deepEqual(aborted, [14]);
    const stopped = server.stop(0);
    await stage.clock.advance(1);
    await stopped;
    assert.equal((await call).code, 14);
  },
);

memoryTest("closing a channel ends everything once, and it stays closed", async (stage) => {
  const { client, channel, server } = await stage.pair({
    handlers: { nothing: () => new Promise(() => {}) },
  });
  const calls = [failure(client.nothing({})), failure(client.sum(new Feed()))];
  const stream = drain(client.chat(new Feed()));
  await turns();
  channel.close();
  channel.close();
  for (const call of calls) assert.deepEqual([(await call).code, (await call).sent], [1, true]);
  assert.equal((await stream).error!.code, 1);
  const late = await failure(client.nothing({}));
  assert.deepEqual([late.code, late.sent], [1, false]);
  await turns();
  assert.deepEqual([channel.state, server.connections, channel.counters.callsOpen], [
    "closed",
    0,
    0,
  ]);
});

memoryTest("closing a channel during a dial ends the waiting calls and the dial", async (stage) => {
  const { address, server } = await stage.serve();
  stage.net.faults.dialsHang = true;
  const { client, channel } = stage.dial(address);
  const call = failure(client.nothing({}));
  await turns();
  channel.close();
  assert.deepEqual([(await call).code, (await call).sent], [1, false]);
  stage.net.faults.dialsHang = false;
  await turns();
  assert.equal(server.counters.connectionsTotal, 0);
});

memoryTest(
  "a caller that closes the channel from inside another call's start leaves nothing",
  async (stage) => {
    stage.net.faults.dialsHang = true;
    const { address } = await stage.serve();
    const { client, channel } = stage.dial(address);
    const input: AsyncIterable<{ value: bigint }> = {
      [Symbol.asyncIterator]() {
        channel.close();
        return new Feed<{ value: bigint }>();
      },
    };
    const first = failure(client.sum(input));
    const second = failure(client.nothing({}));
    await turns();
    stage.net.faults.dialsHang = false;
    assert.equal((await first).code, 1);
    assert.equal((await second).code, 1);
  },
);

memoryTest(
  "a call that is cancelled from inside another call's start does not run",
  async (stage) => {
    stage.net.faults.dialsHang = true;
    const { address, server } = await stage.serve();
    const { client, channel } = stage.dial(address);
    const controller = new AbortController();
    const input: AsyncIterable<{ value: bigint }> = {
      [Symbol.asyncIterator]() {
        controller.abort();
        const feed = new Feed<{ value: bigint }>();
        feed.end();
        return feed;
      },
    };
    const first = client.sum(input);
    const second = failure(client.nothing({}, { signal: controller.signal }));
    await turns();
    stage.net.faults.dialsHang = false;
    assert.equal((await second).code, 1);
    await first;
    await client.echo({});
    assert.equal(server.counters.callsTotal, 2);
    assert.equal(channel.counters.callsOpen, 0);
  },
);
