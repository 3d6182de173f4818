/** The log in order: what is appended comes back, batched, in every kind of record. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { LogError } from "../../../src/raft/wal/error.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import {
  describe,
  directory,
  entries,
  entry,
  hardState,
  makeLab,
  meta,
  openOn,
  Twin,
} from "./support.ts";

before(armBan);
after(liftBan);

test("everything that is appended comes back, of every kind, from several segments", async () => {
  const { simulation, machine } = await makeLab();
  const twin = new Twin();
  const { log } = await simulation.wait(openOn(machine.runtime));
  await simulation.wait((async () => {
    twin.create(log, 0, 1);
    twin.create(log, 7, 3);
    twin.append(log, 7, { snapshot: meta(0, 0, 1, 2, 3) });
    for (let index = 1; index <= 60; index += 3) {
      twin.append(log, 0, {
        entries: entries(index, index + 2, 2, "group 0 ".repeat(20)),
        hardState: hardState(2, 1, index - 1),
      });
      await log.whenDurable(
        twin.append(log, 7, {
          entries: [entry(index, 1), entry(index + 1, 2, "x"), { ...entry(index + 2, 3), type: 1 }],
        }),
      );
    }
    twin.append(log, 0, { entries: entries(41, 45, 3), hardState: hardState(3, 2, 40) });
    twin.truncate(log, 7, 50);
    twin.compact(log, 7, meta(20, 3, 1, 2));
    twin.append(log, 7, { hardState: hardState(3, 1, 33), lazy: true });
    await log.whenDurable(twin.append(log, 0, { snapshot: meta(100, 9, 1) }));
    await log.close();
  })());
  const again = await simulation.wait(openOn(machine.runtime));
  assert.ok(again.log.segments.newest > 3, "the workload fills several segments");
  assert.equal(again.tail, "clean");
  twin.check(again.groups, twin.states.length - 1, "reopened");
  await simulation.wait(again.log.close());
  machine.crash();
  machine.restart();
  const third = await simulation.wait(openOn(machine.runtime));
  twin.check(third.groups, 0, describe(third.groups));
});

test("what is appended while a sync runs goes out together with one write and one sync", async () => {
  const { simulation, machine } = await makeLab();
  const { log, told } = await simulation.wait(openOn(machine.runtime, { segmentBytes: 1 << 20 }));
  log.createGroup(0, 1);
  await simulation.wait(log.whenDurable(1));
  const before = log.written.batches;
  machine.disk.slowSync([50, 50]);
  const first = log.append(0, {
    snapshot: undefined,
    hardState: undefined,
    entries: entries(1, 1, 1),
    mustSync: true,
  });
  await simulation.run({ forMs: 20 });
  let last = 0;
  for (let index = 2; index <= 100; index++) {
    last = log.append(0, {
      snapshot: undefined,
      hardState: undefined,
      entries: entries(index, index, 1),
      mustSync: true,
    });
  }
  assert.equal(told.durable, 1);
  await simulation.wait(log.whenDurable(first));
  assert.equal(told.durable, first);
  await simulation.wait(log.whenDurable(last));
  assert.equal(log.written.batches - before, 2);
  assert.equal(told.durable, last);
});

test("a commit index alone waits for a batch that must go out, and an idle log writes nothing", async () => {
  const { simulation, machine } = await makeLab();
  const { log } = await simulation.wait(openOn(machine.runtime));
  await simulation.wait(log.whenDurable(log.createGroup(0, 1)));
  const idle = { snapshot: undefined, entries: [], mustSync: false };
  const { batches } = log.written;
  const events = simulation.events;
  for (let commit = 1; commit < 10; commit++) {
    log.append(0, { ...idle, hardState: hardState(1, 1, commit) });
  }
  await simulation.run({ forMs: 10_000 });
  assert.equal(log.written.batches, batches);
  assert.equal(simulation.events, events);
  await simulation.wait(
    log.whenDurable(log.append(0, { ...idle, hardState: undefined, mustSync: true })),
  );
  machine.crash();
  machine.restart();
  const again = await simulation.wait(openOn(machine.runtime));
  assert.deepEqual(again.groups[0].hardState, hardState(1, 1, 9));
});

test("a log that is opened and closed in order is left as it is", async () => {
  const { simulation, machine } = await makeLab();
  const { log } = await simulation.wait(openOn(machine.runtime));
  log.createGroup(0, 1);
  await simulation.wait(log.close());
  const path = `${directory}/wal-00000000000001.log`;
  const content = machine.disk.content(path);
  const again = await simulation.wait(openOn(machine.runtime));
  await simulation.wait(again.log.close());
  assert.deepEqual(machine.disk.content(path), content);
  assert.throws(
    () => again.log.createGroup(1, 1),
    (error) => error instanceof LogError && error.kind === "closed",
  );
});

test("a batch larger than a segment gets a segment of its size", async () => {
  const { simulation, machine } = await makeLab();
  const twin = new Twin();
  const { log } = await simulation.wait(openOn(machine.runtime));
  twin.create(log, 0, 1);
  twin.append(log, 0, { entries: [entry(1, 1, new Uint8Array(50_000).fill(7))] });
  await simulation.wait(
    log.whenDurable(twin.append(log, 0, { entries: [entry(2, 1, new Uint8Array(9000))] })),
  );
  await simulation.wait(log.whenDurable(twin.append(log, 0, { entries: entries(3, 40, 1) })));
  machine.crash();
  machine.restart();
  const again = await simulation.wait(openOn(machine.runtime));
  twin.check(again.groups, twin.states.length - 1, "reopened");
  assert.throws(
    () =>
      again.log.append(0, {
        snapshot: undefined,
        hardState: undefined,
        entries: [entry(41, 1, new Uint8Array(9 << 20))],
        mustSync: true,
      }),
    (error) => error instanceof LogError && error.kind === "too-large" && error.group === 0,
  );
});

test("segments that no group needs are used again; a group that lags keeps them", async () => {
  const { simulation, machine } = await makeLab();
  const twin = new Twin();
  const { log } = await simulation.wait(openOn(machine.runtime));
  twin.create(log, 0, 1);
  twin.create(log, 1, 1);
  twin.append(log, 1, { entries: entries(1, 1, 1) });
  for (let index = 1; index <= 400; index++) {
    await simulation.wait(
      log.whenDurable(twin.append(log, 0, { entries: [entry(index, 1, "x".repeat(256))] })),
    );
    if (index % 20 === 0) twin.compact(log, 0, meta(index - 10, 1, 1));
  }
  assert.equal(log.segments.oldest, 1);
  assert.equal(log.segments.holder, 1);
  assert.ok(log.segments.newest > 20);
  await simulation.wait(log.whenDurable(twin.compact(log, 1, meta(1, 1, 1))));
  await simulation.run({ forMs: 1000 });
  assert.ok(log.segments.newest - log.segments.oldest <= 2, JSON.stringify(log.segments));
  assert.equal(log.segments.spares, 2);
  const files = machine.disk.paths().length;
  for (let index = 401; index <= 1000; index++) {
    await simulation.wait(
      log.whenDurable(twin.append(log, 0, { entries: [entry(index, 1, "y".repeat(256))] })),
    );
    if (index % 20 === 0) twin.compact(log, 0, meta(index - 10, 1, 1));
  }
  assert.ok(machine.disk.paths().length <= files + 1, machine.disk.paths().join());
  await simulation.run({ forMs: 1000 });
  machine.crash();
  machine.restart();
  const again = await simulation.wait(openOn(machine.runtime));
  twin.check(again.groups, twin.states.length - 1, "reopened");
});
