/** When the engine is asked to collect: by how much traffic there was, and once after it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryKeeper } from "../../src/node/memory_keeper.ts";
import { HandClock } from "./hand_clock.ts";

function makeKeeper() {
  const clock = new HandClock();
  const seen = { young: 0, all: 0, trafficBytes: 0 };
  const keeper = new MemoryKeeper({
    clock,
    host: { collectGarbage: (all) => void (all === true ? seen.all++ : seen.young++) },
    traffic: () => seen.trafficBytes,
  });
  /** So many seconds with so much traffic in each tenth of one. */
  const passes = (seconds: number, bytesPerTenth: number): void => {
    for (let tenth = 0; tenth < seconds * 10; tenth++) {
      seen.trafficBytes += bytesPerTenth;
      clock.passes(100);
    }
  };
  return { clock, keeper, seen, passes };
}

test("memory: an idle node, and one with little traffic, never collects", () => {
  const { clock, keeper, seen, passes } = makeKeeper();
  keeper.start();
  clock.passes(10_000);
  passes(6, 3_000);
  assert.deepEqual([seen.young, seen.all], [0, 0]);
  keeper.stop();
});

test("memory: much traffic is followed by a collection each tenth of a second", () => {
  const { keeper, seen, passes } = makeKeeper();
  keeper.start();
  passes(3, 4 << 20);
  assert.ok(seen.young >= 26 && seen.young <= 31, `${seen.young} collections in 3 s`);
  assert.equal(seen.all, 0);
  keeper.stop();
});

test("memory: at a low rate collections are as rare as their garbage", () => {
  const { keeper, seen, passes } = makeKeeper();
  keeper.start();
  passes(20, 100 << 10);
  assert.ok(seen.young >= 4 && seen.young <= 5, `${seen.young} collections for 20 MB`);
  assert.equal(seen.all, 0, "the traffic never ended");
  keeper.stop();
});

test("memory: everything is collected once, a second after the traffic ended", () => {
  const { clock, keeper, seen, passes } = makeKeeper();
  keeper.start();
  passes(2, 2 << 20);
  const { young } = seen;
  clock.passes(2000);
  assert.equal(seen.all, 1);
  clock.passes(60_000);
  assert.deepEqual([seen.young, seen.all], [young, 1]);
  passes(1, 2 << 20);
  clock.passes(2000);
  assert.equal(seen.all, 2);
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
  assert.deepEqual([seen.young, seen.all], [0, 0]);
});
