/** The failure detector, the gate, the way in, and the history of cuts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import { EdgeWindow } from "../../../src/membership/core/edge_window.ts";
import { Gate } from "../../../src/membership/core/gate.ts";
import { History, idOf } from "../../../src/membership/core/history.ts";
import { Joining, lanJoin } from "../../../src/membership/core/joining.ts";
import { lanProbes, Prober } from "../../../src/membership/core/prober.ts";
import { Configuration } from "../../../src/membership/core/configuration.ts";
import { configurationOf, memberOf, without } from "../support/members.ts";

test("an edge has failed with four of its last ten probes, and has not with three", () => {
  const edge = new EdgeWindow(10, 0.4);
  for (let at = 0; at < 3; at++) edge.record(false);
  assert.equal(edge.isFailed, false);
  edge.record(false);
  assert.equal(edge.isFailed, true);
  for (let at = 0; at < 6; at++) edge.record(true);
  assert.equal(edge.isFailed, true, "the four are still among the last ten");
  edge.record(true);
  assert.equal(edge.isFailed, false);
});

/** Asks for so long; `answers` says whether the subject does. */
function probe(prober: Prober, fromMs: number, untilMs: number, answers: boolean): void {
  for (let nowMs = fromMs; nowMs < untilMs; nowMs += 100) {
    for (const { to, sequence } of prober.tick(nowMs)) if (answers) prober.answered(to, sequence);
  }
}

test("a subject that does not answer is failing after four probes, and healthy again after seven", () => {
  const prober = new Prober(lanProbes, 0);
  const subject = memberOf("a");
  prober.watch([subject], 0);
  probe(prober, 0, 5_000, false);
  assert.deepEqual(prober.take(), []);
  probe(prober, 5_000, 5_100, false);
  assert.deepEqual(prober.take(), [{ member: subject, isHealthy: false }]);
  probe(prober, 5_100, 13_000, true);
  assert.deepEqual(prober.take(), [{ member: subject, isHealthy: true }]);
});

test("a node that stood still itself blames nobody", () => {
  const prober = new Prober(lanProbes, 0);
  prober.watch([memberOf("a")], 0);
  for (let nowMs = 0; nowMs < 60_000; nowMs += 2_500) prober.tick(nowMs);
  assert.deepEqual(prober.take(), []);
});

test("another stay at the address is no answer, and nobody has to wait for it", () => {
  const prober = new Prober(lanProbes, 0);
  const before = memberOf("a");
  prober.watch([before], 0);
  prober.replaced(before.address);
  prober.replaced(before.address);
  assert.deepEqual(prober.take(), [{ member: before, isHealthy: false }]);
  probe(prober, 0, 20_000, true);
  assert.deepEqual(prober.take(), [], "its answers are the other one's");
  prober.watch([memberOf("a", { incarnation: 2n })], 20_000);
  probe(prober, 20_000, 30_000, true);
  assert.deepEqual(prober.take(), []);
});

test("the gate keeps so many and no more, and a node's next try takes the place of the one before", () => {
  const configuration = configurationOf(3);
  const gate = new Gate(2);
  const ask = (id: number, name: string, incarnation: bigint) =>
    gate.ask({ id, joiner: memberOf(name, { incarnation }), configuration }, configuration);
  assert.equal(ask(1, "x", 1n), "present");
  assert.equal(ask(2, "y", 2n), "present");
  assert.equal(ask(3, "z", 3n), "answered");
  assert.deepEqual(gate.take(), [{ id: 3, answer: { kind: "refused", why: "too_many" } }]);
  const before = gate.supersede(memberOf("x", { incarnation: 9n }), configuration);
  assert.deepEqual(before.map(({ incarnation }) => incarnation), [1n]);
  assert.equal(gate.size, 1);
  assert.equal(gate.abandon(2)?.incarnation, 2n);
  assert.equal(gate.abandon(2), undefined);
});

test("a name that another node has is refused, and one that its own former stay has is not", () => {
  const configuration = configurationOf(3);
  const [member] = configuration.members;
  const gate = new Gate(9);
  const other = memberOf(member.name, { address: "tcp://other:1", nodeId: "f".repeat(32) });
  const again = { ...member, incarnation: 99n };
  assert.equal(gate.ask({ id: 1, joiner: other, configuration }, configuration), "answered");
  assert.deepEqual(gate.take()[0].answer, { kind: "refused", why: "name_taken" });
  assert.equal(gate.ask({ id: 2, joiner: again, configuration }, configuration), "present");
});

test("a joiner asks one seed after the other, follows the newest view, and never gives up", () => {
  const joiner = memberOf("new");
  const joining = new Joining(joiner, ["s0", "s1"], lanJoin, new Prng(1), 0);
  joining.tick(0);
  assert.deepEqual(joining.take().map(({ to }) => to), ["s0"]);
  joining.failed("s0", "it is not there", 10);
  let nowMs = joining.dueMs;
  joining.tick(nowMs);
  assert.deepEqual(joining.take().map(({ to }) => to), ["s1"]);
  const configuration = { epoch: 5, digest: 1n };
  joining.gatekeepers("s1", { configuration, addresses: ["a", "b", "a"] }, nowMs);
  assert.deepEqual(joining.take().map(({ kind, to }) => `${kind} ${to}`), ["join a", "join b"]);
  // One is behind; the other is ahead.
  joining.moved("a", { configuration: { epoch: 4, digest: 1n }, addresses: ["c"] }, nowMs);
  assert.deepEqual(joining.take(), []);
  joining.moved("b", { configuration: { epoch: 6, digest: 1n }, addresses: ["d"] }, nowMs);
  assert.deepEqual(joining.take().map(({ to }) => to), ["d"]);
  for (let again = 0; again < 30; again++) {
    nowMs = joining.dueMs;
    assert.ok(nowMs < Infinity);
    joining.tick(nowMs);
    joining.take();
  }
  joining.joined();
  assert.equal(joining.dueMs, Infinity);
});

test("the history goes back over the last cuts, and says nothing of what it does not know", () => {
  const history = new History();
  let configuration = configurationOf(80);
  const first = idOf(configuration);
  const ids = [first];
  for (let at = 0; at < 70; at++) {
    const next = configuration.after(without(0));
    history.add(configuration, without(0), next);
    configuration = next;
    ids.push(idOf(next));
  }
  assert.equal(history.since(first), undefined);
  const missed = history.since(ids[60])!;
  assert.equal(missed.cuts.length, 10);
  assert.deepEqual(missed.to, idOf(configuration));
  assert.equal(history.since({ epoch: 61, digest: 1n }), undefined);
});

test("what cannot be the members of a cluster is told apart", () => {
  const { members } = configurationOf(4, 2);
  const problemOf = (list: typeof members) =>
    Configuration.restored({ epoch: 9, digest: 1n }, list, 10).problem;
  assert.equal(problemOf(members), undefined);
  assert.equal(problemOf([...members].reverse()), undefined, "whatever their order");
  assert.match(problemOf(members.slice(2))!, /nobody is there to decide/);
  assert.match(problemOf([...members, members[0]])!, /the same address/);
  assert.match(problemOf([...members, memberOf(members[0].name, { address: "x" })])!, /same name/);
});
