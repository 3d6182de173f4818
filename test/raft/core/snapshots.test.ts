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

test("only what is applied and durable is compacted, whatever snapshot there is", () => {
  const cluster = new Cluster();
  const leader = cluster.elect(1);
  for (const text of ["a", "b"]) cluster.propose(1, text);
  cluster.settle();
  const { applied } = leader.status;
  cluster.stallDisk(1);
  for (const text of ["c", "d"]) cluster.propose(1, text);
  cluster.settle();
  assert.equal(leader.status.applied, applied + 2, "the others have it");
  leader.node.compact(99 as LogIndex);
  assert.equal(leader.status.firstIndex, applied + 1, "its own disk has not");
  cluster.resumeDisk(1);
  cluster.settle();
  cluster.isolate(1);
  cluster.propose(1, "e");
  cluster.settle();
  leader.node.compact(99 as LogIndex);
  assert.equal(leader.status.firstIndex, applied + 3, "the entry behind is not committed");
  assert.equal(leader.status.lastIndex, applied + 3);
  assert.equal(leader.status.snapshotIndex, 1);
  // The last compacted entry's term is known: a snapshot may stand there, and appends go on behind.
  assert.equal(leader.node.snapshotMeta(leader.status.applied).index, applied + 2);
  assert.throws(() => leader.node.snapshotMeta(99 as LogIndex));
  cluster.heal();
  cluster.tick(3);
  cluster.assertConverged();
  assert.equal(leader.status.counters.snapshotsSent, 0);
});

/** Replica 3 lacks entries that its leader has compacted, with nothing but the founding snapshot. */
function leaveBehind(cluster: Cluster): ReturnType<Cluster["host"]> {
  lag(cluster);
  const leader = cluster.host(1);
  leader.node.compact(leader.status.applied);
  cluster.heal();
  cluster.tick(2);
  return leader;
}

test("a follower that needs what is gone waits for a snapshot that is made for it", () => {
  const cluster = new Cluster();
  const leader = leaveBehind(cluster);
  const waits = () => {
    const { state, pendingSnapshot, paused } = leader.status.members[2];
    assert.deepEqual({ state, pendingSnapshot, paused }, {
      state: "snapshot",
      pendingSnapshot: 0,
      paused: true,
    });
  };
  waits();
  assert.equal(leader.node.wantsSnapshot, true);
  assert.equal(leader.status.counters.snapshotsSent, 0, "the stored one is of no use");
  // Nothing is made of its answers meanwhile.
  for (let round = 0; round < 30; round++) cluster.tick();
  waits();
  assert.equal(leader.node.hasReady(), false);
  cluster.propose(1, "d");
  cluster.settle();
  assert.ok(leader.takeSnapshot(0));
  assert.equal(leader.node.wantsSnapshot, false);
  cluster.settle();
  assert.equal(leader.status.counters.snapshotsSent, 1);
  cluster.tick(3);
  cluster.assertConverged();
  assert.equal(leader.status.members[2].state, "replicate");
});

test("nobody who is away asks for a snapshot; the one that came meanwhile is offered to who is back", () => {
  const cluster = new Cluster();
  const leader = leaveBehind(cluster);
  cluster.isolate(3);
  assert.equal(leader.node.wantsSnapshot, true);
  // The others keep the leader in office; of replica 3 nothing is heard for two checks.
  cluster.tick(25);
  assert.equal(leader.status.members[2].state, "snapshot");
  assert.equal(leader.node.wantsSnapshot, false);
  assert.ok(leader.takeSnapshot(0));
  cluster.settle();
  assert.equal(leader.status.counters.snapshotsSent, 0);
  cluster.heal();
  cluster.tick(3);
  assert.equal(leader.status.counters.snapshotsSent, 1);
  cluster.assertConverged();
});

test("a follower that waits for a snapshot and turns out to have the entries needs none", () => {
  const cluster = new Cluster();
  const leader = leaveBehind(cluster);
  leader.node.step(makeMessage(3, {
    type: MessageType.appendResponse,
    to: 1,
    term: leader.status.term,
    index: leader.status.lastIndex,
  }));
  assert.equal(leader.status.members[2].state, "replicate");
  assert.equal(leader.node.wantsSnapshot, false);
});

test("a new leader finds out for itself who needs a snapshot; the old one wants none any more", () => {
  const cluster = new Cluster();
  const before = leaveBehind(cluster);
  assert.equal(before.node.wantsSnapshot, true);
  const next = cluster.host(2);
  next.node.compact(next.status.applied);
  before.node.transferLeadership(2);
  cluster.settle();
  cluster.tick(3);
  assert.equal(next.status.role, "leader");
  assert.equal(before.node.wantsSnapshot, false);
  assert.equal(next.node.wantsSnapshot, true);
  assert.ok(next.takeSnapshot(0));
  cluster.settle();
  cluster.tick(3);
  cluster.assertConverged();
});

test("what must stay in memory: what followers that are there lack, behind a bound; or the snapshot's rest", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  cluster.tick();
  const leader = cluster.host(1);
  const needed = (least = 1) => leader.node.neededFrom(least as LogIndex);
  const end = () => leader.status.lastIndex + 1;
  assert.equal(needed(), end(), "everybody has everything");
  assert.equal(cluster.host(2).node.neededFrom(1 as LogIndex), end(), "only leaders are asked");
  const match = leader.status.lastIndex;
  cluster.cut(1, 3);
  for (const text of ["a", "b", "c", "d"]) cluster.propose(1, text);
  cluster.settle();
  assert.equal(needed(), match + 1, "a follower that lacks them");
  assert.equal(needed(match + 1), match + 1);
  assert.equal(needed(match + 2), end(), "too much of it");
  // There is a snapshot: who lacks too much gets that, and what is behind it.
  leader.node.snapshotStored(leader.node.snapshotMeta(match + 3 as LogIndex));
  assert.equal(needed(match + 2), match + 4);
  assert.equal(needed(match + 5), end());
  // It gets it now.
  leader.node.compact(match + 1 as LogIndex);
  cluster.heal();
  cluster.hold((message) => message.type === MessageType.snapshot);
  cluster.tick(2);
  assert.equal(leader.status.members[2].pendingSnapshot, match + 3);
  leader.node.snapshotStored(leader.node.snapshotMeta(match + 4 as LogIndex));
  assert.equal(needed(), match + 4, "of the one that it is being sent, not of the newest");
  // It is away for long.
  cluster.isolate(3);
  cluster.held = [];
  cluster.tick(25);
  assert.equal(needed(), match + 4, "the transfer may go on");
  leader.node.snapshotSent(3, false);
  assert.equal(needed(), end());
});

test("under load a follower that was sent a snapshot goes on behind it, as long as that is kept", () => {
  const cluster = new Cluster();
  const leader = leaveBehind(cluster);
  cluster.hold((message) => message.type === MessageType.snapshot);
  assert.ok(leader.takeSnapshot(0));
  cluster.settle();
  for (let round = 0; round < 20; round++) {
    cluster.propose(1, `${round}`);
    cluster.tick();
    leader.node.compact(leader.node.neededFrom(1 as LogIndex) - 1 as LogIndex);
  }
  cluster.release();
  cluster.tick(3);
  cluster.assertConverged();
  assert.equal(leader.status.counters.snapshotsSent, 1);
  leader.node.compact(leader.node.neededFrom(1 as LogIndex) - 1 as LogIndex);
  assert.equal(leader.status.firstIndex, leader.status.lastIndex + 1);
  // Without that it needs another one, which waits to be made, and then it is there, too.
  cluster.isolate(3);
  for (const text of ["x", "y"]) cluster.propose(1, text);
  cluster.settle();
  leader.node.compact(99 as LogIndex);
  cluster.heal();
  cluster.tick(2);
  cluster.hold((message) => message.type === MessageType.snapshot);
  assert.ok(leader.takeSnapshot(0));
  cluster.settle();
  cluster.propose(1, "z");
  cluster.settle();
  leader.node.compact(99 as LogIndex);
  cluster.release();
  cluster.tick(3);
  assert.equal(leader.node.wantsSnapshot, true);
  assert.ok(leader.takeSnapshot(0));
  cluster.tick(3);
  cluster.assertConverged();
});
