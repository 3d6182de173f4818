/** A node that is told to stop while its disk does not answer. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createLog } from "../../src/log.ts";
// Loaded now: an import takes real time, and a run has none.
import "../../src/node/replication.ts";
import { Node } from "../../src/node.ts";
import type { Runtime } from "../../src/runtime/port.ts";
import type { SimMachine } from "../../src/runtime/sim/machine.ts";
import { createSimulation, type Simulation } from "../../src/runtime/sim/simulation.ts";
import { armBan, liftBan } from "./ban.ts";
import { nodeConfig } from "./node_config.ts";

before(armBan);
after(liftBan);

const drainMs = 1000;
const diskStallMs = 2000;

async function startNode(runtime: Runtime): Promise<Node> {
  const config = nodeConfig(runtime, { name: "ash" }, {
    rpc: { drain_timeout: drainMs },
    raft: { disk_stall_timeout: diskStallMs },
  });
  const log = await createLog(runtime, { level: "error", node: "ash", format: "none" });
  return await Node.start({ runtime, config, dev: true, admin: false, log });
}

/** Runs the simulation until this is there. */
async function settle<T>(simulation: Simulation, wanted: Promise<T>): Promise<T> {
  let done = false;
  const watched = wanted.finally(() => done = true);
  // It is awaited below.
  watched.catch(() => {});
  for (let looks = 0; !done && looks < 10_000; looks++) await simulation.run({ forMs: 10 });
  assert.ok(done, "it never ends");
  return await watched;
}

/** A node that runs alone, with one value in its store. */
async function startAlone(): Promise<{ simulation: Simulation; machine: SimMachine; node: Node }> {
  const simulation = createSimulation({ seed: 1 });
  const machine = simulation.machine("ash");
  const node = await settle(simulation, startNode(machine.runtime));
  await settle(simulation, node.kv.put("before", "1"));
  return { simulation, machine, node };
}

test("a node stops although its disk does not answer, and loses nothing that it answered", async () => {
  const { simulation, machine, node } = await startAlone();
  machine.disk.slowSync([60_000, 60_000]);
  const put = assert.rejects(node.kv.put("unanswered", "1", { timeoutMs: 500 }));
  await simulation.run({ forMs: 10 });
  const fromMs = simulation.nowMs;
  await settle(simulation, node.stop());
  const tookMs = simulation.nowMs - fromMs;
  assert.ok(tookMs >= diskStallMs && tookMs < drainMs + diskStallMs + 300, `${tookMs} ms`);
  assert.equal(node.state, "stopped");
  await settle(simulation, put);

  // What the disk is busy with may still be written: nobody else gets the folder before.
  machine.disk.heal();
  await assert.rejects(settle(simulation, startNode(machine.runtime)), /in use by another/);
  await simulation.run({ forMs: 60_000 });
  const again = await settle(simulation, startNode(machine.runtime));
  assert.equal((await settle(simulation, again.kv.get("before")))?.text, "1");
  await settle(simulation, again.stop());
});

test("a disk that is only slow is waited for", async () => {
  const { simulation, machine, node } = await startAlone();
  machine.disk.slowSync([1500, 1500]);
  const put = node.kv.put("slow", "1");
  await simulation.run({ forMs: 10 });
  await settle(simulation, Promise.allSettled([put, node.stop()]));
  machine.disk.heal();
  const again = await settle(simulation, startNode(machine.runtime));
  assert.equal((await settle(simulation, again.kv.get("slow")))?.text, "1");
  await settle(simulation, again.stop());
});
