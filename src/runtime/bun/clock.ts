/** Time and randomness from the engine. */
import type { Clock, Random, Timer } from "../port.ts";

/** setTimeout holds its delay in 31 bits and fires at once above; longer delays go in steps. */
const stepMsMax = 2 ** 31 - 1;

class BunTimer<A> implements Timer {
  #handle: ReturnType<typeof setTimeout> | undefined;
  #dueMs: number;
  #callback: ((argument: A) => void) | undefined;
  #argument: A;

  constructor(delayMs: number, callback: (argument: A) => void, argument: A) {
    this.#dueMs = performance.now() + delayMs;
    this.#callback = callback;
    this.#argument = argument;
    this.#arm(delayMs);
  }

  #arm(delayMs: number): void {
    this.#handle = setTimeout(
      BunTimer.#tick,
      Math.min(Math.max(Math.ceil(delayMs), 0), stepMsMax),
      this,
    );
  }

  static #tick<A>(timer: BunTimer<A>): void {
    const callback = timer.#callback;
    if (callback === undefined) return;
    // The engine's timer may be a fraction early, and a long delay is not over with one step.
    const restMs = timer.#dueMs - performance.now();
    if (restMs > 0) return timer.#arm(restMs);
    timer.#callback = undefined;
    timer.#handle = undefined;
    callback(timer.#argument);
  }

  cancel(): void {
    if (this.#callback === undefined) return;
    this.#callback = undefined;
    clearTimeout(this.#handle);
    this.#handle = undefined;
  }
}

/** The clocks and timers of this process. */
export function createClock(): Clock {
  return {
    monotonicMs: () => performance.now(),
    wallMs: () => Date.now(),
    timer: (delayMs, callback, argument) => new BunTimer(delayMs, callback, argument),
  };
}

/** getRandomValues gives at most this many bytes a call. */
const randomBytesMax = 65536;

/** The system's generator. */
export function createRandom(): Random {
  return {
    fill(target) {
      for (let at = 0; at < target.length; at += randomBytesMax) {
        // The port's arrays never lie on shared memory, which is all that the engine's type asks.
        crypto.getRandomValues(
          target.subarray(at, at + randomBytesMax) as Uint8Array<ArrayBuffer>,
        );
      }
    },
  };
}
