/** What waits for a connection: how many may, what ends them, and that nothing outlives the channel. */
import assert from "node:assert/strict";
import type { Connection, ConnectOptions, Net } from "../../src/runtime/port.ts";
import { NetError } from "../../src/runtime/port.ts";
import { response } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import { type Dialled, type MemoryStage, memoryTest } from "./support/stage.ts";

const backoff = { firstMs: 100, mostMs: 1000 };

/** The stage's network, with dials of the test's own. */
function dialingBy(
  stage: MemoryStage,
  connect: <S>(options: ConnectOptions<S>) => Promise<Connection<S>>,
): Net {
  const { net } = stage;
  return {
    listen: (options) => net.listen(options),
    bindUdp: () => net.bindUdp(),
    resolve: () => net.resolve(),
    inspectTls: () => net.inspectTls(),
    connect,
  };
}

for (const waitForReady of [false, true]) {
  memoryTest(
    `dialling without permission fails calls at once (waitForReady: ${waitForReady})`,
    async (stage) => {
      const { address } = await stage.serve();
      let dials = 0;
      let isDenied = true;
      const net = dialingBy(stage, (options) => {
        dials++;
        return isDenied
          ? Promise.reject(new NetError("denied", "dial: EACCES"))
          : stage.net.connect(options);
      });
      const { client, channel } = stage.dial(address, { net, waitForReady, backoff });
      const all = [
        failure(client.nothing({}, { timeoutMs: 60_000 })),
        failure(client.sum(new Feed(), { timeoutMs: 60_000 })),
        drain(client.chat(new Feed())).then(({ error }) => error!),
        failure(channel.connect()),
      ];
      for (const error of await Promise.all(all)) {
        assert.deepEqual([error.code, error.sent], [7, false]);
        assert.match(error.rawMessage, /^cannot reach tcp:\/\/127\.0\.0\.1:\d+: dial: EACCES$/);
        assert.ok(error.cause instanceof NetError);
      }
      // Nothing dials again by itself, and no call does before the back-off is over.
      assert.equal((await failure(client.nothing({}))).code, 7);
      assert.equal(dials, 1);
      await stage.clock.advance(10_000);
      assert.deepEqual([dials, channel.state], [1, "idle"]);
      isDenied = false;
      await client.nothing({});
      assert.equal(dials, 2);
    },
  );
}

memoryTest("thousands of calls wait for one connection, and no more than may", async (stage) => {
  stage.net.faults.dialsHang = true;
  const { address, server } = await stage.serve({ limits: { callsMax: 3000 } });
  const { client, channel } = stage.dial(address, { limits: { callsMax: 3000 } });
  const calls = Array.from({ length: 3000 }, () => client.nothing({}));
  await turns();
  const refused = await Promise.all(
    Array.from({ length: 500 }, () => failure(client.nothing({}))),
  );
  for (const error of refused) assert.deepEqual([error.code, error.sent], [8, false]);
  assert.equal(channel.counters.limitHits.calls_per_connection, 500);
  stage.net.faults.dialsHang = false;
  await Promise.all(calls);
  assert.deepEqual([stage.net.dials, server.counters.callsByCode[0]], [1, 3000]);
  // A call that left makes room for another one.
  channel.close();
  stage.net.faults.dialsHang = true;
  const small = stage.dial(address, { limits: { callsMax: 1 } });
  const gone = failure(small.client.nothing({}, { timeoutMs: 10 }));
  await turns();
  assert.equal((await failure(small.client.nothing({}))).code, 8);
  await stage.clock.advance(10);
  assert.equal((await gone).code, 4);
  const next = small.client.nothing({});
  stage.net.faults.dialsHang = false;
  await next;
});

memoryTest("thousands of calls wait for a dial that fails, and all of them end", async (stage) => {
  const { client, channel } = stage.dial(stage.address(), { backoff });
  const calls = Array.from({ length: 1000 }, () => failure(client.nothing({})));
  for (const error of await Promise.all(calls)) {
    assert.deepEqual([error.code, error.sent], [14, false]);
  }
  assert.deepEqual([stage.net.dials, channel.counters.callsOpen], [1, 0]);
});

memoryTest("a dial that completes after the close opens nothing", async (stage) => {
  const raw = await stage.rawServer();
  for (const peer of ["any", "covey"] as const) {
    let finish = (): void => {};
    const finished = new Promise<void>((resolve) => finish = resolve);
    // A runtime whose connect cannot be called back.
    const net = dialingBy(stage, async (options) => {
      await finished;
      return await stage.net.connect({ ...options, signal: undefined });
    });
    const { client, channel } = stage.dial(raw.address, { net, peer });
    const call = failure(client.nothing({}));
    await turns();
    channel.close();
    assert.deepEqual([(await call).code, (await call).sent], [1, false]);
    finish();
    await turns();
    assert.equal(channel.state, "closed");
    assert.deepEqual([channel.counters.connectionsTotal, channel.link], [0, undefined]);
    assert.deepEqual([stage.net.connections, stage.clock.timers], [0, 0]);
    assert.equal((await failure(client.nothing({}))).code, 1);
  }
});

memoryTest("a closed channel keeps no timer, in whatever state it was", async (stage) => {
  const raw = await stage.rawServer();
  const nobody = stage.address();
  const states: Record<string, () => Promise<Dialled>> = {
    idle: () => Promise.resolve(stage.dial(raw.address)),
    connecting: () => {
      stage.net.faults.dialsHang = true;
      const dialled = stage.dial(raw.address);
      failure(dialled.client.nothing({}, { timeoutMs: 60_000 }));
      return Promise.resolve(dialled);
    },
    // The socket is open, the offer unanswered.
    hello: async () => {
      const dialled = stage.dial(raw.address, { peer: "covey" });
      failure(dialled.channel.connect(60_000));
      await (await raw.accept()).next();
      return dialled;
    },
    ready: async () => {
      const dialled = stage.dial(raw.address);
      failure(dialled.client.nothing({}, { timeoutMs: 60_000 }));
      await (await raw.accept()).next();
      return dialled;
    },
    backoff: async () => {
      const dialled = stage.dial(nobody, { waitForReady: true });
      failure(dialled.client.nothing({}, { timeoutMs: 60_000 }));
      await turns();
      return dialled;
    },
  };
  for (const [name, reach] of Object.entries(states)) {
    const { channel } = await reach();
    assert.equal(channel.state, name === "hello" ? "connecting" : name);
    channel.close();
    stage.net.faults.dialsHang = false;
    await turns();
    const { connectionsOpen, callsOpen } = channel.counters;
    assert.deepEqual([stage.clock.timers, connectionsOpen, callsOpen], [0, 0, 0], name);
  }
});

memoryTest("a channel that is closed while it looks for stalls keeps no timer", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address, { limits: { ioStallMs: 5000 } });
  const input: AsyncIterableIterator<{ value: bigint }> = {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => new Promise(() => {}),
    // Told at once when its call ends.
    return() {
      channel.close();
      return Promise.resolve({ done: true, value: undefined });
    },
  };
  const sum = failure(client.sum(input));
  const peer = await raw.accept();
  await peer.next();
  // The peer stops in the middle of a frame.
  peer.send(response(1).subarray(0, 5));
  await turns();
  while (channel.state !== "closed") await stage.clock.advance(100);
  assert.equal((await sum).code, 14);
  assert.equal(stage.clock.timers, 0);
});

memoryTest("an offer that nobody answers is told as such, and at once", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address, { peer: "covey", dialTimeoutMs: 2000 });
  const call = failure(client.nothing({}));
  await (await raw.accept()).next();
  await stage.clock.advance(2000);
  const error = await call;
  assert.deepEqual([error.code, error.sent, channel.state], [14, false, "backoff"]);
  assert.match(error.rawMessage, /the peer did not answer the first call$/);
  assert.equal((error.cause as NetError).kind, "timeout");
});

memoryTest("deadlines of calls that wait for readiness fire while dials fail", async (stage) => {
  const { client, channel } = stage.dial(stage.address(), { waitForReady: true, backoff });
  const calls = Array.from(
    { length: 1000 },
    (_, at) => failure(client.nothing({}, { timeoutMs: 1 + at * 10 })),
  );
  await stage.clock.advance(10_000);
  for (const error of await Promise.all(calls)) {
    assert.deepEqual([error.code, error.sent], [4, false]);
  }
  const { dials } = stage.net;
  assert.ok(dials >= 10 && dials <= 24, `${dials} dials in ten seconds`);
  // Nobody waits any more: nobody dials.
  await stage.clock.advance(60_000);
  assert.ok(stage.net.dials <= dials + 1);
  assert.deepEqual([channel.state, stage.clock.timers], ["idle", 0]);
});
