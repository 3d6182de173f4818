/** What a broken promise looks like: the invariant's name, the seed, and how to see it again. */
import type { Simulation } from "../../../src/runtime/sim/simulation.ts";

export class Violation extends Error {
  override name = "Violation";
  readonly invariant: string;
  readonly seed: number;

  constructor(invariant: string, seed: number, text: string) {
    super(
      `${invariant}: ${text}\nreplay: node_modules/.bin/bun scripts/simulate_rpc.ts --seed ${seed}`,
    );
    this.invariant = invariant;
    this.seed = seed;
  }
}

/** Holds the first violation of a run and ends the run with it. */
export class Verdict {
  readonly simulation: Simulation;
  violation: Violation | undefined = undefined;

  constructor(simulation: Simulation) {
    this.simulation = simulation;
  }

  /** Callbacks of the seam must not throw, so the run ends by an event of its own. */
  violate(invariant: string, text: string): void {
    if (this.violation !== undefined) return;
    const { simulation } = this;
    const when = `at ${simulation.nowMs.toFixed(3)} ms: ${text}`;
    const violation = this.violation = new Violation(invariant, simulation.seed, when);
    simulation.at(simulation.nowMs, () => {
      throw violation;
    });
  }

  check(holds: boolean, invariant: string, text: string | (() => string)): void {
    if (!holds) this.violate(invariant, typeof text === "string" ? text : text());
  }
}
