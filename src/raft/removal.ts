/**
 * The end of a replica that was removed from its group. What it has may still be missing elsewhere,
 * so it goes on until all of that is committed, and a while longer.
 */
import { Role } from "./core/ready.ts";
import type { Status } from "./core/status.ts";

export class Removal {
  readonly #status: () => Status;
  #ticks = 0;

  constructor(status: () => Status) {
    this.#status = status;
  }

  /** A tick of a replica that was removed; true when nobody needs it any more. */
  tick(electionTicks: number): boolean {
    const { role, committed, lastIndex } = this.#status();
    const isNeeded = role === Role.leader || committed < lastIndex;
    this.#ticks = isNeeded ? 0 : this.#ticks + 1;
    return this.#ticks > 2 * electionTicks;
  }
}
