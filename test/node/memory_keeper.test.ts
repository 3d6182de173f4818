/** When the engine is asked to collect: while there is traffic and a moment longer, never idle. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryKeeper } from "../../src/node/memory_keeper.ts";
import { HandClock } from "./hand_clock.ts";

function makeKeeper() {
  const clock = new HandClock();
  const seen = { collections: 0, trafficBytes: 0 };
  const keeper = new MemoryKeeper({
    clock,
    host: { collectGarbage: () => void seen.collections++ },
    traffic: () => seen.trafficBytes,
  });
  return { clock, keeper, seen };
}

test("memory: an idle node, and one with little traffic, never collects", () => {
  const { clock, keeper, seen } = makeKeeper();
  keeper.start();
  clock.passes(10_000);
  for (let times = 0; times < 20; times++) {
    seen.trafficBytes += 10_000;
    clock.passes(300);
  }
  assert.equal(seen.collections, 0);
  keeper.stop();
});

test("memory: traffic is followed by collections, which end soon after it", () => {
  const { clock, keeper, seen } = makeKeeper();
  keeper.start();
  for (let times = 0; times < 10; times++) {
    seen.trafficBytes += 1 << 20;
    clock.passes(300);
  }
  const busy = seen.collections;
  assert.ok(busy >= 9, `${busy} collections in 3 s of traffic`);
  clock.passes(3000);
  const after = seen.collections - busy;
  assert.ok(after >= 1 && after <= 5, `${after} collections afterwards`);
  clock.passes(60_000);
  assert.equal(seen.collections, busy + after);
  keeper.stop();
});

test("memory: started twice it looks once, and stopped it leaves no timer", () => {
  const { clock, keeper, seen } = makeKeeper();
  keeper.start();
  keeper.start();
  assert.equal(clock.timers.size, 1);
  keeper.stop();
  keeper.stop();
  assert.equal(clock.timers.size, 0);
  seen.trafficBytes = 1 << 30;
  clock.passes(1000);
  assert.equal(seen.collections, 0);
});
