/** What was sent and what was not, what is tried again, and what a deadline covers. */
import assert from "node:assert/strict";
import type { Address } from "../../src/base/address.ts";
import { pattern, readRequest, response } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import { bothTest, memoryTest } from "./support/stage.ts";
import { open } from "./support/test_frames.ts";

const nowhere: Address = { kind: "tcp", host: "127.0.0.1", port: 1 };

bothTest("not dialled: unavailable and not sent, for all kinds", async (stage) => {
  const { client } = stage.dial(nowhere);
  const [echo, sum] = [failure(client.echo({})), failure(client.sum(new Feed()))];
  const [count, chat] = [drain(client.count({})), drain(client.chat(new Feed()))];
  for (const error of [await echo, await sum, (await count).error!, (await chat).error!]) {
    assert.deepEqual([error.code, error.sent], [14, false]);
    assert.match(error.rawMessage, /tcp:\/\/127.0.0.1:1/);
  }
});

memoryTest(
  "queued but unwritten: a lost connection says not sent, and unary is tried again",
  async (stage) => {
    const raw = await stage.rawServer();
    const { client, channel } = stage.dial(raw.address);
    const served = client.nothing({});
    const first = await raw.accept();
    first.send(response((await first.next()).id));
    await served;
    first.connection.pause();
    const written = failure(client.echo({ payload: pattern(1 << 20) }));
    await turns();
    const retried = client.nothing({});
    const feed = new Feed<{ value: bigint }>({ value: 1n });
    const sum = failure(client.sum(feed));
    const count = drain(client.count({}));
    await turns();
    assert.equal(feed.taken, 1, "its input has been touched");
    raw.onPeer = (peer) => peer.connection.resume();
    first.connection.abort();
    assert.deepEqual([(await written).code, (await written).sent], [14, true]);
    // What has touched its caller's input, or may have a reader, is not started twice.
    assert.deepEqual([(await sum).code, (await sum).sent], [14, false]);
    const { error } = await count;
    assert.deepEqual([error!.code, error!.sent], [14, false]);
    const second = await raw.accept();
    const again = await second.next();
    assert.equal(readRequest(again).method, "Nothing");
    second.send(response(again.id));
    await retried;
    await turns();
    assert.deepEqual(second.untaken, [], "only the unsent unary call came again");
    assert.equal(channel.counters.callsOpen, 0);
  },
);

memoryTest("a call is tried on three connections, not on more", async (stage) => {
  const raw = await stage.rawServer();
  const { client } = stage.dial(raw.address, { waitForReady: true });
  // These sockets take no byte.
  stage.net.faults.capacityBytes = 0;
  const call = failure(client.nothing({}));
  for (let attempt = 1; attempt <= 3; attempt++) {
    await turns();
    (await raw.accept()).connection.abort();
    await stage.clock.advance(1000);
  }
  const error = await call;
  assert.deepEqual([error.code, error.sent], [14, false]);
  assert.equal(stage.net.dials, 3);
});

memoryTest(
  "lost before the peer showed that it serves: what was not sent fails, and is told so",
  async (stage) => {
    const raw = await stage.rawServer();
    const { client } = stage.dial(raw.address);
    stage.net.faults.capacityBytes = 0;
    const call = failure(client.nothing({}));
    const stream = drain(client.count({}));
    await turns();
    (await raw.accept()).connection.abort();
    for (const error of [await call, (await stream).error!]) {
      assert.deepEqual([error.code, error.sent], [14, false]);
    }
    assert.equal(stage.net.dials, 1);
  },
);

memoryTest("written, whole or in part: sent, and not tried again", async (stage) => {
  for (const capacityBytes of [1 << 20, 1]) {
    stage.net.faults.capacityBytes = capacityBytes;
    const raw = await stage.rawServer();
    const { client, channel } = stage.dial(raw.address);
    await channel.connect();
    const peer = await raw.accept();
    peer.connection.pause();
    const call = failure(client.echo({ payload: pattern(1000) }));
    await turns();
    peer.connection.abort();
    const error = await call;
    assert.deepEqual([error.code, error.sent], [14, true], `${capacityBytes}`);
    await turns();
    assert.equal(raw.peers.length, 1);
  }
});

memoryTest("given up in the output: it may still be sent, so the error says so", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address);
  await channel.connect();
  const peer = await raw.accept();
  stage.net.faults.capacityBytes = 20;
  peer.connection.pause();
  const first = failure(client.echo({}, { timeoutMs: 30 }));
  await turns();
  const controller = new AbortController();
  const expired = failure(client.echo({}, { timeoutMs: 50 }));
  const canceled = failure(client.echo({}, { signal: controller.signal }));
  await turns();
  controller.abort();
  await stage.clock.advance(60);
  const ends = [await first, await expired, await canceled];
  peer.connection.resume();
  stage.net.faults.capacityBytes = 1000;
  const arrived = await peer.take(3);
  assert.deepEqual(ends.map((error) => [error.code, error.sent]), [[4, true], [4, true], [
    1,
    true,
  ]]);
  assert.deepEqual(arrived.map((one) => one.id), [1, 3, 5]);
});

memoryTest(
  "given up while it waits for the output: not sent, and it never arrives",
  async (stage) => {
    const raw = await stage.rawServer();
    const { client, channel } = stage.dial(raw.address);
    await channel.connect();
    const peer = await raw.accept();
    peer.connection.pause();
    const controller = new AbortController();
    const large = failure(client.echo({ payload: pattern(1 << 20) }));
    await turns();
    const calls = [
      failure(client.echo({}, { timeoutMs: 50 })),
      failure(client.echo({}, { signal: controller.signal })),
      drain(client.count({}, { timeoutMs: 50 })).then((one) => one.error!),
      failure(client.sum(new Feed(), { signal: controller.signal })),
    ];
    await turns();
    controller.abort();
    await stage.clock.advance(60);
    const codes = (await Promise.all(calls)).map((error) => [error.code, error.sent]);
    assert.deepEqual(codes, [[4, false], [1, false], [4, false], [1, false]]);
    peer.connection.resume();
    const after = client.nothing({});
    assert.equal((await peer.next()).data.length > 1 << 20, true);
    const next = await peer.next();
    assert.deepEqual([next.id, readRequest(next).method], [3, "Nothing"], "ids have no gap either");
    peer.send(response(3));
    await after;
    peer.connection.close();
    await large;
  },
);

memoryTest("a deadline covers waiting for a connection, a cancel ends it", async (stage) => {
  stage.net.faults.dialsHang = true;
  const { address } = await stage.serve();
  const { client, channel } = stage.dial(address, { dialTimeoutMs: 10_000 });
  const controller = new AbortController();
  const waits = [
    failure(client.echo({}, { timeoutMs: 100 })),
    drain(client.count({}, { timeoutMs: 100 })).then((one) => one.error!),
    failure(client.sum(new Feed(), { signal: controller.signal })),
    drain(client.chat(new Feed(), { signal: controller.signal })).then((one) => one.error!),
  ];
  await turns();
  assert.equal(channel.state, "connecting");
  await stage.clock.advance(99);
  controller.abort();
  await stage.clock.advance(1);
  const ends = (await Promise.all(waits)).map((error) => [error.code, error.sent]);
  assert.deepEqual(ends, [[4, false], [4, false], [1, false], [1, false]]);
  const late = client.nothing({}, { timeoutMs: 100 });
  stage.net.faults.dialsHang = false;
  await late;
  assert.equal(stage.net.dials, 1);
});

memoryTest(
  "a deadline before the one that is waited for fires in its time, on both sides",
  async (stage) => {
    const { client, server, address } = await stage.pair({
      handlers: { nothing: () => new Promise(() => {}) },
    });
    const far = failure(client.nothing({}, { timeoutMs: 60_000 }));
    await turns();
    const near = failure(client.nothing({}, { timeoutMs: 50 }));
    await stage.clock.advance(51);
    assert.equal((await near).code, 4);
    // The server's own timer, told by a client that does not keep one.
    const peer = await stage.raw(address);
    for (const [id, millis] of [[1, 60_000n], [3, 50n]] as const) {
      peer.send(open(id, 0, "Nothing", { timeoutNano: millis * 1_000_000n }));
      await turns();
    }
    await stage.clock.advance(51);
    const { id } = await peer.next();
    assert.deepEqual([id, server.counters.callsByCode[4]], [3, 2]);
    await stage.clock.advance(60_000);
    assert.equal((await far).code, 4);
  },
);

memoryTest("connecting by itself has a deadline of its own", async (stage) => {
  stage.net.faults.dialsHang = true;
  const { address } = await stage.serve();
  const { channel } = stage.dial(address, { dialTimeoutMs: 10_000 });
  const connecting = failure(channel.connect(100));
  await stage.clock.advance(100);
  assert.deepEqual([(await connecting).code, (await connecting).sent], [4, false]);
  const again = channel.connect(100);
  stage.net.faults.dialsHang = false;
  await again;
  await channel.connect();
  assert.deepEqual([channel.state, stage.net.dials], ["ready", 1]);
  channel.close();
  assert.equal((await failure(channel.connect())).code, 1);
});

memoryTest("an aborted signal, and a reason of the caller's own", async (stage) => {
  const { client } = await stage.pair();
  const already = await failure(client.echo({}, { signal: AbortSignal.abort() }));
  assert.deepEqual([already.code, already.sent], [1, false]);
  const timeout = AbortSignal.abort(new DOMException("late", "TimeoutError"));
  assert.equal((await failure(client.echo({}, { signal: timeout }))).code, 4);
  const stream = drain(client.count({}, { signal: AbortSignal.abort() }));
  assert.deepEqual([(await stream).error!.code, (await stream).error!.sent], [1, false]);
});
