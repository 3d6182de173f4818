/** What the disk refused in the middle of a snapshot, and snapshots that get in each other's way. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { crc32c } from "../../../src/base/crc32c.ts";
import type { SnapshotSource } from "../../../src/raft/wal/snapshot_format.ts";
import { SnapshotStore } from "../../../src/raft/wal/snapshot_store.ts";
import type { SnapshotWriter } from "../../../src/raft/wal/snapshot_writer.ts";
import type { Disk } from "../../../src/runtime/port.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { makeLab, meta } from "./support.ts";
import { watchedDisk } from "./watched_disk.ts";

before(armBan);
after(liftBan);

const directory = "/data/raft";
const logId = new Uint8Array(8).fill(5);
const content = new Uint8Array(700_000).fill(9);
const source: SnapshotSource = { bytes: content.length, checksum: crc32c(content) };

function openStore(disk: Disk): Promise<SnapshotStore> {
  return SnapshotStore.open(disk, { directory, logId });
}

/** As the receiver does it: what came stays for a transfer that goes on, if it may. */
async function receive(store: SnapshotStore): Promise<number> {
  const writer = await store.receive(3, meta(20, 1, 1, 2), source);
  const began = writer.offset;
  try {
    while (writer.offset < content.length) {
      await writer.write(content.subarray(writer.offset, writer.offset + 65_536));
    }
    await writer.commit();
  } finally {
    await writer.suspend();
  }
  return began;
}

test("after a sync that failed, nothing of a transfer counts as written", async () => {
  for (let nth = 0;; nth++) {
    const { simulation, machine } = await makeLab({ seed: nth + 1 });
    let syncs = 0;
    const disk = watchedDisk(machine.runtime.disk, async ({ call, path }, run) => {
      const fails = call === "sync" && path.endsWith(".part") && syncs++ === nth;
      if (fails) machine.disk.failSync();
      try {
        return await run();
      } finally {
        if (fails) machine.disk.heal();
      }
    });
    const store = await simulation.wait(openStore(disk));
    const failure = await simulation.wait(receive(store).then(() => undefined, (error) => error));
    if (failure === undefined) {
      assert.ok(nth >= 3, `${nth} syncs`);
      return;
    }
    // The pages look clean now, and another sync would not write them.
    const began = await simulation.wait(receive(store));
    machine.crash();
    machine.restart();
    await simulation.wait((async () => {
      const again = await openStore(machine.runtime.disk);
      const found = await again.read(3, 20);
      await found!.reader.close();
    })());
    assert.equal(began, 0, `sync ${nth}`);
  }
});

test("a snapshot that is getting its name is not taken for one that nobody goes on with", async () => {
  const { simulation, machine } = await makeLab();
  let held: (() => void) | undefined;
  let isHolding = false;
  const disk = watchedDisk(machine.runtime.disk, async ({ call, path }, run) => {
    if (call === "rename" && path.endsWith(".part") && !isHolding) {
      isHolding = true;
      await new Promise<void>((resolve) => held = resolve);
    }
    return await run();
  });
  await simulation.wait((async () => {
    const store = await openStore(disk);
    const own = await store.create(3, meta(10, 1, 1, 2));
    await own.write(content);
    const committed = own.commit();
    while (held === undefined) await disk.stat("/data");
    const sent = await store.receive(3, meta(20, 1, 1, 2), source);
    held();
    await committed;
    await sent.abandon();
    assert.deepEqual(store.list(3).map(({ index }) => index), [10]);
  })());
});

test("one of its own that is finished late removes nothing that a leader has sent", async () => {
  const { simulation, machine } = await makeLab();
  await simulation.wait((async () => {
    const store = await openStore(machine.runtime.disk);
    const save = async (writer: SnapshotWriter): Promise<void> => {
      await writer.write(content);
      await writer.commit();
    };
    await save(await store.create(3, meta(10, 1, 1)));
    await save(await store.create(3, meta(20, 1, 1)));
    const late = await store.create(3, meta(30, 1, 1));
    // The log has the first one's mark already, and not yet that of the second.
    await save(await store.receive(3, meta(200, 2, 1), source));
    await save(await store.receive(3, meta(300, 2, 1), source));
    await save(late);
    assert.deepEqual(store.list(3).map(({ index }) => index), [20, 30, 200, 300]);
    await store.prune(3, 200);
    assert.deepEqual(store.list(3).map(({ index }) => index), [30, 200, 300]);
  })());
});
