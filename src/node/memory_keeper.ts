/**
 * Keeps the heap near to what lives. JavaScriptCore lets it grow to twice that before it collects,
 * and pages that were once in use come back late or never, which a small device feels: so it is
 * asked to collect while there is traffic, a few times a second, and for a moment afterwards.
 */
import type { Clock, Host, Timer } from "../runtime/port.ts";

const lookMs = 300;
/** Traffic since the last look that is worth a collection. */
const busyBytes = 256 << 10;
/** Collections after the traffic has ended. */
const afterMax = 3;

export interface MemoryKeeperParts {
  readonly clock: Clock;
  readonly host: Pick<Host, "collectGarbage">;
  /** Bytes that went in and out since the start. */
  traffic(): number;
}

export class MemoryKeeper {
  readonly #parts: MemoryKeeperParts;
  #timer: Timer | undefined = undefined;
  #seen = 0;
  #after = 0;

  constructor(parts: MemoryKeeperParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#timer ??= this.#parts.clock.timer(lookMs, lookOf, this);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** The timer's work; public only for the timer. */
  look(): void {
    const traffic = this.#parts.traffic();
    const isBusy = traffic - this.#seen >= busyBytes;
    this.#seen = traffic;
    if (isBusy) this.#after = afterMax;
    else if (this.#after > 0) this.#after--;
    if (isBusy || this.#after > 0) this.#parts.host.collectGarbage();
    this.#timer = this.#parts.clock.timer(lookMs, lookOf, this);
  }
}

function lookOf(keeper: MemoryKeeper): void {
  keeper.look();
}
