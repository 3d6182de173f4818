/** What counts as a connection that worked, and how long the next dial waits. */
import assert from "node:assert/strict";
import { Code, CoveyError } from "../../src/base/error.ts";
import { pattern, response } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import { bothTest, type MemoryStage, memoryTest } from "./support/stage.ts";
import type { RawPeer, RawServer } from "./support/raw_peer.ts";

const backoff = { firstMs: 100, mostMs: 1000 };

/** Takes the next call of the next connection and answers it. */
async function serveOne(raw: RawServer): Promise<RawPeer> {
  const peer = await raw.accept();
  peer.send(response((await peer.next()).id));
  return peer;
}

/** The time until the channel may dial again. */
async function waitOut(stage: MemoryStage, channel: { readonly state: string }): Promise<number> {
  await turns();
  const fromMs = stage.clock.nowMs;
  while (channel.state === "backoff") await stage.clock.advance(1);
  return stage.clock.nowMs - fromMs;
}

const text = (line: string): Uint8Array => new TextEncoder().encode(line);

/** Peers that are there, but do not serve. */
const strangers: Readonly<Record<string, (peer: RawPeer) => void>> = {
  "closes": (peer) => peer.connection.close(),
  "resets": (peer) => peer.connection.abort(),
  // What a TLS server says to a client that does not begin a handshake: a fatal alert.
  "wants TLS": (peer) => {
    peer.send(new Uint8Array([0x15, 3, 3, 0, 2, 2, 0x46]));
    peer.connection.close();
  },
  "speaks something else": (peer) => {
    peer.send(text("SSH-2.0-OpenSSH_9.6\r\n"));
    peer.connection.close();
  },
};

for (const [what, behave] of Object.entries(strangers)) {
  for (const kind of ["any", "covey"] as const) {
    memoryTest(
      `a peer that accepts and ${what} is dialled with a growing back-off (peer: ${kind})`,
      async (stage) => {
        const raw = await stage.rawServer();
        raw.onPeer = behave;
        const { client, channel } = stage.dial(raw.address, { peer: kind, backoff });
        for (let round = 0; round < 6; round++) {
          assert.equal((await failure(client.nothing({}))).code, 14);
          await turns();
          assert.equal(channel.state, "backoff");
          const refused = await failure(client.nothing({}));
          assert.deepEqual([refused.code, refused.sent], [14, false]);
          assert.match(refused.rawMessage, /^cannot reach tcp:\/\/127\.0\.0\.1:\d+: /);
          assert.equal(stage.net.dials, round + 1);
          const waitMs = await waitOut(stage, channel);
          const mostMs = Math.min(100 * 2 ** round, 1000);
          assert.ok(waitMs >= mostMs / 2 && waitMs <= mostMs + 1, `${round}: ${waitMs} ms`);
        }
        assert.equal(channel.counters.connectionsOpen, 0);
      },
    );
  }
}

bothTest("a peer that accepts and closes is not dialled by every call", async (stage) => {
  const raw = await stage.rawServer();
  raw.onPeer = (peer) => peer.connection.close();
  const { client, channel } = stage.dial(raw.address, {
    backoff: { firstMs: 600_000, mostMs: 600_000 },
  });
  for (let call = 0; call < 20; call++) {
    assert.equal((await failure(client.nothing({}))).code, 14);
    await stage.elapse(10);
  }
  assert.deepEqual([channel.counters.connectionsTotal, raw.peers.length], [1, 1]);
});

bothTest("a peer that served and closed is dialled again at once", async (stage) => {
  for (const peer of ["any", "covey"] as const) {
    const raw = await stage.rawServer();
    const { client, channel } = stage.dial(raw.address, {
      peer,
      backoff: { firstMs: 600_000, mostMs: 600_000 },
    });
    for (let round = 1; round <= 5; round++) {
      const call = client.nothing({});
      const served = await raw.accept();
      if (peer === "covey") await served.answerHello();
      served.send(response((await served.next()).id));
      await call;
      const pending = failure(client.nothing({}));
      await served.next();
      served.connection.close();
      assert.deepEqual([(await pending).code, (await pending).sent], [14, true]);
      assert.equal(channel.counters.connectionsTotal, round);
    }
  }
});

memoryTest("an answer that comes byte by byte is proof as well", async (stage) => {
  stage.net.faults.chunkBytesMax = 1;
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address, { backoff });
  const first = client.nothing({});
  (await serveOne(raw)).connection.close();
  await first;
  await turns();
  assert.equal(channel.state, "idle");
  const second = client.nothing({});
  await serveOne(raw);
  await second;
  assert.equal(stage.net.dials, 2);
});

memoryTest("the back-off starts anew once the peer served", async (stage) => {
  const raw = await stage.rawServer();
  raw.onPeer = strangers.closes;
  const { client, channel } = stage.dial(raw.address, { backoff });
  for (let round = 0; round < 4; round++) {
    await failure(client.nothing({}));
    await waitOut(stage, channel);
  }
  raw.onPeer = undefined;
  for (let round = 0; round < 4; round++) await raw.accept();
  const call = client.nothing({});
  const peer = await serveOne(raw);
  await call;
  raw.listener.stop();
  peer.connection.close();
  await turns();
  assert.equal(channel.state, "idle");
  assert.equal((await failure(client.nothing({}))).sent, false);
  const waitMs = await waitOut(stage, channel);
  assert.ok(waitMs >= 50 && waitMs <= 101, `${waitMs} ms`);
});

memoryTest("the time that an unproven connection lasted counts as waiting", async (stage) => {
  const raw = await stage.rawServer();
  // The jitter is between the half and the whole: 500 to 1000 ms.
  const { channel } = stage.dial(raw.address, { backoff: { firstMs: 1000, mostMs: 4000 } });
  await channel.connect();
  await stage.clock.advance(400);
  (await raw.accept()).connection.close();
  await turns();
  const waitMs = await waitOut(stage, channel);
  assert.ok(waitMs >= 100 && waitMs <= 601, `${waitMs} ms`);
  // An idle connection that lasted is nobody's failure, however often that happens.
  for (let round = 0; round < 5; round++) {
    await channel.connect();
    await stage.clock.advance(4000);
    (await raw.accept()).connection.close();
    await turns();
    assert.equal(channel.state, "idle");
  }
  raw.listener.stop();
  await failure(channel.connect());
  const afterMs = await waitOut(stage, channel);
  assert.ok(afterMs >= 1000 && afterMs <= 2001, `the second failure waited ${afterMs} ms`);
});

memoryTest(
  "lost before any answer: each call in flight knows whether it was sent",
  async (stage) => {
    const raw = await stage.rawServer();
    const { client, channel } = stage.dial(raw.address, { backoff });
    await channel.connect();
    const peer = await raw.accept();
    peer.connection.pause();
    const written = failure(client.echo({ payload: pattern(1 << 20) }));
    const stream = drain(client.chat(new Feed()));
    await turns();
    const queued = failure(client.nothing({}));
    await turns();
    peer.connection.abort();
    assert.deepEqual([(await written).code, (await written).sent], [14, true]);
    assert.deepEqual([(await stream).error!.code, (await stream).error!.sent], [14, false]);
    assert.deepEqual([(await queued).code, (await queued).sent], [14, false]);
    await turns();
    assert.deepEqual([stage.net.dials, channel.counters.callsOpen, channel.state], [
      1,
      0,
      "backoff",
    ]);
  },
);

memoryTest(
  "waiting for readiness an unsent call outlives a peer that does not serve",
  async (stage) => {
    const raw = await stage.rawServer();
    raw.onPeer = strangers.closes;
    const { client } = stage.dial(raw.address, { peer: "covey", backoff, waitForReady: true });
    const call = client.nothing({}, { timeoutMs: 60_000 });
    await stage.clock.advance(10_000);
    const { dials } = stage.net;
    assert.ok(dials >= 10 && dials <= 24, `${dials} dials in ten seconds`);
    raw.onPeer = undefined;
    for (let dial = 0; dial < dials; dial++) await raw.accept();
    await stage.clock.advance(1000);
    const peer = await raw.accept();
    await peer.answerHello();
    peer.send(response((await peer.next()).id));
    await call;
  },
);

memoryTest("a back-off that would not wait is refused", (stage) => {
  const wrong = [
    { firstMs: 0, mostMs: 100 },
    { firstMs: -1, mostMs: 100 },
    { firstMs: NaN, mostMs: 100 },
    { firstMs: 100, mostMs: Infinity },
    { firstMs: 100, mostMs: 99 },
  ];
  for (const one of wrong) {
    assert.throws(
      () => stage.dial(stage.address(), { backoff: one }),
      (error) => error instanceof CoveyError && error.code === Code.invalidArgument,
    );
  }
  stage.dial(stage.address(), { backoff: { firstMs: 1, mostMs: 1 } });
  return Promise.resolve();
});
