/**
 * The drivers under the same fuzz as the machines: a client gone mad against a whole server, and a
 * server gone mad against a whole channel. Nothing escapes, every call ends, others go on.
 */
import assert from "node:assert/strict";
import type { Prng } from "../../src/base/prng.ts";
import { CoveyError } from "../../src/base/error.ts";
import { requestPrefix } from "../../src/ttrpc/core/envelope.ts";
import { ClientFrames, type OpenCall } from "./fuzz/client_frames.ts";
import { makeFrame, mutate, randomBytes, randomLength } from "./fuzz/mutate.ts";
import { pattern } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, Feed } from "./support/outcome.ts";
import type { RawPeer } from "./support/raw_peer.ts";
import { type MemoryStage, seedsTest, type TestClient } from "./support/stage.ts";
import { testService } from "./support/test_frames.ts";
import { within } from "./support/within.ts";

const limits = {
  messageBytesMax: 2000,
  callsMax: 12,
  streamsMax: 8,
  streamQueueBytesMax: 6000,
  streamQueueMessagesMax: 40,
  queueBytesMax: 20_000,
  queueMessagesMax: 60,
};
const prefixes = ["Echo", "Sum", "Count", "Chat", "Fail", "FailStream", "Nothing", "Nope"]
  .map((method) => requestPrefix(testService, method));

/** One mad client; it does not know what became of its calls. */
async function attack(stage: MemoryStage, peer: RawPeer, random: Prng): Promise<void> {
  const frames = new ClientFrames(random, 0.9, prefixes);
  const open: OpenCall[] = [];
  for (let left = random.below(200); left > 0 && !peer.closed && !peer.ended; left--) {
    if (random.chance(0.1)) {
      open.push({ id: 1 + 2 * random.below(60), flow: {}, remoteClosed: false });
      if (open.length > 4) open.shift();
    }
    const frame = frames.next(open);
    peer.send(random.chance(0.2) ? mutate(random, frame) : frame);
    if (random.chance(0.3)) await turns(1);
    if (random.chance(0.05)) await stage.clock.advance(random.below(100));
    if (random.chance(0.02)) peer.connection.pause();
    if (random.chance(0.05)) peer.connection.resume();
  }
}

seedsTest("fuzz: a server with mad clients", 30, async (stage, random) => {
  const bugs: unknown[] = [];
  const { address, server } = await stage.serve({
    limits,
    onHandlerError: (_, error) => bugs.push(error),
  });
  const { client } = stage.dial(address, { peer: random.chance(0.5) ? "covey" : "any" });
  stage.net.faults.random = random.chance(0.5) ? random.fork() : undefined;
  for (let round = 0; round < 4; round++) {
    const peer = await stage.raw(address);
    await attack(stage, peer, random.fork());
    const { payload } = await client.echo({ payload: pattern(500) });
    assert.equal(payload.length, 500, "others are not disturbed");
    if (random.chance(0.5)) peer.connection.abort();
    else peer.connection.close();
  }
  for (let wait = 0; wait < 50 && server.connections > 1; wait++) await turns();
  assert.equal(server.connections, 1);
  assert.equal(server.counters.callsOpen, 0);
  assert.deepEqual(bugs, []);
});

/** What a mad server answers to whatever comes. */
async function madden(peer: RawPeer, random: Prng): Promise<void> {
  for (let left = 150; left > 0 && !peer.closed && !peer.ended; left--) {
    const requests = peer.frames.filter((one) => one.type === 1);
    const id = requests.length > 0 ? random.pick(requests).id : random.below(20);
    const type = random.pick([2, 2, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9]);
    const flags = random.pick([0, 0, 0, 0, 5, 1, 4]);
    const data = random.chance(0.3)
      ? new Uint8Array([0x0a, 0])
      : randomBytes(random, randomLength(random, limits.messageBytesMax));
    const frame = makeFrame(
      id,
      type,
      type === 3 ? flags : 0,
      (flags & 4) !== 0 ? data.subarray(0, 0) : data,
    );
    peer.send(random.chance(0.2) ? mutate(random, frame) : frame);
    if (random.chance(0.5)) await turns(1);
  }
  if (random.chance(0.5)) peer.connection.close();
  else peer.connection.abort();
}

function anyCall(client: TestClient, random: Prng): Promise<unknown> {
  const feed = new Feed<{ payload: Uint8Array }>();
  for (let left = random.below(5); left > 0; left--) {
    feed.push({ payload: pattern(random.below(1500)) });
  }
  if (random.chance(0.7)) feed.end();
  const options = random.chance(0.3) ? { timeoutMs: random.between(1, 500) } : {};
  switch (random.below(4)) {
    case 0:
      return client.echo({ payload: pattern(random.below(2500)) }, options);
    case 1:
      return client.sum(feed as AsyncIterable<Record<never, never>>, options);
    case 2:
      return drain(client.count({}, options));
    default:
      return drain(client.chat(feed, options));
  }
}

seedsTest("fuzz: a channel with a mad server", 30, async (stage, random) => {
  const raw = await stage.rawServer();
  const running: Promise<void>[] = [];
  raw.onPeer = (peer) => running.push(madden(peer, random.fork()));
  const { client, channel } = stage.dial(raw.address, {
    limits,
    peer: random.chance(0.5) ? "covey" : "any",
    dialTimeoutMs: 100,
  });
  stage.net.faults.random = random.chance(0.5) ? random.fork() : undefined;
  const ends: Promise<unknown>[] = [];
  for (let index = 0; index < 60; index++) {
    ends.push(
      anyCall(client, random).catch((error) => {
        assert.ok(error instanceof CoveyError, `${error}`);
      }),
    );
    if (random.chance(0.6)) await turns(1);
    if (random.chance(0.2)) await stage.clock.advance(random.below(300));
  }
  let settled = false;
  const all = Promise.all(ends).then(() => settled = true);
  for (let wait = 0; wait < 200 && !settled; wait++) await stage.clock.advance(50);
  await within(all, () => "every call to end");
  await Promise.all(running);
  assert.equal(channel.counters.callsOpen, 0);
});
