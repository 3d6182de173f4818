/** Who is on a connection, how many there may be, and what is looked at while nothing happens. */
import assert from "node:assert/strict";
import { CoveyError } from "../../src/base/error.ts";
import type { Identity } from "../../src/base/identity.ts";
import { close, codeOf, data, frame, none, pattern } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure } from "./support/outcome.ts";
import { bothTest, memoryTest } from "./support/stage.ts";
import { echo, open, sumMessage } from "./support/test_frames.ts";

const known: Identity = { kind: "token", name: "somebody" };

/** Identities that are decided from outside, one promise per connection. */
class Gate {
  readonly waiting: { resolve(identity: Identity): void; reject(error: Error): void }[] = [];

  identify = (): Promise<Identity> =>
    new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
}

memoryTest(
  "no handler runs before its peer is known, however early the bytes came",
  async (stage) => {
    stage.net.faults.oneMoreAfterPause = true;
    const gate = new Gate();
    const names: string[] = [];
    const { address } = await stage.serve({
      identify: gate.identify,
      handlers: {
        nothing(_, context) {
          names.push(context.identity.name);
          return {};
        },
        async sum(requests, context) {
          names.push(context.identity.name);
          let count = 0;
          for await (const _ of requests) count++;
          return { count };
        },
      },
    });
    const peer = await stage.raw(address);
    peer.send(open(1, 0, "Nothing"), open(3, 6, "Sum"));
    await turns();
    peer.send(data(3, sumMessage(1n)), close(3), open(5, 0, "Nothing"));
    await turns();
    assert.deepEqual(names, []);
    assert.deepEqual(peer.frames, []);
    gate.waiting[0].resolve(known);
    const frames = await peer.take(3);
    assert.deepEqual(frames.map((one) => one.id).toSorted(), [1, 3, 5]);
    assert.deepEqual(names, ["somebody", "somebody", "somebody"]);
  },
);

bothTest(
  "an identification that hangs blocks only its own connection, and times out",
  async (stage) => {
    const gate = new Gate();
    let first = true;
    const { address, server } = await stage.serve({
      limits: { handshakeMs: 100 },
      identify: () => {
        if (!first) return known;
        first = false;
        return gate.identify();
      },
    });
    const stuck = await stage.raw(address);
    stuck.send(echo(1, {}));
    await turns();
    const { client } = stage.dial(address);
    await client.echo({ payload: pattern(10) });
    await stage.elapse(101);
    await stuck.gone();
    assert.equal(stuck.frames.length, 0);
    assert.equal(server.counters.connectionsRefusedTotal, 1);
    // The answer that comes too late changes nothing.
    gate.waiting[0].resolve(known);
    await client.echo({});
    while (server.connections > 1) await turns(1);
    assert.equal(server.counters.callsTotal, 2);
  },
);

bothTest("an identification that refuses closes the connection without a word", async (stage) => {
  const refusals: (() => Identity | Promise<Identity>)[] = [
    () => {
      throw new CoveyError(16, "at once");
    },
    () => Promise.reject(new Error("later")),
  ];
  for (const identify of refusals) {
    const { address, server } = await stage.serve({ identify });
    const peer = await stage.raw(address);
    peer.send(echo(1, {}));
    await peer.gone();
    assert.equal(peer.frames.length, 0);
    while (server.connections > 0) await turns(1);
    assert.equal(server.counters.connectionsRefusedTotal, 1);
    assert.equal(server.counters.callsTotal, 0);
  }
});

memoryTest("a peer that leaves while it is identified leaves nothing behind", async (stage) => {
  const gate = new Gate();
  const { address, server } = await stage.serve({ identify: gate.identify });
  const peers = [await stage.raw(address), await stage.raw(address)];
  await turns();
  peers[0].connection.abort();
  peers[1].connection.close();
  await turns();
  assert.equal(server.connections, 0);
  gate.waiting[0].resolve(known);
  gate.waiting[1].reject(new Error("no"));
  await turns();
  await stage.clock.advance(10_000);
  assert.equal(stage.clock.timers, 0);
  assert.equal(server.counters.connectionsRefusedTotal, 0);
});

bothTest("connections of a server in all: one more is closed and counted", async (stage) => {
  let identified = 0;
  const { address, server } = await stage.serve({
    limits: { connectionsMax: 2 },
    identify: () => {
      identified++;
      return Promise.resolve(known);
    },
  });
  const second = await server.listen({ address: stage.address() });
  const peers = [await stage.raw(address), await stage.raw(second.address)];
  for (const peer of peers) {
    peer.send(echo(1, {}));
    await peer.next();
  }
  const third = await stage.raw(address);
  await third.gone();
  assert.equal(server.counters.limitHits.connections, 1);
  assert.equal(server.counters.connectionsRefusedTotal, 1);
  assert.equal(identified, 2, "who is refused is not asked for");
  peers[0].connection.close();
  while (server.connections > 1) await turns(1);
  const fourth = await stage.raw(second.address);
  fourth.send(echo(1, {}));
  await fourth.next();
  await stage.elapse(6000);
  assert.equal(server.counters.connectionsRefusedTotal, 1, "no handshake of theirs times out");
});

bothTest(
  "connections of a listener: one more is closed and counted by the listener",
  async (stage) => {
    const { server } = await stage.serve({ limits: { connectionsPerListenerMax: 1 } });
    const listener = await server.listen({ address: stage.address() });
    const first = await stage.raw(listener.address);
    first.send(echo(1, {}));
    await first.next();
    const second = await stage.raw(listener.address);
    await second.gone();
    assert.equal(listener.refused, 1);
    assert.equal(server.connections, 1);
  },
);

memoryTest(
  "one byte an hour: a frame that is not finished in time closes the connection",
  async (stage) => {
    const { address, server } = await stage.serve({ limits: { ioStallMs: 60_000 } });
    const slow = await stage.raw(address);
    const bytes = echo(1, { payload: pattern(100) });
    slow.send(bytes.subarray(0, 1));
    await stage.clock.advance(59_000);
    assert.equal(server.connections, 1);
    await stage.clock.advance(3000);
    assert.equal(server.connections, 0);
    assert.equal(server.counters.connectionsBrokenTotal, 1);
    // Silence between frames is nobody's fault.
    const quiet = await stage.raw(address);
    quiet.send(echo(1, {}));
    await quiet.next();
    await stage.clock.advance(600_000);
    quiet.send(echo(3, {}));
    assert.equal(codeOf(await quiet.next()), 0);
  },
);

memoryTest("idle connections are closed only where the configuration says so", async (stage) => {
  const { address, server } = await stage.serve({ limits: { idleMs: 5000 } });
  const idle = await stage.raw(address);
  const busy = await stage.raw(address);
  busy.send(open(1, 6, "Sum"));
  await stage.clock.advance(8000);
  assert.equal(idle.ended || idle.closed, true);
  assert.equal(server.connections, 1, "a call keeps it");
  busy.send(close(1));
  await busy.next();
  await stage.clock.advance(8000);
  assert.equal(server.connections, 0);
});

memoryTest("an oversized frame that trickles in is discarded and costs nothing", async (stage) => {
  const { address } = await stage.serve();
  const peer = await stage.raw(address);
  peer.send(frame(1, 1, 0, none, (1 << 24) - 1));
  for (let left = (1 << 24) - 1; left > 0; left -= 1 << 20) {
    peer.send(new Uint8Array(Math.min(left, 1 << 20)));
  }
  peer.send(echo(3, {}));
  const [refusal, fine] = await peer.take(2);
  assert.deepEqual([codeOf(refusal), codeOf(fine)], [8, 0]);
});

memoryTest(
  "a reader that takes all the time survives a sender that pauses between bursts",
  async (stage) => {
    const limits = { streamQueueBytesMax: 20_000, streamStallMs: 100 };
    const { address, server } = await stage.serve({
      limits,
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
    stage.net.faults.chunkBytesMax = 16_000;
    peer.send(open(1, 6, "Sum"), data(1, sumMessage(1n)));
    const message = new Uint8Array(1000);
    message.set([0x12, 0xe5, 0x07]);
    // Each burst is more than the queue; the reader works on it until the next one comes.
    for (let burst = 0; burst < 5; burst++) {
      await stage.clock.advance(burst === 0 ? 5 : 531);
      // A lone message in between finds the queue short again.
      peer.send(data(1, message));
      await stage.clock.advance(122);
      for (let index = 0; index < 35; index++) peer.send(data(1, message));
    }
    await stage.clock.advance(1000);
    assert.deepEqual(server.counters.limitHits.stream_queue, 0);
    peer.send(close(1));
    await stage.clock.advance(1000);
    assert.equal(codeOf(await peer.next()), 0);
  },
);

bothTest("one server, several listeners, one registry", async (stage) => {
  const { server, address } = await stage.serve();
  const other = await server.listen({ address: stage.address() });
  const [one, two] = [stage.dial(address), stage.dial(other.address)];
  await one.client.nothing({});
  await two.client.nothing({});
  assert.equal((await drain(two.client.count({ count: 3 }))).messages.length, 3);
  assert.equal(server.connections, 2);
  one.channel.close();
  assert.equal((await failure(one.client.nothing({}))).code, 1);
  await two.client.nothing({});
});
