/**
 * One timer for everything that is under way. A flight says when it wants to be looked at; what is
 * over by then costs nothing more, so that the usual call, which ends long before, arms no timer.
 */
import type { CoveyError } from "../base/error.ts";
import type { Clock, Timer } from "../runtime/port.ts";

export interface Timed {
  /** On the monotonic clock; Infinity for never. Only its own `due` may raise it. */
  readonly dueMs: number;
  /** Its place in the alarm's list, which is the alarm's; -1 for none. */
  alarmIndex: number;
  /** Its time has come. */
  due(nowMs: number): void;
  /** Ends it. */
  stop(error: CoveyError): void;
}

export class Alarm {
  readonly #clock: Clock;
  readonly #watched: Timed[] = [];
  #timer: Timer | undefined = undefined;
  #atMs = Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  watch(timed: Timed): void {
    timed.alarmIndex = this.#watched.push(timed) - 1;
    this.notify(timed.dueMs);
  }

  /** All that is under way now. */
  watched(): Timed[] {
    return [...this.#watched];
  }

  forget(timed: Timed): void {
    const index = timed.alarmIndex;
    if (index < 0) return;
    timed.alarmIndex = -1;
    const last = this.#watched.pop()!;
    if (last === timed) return;
    this.#watched[index] = last;
    last.alarmIndex = index;
  }

  /** Something that is watched is due at this time, which may be earlier than it was. */
  notify(dueMs: number): void {
    if (dueMs >= this.#atMs) return;
    this.#timer?.cancel();
    this.#atMs = dueMs;
    // A timer may come a fraction early by the monotonic clock.
    const waitMs = Math.max(1, Math.ceil(dueMs - this.#clock.monotonicMs()));
    this.#timer = this.#clock.timer(waitMs, ringAlarm, this);
  }

  /** The timer's work; public only for the timer. */
  ring(): void {
    this.#timer = undefined;
    this.#atMs = Infinity;
    const nowMs = this.#clock.monotonicMs();
    let nextMs = Infinity;
    for (const timed of [...this.#watched]) {
      // What is due may end others.
      if (timed.dueMs <= nowMs && timed.alarmIndex >= 0) timed.due(nowMs);
      if (timed.alarmIndex >= 0 && timed.dueMs < nextMs) nextMs = timed.dueMs;
    }
    this.notify(nextMs);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const timed of this.#watched) timed.alarmIndex = -1;
    this.#watched.length = 0;
  }
}

function ringAlarm(alarm: Alarm): void {
  alarm.ring();
}
