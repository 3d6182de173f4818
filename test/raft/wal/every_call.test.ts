/**
 * One failing call at a time, at every call that a whole life of a log and its snapshots makes:
 * opening, rotating, snapshots of its own and of a leader, pruning, truncating, closing. Nothing may
 * stay open, and the next opening finds all that was acknowledged.
 */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { CoveyError } from "../../../src/base/error.ts";
import { silentLogger } from "../../../src/base/log.ts";
import { crc32c } from "../../../src/base/crc32c.ts";
import type { SnapshotMeta } from "../../../src/raft/core/types.ts";
import { PatientDisk } from "../../../src/raft/patient_disk.ts";
import { raftOptionsDefault } from "../../../src/raft/options.ts";
import { openStorage, type Storage } from "../../../src/raft/storage.ts";
import type { SnapshotWriter } from "../../../src/raft/wal/snapshot_writer.ts";
import { DiskError, type Runtime } from "../../../src/runtime/port.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { entries, hardState, makeLab, meta, type Told, Twin } from "./support.ts";
import { type DiskCall, watchedDisk } from "./watched_disk.ts";

before(armBan);
after(liftBan);

/** Whether the failing call did its work before it failed. */
type When = "before" | "after";

type Parts = Pick<Runtime, "disk" | "random">;

/** Calls that take a descriptor of their own. */
const opening: readonly DiskCall[] = ["list", "open", "readFile", "replaceFile", "syncDirectory"];

const content = new Uint8Array(150_000).fill(7);

async function open({ disk, random }: Parts, told: Told): Promise<Storage> {
  return await openStorage({
    disk,
    random,
    logger: silentLogger,
    directory: "/data/raft",
    clusterId: "c1",
    nodeId: "n1",
    replicas: [{ group: 0, replica: 1 }],
    create: true,
    options: { ...raftOptionsDefault, segmentBytes: 2048, lowWaterBytes: 0 },
  }, {
    durable: (ticket) => told.durable = ticket,
    failed: (error) => told.failed.push(error),
    space: (state) => told.space.push(state),
  });
}

async function finish(writer: SnapshotWriter): Promise<void> {
  try {
    await writer.write(content);
    await writer.commit();
  } catch (error) {
    await writer.abandon();
    throw error;
  }
}

/** Two lives of a log with a snapshot of each kind. */
async function lives(parts: Parts, twin: Twin, told: Told): Promise<void> {
  for (let life = 0; life < 2; life++) {
    const storage = await open(parts, told);
    try {
      await live(storage, life, twin);
    } finally {
      await storage.log.close();
    }
    // Tickets begin anew; what was acknowledged is where the twin goes on.
    twin.states.splice(0, twin.states.length - 1);
    told.durable = 0;
  }
}

async function live({ log, store }: Storage, life: number, twin: Twin): Promise<void> {
  if (life === 0) twin.create(log, 0, 1);
  const first = life * 40;
  for (let round = 0; round < 8; round++) {
    const index = first + round * 4 + 1;
    const ticket = twin.append(log, 0, {
      entries: entries(index, index + 3, 1 + life, "value ".repeat(20)),
      hardState: hardState(1 + life, 1, index),
    });
    await log.whenDurable(ticket);
    if (round === 2) await log.whenDurable(twin.truncate(log, 0, index + 1));
    if (round === 2) twin.append(log, 0, { entries: entries(index + 2, index + 3, 1 + life) });
    if (round % 3 !== 1) continue;
    const mark = meta(index, 1 + life, 1, 2);
    await finish(await store.create(0, mark));
    const older: SnapshotMeta | undefined = store.older(0);
    if (older !== undefined) await log.whenDurable(twin.compact(log, 0, older));
  }
  const sent = meta(first + 40, 1 + life, 1, 2);
  const source = { bytes: content.length, checksum: crc32c(content) };
  await finish(await store.receive(0, sent, source));
  await log.whenDurable(twin.append(log, 0, { snapshot: sent }));
  await store.prune(0, sent.index);
  const found = await store.read(0, sent.index);
  await found?.reader.close();
  await store.use(0, sent.index, () => true, async (reader) => {
    for (let at = 0; at < reader.source.bytes;) at += (await reader.read(at)).length;
  });
}

interface FailingRun {
  /** Which call fails, from 0. */
  readonly nth: number;
  readonly when: When;
}

/** The call that failed; undefined when there were not so many. */
async function failingRun({ nth, when }: FailingRun): Promise<DiskCall | undefined> {
  const { simulation, machine } = await makeLab({ seed: nth + 1 });
  const { runtime } = machine;
  const open_ = new Set<string>();
  let calls = 0;
  let opened = 0;
  let failed: { readonly call: DiskCall; readonly path: string } | undefined;
  const names = new Map<string, string[]>();
  const disk = watchedDisk(runtime.disk, async ({ call, path }, run) => {
    const mine = calls++ === nth;
    if (mine) failed = { call, path };
    // Files are counted by name: of two open ones with one name, either may be the closed one.
    if (call === "close") names.get(path)?.pop();
    const error = new DiskError("io", path, `${call} fails`);
    if (mine && when === "before" && call !== "close") throw error;
    const result = await run();
    if (call === "open" && !mine) {
      opened++;
      names.set(path, [...names.get(path) ?? [], path]);
    }
    if (!mine) return result;
    // An open that fails leaves nothing open, and a close that fails has closed.
    if (call === "open") await (result as { close(): Promise<void> }).close();
    throw error;
  });
  const what = (): string => `${failed?.call} of ${failed?.path} (call ${nth}, ${when} its work)`;
  const twin = new Twin();
  const told: Told = { durable: 0, failed: [], space: [] };
  let failure: unknown;
  await simulation.wait(
    lives({ disk, random: runtime.random }, twin, told).catch((error) => failure = error),
  );
  for (const list of names.values()) for (const name of list) open_.add(name);
  assert.deepEqual([...open_], [], `left open after ${what()}`);
  assert.ok(opened > 0 || nth < 10, what());
  if (failure !== undefined) {
    const typed = failure instanceof CoveyError || failure instanceof DiskError;
    assert.ok(typed, `${what()}: ${failure}`);
  }
  assert.ok(told.failed.length <= 1, what());
  const { durable } = told;
  machine.kill();
  machine.restart();
  const again: Told = { durable: 0, failed: [], space: [] };
  const storage = await simulation.wait(open(machine.runtime, again));
  const groups = [...storage.groups.values()];
  twin.check(groups, durable, what());
  // Its snapshots go with it.
  for (const { snapshot } of groups) {
    if (snapshot.index === 0) continue;
    const found = await simulation.wait(storage.store.read(0, snapshot.index));
    assert.ok(found !== undefined, what());
    await simulation.wait(found.reader.close());
  }
  await simulation.wait(storage.log.close());
  return failed?.call;
}

for (const when of ["before", "after"] as const) {
  test(`a call that fails ${when} its work, at every place, leaves nothing open and loses nothing`, async () => {
    const seen = new Map<DiskCall, number>();
    for (let nth = 0;; nth++) {
      const call = await failingRun({ nth, when });
      if (call === undefined) break;
      seen.set(call, (seen.get(call) ?? 0) + 1);
    }
    const expected: DiskCall[] = [
      "close",
      "freeBytes",
      "list",
      "makeDirectory",
      "open",
      "read",
      "readFile",
      "remove",
      "rename",
      "replaceFile",
      "size",
      "stat",
      "sync",
      "syncDirectory",
      "truncate",
      "write",
    ];
    assert.deepEqual([...seen.keys()].sort(), expected, JSON.stringify([...seen]));
  });
}

test("a shortage of descriptors, at every call that needs one, is waited for", async () => {
  const { simulation, machine } = await makeLab({ seed: 1 });
  const { clock, random } = machine.runtime;
  const tries = new Map<DiskCall, number>();
  let waits = 0;
  const short = watchedDisk(machine.runtime.disk, async ({ call }, run) => {
    if (!opening.includes(call)) return await run();
    // Two calls of this kind find none, the third does.
    const count = (tries.get(call) ?? 0) + 1;
    tries.set(call, count);
    if (count % 3 !== 0) machine.disk.failOpen();
    return await run();
  });
  const disk = new PatientDisk({ disk: short, clock, logger: silentLogger, waits: () => waits++ });
  const twin = new Twin();
  const told: Told = { durable: 0, failed: [], space: [] };
  await simulation.wait(lives({ disk, random }, twin, told));
  assert.deepEqual(told.failed, []);
  assert.ok(waits > 40, `${waits} calls waited`);
  assert.deepEqual([...tries.keys()].sort(), [...opening]);
  assert.ok([...tries.values()].every((count) => count % 3 === 0), JSON.stringify([...tries]));
  machine.disk.heal();
  machine.kill();
  machine.restart();
  const storage = await simulation.wait(
    open(machine.runtime, { durable: 0, failed: [], space: [] }),
  );
  twin.check([...storage.groups.values()], twin.states.length - 1, "after the shortage");
  await simulation.wait(storage.log.close());
});
