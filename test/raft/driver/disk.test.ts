/** Disks that fail, fill up, or lie: the process ends or refuses, and nothing acknowledged is lost. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code } from "../../../src/base/error.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { Lab, type LabNode } from "./lab.ts";

before(armBan);
after(liftBan);

const log = "/data/raft/log";

for (const fails of ["failSync", "failWrite"] as const) {
  test(`${fails} on the log ends the process, and nothing is acknowledged after it`, async () => {
    for (let seed = 1; seed <= 2; seed++) {
      const lab = new Lab({ seed });
      const names = ["a", "b", "c"];
      const leader = await lab.found(...names);
      const node = seed % 2 === 0 ? leader : lab.followers()[0];
      let running = true;
      const clients = names.map(async (name) => {
        while (running) {
          const of = lab.has(name) ? lab.node(name) : undefined;
          if (of?.cluster.root !== undefined) {
            await lab.orDead(of, lab.propose(of, { timeoutMs: 3_000 }));
          }
          await lab.sleep(5);
        }
      });
      await lab.pass(500 + seed * 31);
      lab.machine(node.name).disk[fails]({ path: log });
      await lab.until(() => !lab.machine(node.name).running, 3_000);
      const diedMs = lab.simulation.nowMs;
      assert.equal(node.fatal.length, 1);
      assert.equal(node.fatal[0].kind, "io");
      await lab.pass(3_000);
      const late = lab.operations.filter((one) =>
        one.node === node.name && one.result !== undefined && one.endedMs > diedMs
      );
      assert.deepEqual(late, []);
      lab.start(node.name);
      await lab.leader(names);
      running = false;
      await lab.wait(Promise.all(clients));
      await lab.converged();
      assert.ok(lab.checkOperations().ok > 50);
    }
  });
}

test("a failing sync is not tried again: what it covered is read back before it counts", async () => {
  const lab = new Lab();
  const node = await lab.found("a");
  await lab.put(node, 5);
  lab.machine("a").disk.failSync({ path: log });
  const operation = lab.propose(node);
  await lab.until(() => !lab.machine("a").running);
  await Promise.race([operation, lab.pass(100)]);
  assert.equal(lab.operations.at(-1)?.result, undefined, "not acknowledged");
  lab.start("a");
  await lab.leader();
  await lab.put(lab.node("a"), 3);
  lab.checkOperations();
});

test("case 27: a disk that is full at any moment ends no process, and refuses with a type", async () => {
  for (let nth = 0; nth < 8; nth++) {
    const lab = new Lab({
      seed: nth + 1,
      raft: { segmentBytes: 64 << 10, snapshotLogBytes: 64 << 10, lowWaterBytes: 64 << 10 },
    });
    const node = await lab.found("a");
    await lab.put(node, 3 + nth * 9, 1 << 10);
    const { disk } = lab.machine("a");
    disk.quotaBytes = disk.usedBytes() + nth * 3_000;
    let refused = 0;
    for (let round = 0; round < 150; round++) {
      const { error } = await lab.wait(lab.propose(node, { bytes: 1 << 10, timeoutMs: 2_000 }));
      if (error === undefined) continue;
      refused++;
      assert.equal(error.code, Code.resourceExhausted, error.message);
      assert.equal(error.sent, false);
    }
    assert.ok(refused > 0);
    assert.ok(lab.machine("a").running, String(node.fatal[0]));
    // Reads go on.
    await lab.wait(node.root.barrier());
    assert.ok(lab.logged("a", /the disk is nearly full/).length >= 1);
    // A restart finds everything.
    lab.machine("a").kill();
    lab.start("a");
    await lab.leader();
    await lab.converged();
    // With room again it goes on by itself.
    disk.quotaBytes = 1 << 30;
    await lab.pass(25_000);
    await lab.put(lab.node("a"), 20, 1 << 10);
    lab.checkOperations();
  }
});

test("a leader with little room hands over, and does not lead while others can", async () => {
  const lab = new Lab({ raft: { lowWaterBytes: 1 << 20, segmentBytes: 64 << 10 } });
  const names = ["a", "b", "c"];
  const leader = await lab.found(...names);
  await lab.put(leader, 10);
  await lab.pass(1_000);
  const { disk } = lab.machine(leader.name);
  disk.quotaBytes = disk.usedBytes() + (512 << 10);
  const others = names.filter((name) => name !== leader.name);
  await lab.until(() => others.some((name) => lab.node(name).isLeading), 20_000);
  await lab.pass(1_000);
  // It takes writes of others, forwards its own, and serves reads.
  await lab.put(lab.node(others[0]), 10);
  await lab.put(leader, 10);
  await lab.wait(leader.root.barrier());
  const { term } = leader.root;
  await lab.pass(30_000);
  assert.equal(leader.isLeading, false);
  assert.equal(leader.root.term, term, "and leadership stays where it is");
  // With room again it leads when it is asked to.
  disk.quotaBytes = 1 << 30;
  await lab.pass(25_000);
  await lab.wait(lab.operator(others[0]).transfer({ replica: BigInt(leader.root.replica) }));
  await lab.until(() => leader.isLeading, 1_000);
  await lab.put(leader, 3);
  lab.checkOperations();
});

test("a disk that is too small from the start: said once at the start, and numbers and setting to each writer", async () => {
  const lab = new Lab({ raft: { lowWaterBytes: 64 << 20, segmentBytes: 64 << 10 } });
  lab.define("a", { diskBytes: 20 << 20 });
  const node = await lab.found("a");
  const why =
    /^the disk is nearly full: 19 MiB are free, and writes need 80 MiB \(raft\.low_water_bytes is 64 MiB\): make room on it, or lower the mark; /;
  const told = (): number => lab.logged("a", why).filter(({ level }) => level === "error").length;
  assert.equal(told(), 1);
  for (let round = 0; round < 3; round++) {
    const error = await lab.failure(node.root.propose(new Uint8Array(10)));
    assert.equal(error.code, Code.resourceExhausted);
    assert.match(error.rawMessage, why);
    assert.match(error.rawMessage, /reads go on$/);
  }
  await lab.pass(30_000);
  assert.equal(told(), 1, "once");
  assert.match(node.root.roomProblem ?? "", /the disk of a is nearly full/);
});

/** Three nodes that have written something; the disk of one of them is nearly full, and it says so. */
async function withLowDisk(of: "ahead" | "behind"): Promise<{ lab: Lab; low: LabNode }> {
  const lab = new Lab({ raft: { lowWaterBytes: 1 << 20, segmentBytes: 64 << 10 } });
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 10);
  const low = lab.followers()[of === "ahead" ? 0 : 1];
  const { disk } = lab.machine(low.name);
  disk.quotaBytes = disk.usedBytes() + (512 << 10);
  await lab.until(() => low.cluster.host!.lowSpace, 20_000);
  await lab.pass(1_000);
  return { lab, low };
}

test("a transfer to a node with little room is refused and disturbs nobody; with room it succeeds at once", async () => {
  for (const asked of ["leader", "target"] as const) {
    const { lab, low } = await withLowDisk("ahead");
    const leader = await lab.leader();
    const { term } = leader.root;
    const operator = lab.operator(asked === "leader" ? leader.name : low.name);
    const request = { replica: BigInt(low.root.replica) };
    const error = await lab.failure(operator.transfer(request, { timeoutMs: 10_000 }));
    assert.equal(error.code, Code.failedPrecondition, error.message);
    assert.match(
      error.rawMessage,
      /replica \d leaves leading to others: .* nearly full; make room/,
    );
    assert.equal(leader.root.term, term);
    assert.equal(leader.root.status().counters.transfersAborted, 0, "no write had to wait");
    lab.machine(low.name).disk.quotaBytes = 1 << 30;
    // In the very moment in which its own status says so, before the leader has heard of it.
    await lab.until(() => !low.cluster.host!.lowSpace, 20_000);
    assert.equal(leader.cluster.host!.peer(low.setup.nodeId)!.lowSpace, true);
    await lab.wait(operator.transfer(request, { timeoutMs: 10_000 }));
    await lab.until(() => low.isLeading, 1_000);
    assert.equal(leader.root.status().counters.transfersAborted, 0);
    lab.checkOperations();
  }
});

test("whoever chooses a successor passes a node with little room over", async () => {
  for (const how of ["transfer", "drain"] as const) {
    for (const which of ["ahead", "behind"] as const) {
      const { lab, low } = await withLowDisk(which);
      const leader = await lab.leader();
      if (how === "drain") await lab.wait(leader.cluster.drain(10_000));
      else await lab.wait(lab.operator(leader.name).transfer({}));
      const other = lab.names.find((name) => name !== leader.name && name !== low.name)!;
      await lab.until(() => lab.node(other).isLeading, 200);
    }
  }
});

test("a node that has nobody with room to hand over to does not wait for one", async () => {
  const lab = new Lab({ raft: { lowWaterBytes: 1 << 20, segmentBytes: 64 << 10 } });
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 10);
  for (const { name } of lab.followers()) {
    const { disk } = lab.machine(name);
    disk.quotaBytes = disk.usedBytes() + (512 << 10);
  }
  await lab.until(() => lab.followers().every(({ cluster }) => cluster.host!.lowSpace));
  await lab.pass(1_000);
  const error = await lab.failure(lab.operator(leader.name).transfer({}));
  assert.equal(error.code, Code.failedPrecondition);
  assert.match(error.rawMessage, /no other voter .* has room on its disk/);
  const startedMs = lab.simulation.nowMs;
  await lab.wait(leader.cluster.drain(10_000));
  assert.ok(lab.simulation.nowMs - startedMs < 200);
});

test("a transfer to a node that is busy for a moment is begun again, and says why it came to nothing", async () => {
  for (const pauseMs of [700, 20_000]) {
    const lab = new Lab();
    const leader = await lab.found("a", "b", "c");
    await lab.put(leader, 10);
    await lab.pass(1_000);
    const target = lab.followers()[0];
    lab.machine(target.name).pause();
    lab.simulation.at(lab.simulation.nowMs + pauseMs, () => lab.machine(target.name).resume());
    const transfer = lab.operator(leader.name).transfer({
      replica: BigInt(target.root.replica),
    }, { timeoutMs: 10_000 });
    if (pauseMs === 700) {
      await lab.wait(transfer);
      await lab.until(() => target.isLeading, 1_000);
      continue;
    }
    const startedMs = lab.simulation.nowMs;
    const error = await lab.failure(transfer);
    assert.equal(error.code, Code.aborted);
    assert.match(
      error.rawMessage,
      /did not take over in time: nothing is heard of it; the leader is replica \d/,
    );
    assert.ok(lab.simulation.nowMs - startedMs < 3_000, "writes go on");
    await lab.put(leader, 3);
  }
});

test("case 27: a follower whose disk is full outlives large entries, and comes back", async () => {
  for (let nth = 0; nth < 6; nth++) {
    const lab = new Lab({
      seed: nth + 1,
      raft: { lowWaterBytes: 2 << 20, segmentBytes: 1 << 20 },
    });
    const names = ["a", "b", "c"];
    const leader = await lab.found(...names);
    await lab.put(leader, 3);
    const [follower] = names.filter((name) => name !== leader.name);
    const { disk } = lab.machine(follower);
    disk.quotaBytes = disk.usedBytes() + nth * (250 << 10);
    await lab.pass(10_000);
    for (let round = 0; round < 12; round++) await lab.put(leader, 1, 300 << 10);
    await lab.pass(5_000);
    assert.ok(lab.machine(follower).running, String(lab.node(follower).fatal[0]));
    disk.quotaBytes = 1 << 30;
    await lab.pass(25_000);
    await lab.converged();
    lab.checkOperations();
  }
});

test("when all have little room one of them leads, refuses writes and serves reads", async () => {
  const lab = new Lab({ raft: { lowWaterBytes: 1 << 20, segmentBytes: 64 << 10 } });
  const names = ["a", "b", "c"];
  const leader = await lab.found(...names);
  await lab.put(leader, 10);
  for (const name of names) {
    const { disk } = lab.machine(name);
    disk.quotaBytes = disk.usedBytes() + (512 << 10);
  }
  await lab.pass(25_000);
  const { term } = (await lab.leader()).root;
  await lab.pass(20_000);
  const leads = await lab.leader();
  assert.ok(leads.root.term - term <= 1, "leadership does not go around");
  for (const node of lab.alive) {
    await lab.wait(node.root.barrier());
    const { error, startedMs, endedMs } = await lab.wait(lab.propose(node, { timeoutMs: 3_000 }));
    assert.equal(error?.code, Code.resourceExhausted, String(error));
    assert.equal(error?.sent, false);
    assert.ok(endedMs - startedMs < 100);
  }
  // An operator can still change things.
  await lab.wait(lab.operator("a").transfer({}));
  for (const name of names) lab.machine(name).disk.quotaBytes = 1 << 30;
  await lab.pass(25_000);
  await lab.put(await lab.leader(), 10);
  lab.checkOperations();
});

test("a flipped bit in the log is refused at the next start, or noticed after it", async () => {
  const ends = { refused: 0, noticed: 0, harmless: 0 };
  for (let seed = 1; seed <= 10; seed++) {
    const lab = new Lab({ seed });
    const leader = await lab.found("a", "b", "c");
    for (let round = 0; round < 12; round++) await lab.put(leader, 5, 200);
    await lab.converged();
    const name = lab.followers()[0].name;
    lab.machine(name).kill();
    const random = lab.simulation.random("bit");
    const path = lab.machine(name).disk.paths().find((one) => one.includes("/wal-"))!;
    lab.machine(name).disk.flipBit(path, 100 + random.below(14_000));
    const { ids } = leader.machine;
    lab.start(name);
    await lab.pass(3_000);
    const { failure, machine, cluster } = lab.node(name);
    if (failure !== undefined) {
      ends.refused++;
      assert.equal(failure.code, Code.dataLoss, failure.message);
    } else if (cluster.root?.stopped !== undefined) {
      // In the last batch a flipped bit looks like a torn write, which nobody has acknowledged.
      ends.noticed++;
      assert.match(cluster.root.stopped.message, /had acknowledged are gone from its log/);
      assert.match(cluster.problem!, /gone from its log/);
    } else {
      ends.harmless++;
      assert.deepEqual(machine.ids, ids);
    }
    const others = ["a", "b", "c"].filter((other) => other !== name);
    await lab.put(await lab.leader(others), 3);
    lab.checkOperations();
  }
  assert.ok(ends.refused >= 2 && ends.noticed >= 1 && ends.harmless >= 1, JSON.stringify(ends));
});
