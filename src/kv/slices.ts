/**
 * Work that is too long to be done at once: a few milliseconds of it at a time, in turn, and
 * everybody else has the thread in between. Without work there is no timer.
 */
import type { Clock, Timer } from "../runtime/port.ts";

export interface SlicedTask {
  /** Does a little; true when more is left. Must not throw. */
  slice(): boolean;
}

/** How long one turn of all tasks together may hold the thread. */
export const sliceMs = 3;

export class Slices {
  readonly #clock: Clock;
  #tasks: SlicedTask[] = [];
  #timer: Timer | undefined = undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Gives the task turns until it says that nothing is left. To be called once per task. */
  add(task: SlicedTask): void {
    this.#tasks.push(task);
    this.#timer ??= this.#clock.timer(0, runSlices, this);
  }

  /** The task gets no more turns. */
  remove(task: SlicedTask): void {
    const at = this.#tasks.indexOf(task);
    if (at >= 0) this.#tasks.splice(at, 1);
  }

  /**
   * Repeats a step until it gives a value. It begins at once, so that what is short needs no
   * promise; what it throws comes out.
   */
  run<T extends object>(step: () => T | undefined): T | Promise<T> {
    const untilMs = this.#clock.monotonicMs() + sliceMs;
    do {
      const value = step();
      if (value !== undefined) return value;
    } while (this.#clock.monotonicMs() < untilMs);
    return new Promise((resolve, reject) => {
      this.add({
        slice: () => {
          try {
            const value = step();
            if (value === undefined) return true;
            resolve(value);
          } catch (error) {
            reject(error);
          }
          return false;
        },
      });
    });
  }

  /** Resolves after others had the thread. */
  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.add({
        slice: () => {
          resolve();
          return false;
        },
      });
    });
  }

  /** One turn; public only for the timer. */
  work(): void {
    const untilMs = this.#clock.monotonicMs() + sliceMs;
    this.#timer = undefined;
    do {
      const task = this.#tasks.shift();
      if (task === undefined) return;
      if (task.slice()) this.#tasks.push(task);
    } while (this.#clock.monotonicMs() < untilMs);
    if (this.#tasks.length > 0) this.#timer ??= this.#clock.timer(0, runSlices, this);
  }
}

function runSlices(slices: Slices): void {
  slices.work();
}
