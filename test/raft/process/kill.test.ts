/** kill -9 under load: what was acknowledged is there, and nobody ever reads the past. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Lab, withLab } from "./lab.ts";
import type { Load } from "./load.ts";
import { FollowerOfAll } from "./follower_of_all.ts";
import { plain } from "./recorder.ts";
import { report } from "./report.ts";
import { verify } from "./verify.ts";
import { timed } from "./waiting.ts";

/** Acknowledged writes before and after each fault, so that there is something to lose. */
const writesAround = 150;

async function killed(lab: Lab, load: Load, whom: "leader" | "follower"): Promise<string> {
  await load.acknowledged(writesAround);
  const leader = await lab.leader();
  const node = whom === "leader"
    ? leader
    : (await lab.followers())[load.counts.writes % (lab.cluster.running.length - 1)];
  const sinceMs = performance.now();
  await node.kill();
  const recoveredMs = await load.recovered(sinceMs);
  await load.acknowledged(writesAround);
  const readyMs = await timed(() => node.start());
  const caughtUpMs = await timed(() => lab.caughtUp(node));
  return `kill -9 of the ${whom}: writes again after ${recoveredMs} ms, longest gap ` +
    `${load.longestGapMs(sinceMs)} ms; ready after ${readyMs} ms, caught up ${caughtUpMs} ms later`;
}

async function allKilled(lab: Lab, load: Load): Promise<string> {
  await load.acknowledged(writesAround);
  await Promise.all(lab.nodes.map((node) => node.kill()));
  const startedMs = performance.now();
  await Promise.all(lab.nodes.map((node) => node.start()));
  const recoveredMs = await load.recovered(startedMs);
  return `kill -9 of all three: writes again ${recoveredMs} ms after the start`;
}

test("processes: nodes killed in turn and all at once under load lose nothing", () =>
  withLab({}, async (lab) => {
    await lab.start();
    const load = lab.load({ clients: lab.clients(8), seed: 1 });
    const watches = lab.clients(2).map((client, at) => new FollowerOfAll(`watch ${at}`, client));
    for (const whom of ["leader", "follower", "leader", "follower", "leader"] as const) {
      report(await killed(lab, load, whom));
    }
    for (let round = 0; round < 2; round++) report(await allKilled(lab, load));
    await load.acknowledged(writesAround);
    await load.stop();
    const { operations, acknowledgedWrites } = await verify(lab);
    report(`${operations} operations, ${acknowledgedWrites} of them acknowledged writes, judged`);
    report(load.describe());
    for (const watch of watches) report(`${await watch.finish()} changes watched, none missed`);
    // Were one of them lost, this would have failed.
    const nowMs = performance.now();
    lab.history.add({
      client: "somebody",
      input: plain({ kind: "put", key: "own/lost", value: "lost", previous: false }),
      output: { revision: 1_000_000, succeeded: true, actions: [{ entry: undefined, deleted: 0 }] },
      call: nowMs,
      end: nowMs,
    });
    await assert.rejects(verify(lab), /lost acknowledged writes/);
  }));
