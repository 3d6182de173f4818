/** Stalls of the event loop: counted once, under the name of who caused them, and told sparingly. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { type LogFields, type Logger, silentLogger } from "../../src/base/log.ts";
import { MetricsRegistry } from "../../src/base/metrics.ts";
import { LoopMonitor } from "../../src/node/loop_monitor.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { testHandlers } from "../support/test_service.ts";
import type { StartOptions } from "../../src/start.ts";
import { HandClock } from "./hand_clock.ts";
import { inFolder, keepLog, runtime, startQuiet } from "./support.ts";

interface Watched {
  readonly clock: HandClock;
  readonly monitor: LoopMonitor;
  readonly metrics: MetricsRegistry;
  readonly lines: LogFields[];
  /** A task that blocks the loop and says so. */
  runs(task: string, ms: number): void;
}

function watch(clock: HandClock = new HandClock(), traffic?: () => number): Watched {
  const lines: LogFields[] = [];
  const logger: Logger = {
    ...silentLogger,
    warning(message, fields = {}) {
      assert.equal(message, "the event loop was held up");
      lines.push(fields);
    },
  };
  const metrics = new MetricsRegistry();
  const monitor = new LoopMonitor(clock, logger, metrics, traffic);
  monitor.start();
  const runs = (task: string, ms: number): void => {
    const startedMs = clock.nowMs;
    clock.blocks(ms);
    monitor.ran(task, startedMs, clock.nowMs);
  };
  return { clock, monitor, metrics, lines, runs };
}

/** Count and sum of each task that stalled, as a scrape shows them. */
function stalls(metrics: MetricsRegistry): Record<string, [count: number, seconds: number]> {
  const text = metrics.expose("prometheus");
  const found: Record<string, [number, number]> = {};
  const line = /^covey_loop_stall_seconds_(sum|count)\{task="([^"]+)"\} (\S+)$/gm;
  for (const [, what, task, value] of text.matchAll(line)) {
    (found[task] ??= [0, 0])[what === "count" ? 0 : 1] = Number(value);
  }
  return found;
}

test("loop monitor: a loop that is on time has no stall, and the metric is there", () => {
  const { clock, metrics, lines, runs } = watch();
  clock.passes(10_500);
  // As long as a slice of work may be, on its own and when a beat waits for it.
  runs("slice", 10);
  clock.passes(480);
  runs("slice", 20 / 3);
  clock.blocks(10 / 3);
  clock.passes(0);
  assert.deepEqual(stalls(metrics), { unnamed: [0, 0] });
  assert.deepEqual(lines, []);
});

test("loop monitor: a named task is counted and told whether or not a beat waits for it", () => {
  const { clock, metrics, lines, runs } = watch();
  clock.passes(100);
  runs("encode", 150);
  clock.passes(700);
  assert.deepEqual(stalls(metrics), { unnamed: [0, 0], encode: [1, 0.15] });
  assert.deepEqual(lines, [{ task: "encode", stalledMs: 150 }]);
  // The beat was due 50 ms after this began; what it waited for has been counted.
  runs("apply", 250);
  clock.passes(0);
  assert.deepEqual(stalls(metrics), { unnamed: [0, 0], encode: [1, 0.15], apply: [1, 0.25] });
  assert.match(
    metrics.expose("prometheus"),
    /\{task="encode",le="0\.1"\} 0\n.*\{task="encode",le="0\.25"\} 1\n/,
  );
});

test("loop monitor: what makes a beat late and has no name is unnamed", () => {
  const { clock, metrics, lines } = watch();
  clock.blocks(1250);
  clock.passes(0);
  assert.deepEqual(stalls(metrics), { unnamed: [1, 0.25] });
  assert.deepEqual(lines, [{ task: "unnamed", stalledMs: 250 }]);
  // The next beat is due a second after this one, not after the one that was missed.
  clock.passes(3000);
  assert.deepEqual(stalls(metrics), { unnamed: [1, 0.25] });
});

test("loop monitor: a beat's delay beyond what tasks explain is unnamed", () => {
  const { clock, metrics, lines, runs } = watch();
  // This one ended before the beat was due: it explains nothing.
  runs("early", 500);
  clock.passes(495);
  runs("small", 30);
  clock.blocks(275);
  clock.passes(0);
  assert.deepEqual(stalls(metrics), { unnamed: [1, 0.275], early: [1, 0.5], small: [1, 0.03] });
  assert.deepEqual(lines, [{ task: "early", stalledMs: 500 }]);
});

test("loop monitor: short tasks in a row that hold a beat up are told by the longest", () => {
  const { clock, metrics, lines, runs } = watch();
  clock.passes(999);
  for (const ms of [21, 60, 40]) runs(`task ${ms}`, ms);
  clock.passes(0);
  assert.deepEqual(stalls(metrics), {
    unnamed: [0, 0],
    "task 21": [1, 0.021],
    "task 60": [1, 0.06],
    "task 40": [1, 0.04],
  });
  assert.deepEqual(lines, [{ task: "task 60", stalledMs: 120 }]);
});

test("loop monitor: a loop that stalls again and again is told of now and then", () => {
  const { clock, monitor, metrics, lines, runs } = watch();
  runs("first", 200);
  for (const ms of [300, 500, 400]) {
    clock.passes(500);
    runs(`later ${ms}`, ms);
  }
  assert.deepEqual(lines, [{ task: "first", stalledMs: 200 }]);
  // Nothing stalls any more: the beat tells what the limit held back.
  clock.passes(20_000);
  assert.deepEqual(lines.splice(0), [
    { task: "first", stalledMs: 200 },
    { task: "later 500", stalledMs: 500, leftOut: 2 },
  ]);
  for (let at = 0; at < 300; at++) {
    clock.passes(50);
    runs("each", 150);
  }
  assert.ok(lines.length > 0 && lines.length <= 7, `${lines.length} lines in 60 s`);
  monitor.stop();
  const leftOut = lines.map((fields: LogFields) => Number(fields.leftOut ?? 0));
  const told = leftOut.reduce((sum, count) => sum + count, lines.length);
  assert.equal(told, 300, "every stall is in a line or left out by one");
  assert.equal(stalls(metrics).each[0], 300);
  assert.equal(stalls(metrics).unnamed[0], 0);
});

/** Bytes that come steadily with a clock's time. */
function steady(clock: HandClock, bytesPerSecond: number): () => number {
  return () => Math.floor(clock.nowMs * bytesPerSecond / 1000);
}

test("loop monitor: under load a stall is seen whenever it comes, and nobody needs to name it", () => {
  const clock = new HandClock();
  const { metrics, lines } = watch(clock, steady(clock, 1 << 20));
  clock.passes(1_000);
  for (let at = 0; at < 40; at++) {
    clock.passes(97);
    clock.blocks(20);
    clock.passes(0);
  }
  const [count, seconds] = stalls(metrics).unnamed;
  // Whatever of it came before the beat was due is not seen.
  assert.ok(count >= 36, `${count} of 40`);
  assert.ok(seconds > 40 * 0.01 && seconds <= 40 * 0.02, `${seconds} s`);
  clock.passes(33);
  clock.blocks(300);
  clock.passes(0);
  assert.ok(stalls(metrics).unnamed[1] - seconds >= 0.29);
  assert.equal(lines.length, 1);
  assert.ok(Number(lines[0].stalledMs) >= 290);
});

test("loop monitor: under load a named stall is counted once, and beats alone are none", () => {
  const clock = new HandClock();
  const { metrics, runs } = watch(clock, steady(clock, 1 << 20));
  clock.passes(5_000);
  assert.deepEqual(stalls(metrics), { unnamed: [0, 0] });
  runs("encode", 150);
  clock.passes(0);
  clock.passes(500);
  assert.deepEqual(stalls(metrics), { unnamed: [0, 0], encode: [1, 0.15] });
});

test("loop monitor: heartbeats between nodes are no load, and it wakes once a second again after one", () => {
  const clock = new HandClock();
  let bytes = 0;
  let looks = 0;
  watch(clock, () => {
    looks++;
    return bytes;
  });
  const beats = (): number => {
    let count = 0;
    for (let at = 0; at < 1_000; at++) {
      const before = [...clock.timers];
      clock.passes(10);
      if ([...clock.timers].some((timer) => !before.includes(timer))) count++;
    }
    return count;
  };
  assert.ok(beats() <= 11, "idle");
  bytes += 4 << 10;
  assert.ok(beats() <= 11, "a few bytes");
  bytes += 10 << 20;
  const once = beats();
  assert.ok(once > 90 && once < 130, `${once}: a second of it`);
  assert.ok(beats() <= 11, "idle again");
  assert.ok(looks <= 45, `${looks}`);
});

test("loop monitor: stop cancels the timer, start begins anew", () => {
  const { clock, monitor, metrics } = watch();
  assert.equal(clock.timers.size, 1);
  monitor.start();
  assert.equal(clock.timers.size, 1, "one heartbeat");
  monitor.stop();
  monitor.stop();
  assert.equal(clock.timers.size, 0);
  clock.passes(60_000);
  monitor.start();
  clock.passes(1000);
  assert.deepEqual(stalls(metrics), { unnamed: [0, 0] }, "the time between does not count");
  assert.equal(clock.timers.size, 1);
  monitor.stop();
});

/** A node whose method blocks, on a clock that nothing else moves. */
async function blockingNode(clock: HandClock, name: string) {
  const { log, records } = await keepLog();
  const node = await startQuiet({
    runtime: { ...runtime, clock },
    logger: log,
    dev: true,
    node: { name },
  });
  node.rpc.serve(TestService, {
    ...testHandlers(clock),
    nothing() {
      clock.blocks(150);
      return {};
    },
  });
  const client = node.rpc.client(TestService, node.rpc.addresses[0]);
  const warnings = () => records.filter(({ level }) => level === "warning");
  return { node, client, warnings };
}

const task = "rpc covey.test.v1.TestService/Nothing";

test("node: a handler that blocks is counted and logged with its name, by its own node", async () => {
  const clock = new HandClock();
  const { node, client, warnings } = await blockingNode(clock, "blocking");
  const other = await blockingNode(clock, "other");
  await other.client.echo({ payload: new Uint8Array(3) });
  await client.echo({ payload: new Uint8Array(3) });
  assert.deepEqual(stalls(node.metrics), { unnamed: [0, 0] });
  await client.nothing({});
  assert.deepEqual(stalls(node.metrics), { unnamed: [0, 0], [task]: [1, 0.15] });
  assert.deepEqual(
    warnings().map(({ component, message, fields }) => [component, message, fields]),
    [["loop", "the event loop was held up", { task, stalledMs: 150 }]],
  );
  assert.deepEqual(stalls(other.node.metrics), { unnamed: [0, 0] });
  assert.deepEqual(other.warnings(), []);
  // Across a beat, the node that shares the thread sees a stall as well, and not whose it was.
  clock.passes(800);
  await client.nothing({});
  clock.passes(0);
  assert.deepEqual(stalls(node.metrics), { unnamed: [0, 0], [task]: [2, 0.3] });
  assert.deepEqual(stalls(other.node.metrics), { unnamed: [1, 0.1] });
  await node.stop();
  await other.node.stop();
  assert.equal(clock.timers.size, 0, "no timer is left");
});

test("node: one that fails to start leaves no timer, however far it came", () =>
  inFolder(async (data) => {
    const clock = new HandClock();
    const options = { runtime: { ...runtime, clock } };
    await using first = await startQuiet(options);
    const [taken] = first.rpc.addresses;
    const running = clock.timers.size;
    assert.ok(running > 0);
    const fails = async (message: RegExp, rest: StartOptions): Promise<void> => {
      await assert.rejects(startQuiet({ ...options, ...rest }), message);
      assert.equal(clock.timers.size, running);
    };
    await fails(/^CoveyError: .*\(node\.listen\)/, { node: { listen: [taken] } });
    const admin = { enabled: true, listen: taken };
    await fails(/^CoveyError: .*\(admin\.listen\)/, { admin });
    await fails(/^CoveyError: .*\(admin\.listen\)/, { admin, node: { data } });
    // What consensus wrote is there and cannot be read.
    await (await startQuiet({ ...options, node: { data } })).stop();
    const raft = `${data}/raft`;
    let damaged = 0;
    for (const name of readdirSync(raft, { recursive: true, encoding: "utf8" })) {
      const file = `${raft}/${name}`;
      // What is kept to be written over holds nothing.
      if (!statSync(file).isFile() || name.includes("spare")) continue;
      const bytes = readFileSync(file);
      writeFileSync(file, "x".repeat(bytes.length));
      damaged++;
      await fails(/data_loss/, { node: { data } });
      writeFileSync(file, bytes);
    }
    assert.ok(damaged >= 3, "the identity, a segment and a snapshot");
    // And nothing was harmed meanwhile.
    const last = await startQuiet({ ...options, node: { data } });
    await last.stop();
    await first.stop();
    assert.equal(clock.timers.size, 0);
  }));
