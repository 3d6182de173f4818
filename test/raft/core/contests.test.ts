/** Elections with several candidates, silent voters and messages that come late. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import { MessageType, type ReplicaId } from "../../../src/raft/core/types.ts";
import { Cluster } from "./support/cluster.ts";
import { entriesOf, index, Lone, term } from "./support/lone.ts";

function group(size: number): ReplicaId[] {
  return Array.from({ length: size }, (_, at) => at + 1);
}

/** Gives a host another log and term, as if it had lived through more. */
function rewrite(
  cluster: Cluster,
  id: ReplicaId,
  life: { readonly terms: readonly number[]; readonly term: number; readonly vote?: ReplicaId },
): void {
  const host = cluster.host(id);
  host.disk.entries = entriesOf(2, ...life.terms);
  host.disk.hardState = {
    ...host.disk.hardState,
    term: term(life.term),
    vote: life.vote ?? 0,
  };
  host.crash();
  host.start();
}

test("a majority of votes makes a leader, a majority of refusals ends it, less decides nothing", () => {
  for (let size = 1; size <= 5; size++) {
    const needed = Math.floor(size / 2) + 1;
    // Each of the others grants, refuses or is silent: all ways.
    for (let way = 0; way < 3 ** (size - 1); way++) {
      const candidate = new Lone({ voters: group(size), options: { preVote: false } });
      candidate.node.campaign();
      candidate.sent();
      let granted = 1;
      let refused = 0;
      let expected = granted >= needed ? "leader" : "candidate";
      for (let id = 2, rest = way; id <= size; id++, rest = Math.floor(rest / 3)) {
        if (rest % 3 === 0) continue;
        const reject = rest % 3 === 1;
        candidate.hear(MessageType.voteResponse, id, { reject });
        candidate.sent();
        if (reject) refused++;
        else granted++;
        if (expected !== "candidate") continue;
        if (granted >= needed) expected = "leader";
        else if (size - refused < needed) expected = "follower";
      }
      assert.equal(candidate.status.role, expected, `${size} voters, way ${way}`);
      assert.equal(candidate.status.term, 2);
    }
  }
});

test("without a majority alive a candidate stays one, and with pre-votes its term stays", () => {
  for (const preVote of [false, true]) {
    const cluster = new Cluster({ voters: [1, 2, 3, 4], options: { preVote } });
    cluster.isolate(3);
    cluster.isolate(4);
    cluster.host(1).node.campaign();
    cluster.host(1).collect();
    cluster.settle();
    const { role, term: reached } = cluster.host(1).status;
    assert.deepEqual([role, reached], preVote ? ["preCandidate", 1] : ["candidate", 2]);
  }
});

test("whatever a replica is doing, a request of a newer term is answered by its log alone", () => {
  for (const role of ["follower", "preCandidate", "candidate", "leader"]) {
    for (const type of [MessageType.vote, MessageType.preVote]) {
      const voter = new Lone({
        terms: [1],
        options: { checkQuorum: false, preVote: role === "preCandidate" },
      });
      if (role === "leader") voter.lead();
      else if (role === "follower") voter.hear(MessageType.heartbeat, 3);
      else voter.node.campaign();
      voter.sent();
      assert.equal(voter.status.role, role);
      const { term: before, vote } = voter.status;
      const asked = term(before + 1);
      voter.hear(type, 2, { term: asked, index: index(40), logTerm: before });
      const answer = type === MessageType.vote
        ? MessageType.voteResponse
        : MessageType.preVoteResponse;
      const answers = voter.sentOf(answer);
      assert.deepEqual(answers.map((one) => [one.to, one.term, one.reject]), [[2, asked, false]]);
      const after = voter.status;
      if (type === MessageType.vote) {
        assert.deepEqual([after.role, after.term, after.vote], ["follower", asked, 2]);
      } else assert.deepEqual([after.role, after.term, after.vote], [role, before, vote]);
    }
  }
});

test("a vote goes to logs that are not behind, and to one candidate in a term", () => {
  const logs = [[0, 0], [4, 1], [2, 3], [3, 2], [3, 3], [4, 3], [2, 4], [9, 2]];
  for (const own of [[2, 2], [2, 3]]) {
    for (const [last, lastTerm] of logs) {
      for (const vote of [0, 2, 3]) {
        const voter = new Lone({ terms: own, term: 5, vote });
        voter.hear(MessageType.vote, 2, { index: index(last), logTerm: term(lastTerm) });
        const ownTerm = own[own.length - 1];
        const isBehind = lastTerm < ownTerm || (lastTerm === ownTerm && last < 3);
        const answers = voter.sentOf(MessageType.voteResponse);
        assert.deepEqual(
          answers.map(({ to, reject }) => [to, reject]),
          [[2, vote === 3 || isBehind]],
          `${own} voted for ${vote}, asked with ${last} of term ${lastTerm}`,
        );
      }
    }
  }
});

test("two candidates that cannot see each other: the one behind raises the term, or with pre-votes not", () => {
  for (const preVote of [false, true]) {
    const cluster = new Cluster({ options: { preVote, checkQuorum: false } });
    cluster.cut(1, 3);
    cluster.cut(3, 1);
    cluster.elect(1);
    const late = cluster.host(3);
    const compete = () => {
      late.node.campaign();
      late.collect();
      cluster.settle();
    };
    compete();
    assert.equal(late.status.role, preVote ? "follower" : "candidate");
    cluster.heal();
    compete();
    assert.equal(late.status.role, "follower");
    const roles = [1, 2, 3].map((id) => cluster.host(id).status.role);
    const terms = [1, 2, 3].map((id) => cluster.host(id).status.term);
    assert.deepEqual(roles, [preVote ? "leader" : "follower", "follower", "follower"]);
    assert.deepEqual(terms, preVote ? [2, 2, 2] : [3, 3, 3]);
  }
});

test("a candidate follows whoever leads its term, and its own vote comes too late to matter", () => {
  const messages = [
    { type: MessageType.append, fields: { index: index(1), logTerm: term(1) } },
    { type: MessageType.heartbeat, fields: {} },
    {
      type: MessageType.snapshot,
      fields: {
        snapshot: {
          index: index(7),
          term: term(1),
          configuration: new Lone().configuration,
        },
      },
    },
  ];
  for (const { type, fields } of messages) {
    for (const preVote of [false, true]) {
      const candidate = new Lone({ options: { preVote } });
      candidate.diskStalls = true;
      candidate.node.campaign();
      candidate.sent();
      candidate.hear(type, 2, fields);
      candidate.sent();
      candidate.reportDurable();
      candidate.sent();
      const { role, leader, term: reached } = candidate.status;
      assert.deepEqual([role, leader, reached], ["follower", 2, preVote ? 1 : 2]);
    }
  }
});

test("logs of an older term overwrite a newer one's when a majority has them", () => {
  for (const preVote of [false, true]) {
    // 1 and 2 have an entry of term 2. 3 was elected in term 3 by 4 and 5, and told nobody.
    const cluster = new Cluster({ voters: group(5), options: { preVote } });
    rewrite(cluster, 1, { terms: [2], term: 2, vote: 1 });
    rewrite(cluster, 2, { terms: [2], term: 2, vote: 1 });
    rewrite(cluster, 3, { terms: [3], term: 3, vote: 3 });
    rewrite(cluster, 4, { terms: [], term: 3, vote: 3 });
    rewrite(cluster, 5, { terms: [], term: 3, vote: 3 });
    const first = cluster.host(1);
    first.node.campaign();
    first.collect();
    cluster.settle();
    assert.deepEqual([first.status.role, first.status.term], ["follower", 3]);
    cluster.elect(1);
    assert.equal(first.status.term, 4);
    for (const id of group(5)) assert.equal(cluster.terms(id), "2 4");
    cluster.assertConverged();
  }
});

test("with pre-votes, one that was away with an older term lets the others finish an election", () => {
  const cluster = new Cluster({ options: { preVote: true, checkQuorum: false } });
  cluster.isolate(3);
  cluster.elect(1);
  cluster.host(3).node.campaign();
  cluster.host(3).collect();
  cluster.settle();
  cluster.elect(2);
  assert.deepEqual([1, 2, 3].map((id) => cluster.host(id).status.term), [3, 3, 1]);
  // The one that was away is back, the leader is gone.
  cluster.heal();
  cluster.isolate(2);
  for (const id of [3, 1]) {
    cluster.host(id).node.campaign();
    cluster.host(id).collect();
    cluster.settle();
  }
  assert.equal(cluster.host(1).status.role, "leader");
  assert.equal(cluster.host(3).status.leader, 1);
});

test("a split vote is decided in the next round, pre-votes or not", () => {
  for (const preVote of [false, true]) {
    const cluster = new Cluster({ options: { preVote, checkQuorum: false } });
    cluster.elect(1);
    cluster.isolate(1);
    for (const id of [2, 3]) cluster.host(id).node.campaign();
    for (const id of [2, 3]) cluster.host(id).collect();
    cluster.settle();
    for (const id of [2, 3]) {
      const { role, term: reached } = cluster.host(id).status;
      assert.deepEqual([role, reached], ["candidate", 3]);
    }
    cluster.elect(2);
    assert.equal(cluster.host(2).status.term, 4);
    assert.equal(cluster.host(3).status.leader, 2);
  }
});

test("rolling out pre-votes: a candidate of a higher term, with less log, is freed or outvoted", () => {
  const make = () => {
    const cluster = new Cluster({ options: { preVote: true, checkQuorum: false } });
    cluster.elect(1);
    // 3 was still without pre-votes when it was cut off.
    rewrite(cluster, 3, { terms: [2], term: 5, vote: 3 });
    cluster.isolate(3);
    cluster.propose(1, "without 3");
    cluster.settle();
    cluster.heal();
    return cluster;
  };
  const campaign = (cluster: Cluster, id: ReplicaId) => {
    cluster.host(id).node.campaign();
    cluster.host(id).collect();
    cluster.settle();
  };
  const freed = make();
  campaign(freed, 3);
  assert.equal(freed.leader()?.id, 1, "asking first disturbs nobody");
  freed.tick(1);
  assert.equal(freed.host(1).status.term, 5, "the leader hears of the term by its own heartbeat");
  assert.equal(freed.waitForLeader().id === 3, false, "who lacks an entry is not elected");
  freed.tick(3);
  freed.assertConverged();

  const outvoted = make();
  outvoted.isolate(1);
  campaign(outvoted, 3);
  for (let round = 0; round < 2; round++) campaign(outvoted, 2);
  assert.equal(outvoted.host(2).status.role, "leader");
  assert.equal(outvoted.host(3).status.leader, 2);
});

test("an answer to a pre-vote that comes when the election is already on changes nothing", () => {
  const candidate = new Lone({ voters: group(5), options: { preVote: true } });
  candidate.node.campaign();
  candidate.sent();
  for (const id of [2, 3]) candidate.hear(MessageType.preVoteResponse, id, { term: term(2) });
  assert.equal(candidate.status.role, "candidate");
  candidate.sent();
  for (const id of [4, 5]) candidate.hear(MessageType.preVoteResponse, id, { term: term(2) });
  candidate.hear(MessageType.voteResponse, 2);
  assert.equal(candidate.status.role, "candidate", "two real votes of five");
  candidate.hear(MessageType.voteResponse, 3);
  assert.equal(candidate.status.role, "leader");
});

test("a leader that campaigns stays what it is", () => {
  for (const preVote of [false, true]) {
    const leader = new Lone({ voters: [1], options: { preVote } }).lead();
    leader.sent();
    const before = leader.status;
    leader.node.campaign();
    leader.sent();
    assert.deepEqual([leader.status.role, leader.status.term], ["leader", before.term]);
  }
});

test("timeouts: every length from one to two election timeouts, and seldom the same for two", () => {
  const seen = new Set<number>();
  let collisions = 0;
  const random = new Prng(5);
  for (let round = 0; round < 400; round++) {
    const first = group(5).map((id) => {
      const lone = new Lone({
        id,
        voters: group(5),
        seed: random.next(),
        options: { preVote: false },
      });
      let ticks = 0;
      while (lone.status.role === "follower") {
        lone.node.tick();
        ticks++;
      }
      seen.add(ticks);
      return ticks;
    });
    const shortest = Math.min(...first);
    if (first.filter((ticks) => ticks === shortest).length > 1) collisions++;
  }
  assert.deepEqual([...seen].sort((a, b) => a - b), [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
  assert.ok(collisions < 400 * 0.4, `${collisions} of 400`);
});

test("case 23: what a removed replica answers, in whatever term, disturbs no leader", () => {
  const leader = new Lone().lead().acknowledgeAll(2, 3);
  leader.change([{ type: 1, replica: 3 }]);
  leader.sent();
  leader.hear(MessageType.appendResponse, 2, { index: leader.status.lastIndex });
  leader.sent();
  assert.deepEqual(leader.configuration.voters, [1, 2]);
  const { term: before } = leader.status;
  const answers = [
    MessageType.appendResponse,
    MessageType.heartbeatResponse,
    MessageType.voteResponse,
    MessageType.preVoteResponse,
  ];
  for (const type of answers) {
    for (const reject of [true, false]) {
      leader.hear(type, 3, { term: term(before + 7), reject });
      assert.deepEqual([leader.status.role, leader.status.term], ["leader", before]);
    }
  }
  // A member's answer counts.
  leader.hear(MessageType.appendResponse, 2, { term: term(before + 7), reject: true });
  assert.deepEqual([leader.status.role, leader.status.term], ["follower", before + 7]);
});
