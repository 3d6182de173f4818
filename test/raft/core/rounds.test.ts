/** What confirms a read, a vote, a leader, also in both halves; and who is told what, and when. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeMessage } from "../../../src/raft/core/messages.ts";
import { ChangeType, MessageType, Transition } from "../../../src/raft/core/types.ts";
import { Cluster } from "./support/cluster.ts";
import type { Host } from "./support/host.ts";
import { entriesOf, index, Lone, term } from "./support/lone.ts";

function read(host: Host): number {
  const request = host.node.readIndex();
  host.collect();
  return request;
}

test("forget-leader ends the reads that were sent on to that leader", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  cluster.isolate(1);
  const follower = cluster.host(2);
  const request = read(follower);
  assert.deepEqual(follower.dropped, []);
  assert.equal(follower.node.forgetLeader(), true);
  follower.collect();
  assert.deepEqual(follower.dropped, [{ kind: "read", request, reason: "leaderChanged" }]);
});

test("case 8: numbers of reads from before a restart do not come back, nor do their answers count", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  const follower = cluster.host(2);
  const numbers = new Set<number>();
  for (let start = 0; start < 50; start++) {
    cluster.hold(({ type }) => type === MessageType.readIndexResponse);
    for (let count = 0; count < 5; count++) {
      const number = read(follower);
      assert.ok(!numbers.has(number), `number ${number} is used a second time`);
      numbers.add(number);
    }
    cluster.settle();
    follower.crash();
    follower.start();
    cluster.tick(1);
  }
  assert.ok(cluster.held.length >= 250, "the leader answered");
  cluster.hold(({ type }) => type === MessageType.readIndex);
  const late = cluster.held.splice(0);
  read(follower);
  for (const message of late) follower.node.step(message);
  follower.collect();
  assert.deepEqual(follower.reads, []);
});

test("case 8: an answer to a round that has not begun confirms none", () => {
  const cluster = new Cluster();
  const leader = cluster.elect(1);
  cluster.hold(({ type }) => type === MessageType.heartbeatResponse);
  for (const from of [2, 3]) {
    leader.node.step(makeMessage(from, {
      type: MessageType.heartbeatResponse,
      to: 1,
      term: term(leader.status.term),
      round: 99,
    }));
  }
  read(leader);
  cluster.settle();
  assert.deepEqual(leader.reads, []);
  cluster.release();
  cluster.settle();
  assert.equal(leader.reads.length, 1);
});

test("a read waits for what is committed, not for what may never be", () => {
  const cluster = new Cluster();
  const leader = cluster.elect(1);
  cluster.settle();
  const { committed } = leader.status;
  cluster.hold(({ type }) => type === MessageType.append);
  cluster.propose(1, "not committed");
  const request = read(leader);
  cluster.settle();
  assert.equal(leader.status.lastIndex, committed + 1);
  assert.deepEqual(leader.reads, [{ request, index: committed }]);
});

test("case 10: a jump of the clock voids the rounds that are on their way, too", () => {
  const isAnsweredAlone = (jumps: boolean): boolean => {
    const lone = new Lone({ options: { readMode: "lease" } });
    // A lease that it may have granted before it was started is over.
    lone.tick(10);
    lone.lead().acknowledgeAll(2, 3).tick(1);
    const rounds = lone.sentOf(MessageType.heartbeat).map(({ round }) => round);
    if (jumps) lone.node.clockJumped();
    lone.hear(MessageType.heartbeatResponse, 2, { round: Math.max(...rounds) });
    lone.sent();
    lone.node.readIndex();
    return lone.sentOf(MessageType.heartbeat).length === 0;
  };
  assert.equal(isAnsweredAlone(false), true);
  assert.equal(isAnsweredAlone(true), false);
});

test("who leads again after a transfer has a lease again", () => {
  const cluster = new Cluster({ options: { readMode: "lease" } });
  const first = cluster.waitForLeader();
  cluster.tick(3);
  const second = cluster.host(first.id % 3 + 1);
  for (const [from, to] of [[first, second], [second, first]]) {
    assert.equal(from.node.transferLeadership(to.id).kind, "started");
    from.collect();
    cluster.settle();
    assert.equal(to.status.role, "leader");
    cluster.tick(3);
  }
  const before = first.reads.length;
  read(first);
  assert.equal(first.reads.length, before + 1, "nobody was asked");
});

test("limits: reads that wait are bounded, the leader's own and those of followers", () => {
  const lone = new Lone({ options: { readsMax: 3 } }).lead().acknowledgeAll(2, 3);
  for (let request = 1; request <= 5; request++) {
    lone.hear(MessageType.readIndex, 2, { round: request });
  }
  assert.equal(lone.status.readsWaiting, 3);
  const request = lone.node.readIndex();
  const ready = lone.node.ready();
  lone.node.persisted(ready.batch);
  assert.deepEqual(ready.dropped, [{ kind: "read", request, reason: "overload" }]);
  const [asked] = ready.messages.filter(({ type }) => type === MessageType.heartbeat);
  lone.hear(MessageType.heartbeatResponse, 2, { round: asked.round });
  const answers = lone.sentOf(MessageType.readIndexResponse).map(({ round }) => round);
  assert.deepEqual(answers, [1, 2, 3]);
  assert.equal(lone.status.readsWaiting, 0);
});

test("who was reported unreachable learns a new commit index with the next heartbeat", () => {
  const leader = new Lone().lead().acknowledgeAll(2, 3);
  leader.diskStalls = true;
  leader.propose("a");
  leader.sent();
  const { lastIndex, committed } = leader.status;
  leader.hear(MessageType.appendResponse, 3, { index: lastIndex });
  leader.node.unreachable(3);
  assert.deepEqual(leader.sentOf(MessageType.append), []);
  leader.reportDurable();
  assert.deepEqual([committed, leader.status.committed], [lastIndex - 1, lastIndex]);
  assert.deepEqual(leader.sentOf(MessageType.append).map(({ to }) => to), [2]);
  leader.tick(1);
  const told = leader.sentOf(MessageType.heartbeat).map(({ to, commit }) => [to, commit]);
  assert.deepEqual(told, [[2, lastIndex - 1], [3, lastIndex]]);
});

test("with lazy commits a new commit index waits for entries, a heartbeat or to be announced", () => {
  const leader = new Lone({ options: { lazyCommits: true } }).lead().acknowledgeAll(2, 3);
  leader.propose("a");
  leader.sent();
  const { lastIndex } = leader.status;
  leader.hear(MessageType.appendResponse, 2, { index: lastIndex });
  leader.hear(MessageType.appendResponse, 3, { index: lastIndex });
  assert.equal(leader.status.committed, lastIndex);
  assert.deepEqual(leader.sentOf(MessageType.append), []);
  assert.equal(leader.node.hasCommitNews, true);
  leader.node.announceCommit();
  const told = leader.sentOf(MessageType.append);
  assert.deepEqual(told.map(({ to, entries, commit }) => [to, entries.length, commit]), [
    [2, 0, lastIndex],
    [3, 0, lastIndex],
  ]);
  assert.equal(leader.node.hasCommitNews, false);
  leader.node.announceCommit();
  assert.deepEqual(leader.sentOf(MessageType.append), [], "once is enough");
});

test("a leader that counts on entries which are gone here is told apart from one that is behind", () => {
  const lone = new Lone({ terms: [1, 1] });
  lone.hear(MessageType.heartbeat, 2, { term: term(2), commit: index(3) });
  assert.equal(lone.node.missedBy, 0);
  assert.equal(lone.status.committed, 3);
  lone.hear(MessageType.heartbeat, 2, { commit: index(4) });
  assert.equal(lone.node.missedBy, 2);
  assert.equal(lone.status.committed, 3);
});

test("who waits for a snapshot and turns up with any entry that the log goes on from gets entries", () => {
  const cluster = new Cluster();
  const leader = cluster.elect(1);
  cluster.isolate(3);
  for (let count = 0; count < 20; count++) cluster.propose(1, "a");
  cluster.settle();
  assert.ok(leader.takeSnapshot(5));
  cluster.heal();
  cluster.hold(({ type }) => type === MessageType.snapshot);
  for (let tick = 0; tick < 30 && cluster.held.length === 0; tick++) cluster.tick(1);
  assert.equal(cluster.held.length, 1, "a snapshot is on its way");
  const member = () => leader.status.members.find(({ id }) => id === 3)!;
  const { pendingSnapshot } = member();
  const { firstIndex } = leader.status;
  assert.ok(firstIndex < pendingSnapshot);
  const answer = (at: number): void =>
    leader.node.step(makeMessage(3, {
      type: MessageType.appendResponse,
      to: 1,
      term: term(leader.status.term),
      index: index(at),
    }));
  answer(firstIndex - 2);
  assert.equal(member().state, "snapshot");
  answer(firstIndex - 1);
  assert.equal(member().state, "replicate");
});

/** Leads the joint configuration of {1, 4, 5} and {1, 2, 3}. */
function jointLeader(): Lone {
  const lone = new Lone().lead().acknowledgeAll(2, 3);
  lone.change([
    { type: ChangeType.addVoter, replica: 4 },
    { type: ChangeType.addVoter, replica: 5 },
    { type: ChangeType.remove, replica: 2 },
    { type: ChangeType.remove, replica: 3 },
  ], Transition.jointExplicit);
  lone.sent();
  lone.acknowledgeAll(2, 3);
  assert.deepEqual(lone.configuration.voters, [1, 4, 5]);
  assert.deepEqual(lone.configuration.votersOutgoing, [1, 2, 3]);
  return lone;
}

test("a read in a joint configuration asks both majorities", () => {
  for (const [first, second] of [[[4, 5], 2], [[2, 3], 4]] as const) {
    const lone = jointLeader();
    lone.node.readIndex();
    const asked = lone.sentOf(MessageType.heartbeat);
    assert.deepEqual(asked.map(({ to }) => to), [2, 3, 4, 5]);
    const { round } = asked[0];
    for (const from of first) lone.hear(MessageType.heartbeatResponse, from, { round });
    assert.equal(lone.status.readsWaiting, 1, `${first} are one half`);
    lone.hear(MessageType.heartbeatResponse, second, { round });
    assert.equal(lone.status.readsWaiting, 0);
  }
});

test("a leader of a joint configuration needs to hear of both majorities", () => {
  const roleAfter = (...heard: number[]): string => {
    const lone = jointLeader();
    for (let tick = 0; tick < 30; tick++) {
      if (lone.status.role !== "leader") break;
      for (const from of heard) lone.hear(MessageType.heartbeatResponse, from);
      lone.tick(1);
    }
    return lone.status.role;
  };
  assert.equal(roleAfter(4, 5), "follower");
  assert.equal(roleAfter(2, 3), "follower");
  assert.equal(roleAfter(3, 5), "leader");
});

test("heartbeats go out once in their interval, on the ticks that the driver counts", () => {
  const lone = new Lone({ options: { heartbeatTicks: 3 } }).lead().acknowledgeAll(2, 3);
  const ticks = (counts: readonly (number | undefined)[]): number[] =>
    counts.map((count) => {
      lone.node.tick(count);
      return lone.sentOf(MessageType.heartbeat).length;
    });
  assert.deepEqual(ticks([undefined, undefined, undefined, undefined]), [0, 0, 2, 0]);
  assert.deepEqual(ticks([5, 6, 7]), [0, 2, 0]);
});

test("an append whose entries are older than the one before them is no append", () => {
  const lone = new Lone({ terms: [3] });
  const append = { term: term(5), index: index(2), logTerm: term(3) };
  lone.hear(MessageType.append, 2, { ...append, entries: entriesOf(3, 2) });
  lone.hear(MessageType.append, 2, { ...append, entries: entriesOf(3, 4, 3) });
  assert.equal(lone.status.counters.messagesInvalid, 2);
  assert.equal(lone.status.lastIndex, 2);
  lone.hear(MessageType.append, 2, { ...append, entries: entriesOf(3, 3, 4) });
  assert.equal(lone.status.lastIndex, 4);
});

test("an election in a joint configuration needs both majorities, and is lost by one", () => {
  const candidate = (): Lone => {
    const lone = jointLeader();
    lone.hear(MessageType.heartbeat, 2, { term: term(lone.status.term + 1) });
    lone.sent();
    lone.hear(MessageType.timeoutNow, 2);
    assert.deepEqual(lone.sentOf(MessageType.vote).map(({ to }) => to), [2, 3, 4, 5]);
    return lone;
  };
  for (const [first, second] of [[[4, 5], 2], [[2, 3], 4]] as const) {
    const lone = candidate();
    for (const from of first) lone.hear(MessageType.voteResponse, from);
    assert.equal(lone.status.role, "candidate", `${first} are one half`);
    lone.hear(MessageType.voteResponse, second);
    assert.equal(lone.status.role, "leader");
    const refused = candidate();
    for (const from of first) refused.hear(MessageType.voteResponse, from, { reject: true });
    assert.equal(refused.status.role, "follower");
  }
});

test("the only incoming voter does not decide alone while there are outgoing ones", () => {
  const lone = new Lone().lead().acknowledgeAll(2, 3);
  lone.change([
    { type: ChangeType.remove, replica: 2 },
    { type: ChangeType.remove, replica: 3 },
  ], Transition.jointExplicit);
  lone.sent();
  lone.acknowledgeAll(2, 3);
  assert.deepEqual(lone.configuration.voters, [1]);
  lone.node.readIndex();
  const [{ round }] = lone.sentOf(MessageType.heartbeat);
  assert.equal(lone.status.readsWaiting, 1);
  lone.hear(MessageType.heartbeatResponse, 3, { round });
  assert.equal(lone.status.readsWaiting, 0);
  lone.propose("a");
  lone.sent();
  assert.ok(lone.status.committed < lone.status.lastIndex);
});

test("case 10: a lease that the voters have not promised answers nothing", () => {
  const lone = new Lone({ options: { readMode: "lease" } });
  lone.tick(10);
  lone.lead().acknowledgeAll(2, 3);
  const isAnsweredAlone = (): boolean => {
    lone.node.readIndex();
    const asked = lone.sentOf(MessageType.heartbeat);
    for (const { to, round } of asked) lone.hear(MessageType.heartbeatResponse, to, { round });
    assert.equal(lone.status.readsWaiting, 0);
    return asked.length === 0;
  };
  assert.equal(isAnsweredAlone(), false, "nobody has answered a round yet");
  assert.equal(isAnsweredAlone(), true);
  lone.node.allowLease(false);
  for (let count = 0; count < 3; count++) assert.equal(isAnsweredAlone(), false);
  lone.node.allowLease(true);
  assert.equal(isAnsweredAlone(), false, "what was answered before counts for nothing");
  assert.equal(isAnsweredAlone(), true);
});

test("a joint configuration is left before another one is entered", () => {
  const lone = jointLeader();
  const { lastIndex } = lone.status;
  const wanted = [{ type: ChangeType.addVoter, replica: 6 }];
  for (const transition of [Transition.auto, Transition.jointImplicit, Transition.jointExplicit]) {
    const refused = { kind: "dropped", reason: "changeInvalid" };
    assert.deepEqual(lone.change(wanted, transition), refused);
  }
  assert.equal(lone.status.lastIndex, lastIndex);
});

test("a commit index that waits for the disk is no reason for a leader to resign", () => {
  const lone = new Lone().lead().acknowledgeAll(2, 3);
  lone.propose("a");
  lone.sent();
  lone.diskStalls = true;
  lone.acknowledgeAll(2, 3);
  assert.equal(lone.status.committed, lone.status.lastIndex);
  assert.ok(lone.status.durable.commit < lone.status.committed);
  for (let tick = 0; tick < 40; tick++) {
    lone.hear(MessageType.heartbeatResponse, 2);
    lone.tick(1);
    lone.sent();
  }
  assert.equal(lone.status.role, "leader");
});
