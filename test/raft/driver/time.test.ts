/** Slow networks, slow disks, machines that stand still: nobody is elected who need not be. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code } from "../../../src/base/error.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { Lab } from "./lab.ts";

before(armBan);
after(liftBan);

/** Elections that somebody won, since the start. */
function elections(lab: Lab): number {
  return Math.max(...lab.alive.map(({ root }) => root.term));
}

/** A write every so often, by every node in turn. */
function trickle(lab: Lab, everyMs: number): () => void {
  let running = true;
  void (async () => {
    for (let round = 0; running; round++) {
      const node = lab.alive[round % lab.alive.length];
      if (node !== undefined) void lab.propose(node, { timeoutMs: 30_000 });
      await lab.sleep(everyMs);
    }
  })();
  return () => running = false;
}

test("a round trip of 150 ± 50 ms with one percent of stalls deposes nobody in ten minutes", async () => {
  // A stall is a lost packet that is sent again after 200 ms or more.
  const lab = new Lab({ latencyMs: [62, 88], jitterMs: [0, 25] });
  await lab.found("a", "b", "c");
  const stop = trickle(lab, 500);
  const random = lab.simulation.random("stalls");
  await lab.pass(5_000);
  const before = elections(lab);
  let stalls = 0;
  for (let second = 0; second < 600; second++) {
    // Ten frames a second each way and pair: one in a hundred.
    if (random.chance(0.6)) {
      const [from, to] = random.pick([["a", "b"], ["a", "c"], ["b", "a"], ["b", "c"], ["c", "a"], [
        "c",
        "b",
      ]]);
      const cut = lab.simulation.cut(from, to);
      stalls++;
      await lab.pass(60);
      cut.heal();
      await lab.pass(940);
    } else await lab.pass(1_000);
  }
  stop();
  assert.ok(stalls > 300);
  assert.equal(elections(lab), before, lab.describe());
  await lab.converged();
  lab.checkOperations();
});

test("a disk that stands still for a second in ten deposes nobody", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  const stop = trickle(lab, 50);
  await lab.pass(3_000);
  const before = elections(lab);
  for (let round = 0; round < 12; round++) {
    for (const name of ["a", "b", "c"]) {
      // The next sync takes a second; those after it their usual time.
      lab.machine(name).disk.slowSync([1_000, 1_000]);
      await lab.pass(30);
      lab.machine(name).disk.heal();
      await lab.pass(3_300);
    }
  }
  stop();
  await lab.pass(2_000);
  assert.equal(elections(lab), before, lab.describe());
  await lab.converged();
  const { ok } = lab.checkOperations();
  assert.ok(ok > 500);
});

test("a leader whose disk stands still for good resigns, and the others go on", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 5);
  lab.machine(leader.name).disk.slowSync([3_600_000, 3_600_000]);
  const pending = lab.propose(leader, { timeoutMs: 20_000 });
  const others = ["a", "b", "c"].filter((name) => name !== leader.name);
  await lab.leader(others, 10_000);
  assert.equal(leader.isLeading, false);
  // Committed by the others' disks, or refused; the stuck one does not lead again.
  await lab.wait(pending);
  await lab.put(lab.node(others[0]), 5);
  await lab.pass(20_000);
  assert.equal(leader.isLeading, false);
  lab.checkOperations();
});

test("every disk slow: 300 ms a sync is no reason for elections", async () => {
  const lab = new Lab({ syncMs: [250, 350] });
  const leader = await lab.found("a", "b", "c");
  const stop = trickle(lab, 100);
  await lab.pass(5_000);
  const before = elections(lab);
  await lab.pass(60_000);
  stop();
  assert.equal(elections(lab), before);
  assert.ok(leader.root.electionTimeoutMs >= 500);
  await lab.pass(3_000);
  await lab.converged();
});

test("the election timeout follows the network there and back", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  await lab.pass(5_000);
  for (const { root } of lab.alive) assert.ok(root.electionTimeoutMs <= 600);
  lab.simulation.setLatency(["a", "b", "c"], ["a", "b", "c"], 150);
  await lab.pass(30_000);
  for (const { root } of lab.alive) {
    assert.ok(root.electionTimeoutMs >= 1_500, `${root.electionTimeoutMs}`);
    assert.ok(root.electionTimeoutMs <= 10_000, `${root.electionTimeoutMs}`);
  }
  lab.simulation.setLatency(["a", "b", "c"], ["a", "b", "c"], 0.5);
  await lab.pass(120_000);
  for (const { root } of lab.alive) {
    assert.ok(root.electionTimeoutMs <= 1_200, `${root.electionTimeoutMs}`);
  }
});

test("an outage is not taken for a long way", async () => {
  const lab = new Lab({ stallResetMs: 3_600_000 });
  const leader = await lab.found("a", "b", "c");
  await lab.pass(10_000);
  for (const lastsMs of [1_000, 3_000, 20_000]) {
    const cut = lab.simulation.partition(["a", "b"], ["c"]);
    await lab.pass(lastsMs);
    cut.heal();
    await lab.leader();
    await lab.pass(5_000);
  }
  assert.ok(leader !== undefined);
  for (const { root } of lab.alive) {
    assert.ok(root.electionTimeoutMs < 3_000, `${root.electionTimeoutMs}`);
  }
});

test("case 29: machines that stand still at once, and go on at once, elect one leader quickly", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c", "d", "e");
  for (const lastsMs of [200, 2_000, 60_000, 3_600_000]) {
    const before = elections(lab);
    for (const { name } of lab.alive) lab.machine(name).pause();
    await lab.pass(lastsMs);
    const startedMs = lab.simulation.nowMs;
    for (const { name } of lab.alive) lab.machine(name).resume();
    await lab.leader();
    assert.ok(lab.simulation.nowMs - startedMs < 6_000, `${lab.simulation.nowMs - startedMs} ms`);
    assert.ok(elections(lab) - before <= 2, `${elections(lab) - before} terms`);
    await lab.put(await lab.leader(), 3);
    await lab.pass(3_000);
  }
});

test("a follower that stood still does not depose the leader when it goes on", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const [paused] = lab.followers();
  const before = elections(lab);
  for (const lastsMs of [300, 1_000, 10_000, 600_000]) {
    lab.machine(paused.name).pause();
    await lab.pass(lastsMs);
    lab.machine(paused.name).resume();
    await lab.pass(3_000);
    assert.equal(elections(lab), before, `${lastsMs} ms`);
  }
  assert.ok(leader.isLeading);
});

test("the death of a leader's process is noticed at once, that of its machine by the timeout", async () => {
  const tookMs: Record<string, number[]> = { kill: [], losePower: [] };
  for (let seed = 1; seed <= 5; seed++) {
    for (const how of ["kill", "losePower"] as const) {
      const lab = new Lab({ seed });
      const leader = await lab.found("a", "b", "c");
      await lab.put(leader, 3);
      await lab.pass(2_000 + seed * 13);
      const startedMs = lab.simulation.nowMs;
      lab.machine(leader.name)[how]();
      const survivor = lab.alive[0];
      const { error, endedMs } = await lab.wait(lab.propose(survivor, { timeoutMs: 20_000 }));
      assert.equal(error, undefined);
      tookMs[how].push(endedMs - startedMs);
    }
  }
  const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1];
  assert.ok(median(tookMs.kill) < 300, `${tookMs.kill}`);
  assert.ok(Math.max(...tookMs.kill) < 1_200, `${tookMs.kill}`);
  assert.ok(Math.max(...tookMs.losePower) < 2_500, `${tookMs.losePower}`);
});

test("a node that is alone keeps deadlines while it rests", async () => {
  const lab = new Lab();
  const node = await lab.found("a");
  await lab.pass(5_000);
  lab.machine("a").disk.slowSync([2_000, 2_000]);
  for (const timeoutMs of [20, 80, 333]) {
    const { error, startedMs, endedMs } = await lab.wait(lab.propose(node, { timeoutMs }));
    assert.equal(error?.code, Code.deadlineExceeded);
    assert.equal(error?.sent, true);
    assert.ok(endedMs - startedMs <= timeoutMs + 51, `${endedMs - startedMs} ms for ${timeoutMs}`);
    await lab.pass(3_000);
  }
});
