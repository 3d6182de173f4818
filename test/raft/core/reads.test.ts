/** Linearizable reads. Numbers are the sharp cases' of issue 3. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeMessage } from "../../../src/raft/core/messages.ts";
import { type LogIndex, MessageType, type Term } from "../../../src/raft/core/types.ts";
import { Cluster } from "./support/cluster.ts";
import type { Host } from "./support/host.ts";

function read(host: Host): number {
  const request = host.node.readIndex();
  host.collect();
  return request;
}

test("a read is answered with the commit index, at the leader and at a follower", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  cluster.propose(1, "a");
  cluster.settle();
  for (const id of [1, 2]) {
    const request = read(cluster.host(id));
    cluster.settle();
    assert.deepEqual(cluster.host(id).reads, [{ request, index: 3 }]);
  }
});

test("reads that come together share one round, which asks voters only", () => {
  const cluster = new Cluster({ voters: [1, 2, 3], learners: [4, 5] });
  const leader = cluster.elect(1);
  cluster.tick();
  const sent: number[] = [];
  cluster.hold((message) => {
    if (message.type === MessageType.heartbeat) sent.push(message.to);
    return false;
  });
  for (let at = 0; at < 100; at++) leader.node.readIndex();
  leader.collect();
  cluster.settle();
  assert.deepEqual(sent, [2, 3]);
  assert.equal(leader.reads.length, 100);
});

test("one voter alone answers at once", () => {
  const cluster = new Cluster({ voters: [1] });
  const leader = cluster.elect(1);
  const request = read(leader);
  assert.deepEqual(leader.reads, [{ request, index: 2 }]);
});

test("case 7: a read waits for the leader's first own commit", () => {
  for (const readMode of ["readIndex", "lease"] as const) {
    const cluster = new Cluster({ options: { readMode } });
    cluster.tick(10);
    cluster.hold((message) => message.type === MessageType.appendResponse);
    const leader = cluster.waitForLeader();
    const request = read(leader);
    cluster.tick(3);
    assert.deepEqual(leader.reads, []);
    cluster.release();
    cluster.settle();
    assert.deepEqual(leader.reads, [{ request, index: 2 }]);
  }
});

test("case 8: late answers to heartbeats confirm no later round", () => {
  const cluster = new Cluster();
  const leader = cluster.elect(1);
  cluster.tick();
  cluster.hold((message) => message.type === MessageType.heartbeatResponse);
  cluster.tick();
  read(leader);
  cluster.settle();
  const late = cluster.held.filter(({ round }) => round === 0);
  assert.ok(late.length >= 2);
  for (const message of late) leader.node.step(message);
  leader.collect();
  assert.deepEqual(leader.reads, []);
  cluster.release();
  cluster.settle();
  assert.equal(leader.reads.length, 1);
});

test("case 8: rounds go on in the next term, and numbers of requests differ after a restart", () => {
  const cluster = new Cluster();
  const leader = cluster.elect(1);
  read(leader);
  cluster.hold((message) => {
    if (message.type === MessageType.heartbeatResponse) rounds.push(message.round);
    return false;
  });
  const rounds: number[] = [];
  cluster.settle();
  leader.node.resign();
  leader.collect();
  cluster.host(2).node.forgetLeader();
  cluster.host(3).node.forgetLeader();
  cluster.elect(1);
  read(leader);
  cluster.settle();
  assert.ok(Math.max(...rounds) >= 2, "the second leadership does not begin with round 1 again");
  const before = read(leader);
  leader.crash();
  leader.start();
  assert.notEqual(leader.node.readIndex(), before + 1);
});

test("case 9: an ex-leader that is cut off answers no reads", () => {
  for (const readMode of ["readIndex", "lease"] as const) {
    const cluster = new Cluster({ options: { readMode } });
    const old = cluster.waitForLeader();
    cluster.tick(3);
    cluster.isolate(old.id);
    const others = [1, 2, 3].filter((id) => id !== old.id);
    // The others' clocks run; the ex-leader's does until its lease must be over.
    cluster.tick(8);
    cluster.tick(60, ...others);
    const next = cluster.leader()!;
    assert.notEqual(next.id, old.id);
    cluster.propose(next.id, "new");
    cluster.settle();
    const request = read(old);
    cluster.settle();
    assert.deepEqual(old.reads, []);
    cluster.tick(30);
    assert.deepEqual(old.dropped, [{ kind: "read", request, reason: "leaderChanged" }]);
  }
});

test("case 10: a lease answers at once, ends before the voters' leases, and not after a jump", () => {
  const cluster = new Cluster({ options: { readMode: "lease" } });
  const leader = cluster.waitForLeader();
  cluster.tick(3);
  read(leader);
  assert.equal(leader.reads.length, 1, "nobody was asked");
  leader.node.clockJumped();
  read(leader);
  assert.equal(leader.reads.length, 1, "after a jump they are");
  cluster.settle();
  assert.equal(leader.reads.length, 2);
  cluster.tick(1);
  cluster.isolate(leader.id);
  // The answers to the last tick's round came with it; the default margin is 3 of 10 ticks.
  cluster.tick(6, leader.id);
  read(leader);
  assert.equal(leader.reads.length, 3, "the lease still runs");
  cluster.tick(1, leader.id);
  read(leader);
  assert.equal(leader.reads.length, 3, "and is over before an election timeout");
});

test("case 10: a heartbeat's answer that comes late prolongs the lease from when it was asked", () => {
  const cluster = new Cluster({ options: { readMode: "lease" } });
  const leader = cluster.waitForLeader();
  cluster.tick(3);
  cluster.hold((message) => message.type === MessageType.heartbeatResponse);
  cluster.tick(8);
  cluster.held = cluster.held.slice(0, 2);
  cluster.release();
  cluster.settle();
  read(leader);
  assert.deepEqual(leader.reads, []);
});

test("case 10: a leader that has sent for its successor has no lease any more", () => {
  const cluster = new Cluster({ options: { readMode: "lease" } });
  const leader = cluster.waitForLeader();
  cluster.tick(3);
  const target = leader.id % 3 + 1;
  cluster.hold((message) => message.type === MessageType.timeoutNow);
  assert.equal(leader.node.transferLeadership(target).kind, "started");
  leader.collect();
  cluster.settle();
  assert.equal(cluster.held.length, 1);
  read(leader);
  assert.deepEqual(leader.reads, [], "a round is asked");
  cluster.settle();
  assert.equal(leader.reads.length, 1);
  cluster.tick(10);
  assert.equal(leader.status.transferee, 0, "given up");
  read(leader);
  assert.equal(leader.reads.length, 1, "but the word is still out");
});

test("case 10: a voter that restarts keeps the lease that it may have granted", () => {
  const cluster = new Cluster({ options: { readMode: "lease" } });
  const leader = cluster.waitForLeader();
  cluster.tick(3);
  const voter = cluster.host(leader.id % 3 + 1);
  voter.crash();
  voter.start();
  voter.node.step(makeMessage(leader.id % 3 === 0 ? 2 : 3, {
    type: MessageType.vote,
    to: voter.id,
    term: 99 as Term,
    index: 99 as LogIndex,
    logTerm: 99 as Term,
  }));
  assert.notEqual(voter.status.term, 99);
});

/** Why the newest dropped read was. */
function reason(host: Host): string | undefined {
  return host.dropped.pop()?.reason;
}

test("every read is answered or dropped: no leader, another leader, no answer", () => {
  const cluster = new Cluster();
  const follower = cluster.host(2);
  read(follower);
  assert.equal(reason(follower), "noLeader");
  cluster.elect(1);
  cluster.cut(2, 1);
  read(follower);
  cluster.tick(9);
  assert.equal(reason(follower), undefined);
  cluster.tick(1);
  assert.equal(reason(follower), "leaderChanged");
  const leader = cluster.host(1);
  cluster.isolate(1);
  read(leader);
  leader.node.resign();
  leader.collect();
  assert.equal(reason(leader), "leaderChanged");
});

test("an answer that nobody waits for is no read", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  cluster.host(2).node.step(
    makeMessage(1, { type: MessageType.readIndexResponse, to: 2, term: 2 as Term, round: 5 }),
  );
  cluster.host(2).collect();
  assert.deepEqual(cluster.host(2).reads, []);
});
