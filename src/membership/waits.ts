/** Those who wait until something is so, which is looked at whenever something has happened. */
import type { Clock } from "../runtime/port.ts";

export class Waits {
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Something happened. */
  look(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Resolves once it is so, or after so long: which of these it was is for the caller to see. */
  until(isSo: () => boolean, timeoutMs: number): Promise<void> {
    if (isSo()) return Promise.resolve();
    return new Promise((resolve) => {
      const untilMs = this.#clock.monotonicMs() + timeoutMs;
      const wake = (): void => {
        if (!isSo() && this.#clock.monotonicMs() < untilMs) return;
        this.#waiting.delete(wake);
        timer.cancel();
        resolve();
      };
      const timer = this.#clock.timer(timeoutMs, wake, undefined);
      this.#waiting.add(wake);
    });
  }
}
