/** What a broken promise looks like: the invariant's name, the seed, and how to see it again. */
import type { Simulation } from "../../../src/runtime/sim/simulation.ts";

export class Violation extends Error {
  override name = "Violation";
  readonly invariant: string;

  constructor(invariant: string, text: string, replay: string) {
    super(`${invariant}: ${text}\nreplay: ${replay}`);
    this.invariant = invariant;
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
    const violation = this.violation = new Violation(
      invariant,
      `at ${simulation.nowMs.toFixed(3)} ms: ${text}`,
      replayLine(simulation.seed),
    );
    simulation.at(simulation.nowMs, () => {
      throw violation;
    });
  }

  check(holds: boolean, invariant: string, text: string | (() => string)): void {
    if (!holds) this.violate(invariant, typeof text === "string" ? text : text());
  }
}

export function replayLine(seed: number): string {
  return `node_modules/.bin/bun scripts/simulate_raft.ts --seed ${seed}`;
}
