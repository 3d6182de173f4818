/** What every seed goes through, whatever it simulates. */
import type { Prng } from "../../../src/base/prng.ts";
import type { FaultOptions } from "../../../src/runtime/sim/faults.ts";
import { createSimulation, type Simulation } from "../../../src/runtime/sim/simulation.ts";
import { hardFaults } from "./faults.ts";
import { replayLine, type SubjectName } from "./subject.ts";
import { Verdict } from "./verdict.ts";

/** A seed is at least so long and so rough. */
export const operationsMin = 500;
const faultsMin = 8;
const faultKindsMin = 3;
/** How often a condition is looked at that is waited for. */
const stepMs = 20;
/** After everything was stopped nothing happens for so long. */
const silenceMs = 60_000;

export interface SeedOptions<Plan> {
  readonly name: SubjectName;
  readonly seed: number;
  readonly log?: (line: string) => void;
  readonly drawPlan: (random: Prng) => Plan;
}

export interface SeedParts<Plan> {
  readonly simulation: Simulation;
  readonly verdict: Verdict;
  readonly plan: Plan;
}

/** Runs a seed; rejects with the first broken invariant. */
export async function runSeed<Plan extends { readonly faults: FaultOptions }, Run>(
  { name, seed, log, drawPlan }: SeedOptions<Plan>,
  run: (parts: SeedParts<Plan>) => Promise<Run>,
): Promise<Run> {
  // The plan is drawn by a generator of the same seed before there is a simulation to ask.
  const plan = drawPlan(createSimulation({ seed }).random("plan"));
  const simulation = createSimulation({ seed, log, ...plan.faults });
  const replay = replayLine(name, seed);
  const verdict = new Verdict(simulation, replay);
  try {
    const done = await run({ simulation, verdict, plan });
    verdict.confirm();
    return done;
  } catch (error) {
    if (verdict.violation !== undefined) throw verdict.violation;
    const text = error instanceof Error ? error.message : String(error);
    throw new Error(`the run failed: ${text}\nreplay: ${replay}`, { cause: error });
  }
}

/** Who is waited for, and says why it takes so long. */
export interface Observed {
  readonly simulation: Simulation;
  readonly verdict: Verdict;
  describe(): string;
}

/** Runs until a condition holds; that it does in time is an invariant. */
export async function until(
  observed: Observed,
  invariant: string,
  forMs: number,
  holds: () => boolean,
): Promise<void> {
  const { simulation, verdict } = observed;
  const endMs = simulation.nowMs + forMs;
  while (!holds()) {
    if (simulation.nowMs >= endMs) {
      verdict.violate(invariant, `after ${forMs} ms\n${observed.describe()}`);
    }
    await simulation.run({ forMs: stepMs });
  }
}

/** Everything was stopped: whoever still does something has left a timer or a socket behind. */
export async function listenToSilence(
  { simulation, verdict }: Omit<Observed, "describe">,
  settleMs: number,
): Promise<void> {
  await simulation.run({ forMs: settleMs });
  const { hash } = simulation;
  await simulation.run({ forMs: silenceMs });
  verdict.check(simulation.hash === hash, "a stopped node is silent", "something still runs");
}

/** That a seed was worth its time; answers its faults. */
export function checkEffort(
  { simulation, verdict }: Omit<Observed, "describe">,
  operations: number,
): number {
  const counts = hardFaults.map((kind) => simulation.coverage.count(kind));
  const total = counts.reduce((sum, count) => sum + count, 0);
  const kinds = counts.filter((count) => count > 0).length;
  verdict.check(operations >= operationsMin, "a seed is long enough", `${operations} operations`);
  verdict.check(
    total >= faultsMin && kinds >= faultKindsMin,
    "a seed is rough enough",
    `${total} faults of ${kinds} kinds`,
  );
  return total;
}
