/** What flows on links: how much, in which order, and what happens when it does not. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import process from "node:process";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { Lab } from "./lab.ts";

before(armBan);
after(liftBan);

function frames(lab: Lab): { control: number; log: number } {
  let control = 0;
  let log = 0;
  for (const { cluster: { counters } } of lab.alive) {
    control += counters.control.framesSent;
    log += counters.log.framesSent;
  }
  return { control, log };
}

test("two nodes that dial each other at once settle on one stream per link", async () => {
  for (let seed = 1; seed <= 3; seed++) {
    const lab = new Lab({ seed, latencyMs: [5, 30] });
    const names = ["a", "b", "c", "d", "e"];
    const leader = await lab.found(...names);
    for (let round = 0; round < 3; round++) {
      await lab.put(lab.node(names[(seed + round) % 5]), 5);
      await lab.pass(2_000);
      let streams = 0;
      for (const { server } of lab.alive) streams += server.counters.callsOpen;
      // Ten pairs with a control stream each; the leader's four log streams, and those that votes
      // and leaders before it have left.
      assert.ok(streams >= 14 && streams <= 20, `${streams} streams, seed ${seed}`);
      for (const name of names) lab.simulation.resetConnections(name);
      await lab.leader(names);
    }
    assert.equal((await lab.leader(names)).root.term, leader.root.term, "resets elect nobody");
    await lab.converged();
  }
});

test("an idle cluster sends heartbeats and nothing else, and writes nothing", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  await lab.put(await lab.leader(), 5);
  await lab.pass(5_000);
  const before = frames(lab);
  const events = lab.simulation.events;
  const batches = lab.alive.map(({ cluster }) => cluster.host!.log.written.batches);
  let writes = 0;
  const unwatch = watchWrites(lab, () => writes++);
  await lab.pass(60_000);
  unwatch();
  const after = frames(lab);
  assert.equal(writes, 0);
  assert.deepEqual(lab.alive.map(({ cluster }) => cluster.host!.log.written.batches), batches);
  assert.equal(after.log - before.log, 0);
  // Ten heartbeats a second to two followers, their answers, and one ping a second each way
  // between the followers.
  const perSecond = (after.control - before.control) / 60;
  assert.ok(perSecond <= 43, `${perSecond} frames a second`);
  assert.ok(lab.simulation.events - events < 60 * 150, `${lab.simulation.events - events} events`);
});

/** Counts what changes on the machines' disks. */
function watchWrites(lab: Lab, wrote: () => void): () => void {
  const originals = lab.alive.map(({ name }) => {
    const { disk } = lab.machine(name);
    const write = disk.write;
    disk.write = (...parts: Parameters<typeof write>) => {
      wrote();
      return write.apply(disk, parts);
    };
    return () => {
      disk.write = write;
    };
  });
  return () => originals.forEach((restore) => restore());
}

test("a peer that does not read costs bounded memory and delays nobody", async () => {
  const lab = new Lab({ windowBytes: 64 << 10, raft: { inflightBytesMax: 2 << 20 } });
  const leader = await lab.found("a", "b", "c");
  const [stuck] = lab.followers();
  lab.machine(stuck.name).stick();
  const { host } = leader.cluster;
  const peer = host!.peer(stuck.setup.nodeId)!;
  let most = 0;
  for (let round = 0; round < 12; round++) {
    const startedMs = lab.simulation.nowMs;
    await lab.put(leader, 16, 64 << 10);
    assert.ok(lab.simulation.nowMs - startedMs < 500, "the others go on");
    most = Math.max(
      most,
      peer.link("log").stream?.queue.bytes ?? 0,
      peer.link("control").stream?.queue.bytes ?? 0,
    );
  }
  assert.ok(most <= 5 << 20, `${most} bytes wait`);
  lab.machine(stuck.name).unstick();
  await lab.converged(undefined, 60_000);
});

test("what waits for all peers that do not read is bounded together", async () => {
  const inflightBytesMax = 1 << 20;
  const lab = new Lab({ windowBytes: 64 << 10, raft: { inflightBytesMax } });
  const names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
  const leader = await lab.found(...names);
  const stuck = lab.followers().slice(0, 4);
  for (const { name } of stuck) lab.machine(name).stick();
  let most = 0;
  for (let round = 0; round < 16; round++) {
    await lab.put(leader, 16, 32 << 10);
    const queued = leader.cluster.host!.peers.map(({ queuedBytes }) => queuedBytes);
    most = Math.max(most, queued.reduce((sum, bytes) => sum + bytes, 0));
  }
  // Half a window each, and what went out before they were known to be slow.
  assert.ok(most <= 4 * inflightBytesMax, `${most} bytes wait for four of them`);
  assert.ok(most >= inflightBytesMax, "they are sent ahead all the same");
  for (const { name } of stuck) lab.machine(name).unstick();
  await lab.converged(undefined, 60_000);
  lab.checkOperations();
});

/** With the flag as long as it takes, else only the first minute of it. */
const megabytes = process.env.COVEY_DRIVER_SEEDS === undefined ? 10 : 50;

test(`heartbeats keep flowing while a follower catches up ${megabytes} MB over 1 Mbit/s`, async () => {
  const lab = new Lab({
    raft: { catchUpBytes: 128 << 20, snapshotLogBytes: 256 << 20 },
    windowBytes: 128 << 10,
  });
  const leader = await lab.found("a", "b", "c");
  const [behind] = lab.followers();
  lab.machine(behind.name).kill();
  for (let round = 0; round < megabytes / 2; round++) await lab.put(leader, 32, 64 << 10);
  const { term } = leader.root;
  const slow = lab.simulation.slowLink(leader.name, behind.name, 125_000);
  lab.start(behind.name);
  await lab.pass(1_000);
  const node = lab.node(behind.name);
  for (let second = 0; second < 60; second++) {
    await lab.pass(1_000);
    assert.equal(node.root.leader?.replica, leader.root.replica, lab.describe());
    assert.equal(leader.root.term, term);
    assert.ok(leader.isLeading);
  }
  // It came on, at the speed of the link.
  // A queue's worth behind or not, an append is made once, and seldom a second time.
  const { framesSent, messagesDropped } = leader.cluster.counters.log;
  assert.ok(framesSent + messagesDropped < 5_000, `${framesSent} sent, ${messagesDropped} dropped`);
  assert.ok(node.root.applied > 50, `${node.root.applied}`);
  await lab.put(leader, 3);
  slow.heal();
  await lab.converged(undefined, 120_000);
  assert.equal(leader.root.term, term);
});

test("the same with a snapshot instead of the log", async () => {
  const lab = new Lab({
    raft: { catchUpBytes: 1 << 20, snapshotLogBytes: 2 << 20, segmentBytes: 1 << 20 },
    machine: { padBytes: 6 << 20 },
    windowBytes: 128 << 10,
  });
  const leader = await lab.found("a", "b", "c");
  const [behind] = lab.followers();
  lab.machine(behind.name).kill();
  for (let round = 0; round < 5; round++) {
    await lab.put(leader, 32, 64 << 10);
    await lab.pass(500);
  }
  const { term } = leader.root;
  const slow = lab.simulation.slowLink(leader.name, behind.name, 125_000);
  lab.start(behind.name);
  await lab.pass(1_000);
  for (let second = 0; second < 80; second++) {
    await lab.pass(1_000);
    assert.equal(lab.node(behind.name).root.leader?.replica, leader.root.replica, lab.describe());
    assert.ok(leader.isLeading);
  }
  assert.equal(leader.root.term, term);
  slow.heal();
  await lab.converged(undefined, 120_000);
  assert.ok(lab.node(behind.name).machine.restores > 1, "a snapshot came");
});

test("resets of all connections under load lose nothing and elect nobody", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  const leader = await lab.found(...names);
  const { term } = leader.root;
  let running = true;
  const clients = names.map(async () => {
    while (running) await lab.propose(leader, { timeoutMs: 5_000 });
  });
  for (let round = 0; round < 20; round++) {
    await lab.pass(300);
    for (const name of names) lab.simulation.resetConnections(name);
  }
  running = false;
  await lab.wait(Promise.all(clients));
  await lab.converged();
  assert.equal(leader.root.term, term);
  const { ok, unknown, refused } = lab.checkOperations();
  assert.ok(ok > 500, `${ok}`);
  assert.equal(unknown + refused, 0);
});

test("a half-open link is noticed and the leader forgets who is behind it", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const [gone] = lab.followers();
  await lab.pass(2_000);
  lab.machine(gone.name).losePower();
  const peer = leader.cluster.host!.peer(gone.setup.nodeId)!;
  assert.ok(peer.connected);
  await lab.until(() => !peer.connected, 6_000);
  // And found again soon after it is back.
  lab.start(gone.name);
  await lab.until(() => peer.connected, 3_000);
  await lab.converged();
});
