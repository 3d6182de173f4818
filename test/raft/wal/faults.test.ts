/** Failing writes and syncs, a full disk, and what is told when the log ends. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { LogError } from "../../../src/raft/wal/error.ts";
import { type Disk, DiskError } from "../../../src/runtime/port.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import {
  entries,
  entry,
  type Lab,
  makeLab,
  openOn,
  type Running,
  type Told,
  Twin,
} from "./support.ts";
import { watchedDisk } from "./watched_disk.ts";
import { workload, workloadOptions as options } from "./workload.ts";

before(armBan);
after(liftBan);

type Call = "write" | "sync" | "syncDirectory";

/** Calls back before each write and sync that goes to the disk; a durable write is both. */
function watched(disk: Disk, before: (call: Call) => void): Disk {
  return watchedDisk(disk, ({ call, isDurable }, run) => {
    if (call === "write" || call === "sync" || call === "syncDirectory") before(call);
    if (isDurable) before("sync");
    return run();
  });
}

interface FaultRun {
  readonly seed: number;
  readonly calls: readonly Call[];
  /** Which call of these meets the fault, from 0. */
  readonly nth: number;
  readonly fault: (lab: Lab) => void;
  readonly heal: (lab: Lab) => void;
}

/** True when the fault was met. Checks that the log ended, and what it holds after that. */
async function faultRun(run: FaultRun, kinds: readonly string[]): Promise<LogError | boolean> {
  const what = `${run.calls.join(" or ")} ${run.nth}`;
  const lab = await makeLab({ seed: run.seed });
  const { simulation, machine } = lab;
  const { runtime } = machine;
  let calls = 0;
  const disk = watched(runtime.disk, (call) => {
    if (run.calls.includes(call) && calls++ === run.nth) run.fault(lab);
  });
  const twin = new Twin();
  const told: Told = { durable: 0, failed: [], space: [] };
  let failure: unknown;
  await simulation.wait(
    workload({ disk, random: runtime.random }, twin, told).catch((error) => failure = error),
  );
  await simulation.run({ forMs: 1000 });
  run.heal(lab);
  // Closing does not reject: the owner has been told.
  failure ??= told.failed[0];
  if (failure !== undefined) {
    const error = failure;
    assert.ok(error instanceof LogError || error instanceof DiskError, `${what}: ${error}`);
    assert.ok(kinds.includes(error.kind), `${what}: ${error.message}`);
    // While the log is being opened, the rejection alone tells.
    assert.ok(told.failed.length <= 1 && (told.durable === 0 || told.failed.length === 1), what);
  } else {
    assert.equal(told.failed.length, 0, what);
  }
  // The process ended, the machine lives: what is read must be what the disk has, too.
  machine.kill();
  machine.restart();
  const again = await simulation.wait(openOn(machine.runtime, options));
  const ticket = twin.check(again.groups, told.durable, what);
  machine.crash();
  machine.restart();
  const third = await simulation.wait(openOn(machine.runtime, options));
  twin.check(third.groups, 0, `${what}, after ticket ${ticket} was read back`);
  if (failure instanceof LogError) return failure;
  return calls > run.nth;
}

for (const calls of [["sync", "syncDirectory"], ["write"]] as const) {
  test(`a failing ${calls[0]}, at every place, ends the log and loses nothing`, async () => {
    let nth = 0;
    let ended = 0;
    for (let met: LogError | boolean = true; met !== false; nth++) {
      met = await faultRun({
        seed: nth + 1,
        calls,
        nth,
        fault: ({ machine }) =>
          calls[0] === "sync" ? machine.disk.failSync() : machine.disk.failWrite(),
        heal: ({ machine }) => machine.disk.heal(),
      }, ["io"]);
      if (met instanceof LogError) ended++;
    }
    assert.ok(ended > 15, `${ended} ended of ${nth}`);
  });
}

test("a disk that is full from any write on loses nothing, and batches are never half there", async () => {
  const endings = new Set<string>();
  for (let nth = 0, met: LogError | boolean = true; met !== false; nth++) {
    met = await faultRun({
      seed: nth + 1,
      calls: ["write"],
      nth,
      fault: ({ machine }) => machine.disk.quotaBytes = machine.disk.usedBytes(),
      heal: ({ machine }) => machine.disk.quotaBytes = Infinity,
    }, ["full"]);
    endings.add(met instanceof LogError ? met.kind : "went on");
  }
  assert.deepEqual([...endings].sort(), ["full", "went on"]);
});

async function fill(running: Running, lab: Lab, first: number): Promise<number> {
  let index = first;
  for (; running.told.space.at(-1) !== "low" && index < first + 500; index++) {
    const ticket = running.log.append(0, {
      snapshot: undefined,
      hardState: undefined,
      entries: [entry(index, 1, "x".repeat(200))],
      mustSync: true,
    });
    await lab.simulation.wait(running.log.whenDurable(ticket));
  }
  return index;
}

test("low room is told before the log needs it, and that there is room again", async () => {
  const lab = await makeLab({}, 40_000);
  const { simulation, machine } = lab;
  const running = await simulation.wait(openOn(machine.runtime, { lowWaterBytes: 10_000 }));
  const { log, told } = running;
  log.createGroup(0, 1);
  const index = await fill(running, lab, 1);
  assert.ok(index > 50 && index < 300, `low at entry ${index}`);
  assert.deepEqual(told.space, ["low"]);
  assert.equal(log.space, "low");
  await simulation.run({ forMs: 100 });
  assert.ok(log.segments.spares > 0, "the reserve is still there");
  // What Raft must write goes on into what is reserved.
  const more = log.append(0, {
    snapshot: undefined,
    hardState: undefined,
    entries: entries(index, index + 20, 1, "y".repeat(150)),
    mustSync: true,
  });
  await simulation.wait(log.whenDurable(more));
  machine.disk.quotaBytes = 60_000;
  assert.equal(await simulation.wait(log.checkSpace()), "normal");
  assert.deepEqual(told.space, ["low", "normal"]);
  assert.equal(told.failed.length, 0);
});

test("recycled segments go on working on a disk that is full", async () => {
  const { simulation, machine } = await makeLab();
  const { log, told } = await simulation.wait(openOn(machine.runtime));
  log.createGroup(0, 1);
  const append = async (index: number): Promise<void> => {
    const ticket = log.append(0, {
      snapshot: undefined,
      hardState: undefined,
      entries: [entry(index, 1, "x".repeat(200))],
      mustSync: true,
    });
    await simulation.wait(log.whenDurable(ticket));
    if (index % 10 !== 0) return;
    const mark = {
      index: (index - 5) as never,
      term: 1 as never,
      configuration: {
        voters: [1],
        votersOutgoing: [],
        learners: [],
        learnersNext: [],
        autoLeave: false,
      },
    };
    await simulation.wait(log.whenDurable(log.compact(0, mark)));
  };
  for (let index = 1; index <= 100; index++) await append(index);
  await simulation.run({ forMs: 100 });
  machine.disk.quotaBytes = machine.disk.usedBytes();
  const before = log.segments.newest;
  for (let index = 101; index <= 300; index++) await append(index);
  assert.ok(log.segments.newest > before + 5);
  assert.equal(told.failed.length, 0);
});
