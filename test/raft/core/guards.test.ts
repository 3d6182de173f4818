/** What stands against a campaign, a vote or a proposal; each guard with somebody who would pass it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeConfiguration } from "../../../src/raft/core/configuration.ts";
import { encodeConfigurationChange } from "../../../src/raft/core/configuration_codec.ts";
import {
  ChangeType,
  type Entry,
  EntryType,
  type Message,
  MessageType,
  Transition,
} from "../../../src/raft/core/types.ts";
import { entriesOf, index, Lone, term } from "./support/lone.ts";

const removal = encodeConfigurationChange({
  transition: Transition.auto,
  changes: [{ type: ChangeType.remove, replica: 3 }],
  context: new Uint8Array(0),
});

function changeAt(at: number, inTerm: number): Entry {
  return { term: term(inTerm), index: index(at), type: EntryType.configuration, data: removal };
}

function votesAsked(lone: Lone): number[] {
  const { preVote, vote } = MessageType;
  return lone.sent().filter(({ type }) => type === preVote || type === vote).map(({ to }) => to);
}

test("case 12: a replica that is being restored does not campaign, asked or not", () => {
  const lone = new Lone();
  const snapshot = { index: index(50), term: term(1), configuration: makeConfiguration([1, 2, 3]) };
  lone.machineStalls = true;
  lone.hear(MessageType.snapshot, 2, { term: term(4), snapshot });
  lone.sent();
  for (const ask of [MessageType.timeoutNow, undefined]) {
    if (ask === undefined) lone.node.campaign();
    else lone.hear(ask, 2);
    lone.tick(100);
    assert.deepEqual(votesAsked(lone), []);
    assert.equal(lone.status.role, "follower");
  }
  lone.reportApplied();
  lone.node.campaign();
  assert.deepEqual(votesAsked(lone), [2, 3]);
});

test("who lost its vote and is being restored does not campaign for the others' sake either", () => {
  const lone = new Lone({ id: 9, voters: [1, 2, 3] });
  const snapshot = { index: index(50), term: term(1), configuration: makeConfiguration([1, 2, 3]) };
  lone.machineStalls = true;
  lone.hear(MessageType.snapshot, 2, { term: term(4), snapshot });
  lone.sent();
  lone.hear(MessageType.append, 2, {
    index: index(50),
    logTerm: term(1),
    entries: entriesOf(51, 4),
    commit: index(50),
  });
  lone.sent();
  lone.tick(200);
  assert.deepEqual(votesAsked(lone), []);
  lone.reportApplied();
  lone.tick(200);
  assert.deepEqual([...new Set(votesAsked(lone))], [1, 2, 3]);
});

test("a replica whose disk makes no progress asks nobody for a vote", () => {
  const lone = new Lone();
  lone.diskStalls = true;
  lone.hear(MessageType.append, 2, {
    term: term(2),
    index: index(1),
    logTerm: term(1),
    entries: entriesOf(2, 2),
  });
  lone.sent();
  lone.tick(60);
  lone.node.campaign();
  assert.deepEqual(votesAsked(lone), []);
  assert.equal(lone.status.role, "follower");
  lone.reportDurable();
  lone.node.campaign();
  assert.deepEqual(votesAsked(lone), [2, 3]);
});

test("one voter alone goes on leading while its disk stands still", () => {
  const lone = new Lone({ voters: [1] }).lead();
  lone.diskStalls = true;
  lone.propose("a");
  lone.sent();
  lone.tick(200);
  assert.equal(lone.status.role, "leader");
  lone.reportDurable();
  assert.equal(lone.status.committed, lone.status.lastIndex);
});

test("case 10: under lease reads one's own vote is bound by the lease, too", () => {
  const lone = new Lone({ options: { readMode: "lease", preVote: false } });
  for (let tick = 0; tick < 30; tick++) {
    lone.hear(MessageType.heartbeat, 2, { term: term(2) });
    lone.tick(1);
  }
  lone.sent();
  lone.node.campaign();
  assert.equal(lone.status.role, "follower");
  assert.deepEqual(votesAsked(lone), []);
  // The leader itself may call for it: its lease is given up then.
  lone.hear(MessageType.timeoutNow, 2);
  assert.deepEqual(votesAsked(lone), [2, 3]);
});

test("a replica that stands aside does not take over when it is asked to", () => {
  const lone = new Lone();
  lone.node.standAside(true);
  lone.hear(MessageType.timeoutNow, 2, { term: term(2) });
  assert.equal(lone.status.role, "follower");
  lone.node.standAside(false);
  lone.hear(MessageType.timeoutNow, 2);
  assert.equal(lone.status.role, "candidate");
});

test("a campaign that waits to be applied is off as soon as there is another leader", () => {
  const follower = (): Lone => {
    const lone = new Lone();
    lone.machineStalls = true;
    lone.hear(MessageType.append, 2, {
      term: term(2),
      index: index(1),
      logTerm: term(1),
      entries: [changeAt(2, 2)],
      commit: index(2),
    });
    lone.sent();
    lone.hear(MessageType.timeoutNow, 2, { commit: index(2) });
    assert.equal(lone.status.role, "follower", "a change is not applied");
    return lone;
  };
  const waiting = follower();
  waiting.reportApplied();
  assert.equal(waiting.status.role, "candidate");
  const late = follower();
  late.hear(MessageType.heartbeat, 3, { term: term(3) });
  late.reportApplied();
  assert.equal(late.status.role, "follower");
  assert.equal(late.status.leader, 3);
});

test("campaigns that are refused are tried again once in a while, not at each tick", () => {
  const lone = new Lone();
  lone.node.allowCandidacy(false);
  lone.tick(1000);
  const { campaignsRefused } = lone.status.counters;
  assert.ok(campaignsRefused >= 20 && campaignsRefused <= 100, `${campaignsRefused}`);
});

test("who has given its vote away waits an election timeout before it campaigns itself", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const lone = new Lone({ seed });
    // The term is there already, so that it is the vote which counts.
    lone.hear(MessageType.vote, 3, { term: term(5) });
    lone.tick(9);
    lone.hear(MessageType.vote, 2, { term: term(5), index: index(1), logTerm: term(1) });
    assert.equal(lone.status.vote, 2);
    lone.tick(9);
    assert.equal(lone.status.role, "follower", `seed ${seed}`);
  }
});

test("no vote in a term whose leader is known, though none was given", () => {
  const lone = new Lone();
  lone.hear(MessageType.heartbeat, 2, { term: term(5) });
  lone.sent();
  const candidate = { index: index(9), logTerm: term(4) };
  lone.hear(MessageType.vote, 3, candidate);
  assert.deepEqual(lone.sentOf(MessageType.voteResponse).map(({ reject }) => reject), [true]);
  assert.equal(lone.status.vote, 0);
});

test("a pre-vote for the present term goes to nobody but the one that has the vote", () => {
  const asked = (from: number): boolean[] => {
    const lone = new Lone();
    const candidate = { term: term(5), index: index(9), logTerm: term(4) };
    lone.hear(MessageType.vote, 2, candidate);
    assert.equal(lone.status.vote, 2);
    lone.sent();
    lone.hear(MessageType.preVote, from, candidate);
    return lone.sentOf(MessageType.preVoteResponse).map(({ reject }) => reject);
  };
  assert.deepEqual(asked(3), [true]);
  assert.deepEqual(asked(2), [false]);
});

test("learners are not asked for their votes, nor for their pre-votes", () => {
  const lone = new Lone({ learners: [4, 5] });
  lone.node.campaign();
  assert.deepEqual(votesAsked(lone), [2, 3]);
  lone.hear(MessageType.preVoteResponse, 2, { term: term(2) });
  assert.equal(lone.status.role, "candidate");
  assert.deepEqual(votesAsked(lone), [2, 3]);
});

test("the first answer of a voter counts, whatever it is said to have answered later", () => {
  const candidate = (): Lone => {
    const lone = new Lone({ voters: [1, 2, 3, 4, 5], options: { preVote: false } });
    lone.node.campaign();
    lone.sent();
    return lone;
  };
  const refused = candidate();
  refused.hear(MessageType.voteResponse, 2, { reject: true });
  refused.hear(MessageType.voteResponse, 2);
  refused.hear(MessageType.voteResponse, 3);
  assert.equal(refused.status.role, "candidate");
  refused.hear(MessageType.voteResponse, 4);
  assert.equal(refused.status.role, "leader");
  const granted = candidate();
  granted.hear(MessageType.voteResponse, 2);
  granted.hear(MessageType.voteResponse, 2, { reject: true });
  granted.hear(MessageType.voteResponse, 3);
  assert.equal(granted.status.role, "leader");
});

test("one change at a time, in one proposal of a follower as well", () => {
  const leader = new Lone().lead().acknowledgeAll(2, 3);
  const { lastIndex } = leader.status;
  const entries = [changeAt(0, 0), changeAt(0, 0)];
  leader.hear(MessageType.propose, 2, { entries, round: 7 });
  assert.equal(leader.status.lastIndex, lastIndex);
  const answers: Message[] = leader.sentOf(MessageType.propose);
  assert.deepEqual(answers.map(({ reject, round }) => [reject, round]), [[true, 7]]);
  leader.hear(MessageType.propose, 2, { entries: entries.slice(1), round: 8 });
  assert.equal(leader.status.lastIndex, lastIndex + 1);
});

test("whatever answers for a term waits for the disk, the answers to pre-votes too", () => {
  const asked = { term: term(5), index: index(9), logTerm: term(4) };
  for (const type of [MessageType.vote, MessageType.preVote]) {
    const lone = new Lone({ options: { checkQuorum: false } });
    lone.hear(MessageType.heartbeat, 3, { term: term(4) });
    lone.hear(type, 2, asked);
    const { messages, afterSync } = lone.node.ready();
    const answers = (all: readonly Message[]): number => all.filter((one) => one.to === 2).length;
    assert.deepEqual([answers(messages), answers(afterSync)], [0, 1]);
  }
});

test("a proposal or a read that was sent on is not sent on again", () => {
  const lone = new Lone();
  lone.hear(MessageType.heartbeat, 2, { term: term(2) });
  lone.sent();
  const [entry] = entriesOf(0, 0);
  lone.hear(MessageType.propose, 3, { entries: [entry], round: 7 });
  lone.hear(MessageType.readIndex, 3, { round: 8 });
  lone.hear(MessageType.transferLeader, 3, { round: 3 });
  const sent = lone.sent().map(({ type, to, reject, round }) => ({ type, to, reject, round }));
  assert.deepEqual(sent, [{ type: MessageType.propose, to: 3, reject: true, round: 7 }]);
});
