/** Networks that are slow, lossy or thin, through relays between the nodes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Lab, withLab } from "./lab.ts";
import type { Load } from "./load.ts";
import { report } from "./report.ts";
import { verify } from "./verify.ts";
import { timed, until } from "./waiting.ts";

const writesAround = 150;

async function measured(lab: Lab, load: Load, name: string, writes: number): Promise<void> {
  const term = await lab.term();
  const sinceMs = performance.now();
  await load.acknowledged(writes);
  const nowMs = performance.now();
  report(
    `${name}: ${load.rate(sinceMs, nowMs)} writes/s, longest gap ${
      load.longestGapMs(sinceMs)
    } ms, ` +
      `${await lab.term() - term} elections`,
  );
}

test("processes: delay, jitter and loss slow the nodes down and break nothing", () =>
  withLab({ relaySeed: 1 }, async (lab) => {
    await lab.start();
    const load = lab.load({ clients: lab.clients(8), seed: 19, timeoutMs: 20_000 });
    await measured(lab, load, "through relays", writesAround);
    const { network } = lab.cluster;
    network.linkAll({ delayMs: 50, jitterMs: 20 });
    await measured(lab, load, "100 ± 40 ms round trip", writesAround);
    network.linkAll({ delayMs: 50, jitterMs: 20, loss: 0.05 });
    await measured(lab, load, "the same with 5 % loss", writesAround);
    const leader = await lab.leader();
    const { electionTimeoutMillis } = await lab.group(leader);
    const sinceMs = performance.now();
    await leader.kill();
    const recoveredMs = await load.recovered(sinceMs);
    report(
      `kill -9 of the leader there: writes again after ${recoveredMs} ms, with an election timeout ` +
        `of ${electionTimeoutMillis} ms`,
    );
    await leader.start();
    await lab.caughtUp(leader);
    network.heal();
    await measured(lab, load, "healed", writesAround);
    await load.stop();
    await verify(lab);
    report(load.describe());
  }));

/** 1 Mbit/s, of which a follower has to live while it is given all that it lacks. */
const thin = { bytesPerSecond: 125_000, delayMs: 10 };
const smallLog = {
  raft: { segment_bytes: "256KiB", snapshot_log_bytes: "256KiB", catch_up_bytes: "64KiB" },
};

test("processes: bulk over a thin link stops no heartbeat and no other node", () =>
  withLab({ relaySeed: 3, config: smallLog }, async (lab) => {
    await lab.start();
    const load = lab.load({
      clients: lab.clients(6),
      seed: 21,
      timeoutMs: 20_000,
      padding: 500,
    });
    const [slow, other] = await lab.followers();
    await slow.kill();
    await load.acknowledged(2 * writesAround);
    const { network } = lab.cluster;
    for (const { index } of lab.nodes) {
      if (index === slow.index) continue;
      network.link(index, slow.index, thin);
      network.link(slow.index, index, thin);
    }
    const leader = await lab.leader();
    const term = await lab.term();
    const sinceMs = performance.now();
    await slow.start();
    await load.acknowledged(writesAround);
    const gapMs = load.longestGapMs(sinceMs);
    await load.stop();
    const caughtUpMs = await timed(() => lab.caughtUp(slow));
    assert.ok(other.isRunning && leader.isRunning);
    report(
      `a follower behind 1 Mbit/s catches up: longest gap of the others ${gapMs} ms, ` +
        `${await lab.term() - term} elections, there ${caughtUpMs} ms after the last write`,
    );
    network.heal();
    await verify(lab);
  }));

/** What the follower lacks in the test below: small enough to be in the log still. */
const missing = { values: 60, valueBytes: 8_192 };

test("processes: a follower behind a thin link gets what it lacks once, whatever is read meanwhile", () =>
  withLab({ relaySeed: 4 }, async (lab) => {
    await lab.start();
    const [slow, other] = await lab.followers();
    const client = lab.client({ nodes: [other] });
    await slow.kill();
    const value = new Uint8Array(missing.valueBytes);
    for (let at = 0; at < missing.values; at++) await client.put(`big/${at}`, value);
    const { network } = lab.cluster;
    for (const { index } of lab.nodes) {
      if (index === slow.index) continue;
      network.link(index, slow.index, thin);
      network.link(slow.index, index, thin);
    }
    await slow.start();
    const bytes = missing.values * missing.valueBytes;
    const wireMs = bytes / thin.bytesPerSecond * 1000;
    let isThere = false;
    const reading = (async () => {
      let reads = 0;
      // Each is a round of heartbeats, whose answers overtake the appends.
      for (; !isThere; reads++) await client.get("big/0");
      return reads;
    })();
    const [tookMs, reads] = await Promise.all([
      timed(() => lab.caughtUp(slow).finally(() => isThere = true)),
      reading,
    ]);
    report(
      `${bytes} bytes over 1 Mbit/s, ${
        Math.round(wireMs)
      } ms on the wire: there after ${tookMs} ms, ` +
        `beside ${reads} reads`,
    );
    assert.ok(tookMs < 2 * wireMs, `${tookMs} ms for ${Math.round(wireMs)} ms on the wire`);
    network.heal();
    await verify(lab);
  }));

test("processes: a write by way of another node waits for a paused leader no longer than an election", () =>
  withLab({}, async (lab) => {
    await lab.start();
    const leader = await lab.leader();
    const [asked] = await lab.followers();
    const { electionTimeoutMillis } = await lab.group(asked);
    const kv = lab.client({ nodes: [asked] });
    await kv.put("paused/before", "1");
    const term = await lab.term();
    leader.pause();
    const sinceMs = performance.now();
    // At once, and when the leader has been silent for a while.
    const early = timed(() => kv.put("paused/early", "1"));
    const other = lab.client({ nodes: [asked] });
    await until("the silence is noticed", 5_000, () => performance.now() - sinceMs > 350);
    await other.put("paused/late", "1");
    const lateMs = Math.round(performance.now() - sinceMs);
    const earlyMs = await early;
    const successor = await lab.leader(lab.nodes.filter((node) => node !== leader));
    assert.ok((await lab.group(successor)).term > term);
    report(
      `SIGSTOP of the leader, writes by way of a follower: answered ${earlyMs} and ${lateMs} ms after, ` +
        `with an election timeout of ${electionTimeoutMillis} ms`,
    );
    leader.resume();
    await lab.caughtUp(leader);
    await verify(lab);
    // An election begins after one to two timeouts, and may have to begin again.
    const limitMs = 5 * Number(electionTimeoutMillis) + 1_000;
    assert.ok(earlyMs < limitMs && lateMs < limitMs, `${earlyMs} and ${lateMs} ms`);
  }));
