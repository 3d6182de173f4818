/** A world of three nodes without any fault, for runs whose circumstances no seed decides. */
import { createSimulation, type Simulation } from "../../../src/runtime/sim/simulation.ts";
import { Verdict } from "../seeds/verdict.ts";
import { drawPlan, type RunPlan, type WorkPlan } from "./plan.ts";
import { RaftWorld } from "./world.ts";

/** The command of those that are tests. */
export const testCommand = "node_modules/.bin/bun test test/simulation/raft.test.ts";
const diskBytes = 1 << 30;

/** What a small world has otherwise than as the product has it. */
export interface SmallWorldOptions extends Partial<Pick<RunPlan, "founders" | "raft">> {
  readonly simulation: Simulation;
  /** The command that runs it again. */
  readonly replay: string;
  readonly work: Partial<WorkPlan>;
}

/** Clients are drawn as any seed does it, where nothing is said of them. */
export function smallWorld({ simulation, replay, work, ...other }: SmallWorldOptions): RaftWorld {
  const drawn = drawPlan(createSimulation({ seed: 1 }).random("plan"));
  const plan: RunPlan = {
    ...drawn,
    founders: ["ash", "birch", "cedar"],
    spares: [],
    raft: {},
    kv: {},
    diskBytes,
    disk: { ...drawn.disk, crashInWriteChance: 0 },
    ...other,
    work: { ...drawn.work, ...work },
  };
  return new RaftWorld(simulation, new Verdict(simulation, replay), plan);
}
