/** Networks that are slow, lossy or thin, through relays between the nodes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Lab, withLab } from "./lab.ts";
import type { Load } from "./load.ts";
import { report } from "./report.ts";
import { verify } from "./verify.ts";
import { timed } from "./waiting.ts";

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
