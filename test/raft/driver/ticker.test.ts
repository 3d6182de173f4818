/** Ticks come at their pace, whatever happens while a timer of several of them is being counted. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ticker } from "../../../src/raft/ticker.ts";
import type { Clock, Timer } from "../../../src/runtime/port.ts";

const tickMs = 25;

/** A clock that is moved by hand, with the timers that are set on it. */
class HandClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Set<{ readonly atMs: number; readonly fire: () => void }>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs;
  }

  timer<A>(delayMs: number, callback: (argument: A) => void, argument: A): Timer {
    const timer = { atMs: this.#nowMs + delayMs, fire: () => callback(argument) };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  get timers(): number {
    return this.#timers.size;
  }

  pass(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const [next] = [...this.#timers].sort((a, b) => a.atMs - b.atMs);
      if (next === undefined || next.atMs > endMs) break;
      this.#timers.delete(next);
      this.#nowMs = next.atMs;
      next.fire();
    }
    this.#nowMs = endMs;
  }
}

class Owner {
  ticks: 1 | 4 = 4;
  count = 0;
  /** What happens at the tick of this number. */
  at: ((count: number) => void) | undefined;
  ended: (() => void) | undefined;

  pace(): { ms: number; ticks: number } {
    return { ms: this.ticks * tickMs, ticks: this.ticks };
  }

  passed(count: number): void {
    this.count = count;
    this.at?.(count);
  }

  tick(): void {
    this.ended?.();
  }
}

function begun(): { clock: HandClock; owner: Owner; ticker: Ticker } {
  const clock = new HandClock();
  const owner = new Owner();
  const ticker = new Ticker(clock, tickMs, owner);
  ticker.begin();
  return { clock, owner, ticker };
}

test("who begins to wait while a long timer is counted starts no second one", () => {
  const { clock, owner, ticker } = begun();
  owner.at = (count) => {
    if (count !== 8) return;
    owner.ticks = 1;
    ticker.hurry();
  };
  clock.pass(1000);
  assert.equal(owner.count, 40);
  assert.equal(clock.timers, 1);
  ticker.stop();
  assert.equal(clock.timers, 0);
});

test("who begins to wait in the middle of a long timer finds the ticks that have passed", () => {
  const { clock, owner, ticker } = begun();
  clock.pass(60);
  assert.equal(owner.count, 0);
  owner.ticks = 1;
  ticker.hurry();
  assert.equal(owner.count, 2);
  clock.pass(15);
  assert.equal(owner.count, 3);
  clock.pass(1000);
  assert.equal(owner.count, 43);
  assert.equal(clock.timers, 1);
});

test("a ticker that is stopped by its own tick sets no timer any more", () => {
  const { clock, owner, ticker } = begun();
  owner.ended = () => ticker.stop();
  clock.pass(1000);
  assert.equal(owner.count, 4);
  assert.equal(clock.timers, 0);
});
