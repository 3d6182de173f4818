/** How fast the simulator is: three nodes, ten operations a second, no faults, nobody looking. */
import { createSimulation } from "../../../src/runtime/sim/simulation.ts";
import { startWorkers } from "./client.ts";
import { startClientMachine } from "./client_machine.ts";
import { smallWorld } from "./small.ts";

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
  const world = smallWorld({
    simulation,
    replay: "node_modules/.bin/bun scripts/simulate_raft.ts --speed",
    work: {
      clients,
      gapMs: clients * 1000 / operationsPerSecond,
      valueBytes: [256, 256],
      timeoutMs: [2000, 2000],
      sessionChance: 0,
      libraryChance: 0,
    },
  });
  for (const name of world.plan.founders) world.fleet.start(name);
  startClientMachine(world, startWorkers);
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
