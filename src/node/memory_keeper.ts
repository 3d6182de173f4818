/**
 * Keeps the heap near to what lives. JavaScriptCore lets it grow to several times that before it
 * collects, and pages that were once in use come back late or never, which a small device feels: so
 * it is asked to collect by how much went through the sockets, which is what garbage is made of, and
 * once for everything when that has ended. At a low rate that is rare, so that it shows in no p99.
 */
import type { Clock, Host, Timer } from "../runtime/port.ts";

const lookMs = 300;
/** While there is traffic. */
const busyLookMs = 100;
/** Traffic of one look for the next one to come soon. */
const busyBytes = 256 << 10;
/** Traffic since the last collection that is worth another one; garbage is some times as much. */
const collectBytes = 4 << 20;
/** So many looks with less traffic than this, and everything is collected. */
const quietLooks = 3;
const quietBytes = 32 << 10;

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
  #collected = 0;
  /** Quiet looks until everything is collected; 0 when there is nothing to collect. */
  #quiet = 0;

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
    const newBytes = traffic - this.#seen;
    this.#seen = traffic;
    if (traffic - this.#collected >= collectBytes) {
      this.#collected = traffic;
      this.#quiet = quietLooks;
      this.#parts.host.collectGarbage();
    } else if (newBytes >= quietBytes) {
      if (this.#quiet > 0) this.#quiet = quietLooks;
    } else if (this.#quiet > 0 && --this.#quiet === 0) {
      this.#parts.host.collectGarbage(true);
    }
    const nextMs = newBytes >= busyBytes ? busyLookMs : lookMs;
    this.#timer = this.#parts.clock.timer(nextMs, lookOf, this);
  }
}

function lookOf(keeper: MemoryKeeper): void {
  keeper.look();
}
