/** How fast the simulator is: three nodes, ten operations a second, no faults, nobody looking. */
import { createSimulation } from "../../../src/runtime/sim/simulation.ts";
import { Connections, KvWorker } from "./client.ts";
import { drawPlan, type RunPlan } from "./plan.ts";
import { Verdict } from "./verdict.ts";
import { Workload } from "./workload.ts";
import { RaftWorld } from "./world.ts";

const clients = 5;
const operationsPerSecond = 10;
const warmUpMs = 10_000;

export interface Speed {
  readonly virtualMs: number;
  readonly realMs: number;
  readonly events: number;
  readonly operations: number;
}

export async function measureSpeed(virtualMs: number, now: () => number): Promise<Speed> {
  const simulation = createSimulation({ seed: 1 });
  const drawn = drawPlan(simulation.random("plan"));
  const plan: RunPlan = {
    ...drawn,
    founders: ["ash", "birch", "cedar"],
    spares: [],
    // As the product has them.
    raft: {},
    kv: {},
    diskBytes: 1 << 30,
    work: {
      ...drawn.work,
      clients,
      gapMs: clients * 1000 / operationsPerSecond,
      valueBytes: [256, 256],
      timeoutMs: [2000, 2000],
      sessionChance: 0,
      libraryChance: 0,
    },
  };
  const world = new RaftWorld(simulation, new Verdict(simulation), plan);
  for (const name of plan.founders) world.fleet.start(name);
  const workload = new Workload(simulation.random("workload"), plan.work);
  simulation.machine("clients", {
    boot: async (runtime) => {
      const connections = new Connections(runtime);
      for (let at = 0; at < clients; at++) {
        const name = `client ${at}`;
        void new KvWorker({ world, runtime, connections, workload, name }).run();
      }
      await new Promise<void>(() => {});
    },
  });
  await simulation.run({ untilMs: warmUpMs });
  const events = simulation.events;
  const { operations } = world.history;
  const before = operations.length;
  const startedMs = now();
  await simulation.run({ forMs: virtualMs });
  return {
    virtualMs,
    realMs: now() - startedMs,
    events: simulation.events - events,
    operations: operations.length - before,
  };
}
