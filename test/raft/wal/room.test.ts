/** What is refused while it can be, because a log that finds no room has to end. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { carryForward } from "../../../src/raft/log_carry.ts";
import { SnapshotStore } from "../../../src/raft/wal/snapshot_store.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { entry, makeLab, meta, openOn } from "./support.ts";

before(armBan);
after(liftBan);

test("of a new segment the checkpoint of many groups takes a part", async () => {
  const { simulation, machine } = await makeLab();
  const { log, told } = await simulation.wait(
    openOn(machine.runtime, { segmentBytes: 32 << 10, lowWaterBytes: 10_000 }),
  );
  for (let id = 1; id <= 400; id++) {
    log.createGroup(id, 1);
    log.append(id, {
      snapshot: meta(5, 1, 1, 2, 3),
      hardState: undefined,
      entries: [],
      mustSync: true,
    });
  }
  log.createGroup(0, 1);
  await simulation.wait(log.whenDurable(log.append(0, {
    snapshot: meta(1, 1, 1),
    hardState: undefined,
    entries: [],
    mustSync: true,
  })));
  await simulation.run({ forMs: 100 });
  machine.disk.quotaBytes = machine.disk.usedBytes() + 100;
  assert.equal(await simulation.wait(log.checkSpace()), "low");
  assert.ok(log.segments.spares > 0);
  let taken = 0;
  for (let index = 2; index < 100; index++) {
    const entries = [entry(index, 1, new Uint8Array(24_000))];
    if (!log.hasRoomFor(entries)) break;
    taken++;
    const write = { snapshot: undefined, hardState: undefined, entries, mustSync: true };
    await simulation.wait(log.whenDurable(log.append(0, write)));
  }
  await simulation.run({ forMs: 100 });
  assert.ok(taken < 98, `${taken} taken`);
  assert.deepEqual(told.failed, []);
});

for (const freeBytes of [100, 30_000]) {
  test(`with ${freeBytes} bytes free a group is not carried forward that needs more`, async () => {
    const { simulation, machine } = await makeLab();
    const { log, told } = await simulation.wait(
      openOn(machine.runtime, { segmentBytes: 32 << 10, lowWaterBytes: 10_000 }),
    );
    const store = await simulation.wait(
      SnapshotStore.open(machine.runtime.disk, { directory: "/data/snapshots", logId: log.id }),
    );
    const writer = await simulation.wait(store.create(0, meta(1, 1, 1)));
    await simulation.wait(writer.write(new Uint8Array(10)));
    await simulation.wait(writer.commit());
    log.createGroup(0, 1);
    const entries = Array.from({ length: 4 }, (_, at) => entry(at + 2, 1, new Uint8Array(10_000)));
    const write = { hardState: undefined, entries, mustSync: true };
    await simulation.wait(log.whenDurable(log.append(0, { snapshot: meta(1, 1, 1), ...write })));
    await simulation.run({ forMs: 100 });
    machine.disk.quotaBytes = machine.disk.usedBytes() + freeBytes;
    const space = await simulation.wait(log.checkSpace());
    assert.equal(space, freeBytes < 10_000 ? "low" : "normal");
    const group = { group: 0, fits: () => true, entriesFrom: () => entries };
    assert.equal(await simulation.wait(carryForward({ log, store }, group)), false);
    await simulation.run({ forMs: 100 });
    assert.deepEqual(told.failed, []);
    machine.disk.quotaBytes = Infinity;
    await simulation.wait(log.checkSpace());
    assert.equal(await simulation.wait(carryForward({ log, store }, group)), true);
    await simulation.wait(log.close());
    assert.deepEqual(told.failed, []);
  });
}
