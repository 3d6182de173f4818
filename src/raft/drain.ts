/**
 * How a node leaves while the others go on: nothing new is taken, what is under way ends with its
 * result, and every group that is led here gets another leader.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Clock } from "../runtime/port.ts";
import type { GroupOfAny } from "./group_types.ts";
import { handOver } from "./successor.ts";

/** How often it is looked whether anything is under way yet. */
const lookMs = 5;
/** How long leaders look for successors. */
const handOverMs = 2_000;

export interface DrainHost {
  readonly clock: Clock;
  readonly groups: readonly GroupOfAny[];
}

export class Drain {
  readonly #host: DrainHost;
  #begun = false;

  constructor(host: DrainHost) {
    this.#host = host;
  }

  /** Why a new request is not taken; undefined while it is. */
  get refusal(): CoveyError | undefined {
    return this.#begun
      ? new CoveyError(Code.unavailable, "the node is shutting down: ask another one", {
        sent: false,
      })
      : undefined;
  }

  /** Resolves when nothing is under way and nothing is led here, or when the time is over. */
  async run(limitMs: number): Promise<void> {
    const { clock, groups } = this.#host;
    this.#begun = true;
    const fromMs = clock.monotonicMs();
    const untilMs = fromMs + limitMs;
    // What cannot be committed now must not take the time that a successor needs.
    await this.#settled(fromMs + limitMs / 2);
    await handOver(groups, clock, Math.min(handOverMs, untilMs - clock.monotonicMs()));
    // What waited for the hand-over is asked of the next leader.
    await this.#settled(untilMs);
  }

  async #settled(untilMs: number): Promise<void> {
    const { clock } = this.#host;
    while (this.#isBusy && clock.monotonicMs() < untilMs) {
      await new Promise<void>((resolve) => clock.timer(lookMs, () => resolve(), undefined));
    }
  }

  get #isBusy(): boolean {
    return this.#host.groups.some(({ stopped, pending }) =>
      stopped === undefined && pending.proposals + pending.reads > 0
    );
  }
}
