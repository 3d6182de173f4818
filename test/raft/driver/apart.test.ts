/**
 * Groups share a log and nothing else: what holds one up, the others do not notice. Measured in the
 * time that the others' proposals take. (groups.test.ts has the part of snapshots that are taken.)
 */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code, CoveyError } from "../../../src/base/error.ts";
import { Applier } from "../../../src/raft/applier.ts";
import type { Group } from "../../../src/raft/group.ts";
import type { Clock } from "../../../src/runtime/port.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, Lab } from "./lab.ts";
import {
  commandBytes,
  TestMachine,
  type TestMachineOptions,
  type TestResult,
} from "./test_machine.ts";

before(armBan);
after(liftBan);

/** A group on every node. */
interface Placed {
  readonly machines: Map<string, TestMachine>;
  readonly groups: Map<string, Group<TestResult>>;
  /** That leads it. */
  readonly leader: Group<TestResult>;
  readonly leaderName: string;
}

async function place(
  lab: Lab,
  name: string,
  options: TestMachineOptions & { readonly replicas?: number } = {},
): Promise<Placed> {
  const { signal } = new AbortController();
  const machines = new Map<string, TestMachine>();
  for (const node of lab.alive) {
    const machine = new TestMachine(options);
    machines.set(node.name, machine);
    node.cluster.groups!.register(name, machine);
  }
  const { replicas = lab.alive.length } = options;
  await lab.wait(lab.operator(lab.alive[0].name).createGroup({ name, replicas }));
  const groups = new Map<string, Group<TestResult>>();
  for (const node of lab.alive) {
    const group = await lab.wait(node.cluster.groups!.running<TestResult>(name, signal));
    if (group !== undefined) groups.set(node.name, group);
  }
  const leading = (): [string, Group<TestResult>] | undefined =>
    [...groups].find(([, { isLeading }]) => isLeading);
  await lab.until(() => leading() !== undefined);
  const [leaderName, leader] = leading()!;
  return { machines, groups, leader, leaderName };
}

/** The 95th percentile of so many proposals, one after the other. */
async function pace(lab: Lab, group: Group<TestResult>, count: number): Promise<number> {
  const times: number[] = [];
  for (let at = 0; at < count; at++) {
    const startedMs = lab.simulation.nowMs;
    await lab.wait(group.propose(commandBytes(lab.nextId()), { timeoutMs: 10_000 }));
    times.push(lab.simulation.nowMs - startedMs);
  }
  return times.sort((a, b) => a - b)[Math.floor(count * 0.95)];
}

/** One node leads both, so that they share its turns, its disk and its links. */
async function leadTogether(lab: Lab, one: Placed, other: Placed): Promise<Group<TestResult>> {
  const group = one.groups.get(other.leaderName)!;
  if (!group.isLeading) one.leader.transfer(group.replica);
  await lab.until(() => group.isLeading);
  return group;
}

function same(quietMs: number, busyMs: number): void {
  assert.ok(busyMs <= 3 * quietMs + 2, `${quietMs} ms, then ${busyMs} ms`);
}

test("a group at its quota lets its proposals wait, and the others do not notice", async () => {
  const lab = new Lab({ raft: { uncommittedBytesMax: 64 << 10 } });
  await lab.found("a", "b", "c");
  const { leader: busy } = await place(lab, "busy");
  const { leader: calm } = await place(lab, "calm");
  const quietMs = await pace(lab, calm, 30);
  const codes: Code[] = [];
  const work: Promise<unknown>[] = [];
  for (let at = 0; at < 200; at++) {
    work.push(
      busy.propose(commandBytes(`b${at}`, 20_000), { timeoutMs: 20 }).catch((error) => {
        codes.push(CoveyError.from(error).code);
      }),
    );
  }
  const busyMs = await pace(lab, calm, 30);
  await lab.wait(Promise.all(work));
  assert.ok(codes.length > 20, `${codes.length} of 200 had no room`);
  assert.ok(codes.every((code) => code === Code.deadlineExceeded));
  same(quietMs, busyMs);
});

/** A clock by which each slice of a machine's work takes so long; else it takes no time here. */
function slicesOf(ms: number): (clock: Clock) => Clock {
  return (clock) => ({
    wallMs: () => clock.wallMs(),
    monotonicMs: () => clock.monotonicMs(),
    timer: (delayMs, callback, argument) =>
      clock.timer(argument instanceof Applier ? delayMs + ms : delayMs, callback, argument),
  });
}

test("a group whose machine is long at one command holds up nobody else", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  const join = names.map(addressOf);
  for (const name of names) lab.define(name, { join, clock: slicesOf(5) });
  await lab.found(...names);
  const busy = await place(lab, "busy");
  const calm = await place(lab, "calm");
  const quietMs = await pace(lab, calm.leader, 30);
  const long = `large:400:${lab.nextId()}`;
  const work = [...busy.groups.values()].map((group) =>
    group.propose(commandBytes(long), { timeoutMs: 60_000 })
  );
  const startedMs = lab.simulation.nowMs;
  const busyMs = await pace(lab, calm.leader, 100);
  const { leader, machines, leaderName } = busy;
  assert.ok(leader.committed > leader.applied, "all of this was while it was at the command");
  assert.equal(machines.get(leaderName)!.ids.length, 0);
  same(quietMs, busyMs);
  await lab.wait(Promise.all(work));
  const tookMs = lab.simulation.nowMs - startedMs;
  assert.ok(tookMs >= 3 * 400 * 5, `${tookMs} ms for three commands of 400 slices`);
});

test("a group's stopped follower holds up no group that it is no part of", async () => {
  const lab = new Lab({ raft: { inflightBytesMax: 1 << 20 } });
  await lab.found("a", "b", "c", "d");
  const busy = await place(lab, "busy");
  const calm = await place(lab, "calm", { replicas: 3 });
  const without = lab.alive.find(({ name }) => !calm.groups.has(name))!;
  const leader = await leadTogether(lab, busy, calm);
  const quietMs = await pace(lab, calm.leader, 30);
  lab.machine(without.name).pause();
  const work: Promise<unknown>[] = [];
  for (let at = 0; at < 60; at++) {
    // More than its window, and than what waits for its link.
    work.push(leader.propose(commandBytes(`b${at}`, 100_000), { timeoutMs: 10_000 }));
    await lab.pass(2);
  }
  const busyMs = await pace(lab, calm.leader, 60);
  await lab.wait(Promise.all(work));
  const { replica } = busy.groups.get(without.name)!;
  const { match } = leader.status().members.find(({ id }) => id === replica)!;
  assert.ok(match < leader.committed - 40, "the stopped one has none of it");
  same(quietMs, busyMs);
});

test("a group that is filled from its leader's snapshot holds up nobody else", async () => {
  const lab = new Lab({ raft: { snapshotLogBytes: 64 << 10, catchUpBytes: 16 << 10 } });
  await lab.found("a", "b", "c");
  const options = { padBytes: 12 << 20 };
  const busy = await place(lab, "busy", options);
  const calm = await place(lab, "calm");
  const leader = await leadTogether(lab, busy, calm);
  const [behind, other] = [...calm.groups.keys()].filter((name) => name !== calm.leaderName);
  const { lastIndex } = leader.status();
  lab.machine(behind).kill();
  const fill = async (): Promise<void> => {
    for (let at = 0; at < 10; at++) {
      await lab.wait(leader.propose(commandBytes(lab.nextId(), 10_000), { timeoutMs: 10_000 }));
    }
  };
  await fill();
  await lab.wait(leader.takeSnapshot());
  await fill();
  await lab.until(() => leader.status().firstIndex > lastIndex + 1);
  const quietMs = await pace(lab, calm.leader, 30);
  lab.start(behind);
  await lab.until(() => lab.has(behind) && lab.node(behind).cluster.host !== undefined);
  const filled = new TestMachine(options);
  const { groups, counters } = lab.node(behind).cluster;
  groups!.register("calm", new TestMachine());
  groups!.register("busy", filled);
  await lab.until(() => counters.snapshotsReceivedBytes > 0);
  // What calm commits from here on needs the disk and the link of the node that is being filled.
  lab.machine(other).pause();
  const times: number[] = [];
  while (filled.ids.length === 0) times.push(await pace(lab, calm.leader, 1));
  lab.machine(other).resume();
  assert.ok(times.length >= 20, `${times.length} proposals while it was filled`);
  assert.ok(filled.ids.length >= 10 && counters.snapshotsReceived === 1);
  same(quietMs, times.sort((a, b) => a - b)[Math.floor(times.length * 0.95)]);
});
