/**
 * A machine's clocks. Timers follow the machine's own, possibly drifting, clock; the wall clock is
 * the same one with an offset that jumps when a test, or the nemesis, says so.
 */
import { assert } from "../../base/assert.ts";
import type { Clock, Timer } from "../port.ts";
import type { SimEvent } from "./event_queue.ts";
import type { SimProcess } from "./process.ts";
import { msFromTicks, ticksFromMs } from "./time.ts";
import { TraceKind } from "./trace.ts";
import type { World } from "./world.ts";

/** Wall time at the start of every simulation: 2024-01-01T00:00:00Z. */
export const wallStartMs = 1_704_067_200_000;

/** The hardware clock of one machine: it goes on while the machine is down. */
export class MachineClock {
  readonly #world: World;
  /** Local ticks per true tick. */
  #rate = 1;
  /** True and local time of the last change of the rate. */
  #trueBase = 0;
  #localBase = 0;
  /** Local time at the last boot, where the monotonic clock starts at 0. */
  #bootedAt = 0;
  /** Wall clock minus the fixed start plus local time, in milliseconds. */
  wallOffsetMs = 0;

  constructor(world: World) {
    this.#world = world;
    this.#trueBase = world.kernel.now;
    this.#localBase = world.kernel.now;
    this.#bootedAt = world.kernel.now;
  }

  boot(): void {
    this.#bootedAt = this.#local(this.#world.kernel.now);
  }

  monotonicMs(): number {
    return msFromTicks(this.#local(this.#world.kernel.now) - this.#bootedAt);
  }

  wallMs(): number {
    const local = this.#local(this.#world.kernel.now);
    return wallStartMs + Math.floor(msFromTicks(local) + this.wallOffsetMs);
  }

  /** True time at which `delayMs` of this clock have passed. */
  ticksAfter(delayMs: number): number {
    const now = this.#world.kernel.now;
    return this.#trueAt(this.#local(now) + ticksFromMs(delayMs));
  }

  /** The clock runs faster or slower from now on; timers that wait keep their local time. */
  setDrift(partsPerMillion: number): void {
    const { kernel } = this.#world;
    const before = (event: SimEvent): number | undefined =>
      event.argument instanceof SimTimer && event.argument.clock === this
        ? this.#local(event.at)
        : undefined;
    // Local times first, under the old rate, then true times under the new one.
    const locals = new Map<SimEvent, number>();
    kernel.queue.retime((event) => {
      const local = before(event);
      if (local !== undefined) locals.set(event, local);
      return undefined;
    });
    this.#localBase = this.#local(kernel.now);
    this.#trueBase = kernel.now;
    this.#rate = 1 + partsPerMillion / 1_000_000;
    assert(this.#rate > 0, "a clock runs forward");
    kernel.queue.retime((event) => {
      const local = locals.get(event);
      return local === undefined ? undefined : Math.max(kernel.now, this.#trueAt(local));
    });
  }

  #local(trueTicks: number): number {
    if (this.#rate === 1) return this.#localBase + trueTicks - this.#trueBase;
    return this.#localBase + Math.floor((trueTicks - this.#trueBase) * this.#rate);
  }

  /** The first true tick at which the local clock shows at least this. */
  #trueAt(localTicks: number): number {
    const passed = localTicks - this.#localBase;
    if (this.#rate === 1) return this.#trueBase + passed;
    let at = this.#trueBase + Math.floor(passed / this.#rate);
    while (this.#local(at) < localTicks) at++;
    return at;
  }
}

export class SimTimer implements Timer {
  readonly clock: MachineClock;
  readonly id: number;
  readonly #process: SimProcess;
  readonly #world: World;
  readonly #callback: (argument: never) => void;
  readonly #argument: unknown;
  #event: SimEvent | null;

  constructor(world: World, process: SimProcess, options: {
    delayMs: number;
    callback: (argument: never) => void;
    argument: unknown;
  }) {
    this.#world = world;
    this.#process = process;
    this.clock = process.machine.clock;
    this.id = world.nextId++;
    this.#callback = options.callback;
    this.#argument = options.argument;
    const { index } = process.machine;
    const ticks = ticksFromMs(options.delayMs);
    world.trace.record(TraceKind.timerSet, index, this.id, ticks);
    const at = this.clock.ticksAfter(options.delayMs);
    this.#event = process.dead ? null : world.kernel.at(at, fire, this, process);
  }

  cancel(): void {
    if (this.#event === null) return;
    this.#world.kernel.cancel(this.#event);
    this.#event = null;
    this.#world.trace.record(TraceKind.timerCancelled, this.#process.machine.index, this.id);
  }

  /** Called by the timer's event. */
  fire(): boolean {
    this.#event = null;
    this.#world.trace.record(TraceKind.timerFired, this.#process.machine.index, this.id);
    this.#callback(this.#argument as never);
    return true;
  }
}

function fire(timer: SimTimer): boolean {
  return timer.fire();
}

/** The `Clock` of one process. */
export class SimClock implements Clock {
  readonly #world: World;
  readonly #process: SimProcess;

  constructor(world: World, process: SimProcess) {
    this.#world = world;
    this.#process = process;
  }

  monotonicMs(): number {
    return this.#process.machine.clock.monotonicMs();
  }

  wallMs(): number {
    return this.#process.machine.clock.wallMs();
  }

  timer<A>(delayMs: number, callback: (argument: A) => void, argument: A): Timer {
    return new SimTimer(this.#world, this.#process, {
      delayMs,
      callback: callback as (argument: never) => void,
      argument,
    });
  }
}
