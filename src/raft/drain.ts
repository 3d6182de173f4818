/**
 * How a node leaves while the others go on: nothing new is taken, what is under way ends with its
 * result, and every group that is led here gets another leader.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Clock } from "../runtime/port.ts";
import type { SpaceHost } from "./low_space.ts";
import { handOver } from "./successor.ts";

/** How long leaders look for successors. */
const handOverMs = 2_000;

export interface DrainHost extends SpaceHost {
  readonly clock: Clock;
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

  /**
   * Resolves when nothing is under way and nothing is led here, or when the time is over. With none
   * at all nothing is handed over either: the others notice that this node is gone.
   */
  async run(limitMs: number): Promise<void> {
    this.#begun = true;
    if (limitMs <= 0) return;
    const { clock } = this.#host;
    const untilMs = clock.monotonicMs() + limitMs;
    // What cannot be committed now must not take the time that a successor needs.
    await this.#settled(limitMs / 2);
    await handOver(this.#host, clock, Math.min(handOverMs, untilMs - clock.monotonicMs()));
    // What waited for the hand-over is asked of the next leader.
    await this.#settled(untilMs - clock.monotonicMs());
  }

  async #settled(limitMs: number): Promise<void> {
    await Promise.all(this.#host.groups.map((group) => group.when(() => group.isIdle, limitMs)));
  }
}
