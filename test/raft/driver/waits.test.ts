/** Who waits for something of a group learns of it when it happens, not at the next look. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code, CoveyError } from "../../../src/base/error.ts";
import { silentLogger } from "../../../src/base/log.ts";
import { GroupEvents } from "../../../src/raft/group_events.ts";
import { hasCaughtUp } from "../../../src/raft/operator_checks.ts";
import type { Clock } from "../../../src/runtime/port.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, caught, Lab, type LabNode } from "./lab.ts";

before(armBan);
after(liftBan);

/** A time that none of these waits may take. */
const longMs = 60_000;

/** When a promise ends, in virtual time. */
async function endOf(lab: Lab, work: Promise<unknown>): Promise<number> {
  await work.catch(() => {});
  return lab.simulation.nowMs;
}

const underWay: Readonly<Record<string, (lab: Lab, node: LabNode) => Promise<unknown>>> = {
  "a write": (lab, node) => lab.propose(node, { timeoutMs: longMs }),
  "a read": (_lab, node) => node.root.barrier({ timeoutMs: longMs }),
  "a canceled read": (lab, node) => {
    const controller = new AbortController();
    const read = node.root.barrier({ timeoutMs: longMs, signal: controller.signal });
    lab.simulation.at(lab.simulation.nowMs + 7, () => controller.abort());
    return caught(read);
  },
  // An answer takes longer.
  "a read without time": (_lab, node) => caught(node.root.barrier({ timeoutMs: 30 })),
  "a write without time": (lab, node) => lab.propose(node, { timeoutMs: 30 }),
};

for (const role of ["leader", "follower"] as const) {
  for (const [what, begin] of Object.entries(underWay)) {
    test(`a ${role} that leaves goes on when ${what}, the last that was under way, has ended`, async () => {
      const lab = new Lab({ latencyMs: [20, 20] });
      const leader = await lab.found("a", "b", "c");
      await lab.put(leader, 3);
      const node = role === "leader" ? leader : lab.followers()[0];
      const begun = begin(lab, node);
      const ended = endOf(lab, begun);
      await lab.pass(1);
      assert.equal(node.root.isIdle, false);
      const drained = endOf(lab, node.cluster.drain(longMs));
      if (role === "leader") {
        let transferMs = Infinity;
        await lab.until(() => {
          if (node.root.leads && node.root.status().transferee === 0) return false;
          transferMs = lab.simulation.nowMs;
          return true;
        }, 1_000);
        assert.equal(transferMs, await lab.wait(ended));
      } else assert.equal(await lab.wait(drained), await lab.wait(ended));
      await lab.wait(drained);
    });
  }
}

test("a write that begins anew elsewhere is under way all the time", async () => {
  const lab = new Lab({ latencyMs: [10, 10] });
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 3);
  const [next] = lab.followers();
  // They wait at the leader while it hands over, and at the others for it.
  leader.root.transfer(next.root.replica);
  const writes = lab.alive.map((node) => lab.propose(node, { timeoutMs: longMs }));
  const draining = lab.alive.filter((node) => node !== next);
  const drained = draining.map((node) => endOf(lab, node.cluster.drain(longMs)));
  const ended = await lab.wait(Promise.all(writes));
  const times = await lab.wait(Promise.all(drained));
  draining.forEach((node, at) => {
    const write = ended.find((one) => one.node === node.name)!;
    assert.equal(write.error, undefined, String(write.error));
    assert.ok(times[at] >= write.endedMs, `${node.name} left before its write had ended`);
  });
  lab.checkOperations();
});

/** A leader in the moment in which it was elected; d, a learner, and the voter `other` follow. */
async function youngLeader(lab: Lab): Promise<{ leader: LabNode; other: LabNode }> {
  const first = await lab.found("a", "b", "c");
  await lab.put(first, 3);
  const leader = lab.followers()[0];
  const other = lab.followers()[1];
  first.root.transfer(leader.root.replica);
  await lab.until(() => leader.root.leads);
  return { leader, other };
}

test("a leader that leaves in its first moment hands over to the first that it hears of", async () => {
  const lab = new Lab({ latencyMs: [7, 7] });
  const { leader } = await youngLeader(lab);
  const sinceMs = lab.simulation.nowMs;
  const drained = endOf(lab, leader.cluster.drain(longMs));
  await lab.until(() =>
    leader.root.status().members.some(({ id, recentActive }) =>
      recentActive && id !== leader.root.replica
    )
  );
  assert.ok(lab.simulation.nowMs > sinceMs);
  assert.notEqual(leader.root.status().transferee, 0);
  await lab.until(() => !leader.root.leads && leader.root.leader !== undefined, 1_000);
  assert.equal(await lab.wait(drained), lab.simulation.nowMs);
});

test("a change is refused in the moment in which a new leader has heard of all who are there", async () => {
  const lab = new Lab({ latencyMs: [7, 7] });
  const { leader, other } = await youngLeader(lab);
  const third = lab.names.find((name) => name !== leader.name && name !== other.name)!;
  lab.machine(third).pause();
  const request = { replica: BigInt(other.root.replica) };
  const refused = endOf(lab, lab.operator(leader.name).remove(request, { timeoutMs: longMs }));
  let heardMs = Infinity;
  await lab.until(() => {
    if (!leader.root.status().hasHeard) return false;
    heardMs = lab.simulation.nowMs;
    return true;
  });
  const tookMs = await lab.wait(refused) - heardMs;
  assert.ok(tookMs < 20, `${tookMs} ms`);
});

test("a transfer is answered in the moment in which the new leader is heard of", async () => {
  const lab = new Lab({ latencyMs: [7, 7] });
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 3);
  await lab.pass(1_000);
  const answered = endOf(lab, lab.operator(leader.name).transfer({}, { timeoutMs: longMs }));
  await lab.until(() => !leader.root.leads && leader.root.leader !== undefined, 2_000);
  const tookMs = await lab.wait(answered) - lab.simulation.nowMs;
  assert.ok(tookMs < 20, `${tookMs} ms`);
});

test("a node that is added gets its vote in the moment in which it has caught up", async () => {
  const lab = new Lab({ latencyMs: [7, 7], machine: { padBytes: 1 << 20 } });
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 5);
  lab.define("d", { join: [addressOf("a")] });
  lab.start("d");
  await lab.pass(1_000);
  // The snapshot takes a second or so.
  lab.simulation.slowLink(leader.name, "d", 1 << 20);
  const request = { address: addressOf("d") };
  const added = lab.operator(leader.name).add(request, { timeoutMs: longMs });
  const { root } = leader;
  let behindIndex = 0;
  await lab.until(() => {
    const status = root.status();
    if (hasCaughtUp(status, 4)) return true;
    behindIndex = status.lastIndex;
    return false;
  });
  assert.ok(root.members.get(4) !== undefined, "it is a learner");
  assert.equal(root.status().lastIndex, behindIndex + 1, "its vote is proposed");
  await lab.wait(added);
  assert.ok(root.status().configuration.voters.includes(4));
});

test("a wait ends with the group, with its time, or with its signal", async () => {
  const lab = new Lab();
  const { clock } = lab.simulation.machine("m", { boot: () => new Promise<never>(() => {}) })
    .runtime;
  const events = new GroupEvents<unknown>(clock, silentLogger);
  const startedMs = lab.simulation.nowMs;
  const never = (): boolean => false;
  await lab.wait(events.when(never, 25));
  assert.equal(lab.simulation.nowMs, startedMs + 25);
  await lab.wait(events.when(never, 0));
  await lab.wait(events.when(() => true, Infinity));
  assert.equal(lab.simulation.nowMs, startedMs + 25);
  const controller = new AbortController();
  const canceled = events.when(never, Infinity, controller.signal);
  const closed = events.when(never, Infinity);
  assert.equal(events.waiting, 2);
  controller.abort();
  await lab.wait(canceled);
  assert.equal(events.waiting, 1);
  events.close(new CoveyError(Code.unavailable, "over"));
  await lab.wait(closed);
  await lab.wait(events.when(never, Infinity));
  assert.equal(events.waiting, 0);
  const quiet = lab.simulation.events;
  await lab.pass(1_000);
  assert.equal(lab.simulation.events, quiet, "no timer is left");
});

test("a leader whose machine cannot go on wakes for its ticks alone", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  const timers = new Map<string, number>();
  for (const name of names) {
    const clock = (clock: Clock): Clock =>
      new Proxy(clock, {
        get: (target, key) => {
          if (key === "timer") timers.set(name, (timers.get(name) ?? 0) + 1);
          const value: unknown = Reflect.get(target, key);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    lab.define(name, { join: names.map(addressOf), clock });
  }
  const leader = await lab.found(...names);
  const work = [lab.propose(leader), lab.propose(leader, { id: "fatal:x" }), lab.propose(leader)];
  await lab.wait(Promise.all(work));
  assert.notEqual(leader.root.stopped, undefined);
  await lab.pass(3_000);
  timers.clear();
  await lab.pass(10_000);
  const count = timers.get(leader.name)!;
  assert.ok(count > 0 && count <= 300, `${count} timers in 10 s`);
});
