/** Every node is stopped and started in turn while clients work. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { withLab } from "./lab.ts";
import { report } from "./report.ts";
import { verify } from "./verify.ts";
import { timed } from "./waiting.ts";

const writesAround = 200;
/** Every node is stopped so often where each stop is a chance for a write to get lost. */
const rounds = 2;

test("processes: a rolling restart fails no request", () =>
  withLab({}, async (lab) => {
    await lab.start();
    const load = lab.load({ clients: lab.clients(8, { sessions: true }), seed: 3 });
    await load.acknowledged(writesAround);
    // The leader first: its successor is then stopped, too.
    const order = [await lab.leader(), ...await lab.followers()];
    for (const node of order) {
      const wasLeader = await lab.leader() === node;
      const beforeMs = performance.now();
      await load.acknowledged(writesAround);
      const sinceMs = performance.now();
      const before = load.rate(beforeMs, sinceMs);
      const stopMs = await timed(async () => {
        assert.deepEqual(await node.stop(), { code: 0, signal: null });
      });
      const readyMs = await timed(() => node.start());
      await lab.caughtUp(node);
      const during = load.rate(sinceMs, performance.now());
      report(
        `SIGTERM to the ${wasLeader ? "leader" : "follower"}: gone after ${stopMs} ms, ready ` +
          `${readyMs} ms later; ${before} writes/s before, ${during} during, longest gap ` +
          `${load.longestGapMs(sinceMs)} ms`,
      );
    }
    await load.acknowledged(writesAround);
    await load.stop();
    await verify(lab);
    const { refused, unknown } = load.counts;
    assert.deepEqual({ refused, unknown }, { refused: 0, unknown: 0 }, load.describe());
  }));

test("processes: who does not repeat anything is told of every write what became of it", () =>
  withLab({ relaySeed: 6 }, async (lab) => {
    await lab.start();
    // Each write is under way for so long that every stop finds some.
    lab.cluster.network.linkAll({ delayMs: 10 });
    // Without sessions nothing is repeated that may have been done.
    const load = lab.load({ clients: lab.clients(32, { sessions: false }), seed: 4 });
    await load.acknowledged(writesAround);
    for (let round = 0; round < rounds; round++) {
      for (const node of [await lab.leader(), ...await lab.followers()]) {
        const sinceMs = performance.now();
        assert.deepEqual(await node.stop(), { code: 0, signal: null });
        const stopMs = Math.round(performance.now() - sinceMs);
        await node.start();
        await lab.caughtUp(node);
        report(`gone after ${stopMs} ms, longest gap ${load.longestGapMs(sinceMs)} ms`);
      }
    }
    await load.acknowledged(writesAround);
    await load.stop();
    await verify(lab);
    report(load.describe());
    assert.equal(load.counts.unknown, 0, load.describe());
  }));
