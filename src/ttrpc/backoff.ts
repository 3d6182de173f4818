/**
 * Waiting times between dials: doubling with jitter, so that a fleet that lost its server does not
 * come back in step.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Random } from "../runtime/port.ts";

export interface BackoffOptions {
  readonly firstMs: number;
  readonly mostMs: number;
}

export const backoffDefault: BackoffOptions = { firstMs: 100, mostMs: 10_000 };

export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: Random;
  #attempts = 0;

  constructor(options: BackoffOptions, random: Random) {
    const { firstMs, mostMs } = options;
    // With a wait of zero a peer that is away would be dialled without a pause.
    if (!(firstMs > 0 && firstMs <= mostMs && mostMs < Infinity)) {
      throw new CoveyError(
        Code.invalidArgument,
        `backoff: found firstMs ${firstMs} and mostMs ${mostMs}; allowed: finite numbers above ` +
          "0, firstMs not above mostMs",
      );
    }
    this.#options = options;
    this.#random = random;
  }

  /** The longest wait. */
  get mostMs(): number {
    return this.#options.mostMs;
  }

  /** After a success the next failure waits the first time again. */
  reset(): void {
    this.#attempts = 0;
  }

  /** Half to the whole of the doubled time: never zero, never in step. */
  nextMs(): number {
    let waitMs = this.#options.firstMs;
    for (let at = 0; at < this.#attempts && waitMs < this.#options.mostMs; at++) waitMs *= 2;
    if (waitMs > this.#options.mostMs) waitMs = this.#options.mostMs;
    this.#attempts++;
    const bytes = new Uint8Array(2);
    this.#random.fill(bytes);
    const fraction = (bytes[0] * 256 + bytes[1]) / 65536;
    return waitMs / 2 + waitMs / 2 * fraction;
  }
}
