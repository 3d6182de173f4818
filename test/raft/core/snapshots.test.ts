/** Snapshots and compaction. Numbers are the sharp cases' of issue 3. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeMessage } from "../../../src/raft/core/messages.ts";
import { type LogIndex, MessageType, type Term } from "../../../src/raft/core/types.ts";
import { Cluster } from "./support/cluster.ts";

function lag(cluster: Cluster): void {
  cluster.elect(1);
  cluster.tick();
  cluster.isolate(3);
  for (const text of ["a", "b", "c"]) cluster.propose(1, text);
  cluster.settle();
}

test("a follower that lags behind the log gets a snapshot, and then entries again", () => {
  const cluster = new Cluster();
  lag(cluster);
  assert.ok(cluster.host(1).takeSnapshot(0));
  cluster.heal();
  cluster.tick(3);
  assert.equal(cluster.host(3).status.counters.snapshotsRestored, 1);
  cluster.propose(1, "d");
  cluster.settle();
  cluster.assertConverged();
  assert.equal(cluster.host(1).status.members[2].state, "replicate");
});

test("a follower that lags behind the snapshot but not behind the log gets entries", () => {
  const cluster = new Cluster();
  lag(cluster);
  assert.ok(cluster.host(1).takeSnapshot(10));
  cluster.heal();
  cluster.tick(3);
  assert.equal(cluster.host(3).status.counters.snapshotsRestored, 0);
  cluster.assertConverged();
});

test("case 18: a snapshot that the log covers moves the commit index and wipes nothing", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  // Replica 3 has the entries and does not know that they are committed.
  cluster.hold((message) => message.to === 3 && message.commit >= 3);
  for (const text of ["a", "b", "c"]) cluster.propose(1, text);
  cluster.settle();
  const follower = cluster.host(3);
  assert.ok(follower.status.lastIndex > follower.status.committed);
  const last = follower.status.lastIndex;
  const snapshot = cluster.host(1).node.snapshotMeta(follower.status.committed + 1 as LogIndex);
  follower.node.step(
    makeMessage(1, { type: MessageType.snapshot, to: 3, term: 2 as Term, snapshot }),
  );
  follower.collect();
  assert.equal(follower.status.counters.snapshotsFastForwarded, 1);
  assert.equal(follower.status.counters.snapshotsRestored, 0);
  assert.equal(follower.status.committed, snapshot.index);
  assert.equal(follower.status.lastIndex, last);
  // An older one changes nothing at all.
  follower.node.step(
    makeMessage(1, { type: MessageType.snapshot, to: 3, term: 2 as Term, snapshot }),
  );
  assert.equal(follower.status.counters.snapshotsFastForwarded, 1);
  cluster.release();
  cluster.tick(2);
  cluster.assertConverged();
});

test("case 19: a crash anywhere between snapshot, hard state and entries loses nothing", () => {
  for (let surviving = 0; surviving < 6; surviving++) {
    const cluster = new Cluster();
    lag(cluster);
    cluster.host(1).takeSnapshot(0);
    cluster.heal();
    cluster.stallDisk(3);
    cluster.tick(2);
    cluster.propose(1, "d");
    cluster.settle();
    const follower = cluster.host(3);
    assert.ok(follower.writes.length > 0);
    follower.crash(surviving);
    follower.start();
    cluster.resumeDisk(3);
    cluster.tick(5);
    cluster.assertConverged();
  }
});

test("nothing after a leader's snapshot is applied before the machine has restored it", () => {
  const cluster = new Cluster();
  lag(cluster);
  cluster.host(1).takeSnapshot(0);
  cluster.heal();
  const follower = cluster.host(3);
  const applyWork = follower.applyWork.bind(follower);
  let restored = false;
  follower.applyWork = () => {
    if (restored) applyWork();
    else follower.work = [...follower.work];
  };
  for (let round = 0; round < 20; round++) {
    for (const host of cluster.hosts.values()) {
      host.node.tick();
      host.collect();
      host.completeWrites(9);
    }
    cluster.host(1).applyWork();
    while (cluster.deliverNext());
    if (round === 10) cluster.propose(1, "d");
  }
  assert.deepEqual(follower.work.map(({ kind }) => kind), ["snapshot"]);
  assert.ok(follower.status.committed > follower.status.snapshotIndex);
  restored = true;
  cluster.settle();
  cluster.tick(2);
  cluster.assertConverged();
});

test("case 20: no snapshot goes to a replica that nobody hears of", () => {
  const cluster = new Cluster({ voters: [1, 2, 3] });
  lag(cluster);
  const leader = cluster.host(1);
  cluster.tick(25);
  leader.takeSnapshot(0);
  const before = leader.status.counters.snapshotsSent;
  // So the next entries that it would be sent are compacted away.
  leader.node.unreachable(3);
  cluster.tick(50);
  for (const text of ["x", "y"]) cluster.propose(1, text);
  cluster.settle();
  assert.equal(leader.status.counters.snapshotsSent, before);
  cluster.heal();
  cluster.tick(3);
  assert.equal(leader.status.counters.snapshotsSent, before + 1);
  cluster.assertConverged();
});

test("case 20: a snapshot that failed is sent again only when the follower is heard of", () => {
  const cluster = new Cluster();
  lag(cluster);
  const leader = cluster.host(1);
  leader.takeSnapshot(0);
  cluster.heal();
  let lost = 0;
  cluster.hold((message) => message.type === MessageType.snapshot);
  cluster.tick(2);
  assert.equal(cluster.held.length, 1);
  cluster.held = [];
  cluster.cut(3, 1);
  leader.node.snapshotSent(3, false);
  leader.collect();
  cluster.settle();
  lost = leader.status.counters.snapshotsSent;
  cluster.tick(3);
  assert.equal(leader.status.counters.snapshotsSent, lost);
  cluster.heal();
  cluster.tick(3);
  assert.equal(leader.status.counters.snapshotsSent, lost + 1);
  cluster.assertConverged();
});

test("a follower in snapshot state that comes back with entries needs the snapshot no more", () => {
  const cluster = new Cluster();
  lag(cluster);
  const leader = cluster.host(1);
  leader.takeSnapshot(0);
  cluster.heal();
  cluster.hold((message) => message.type === MessageType.snapshot);
  cluster.tick(2);
  assert.equal(leader.status.members[2].state, "snapshot");
  leader.node.step(makeMessage(3, {
    type: MessageType.appendResponse,
    to: 1,
    term: leader.status.term,
    index: leader.status.lastIndex,
  }));
  assert.equal(leader.status.members[2].state, "replicate");
});

test("only what is applied, stored and durable is compacted", () => {
  const cluster = new Cluster({ voters: [1] });
  const leader = cluster.elect(1);
  for (const text of ["a", "b", "c"]) cluster.propose(1, text);
  cluster.settle();
  leader.node.compact(99 as LogIndex);
  assert.equal(leader.status.firstIndex, 2, "no snapshot covers it");
  leader.node.snapshotStored(leader.node.snapshotMeta(4 as LogIndex));
  leader.node.compact(99 as LogIndex);
  assert.equal(leader.status.firstIndex, 5);
  assert.throws(() => leader.node.snapshotMeta(99 as LogIndex));
});
