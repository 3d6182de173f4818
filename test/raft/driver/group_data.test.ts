/** What is on disk of groups that do not run here yet, or not any more. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { silentLogger } from "../../../src/base/log.ts";
import { Prng } from "../../../src/base/prng.ts";
import { readClusterRecord } from "../../../src/raft/cluster_record.ts";
import type { Group } from "../../../src/raft/group.ts";
import { reopenGroup } from "../../../src/raft/group_start.ts";
import type { GroupHost } from "../../../src/raft/group_types.ts";
import { raftOptionsDefault } from "../../../src/raft/options.ts";
import { openStorage } from "../../../src/raft/storage.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { watchedDisk } from "../wal/watched_disk.ts";
import { dataDirectory, Lab, type LabNode, nodeIdOf } from "./lab.ts";
import { commandBytes, TestMachine, type TestResult } from "./test_machine.ts";

before(armBan);
after(liftBan);

const signal = new AbortController().signal;

async function run(lab: Lab, node: LabNode, machine: TestMachine): Promise<Group<TestResult>> {
  await lab.until(() => node.cluster.groups !== undefined);
  const groups = node.cluster.groups!;
  groups.register("side", machine);
  await lab.wait(lab.operator(node.name).createGroup({ name: "side", replicas: 1 }));
  const group = await lab.wait(groups.running<TestResult>("side", signal));
  await lab.until(() => group!.isLeading);
  return group!;
}

async function put(lab: Lab, group: Group<TestResult>, from: number, to: number): Promise<void> {
  for (let at = from; at <= to; at++) await lab.wait(group.propose(commandBytes(`side ${at}`)));
}

function filesOf(lab: Lab): string[] {
  return lab.machine("a").disk.paths().filter((path) => path.includes("snapshot-00000000000001-"));
}

test("a crash in the middle of a group's removal leaves no file of it behind", async () => {
  const lab = new Lab();
  let isReached = false;
  lab.define("a", {
    disk: (disk) =>
      watchedDisk(disk, async ({ call, path }, work) => {
        const isLast = call === "remove" && path.includes("snapshot-00000000000001-");
        if (!isLast || isReached) return await work();
        isReached = true;
        return await new Promise<never>(() => {});
      }),
  });
  await lab.found("a");
  await put(lab, await run(lab, lab.node("a"), new TestMachine()), 1, 5);
  assert.equal(filesOf(lab).length, 1);
  await lab.wait(lab.operator("a").removeGroup({ name: "side" }));
  await lab.until(() => isReached);
  lab.machine("a").losePower();
  lab.start("a");
  await lab.leader(["a"]);
  assert.deepEqual(filesOf(lab), []);
});

test("a group that begins to run while it is carried forward loses nothing", async () => {
  const lab = new Lab();
  let isHeld = false;
  let release: (() => void) | undefined;
  lab.define("a", {
    disk: (disk) =>
      watchedDisk(disk, async ({ call, path }, work) => {
        if (isHeld && call === "open" && path.includes("snapshot-00000000000001-")) {
          isHeld = false;
          await new Promise<void>((resolve) => release = resolve);
        }
        return await work();
      }),
  });
  await lab.found("a");
  const first = await run(lab, lab.node("a"), new TestMachine());
  await put(lab, first, 1, 5);
  lab.machine("a").losePower();
  lab.start("a");
  await lab.until(() => lab.has("a") && lab.node("a").cluster.groups !== undefined);
  // The program brings the machine just when the group has begun to be carried forward.
  isHeld = true;
  const carried = lab.node("a").cluster.groups!.letGo(1);
  const again = await run(lab, lab.node("a"), new TestMachine());
  await put(lab, again, 6, 10);
  release!();
  await lab.wait(carried);
  await lab.pass(100);
  lab.machine("a").losePower();
  lab.start("a");
  const machine = new TestMachine();
  await lab.until(() => lab.has("a") && lab.node("a").cluster.groups !== undefined);
  await run(lab, lab.node("a"), machine);
  await lab.pass(100);
  const ids = Array.from({ length: 10 }, (_, at) => `side ${at + 1}`);
  assert.deepEqual(machine.ids.filter((id) => id !== ""), ids);
  assert.deepEqual(lab.logged("a", /keeps the log/), []);
});

test("what was read at the start is kept by the group alone, which forgets it in time", async () => {
  const lab = new Lab();
  await lab.found("a");
  await lab.put(lab.node("a"), 20);
  lab.machine("a").losePower();
  const [before, left] = await lab.runTool("a", async ({ disk, random, clock }) => {
    const record = await readClusterRecord(disk, dataDirectory);
    const options = { ...raftOptionsDefault, lowWaterBytes: 0 };
    const nothing = (): void => {};
    const storage = await openStorage({
      disk,
      random,
      logger: silentLogger,
      directory: `${dataDirectory}/raft`,
      clusterId: record!.clusterId,
      nodeId: nodeIdOf("a"),
      replicas: [{ group: 0, replica: 1 }],
      create: false,
      options,
    }, { durable: nothing, failed: nothing, space: nothing });
    const recovered = storage.groups.get(0)!;
    // All that a group asks of its host while it is made.
    const host = { clock, options, logger: silentLogger } as unknown as GroupHost;
    await reopenGroup({
      host,
      storage,
      id: 0,
      name: "kv",
      replica: 1,
      machine: new TestMachine(),
      logger: silentLogger,
      random: new Prng(1),
    }, recovered);
    await storage.log.close();
    return [recovered.entries.length, storage.groups.get(0)!.entries.length];
  });
  assert.ok(before >= 20, `${before} entries`);
  assert.equal(left, 0);
});
