/** One direction between two machines (or within one): latency, speed, and whether it is cut. */
import type { Prng } from "../../base/prng.ts";
import type { Range } from "./faults.ts";
import type { SimMachine } from "./machine.ts";
import { ticksPerMs } from "./time.ts";
import { drawTicks } from "./world.ts";

export class Link {
  readonly from: SimMachine;
  readonly to: SimMachine;
  /** One way, without jitter. */
  latencyTicks: number;
  /** Faults that keep it shut at present; packets vanish unless it is 0. */
  cuts = 0;
  /** 0 is without a limit. */
  bytesPerSecond = 0;
  readonly #jitterMs: Range;
  readonly #random: Prng;
  /** When the bytes that were handed over so far have left, where speed has a limit. */
  #busyUntil = 0;

  constructor(
    from: SimMachine,
    to: SimMachine,
    options: { latencyTicks: number; jitterMs: Range; random: Prng },
  ) {
    this.from = from;
    this.to = to;
    this.latencyTicks = options.latencyTicks;
    this.#jitterMs = options.jitterMs;
    this.#random = options.random;
  }

  /** Whether a packet gets through now. */
  get passable(): boolean {
    return this.cuts === 0 && this.to.powered;
  }

  /** When a packet of this size that is sent now arrives. */
  arrival(now: number, bytes: number): number {
    let leaves = now;
    if (this.bytesPerSecond > 0) {
      leaves = Math.max(now, this.#busyUntil) +
        Math.ceil(bytes * 1000 * ticksPerMs / this.bytesPerSecond);
      this.#busyUntil = leaves;
    }
    return leaves + this.latencyTicks + drawTicks(this.#random, this.#jitterMs);
  }

  /** A new speed does not wait for what the old one still had to send. */
  setSpeed(bytesPerSecond: number): void {
    this.bytesPerSecond = bytesPerSecond;
    this.#busyUntil = 0;
  }
}
