/** Clocks, timers and random bytes. */
import assert from "node:assert/strict";
import type { Runtime } from "../../src/runtime/port.ts";
import { compliance, type Harness, pass } from "./harness.ts";

/** Declares the cases of this area. */
export function clockCompliance(harness: Harness): void {
  timerCases(harness);
  timeCases(harness);
  randomCases(harness);
}

function after(runtime: Runtime, delayMs: number): Promise<number> {
  const startMs = runtime.clock.monotonicMs();
  return new Promise((resolve) => {
    const done = (): void => resolve(runtime.clock.monotonicMs() - startMs);
    runtime.clock.timer(delayMs, done, undefined);
  });
}

function timerCases(harness: Harness): void {
  compliance(harness, "clock: a timer is never early, and carries its argument", async (world) => {
    const { runtime } = world;
    for (const delayMs of [0, 0.4, 1, 7.3, 25]) {
      const tookMs = await after(runtime, delayMs);
      assert.ok(tookMs >= delayMs, `${delayMs} ms took ${tookMs}`);
      assert.ok(tookMs < delayMs + 5000, `${delayMs} ms took ${tookMs}`);
    }
    const state = { name: "state" };
    const given = await new Promise((resolve) => void runtime.clock.timer(1, resolve, state));
    assert.equal(given, state);
  });

  compliance(harness, "clock: timers run in order of their time, each once", async (world) => {
    const { runtime } = world;
    const order: number[] = [];
    for (const delayMs of [30, 10, 20]) {
      runtime.clock.timer(delayMs, (argument) => void order.push(argument), delayMs);
    }
    await pass(runtime, 120);
    assert.deepEqual(order, [10, 20, 30]);
  });

  compliance(harness, "clock: a delay of nothing, or less, still is not at once", async (world) => {
    const { runtime } = world;
    let called = 0;
    const done = Promise.all([0, -5].map((delayMs) =>
      new Promise<void>((resolve) => {
        runtime.clock.timer(delayMs, () => {
          called++;
          resolve();
        }, undefined);
      })
    ));
    assert.equal(called, 0, "called within timer()");
    await done;
    assert.equal(called, 2);
  });

  compliance(harness, "clock: a cancelled timer does not run", async (world) => {
    const { runtime } = world;
    const ran: string[] = [];
    const note = (name: string): void => void ran.push(name);
    const first = runtime.clock.timer(10, note, "first");
    const second = runtime.clock.timer(20, note, "second");
    const third = runtime.clock.timer(1, () => second.cancel(), undefined);
    first.cancel();
    first.cancel();
    await pass(runtime, 60);
    third.cancel();
    assert.deepEqual(ran, []);
  });

  compliance(harness, "clock: a timer may cancel itself and make others", async (world) => {
    const { runtime } = world;
    let count = 0;
    await new Promise<void>((resolve) => {
      const again = (): void => {
        timer.cancel();
        if (++count === 5) return resolve();
        timer = runtime.clock.timer(1, again, undefined);
      };
      let timer = runtime.clock.timer(1, again, undefined);
    });
    assert.equal(count, 5);
  });

  compliance(harness, "clock: delays above 2^31 ms do not run at once", async (world) => {
    const { runtime } = world;
    let ran = 0;
    const timers = [2 ** 31 - 1, 2 ** 31, 2 ** 31 + 100, 2 ** 32 + 5, 2 ** 45].map((delayMs) =>
      runtime.clock.timer(delayMs, () => void ran++, undefined)
    );
    await pass(runtime, 60);
    for (const timer of timers) timer.cancel();
    assert.equal(ran, 0);
  });
}

function timeCases(harness: Harness): void {
  compliance(harness, "clock: monotonic time goes on and never back", async ({ runtime }) => {
    let before = runtime.clock.monotonicMs();
    for (let round = 0; round < 1000; round++) {
      const now = runtime.clock.monotonicMs();
      assert.ok(now >= before);
      before = now;
    }
    await pass(runtime, 5);
    assert.ok(runtime.clock.monotonicMs() >= before + 5);
  });

  compliance(harness, "clock: wall time is of this century and goes on", async ({ runtime }) => {
    const before = runtime.clock.wallMs();
    assert.ok(before > Date.UTC(2001, 0, 1) && before < Date.UTC(2101, 0, 1), `${before}`);
    await pass(runtime, 20);
    // A real wall clock may be set while this runs, but not often by more than a day.
    const passedMs = runtime.clock.wallMs() - before;
    assert.ok(Math.abs(passedMs) < 86_400_000 && passedMs !== 0, `${passedMs}`);
  });
}

function randomCases(harness: Harness): void {
  // deno-lint-ignore require-await -- the case's form
  compliance(harness, "random: fills all of the target and nothing else", async ({ runtime }) => {
    const whole = new Uint8Array(200_100);
    const target = whole.subarray(50, 200_050);
    runtime.random.fill(target);
    assert.ok(whole.subarray(0, 50).every((byte) => byte === 0));
    assert.ok(whole.subarray(200_050).every((byte) => byte === 0));
    const counts = new Array(256).fill(0);
    for (const byte of target) counts[byte]++;
    // 781 of each on average; the deviation is 28, and ten of it never happen.
    for (const [byte, count] of counts.entries()) {
      assert.ok(count > 500 && count < 1060, `byte ${byte} came ${count} times`);
    }
    runtime.random.fill(new Uint8Array(0));
  });

  // deno-lint-ignore require-await -- the case's form
  compliance(harness, "random: no two draws are the same", async ({ runtime }) => {
    const seen = new Set<string>();
    const draw = new Uint8Array(16);
    for (let round = 0; round < 1000; round++) {
      runtime.random.fill(draw);
      seen.add(draw.join());
    }
    assert.equal(seen.size, 1000);
  });
}
