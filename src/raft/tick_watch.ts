/**
 * Notices ticks that take too long. Leases are counted in ticks, and a process that was suspended, or
 * whose loop is held up, counts too few. The monotonic clock stands still while a machine is
 * suspended; the wall clock does not.
 */
import type { Clock } from "../runtime/port.ts";
import { tickLateness } from "./options.ts";

export class TickWatch {
  readonly #clock: Clock;
  #tickedMs = 0;
  #tickedWallMs = 0;
  /** When the next tick is due after that one. */
  nextMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ticked(): void {
    this.tickedBefore(0);
  }

  /** The last tick was so long ago. */
  tickedBefore(ms: number): void {
    this.#tickedMs = this.#clock.monotonicMs() - ms;
    this.#tickedWallMs = this.#clock.wallMs() - ms;
  }

  /** The present tick has taken longer than counts for a lease. */
  get isLate(): boolean {
    const tookMs = this.#clock.monotonicMs() - this.#tickedMs;
    const wallMs = this.#clock.wallMs() - this.#tickedWallMs;
    return Math.max(tookMs, wallMs) > this.nextMs * tickLateness;
  }
}
