/** A node that stops: whoever waits is told the truth, and nothing of it is left. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code, type CoveyError } from "../../../src/base/error.ts";
import { ChangeType, Transition } from "../../../src/raft/core/types.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, caught, Lab, type LabNode } from "./lab.ts";

before(armBan);
after(liftBan);

/** Stops a node as a program does: its process ends a while later by itself. */
async function stop(lab: Lab, node: LabNode): Promise<number> {
  const startedMs = lab.simulation.nowMs;
  await lab.wait(node.stop());
  return lab.simulation.nowMs - startedMs;
}

/** Nothing is held by the process any more, and nothing happens in it. */
async function isQuiet(lab: Lab, names: readonly string[]): Promise<void> {
  await lab.pass(1_000);
  for (const name of names) {
    const { process } = lab.machine(name);
    assert.equal(process.connections.size, 0, name);
    assert.equal(process.listeners.size, 0, name);
    assert.equal(process.disk.callsInFlight, 0, name);
  }
  const events = lab.simulation.events;
  await lab.pass(60_000);
  assert.equal(lab.simulation.events - events, 0, "no timer is left");
}

test("a node that stops among others is gone at once, and they go on", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  await lab.found(...names);
  await lab.put(await lab.leader(), 10);
  await lab.pass(2_000);
  for (const which of ["follower", "leader"] as const) {
    const leader = await lab.leader();
    const node = which === "leader" ? leader : lab.followers()[0];
    const tookMs = await stop(lab, node);
    assert.ok(tookMs < 500, `the ${which} took ${tookMs} ms`);
    lab.machine(node.name).kill();
    const others = names.filter((name) => name !== node.name);
    const next = await lab.leader(others);
    await lab.put(next, 3);
    lab.start(node.name);
    await lab.leader(names);
    await lab.converged();
    await lab.pass(2_000);
  }
});

for (const count of [1, 3]) {
  test(`${count} nodes that stop leave no timer, connection or file behind`, async () => {
    const lab = new Lab();
    const names = ["a", "b", "c"].slice(0, count);
    const leader = await lab.found(...names);
    await lab.put(leader, 10);
    await lab.pass(3_000);
    await Promise.all(
      [lab.wait(Promise.all(names.map((name) => lab.node(name).stop())))],
    );
    await isQuiet(lab, names);
  });
}

test("every request that waits ends, and says what may have been", async () => {
  const lab = new Lab({ latencyMs: [20, 20] });
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 3);
  const [follower, other] = lab.followers();
  // No quorum: what is proposed stays in the leader's log.
  lab.machine(other.name).pause();
  const cut = lab.simulation.partition(leader.name);
  const ends: Promise<CoveyError>[] = [
    caught(leader.root.barrier()),
    caught(leader.root.change({
      transition: Transition.auto,
      changes: [{ type: ChangeType.addLearner, replica: 9 }],
      context: new Uint8Array(0),
    })),
    caught(leader.root.change({
      transition: Transition.auto,
      changes: [{ type: ChangeType.addLearner, replica: 8 }],
      context: new Uint8Array(0),
    })),
  ];
  const placed = lab.propose(leader);
  await lab.pass(5);
  const signal = new AbortController().signal;
  ends.push(caught(leader.root.advanced(10_000 as never, signal)));
  await stop(lab, leader);
  const [read, change, second, advanced] = await lab.wait(Promise.all(ends));
  assert.equal(read.code, Code.unavailable);
  assert.equal(read.sent, false);
  assert.equal(change.code, Code.unavailable);
  assert.equal(change.sent, true, change.message);
  assert.equal(second.code, Code.aborted);
  assert.equal(advanced.code, Code.unavailable);
  const { error } = await lab.wait(placed);
  assert.equal(error?.code, Code.unavailable);
  assert.equal(error?.sent, true);
  for (
    const late of [
      () => leader.root.barrier(),
      () => leader.root.leaderChannel(),
      () => leader.root.takeSnapshot(),
      () => leader.root.advanced(10_000 as never, signal),
    ]
  ) {
    assert.equal((await lab.failure(late())).code, Code.unavailable);
  }
  const after = await lab.wait(lab.propose(leader));
  assert.equal(after.error?.sent, false);
  // A follower that waits for a leader.
  const waiting = [lab.propose(follower, { timeoutMs: 30_000 })];
  await lab.until(() => follower.root.leader === undefined);
  waiting.push(lab.propose(follower, { timeoutMs: 30_000 }));
  const leads = caught(follower.root.leaderChannel({ timeoutMs: 30_000 }));
  await lab.pass(10);
  await stop(lab, follower);
  for (const { error } of await lab.wait(Promise.all(waiting))) {
    assert.equal(error?.code, Code.unavailable, String(error));
  }
  assert.equal((await lab.wait(leads)).code, Code.unavailable);
  cut.heal();
  assert.deepEqual(lab.handlerErrors, []);
  lab.checkOperations();
});

for (const which of ["leader", "follower"] as const) {
  test(`a ${which} that leaves ends what is under way with its result, and takes nothing new`, async () => {
    const lab = new Lab({ latencyMs: [20, 20] });
    const leader = await lab.found("a", "b", "c");
    await lab.put(leader, 3);
    const node = which === "leader" ? leader : lab.followers()[0];
    const early = Array.from({ length: 8 }, () => lab.propose(node));
    const read = node.root.barrier();
    await lab.pass(5);
    const drained = node.cluster.drain(10_000);
    for (const late of [await lab.wait(lab.propose(node)), await lab.wait(lab.propose(node))]) {
      assert.equal(late.error?.code, Code.unavailable);
      assert.equal(late.error?.sent, false);
    }
    const startedMs = lab.simulation.nowMs;
    await lab.wait(drained);
    assert.ok(lab.simulation.nowMs - startedMs < 500);
    await stop(lab, node);
    for (const { error } of await lab.wait(Promise.all(early))) assert.equal(error, undefined);
    await lab.wait(read);
    lab.checkOperations();
  });
}

test("a node that leaves without a quorum waits no longer than it may", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  for (const { name } of lab.followers()) lab.machine(name).pause();
  const stuck = lab.propose(leader, { timeoutMs: 60_000 });
  await lab.pass(5);
  const startedMs = lab.simulation.nowMs;
  await lab.wait(leader.cluster.drain(3_000));
  const tookMs = lab.simulation.nowMs - startedMs;
  assert.ok(tookMs >= 2_900 && tookMs < 3_200, `${tookMs} ms`);
  await stop(lab, leader);
  assert.equal((await lab.wait(stuck)).error?.sent, true);
});

test("a node that leaves without any time hands nothing over, and the others go on by themselves", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 3);
  await lab.pass(1_000);
  const waiting = lab.propose(leader);
  const startedMs = lab.simulation.nowMs;
  await lab.wait(leader.cluster.drain(0));
  assert.equal(lab.simulation.nowMs, startedMs);
  assert.equal(leader.root.status().transferee, 0);
  assert.equal((await lab.wait(lab.propose(leader))).error?.sent, false, "nothing new is taken");
  const others = lab.followers().map(({ name }) => name);
  await stop(lab, leader);
  lab.machine(leader.name).kill();
  await lab.wait(waiting);
  await lab.put(await lab.leader(others), 3);
  lab.checkOperations();
});

test("a client of a stopping node gets an error, not silence", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const [stopping] = lab.followers();
  const follow = caught((async () => {
    const stream = lab.transport(stopping.name).follow({ fromIndex: 2n });
    for await (const _answer of stream) { /* Until it ends. */ }
    throw new Error("it ended without an error");
  })());
  await lab.pass(500);
  assert.ok(leader !== stopping);
  const tookMs = await stop(lab, stopping);
  assert.ok(tookMs < 500, `${tookMs} ms`);
  const error = await lab.wait(follow);
  assert.equal(error.code, Code.unavailable, error.message);
});

test("a node may be stopped at any moment of its start", async () => {
  for (let nth = 0; nth < 12; nth++) {
    const lab = new Lab({ seed: nth + 1 });
    const names = ["a", "b", "c"];
    for (const name of names) lab.define(name, { join: names.map(addressOf) });
    lab.start(...names);
    await lab.pass(1 + nth * 3.1);
    const stopped = lab.node("b");
    await stop(lab, stopped);
    const { connections, listeners } = lab.machine("b").process;
    assert.equal(connections.size + listeners.size, 0, `after ${1 + nth * 3.1} ms`);
    lab.machine("b").kill();
    lab.start("b");
    await lab.leader(names);
    await lab.put(lab.node("b"), 1);
  }
});

test("a node may be stopped while it is being added", async () => {
  for (let nth = 0; nth < 8; nth++) {
    const lab = new Lab({ seed: nth + 1 });
    await lab.found("a", "b", "c");
    lab.define("d", { join: [addressOf("a")] });
    lab.start("d");
    await lab.pass(1_000);
    const added = lab.operator("a").add({ address: addressOf("d") }, { timeoutMs: 3_000 }).then(
      () => undefined,
      (error: unknown) => error,
    );
    await lab.pass(1 + nth * 1.5);
    await stop(lab, lab.node("d"));
    await lab.pass(1_000);
    assert.equal(lab.machine("d").process.connections.size, 0);
    assert.equal(lab.machine("d").process.disk.callsInFlight, 0);
    const { process } = lab.machine("d");
    assert.equal(process.listeners.size, 0);
    await lab.wait(added);
    lab.machine("d").kill();
    lab.start("d");
    await lab.pass(1_000);
    await lab.wait(lab.operator("b").add({ address: addressOf("d") }, { timeoutMs: 20_000 }));
    await lab.leader();
    await lab.put(lab.node("d"), 1);
  }
});

test("a node that is stopped while its log is being made does not run on afterwards", async () => {
  for (const afterMs of [0, 2, 5, 10, 40, 100, 200]) {
    const lab = new Lab();
    await lab.found("a");
    lab.define("b", { join: [addressOf("a")] });
    lab.start("b");
    await lab.pass(3_000);
    const { cluster } = lab.node("b");
    lab.machine("b").disk.slowSync([20, 20]);
    const added = lab.operator("a").add({ address: addressOf("b") }, { timeoutMs: 20_000 }).then(
      () => undefined,
      (error: unknown) => error,
    );
    await lab.pass(afterMs);
    await stop(lab, lab.node("b"));
    const { host } = cluster;
    await lab.pass(5_000);
    assert.equal(cluster.host, host, `stopped after ${afterMs} ms`);
    assert.ok(host?.isStopped ?? true);
    assert.equal(lab.machine("b").process.disk.callsInFlight, 0);
    lab.machine("b").kill();
    await lab.wait(added);
  }
});

test("a node may be stopped while snapshots are taken, sent, received and restored", async () => {
  const raft = { snapshotLogBytes: 32 << 10, catchUpBytes: 8 << 10, segmentBytes: 32 << 10 };
  for (let nth = 0; nth < 10; nth++) {
    const lab = new Lab({ seed: nth + 1, raft, machine: { padBytes: 1 << 20 }, diskMs: [0.5, 2] });
    const leader = await lab.found("a", "b", "c");
    const [behind] = lab.followers();
    lab.machine(behind.name).kill();
    for (let round = 0; round < 12; round++) {
      await lab.put(leader, 16, 1 << 10);
      await lab.pass(100);
    }
    const slow = lab.simulation.slowLink(leader.name, behind.name, 8 << 20);
    lab.start(behind.name);
    await lab.pass(100 + nth * 35);
    const taking = leader.root.takeSnapshot().then(() => {}, () => {});
    await lab.pass(nth);
    const node = nth % 2 === 0 ? leader : lab.node(behind.name);
    assert.ok(await stop(lab, node) < 1_000);
    await lab.wait(taking);
    await lab.pass(2_000);
    assert.equal(lab.machine(node.name).process.disk.callsInFlight, 0);
    assert.equal(node.machine.snapshotsOpen, 0);
    lab.machine(node.name).kill();
    slow.heal();
    lab.start(node.name);
    await lab.leader();
    await lab.converged();
  }
});
