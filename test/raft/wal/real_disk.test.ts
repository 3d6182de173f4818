/** The log on the real disk of the engine that runs this: rotation, reuse, reopening, snapshots. */
import { test } from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { LogError } from "../../../src/raft/wal/error.ts";
import { SnapshotStore } from "../../../src/raft/wal/snapshot_store.ts";
import { pickRuntime } from "../../compliance/real.ts";
import { entries, entry, hardState, meta, openOn, Twin } from "./support.ts";

const create = await pickRuntime();

/** Linux tells how a file was opened: octal, 010000 is O_DSYNC on the machines that we build for. */
function assertDurable(directory: string): void {
  if (!fs.existsSync("/proc/self/fdinfo")) return;
  const flags: number[] = [];
  for (const descriptor of fs.readdirSync("/proc/self/fd")) {
    let target: string;
    try {
      target = fs.readlinkSync(`/proc/self/fd/${descriptor}`);
    } catch {
      // That of the listing itself, which is gone.
      continue;
    }
    if (!target.startsWith(`${directory}/wal-`)) continue;
    const info = fs.readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8");
    flags.push(Number.parseInt(/flags:\s*([0-7]+)/.exec(info)![1], 8));
  }
  assert.equal(flags.length, 1, "the newest segment is open, and no other one");
  assert.equal(flags[0] & 0o10000, 0o10000);
}

test("a log on the real disk: callers share syncs, segments are reused, all of it comes back", async () => {
  const runtime = create();
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "covey-wal-"));
  try {
    const options = { directory: `${folder}/raft`, segmentBytes: 16 << 10 };
    const twin = new Twin();
    const { log, told } = await openOn(runtime, options);
    twin.create(log, 0, 1);
    twin.create(log, 1, 1);
    for (let round = 0; round < 40; round++) {
      const first = round * 64 + 1;
      const tickets = [];
      for (let index = first; index < first + 64; index++) {
        tickets.push(twin.append(log, 0, { entries: [entry(index, 1, "x".repeat(200))] }));
      }
      tickets.push(twin.append(log, 1, { entries: entries(round + 1, round + 3, round + 1) }));
      await Promise.all(tickets.map((ticket) => log.whenDurable(ticket)));
      if (round % 4 === 3) twin.compact(log, 0, meta(first, 1, 1));
      if (round % 8 === 7) twin.compact(log, 1, meta(round, round, 1));
    }
    await log.whenDurable(twin.append(log, 0, { hardState: hardState(2, 1, 7) }));
    assertDurable(options.directory);
    assert.ok(log.written.batches < 200, `${log.written.batches} batches`);
    assert.ok(log.segments.newest > 20);
    const store = await SnapshotStore.open(runtime.disk, {
      directory: `${folder}/snapshots`,
      logId: log.id,
    });
    const writer = await store.create(0, meta(9, 1, 1));
    await writer.write(new Uint8Array(200_000).fill(3));
    await writer.commit();
    await log.close();
    const again = await openOn(runtime, options);
    twin.check(again.groups, twin.states.length - 1, "reopened");
    await again.log.whenDurable(twin.append(again.log, 1, { entries: entries(43, 43, 50) }));
    // As after kill -9: nothing is closed.
    fs.cpSync(options.directory, `${folder}/copy`, { recursive: true });
    const third = await openOn(runtime, { ...options, directory: `${folder}/copy` });
    twin.check(third.groups, twin.states.length - 1, "copied");
    await third.log.close();
    assert.deepEqual(told.failed, []);
    const found = await store.read(0, 9);
    assert.equal(found?.reader.source.bytes, 200_000);
    await found?.reader.close();
    await again.log.close();
    await assert.rejects(
      openOn(runtime, { ...options, identity: { clusterId: "x", nodeId: "y", replicas: [] } }),
      (error) => error instanceof LogError && error.kind === "foreign",
    );
    assert.ok(fs.readdirSync(options.directory).length < 12);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});
