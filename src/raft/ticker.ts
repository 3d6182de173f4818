/**
 * The tick of all groups. While nothing is waited for, one timer stands for several ticks: a process
 * that only keeps up its heartbeats wakes no more often than they need. What happens before the timer
 * finds the ticks counted that have passed by then, so that no clock of the core is behind by more
 * than one. However late a timer comes, it counts no more ticks than it was set for.
 */
import type { Clock, Timer } from "../runtime/port.ts";
import type { Pace } from "./pace.ts";
import { TickWatch } from "./tick_watch.ts";

export interface TickerOwner {
  /** What the next timer stands for. */
  pace(): Pace;
  /** The tick of this number has passed. */
  passed(count: number): void;
  /** A timer is over: what is done now and then is due. */
  tick(): void;
}

export class Ticker {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #owner: TickerOwner;
  readonly #watch: TickWatch;
  #timer: Timer | undefined = undefined;
  /** Ticks of the present timer that are not counted yet, and of how many it was set for. */
  #due = 0;
  #isLong = false;
  /** A timer is being counted: the next one is set behind that, for whoever waits by then. */
  #isFiring = false;
  #isStopped = false;
  /** All ticks so far. */
  #count = 0;
  /** When the last one that is counted ended. */
  #countedMs = 0;

  constructor(clock: Clock, tickMs: number, owner: TickerOwner) {
    this.#clock = clock;
    this.#tickMs = tickMs;
    this.#owner = owner;
    this.#watch = new TickWatch(clock);
  }

  /** The present timer takes longer than counts for a lease. */
  get isLate(): boolean {
    return this.#watch.isLate;
  }

  /** The present timer stands for several ticks. */
  get isLong(): boolean {
    return this.#isLong;
  }

  begin(): void {
    this.#countedMs = this.#clock.monotonicMs();
    this.#watch.ticked();
    this.#arm();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  /** Something happens: counts what has passed. The last tick of a timer is the timer's own. */
  catchUp(): void {
    if (this.#due <= 1) return;
    const sinceMs = this.#clock.monotonicMs() - this.#countedMs;
    const passed = Math.min(this.#due - 1, Math.floor(sinceMs / this.#tickMs));
    if (passed <= 0) return;
    this.#due -= passed;
    this.#countedMs += passed * this.#tickMs;
    for (let tick = 0; tick < passed; tick++) this.#owner.passed(++this.#count);
  }

  /** Somebody may wait now, and counts on every tick. */
  hurry(): void {
    if (this.#isFiring || this.#isStopped || !this.#isLong) return;
    this.catchUp();
    this.#timer?.cancel();
    this.#isLong = false;
    this.#due = 1;
    const sinceMs = this.#clock.monotonicMs() - this.#countedMs;
    this.#watch.tickedBefore(sinceMs);
    this.#watch.nextMs = this.#tickMs;
    const leftMs = Math.max(0, this.#tickMs - sinceMs);
    this.#timer = this.#clock.timer(leftMs, fireTicker, this);
  }

  /** The timer's work; public only for the timer. */
  fire(): void {
    const due = this.#due;
    this.#due = 0;
    this.#isFiring = true;
    // How late it is concerns the ticks that are over.
    for (let tick = 0; tick < due; tick++) this.#owner.passed(++this.#count);
    this.#countedMs = this.#clock.monotonicMs();
    this.#watch.ticked();
    this.#owner.tick();
    this.#isFiring = false;
    if (!this.#isStopped) this.#arm();
  }

  #arm(): void {
    const { ms, ticks } = this.#owner.pace();
    this.#due = ticks;
    this.#isLong = ms > this.#tickMs;
    this.#watch.nextMs = ms;
    this.#timer = this.#clock.timer(ms, fireTicker, this);
  }
}

function fireTicker(ticker: Ticker): void {
  ticker.fire();
}
