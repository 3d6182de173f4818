/** Time and randomness from the engine. */
import type { Clock, Random, Timer } from "../port.ts";

/** setTimeout holds its delay in 31 bits and fires at once above; longer delays go in steps. */
const stepMsMax = 2 ** 31 - 1;

class DenoTimer<A> implements Timer {
  readonly #dueMs: number;
  readonly #argument: A;
  /** Undefined once it ran or was cancelled. */
  #callback: ((argument: A) => void) | undefined;
  #handle: ReturnType<typeof setTimeout>;

  constructor(delayMs: number, callback: (argument: A) => void, argument: A) {
    this.#dueMs = performance.now() + delayMs;
    this.#callback = callback;
    this.#argument = argument;
    this.#handle = this.#arm(delayMs);
  }

  #arm(delayMs: number): ReturnType<typeof setTimeout> {
    const stepMs = Math.min(Math.max(Math.ceil(delayMs), 0), stepMsMax);
    return setTimeout(DenoTimer.#tick<A>, stepMs, this);
  }

  static #tick<A>(timer: DenoTimer<A>): void {
    const callback = timer.#callback;
    if (callback === undefined) return;
    // The engine may be a fraction early, and a long delay is not over with one step.
    const restMs = timer.#dueMs - performance.now();
    if (restMs > 0) {
      timer.#handle = timer.#arm(restMs);
      return;
    }
    timer.#callback = undefined;
    callback(timer.#argument);
  }

  cancel(): void {
    if (this.#callback === undefined) return;
    this.#callback = undefined;
    clearTimeout(this.#handle);
  }
}

/** The clocks and timers of this process. */
export function createClock(): Clock {
  return {
    monotonicMs: () => performance.now(),
    wallMs: () => Date.now(),
    timer: (delayMs, callback, argument) => new DenoTimer(delayMs, callback, argument),
  };
}

/** getRandomValues gives at most this many bytes a call. */
const randomBytesMax = 65_536;

/** The system's generator. */
export function createRandom(): Random {
  return {
    fill(target) {
      for (let at = 0; at < target.length; at += randomBytesMax) {
        // The port's arrays never lie on shared memory, which is all that the engine's type asks.
        const part = target.subarray(at, at + randomBytesMax) as Uint8Array<ArrayBuffer>;
        crypto.getRandomValues(part);
      }
    },
  };
}
