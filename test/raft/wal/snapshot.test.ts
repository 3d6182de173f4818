/** Snapshots on disk: made, received with interruptions, read back, damaged, crashed, full. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { concatBytes, equalBytes } from "../../../src/base/bytes.ts";
import { crc32c } from "../../../src/base/crc32c.ts";
import { LogError } from "../../../src/raft/wal/error.ts";
import { putU16, putU32 } from "../../../src/raft/wal/record_bytes.ts";
import type { SnapshotReader } from "../../../src/raft/wal/snapshot_reader.ts";
import { type FoundSnapshot, SnapshotStore } from "../../../src/raft/wal/snapshot_store.ts";
import { DiskError, type Runtime } from "../../../src/runtime/port.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { filesOf, type Lab, makeLab, meta, placeFiles } from "./support.ts";

before(armBan);
after(liftBan);

const directory = "/data/raft";
const chunkBytes = 256;
const logId = new Uint8Array(8).fill(5);

function pattern(length: number, first = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = first + (Math.imul(at, 0x9e3779b1) >>> 24);
  return bytes;
}

function openStore(runtime: Pick<Runtime, "disk">, id = logId): Promise<SnapshotStore> {
  return SnapshotStore.open(runtime.disk, { directory, logId: id, chunkBytes });
}

async function save(store: SnapshotStore, index: number, content: Uint8Array): Promise<void> {
  const writer = await store.create(3, meta(index, 1, 1, 2));
  for (let at = 0; at < content.length; at += 100) {
    await writer.write(content.subarray(at, at + 100));
  }
  await writer.commit();
}

async function contentOf(reader: SnapshotReader): Promise<Uint8Array> {
  const content = new Uint8Array(reader.source.bytes);
  for (let at = 0; at < content.length;) {
    const part = await reader.read(at);
    content.set(part, at);
    at += part.length;
  }
  assert.equal((await reader.read(content.length)).length, 0);
  return content;
}

async function newest(store: SnapshotStore, least = 0): Promise<[number, Uint8Array] | undefined> {
  const found = await store.read(3, least);
  if (found === undefined) return undefined;
  const content = await contentOf(found.reader);
  await found.reader.close();
  return [found.reader.header.meta.index, content];
}

test("a snapshot of any length comes back, from any offset", async () => {
  const { simulation, machine } = await makeLab();
  await simulation.wait((async () => {
    let store = await openStore(machine.runtime);
    assert.equal(await newest(store), undefined);
    let index = 0;
    for (const length of [0, 1, 255, 256, 257, 512, 1000, 5000]) {
      const content = pattern(length);
      await save(store, ++index, content);
      store = await openStore(machine.runtime);
      const found = await store.read(3, index) as FoundSnapshot;
      assert.ok(equalBytes(await contentOf(found.reader), content));
      assert.deepEqual(found.reader.source, { bytes: length, checksum: crc32c(content) });
      assert.deepEqual(found.reader.header.meta, meta(index, 1, 1, 2));
      for (const offset of [1, 254, 256, 700]) {
        const part = await found.reader.read(offset);
        assert.ok(equalBytes(part, content.subarray(offset, offset + part.length)));
        assert.ok(part.length > 0 || offset >= length);
      }
      await found.reader.close();
      assert.equal(store.list(3).length, Math.min(index, 2));
      assert.equal(store.older(3)?.index, index < 2 ? undefined : index - 1);
    }
    assert.equal(machine.disk.paths().length, 2);
    await store.remove(3);
    assert.equal(machine.disk.paths().length, 0);
  })());
});

/** A store of two snapshots, 10 with 700 bytes and 20 with 900, and one of another group. */
async function twoSnapshots(): Promise<Lab> {
  const lab = await makeLab();
  await lab.simulation.wait((async () => {
    const store = await openStore(lab.machine.runtime);
    await save(store, 10, pattern(700));
    await save(store, 20, pattern(900, 3));
    const other = await store.create(4, meta(1, 1, 1));
    await other.commit();
  })());
  return lab;
}

test("with a flipped bit at any byte of the newer, the older one is read instead", async () => {
  const files = filesOf(await twoSnapshots());
  const path = [...files.keys()].filter((name) => name.includes("-00000000000003-"))[1];
  const bytes = files.get(path) as Uint8Array;
  for (let at = 0; at < bytes.length; at++) {
    const flipped = bytes.slice();
    flipped[at] ^= 1 << at % 8;
    const lab = await makeLab();
    await placeFiles(lab, new Map([...files, [path, flipped]]));
    await lab.simulation.wait((async () => {
      const store = await openStore(lab.machine.runtime);
      const found = await store.read(3, 10) as FoundSnapshot;
      assert.equal(found.reader.header.meta.index, 10, `byte ${at}`);
      assert.equal(found.damaged.length, 1);
      assert.equal(found.damaged[0].file, path);
      assert.ok(equalBytes(await contentOf(found.reader), pattern(700)));
      await found.reader.close();
      // Behind entry 15 the older one is of no use.
      await assert.rejects(
        store.read(3, 15),
        (error) => error instanceof LogError && error.kind === "damaged" && error.file === path,
      );
      await save(store, 30, pattern(10));
      assert.deepEqual(store.list(3).map(({ index }) => index), [10, 30]);
      assert.deepEqual((await newest(store, 15))?.[0], 30);
    })());
  }
});

test("what turns out damaged while it is used is passed over, and its use begins anew", async () => {
  const files = filesOf(await twoSnapshots());
  const path = [...files.keys()].filter((name) => name.includes("-00000000000003-"))[1];
  const bytes = files.get(path) as Uint8Array;
  const seen = { older: 0, begun: 0 };
  for (let at = 0; at < bytes.length; at += 3) {
    const flipped = bytes.slice();
    flipped[at] ^= 1 << at % 8;
    const lab = await makeLab();
    await placeFiles(lab, new Map([...files, [path, flipped]]));
    await lab.simulation.wait((async () => {
      const store = await openStore(lab.machine.runtime);
      let content: Uint8Array = new Uint8Array(0);
      const used = await store.use(3, 5, () => true, async (reader) => {
        if (content.length > 0) seen.begun++;
        content = new Uint8Array(0);
        for (let from = 0; from < reader.source.bytes;) {
          const part = await reader.read(from);
          content = concatBytes([content, part]);
          from += part.length;
        }
      });
      assert.equal(used?.meta.index, 10);
      assert.equal(used?.bytes, 700);
      assert.equal(used?.damaged.length, 1);
      assert.ok(equalBytes(content, pattern(700)), `byte ${at}`);
      await assert.rejects(
        store.use(3, 15, () => true, () => Promise.resolve()),
        (error) => error instanceof LogError && error.kind === "damaged",
      );
    })());
    seen.older++;
  }
  assert.ok(seen.older > 200 && seen.begun > 100, JSON.stringify(seen));
});

test("a snapshot of several windows comes back in any order", async () => {
  const { simulation, machine } = await makeLab();
  await simulation.wait((async () => {
    const store = await openStore(machine.runtime);
    const content = pattern(700_000);
    await save(store, 1, content);
    const found = await store.read(3, 1) as FoundSnapshot;
    assert.ok(equalBytes(await contentOf(found.reader), content));
    for (const offset of [699_999, 0, 300_000, 299_999, 262_144, 5, 524_287, 650_000]) {
      const part = await found.reader.read(offset);
      assert.ok(part.length > 0);
      assert.ok(equalBytes(part, content.subarray(offset, offset + part.length)), `${offset}`);
    }
    await found.reader.close();
  })());
});

test("a snapshot that is gone, foreign or newer says so", async () => {
  const lab = await twoSnapshots();
  const { simulation, machine } = lab;
  const files = filesOf(lab);
  const rejects = (work: Promise<unknown>, kind: string): Promise<void> =>
    assert.rejects(work, (error) => error instanceof LogError && error.kind === kind);
  await simulation.wait((async () => {
    const store = await openStore(machine.runtime);
    await rejects(store.read(3, 21), "lost");
    await rejects(store.read(9, 1), "lost");
    assert.equal(await store.read(9, 0), undefined);
    const foreign = await openStore(machine.runtime, new Uint8Array(8));
    await rejects(foreign.read(3, 0), "foreign");
  })());
  const [path, bytes] = [...files][0];
  putU16(bytes, 8, 2);
  putU32(bytes, 12, crc32c(bytes, 0, 12));
  const other = await makeLab();
  await placeFiles(other, new Map([[path, bytes]]));
  await other.simulation.wait(rejects(openStore(other.machine.runtime), "newer"));
});

test("a transfer goes on where it broke off, and only with the very same snapshot", async () => {
  const { simulation, machine } = await makeLab();
  const content = pattern(3000);
  const source = { bytes: content.length, checksum: crc32c(content) };
  await simulation.wait((async () => {
    let store = await openStore(machine.runtime);
    let writer = await store.receive(3, meta(50, 2, 1), source);
    assert.equal(writer.offset, 0);
    await writer.write(content.subarray(0, 1000));
    assert.equal(writer.offset, 1000);
    await writer.suspend();
    store = await openStore(machine.runtime);
    writer = await store.receive(3, meta(50, 2, 1), source);
    assert.equal(writer.offset, 768, "whole chunks are taken up");
    await writer.write(content.subarray(768, 2000));
    await writer.suspend();
    // Another sender's snapshot of the same index has other bytes.
    writer = await store.receive(3, meta(50, 2, 1), { ...source, checksum: 1 });
    assert.equal(writer.offset, 0);
    await writer.write(content);
    await assert.rejects(
      writer.commit(),
      (error) => error instanceof LogError && error.kind === "damaged" && error.group === 3,
    );
    assert.deepEqual(machine.disk.paths(), []);
    writer = await store.receive(3, meta(50, 2, 1), source);
    await writer.write(content.subarray(0, 600));
    await writer.suspend();
    writer = await store.receive(3, meta(50, 2, 1), source);
    await writer.write(content.subarray(writer.offset));
    assert.deepEqual(await writer.commit(), source);
    assert.ok(equalBytes((await newest(store))?.[1] as Uint8Array, content));
  })());
});

test("a crash anywhere leaves the old snapshots or the new one, and transfers go on", async () => {
  const content = pattern(2000, 7);
  const source = { bytes: content.length, checksum: crc32c(content) };
  const seen = { old: 0, fresh: 0, resumed: 0 };
  for (let events = 0, ended = false; !ended; events++) {
    const lab = await makeLab({ seed: events + 1, tornWriteChance: 0.7 });
    await placeFiles(lab, filesOf(await twoSnapshots()));
    const { simulation, machine } = lab;
    let done = false;
    (async () => {
      const store = await openStore(machine.runtime);
      const writer = await store.receive(3, meta(30, 2, 1), source);
      await writer.write(content);
      await writer.commit();
      done = true;
    })().catch((error) => assert.fail(error));
    const started = simulation.events;
    await simulation.run({ until: () => simulation.events - started >= events || done });
    ended = done;
    if (events % 4 === 0) machine.kill();
    else machine.crash();
    machine.restart();
    await simulation.wait((async () => {
      const store = await openStore(machine.runtime);
      const [index, bytes] = await newest(store) as [number, Uint8Array];
      assert.ok(index === 30 || !done, `committed, and gone after ${events} events`);
      assert.ok(equalBytes(bytes, index === 30 ? content : pattern(900, 3)), `after ${events}`);
      seen[index === 30 ? "fresh" : "old"]++;
      if (index === 30) return;
      const writer = await store.receive(3, meta(30, 2, 1), source);
      if (writer.offset > 0) seen.resumed++;
      await writer.write(content.subarray(writer.offset));
      await writer.commit();
      assert.ok(equalBytes((await newest(store))?.[1] as Uint8Array, content));
      // The log may not know of it yet: until it does, both of its own stay.
      assert.equal(machine.disk.paths().length, 4);
      await store.prune(3, 30);
      assert.equal(machine.disk.paths().length, 3);
      assert.ok(equalBytes((await newest(store))?.[1] as Uint8Array, content));
    })());
  }
  assert.ok(seen.old > 20 && seen.fresh > 0 && seen.resumed > 3, JSON.stringify(seen));
});

test("a full disk is told, and an abandoned snapshot gives its room back", async () => {
  const { simulation, machine } = await makeLab({}, 4000);
  await simulation.wait((async () => {
    const store = await openStore(machine.runtime);
    await save(store, 1, pattern(1500));
    const writer = await store.create(3, meta(2, 1, 1, 2));
    await assert.rejects(
      writer.write(pattern(5000)),
      (error) => error instanceof DiskError && error.kind === "full",
    );
    await writer.abandon();
    assert.equal(machine.disk.paths().length, 1);
    await save(store, 3, pattern(1500));
    assert.deepEqual(store.list(3).map(({ index }) => index), [1, 3]);
  })());
});
