/** Linearizable reads: through leader changes and partitions, on every node, with and without leases. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import process from "node:process";
import { Code } from "../../../src/base/error.ts";
import { Barriers } from "../../../src/raft/barriers.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { caught, Lab, type LabNode } from "./lab.ts";

before(armBan);
after(liftBan);

/** A read of a node: what its machine holds when the barrier lets it. */
async function readAt(lab: Lab, node: LabNode, timeoutMs = 5_000): Promise<string[]> {
  await lab.wait(node.root.barrier({ timeoutMs }));
  return node.machine.ids;
}

test("a read of any node sees everything that was acknowledged anywhere", async () => {
  const lab = new Lab({ latencyMs: [1, 30] });
  await lab.found("a", "b", "c", "d", "e");
  for (let round = 0; round < 10; round++) {
    const writer = lab.alive[round % 5];
    const { id } = await lab.wait(lab.propose(writer));
    for (const node of lab.alive) assert.ok((await readAt(lab, node)).includes(id), node.name);
  }
});

test("a leader that is cut off serves no reads, and the new one does", async () => {
  const lab = new Lab();
  const old = await lab.found("a", "b", "c");
  await lab.put(old, 3);
  const cut = lab.simulation.partition(old.name);
  // It believes to lead for a while.
  assert.ok(old.isLeading);
  const error = await lab.failure(old.root.barrier({ timeoutMs: 300 }));
  assert.equal(error.code, Code.deadlineExceeded);
  assert.equal(error.sent, false);
  const others = ["a", "b", "c"].filter((name) => name !== old.name);
  const next = await lab.leader(others);
  const { id } = await lab.wait(lab.propose(next));
  await lab.failure(old.root.barrier({ timeoutMs: 3_000 }));
  assert.ok(!old.machine.ids.includes(id));
  cut.heal();
  assert.ok((await readAt(lab, old, 20_000)).includes(id));
});

test("many reads at a time share a few rounds", async () => {
  const lab = new Lab({ latencyMs: [5, 5] });
  const leader = await lab.found("a", "b", "c");
  const [follower] = lab.followers();
  for (const node of [leader, follower]) {
    await lab.pass(1_000);
    const before = node.cluster.counters.control.framesSent;
    await lab.wait(Promise.all(Array.from({ length: 1_000 }, () => node.root.barrier())));
    const frames = node.cluster.counters.control.framesSent - before;
    assert.ok(frames <= 12, `${frames} frames for a thousand reads at ${node.name}`);
  }
});

test("reads wait without a busy loop while there is no leader, and keep their deadline", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const [left] = lab.followers();
  for (const { name } of lab.alive) if (name !== left.name) lab.machine(name).losePower();
  assert.ok(leader !== left);
  const startedMs = lab.simulation.nowMs;
  const events = lab.simulation.events;
  const ends = Promise.allSettled(
    Array.from({ length: 50 }, (_none, at) => left.root.barrier({ timeoutMs: 1_000 + at * 100 })),
  );
  for (const end of await lab.wait(ends)) {
    assert.equal(end.status, "rejected");
    assert.equal((end as PromiseRejectedResult).reason.code, Code.deadlineExceeded);
  }
  const tookMs = lab.simulation.nowMs - startedMs;
  assert.ok(tookMs <= 6_000 && tookMs >= 5_850, `${tookMs} ms`);
  assert.ok(lab.simulation.events - events < 1_500, `${lab.simulation.events - events} events`);
  assert.equal(left.root.pending.reads, 0);
});

test("a read that is given up ends at once and leaves nothing", async () => {
  const lab = new Lab({ latencyMs: [50, 50] });
  const leader = await lab.found("a", "b", "c");
  for (const node of [leader, ...lab.followers()]) {
    const controller = new AbortController();
    const read = caught(node.root.barrier({ signal: controller.signal }));
    await lab.pass(20);
    controller.abort();
    const atMs = lab.simulation.nowMs;
    assert.equal((await lab.wait(read)).code, Code.canceled);
    assert.ok(lab.simulation.nowMs - atMs < 1);
    assert.equal(node.root.pending.reads, 0);
  }
});

test("reads of a follower go on when the leader, or the link to it, is lost", async () => {
  const lab = new Lab({ raft: { electionMs: 1_000 } });
  await lab.found("a", "b", "c");
  for (let round = 0; round < 6; round++) {
    const leader = await lab.leader();
    const [follower] = lab.followers();
    const reads = Array.from({ length: 20 }, () => follower.root.barrier({ timeoutMs: 10_000 }));
    await lab.pass(0.2);
    if (round % 2 === 0) lab.simulation.resetConnections(follower.name);
    else lab.machine(leader.name).kill();
    const startedMs = lab.simulation.nowMs;
    await lab.wait(Promise.all(reads));
    const limitMs = round % 2 === 0 ? 300 : 3_000;
    assert.ok(lab.simulation.nowMs - startedMs < limitMs, `${lab.simulation.nowMs - startedMs} ms`);
    if (round % 2 === 1) lab.start(leader.name);
    await lab.leader();
  }
});

test("while a replica is restored its reads wait for the end of that", async () => {
  const lab = new Lab({
    raft: { snapshotLogBytes: 32 << 10, catchUpBytes: 1 << 10, segmentBytes: 32 << 10 },
    machine: { padBytes: 200_000 },
  });
  const leader = await lab.found("a", "b", "c");
  const [behind] = lab.followers();
  const cut = lab.simulation.partition(behind.name);
  for (let round = 0; round < 10; round++) {
    await lab.put(leader, 16, 1 << 10);
    await lab.pass(1_000);
  }
  const { ids } = leader.machine;
  let restoring = 0;
  behind.root.observe({ restoring: () => restoring++ });
  cut.heal();
  const seen = await readAt(lab, behind, 20_000);
  assert.equal(restoring, 1);
  assert.deepEqual(seen, ids);
});

// ---------------------------------------------------------------------------------------------
// Leases

const leases = { leaseReads: true };
const seeds = Number(process.env.COVEY_DRIVER_SEEDS ?? 6);

test("with leases reads of the leader cost no messages", async () => {
  const lab = new Lab({ raft: leases, latencyMs: [20, 20] });
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 3);
  await lab.pass(1_000);
  let waited = 0;
  for (let round = 0; round < 50; round++) {
    const startedMs = lab.simulation.nowMs;
    await lab.wait(leader.root.barrier());
    waited += lab.simulation.nowMs - startedMs;
    await lab.pass(37);
  }
  assert.equal(waited, 0);
});

/** What a leader that stood still serves when a read reaches it before anything else does. */
async function readAfterSleep(lab: Lab, how: (leader: LabNode) => Promise<void>): Promise<void> {
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 3);
  await lab.pass(1_000);
  const others = lab.followers().map(({ name }) => name);
  // A request that the process finds first when it runs again.
  const early: { ids?: string[] } = {};
  lab.simulation.at(lab.simulation.nowMs + 3, () => {
    lab.machine(leader.name).start(async () => {
      try {
        await leader.root.barrier({ timeoutMs: 5_000 });
        early.ids = [...leader.machine.ids];
      } catch { /* It must not answer. */ }
      await new Promise<never>(() => {});
    });
  });
  await how(leader);
  const next = await lab.leader(others);
  const { id, error } = await lab.wait(lab.propose(next));
  assert.equal(error, undefined);
  lab.machine(leader.name).resume();
  await lab.pass(20_000);
  if (early.ids !== undefined) assert.ok(early.ids.includes(id), "a stale read was served");
  await lab.converged();
}

test("case 10: a lease does not outlive a pause of the process, whatever comes first after it", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const lab = new Lab({ seed, raft: leases });
    await readAfterSleep(lab, async (leader) => {
      await lab.pass(1);
      lab.machine(leader.name).pause();
      await lab.pass(5_000);
    });
  }
});

for (const lateMs of [56, 97, 145]) {
  test(`a lease does not outlive ticks of ${lateMs} instead of 50 ms`, async () => {
    let served = 0;
    for (let seed = 1; seed <= seeds; seed++) {
      const lab = new Lab({ seed, raft: leases });
      const old = await lab.found("a", "b", "c");
      await lab.put(old, 3);
      await lab.pass(1_000);
      const others = lab.followers().map(({ name }) => name);
      const machine = lab.machine(old.name);
      const holdUp = async (first: () => void): Promise<void> => {
        machine.pause();
        await lab.pass(lateMs);
        machine.resume();
        first();
        await lab.pass(0.5);
      };
      for (let round = 0; round < 5; round++) await holdUp(() => {});
      const cut = lab.simulation.partition(old.name);
      let written: string | undefined;
      const writer = (async () => {
        while (!others.some((name) => lab.node(name).isLeading)) await lab.sleep(2);
        const next = lab.node(others.find((name) => lab.node(name).isLeading)!);
        const { id, result } = await lab.propose(next, { timeoutMs: 10_000 });
        if (result !== undefined) written = id;
      })();
      // A loop that is held up, again and again.
      for (let atMs = 0; atMs < 1_500; atMs += lateMs) {
        let ids: string[] | undefined;
        await holdUp(() => {
          void old.root.barrier({ timeoutMs: 10 }).then(() => ids = old.machine.ids, () => {});
        });
        if (ids === undefined) continue;
        served++;
        assert.ok(written === undefined || ids.includes(written), `stale, seed ${seed}`);
      }
      assert.ok(written !== undefined);
      cut.heal();
      await lab.wait(writer);
      await lab.converged();
    }
    if (lateMs === 56) assert.ok(served > 2 * seeds, `a lease lasts for a while: ${served}`);
  });
}

test("a wall clock that jumps neither breaks reads nor a lease's promise", async () => {
  const lab = new Lab({ raft: leases });
  const leader = await lab.found("a", "b", "c");
  await lab.pass(1_000);
  for (const jumpMs of [3_600_000, -7_200_000, 50, 86_400_000]) {
    for (const { name } of lab.alive) lab.machine(name).jumpWallClock(jumpMs);
    const { id } = await lab.wait(lab.propose(leader));
    for (const node of lab.alive) assert.ok((await readAt(lab, node)).includes(id));
  }
  assert.ok(leader.isLeading, "nobody was elected for that");
});

// ---------------------------------------------------------------------------------------------
// Parts

test("barriers: one that is over is neither resolved nor counted", () => {
  const barriers = new Barriers();
  const ended: string[] = [];
  const add = (name: string, deadlineMs: number) => {
    const barrier = {
      deadlineMs,
      over: false,
      resolve: () => ended.push(`${name} resolved`),
      reject: () => ended.push(`${name} rejected`),
    };
    barriers.add(barrier);
    return barrier;
  };
  const error = () => new Error("too late") as never;
  add("a", 10);
  const b = add("b", 100);
  barriers.asked(1);
  add("c", 100);
  barriers.expire(50, error);
  assert.deepEqual(ended, ["a rejected"]);
  b.over = true;
  assert.equal(barriers.size, 1);
  barriers.indexed(1, 7, 0);
  barriers.asked(2);
  assert.ok(!barriers.wantsIndex);
  barriers.dropped(2);
  assert.ok(!barriers.wantsIndex, "not before the next tick");
  barriers.expire(60, error);
  assert.ok(barriers.wantsIndex);
  barriers.asked(3);
  barriers.lost();
  barriers.indexed(3, 1, 9);
  assert.deepEqual(ended, ["a rejected"], "the answer came too late");
  barriers.expire(70, error);
  barriers.asked(4);
  barriers.indexed(4, 9, 8);
  barriers.applied(8);
  assert.deepEqual(ended, ["a rejected"]);
  barriers.applied(9);
  assert.deepEqual(ended, ["a rejected", "c resolved"]);
  assert.equal(barriers.size, 0);
});
