/** What a broken promise looks like: the invariant's name, and how to see it again. */
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
  readonly #replay: string;
  violation: Violation | undefined = undefined;

  /** `replay` is the command that shows the run again. */
  constructor(simulation: Simulation, replay: string) {
    this.simulation = simulation;
    this.#replay = replay;
  }

  /** Callbacks of the seam must not throw, so the run ends by an event of its own. */
  violate(invariant: string, text: string): void {
    if (this.violation !== undefined) return;
    const { simulation } = this;
    const when = `at ${simulation.nowMs.toFixed(3)} ms: ${text}`;
    const violation = this.violation = new Violation(invariant, when, this.#replay);
    simulation.at(simulation.nowMs, () => {
      throw violation;
    });
  }

  check(holds: boolean, invariant: string, text: string | (() => string)): void {
    if (!holds) this.violate(invariant, typeof text === "string" ? text : text());
  }

  /** For the end of a run: what was found when no event came any more ends it, too. */
  confirm(): void {
    if (this.violation !== undefined) throw this.violation;
  }
}
