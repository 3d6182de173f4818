/** What comes while a log is being closed, and marks that come too late. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { LogError } from "../../../src/raft/wal/error.ts";
import type { Disk } from "../../../src/runtime/port.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { entries, makeLab, meta, openOn, type Told, Twin } from "./support.ts";
import { watchedDisk } from "./watched_disk.ts";

before(armBan);
after(liftBan);

/** Says how many writes to the log are under way at once. */
function counted(disk: Disk, seen: { now: number; most: number }): Disk {
  return watchedDisk(disk, async ({ isDurable }, run) => {
    if (!isDurable) return await run();
    seen.most = Math.max(seen.most, ++seen.now);
    try {
      return await run();
    } finally {
      seen.now--;
    }
  });
}

test("an append while the log is being closed is written before its end, or refused", async () => {
  const endings = new Set<string>();
  for (let events = 0; events < 60; events++) {
    const { simulation, machine } = await makeLab({ seed: events + 1 });
    const { random } = machine.runtime;
    const seen = { now: 0, most: 0 };
    const disk = counted(machine.runtime.disk, seen);
    const twin = new Twin();
    const told: Told = { durable: 0, failed: [], space: [] };
    const { log } = await simulation.wait(
      openOn({ disk, random }, { segmentBytes: 2048 }, told),
    );
    twin.create(log, 0, 1);
    // Several segments, so that there are old ones to release while it is being closed.
    for (let first = 1; first < 200; first += 4) {
      const ticket = twin.append(log, 0, { entries: entries(first, first + 3, 1) });
      await simulation.wait(log.whenDurable(ticket));
    }
    twin.compact(log, 0, meta(190, 1, 1));
    let closed = false;
    const closing = log.close().then(() => closed = true);
    const begun = simulation.events;
    await simulation.run({ until: () => simulation.events - begun >= events || closed });
    const least = told.durable;
    try {
      twin.append(log, 0, { entries: entries(201, 204, 2) });
      endings.add("written");
    } catch (error) {
      assert.ok(error instanceof LogError && error.kind === "closed", String(error));
      twin.states.pop();
      endings.add(closed ? "closed" : "refused");
    }
    await simulation.wait(closing);
    await simulation.run({ forMs: 100 });
    assert.equal(seen.most, 1, `after ${events} events two batches are being written`);
    assert.equal(seen.now, 0);
    assert.deepEqual(told.failed, []);
    machine.crash();
    machine.restart();
    const again = await simulation.wait(openOn(machine.runtime, { segmentBytes: 2048 }));
    twin.check(again.groups, Math.max(least, told.durable), `after ${events} events`);
  }
  assert.deepEqual([...endings].sort(), ["closed", "refused", "written"]);
});

test("a mark that a newer one has overtaken changes nothing", async () => {
  const { simulation, machine } = await makeLab();
  const twin = new Twin();
  const { log } = await simulation.wait(openOn(machine.runtime));
  twin.create(log, 0, 1);
  twin.append(log, 0, { entries: entries(1, 20, 1) });
  // A leader's snapshot comes while one of the replica's own is being finished.
  const newest = twin.append(log, 0, { snapshot: meta(100, 2, 1, 2) });
  assert.equal(log.compact(0, meta(10, 1, 1)), newest);
  await simulation.wait(log.whenDurable(newest));
  await simulation.wait(log.whenDurable(twin.append(log, 0, { entries: entries(101, 102, 2) })));
  machine.crash();
  machine.restart();
  const again = await simulation.wait(openOn(machine.runtime));
  twin.check(again.groups, twin.states.length - 1, "opened again");
});
