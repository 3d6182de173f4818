/** Several groups over one log: each has its own leader, snapshots and troubles. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code } from "../../../src/base/error.ts";
import type { Group } from "../../../src/raft/group.ts";
import { RemoteGroup } from "../../../src/raft/remote_group.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, caught, Lab, type LabNode } from "./lab.ts";
import {
  commandBytes,
  TestMachine,
  type TestMachineOptions,
  type TestResult,
} from "./test_machine.ts";

before(armBan);
after(liftBan);

const signal = new AbortController().signal;

/** One group on several nodes, with a machine on each. */
interface Placed {
  readonly machines: Map<string, TestMachine>;
  readonly groups: Map<string, Group<TestResult>>;
}

async function place(
  lab: Lab,
  nodes: readonly LabNode[],
  name: string,
  options: TestMachineOptions & { replicas?: number } = {},
): Promise<Placed> {
  const machines = new Map<string, TestMachine>();
  for (const node of nodes) {
    const machine = new TestMachine(options);
    machines.set(node.name, machine);
    node.cluster.groups!.register(name, machine);
  }
  await lab.wait(
    lab.operator(nodes[0].name).createGroup({ name, replicas: options.replicas ?? nodes.length }),
  );
  const groups = new Map<string, Group<TestResult>>();
  for (const node of nodes) {
    const group = await lab.wait(node.cluster.groups!.running<TestResult>(name, signal));
    if (group !== undefined) groups.set(node.name, group);
  }
  await lab.until(() => [...groups.values()].some(({ isLeading }) => isLeading));
  return { machines, groups };
}

async function propose(lab: Lab, group: Group<TestResult>, id: string, bytes = 0): Promise<number> {
  const startedMs = lab.simulation.nowMs;
  await lab.wait(group.propose(commandBytes(id, bytes), { timeoutMs: 10_000 }));
  return lab.simulation.nowMs - startedMs;
}

function same(placed: Placed): void {
  const [first, ...others] = [...placed.groups.keys()].map((name) => placed.machines.get(name)!);
  for (const other of others) assert.deepEqual(other.commands, first.commands);
}

test("groups are made, take proposals on every node, and come back after restarts", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  await lab.found(...names);
  const placed: Placed[] = [];
  for (const name of ["one", "two", "three"]) placed.push(await place(lab, lab.alive, name));
  for (let round = 0; round < 5; round++) {
    for (const { groups } of placed) {
      for (const [node, group] of groups) {
        await propose(lab, group, `${group.name}-${node}-${round}`);
      }
    }
  }
  await lab.pass(500);
  for (const one of placed) {
    assert.equal(one.groups.size, 3);
    same(one);
    assert.equal(one.machines.get("a")!.ids.length, 15);
  }
  const { groups } = await lab.wait(lab.operator("b").groups({}));
  assert.deepEqual(groups.map(({ id, name }) => [id, name]), [[1, "one"], [2, "two"], [
    3,
    "three",
  ]]);
  for (const name of names) lab.machine(name).losePower();
  lab.start(...names);
  await lab.leader(names);
  const again: Placed[] = [];
  for (const name of ["one", "two", "three"]) again.push(await place(lab, lab.alive, name));
  for (const { groups, machines } of again) {
    await propose(lab, groups.get("b")!, "after");
    await lab.pass(300);
    assert.equal(machines.get("c")!.ids.length, 16);
  }
});

test("a group on fewer nodes than there are is found by the others, and has its own leader", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c", "d", "e");
  const small = await place(lab, lab.alive, "small", { replicas: 3 });
  assert.equal(small.groups.size, 3);
  const single = await place(lab, lab.alive, "single", { replicas: 1 });
  assert.equal(single.groups.size, 1);
  await propose(lab, [...single.groups.values()][0], "alone");
  for (const [, group] of small.groups) await propose(lab, group, `at ${group.replica}`);
  const error = await lab.failure(
    lab.operator("a").createGroup({ name: "large", replicas: 6 }),
  );
  assert.equal(error.code, Code.failedPrecondition);
  for (const name of ["", "-", "x y", "x".repeat(200)]) {
    const bad = await lab.failure(lab.operator("a").createGroup({ name, replicas: 1 }));
    assert.equal(bad.code, Code.invalidArgument);
  }
  // Made twice it is the same.
  const [one, two] = await lab.wait(Promise.all([
    lab.operator("b").createGroup({ name: "small", replicas: 3 }),
    lab.operator("c").createGroup({ name: "small", replicas: 5 }),
  ]));
  assert.deepEqual(one, two);
});

test("a group that is removed ends everywhere and leaves no file", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  const { groups } = await place(lab, lab.alive, "gone");
  for (let round = 0; round < 5; round++) await propose(lab, groups.get("a")!, `${round}`);
  await lab.wait(groups.get("b")!.takeSnapshot());
  const waiting = caught(groups.get("a")!.advanced(1_000 as never, signal));
  await lab.wait(lab.operator("c").removeGroup({ name: "gone" }));
  await lab.pass(1_000);
  assert.match((await lab.wait(waiting)).rawMessage, /group gone was removed/);
  for (const node of lab.alive) {
    assert.equal(node.cluster.host!.groups.length, 1);
    const left = lab.machine(node.name).disk.paths().filter((path) =>
      path.endsWith(".snap") && !path.includes("snapshot-00000000000000-")
    );
    assert.deepEqual(left, []);
    const error = await lab.failure(node.cluster.groups!.running("gone", signal));
    assert.ok(error.code === Code.notFound || error.code === Code.failedPrecondition);
  }
  const again = await lab.failure(lab.operator("a").removeGroup({ name: "gone" }));
  assert.equal(again.code, Code.notFound);
  const root = await lab.failure(lab.operator("b").removeGroup({ name: "kv" }));
  assert.equal(root.code, Code.failedPrecondition);
  assert.match(root.rawMessage, /^group kv cannot be removed: /);
  const second = await lab.failure(lab.operator("b").createGroup({ name: "kv", replicas: 1 }));
  assert.equal(second.code, Code.alreadyExists);
  await lab.put(await lab.leader(), 3);
});

test("one group's snapshots and large entries delay no other group's commits", async () => {
  const lab = new Lab({ raft: { snapshotLogBytes: 1 << 30 } });
  await lab.found("a", "b", "c");
  const busy = await place(lab, lab.alive, "busy", { padBytes: 8 << 20 });
  const calm = await place(lab, lab.alive, "calm");
  const leader = [...calm.groups.values()].find(({ isLeading }) => isLeading)!;
  const quiet: number[] = [];
  for (let round = 0; round < 30; round++) quiet.push(await propose(lab, leader, `quiet ${round}`));
  const during: number[] = [];
  const work: Promise<unknown>[] = [];
  for (const group of busy.groups.values()) work.push(group.takeSnapshot());
  for (let round = 0; round < 10; round++) {
    work.push(busy.groups.get("a")!.propose(commandBytes(`large:50:${round}`, 100_000)));
  }
  let done = false;
  void Promise.all(work).then(() => done = true);
  for (let round = 0; round < 200 && (!done || round < 30); round++) {
    during.push(await propose(lab, leader, `during ${round}`));
  }
  await lab.wait(Promise.all(work));
  const worst = (list: number[]): number =>
    list.sort((x, y) => x - y)[Math.floor(list.length * 0.95)];
  assert.ok(worst(during) <= 3 * worst(quiet) + 2, `${worst(quiet)} ms, then ${worst(during)} ms`);
});

test("a group that cannot go on stops alone", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  const bad = await place(lab, lab.alive, "bad");
  const good = await place(lab, lab.alive, "good");
  for (const machine of bad.machines.values()) machine.isFatal = ({ id }) => id === "future";
  const error = await lab.failure(
    bad.groups.get("a")!.propose(commandBytes("future"), { timeoutMs: 2_000 }),
  );
  assert.ok(error.code === Code.unavailable || error.code === Code.deadlineExceeded, error.message);
  await lab.pass(10_000);
  // Each leader in turn finds that it cannot apply it, until there is no quorum any more.
  const stopped = [...bad.groups.values()].filter((group) => group.stopped !== undefined);
  assert.ok(stopped.length >= 2, `${stopped.length}`);
  for (const group of bad.groups.values()) assert.equal(group.isLeading, false);
  for (const group of good.groups.values()) await propose(lab, group, `${group.replica}`);
  await lab.put(await lab.leader(), 3);
  for (const { cluster } of lab.alive) assert.equal(cluster.problem, undefined);
});

test("heartbeats of many groups share frames, and one write their entries", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  const placed: Placed[] = [];
  for (let at = 0; at < 12; at++) placed.push(await place(lab, lab.alive, `g${at}`));
  // All led by one node, so that their heartbeats go the same way.
  if (!lab.node("a").isLeading) {
    await lab.wait(lab.operator("a").transfer({ replica: BigInt(lab.node("a").root.replica) }));
  }
  for (const { groups } of placed) {
    const group = [...groups.values()].find(({ isLeading }) => isLeading)!;
    group.transfer(groups.get("a")!.replica);
  }
  await lab.pass(5_000);
  const led = placed.filter(({ groups }) => groups.get("a")!.isLeading).length;
  assert.equal(led, 12);
  const control = (): number =>
    lab.alive.reduce((sum, { cluster: { counters } }) => sum + counters.control.framesSent, 0);
  const before = control();
  await lab.pass(10_000);
  const perSecond = (control() - before) / 10;
  // Twenty heartbeats, their answers, and pings: each group for itself would send 520.
  assert.ok(perSecond < 60, `${perSecond} frames a second for thirteen groups`);
  const { log } = lab.node("a").cluster.host!;
  const batches = log.written.batches;
  await lab.wait(
    Promise.all(placed.map(({ groups }) => groups.get("a")!.propose(commandBytes("x")))),
  );
  assert.ok(log.written.batches - batches <= 3, `${log.written.batches - batches} writes`);
});

test("a replica can be added to a group, and removed from it", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c", "d");
  const { groups, machines } = await place(lab, lab.alive, "some", { replicas: 3 });
  const without = lab.alive.find(({ name }) => !groups.has(name))!;
  const [asked] = groups.keys();
  for (let round = 0; round < 5; round++) await propose(lab, groups.get(asked)!, `${round}`);
  const { id } = groups.get(asked)!;
  const { peer } = await lab.wait(
    lab.operator(asked).add({ group: id, address: addressOf(without.name) }, { timeoutMs: 10_000 }),
  );
  assert.equal(peer?.replica, 4n);
  await lab.until(() => machines.get(without.name)!.ids.length === 5);
  await lab.wait(lab.operator(asked).remove({ group: id, replica: 1n }));
  await lab.pass(2_000);
  const left = [...groups.values()].find(({ replica }) => replica !== 1)!;
  await propose(lab, left, "last");
  await lab.until(() => machines.get(without.name)!.ids.length === 6);
});

test("a node that leaves hands over every group that it leads", async () => {
  const lab = new Lab();
  const leaving = await lab.found("a", "b", "c");
  const placed: Placed[] = [];
  for (const name of ["one", "two", "three"]) placed.push(await place(lab, lab.alive, name));
  for (const { groups } of placed) {
    const own = groups.get(leaving.name)!;
    const leader = [...groups.values()].find(({ isLeading }) => isLeading)!;
    if (leader !== own) leader.transfer(own.replica);
    await lab.until(() => own.isLeading);
  }
  const startedMs = lab.simulation.nowMs;
  await lab.wait(leaving.cluster.drain(5_000));
  assert.ok(lab.simulation.nowMs - startedMs < 200, "no election timeout has passed");
  for (const { groups } of placed) {
    assert.equal(groups.get(leaving.name)!.leads, false);
    assert.notEqual(groups.get(leaving.name)!.leader, undefined);
  }
  await lab.wait(leaving.stop());
  for (const { groups } of placed) {
    const [other] = [...groups].filter(([name]) => name !== leaving.name);
    assert.ok(await propose(lab, other[1], `${other[1].name} goes on`) < 100);
  }
});

test("a program's handle of a group elsewhere follows the group, and becomes its own replica's", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c", "d", "e");
  const nodes = lab.alive;
  const { groups } = await place(lab, nodes, "some", { replicas: 2 });
  const without = nodes.filter(({ name }) => !groups.has(name));
  const [outside, ...next] = without;
  const record = outside.cluster.groups!.record("some")!;
  const { id } = record;
  const machine = new TestMachine();
  const handle = new RemoteGroup<TestResult>({ cluster: outside.cluster, machine, record, id });
  assert.equal(handle.replica, 0);
  await lab.wait(handle.propose(commandBytes("founders")));
  // Others keep it now.
  for (const { name } of next) {
    await lab.wait(
      lab.operator(next[0].name).add({ group: id, address: addressOf(name) }).catch(() =>
        lab.operator([...groups.keys()][0]).add({ group: id, address: addressOf(name) })
      ),
    );
  }
  for (const replica of [1n, 2n]) {
    await lab.wait(
      lab.operator(next[0].name).remove({ group: id, replica }, { timeoutMs: 10_000 }),
    );
  }
  await lab.pass(2_000);
  const startedMs = lab.simulation.nowMs;
  await lab.wait(handle.propose(commandBytes("the next ones"), { timeoutMs: 10_000 }));
  assert.ok(lab.simulation.nowMs - startedMs < 500, `${lab.simulation.nowMs - startedMs} ms`);
  assert.ok(next.some(({ name }) => handle.leader?.name === name));
  assert.match((await lab.failure(handle.barrier())).message, /is kept by/);
  await lab.wait(
    lab.operator(next[0].name).add({ group: id, address: addressOf(outside.name) }),
  );
  await lab.until(() => handle.replica > 0);
  await lab.wait(handle.barrier());
  await lab.wait(handle.propose(commandBytes("here")));
});

test("a leader elsewhere that takes nothing any more is not asked without a pause", async () => {
  const lab = new Lab();
  await lab.found("a", "b");
  const { groups } = await place(lab, lab.alive, "some", { replicas: 1 });
  const keeper = lab.alive.find(({ name }) => groups.has(name))!;
  const outside = lab.alive.find(({ name }) => !groups.has(name))!;
  const record = outside.cluster.groups!.record("some")!;
  const { cluster } = outside;
  const machine = new TestMachine();
  const handle = new RemoteGroup<TestResult>({ cluster, machine, record, id: record.id });
  await lab.wait(handle.propose(commandBytes("taken")));
  await lab.wait(keeper.cluster.host!.drain.run(0));
  const host = cluster.host!;
  const forward = host.forward.bind(host);
  let asked = 0;
  host.forward = (...request) => {
    asked++;
    return forward(...request);
  };
  const { code } = await lab.failure(
    handle.propose(commandBytes("too late"), { timeoutMs: 1_000 }),
  );
  assert.equal(code, Code.deadlineExceeded);
  assert.ok(asked > 1 && asked < 15, `${asked} times in a second`);
});

test("a handle of a group that was removed says so at once", async () => {
  const lab = new Lab();
  await lab.found("a", "b");
  const { groups } = await place(lab, lab.alive, "some", { replicas: 1 });
  const outside = lab.alive.find(({ name }) => !groups.has(name))!;
  const record = outside.cluster.groups!.record("some")!;
  const { cluster } = outside;
  const machine = new TestMachine();
  const handle = new RemoteGroup<TestResult>({ cluster, machine, record, id: record.id });
  await lab.wait(handle.propose(commandBytes("taken")));
  await lab.wait(lab.operator("a").removeGroup({ name: "some" }));
  await lab.until(() => cluster.root!.members.groups.length === 0);
  const startedMs = lab.simulation.nowMs;
  const error = await lab.failure(handle.propose(commandBytes("gone"), { timeoutMs: 3_000 }));
  assert.equal(error.code, Code.notFound, error.message);
  assert.equal(error.sent, false);
  assert.ok(lab.simulation.nowMs - startedMs < 50);
});

test("a handle does not ask the stopped replica of its own node", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  const { groups } = await place(lab, lab.alive, "some", { replicas: 1 });
  const keeper = lab.alive.find(({ name }) => groups.has(name))!;
  const [outside, third] = lab.alive.filter(({ name }) => !groups.has(name));
  const { cluster } = outside;
  const { id, name } = cluster.groups!.record("some")!;
  // What it begins with is of the past.
  const founders = [cluster.root!.members.ofNode(third.cluster.host!.nodeId)!];
  const machine = new TestMachine();
  const handle = new RemoteGroup<TestResult>({
    cluster,
    machine,
    record: { id, name, founders },
    id,
  });
  await lab.wait(
    lab.operator(keeper.name).add({ group: id, address: addressOf(outside.name), learner: true }),
  );
  await lab.until(() => handle.replica > 0);
  cluster.host!.group(id)!.removed();
  await lab.wait(handle.propose(commandBytes("taken")));
  // Nobody takes it now, so everybody is asked.
  await lab.wait(keeper.cluster.host!.drain.run(0));
  await lab.failure(handle.propose(commandBytes("not taken"), { timeoutMs: 2_000 }));
  assert.equal(cluster.host!.peer(cluster.host!.nodeId), undefined);
  assert.deepEqual(lab.logged(outside.name, /own id/), []);
});
