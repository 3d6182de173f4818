/** What a leader keeps or loses when its group, its log or its time changes; and restarts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import {
  applyChange,
  applySimple,
  enterJoint,
  leaveJoint,
  makeConfiguration,
} from "../../../src/raft/core/configuration.ts";
import { makeMessage } from "../../../src/raft/core/messages.ts";
import { RaftNode } from "../../../src/raft/core/node.ts";
import {
  ChangeType,
  type Configuration,
  MessageType,
  type SingleChange,
  Transition,
} from "../../../src/raft/core/types.ts";
import { entriesOf, index, Lone, term } from "./support/lone.ts";

const noChange = { transition: Transition.auto, changes: [], context: new Uint8Array(0) };

test("a leader keeps its office while a quorum answers, and checks once in an election timeout", () => {
  const heard = new Lone().lead();
  for (let tick = 0; tick < 60; tick++) {
    heard.hear(MessageType.heartbeatResponse, 3);
    heard.tick(1);
  }
  assert.equal(heard.status.role, "leader");
  const unheard = new Lone().lead();
  unheard.tick(9);
  assert.equal(unheard.status.role, "leader");
  unheard.tick(1);
  assert.equal(unheard.status.role, "follower");
});

test("a member that was just added is given an election timeout before it counts as absent", () => {
  const leader = new Lone({ voters: [1] }).lead();
  leader.sent();
  leader.tick(9);
  leader.change([{ type: ChangeType.addVoter, replica: 2 }]);
  leader.sent();
  assert.deepEqual(leader.configuration.voters, [1, 2]);
  leader.tick(1);
  assert.equal(leader.status.role, "leader");
  leader.tick(10);
  assert.equal(leader.status.role, "follower");
});

test("a smaller quorum commits what the larger one could not", () => {
  const leader = new Lone({ voters: [1, 2] }).lead().acknowledgeAll(2);
  leader.change([{ type: ChangeType.remove, replica: 2 }]);
  leader.sent();
  const { lastIndex: change } = leader.status;
  leader.propose("behind the change");
  leader.sent();
  leader.machineStalls = true;
  leader.hear(MessageType.appendResponse, 2, { index: change });
  leader.sent();
  assert.equal(leader.status.committed, change);
  leader.reportApplied();
  leader.sent();
  assert.equal(leader.status.committed, change + 1);
});

test("the last voter cannot be taken out, nor made a learner", () => {
  const leader = new Lone({ voters: [1], learners: [2] }).lead();
  leader.sent();
  for (const type of [ChangeType.remove, ChangeType.addLearner]) {
    for (const transition of Object.values(Transition)) {
      assert.deepEqual(leader.change([{ type, replica: 1 }], transition), {
        kind: "dropped",
        reason: "changeInvalid",
      });
    }
  }
  const voter = { type: ChangeType.addVoter, replica: 1 };
  assert.equal(leader.change([voter]).kind, "appended", "what it is already may be said again");
});

test("each way to make a change ends in the same configuration", () => {
  const swap: SingleChange[] = [
    { type: ChangeType.addVoter, replica: 2 },
    { type: ChangeType.addLearner, replica: 1 },
    { type: ChangeType.addLearner, replica: 3 },
  ];
  for (const transition of Object.values(Transition)) {
    const leader = new Lone({ voters: [1] }).lead();
    leader.sent();
    leader.machineStalls = true;
    assert.equal(leader.change(swap, transition).kind, "appended");
    leader.sent();
    leader.reportApplied();
    const isLeftByItself = transition !== Transition.jointExplicit;
    const joint: Configuration = {
      voters: [2],
      votersOutgoing: [1],
      learners: [3],
      learnersNext: [1],
      autoLeave: isLeftByItself,
    };
    assert.deepEqual(leader.configuration, joint);
    assert.equal(leader.status.counters.autoLeaves, isLeftByItself ? 1 : 0);
    if (!isLeftByItself) assert.equal(leader.change([]).kind, "appended");
    leader.sent();
    // The new voter has to have it: neither half decides alone.
    assert.deepEqual(leader.configuration, joint);
    leader.hear(MessageType.appendResponse, 2, { index: leader.status.lastIndex });
    leader.sent();
    leader.reportApplied();
    assert.deepEqual(leader.configuration, makeConfiguration([2], [1, 3]));
  }
});

test("random changes: through a joint configuration, or one by one, the end is the same", () => {
  const random = new Prng(11);
  let compared = 0;
  for (let round = 0; round < 3_000; round++) {
    let start = makeConfiguration([1]);
    for (let count = random.below(6); count > 0; count--) {
      const type = random.chance(0.5) ? ChangeType.addVoter : ChangeType.addLearner;
      const next = applySimple(start, [{ type, replica: 1 + random.below(5) }]);
      if ("configuration" in next) start = next.configuration;
    }
    const changes: SingleChange[] = [];
    for (let replica = 1; replica <= 7; replica++) {
      const types = [ChangeType.addVoter, ChangeType.remove, ChangeType.addLearner];
      if (random.chance(0.4)) changes.push({ type: types[random.below(3)], replica });
    }
    const joint = enterJoint(start, changes, random.chance(0.5));
    if ("refused" in joint) continue;
    const left = leaveJoint(joint.configuration);
    assert.ok("configuration" in left);
    assert.deepEqual(applyChange(joint.configuration, noChange), left);
    // Voters come before others go, so that one is always there.
    changes.sort((a, b) => Number(b.type === 0) - Number(a.type === 0));
    let one = start;
    for (const change of changes) {
      const next = applySimple(one, [change]);
      assert.ok("configuration" in next);
      one = next.configuration;
    }
    assert.deepEqual(one, left.configuration);
    compared++;
  }
  assert.ok(compared > 1_500, `${compared} were possible`);
});

test("after a restart everything committed is handed out once, in pages, and the commit index stays", () => {
  const node = new RaftNode(
    { id: 2, applyingBytesMax: 100 },
    {
      hardState: { term: term(3), vote: 2, commit: index(9) },
      snapshot: { index: index(1), term: term(1), configuration: makeConfiguration([1, 2, 3]) },
      entries: entriesOf(2, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
      applied: index(3),
    },
    new Prng(4),
  );
  let applied = 3;
  for (let turn = 0; turn < 20 && applied < 11; turn++) {
    const ready = node.ready();
    assert.equal(ready.entries.length, 0, "what is on disk is not written again");
    assert.ok(ready.hardState === undefined || ready.hardState.commit >= 9);
    assert.ok(ready.committed.length > 0 && ready.committed.length <= 5);
    for (const entry of ready.committed) assert.equal(entry.index, ++applied);
    node.persisted(ready.batch);
    node.applied(index(applied));
    node.step(makeMessage(1, {
      type: MessageType.heartbeat,
      to: 2,
      term: term(3),
      commit: index(11),
    }));
  }
  assert.equal(applied, 11);
});

test("messages with nothing in them, of every type and term, are survived in every role", () => {
  for (const role of ["follower", "candidate", "leader"]) {
    const lone = new Lone({ options: { preVote: false } });
    if (role === "leader") lone.lead();
    else if (role === "candidate") lone.node.campaign();
    for (let type = -1; type <= 20; type++) {
      for (const from of [2, 9]) {
        for (const sentIn of [0, 1, 2, 3]) {
          lone.node.step(
            makeMessage(from, { type: type as MessageType, to: 1, term: term(sentIn) }),
          );
          lone.sent();
        }
      }
    }
    assert.ok(lone.status.term >= 3, "what could be true was heard");
    assert.deepEqual(lone.configuration, makeConfiguration([1, 2, 3]));
  }
});

test("a leader's own entries count when its disk has them and it still leads", () => {
  const leader = new Lone().lead().acknowledgeAll(2, 3);
  leader.diskStalls = true;
  leader.propose("x");
  leader.sent();
  const { lastIndex, committed } = leader.status;
  assert.equal(leader.member(1).match, lastIndex - 1);
  leader.hear(MessageType.heartbeat, 2, { term: term(leader.status.term + 1) });
  leader.reportDurable();
  assert.equal(leader.status.committed, committed);
  assert.deepEqual([leader.status.role, leader.status.leader], ["follower", 2]);
});
