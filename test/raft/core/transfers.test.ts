/** Handing leadership over: targets that cannot have it, changes of mind, and what ends it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ChangeType, MessageType, Transition } from "../../../src/raft/core/types.ts";
import { Cluster } from "./support/cluster.ts";
import { index, Lone, term } from "./support/lone.ts";

/** A leader of three whose followers have everything. */
function settledLeader(): Lone {
  return new Lone().lead().acknowledgeAll(2, 3);
}

function timeoutsSent(lone: Lone): number[] {
  return lone.sentOf(MessageType.timeoutNow).map(({ to }) => to);
}

test("a target that is up to date is told at once, one that is behind when it has caught up", () => {
  const leader = settledLeader();
  assert.deepEqual(leader.node.transferLeadership(2), { kind: "started" });
  assert.deepEqual(timeoutsSent(leader), [2]);

  const slow = settledLeader();
  slow.propose("a");
  slow.sent();
  slow.hear(MessageType.appendResponse, 2, { index: slow.status.lastIndex });
  slow.sent();
  assert.deepEqual(slow.node.transferLeadership(3), { kind: "started" });
  assert.deepEqual(timeoutsSent(slow), []);
  slow.hear(MessageType.appendResponse, 3, { index: slow.status.lastIndex });
  assert.deepEqual(timeoutsSent(slow), [3]);
});

test("nobody but a voter can be the target, and a leader needs no transfer to itself", () => {
  const leader = new Lone({ learners: [4] }).lead().acknowledgeAll(2, 3, 4);
  for (const target of [4, 9]) {
    assert.deepEqual(leader.node.transferLeadership(target), {
      kind: "refused",
      reason: "notAVoter",
    });
  }
  assert.deepEqual(leader.node.transferLeadership(1), { kind: "alreadyLeader" });
  assert.equal(leader.status.transferee, 0);
  assert.deepEqual(timeoutsSent(leader), []);
  assert.equal(leader.propose("taken").kind, "appended");
});

test("while a transfer is under way proposals are refused; back to itself, or late, it is given up", () => {
  const leader = settledLeader();
  leader.node.transferLeadership(3);
  const { lastIndex } = leader.status;
  assert.deepEqual(leader.propose("no"), { kind: "dropped", reason: "transfer" });
  assert.equal(leader.status.lastIndex, lastIndex);
  leader.node.transferLeadership(1);
  assert.equal(leader.status.transferee, 0);
  assert.equal(leader.propose("yes").kind, "appended");

  const late = settledLeader();
  late.node.transferLeadership(3);
  for (let tick = 1; tick <= 10; tick++) {
    assert.equal(late.status.transferee, 3, `before tick ${tick}`);
    late.tick(1);
    // Its followers are there: it does not lose its office.
    for (const id of [2, 3]) late.hear(MessageType.heartbeatResponse, id);
  }
  assert.equal(late.status.role, "leader");
  assert.equal(late.status.transferee, 0);
});

test("another target takes the first one's place; the same one again gets no more time", () => {
  const leader = settledLeader();
  leader.node.transferLeadership(3);
  leader.sent();
  assert.deepEqual(leader.node.transferLeadership(2), { kind: "started" });
  assert.deepEqual(timeoutsSent(leader), [2]);
  assert.equal(leader.status.transferee, 2);

  const again = settledLeader();
  again.node.transferLeadership(3);
  again.tick(6);
  assert.deepEqual(again.node.transferLeadership(3), { kind: "started" });
  for (const id of [2, 3]) again.hear(MessageType.heartbeatResponse, id);
  again.tick(4);
  assert.equal(again.status.transferee, 0, "ten ticks after the first request");
});

test("a target that loses its vote while it is waited for loses the transfer", () => {
  const changes = [
    { changes: [{ type: ChangeType.remove, replica: 3 }], transition: Transition.auto },
    { changes: [{ type: ChangeType.addLearner, replica: 3 }], transition: Transition.auto },
    {
      changes: [{ type: ChangeType.addLearner, replica: 3 }],
      transition: Transition.jointImplicit,
    },
  ];
  for (const { changes: list, transition } of changes) {
    const leader = settledLeader();
    assert.equal(leader.change(list, transition).kind, "appended");
    leader.sent();
    leader.machineStalls = true;
    leader.hear(MessageType.appendResponse, 2, { index: leader.status.lastIndex });
    leader.sent();
    leader.node.transferLeadership(3);
    assert.equal(leader.status.transferee, 3);
    leader.reportApplied();
    assert.equal(leader.status.transferee, 0);
    assert.equal(leader.status.role, "leader");
    assert.equal(leader.propose("goes on").kind, "appended");
  }
});

test("an election in a newer term ends a transfer", () => {
  const leader = settledLeader();
  leader.node.transferLeadership(3);
  const { term: before, lastIndex } = leader.status;
  leader.hear(MessageType.vote, 2, {
    term: term(before + 1),
    index: lastIndex,
    logTerm: before,
    forced: true,
  });
  assert.equal(leader.status.role, "follower");
  assert.equal(leader.status.transferee, 0);
  assert.equal(leader.status.vote, 2);
});

test("in a cluster: there and back, asked for at the leader and at the target, past all leases", () => {
  for (const [there, back] of [[1, 2], [2, 1]]) {
    const cluster = new Cluster({ options: { checkQuorum: true } });
    cluster.elect(1);
    cluster.host(there).node.transferLeadership(2);
    cluster.host(there).collect();
    cluster.settle();
    assert.equal(cluster.leader()?.id, 2);
    cluster.propose(2, "between");
    cluster.settle();
    cluster.host(back).node.transferLeadership(1);
    cluster.host(back).collect();
    cluster.settle();
    assert.equal(cluster.leader()?.id, 1);
    cluster.assertConverged();
  }
});

test("a target that needs a snapshot gets it first", () => {
  const cluster = new Cluster();
  const leader = cluster.elect(1);
  cluster.isolate(3);
  for (let at = 0; at < 5; at++) cluster.propose(1, `entry ${at}`);
  cluster.settle();
  assert.ok(leader.takeSnapshot(0));
  cluster.heal();
  cluster.tick(1);
  leader.node.transferLeadership(3);
  leader.collect();
  cluster.tick(2);
  assert.equal(cluster.leader()?.id, 3);
  assert.equal(cluster.host(3).status.counters.snapshotsRestored, 1);
});

test("who is no voter does not campaign, whoever asks it to", () => {
  const outsiders = [
    new Lone({ id: 4, learners: [4] }),
    // Taken out, and asked by somebody who does not know yet.
    new Lone({ id: 4 }),
  ];
  for (const outsider of outsiders) {
    outsider.hear(MessageType.timeoutNow, 1);
    for (const id of [1, 2, 3]) {
      outsider.hear(MessageType.voteResponse, id);
      outsider.hear(MessageType.preVoteResponse, id);
    }
    outsider.tick(100);
    assert.equal(outsider.status.role, "follower");
    assert.equal(outsider.status.term, 1);
    assert.equal(outsider.sentOf(MessageType.vote).length, 0);
  }
});

test("a voter that was asked to campaign asks with force, and without asking first", () => {
  const target = new Lone({ id: 2, terms: [1, 1] });
  target.hear(MessageType.heartbeat, 1);
  target.sent();
  target.hear(MessageType.timeoutNow, 1);
  assert.equal(target.status.role, "candidate");
  const requests = target.sentOf(MessageType.vote);
  assert.deepEqual(requests.map(({ to, forced, index: last }) => [to, forced, last]), [
    [1, true, index(3)],
    [3, true, index(3)],
  ]);
});
