/** One timer, for the earliest of all that is due. */
import type { Clock, Timer } from "../runtime/port.ts";

export class Wakeup {
  readonly #clock: Clock;
  readonly #wake: () => void;
  #timer: Timer | undefined = undefined;
  #atMs = Infinity;

  constructor(clock: Clock, wake: () => void) {
    this.#clock = clock;
    this.#wake = wake;
  }

  /** By the monotonic clock; Infinity: not at all. */
  at(atMs: number): void {
    if (atMs === this.#atMs) return;
    this.cancel();
    this.#atMs = atMs;
    if (atMs === Infinity) return;
    const delayMs = Math.max(0, atMs - this.#clock.monotonicMs());
    this.#timer = this.#clock.timer(delayMs, fire, this);
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#atMs = Infinity;
  }

  /** Public only for the timer. */
  fired(): void {
    this.cancel();
    this.#wake();
  }
}

function fire(wakeup: Wakeup): void {
  wakeup.fired();
}
