/** Autopilot around its core: when it looks, what it does with a decision, how it ends. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { changeMs } from "../../src/autopilot/autopilot.ts";
import { asksMax } from "../../src/autopilot/standings.ts";
import { zoneOf } from "../../src/autopilot/view_feed.ts";
import { Code, CoveyError } from "../../src/base/error.ts";
import { groupOf, Hand, memberOf, settled } from "./hand.ts";

/** Three voters and a learner, of which c is missing until it is given up. */
async function withDeadVoter(policy = {}): Promise<Hand> {
  const hand = new Hand(policy);
  hand.view.show("a", "b", "c", "d");
  hand.autopilot.start();
  hand.group.lead(groupOf(["a", "b", "c"], ["d"]));
  await hand.clock.pass(20_000);
  lose(hand, "c");
  await hand.clock.pass(61_000);
  return hand;
}

function lose(hand: Hand, name: string): void {
  const { group } = hand.group;
  assert.ok(group !== undefined);
  hand.group.group = {
    ...group,
    replicas: group.replicas.map((one) => one.name === name ? { ...one, inContact: false } : one),
  };
  const left = hand.view.current!.members.filter((member) => member.name !== name);
  hand.view.show(...left.map((member) => member.name));
}

test("a node that does not lead waits for nothing and asks nobody", async () => {
  const hand = new Hand();
  hand.view.show("a", "b", "c");
  hand.autopilot.start();
  hand.view.show("a", "b");
  await hand.clock.pass(60_000);
  assert.equal(hand.clock.timers, 0);
  assert.equal(hand.metric("covey_autopilot_evaluations_total"), "0");
  assert.deepEqual(hand.asked, []);
  const { isActive, why } = hand.autopilot.status();
  assert.deepEqual([isActive, why], [false, "the node that leads the group decides"]);
});

test("the leader looks once a second, and when the view changes", async () => {
  const hand = new Hand();
  hand.view.show("a", "b", "c");
  hand.group.lead(groupOf(["a", "b", "c"]));
  hand.autopilot.start();
  assert.equal(hand.metric("covey_autopilot_evaluations_total"), "1");
  await hand.clock.pass(10_000);
  assert.equal(hand.metric("covey_autopilot_evaluations_total"), "11");
  hand.view.show("a", "b", "c");
  assert.equal(hand.metric("covey_autopilot_evaluations_total"), "12");
  assert.equal(hand.metric("covey_autopilot_active"), "1");
  assert.equal(hand.autopilot.status().why, "everything is as wanted");
  assert.equal(hand.autopilot.status().change, "");
});

test("a change is made once, and shows until it has ended", async () => {
  const hand = await withDeadVoter();
  const [call, ...others] = hand.group.calls;
  assert.equal(others.length, 0);
  assert.deepEqual(call.change, { kind: "voters", promote: [4], demote: [3], remove: [] });
  assert.equal(call.options.timeoutMs, changeMs);
  const { change, isUnderWay, why } = hand.autopilot.status();
  assert.equal(change, "give a vote to d (replica 4), make c (replica 3) a learner");
  assert.ok(isUnderWay);
  assert.equal(why, "c is out of the view for 60 s of 60 s: d takes its place");
  assert.equal(hand.metric("covey_autopilot_in_flight"), "1");
  assert.equal(hand.metric('covey_autopilot_voters{health="missing"}'), "1");
  await hand.clock.pass(5_000);
  assert.equal(hand.group.calls.length, 1);
  hand.group.group = groupOf(["a", "b", "d"]);
  call.done();
  await hand.clock.pass(0);
  assert.ok(!hand.autopilot.status().isUnderWay);
  assert.equal(hand.metric('covey_autopilot_changes_total{kind="replace",outcome="done"}'), "1");
  assert.deepEqual(hand.lines.map(({ message }) => message), [
    "autopilot makes a change",
    "autopilot made a change",
  ]);
  assert.equal(
    hand.lines[0].fields.why,
    "c is out of the view for 60 s of 60 s: d takes its place",
  );
});

for (const code of [Code.aborted, Code.failedPrecondition, Code.unavailable] as const) {
  test(`a change that fails with code ${code} is made again after a while`, async () => {
    const hand = await withDeadVoter();
    hand.group.calls[0].fail(new CoveyError(code, "not now"));
    await hand.clock.pass(4_000);
    assert.equal(hand.group.calls.length, 1);
    assert.match(hand.autopilot.status().why, /but it failed \(not now\) and is tried again in/);
    await hand.clock.pass(2_000);
    assert.equal(hand.group.calls.length, 2);
    assert.deepEqual(hand.group.calls[1].change, hand.group.calls[0].change);
    const failed = 'covey_autopilot_changes_total{kind="replace",outcome="failed"}';
    assert.equal(hand.metric(failed), "1");
  });
}

test("a change that never ends is given up at its deadline", async () => {
  const hand = await withDeadVoter();
  const [{ options }] = hand.group.calls;
  await hand.clock.pass(changeMs - 2_000);
  assert.equal(options.signal?.aborted, false);
  await hand.clock.pass(2_000);
  assert.equal(options.signal?.aborted, true);
  assert.match(hand.autopilot.status().why, /it failed \(it took too long\)/);
});

test("with the leadership everything ends: the change, the timer, and all that was known", async () => {
  const hand = await withDeadVoter();
  const [{ options, done }] = hand.group.calls;
  hand.group.lead(undefined);
  assert.equal(options.signal?.aborted, true);
  await settled();
  assert.equal(hand.clock.timers, 0);
  assert.equal(hand.metric("covey_autopilot_active"), "0");
  assert.equal(hand.metric("covey_autopilot_in_flight"), "0");
  assert.equal(
    hand.metric('covey_autopilot_changes_total{kind="replace",outcome="unknown"}'),
    "1",
  );
  assert.equal(hand.autopilot.status().isActive, false);
  // Its late end is nobody's business, and the times begin anew with the next term.
  done();
  const group = groupOf(["a", "b", "c"], ["d"]);
  hand.group.lead({
    ...group,
    replicas: group.replicas.map((one) => one.name === "c" ? { ...one, inContact: false } : one),
  });
  await hand.clock.pass(59_000);
  assert.equal(hand.group.calls.length, 1);
  await hand.clock.pass(2_000);
  assert.equal(hand.group.calls.length, 2);
});

test("a dry run makes nothing, and says each change once", async () => {
  const hand = await withDeadVoter({ mode: "dry_run" });
  await hand.clock.pass(600_000);
  assert.equal(hand.group.calls.length, 0);
  assert.deepEqual(hand.lines.map(({ message, fields }) => [message, fields.change]), [[
    "autopilot would make a change, were it not a dry run",
    "give a vote to d (replica 4), make c (replica 3) a learner",
  ]]);
  const { change, isUnderWay, mode } = hand.autopilot.status();
  assert.deepEqual([mode, isUnderWay], ["dry_run", false]);
  assert.notEqual(change, "");
  assert.equal(hand.metric("covey_autopilot_pending"), "1");
});

test("off is off", async () => {
  const hand = new Hand({ mode: "off" });
  hand.autopilot.start();
  hand.group.lead(groupOf(["a"]));
  hand.view.show("a", "b");
  await hand.clock.pass(60_000);
  assert.equal(hand.clock.timers, 0);
  assert.deepEqual([hand.group.observers, hand.view.observers], [0, 0]);
  assert.equal(hand.autopilot.status().why, "autopilot is off");
});

test("a stop lets go of everything", async () => {
  const hand = await withDeadVoter();
  await hand.autopilot.stop();
  assert.equal(hand.clock.timers, 0);
  assert.deepEqual([hand.group.observers, hand.view.observers], [0, 0]);
  assert.equal(hand.group.calls[0].options.signal?.aborted, true);
});

test("without a view nothing is decided", async () => {
  const hand = new Hand();
  hand.view.current = undefined;
  hand.autopilot.start();
  hand.group.lead(groupOf(["a", "b", "c"]));
  await hand.clock.pass(5_000);
  assert.equal(
    hand.autopilot.status().why,
    "the members are no majority: nobody knows who is there",
  );
});

test("a new member is asked whether it has a replica, and becomes a learner when it has none", async () => {
  const hand = new Hand();
  hand.standings.set("id-b", new CoveyError(Code.unavailable, "it is starting"));
  hand.view.show("a", "b");
  hand.autopilot.start();
  hand.group.lead(groupOf(["a"]));
  await hand.clock.pass(4_000);
  assert.deepEqual(hand.asked, ["id-b"]);
  assert.equal(hand.group.calls.length, 0);
  hand.standings.set("id-b", "vacant");
  await hand.clock.pass(2_000);
  assert.deepEqual(hand.asked, ["id-b", "id-b"]);
  const [{ change, done }] = hand.group.calls;
  assert.deepEqual(change, {
    kind: "add_learner",
    nodeId: "id-b",
    address: "tcp://b:7946",
    name: "",
  });
  assert.equal(hand.autopilot.status().change, "make b a learner");
  hand.group.group = groupOf(["a"], ["b"]);
  done();
  await hand.clock.pass(30_000);
  assert.deepEqual(hand.asked, ["id-b", "id-b"], "a replica that is heard needs no question");
});

test("what a node said before it was added is not held against it", async () => {
  const hand = new Hand();
  hand.standings.set("id-b", "vacant");
  hand.view.show("a", "b");
  hand.autopilot.start();
  hand.group.lead(groupOf(["a"]));
  await hand.clock.pass(1_000);
  const [{ done }] = hand.group.calls;
  const { replicas, ...group } = groupOf(["a"], ["b"]);
  hand.group.group = {
    ...group,
    replicas: replicas.map((one) => one.name === "b" ? { ...one, inContact: false } : one),
  };
  hand.standings.delete("id-b");
  done();
  await hand.clock.pass(60_000);
  assert.equal(hand.group.calls.length, 1, "it is not taken for a learner that lost its log");
});

test("who does not answer is not waited for, and questions are bounded", async () => {
  const hand = new Hand();
  const names = Array.from({ length: 20 }, (_, at) => `m${at}`);
  hand.view.show("a", ...names);
  hand.autopilot.start();
  hand.group.lead(groupOf(["a"]));
  await hand.clock.pass(0);
  assert.equal(hand.asked.length, asksMax);
  assert.equal(hand.metric('covey_limit_hit_total{limit="autopilot_asks"}'), "1");
  await hand.clock.pass(60_000);
  assert.equal(new Set(hand.asked).size, 20, "each has had its turn");
});

test("leaves are not asked", async () => {
  const hand = new Hand();
  hand.view.current = { epoch: 2, members: [memberOf("a"), { ...memberOf("b"), role: 1 }] };
  hand.autopilot.start();
  hand.group.lead(groupOf(["a"]));
  await hand.clock.pass(20_000);
  assert.deepEqual(hand.asked, []);
});

test("the zone is the value of the first tag zone=…", () => {
  assert.equal(zoneOf(["rack=1", "zone=east", "zone=west"]), "east");
  assert.equal(zoneOf(["rack=1"]), "");
});
