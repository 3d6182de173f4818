/** How much of the log stays in memory, and what becomes of those who need what does not. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Observer } from "../../../src/raft/observer.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { Lab, type LabNode } from "./lab.ts";
import { TestMachine } from "./test_machine.ts";

before(armBan);
after(liftBan);

const catchUpBytes = 32 << 10;
/** No snapshot is due in any of these tests but the ones that somebody needs. */
const rare = { catchUpBytes, snapshotLogBytes: 64 << 20, segmentBytes: 1 << 20 };
/** What is forgotten at once, and what comes between two looks. */
const slackBytes = 12 << 10;

/** Bytes of applied entries in memory. */
function heldBytes({ root }: LabNode): number {
  const entries = root.committedFrom(root.status().firstIndex, Infinity);
  assert.notEqual(entries, "compacted");
  let bytes = 0;
  if (entries !== "compacted") { for (const { data } of entries) bytes += data.length + 24; }
  return bytes;
}

/** One entry of a KiB each so many milliseconds, until it is stopped. */
function load(lab: Lab, node: LabNode, everyMs: number): { stop(): Promise<void> } {
  let running = true;
  const writer = (async () => {
    while (running) {
      await lab.propose(node, { bytes: 1 << 10, timeoutMs: 5_000 });
      await lab.sleep(everyMs);
    }
  })();
  return {
    stop: async () => {
      running = false;
      await lab.wait(writer);
    },
  };
}

test("what every replica has stays in memory as far as is asked for, snapshot or not", async () => {
  const lab = new Lab({ raft: rare });
  const names = ["a", "b", "c"];
  const leader = await lab.found(...names);
  for (let round = 0; round < 30; round++) {
    await lab.put(leader, 8, 1 << 10);
    await lab.pass(200);
    for (const node of lab.alive) {
      assert.ok(heldBytes(node) <= catchUpBytes + slackBytes, `${node.name}: ${heldBytes(node)}`);
    }
  }
  for (const { cluster, root } of lab.alive) {
    assert.equal(cluster.counters.snapshotsTaken, 0);
    assert.ok(root.status().firstIndex > root.status().snapshotIndex + 100);
    assert.ok(heldBytes(leader) >= catchUpBytes / 2, "a little is kept");
  }
  // The disk has all of it.
  const before = leader.machine.commands.length;
  for (const name of names) lab.machine(name).losePower();
  await lab.pass(50);
  lab.start(...names);
  await lab.leader(names);
  await lab.converged();
  await lab.pass(1_000);
  for (const node of lab.alive) {
    assert.equal(node.machine.commands.length, before);
    assert.ok(heldBytes(node) <= catchUpBytes + slackBytes, `${node.name}: ${heldBytes(node)}`);
  }
  lab.checkOperations();
});

test("a follower that was away gets what is in memory, or a snapshot that is taken for it", async () => {
  const lab = new Lab({ raft: rare });
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 200, 1 << 10);
  await lab.pass(1_000);
  const [behind] = lab.followers();
  lab.machine(behind.name).kill();
  await lab.put(leader, 8, 1 << 10);
  await lab.pass(5_000);
  lab.start(behind.name);
  await lab.converged();
  const { counters } = leader.cluster;
  assert.equal(counters.snapshotsTaken, 0);
  assert.equal(counters.snapshotsSent, 0);
  lab.machine(behind.name).kill();
  await lab.put(leader, 200, 1 << 10);
  await lab.pass(5_000);
  assert.equal(counters.snapshotsTaken, 0, "none while nobody asks");
  lab.start(behind.name);
  await lab.converged();
  await lab.pass(1_000);
  assert.equal(counters.snapshotsTaken, 1);
  assert.equal(counters.snapshotsSent, 1);
  await lab.pass(20_000);
  assert.equal(counters.snapshotsTaken, 1);
  lab.checkOperations();
});

/** The order in which both sides dial, and so who changes over to whose stream, is a matter of the seed. */
async function catchUpSlowly(seed: number): Promise<void> {
  const padBytes = 3 << 20;
  const lab = new Lab({
    raft: { ...rare, snapshotLogBytes: 4 << 20 },
    machine: { padBytes },
    windowBytes: 128 << 10,
    seed,
  });
  const leader = await lab.found("a", "b", "c");
  const [{ name }] = lab.followers();
  lab.machine(name).kill();
  await lab.put(leader, 100, 1 << 10);
  await lab.pass(4_000);
  const slow = lab.simulation.slowLink(leader.name, name, 125_000);
  // About 40 kB/s, a third of the line: 1 MB and more while the snapshot is on its way.
  const traffic = load(lab, leader, 20);
  lab.start(name);
  let largest = 0;
  let caughtUp = false;
  for (let second = 0; second < 120 && !caughtUp; second++) {
    await lab.pass(1_000);
    largest = Math.max(largest, heldBytes(leader));
    if (!lab.has(name) || lab.node(name).cluster.root === undefined) continue;
    caughtUp = leader.root.applied - lab.node(name).root.applied < 20;
  }
  assert.ok(caughtUp, lab.describe());
  assert.equal(leader.cluster.counters.snapshotsSent, 1, "the first one was enough");
  assert.equal(leader.cluster.counters.snapshotsTaken, 1);
  assert.ok(largest > 4 * catchUpBytes, `what it lacked was kept: ${largest} bytes`);
  assert.ok(largest <= (4 << 20) + slackBytes, `${largest} bytes`);
  await lab.pass(5_000);
  assert.ok(heldBytes(leader) <= 2 * catchUpBytes, "and given back");
  await traffic.stop();
  slow.heal();
  await lab.converged();
  lab.checkOperations();
}

test("under load a follower on a line of 1 Mbit/s gets a snapshot and catches up, in bounds", async () => {
  for (const seed of [1, 8, 10, 15]) await catchUpSlowly(seed);
});

test("a line that is slower than the load costs no more than the bound, and no spinning", async () => {
  const snapshotLogBytes = 256 << 10;
  const lab = new Lab({
    raft: { catchUpBytes, snapshotLogBytes, segmentBytes: 256 << 10 },
    windowBytes: 64 << 10,
  });
  const leader = await lab.found("a", "b", "c");
  const [{ name }] = lab.followers();
  await lab.pass(1_000);
  const slow = lab.simulation.slowLink(leader.name, name, 16_000);
  const traffic = load(lab, leader, 10);
  const framesBefore = leader.cluster.counters.log.framesSent;
  const takenBefore = leader.cluster.counters.snapshotsTaken;
  let largest = 0;
  let appended = 0;
  for (let second = 0; second < 90; second++) {
    await lab.pass(1_000);
    largest = Math.max(largest, heldBytes(leader));
    appended = leader.root.applied << 10;
  }
  const { counters } = leader.cluster;
  const most = Math.max(snapshotLogBytes, appended);
  assert.ok(appended > 4 * snapshotLogBytes, `${appended} bytes came`);
  assert.ok(largest <= most + slackBytes, `${largest} bytes of ${appended}`);
  // Those that are due, and not one for each time that it asks.
  const taken = counters.snapshotsTaken - takenBefore;
  assert.ok(taken <= appended / catchUpBytes, `${taken} taken`);
  assert.ok(counters.log.framesSent - framesBefore < 90 * 250, `${counters.log.framesSent}`);
  assert.ok(leader.isLeading);
  await traffic.stop();
  slow.heal();
  await lab.converged(undefined, 120_000);
  lab.checkOperations();
});

test("who waits for a snapshot is seen to wait; without room for one it is tried again", async () => {
  const lab = new Lab({ raft: rare, machine: { padBytes: 1 << 20 } });
  const leader = await lab.found("a", "b", "c");
  const [{ name }] = lab.followers();
  lab.machine(name).kill();
  await lab.put(leader, 200, 1 << 10);
  await lab.pass(4_000);
  const { disk } = lab.machine(leader.name);
  disk.quotaBytes = disk.usedBytes() + (512 << 10);
  lab.start(name);
  await lab.pass(15_000);
  assert.ok(leader.isLeading);
  const progress = leader.root.status().members.find(({ match, id }) =>
    id !== leader.root.replica && match < leader.root.applied
  );
  assert.equal(progress?.state, "snapshot");
  assert.equal(progress?.pendingSnapshot, 0);
  const tries = lab.logged(leader.name, /no snapshot could be taken/).length;
  assert.ok(tries >= 1 && tries <= 3, `${tries} tries`);
  disk.quotaBytes = 1 << 30;
  await lab.converged(undefined, 30_000);
  await lab.pass(1_000);
  assert.equal(leader.cluster.counters.snapshotsSent, 1);
});

test("an observer under load begins with a snapshot that is taken for it, and catches up", async () => {
  const lab = new Lab({ raft: rare, machine: { padBytes: 1 << 20 } });
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 200, 1 << 10);
  await lab.pass(1_000);
  const traffic = load(lab, leader, 5);
  const machine = new TestMachine();
  let restored = 0;
  const observer = new Observer({
    clock: lab.outsideRuntime.clock,
    group: 0,
    machine,
    channels: [lab.channel(lab.followers()[0].name)],
    applied: () => {},
    restored: () => restored++,
    lost: () => {},
  });
  const ended = observer.run();
  await lab.until(() => leader.machine.ids.length - machine.ids.length < 5, 60_000);
  assert.equal(restored, 1);
  assert.equal(lab.followers()[0].cluster.counters.snapshotsTaken, 1);
  await traffic.stop();
  await lab.until(() => machine.ids.length === leader.machine.ids.length);
  assert.deepEqual(machine.commands, leader.machine.commands);
  observer.stop();
  await lab.wait(ended);
  await lab.pass(1_000);
  for (const node of lab.alive) assert.ok(heldBytes(node) <= catchUpBytes + slackBytes);
});
