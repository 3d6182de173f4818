/** Who is elected, who is not, and who must not disturb. Numbers are the sharp cases' of issue 3. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeMessage } from "../../../src/raft/core/messages.ts";
import {
  ChangeType,
  EntryType,
  type LogIndex,
  type Message,
  MessageType,
  type Term,
} from "../../../src/raft/core/types.ts";
import { Cluster } from "./support/cluster.ts";

const index = (value: number): LogIndex => value as LogIndex;
const term = (value: number): Term => value as Term;

function voteRequest(from: number, to: number, fields: Partial<Message>): Message {
  return makeMessage(from, { type: MessageType.vote, ...fields, to });
}

function answers(cluster: Cluster, type: MessageType): Message[] {
  return cluster.queue.filter((message) => message.type === type);
}

test("case 2: a vote is remembered across a crash, and sent only when it is durable", () => {
  const cluster = new Cluster();
  const voter = cluster.host(3);
  voter.node.step(voteRequest(1, 3, { term: term(2), index: index(1), logTerm: term(1) }));
  voter.collect();
  assert.deepEqual(answers(cluster, MessageType.voteResponse), [], "not before the disk has it");
  voter.completeWrites(voter.writes.length);
  assert.equal(answers(cluster, MessageType.voteResponse)[0].reject, false);
  voter.crash();
  voter.start();
  cluster.queue = [];
  voter.node.step(voteRequest(2, 3, { term: term(2), index: index(9), logTerm: term(1) }));
  voter.collect();
  voter.completeWrites(voter.writes.length);
  assert.equal(answers(cluster, MessageType.voteResponse)[0].reject, true);
});

test("case 2: a vote that is not durable is not counted, by its own candidate either", () => {
  const cluster = new Cluster({ voters: [1] });
  cluster.stallDisk(1);
  const host = cluster.host(1);
  host.node.campaign();
  cluster.settle();
  assert.equal(host.status.role, "candidate");
  cluster.resumeDisk(1);
  cluster.settle();
  assert.equal(host.status.role, "leader");
});

test("case 2: a candidate's vote is not durable because something older is", () => {
  const cluster = new Cluster({ voters: [1] });
  const host = cluster.host(1);
  cluster.stallDisk(1);
  // A batch of before, still being written when it campaigns.
  host.node.step(makeMessage(2, { type: MessageType.heartbeat, to: 1, term: term(5) }));
  host.collect();
  host.node.campaign();
  cluster.settle();
  assert.equal(host.status.role, "candidate");
  host.completeWrites(1);
  assert.equal(host.status.role, "candidate");
  host.completeWrites(9);
  assert.equal(host.status.role, "leader");
});

test("a candidate asks for votes only in a term that it will remember", () => {
  const cluster = new Cluster({ options: { preVote: false } });
  cluster.stallDisk(1);
  cluster.host(1).node.campaign();
  cluster.settle();
  assert.deepEqual(answers(cluster, MessageType.vote), []);
  assert.equal(cluster.host(2).status.term, 1);
  cluster.resumeDisk(1);
  cluster.settle();
  assert.equal(cluster.leader()?.id, 1);
});

test("case 6: a newer last term wins over a longer log", () => {
  const cluster = new Cluster();
  const voter = cluster.host(3);
  const entries = [2, 3, 4].map((at) => ({
    term: term(2),
    index: index(at),
    type: EntryType.normal,
    data: new Uint8Array(1),
  }));
  voter.node.step(makeMessage(1, {
    type: MessageType.append,
    to: 3,
    term: term(2),
    index: index(1),
    logTerm: term(1),
    entries,
  }));
  const ask = (from: number, at: number, fields: Partial<Message>): boolean => {
    voter.node.forgetLeader();
    voter.node.step(voteRequest(from, 3, { term: term(at), ...fields }));
    voter.collect();
    cluster.queue = [];
    voter.completeWrites(voter.writes.length);
    return !answers(cluster, MessageType.voteResponse)[0].reject;
  };
  assert.equal(ask(1, 10, { index: index(99), logTerm: term(1) }), false, "long but old");
  assert.equal(ask(2, 11, { index: index(3), logTerm: term(2) }), false, "shorter");
  assert.equal(ask(1, 12, { index: index(4), logTerm: term(2) }), true, "the same");
  assert.equal(ask(2, 13, { index: index(2), logTerm: term(3) }), true, "short but new");
});

test("leader completeness: who lacks a committed entry is not elected", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  cluster.isolate(3);
  cluster.propose(1, "a");
  cluster.settle();
  cluster.host(1).crash();
  cluster.heal();
  cluster.tick(10);
  cluster.host(3).node.campaign();
  cluster.settle();
  assert.notEqual(cluster.host(3).status.role, "leader");
  assert.equal(cluster.waitForLeader().id, 2);
});

test("case 12: nobody campaigns with a committed change that is not applied", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  const follower = cluster.host(2);
  const applyWork = follower.applyWork.bind(follower);
  follower.applyWork = () => {};
  cluster.change(1, [{ type: ChangeType.remove, replica: 2 }]);
  for (let round = 0; round < 20; round++) {
    cluster.host(1).completeWrites(9);
    cluster.host(3).completeWrites(9);
    follower.completeWrites(9);
    cluster.host(1).applyWork();
    while (cluster.deliverNext());
  }
  assert.ok(follower.status.committed > follower.status.applied, "it knows the commit");
  follower.node.forgetLeader();
  follower.node.campaign();
  follower.collect();
  assert.equal(follower.status.role, "follower");
  follower.applyWork = applyWork;
  while (follower.work.length > 0) follower.applyWork();
  assert.equal(follower.status.isVoter, false);
});

test("case 14: a voter votes even if it does not know yet that it is one", () => {
  const cluster = new Cluster({ voters: [1], learners: [2] });
  cluster.elect(1);
  cluster.tick();
  // The promotion is committed by the old configuration alone, and the new voter has not heard.
  cluster.hold((message) => message.to === 2);
  cluster.change(1, [{ type: ChangeType.addVoter, replica: 2 }]);
  cluster.settle();
  assert.deepEqual(cluster.host(1).status.configuration.voters, [1, 2]);
  assert.equal(cluster.host(2).status.isVoter, false);
  cluster.host(1).crash();
  cluster.held = [];
  cluster.hold(() => false);
  cluster.host(1).start();
  // It needs the other's vote as soon as it has applied its own log.
  const leader = cluster.waitForLeader();
  assert.equal(leader.id, 1);
  cluster.tick(3);
  assert.equal(cluster.host(2).status.isVoter, true);
});

test("who cannot campaign forgets a leader that is silent, and knows it again when it speaks", () => {
  const electionTicks = 10;
  const cluster = new Cluster({ voters: [1, 2, 3], learners: [4], options: { electionTicks } });
  cluster.elect(1);
  cluster.tick(3);
  const leaders = (): number[] => [3, 4].map((id) => cluster.host(id).status.leader);
  const known = (): void => {
    assert.deepEqual(leaders(), [1, 1]);
    assert.equal(cluster.host(1).status.role, "leader");
  };
  known();
  // A voter whose disk hangs may not campaign either.
  cluster.propose(1, "a");
  cluster.stallDisk(3);
  cluster.tick(3);
  cluster.isolate(3, 4);
  cluster.cut(3, 4);
  cluster.cut(4, 3);
  cluster.tick(electionTicks - 1, 3, 4);
  known();
  cluster.tick(electionTicks + 1, 3, 4);
  assert.deepEqual(leaders(), [0, 0]);
  cluster.tick(10 * electionTicks, 3, 4);
  assert.deepEqual(leaders(), [0, 0]);
  const term = cluster.host(4).status.term;
  cluster.heal();
  cluster.resumeDisk(3);
  cluster.tick(electionTicks);
  const leader = cluster.waitForLeader();
  cluster.tick(electionTicks);
  assert.deepEqual(leaders(), [leader.id, leader.id]);
  assert.equal(cluster.host(4).status.term, term, "nobody campaigned");
  cluster.assertConverged(1, 2, 3, 4);
});

test("case 22: a candidate stuck at a higher term comes back under check-quorum", () => {
  const cluster = new Cluster({ options: { preVote: false } });
  cluster.elect(1);
  cluster.isolate(3);
  cluster.tick(60, 3);
  assert.ok(cluster.host(3).status.term > cluster.host(1).status.term);
  cluster.heal();
  cluster.tick(60);
  const leader = cluster.waitForLeader();
  for (const id of [1, 2, 3]) {
    assert.equal(cluster.host(id).status.leader, leader.id);
    assert.equal(cluster.host(id).status.term, leader.status.term);
  }
});

test("case 22: pre-votes raise no term, so that a replica comes back without an election", () => {
  const cluster = new Cluster();
  const leader = cluster.elect(1);
  const before = leader.status.term;
  cluster.isolate(3);
  cluster.tick(100);
  assert.equal(cluster.host(3).status.term, before);
  cluster.heal();
  cluster.tick(30);
  assert.equal(leader.status.role, "leader");
  assert.equal(leader.status.term, before);
});

test("case 23: a removed replica that runs on disturbs nobody", () => {
  for (const preVote of [true, false]) {
    const cluster = new Cluster({ options: { preVote } });
    const leader = cluster.elect(1);
    const before = leader.status.term;
    // It is cut off while it is removed, so it does not know.
    cluster.isolate(3);
    cluster.change(1, [{ type: ChangeType.remove, replica: 3 }]);
    cluster.settle();
    cluster.heal();
    cluster.tick(200);
    assert.equal(cluster.leader()?.id, 1);
    assert.equal(leader.status.term, before, `pre-vote ${preVote}`);
  }
});

test("a voter that hears its leader ignores votes, unless the leader asked for them", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  const voter = cluster.host(2);
  const request = { term: term(9), index: index(9), logTerm: term(9) };
  voter.node.step(voteRequest(3, 2, request));
  assert.equal(voter.status.term, 2);
  assert.equal(voter.status.counters.votesIgnoredInLease, 1);
  voter.node.step(voteRequest(3, 2, { ...request, forced: true }));
  assert.equal(voter.status.term, 9);
});

test("a leader that hears of no quorum resigns within two election timeouts", () => {
  const cluster = new Cluster();
  const leader = cluster.elect(1);
  cluster.isolate(1);
  cluster.tick(20, 1);
  assert.equal(leader.status.role, "follower");
  assert.equal(leader.status.counters.resignedWithoutQuorum, 1);
  assert.deepEqual(leader.node.propose([new Uint8Array(1)]), {
    kind: "dropped",
    reason: "noLeader",
  });
});

test("case 29: a burst of ticks after a suspension leads to no election", () => {
  const cluster = new Cluster();
  const leader = cluster.elect(1);
  const before = leader.status.term;
  const follower = cluster.host(2);
  for (let at = 0; at < 1000; at++) follower.node.tick();
  follower.collect();
  cluster.settle();
  cluster.tick(3);
  assert.equal(leader.status.role, "leader");
  assert.equal(leader.status.term, before);
  assert.equal(follower.status.leader, 1);
});

test("a leader whose disk makes no progress resigns, and does not campaign until it does", () => {
  const cluster = new Cluster();
  const leader = cluster.elect(1);
  cluster.stallDisk(1);
  cluster.propose(1, "a");
  cluster.tick(9);
  assert.equal(leader.status.role, "leader", "not before an election timeout");
  cluster.tick(1);
  assert.equal(leader.status.counters.resignedForDisk, 1);
  cluster.tick(60);
  const other = cluster.leader();
  assert.ok(other !== undefined && other.id !== 1);
  const before = other.status.term;
  cluster.tick(60);
  assert.equal(other.status.term, before);
  cluster.resumeDisk(1);
  cluster.tick(3);
  cluster.assertConverged();
});

test("forget-leader lets a follower vote at once, except under lease reads", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  assert.equal(cluster.host(1).node.forgetLeader(), false);
  assert.equal(cluster.host(2).node.forgetLeader(), true);
  assert.equal(cluster.host(2).status.leader, 0);
  const leased = new Cluster({ options: { readMode: "lease" } });
  const leader = leased.waitForLeader();
  assert.equal(leased.host(leader.id % 3 + 1).node.forgetLeader(), false);
});

test("what cannot be true is ignored and counted, and never throws", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  const follower = cluster.host(2);
  const good = makeMessage(1, { type: MessageType.append, to: 2, term: term(2), index: index(2) });
  const entry = { term: term(2), index: index(4), type: EntryType.normal, data: new Uint8Array(0) };
  const wrong: Message[] = [
    { ...good, term: -1 as Term },
    { ...good, index: 2 ** 53 as LogIndex },
    { ...good, from: 0 },
    { ...good, type: 99 as MessageType },
    { ...good, entries: [entry] },
    { ...good, entries: [{ ...entry, index: index(3), term: term(3) }] },
    { ...good, type: MessageType.snapshot },
    { ...good, type: MessageType.propose },
    { ...good, type: MessageType.heartbeat, commit: index(999) },
  ];
  for (const message of wrong) follower.node.step(message);
  assert.equal(follower.status.counters.messagesInvalid, wrong.length);
  // Another leader in the same term, and an acknowledgement of what there is not.
  const leader = cluster.host(1);
  leader.node.step(makeMessage(3, { type: MessageType.append, to: 1, term: term(2) }));
  leader.node.step(
    makeMessage(3, { type: MessageType.appendResponse, to: 1, term: term(2), index: index(99) }),
  );
  assert.equal(leader.status.counters.messagesInvalid, 2);
  assert.equal(leader.status.role, "leader");
});

test("a replica that may not campaign votes and follows, and never leads", () => {
  const cluster = new Cluster();
  for (const id of [1, 2]) cluster.host(id).node.allowCandidacy(false);
  assert.equal(cluster.waitForLeader().id, 3);
  cluster.host(1).node.campaign();
  cluster.settle();
  cluster.host(3).crash();
  cluster.tick(100);
  assert.equal(cluster.leader(), undefined);
  cluster.host(1).node.allowCandidacy(true);
  assert.equal(cluster.waitForLeader().id, 1);
});

test("a replica that stands aside leads when nobody else can be elected, and not before", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  // Replica 1 alone has the newest entry.
  cluster.host(3).crash();
  cluster.isolate(1);
  cluster.propose(1, "newest");
  cluster.host(1).node.resign();
  cluster.tick(100);
  cluster.host(1).node.standAside(true);
  cluster.heal();
  assert.equal(cluster.waitForLeader().id, 1);
  cluster.host(1).node.transferLeadership(2);
  cluster.settle();
  assert.equal(cluster.leader()?.id, 2);
  // With equal logs the other one comes first, however the timeouts fall.
  for (let round = 0; round < 10; round++) {
    cluster.host(2).node.resign();
    assert.equal(cluster.waitForLeader().id, 2);
  }
});

test("the election timeout can be adapted, but not under lease reads", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  for (const host of cluster.hosts.values()) host.node.setElectionTicks(50);
  cluster.host(1).crash();
  cluster.tick(49);
  assert.equal(cluster.leader(), undefined);
  cluster.waitForLeader();
  const leased = new Cluster({ options: { readMode: "lease" } });
  assert.throws(() => leased.host(1).node.setElectionTicks(50));
});

test("campaigns that were refused do not put off the one after the next leader's loss", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  for (const id of [2, 3]) cluster.host(id).node.allowCandidacy(false);
  cluster.cut(1, 2);
  cluster.tick(500);
  cluster.heal();
  cluster.tick(2);
  cluster.host(2).node.allowCandidacy(true);
  cluster.host(1).crash();
  cluster.tick(25);
  assert.equal(cluster.leader()?.id, 2);
});
