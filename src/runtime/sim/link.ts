/** One direction between two machines (or within one): latency, speed, and whether it is cut. */
import type { Prng } from "../../base/prng.ts";
import type { SimEvent } from "./event_queue.ts";
import type { Range } from "./faults.ts";
import type { Kernel } from "./kernel.ts";
import type { SimMachine } from "./machine.ts";
import { ticksPerMs } from "./time.ts";
import { drawTicks } from "./world.ts";

/** Told when a packet is through the narrow place: `arrival` is the time of its arrival. */
export type PacketLeft<A> = (argument: A, arrival: number) => void;

/** A packet that stands in the queue before the narrow place. */
interface Waiting {
  /** What of it did not pass yet. */
  bytes: number;
  /** It is not sent before this. */
  readonly notBefore: number;
  readonly left: PacketLeft<never>;
  readonly argument: unknown;
}

export class Link {
  readonly from: SimMachine;
  readonly to: SimMachine;
  /** One way, without jitter. */
  latencyTicks: number;
  /** Faults that keep it shut at present; packets vanish unless it is 0. */
  cuts = 0;
  readonly #kernel: Kernel;
  readonly #jitterMs: Range;
  readonly #random: Prng;
  /** Speeds that faults hold it down to at present; the lowest counts. */
  readonly #limits: { readonly bytesPerSecond: number }[] = [];
  /** 0 is without a limit. */
  #bytesPerSecond = 0;
  /** Empty unless the speed is limited; the first is passing. */
  readonly #waiting: Waiting[] = [];
  /** When the first began to pass, or will. */
  #passingFrom = 0;
  /** The end of that. */
  #passed: SimEvent | undefined = undefined;

  constructor(
    from: SimMachine,
    to: SimMachine,
    options: { kernel: Kernel; latencyTicks: number; jitterMs: Range; random: Prng },
  ) {
    this.from = from;
    this.to = to;
    this.#kernel = options.kernel;
    this.latencyTicks = options.latencyTicks;
    this.#jitterMs = options.jitterMs;
    this.#random = options.random;
  }

  /** Whether a packet gets through now. */
  get passable(): boolean {
    return this.cuts === 0 && this.to.powered;
  }

  /** Whether packets wait for those before them. */
  get slow(): boolean {
    return this.#bytesPerSecond > 0;
  }

  /** Bytes in the queue before the narrow place. */
  get waitingBytes(): number {
    let bytes = 0;
    for (const packet of this.#waiting) bytes += packet.bytes;
    return bytes;
  }

  /**
   * Sends a packet of this size, not before a time. `left` is called once it is past what limits
   * the speed, which is at once where nothing does.
   */
  send<A>(
    { bytes, notBefore }: { bytes: number; notBefore: number },
    left: PacketLeft<A>,
    argument: A,
  ): void {
    if (!this.slow) return left(argument, this.#arrival(notBefore));
    this.#waiting.push({ bytes, notBefore, left, argument });
    if (this.#waiting.length === 1) this.#pass();
  }

  /**
   * Holds the speed down until the answer is called. What stands in the queue goes on at whatever
   * speed there is then, as before a router's bottleneck; what is past it keeps its arrival.
   */
  limit(bytesPerSecond: number): () => void {
    const limit = { bytesPerSecond };
    this.#limits.push(limit);
    this.#changeSpeed();
    return () => {
      const at = this.#limits.indexOf(limit);
      if (at < 0) return;
      this.#limits.splice(at, 1);
      this.#changeSpeed();
    };
  }

  #changeSpeed(): void {
    const speeds = this.#limits.map(({ bytesPerSecond }) => bytesPerSecond);
    const speed = speeds.length === 0 ? 0 : Math.min(...speeds);
    if (speed === this.#bytesPerSecond) return;
    const [first] = this.#waiting;
    if (first !== undefined) {
      this.#kernel.cancel(this.#passed!);
      const ticks = Math.max(0, this.#kernel.now - this.#passingFrom);
      const passed = Math.floor(ticks * this.#bytesPerSecond / (1000 * ticksPerMs));
      first.bytes = Math.max(0, first.bytes - passed);
    }
    this.#bytesPerSecond = speed;
    if (speed > 0) {
      if (first !== undefined) this.#pass();
      return;
    }
    for (const { left, argument, notBefore } of this.#waiting.splice(0)) {
      left(argument as never, this.#arrival(notBefore));
    }
  }

  /** The first in the queue begins to pass, or goes on to. */
  #pass(): void {
    const first = this.#waiting[0];
    this.#passingFrom = Math.max(this.#kernel.now, first.notBefore);
    const ticks = Math.ceil(first.bytes * 1000 * ticksPerMs / this.#bytesPerSecond);
    this.#passed = this.#kernel.at(this.#passingFrom + ticks, firstPassed, this, null);
  }

  /** Called by the event of that. */
  passed(): boolean {
    const { left, argument } = this.#waiting.shift()!;
    left(argument as never, this.#arrival(this.#kernel.now));
    if (this.#waiting.length > 0) this.#pass();
    return false;
  }

  /** When a packet that leaves now, or later, is there. */
  #arrival(leaves: number): number {
    return Math.max(this.#kernel.now, leaves) + this.latencyTicks +
      drawTicks(this.#random, this.#jitterMs);
  }
}

function firstPassed(link: Link): boolean {
  return link.passed();
}
