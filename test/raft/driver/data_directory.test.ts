/** What is wrong with a node's data directory is said by a typed error, and harms nobody. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code } from "../../../src/base/error.ts";
import { decodeText, encodeText } from "../../../src/base/bytes.ts";
import type { SimMachine } from "../../../src/runtime/sim/machine.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, Lab, nodeIdOf } from "./lab.ts";

before(armBan);
after(liftBan);

const record = "/data/cluster.json";

/** Three nodes with some entries, c of them killed, its disk as the test makes it, and restarted. */
async function spoiled(
  spoil: (
    machine: SimMachine,
    edit: (change: (before: string) => string) => void,
    lab: Lab,
  ) => void,
): Promise<Lab> {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 20);
  await lab.converged();
  const machine = lab.machine("c");
  machine.kill();
  const { tree } = machine.disk;
  spoil(machine, (change) => {
    const file = tree.file(record);
    const text = encodeText(change(decodeText(file.content())!));
    file.truncate(0);
    file.write(text, 0);
  }, lab);
  lab.start("c");
  await lab.pass(5_000);
  // The others go on.
  await lab.put(await lab.leader(["a", "b"]), 3);
  return lab;
}

interface Case {
  readonly title: string;
  readonly spoil: Parameters<typeof spoiled>[0];
  readonly code: number;
  readonly message: RegExp;
}

const cases: readonly Case[] = [
  {
    title: "cluster.json is cut off",
    spoil: (_machine, edit) => edit((text) => text.slice(0, 40)),
    code: Code.dataLoss,
    message: /cluster\.json is not JSON: restore the data directory/,
  },
  {
    title: "cluster.json is empty",
    spoil: (_machine, edit) => edit(() => ""),
    code: Code.dataLoss,
    message: /cluster\.json is not JSON/,
  },
  {
    title: "cluster.json is of a newer format",
    spoil: (_machine, edit) => edit((text) => text.replace('"format":1', '"format":2')),
    code: Code.failedPrecondition,
    message: /cluster\.json has format 2, and this version of covey knows up to 1/,
  },
  {
    title: "cluster.json names another replica",
    spoil: (_machine, edit) => edit((text) => text.replace('"replica":3', '"replica":2')),
    code: Code.failedPrecondition,
    message: /the log belongs to replicas 3 of group 0, not 2 of group 0/,
  },
  {
    title: "cluster.json names another cluster",
    spoil: (_machine, edit) =>
      edit((text) => text.replace(/"clusterId":"...../, '"clusterId":"00000')),
    code: Code.failedPrecondition,
    message: /the log belongs to cluster .*, not 00000/,
  },
  {
    title: "cluster.json is gone",
    spoil: ({ disk }) => disk.tree.remove(record),
    code: Code.dataLoss,
    message: /cluster\.json is missing, and the log of a replica is there: .*covey raft remove/,
  },
  {
    title: "the log is gone",
    spoil: ({ disk }) => disk.tree.removeTree("/data/raft/log"),
    code: Code.dataLoss,
    message: /the log is gone, and this replica may have voted/,
  },
  {
    title: "the whole raft folder is gone",
    spoil: ({ disk }) => disk.tree.removeTree("/data/raft"),
    code: Code.dataLoss,
    message: /the log is gone, and this replica may have voted/,
  },
  {
    title: "the log's identity is gone",
    spoil: ({ disk }) => disk.tree.remove("/data/raft/log/identity.json"),
    code: Code.dataLoss,
    message: /identity\.json: is missing, and the log's segments are there/,
  },
  {
    title: "the snapshots are gone",
    spoil: ({ disk }) => disk.tree.removeTree("/data/raft/snapshots"),
    code: Code.dataLoss,
    message: /the snapshot up to there is gone/,
  },
  {
    title: "a segment is gone",
    spoil: ({ disk }) => {
      const segment = disk.paths().find((path) => /raft\/log\/.*1\.log$|segment/.test(path));
      assert.ok(segment !== undefined, disk.paths().join());
      disk.tree.remove(segment);
    },
    code: Code.dataLoss,
    message: /the log is gone|is missing/,
  },
  {
    title: "the node id changed under the log",
    spoil: (_machine, _edit, lab) => lab.setup("c").nodeId = nodeIdOf("d"),
    code: Code.failedPrecondition,
    message: /the log belongs to node .*, not/,
  },
];

for (const { title, spoil, code, message } of cases) {
  test(`${title}: the start is refused, and the others go on`, async () => {
    const lab = await spoiled(spoil);
    const { failure } = lab.node("c");
    assert.ok(failure !== undefined, lab.describe());
    assert.equal(failure.code, code, failure.message);
    assert.match(failure.message, message);
    assert.equal(lab.machine("c").running, false);
    lab.checkOperations();
  });
}

test("case 28: cluster.json and the log are gone, the node id is not: it votes no second time", async () => {
  const lab = await spoiled(({ disk }) => {
    disk.tree.remove(record);
    disk.tree.removeTree("/data/raft");
  });
  const { cluster } = lab.node("c");
  assert.equal(cluster.root, undefined, lab.describe());
  assert.match(cluster.problem!, /was replica 3 of cluster .*, and its data is gone/);
  assert.match(cluster.problem!, /covey raft remove 3/);
  // What it says to do helps.
  const operator = lab.operator("a");
  await lab.wait(operator.remove({ replica: 3n }));
  lab.machine("c").kill();
  lab.machine("c").disk.tree.removeTree("/data");
  lab.setup("c").nodeId = nodeIdOf("cc");
  lab.start("c");
  await lab.pass(1_000);
  const { peer } = await lab.wait(operator.add({ address: addressOf("c") }));
  assert.equal(peer?.replica, 4n);
  await lab.converged();
});

test("a node whose process ended while it was being added is invited again", async () => {
  const seen = new Set<string>();
  for (const crashAfterMs of [1, 2, 3, 4, 6, 10, 20, 40, 80, 160]) {
    const lab = new Lab({ seed: 70 + crashAfterMs });
    await lab.found("a", "b", "c");
    lab.define("d", { join: ["a", "b", "c"].map(addressOf) });
    lab.start("d");
    await lab.pass(1_000);
    const operator = lab.operator("b");
    const first = operator.add({ address: addressOf("d") }, { timeoutMs: 1_000 }).catch(() => {});
    await lab.pass(crashAfterMs);
    const machine = lab.machine("d");
    machine.kill();
    const paths = machine.disk.paths();
    seen.add([record, "/data/raft/log/identity.json"].map((path) => paths.includes(path)).join());
    await lab.wait(first);
    lab.start("d");
    await lab.pass(2_000);
    assert.equal(lab.node("d").failure, undefined);
    await lab.wait(operator.add({ address: addressOf("d") }, { timeoutMs: 20_000 }));
    await lab.put(lab.node("d"), 2);
  }
  // Before the record, between it and the log, and after both.
  assert.deepEqual([...seen].sort(), ["false,false", "true,false", "true,true"]);
});
