/** Disks that are full at some nodes and not at others: who is told what, and how it goes on. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code } from "../../../src/base/error.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { Lab, type LabNode } from "./lab.ts";

before(armBan);
after(liftBan);

const names = ["a", "b", "c"];
const raft = { lowWaterBytes: 1 << 20, segmentBytes: 64 << 10 };

function fill(lab: Lab, { name }: LabNode, freeBytes = 512 << 10): void {
  const { disk } = lab.machine(name);
  disk.quotaBytes = disk.usedBytes() + freeBytes;
}

test("with a majority of full disks the leader refuses at once and names them, and goes on with room", async () => {
  const lab = new Lab({ raft });
  const leader = await lab.found(...names);
  await lab.put(leader, 10);
  const [first, second] = lab.followers();
  fill(lab, first);
  await lab.until(() => leader.cluster.host!.peer(first.setup.nodeId)!.lowSpace);
  await lab.put(leader, 3);
  assert.equal(leader.root.roomProblem, undefined, "one of three is no majority");
  fill(lab, second);
  await lab.until(() => leader.cluster.host!.peer(second.setup.nodeId)!.lowSpace);
  for (const node of lab.alive) {
    const { error, startedMs, endedMs } = await lab.wait(lab.propose(node, { bytes: 1 << 10 }));
    assert.equal(error?.code, Code.resourceExhausted, String(error));
    assert.equal(error?.sent, false);
    if (node.root.isLeading || !node.cluster.host!.lowSpace) {
      assert.match(
        error!.rawMessage,
        new RegExp(`disk of ${first.name}, ${second.name} is nearly`),
      );
    }
    assert.ok(endedMs - startedMs < 200, `${endedMs - startedMs} ms`);
    await lab.wait(node.root.barrier());
  }
  assert.match(leader.root.roomProblem!, /no majority with room/);
  assert.equal(leader.isLeading, true);
  lab.machine(first.name).disk.quotaBytes = 1 << 30;
  await lab.until(() => leader.root.roomProblem === undefined, 4_000);
  await lab.put(leader, 3, 1 << 10);
  lab.machine(second.name).disk.quotaBytes = 1 << 30;
  await lab.converged();
  lab.checkOperations();
});

test("a full disk and a node that is away are no majority together; a node that is away alone is no news", async () => {
  const lab = new Lab({ raft });
  const leader = await lab.found(...names);
  await lab.put(leader, 10);
  const [full, away] = lab.followers();
  fill(lab, full);
  await lab.until(() => leader.cluster.host!.peer(full.setup.nodeId)!.lowSpace);
  lab.machine(away.name).kill();
  await lab.until(() => leader.root.roomProblem !== undefined, 10_000);
  const { error } = await lab.wait(lab.propose(leader));
  assert.equal(error?.code, Code.resourceExhausted);
  assert.match(error!.rawMessage, new RegExp(`the disk of ${full.name} is nearly full`));
  lab.machine(full.name).disk.quotaBytes = 1 << 30;
  await lab.until(() => leader.root.roomProblem === undefined, 4_000);
  await lab.put(leader, 3);
  lab.checkOperations();
});

test("proposals that were in the log when the disks became full say so when their time is over", async () => {
  const lab = new Lab({ raft });
  const leader = await lab.found(...names);
  await lab.put(leader, 10);
  for (const node of lab.followers()) fill(lab, node);
  await lab.until(() => lab.followers().every(({ cluster }) => cluster.host!.lowSpace));
  // The leader has not heard of it; and it is more than the present segment and the spare one take.
  assert.equal(leader.root.roomProblem, undefined);
  const all = Array.from(
    { length: 40 },
    () => lab.propose(leader, { bytes: 32 << 10, timeoutMs: 3_000 }),
  );
  const errors = (await lab.wait(Promise.all(all))).map(({ error }) => error);
  const late = errors.find((error) => error?.code === Code.deadlineExceeded);
  assert.match(
    late?.rawMessage ?? `${errors}`,
    /not committed in time.*: the disk of . is|disk of ., . is/,
  );
});

test("a replica that gets no entries for want of room says so, fails reads that lack them, and recovers soon", async () => {
  const lab = new Lab({ raft });
  const leader = await lab.found(...names);
  await lab.put(leader, 10);
  const [low] = lab.followers();
  const told: (string | undefined)[] = [];
  low.root.observe({ hindered: () => told.push(low.root.hindrance) });
  fill(lab, low, 0);
  for (let round = 0; round < 40; round++) await lab.put(leader, 1, 16 << 10);
  await lab.until(() => low.root.hindrance !== undefined, 5_000);
  assert.match(low.root.hindrance!, /behind because its disk is full/);
  const startedMs = lab.simulation.nowMs;
  const error = await lab.failure(low.root.barrier());
  assert.equal(error.code, Code.unavailable, error.message);
  assert.equal(error.sent, false);
  assert.match(error.rawMessage, /behind because its disk is full.*\(the leader is/);
  assert.ok(lab.simulation.nowMs - startedMs < 1_000);
  await lab.pass(23_000);
  assert.match(low.root.hindrance!, /disk is full/, "it is no news each time");
  assert.equal(told.length, 1);
  lab.machine(low.name).disk.quotaBytes = 1 << 30;
  await lab.until(() => low.root.hindrance === undefined, 3_000);
  await lab.wait(low.root.barrier(), 3_000);
  await lab.converged();
  lab.checkOperations();
});

test("a disk with bytes and no inodes is said to be full once, and once that it has room", async () => {
  const lab = new Lab({ raft });
  lab.define("a", {
    disk: (disk) =>
      new Proxy(disk, {
        get: (of, name) => {
          if (name === "freeBytes") return () => Promise.resolve(1 << 30);
          const value: unknown = Reflect.get(of, name);
          return typeof value === "function" ? value.bind(of) : value;
        },
      }),
  });
  const node = await lab.found("a");
  await lab.put(node, 3);
  const { disk } = lab.machine("a");
  disk.quotaBytes = disk.usedBytes();
  for (let round = 0; round < 10 && !node.cluster.host!.lowSpace; round++) {
    await lab.wait(lab.propose(node, { bytes: 16 << 10 }));
  }
  await lab.until(() => node.cluster.host!.lowSpace);
  await lab.pass(64_000);
  assert.equal(lab.logged("a", /the disk is nearly full|no inode/).length, 1);
  assert.equal(lab.logged("a", /there is room on the disk again/).length, 0);
  assert.equal(node.cluster.host!.lowSpace, true);
  disk.quotaBytes = 1 << 30;
  await lab.until(() => !node.cluster.host!.lowSpace, 2_000);
  await lab.put(node, 3);
  assert.equal(lab.logged("a", /there is room on the disk again/).length, 1);
});
