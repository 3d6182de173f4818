/** Proposals: their results, their errors and what those promise, their limits and their time. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code, type CoveyError } from "../../../src/base/error.ts";
import type { LogIndex, Term } from "../../../src/raft/core/types.ts";
import { GroupEvents } from "../../../src/raft/group_events.ts";
import { type Proposal, Proposals } from "../../../src/raft/proposals.ts";
import { silentLogger } from "../../../src/base/log.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, caught, Lab, type LabNode, nodeIdOf } from "./lab.ts";
import { commandBytes } from "./test_machine.ts";

before(armBan);
after(liftBan);

test("a proposal of a follower gives the leader's result", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  for (let round = 0; round < 5; round++) {
    for (const node of lab.alive) {
      const { result, id } = await lab.wait(lab.propose(node));
      assert.equal(result?.id, id);
      assert.equal(result?.index, leader.root.applied);
      assert.equal(result?.count, leader.machine.commands.length);
    }
  }
});

test("proposals of one node are applied in their order", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const all: Promise<unknown>[] = [];
  for (let round = 0; round < 20; round++) {
    for (let at = 0; at < 1 + round % 7; at++) all.push(lab.propose(leader, { bytes: 64 * at }));
    await lab.pass(round % 3);
  }
  await lab.wait(Promise.all(all));
  const ids = lab.operations.map(({ id }) => id);
  assert.deepEqual(leader.machine.ids, ids);
});

for (const timeoutMs of [1, 40, 333, 2_000]) {
  test(`without a quorum a deadline of ${timeoutMs} ms is kept, and says what may be`, async () => {
    const lab = new Lab();
    const leader = await lab.found("a", "b", "c");
    await lab.put(leader, 3);
    lab.simulation.partition(leader.name);
    const operations = await lab.wait(
      Promise.all(lab.alive.flatMap((node) => [
        lab.propose(node, { timeoutMs }),
        lab.propose(node, { timeoutMs, bytes: 10_000 }),
      ])),
    );
    for (const { node, startedMs, endedMs, error, result } of operations) {
      const tookMs = endedMs - startedMs;
      assert.ok(tookMs <= timeoutMs + 51, `${node}: ${tookMs} ms`);
      if (result !== undefined) continue;
      assert.ok(error !== undefined);
      assert.ok(tookMs >= timeoutMs - 1 || error.code !== Code.deadlineExceeded);
      if (node === leader.name) assert.equal(error.sent, true, "the leader has it in its log");
    }
    // The majority elects another leader within two seconds.
    const elsewhere = operations.filter(({ node }) => node !== leader.name);
    if (timeoutMs === 2_000) {
      assert.ok(
        elsewhere.every(({ result, error }) => result !== undefined || error?.sent === true),
      );
    }
    await lab.pass(5_000);
    const late = lab.propose(leader, { timeoutMs });
    const { error, startedMs, endedMs } = await lab.wait(late);
    assert.equal(error?.sent, false, String(error));
    assert.ok(endedMs - startedMs <= timeoutMs + 51);
    lab.checkOperations();
  });
}

test("with the module's own deadline nothing waits for ever", async () => {
  const lab = new Lab({ raft: { requestMs: 3_000 } });
  const leader = await lab.found("a", "b", "c");
  for (const { name } of lab.followers()) lab.machine(name).kill();
  const pending = Promise.all([lab.propose(leader), lab.propose(leader)]);
  await lab.pass(2_000);
  const more = lab.propose(leader);
  for (const { error, startedMs, endedMs } of [...await lab.wait(pending), await lab.wait(more)]) {
    assert.ok(error !== undefined);
    assert.ok(endedMs - startedMs <= 3_100);
  }
  assert.deepEqual(leader.root.pending, { proposals: 0, reads: 0 });
});

test("a signal ends the wait at once, wherever it is", async () => {
  const lab = new Lab({ latencyMs: [30, 30] });
  const leader = await lab.found("a", "b", "c");
  const [follower] = lab.followers();
  const cancel = async (node: LabNode, afterMs: number, code: number): Promise<void> => {
    const controller = new AbortController();
    const proposal = lab.propose(node, { signal: controller.signal, timeoutMs: 20_000 });
    await lab.pass(afterMs);
    controller.abort();
    const atMs = lab.simulation.nowMs;
    const { error } = await lab.wait(proposal);
    assert.equal(error?.code, code, String(error));
    assert.ok(lab.simulation.nowMs - atMs < 1, `${lab.simulation.nowMs - atMs} ms`);
  };
  for (const node of [leader, follower]) {
    for (const afterMs of [0, 1, 31]) await cancel(node, afterMs, Code.canceled);
  }
  const gone = new AbortController();
  gone.abort();
  const { error } = await lab.wait(lab.propose(follower, { signal: gone.signal }));
  assert.equal(error?.code, Code.canceled);
  for (const { name } of lab.alive) if (name !== follower.name) lab.machine(name).kill();
  await lab.pass(5_000);
  for (const afterMs of [0, 17, 250]) await cancel(follower, afterMs, Code.canceled);
  assert.equal(follower.root.pending.proposals, 0);
});

test("a signal that fires in the very turn of the call ends it at once, too", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const [follower] = lab.followers();
  await lab.put(follower, 1);
  lab.machine(leader.name).pause();
  for (let microtasks = 0; microtasks < 8; microtasks++) {
    const controller = new AbortController();
    const id = lab.nextId("given up");
    const proposal = lab.propose(follower, { id, signal: controller.signal, timeoutMs: 20_000 });
    for (let at = 0; at < microtasks; at++) await Promise.resolve();
    controller.abort();
    const { error, startedMs, endedMs } = await lab.wait(proposal);
    assert.equal(error?.code, Code.canceled, String(error));
    assert.ok(endedMs - startedMs < 1, `${endedMs - startedMs} ms`);
  }
  lab.machine(leader.name).resume();
  await lab.converged();
  lab.checkOperations();
});

test("nobody stays behind who waited for a leader", async () => {
  const lab = new Lab();
  const { clock } = lab.simulation.machine("m", { boot: () => new Promise<never>(() => {}) })
    .runtime;
  const events = new GroupEvents<unknown>(clock, silentLogger);
  for (let round = 0; round < 50; round++) {
    const waits = Array.from({ length: 20 }, () => events.leaderChanged(100));
    await lab.wait(Promise.all(waits));
  }
  assert.equal(events.waiting, 0);
  const controller = new AbortController();
  const waits = [events.leaderChanged(1e9, controller.signal), events.leaderChanged(1e9)];
  assert.equal(events.waiting, 2);
  controller.abort();
  await lab.wait(waits[0]);
  assert.equal(events.waiting, 1);
  events.leader(undefined);
  events.changed();
  assert.equal(events.waiting, 1, "nobody leads");
  events.leader({ replica: 1, nodeId: nodeIdOf("m"), name: "m", address: addressOf("m") });
  events.changed();
  await lab.wait(waits[1]);
  assert.equal(events.waiting, 0);
  await lab.wait(events.leaderChanged(1e9, controller.signal));
  assert.equal(events.waiting, 0);
});

for (const where of ["leader", "follower", "nobody"] as const) {
  test(`more than raft.proposals_max that wait at a node are refused at once: ${where}`, async () => {
    const lab = new Lab({ raft: { proposalsMax: 50 } });
    const leader = await lab.found("a", "b", "c");
    const [follower, other] = lab.followers();
    const node = where === "leader" ? leader : follower;
    if (where === "leader") { for (const { name } of lab.followers()) lab.machine(name).pause(); }
    if (where === "follower") { for (const { name } of [leader, other]) lab.machine(name).pause(); }
    if (where === "nobody") {
      for (const { name } of [leader, other]) lab.machine(name).kill();
      await lab.pass(5_000);
    }
    const pending = Array.from({ length: 50 }, () => lab.propose(node, { timeoutMs: 1_500 }));
    await lab.pass(5);
    const { error, startedMs, endedMs } = await lab.wait(lab.propose(node));
    assert.equal(error?.code, Code.resourceExhausted, String(error));
    assert.equal(error?.sent, false);
    assert.match(error!.rawMessage, /raft\.proposals_max/);
    assert.equal(endedMs, startedMs);
    await lab.wait(Promise.all(pending));
    const next = await lab.wait(lab.propose(node, { timeoutMs: 100 }));
    assert.notEqual(next.error?.code, Code.resourceExhausted);
  });
}

test("what is not committed is bounded, and goes on when there is a quorum again", async () => {
  const lab = new Lab({ raft: { uncommittedBytesMax: 1 << 20 } });
  const leader = await lab.found("a", "b", "c");
  // Shorter than an election timeout.
  for (const { name } of lab.followers()) lab.machine(name).pause();
  const all = Array.from({ length: 64 }, () => lab.propose(leader, { bytes: 64 << 10 }));
  await lab.pass(300);
  const { uncommittedBytes } = leader.root.status();
  assert.ok(uncommittedBytes <= (1 << 20) + (64 << 10), `${uncommittedBytes}`);
  for (const { name } of lab.followers()) lab.machine(name).resume();
  for (const { error } of await lab.wait(Promise.all(all))) assert.equal(error, undefined);
  assert.deepEqual(leader.machine.ids, lab.operations.map(({ id }) => id));
});

test("a command that no link or log would take is refused everywhere, and harms nobody", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const [follower] = lab.followers();
  for (const bytes of [4 << 20, (8 << 20) + 1, 20 << 20]) {
    for (const node of [leader, follower]) {
      const { error, startedMs, endedMs } = await lab.wait(lab.propose(node, { bytes }));
      assert.equal(error?.code, Code.invalidArgument, String(error));
      assert.equal(error?.sent, false);
      assert.ok(endedMs - startedMs < 50);
    }
  }
  // The largest that the limit allows gets through.
  for (const node of [leader, follower]) await lab.put(node, 2, 3 << 20);
  await lab.converged();
  assert.deepEqual(lab.handlerErrors, []);
});

test("only in this term, only here: what the leader alone may decide", async () => {
  const lab = new Lab({ latencyMs: [20, 20] });
  const leader = await lab.found("a", "b", "c");
  const [follower] = lab.followers();
  const bytes = commandBytes("mine");
  const refused = (error: CoveyError): void => {
    assert.equal(error.code, Code.failedPrecondition, error.message);
    assert.equal(error.sent, false);
  };
  refused(await lab.failure(follower.root.propose(bytes, { leaderOnly: true })));
  await lab.wait(leader.root.propose(bytes, { leaderOnly: true }));
  // Queued while leadership moves: it is not in the old term's log, and must not be in another's.
  const transfer = leader.root.transfer(follower.root.replica);
  assert.equal(transfer.kind, "started");
  const late = caught(leader.root.propose(commandBytes("late"), { leaderOnly: true }));
  refused(await lab.wait(late));
  await lab.until(() => follower.isLeading);
  await lab.pass(2_000);
  assert.equal(lab.indexOf("late"), undefined);
});

test("a leader that is paused keeps nobody waiting once another one leads", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  await lab.pass(2_000);
  const [follower, other] = lab.followers();
  // So that there is a connection on which something can be sent.
  await lab.put(follower, 1);
  lab.machine(leader.name).pause();
  const early = lab.propose(follower, { timeoutMs: 30_000 });
  await lab.pass(350);
  assert.equal(follower.root.leader?.replica, leader.root.replica, "nobody has noticed yet");
  const later = lab.propose(follower, { timeoutMs: 30_000 });
  await lab.until(() => follower.isLeading || other.isLeading);
  const electedMs = lab.simulation.nowMs;
  const [sent, held] = await lab.wait(Promise.all([early, later]));
  assert.equal(sent.error?.sent, true, "the paused one may have it");
  assert.ok(sent.endedMs - electedMs < 100, `${sent.endedMs - electedMs} ms`);
  assert.equal(held.error, undefined, "it was not sent to a leader that is silent");
  assert.ok(held.endedMs - electedMs < 200, `${held.endedMs - electedMs} ms`);
  lab.machine(leader.name).resume();
  await lab.leader();
  await lab.converged();
  lab.checkOperations();
});

test("what the leader's build cannot apply enters no log, whoever proposes it", async () => {
  const lab = new Lab({ machine: { unknown: /^new:/ } });
  const leader = await lab.found("a", "b", "c");
  const { clusterId } = leader.root;
  const last = leader.root.status().lastIndex;
  const unsupported = (error: CoveyError | undefined): void => {
    assert.equal(error?.code, Code.unimplemented, String(error));
    assert.match(error.message, /the leader is of an older build.*: update that node/);
  };
  for (const node of lab.alive) {
    for (const leaderOnly of node === leader ? [false, true] : [false]) {
      const { error, startedMs, endedMs } = await lab.wait(
        lab.propose(node, { id: `new:${node.name}${leaderOnly}`, leaderOnly }),
      );
      unsupported(error);
      assert.equal(error?.sent, false);
      assert.ok(endedMs - startedMs < 50, "nobody tries it again");
    }
  }
  const transport = lab.transport(leader.name);
  unsupported(
    await lab.failure(transport.propose({ clusterId, group: 0, data: commandBytes("new:far") })),
  );
  assert.equal(leader.root.status().lastIndex, last);
  await lab.put(lab.followers()[0], 3);
  await lab.converged();
  for (const { root } of lab.alive) assert.equal(root.stopped, undefined);
  assert.deepEqual(lab.handlerErrors, []);
  lab.checkOperations();
});

test("a machine that cannot say what it supports fails that proposal alone", async () => {
  const lab = new Lab({ machine: { unknown: /^new:/ } });
  const leader = await lab.found("a", "b", "c");
  const broken = () => {
    throw new Error("no idea");
  };
  const { supports } = leader.machine;
  Object.assign(leader.machine, { supports: broken });
  const { error } = await lab.wait(lab.propose(leader));
  assert.equal(error?.code, Code.internal, String(error));
  assert.equal(error?.sent, false);
  Object.assign(leader.machine, { supports });
  await lab.put(leader, 2);
  lab.checkOperations();
});

test("a leader of a shorter limit refuses a long command, and is not sent it again", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  for (const name of names) lab.define(name, { join: names.map(addressOf) });
  lab.setup("a").raft = { commandBytesMax: 1_000 };
  await lab.found(...names);
  const before = await lab.leader();
  if (before.name !== "a") before.root.transfer(lab.node("a").root.replica);
  await lab.until(() => lab.node("a").isLeading);
  const follower = lab.node("b");
  await lab.put(follower, 1);
  const { error, startedMs, endedMs } = await lab.wait(lab.propose(follower, { bytes: 5_000 }));
  assert.equal(error?.code, Code.invalidArgument, String(error));
  assert.match(error.message, /at most 1000/);
  assert.equal(error.sent, false);
  assert.ok(endedMs - startedMs < 50, `${endedMs - startedMs} ms`);
  lab.checkOperations();
});

test("the time that a caller gives is the leader's, too, and not its own limit", async () => {
  const lab = new Lab({ latencyMs: [200, 200], raft: { requestMs: 300, electionMs: 3_000 } });
  const leader = await lab.found("a", "b", "c");
  for (const node of [leader, ...lab.followers()]) {
    // A commit takes longer than a request may that says nothing of its time.
    const { error } = await lab.wait(lab.propose(node, { timeoutMs: 20_000 }));
    assert.equal(error, undefined, `${node.name}: ${error}`);
  }
});

test("what is given up far away does not enter the leader's log later", async () => {
  const lab = new Lab({ raft: { uncommittedBytesMax: 64 << 10, electionMs: 5_000 } });
  const leader = await lab.found("a", "b", "c");
  const [follower, other] = lab.followers();
  await lab.put(follower, 1);
  // The leader's log takes no more while a thin line is busy with what is in it.
  lab.machine(other.name).kill();
  const slow = lab.simulation.slowLink(leader.name, follower.name, 64 << 10);
  const full = Array.from({ length: 4 }, () => lab.propose(leader, { bytes: 60 << 10 }));
  await lab.pass(10);
  const { error } = await lab.wait(lab.propose(follower, { id: "late", timeoutMs: 300 }));
  assert.equal(error?.sent, true, String(error));
  slow.heal();
  await lab.wait(Promise.all(full));
  await lab.put(leader, 1);
  assert.equal(lab.indexOf("late"), undefined);
  assert.equal(leader.root.pending.proposals, 0);
  lab.checkOperations();
});

test("a snapshot says nothing of what was proposed in a later term than what is in front", () => {
  const proposals = new Proposals<string>();
  const ended = new Map<string, boolean | undefined>();
  const place = (index: number, term: number): void => {
    const name = `${index} of term ${term}`;
    const proposal: Proposal<string> = {
      data: new Uint8Array(1),
      deadlineMs: Infinity,
      resolve: () => assert.fail(name),
      reject: ({ sent }) => ended.set(name, sent),
      over: false,
      index: 0,
      term: 0,
    };
    proposals.placed([proposal], index as LogIndex, term as Term);
  };
  // Term 1's were cut off by another leader, and this node led again before it had applied any.
  for (const index of [10, 16, 20]) place(index, 1);
  place(12, 3);
  proposals.skipped(15);
  assert.deepEqual([...ended], [["10 of term 1", true], ["12 of term 3", true]]);
  proposals.applied(16, 4, "another's");
  assert.deepEqual([...ended].slice(2), [["16 of term 1", false], ["20 of term 1", false]]);
  assert.equal(proposals.size, 0);
});

test("thousands that wait for a leader do not look after each other one by one", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const [follower, other] = lab.followers();
  for (const { name } of [leader, other]) lab.machine(name).kill();
  await lab.pass(5_000);
  let looks = 0;
  const isSo = (): boolean => {
    looks++;
    return false;
  };
  const waiting = follower.root.when(isSo, 2_000);
  const all = Array.from({ length: 2_000 }, () => lab.propose(follower, { timeoutMs: 500 }));
  for (const { error } of await lab.wait(Promise.all(all))) assert.equal(error?.sent, false);
  assert.ok(looks < 200, `${looks} looks`);
  await lab.wait(waiting);
});
