/** Links whose speed is limited for a while: what waits for them, and what heals. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createSimulation, type Simulation } from "../../src/runtime/sim/simulation.ts";
import { armBan, liftBan } from "./ban.ts";
import { connectPair, dial, pattern, Recorder } from "./streams.ts";

before(armBan);
after(liftBan);

/** No jitter: what arrives when is then known to the byte. */
function calm(): Simulation {
  return createSimulation({
    seed: 1,
    windowBytes: 1 << 20,
    latencyMs: [1, 1],
    jitterMs: [0, 0],
  });
}

/** Bytes of one packet beside its contents. */
const overhead = 60;

const bytes = pattern(20_000);

/** What a packet of a thousand bytes carries. */
const piece = 1000 - overhead;

/** Writes all of it, in packets of a thousand bytes. */
function writePackets(near: Recorder): void {
  for (let at = 0; at < bytes.length; at += piece) {
    near.connection!.write(bytes, at, Math.min(piece, bytes.length - at));
  }
}

test("a slow link carries so many bytes a second", async () => {
  const simulation = calm();
  const { near, far } = await connectPair(simulation);
  simulation.slowLink("a", "b", 10_000);
  writePackets(near);
  await simulation.run({ forMs: 1002 });
  assert.equal(far.bytes.length, 10 * piece);
  await simulation.run({ forMs: 2000 });
  assert.deepEqual(far.bytes, bytes);
});

test("what waits for a slow link goes on at once when it heals", async () => {
  const simulation = calm();
  const { near, far } = await connectPair(simulation);
  const slow = simulation.slowLink("a", "b", 1000);
  writePackets(near);
  await simulation.run({ forMs: 1500 });
  assert.equal(far.bytes.length, piece);
  assert.match(simulation.describe(), /slow: \d+ bytes wait a -> b/);
  slow.heal();
  near.connection!.write(pattern(10));
  await simulation.run({ forMs: 2 });
  assert.deepEqual(far.bytes, new Uint8Array([...bytes, ...pattern(10)]));
  assert.doesNotMatch(simulation.describe(), /slow: /);
});

test("what waits goes on at the next speed, from the byte on that it had come to", async () => {
  const simulation = calm();
  const { near, far } = await connectPair(simulation);
  const faster = simulation.slowLink("a", "b", 1000);
  writePackets(near);
  // One packet and a half.
  await simulation.run({ forMs: 1500 });
  simulation.slowLink("a", "b", 500);
  faster.heal();
  // The half that is left takes a second at 500 bytes a second, and arrives a little later.
  await simulation.run({ forMs: 999 });
  assert.equal(far.bytes.length, piece);
  await simulation.run({ forMs: 3 });
  assert.equal(far.bytes.length, 2 * piece);
  await simulation.run({ forMs: 60_000 });
  assert.deepEqual(far.bytes, bytes);
});

test("of several limits the lowest counts, and each heals once", async () => {
  const simulation = calm();
  const { near, far } = await connectPair(simulation);
  const low = simulation.slowLink("a", "b", 1000);
  const high = simulation.slowLink("a", "b", 10_000);
  writePackets(near);
  await simulation.run({ forMs: 2002 });
  assert.equal(far.bytes.length, 2 * piece);
  low.heal();
  low.heal();
  await simulation.run({ forMs: 1002 });
  assert.equal(far.bytes.length, 12 * piece);
  high.heal();
  await simulation.run({ forMs: 2 });
  assert.deepEqual(far.bytes, bytes);
});

test("a connection that is new waits behind what stands in the queue, and no longer", async () => {
  const simulation = calm();
  const { a, near, far } = await connectPair(simulation);
  const slow = simulation.slowLink("a", "b", 1000);
  writePackets(near);
  let opened = false;
  const dialled = dial(a.runtime, "b", new Recorder(), 60_000).then(() => opened = true);
  await simulation.run({ forMs: 5000 });
  assert.equal(opened, false);
  slow.heal();
  await simulation.wait(dialled);
  assert.ok(simulation.nowMs < 5050, `${simulation.nowMs}`);
  assert.deepEqual(far.bytes, bytes);
});

test("limits that come and go lose nothing and reorder nothing", async () => {
  for (let seed = 0; seed < 30; seed++) {
    const simulation = createSimulation({ seed, windowBytes: 1 << 20, jitterMs: [0, 5] });
    const { near, far } = await connectPair(simulation);
    const random = simulation.random("writes");
    const bytes = pattern(30_000);
    let sent = 0;
    while (sent < bytes.length) {
      const piece = Math.min(bytes.length - sent, random.between(1, 1500));
      sent += near.connection!.write(bytes, sent, piece);
      if (random.chance(0.2)) {
        const fault = random.chance(0.5)
          ? simulation.slowLink("a", "b", random.between(100, 5000))
          : simulation.cut("a", "b");
        simulation.at(simulation.nowMs + random.between(1, 500), () => fault.heal());
      }
      await simulation.run({ forMs: random.between(0, 60) });
    }
    await simulation.run({ forMs: 2000 });
    assert.deepEqual(far.bytes, bytes, `seed ${seed}`);
  }
});
