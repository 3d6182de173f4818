/** A clock that only a test moves. */
import type { Clock, Timer } from "../../src/runtime/port.ts";

/** Time that a test moves: `passes` as it should, `blocks` while nothing else runs. */
export class HandClock implements Clock {
  nowMs = 5000;
  readonly timers: Set<{ readonly atMs: number; run(): void }> = new Set();

  monotonicMs(): number {
    return this.nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.nowMs;
  }

  timer<A>(delayMs: number, callback: (argument: A) => void, argument: A): Timer {
    const timer = { atMs: this.nowMs + delayMs, run: () => callback(argument) };
    this.timers.add(timer);
    return { cancel: () => void this.timers.delete(timer) };
  }

  /** Nothing runs meanwhile; what became due runs afterwards, late. */
  blocks(ms: number): void {
    this.nowMs += ms;
  }

  passes(ms: number): void {
    const untilMs = this.nowMs + ms;
    while (true) {
      const [due] = [...this.timers].filter(({ atMs }) => atMs <= untilMs)
        .sort((a, b) => a.atMs - b.atMs);
      if (due === undefined) break;
      this.nowMs = Math.max(this.nowMs, due.atMs);
      this.timers.delete(due);
      due.run();
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }
}
