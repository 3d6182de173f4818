/** What only the simulator promises: replay, its loop, its reports, and that nothing is real. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Coverage } from "../../src/runtime/sim/coverage.ts";
import { SimulationError, type SimulationErrorKind } from "../../src/runtime/sim/error.ts";
import { createSimulation } from "../../src/runtime/sim/simulation.ts";
import { armBan, liftBan } from "./ban.ts";
import { runHttpWorkload } from "./http_workload.ts";
import { faultsWithout } from "./seeds/faults.ts";
import { connectPair } from "./streams.ts";
import { runWorkload } from "./workload.ts";

before(armBan);
after(liftBan);

function failsWith(kind: SimulationErrorKind, pattern: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof SimulationError, String(error));
    assert.equal(error.kind, kind);
    assert.match(error.message, pattern);
    return true;
  };
}

/** Trace hashes of the workload, the same on both engines. A change of the simulator changes them. */
const hashes: readonly (readonly [seed: number, hash: string])[] = [
  [1, "1ef1886ae467bd1b"],
  [2, "274164ef1d9c67cf"],
  [3, "b96bafd91e980560"],
  [4, "7fe8a1603662fb0d"],
  [5, "3cb36bdea0ad706b"],
];

const httpHashes: readonly (readonly [seed: number, hash: string])[] = [
  [1, "5232adaa30c86a6a"],
  [2, "a6072ba2c3c0cc4a"],
];

/** Faults that the workload does not ask for. */
const notByItself = [
  "bitFlip",
  "clockDrift",
  "diskFull",
  "openFailure",
  "readFailure",
  "stallReset",
  "syncFailure",
  "writeFailure",
] as const;

test("the workload gives the same trace on both engines, seed by seed", async () => {
  const coverage = new Coverage();
  for (const [seed, hash] of hashes) {
    const simulation = await runWorkload(seed, 30_000);
    assert.equal(simulation.hash, hash, `seed ${seed}`);
    coverage.add(simulation.coverage.report());
  }
  coverage.assertCovered(faultsWithout(...notByItself));
});

test("so does HTTP, although requests and streams are the engines' own", async () => {
  for (const [seed, hash] of httpHashes) {
    const simulation = await runHttpWorkload(seed, 15_000);
    assert.equal(simulation.hash, hash, `seed ${seed}`);
    simulation.coverage.assertCovered(["crash", "partition", "split", "partialWrite"]);
  }
});

test("one seed twice gives one hash, another seed another", async () => {
  const first = await runWorkload(99, 5000);
  const again = await runWorkload(99, 5000);
  const other = await runWorkload(100, 5000);
  assert.equal(first.hash, again.hash);
  assert.equal(first.events, again.events);
  assert.deepEqual(first.traceTail(), again.traceTail());
  assert.notEqual(first.hash, other.hash);
});

test("the hash sees one byte that differs", async () => {
  const run = async (byte: number): Promise<string> => {
    const simulation = createSimulation({ seed: 1 });
    const pair = await connectPair(simulation);
    pair.near.connection!.write(new Uint8Array([1, 2, byte]));
    await simulation.run({ forMs: 10 });
    assert.deepEqual([...pair.far.bytes], [1, 2, byte]);
    return simulation.hash;
  };
  assert.equal(await run(3), await run(3));
  assert.notEqual(await run(3), await run(4));
});

test("one machine's randomness does not depend on another's", async () => {
  const draw = (before: string[]): Uint8Array => {
    const simulation = createSimulation({ seed: 5 });
    for (const name of before) simulation.machine(name).runtime.random.fill(new Uint8Array(9));
    const bytes = new Uint8Array(16);
    simulation.machine("a").runtime.random.fill(bytes);
    return bytes;
  };
  assert.deepEqual(draw([]), draw(["x", "y"]));
  const simulation = createSimulation({ seed: 5 });
  const bytes = new Uint8Array(16);
  simulation.machine("b").runtime.random.fill(bytes);
  assert.notDeepEqual(bytes, draw([]));
  await simulation.run({ forMs: 1 });
});

test("time jumps from event to event, and chains of promises end in between", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { clock } = simulation.machine("a").runtime;
  const order: string[] = [];
  const chain = async (name: string, length: number): Promise<void> => {
    for (let step = 0; step < length; step++) await null;
    order.push(`${name} at ${clock.monotonicMs()}`);
  };
  clock.timer(3_600_000, () => void chain("hour", 3), undefined);
  clock.timer(10, () => void chain("ten", 500), undefined);
  clock.timer(10, () => void chain("ten too", 1), undefined);
  await simulation.run({ untilMs: 4_000_000 });
  assert.deepEqual(order, ["ten at 10", "ten too at 10", "hour at 3600000"]);
  assert.equal(simulation.nowMs, 4_000_000);
});

test("timers: cancelled ones stay silent, fractions and huge delays are kept", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { clock } = simulation.machine("a").runtime;
  const fired: string[] = [];
  const started = clock.monotonicMs();
  const timer = clock.timer(5, () => fired.push("cancelled"), undefined);
  clock.timer(4, () => timer.cancel(), undefined);
  for (const delay of [0.1, 0.2, 0.7, 1.3, 2 ** 31 + 5]) {
    clock.timer(delay, (asked) => {
      const passed = clock.monotonicMs() - started;
      assert.ok(passed >= asked, `${passed} < ${asked}`);
      fired.push(String(asked));
    }, delay);
  }
  await simulation.run({ untilMs: 2 ** 32 });
  timer.cancel();
  assert.deepEqual(fired, ["0.1", "0.2", "0.7", "1.3", "2147483653"]);
});

test("a deadlock is reported with what everybody waits for", async () => {
  const simulation = createSimulation({ seed: 77 });
  const { a, b } = await connectPair(simulation);
  b.pause();
  a.process.connections.values().next().value!.write(new Uint8Array(10_000_000));
  const never = new Promise<void>(() => {});
  await assert.rejects(
    simulation.wait(never),
    failsWith("deadlock", /seed 77[\s\S]*machine b[\s\S]*paused[\s\S]*bytes unread/),
  );
  await assert.rejects(simulation.run({ until: () => false }), failsWith("deadlock", /seed 77/));
});

test("until may be a condition, a promise, or what makes a promise", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { clock } = simulation.machine("a").runtime;
  const sleep = (ms: number) =>
    new Promise<void>((resolve) => void clock.timer(ms, resolve, undefined));
  await simulation.run({ until: () => simulation.nowMs >= 0 });
  assert.equal(simulation.nowMs, 0);
  await simulation.run({ until: sleep(10) });
  await simulation.run({ until: () => sleep(10) });
  assert.equal(simulation.nowMs, 20);
  assert.equal(await simulation.wait(sleep(5).then(() => "value")), "value");
});

test("after calming down everything recovers", async () => {
  const simulation = await runWorkload(7, 10_000);
  simulation.calmDown();
  await simulation.run({ forMs: 20_000 });
  const failed = simulation.coverage.count("dial failed");
  const datagrams = simulation.coverage.count("datagram");
  const splits = simulation.coverage.count("split");
  await simulation.run({ forMs: 5000 });
  assert.equal(simulation.coverage.count("dial failed"), failed);
  assert.equal(simulation.coverage.count("split"), splits);
  assert.ok(simulation.coverage.count("datagram") > datagrams + 1000);
  for (const machine of simulation.machines) assert.ok(machine.running);
});

test("a run that takes too long in time or events fails", async () => {
  const simulation = createSimulation({ seed: 1 });
  const { clock } = simulation.machine("a").runtime;
  const again = () => void clock.timer(1, again, undefined);
  again();
  await assert.rejects(
    simulation.run({ until: () => false, untilMs: 100 }),
    failsWith("timeout", /100\.000 ms/),
  );
  await assert.rejects(
    simulation.run({ until: () => false, eventsMax: 1000 }),
    failsWith("limit", /1000 events/),
  );
});

test("a callback that throws ends the run, with its error as the cause", async () => {
  const simulation = createSimulation({ seed: 1 });
  const bug = new TypeError("a bug in a callback");
  simulation.machine("a").runtime.clock.timer(5, () => {
    throw bug;
  }, undefined);
  await assert.rejects(simulation.run({ forMs: 10 }), (error) => {
    assert.ok(failsWith("callback", /a bug in a callback/)(error));
    assert.equal((error as Error).cause, bug);
    return true;
  });
});

test("a boot program that rejects ends the run, an awaited error comes through", async () => {
  const simulation = createSimulation({ seed: 1 });
  simulation.machine("a", { boot: () => Promise.reject(new Error("cannot start")) });
  await assert.rejects(simulation.run({ forMs: 10 }), failsWith("callback", /cannot start/));
  const mine = new Error("mine");
  await assert.rejects(simulation.wait(Promise.reject(mine)), mine);
});

test("a fault or a mark that never happened fails", async () => {
  const simulation = createSimulation({ seed: 1, marks: ["leader change", "snapshot"] });
  simulation.machine("a");
  simulation.machine("b");
  simulation.partition("a", "b").heal();
  simulation.mark("snapshot");
  await simulation.run({ forMs: 1 });
  const covered = (...faults: Parameters<Coverage["assertCovered"]>[0]) => () =>
    simulation.coverage.assertCovered(faults);
  assert.throws(
    covered("partition"),
    failsWith("coverage", /^never happened: mark leader change$/),
  );
  simulation.mark("leader change");
  covered("partition")();
  assert.throws(covered("partition", "crash"), failsWith("coverage", /fault crash/));
  assert.match(simulation.coverage.toString(), /^fault partition 1$/m);
  assert.match(simulation.coverage.toString(), /^mark snapshot 1$/m);
});

test("drift and jumps of clocks", async () => {
  const simulation = createSimulation({ seed: 1 });
  const fast = simulation.machine("fast");
  const straight = simulation.machine("straight");
  fast.setClockDrift(100_000);
  const fired: number[] = [];
  fast.runtime.clock.timer(1100, () => fired.push(simulation.nowMs), undefined);
  fast.runtime.clock.timer(2200, () => fired.push(simulation.nowMs), undefined);
  await simulation.run({ untilMs: 1500 });
  assert.ok(Math.abs(fired[0] - 1000) < 0.01, `${fired}`);
  // The second timer has 550 ms of its clock left, which now take twice as long.
  fast.setClockDrift(-500_000);
  await simulation.run({ untilMs: 4000 });
  assert.ok(Math.abs(fired[1] - 2600) < 0.01, `${fired}`);

  const wall = straight.runtime.clock.wallMs();
  const monotonic = straight.runtime.clock.monotonicMs();
  let timerAt = 0;
  straight.runtime.clock.timer(50, () => timerAt = simulation.nowMs, undefined);
  straight.jumpWallClock(-7_200_000);
  await simulation.run({ forMs: 100 });
  assert.equal(straight.runtime.clock.wallMs(), wall - 7_200_000 + 100);
  assert.equal(straight.runtime.clock.monotonicMs(), monotonic + 100);
  assert.equal(timerAt, 4050);
  assert.equal(simulation.coverage.count("clockJump"), 1);
  assert.equal(simulation.coverage.count("clockDrift"), 2);
});

test("skewed clocks differ from machine to machine and by seed", () => {
  const simulation = createSimulation({ seed: 1, clockSkewMs: 1000, clockDriftPpm: 200 });
  const offsets = ["a", "b", "c"].map((name) => simulation.machine(name).runtime.clock.wallMs());
  assert.equal(new Set(offsets).size, 3);
  for (const offset of offsets) assert.ok(Math.abs(offset - offsets[0]) <= 2000);
});

test("everything real is banned while the ban is armed", async () => {
  const attempts: (() => unknown)[] = [
    () => setTimeout(() => {}, 0),
    () => setInterval(() => {}, 0),
    () => setImmediate(() => {}),
    () => Date.now(),
    () => new Date(),
    () => Date(),
    () => performance.now(),
    () => Math.random(),
    () => crypto.getRandomValues(new Uint8Array(1)),
    () => crypto.randomUUID(),
    () => crypto.subtle,
    () => fetch("http://localhost/"),
    () => AbortSignal.timeout(1),
  ];
  for (const attempt of attempts) assert.throws(attempt, /banned/, String(attempt));
  assert.equal(new Date(5).getTime(), 5);
  assert.ok(new Date(5) instanceof Date);
  let ran = false;
  queueMicrotask(() => ran = true);
  const simulation = createSimulation({ seed: 1 });
  await simulation.run({ forMs: 1 });
  assert.ok(ran);
  liftBan();
  assert.ok(Date.now() > 0);
  clearTimeout(setTimeout(() => {}, 0));
  armBan();
});
