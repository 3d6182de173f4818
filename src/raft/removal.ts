/**
 * The end of a replica that was removed from its group. What it has may still be missing elsewhere,
 * so it goes on until all of that is committed, and a while longer.
 *
 * One that was away learns it from the others. A single one does not count if there are more: it may
 * have been made the only voter by mistake, while the rest is well (repair.ts).
 */
import { Role } from "./core/ready.ts";
import { majorityOf } from "./core/quorum.ts";
import type { Status } from "./core/status.ts";

export class Removal {
  readonly #status: () => Status;
  readonly #tellers = new Set<number>();
  #ticks = 0;

  constructor(status: () => Status) {
    this.#status = status;
  }

  /** Another replica says that this one was removed; true when enough of them have. */
  told(by: number): boolean {
    const { id, configuration } = this.#status();
    const { voters, votersOutgoing } = configuration;
    const others = new Set([...voters, ...votersOutgoing].filter((voter) => voter !== id));
    if (others.has(by)) this.#tellers.add(by);
    const count = [...this.#tellers].filter((teller) => others.has(teller)).length;
    return count > 0 && count >= majorityOf(others.size);
  }

  /** A tick of a replica that was removed; true when nobody needs it any more. */
  tick(electionTicks: number): boolean {
    const { role, committed, lastIndex } = this.#status();
    const isNeeded = role === Role.leader || committed < lastIndex;
    this.#ticks = isNeeded ? 0 : this.#ticks + 1;
    return this.#ticks > 2 * electionTicks;
  }
}
