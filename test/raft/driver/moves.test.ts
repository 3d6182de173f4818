/** Nodes that are reached elsewhere than before, one of them or all at once; and quorums lost for good. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code, CoveyError } from "../../../src/base/error.ts";
import { raftOptionsDefault } from "../../../src/raft/options.ts";
import { repairCluster } from "../../../src/raft/repair.ts";
import type { Disk } from "../../../src/runtime/port.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, caught, dataDirectory, Lab, nodeIdOf } from "./lab.ts";

before(armBan);
after(liftBan);

/** The node's disk goes into another machine, of another address. */
async function move(lab: Lab, name: string, to: string): Promise<void> {
  const from = lab.machine(name);
  if (from.running) from.kill();
  const target = lab.simulation.machine(to, { boot: () => new Promise<never>(() => {}) });
  await lab.wait((async () => {
    const { disk } = target.runtime;
    for (const path of from.disk.paths()) {
      await disk.makeDirectory(path.slice(0, path.lastIndexOf("/")));
      const file = await disk.open(path, { write: true, create: true });
      await file.write(from.disk.content(path)!, 0);
      await file.sync();
      await file.close();
    }
  })());
  lab.retire(name);
  lab.define(to, { ...lab.setup(name), address: addressOf(to) });
}

test("a node that moves is found, and the log learns where it is", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  await lab.found(...names);
  await lab.put(await lab.leader(), 5);
  await move(lab, "c", "m");
  lab.runOn(lab.simulation.machine("m"), "m");
  await lab.leader(["a", "b", "m"]);
  await lab.put(lab.node("m"), 3);
  await lab.until(() =>
    lab.alive.every(({ root }) =>
      root.members.get(3)?.address === addressOf("m") && root.members.get(3)?.name === "m"
    )
  );
  const { peers } = await lab.wait(lab.operator("a").peers({}));
  assert.deepEqual(peers.map(({ address }) => address), ["a", "b", "m"].map(addressOf));
  // Those who start later find it, too.
  lab.machine("a").kill();
  lab.machine("b").kill();
  await lab.pass(1_000);
  lab.start("a", "b");
  await lab.leader(["a", "b", "m"]);
  await lab.converged(["a", "b", "m"]);
});

test("when all nodes move at once, a corrected cluster.join brings them together", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  await lab.found(...names);
  await lab.put(await lab.leader(), 5);
  await lab.converged();
  for (const name of names) lab.machine(name).kill();
  const moved = ["x", "y", "z"];
  for (let at = 0; at < 3; at++) await move(lab, names[at], moved[at]);
  for (const name of moved) lab.setup(name).join = moved.map(addressOf);
  for (const name of moved) lab.runOn(lab.simulation.machine(name), name);
  await lab.leader(moved, 30_000);
  await lab.put(lab.node("x"), 3);
  await lab.until(() =>
    lab.alive.every(({ root }) =>
      root.members.all.every(({ address }, at) => address === addressOf(moved[at]))
    )
  );
  await lab.converged(moved);
});

/** As the command does it: on the node's disk, while nothing runs there. */
function repair(
  lab: Lab,
  name: string,
  { force, wrap = (disk) => disk }: { force?: boolean; wrap?: (disk: Disk) => Disk } = {},
): ReturnType<typeof repairCluster> {
  return lab.runTool(name, ({ disk, random }) =>
    repairCluster({
      disk: wrap(disk),
      random,
      logger: lab.logger("repair"),
      directory: dataDirectory,
      nodeId: nodeIdOf(name),
      options: { ...raftOptionsDefault, lowWaterBytes: 0 },
      force,
    }));
}

test("who was given up by a repair and started all the same is a stranger, whoever comes first", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  const before = (await lab.found(...names)).cluster.record!.clusterId;
  await lab.put(await lab.leader(), 5);
  await lab.converged();
  for (const name of names) lab.machine(name).kill();
  await repair(lab, "a");
  // The node that is left is down: nobody tells the others.
  lab.start("b", "c");
  const old = await lab.leader(["b", "c"]);
  lab.start("a");
  await lab.until(() => lab.has("a") && lab.node("a").isLeading);
  const alone = lab.node("a");
  await lab.pass(10_000);
  assert.equal(old.isLeading, true);
  assert.equal(alone.isLeading, true);
  assert.equal(old.cluster.record!.clusterId, before);
  assert.notEqual(alone.cluster.record!.clusterId, before);
  assert.equal(alone.cluster.record!.formerClusterId, before);
  for (const name of ["b", "c"]) {
    assert.equal(lab.node(name).root.stopped, undefined);
    assert.equal(lab.node(name).root.leader?.replica, old.root.replica);
  }
  assert.ok(
    lab.lines.get("a")!.some(({ fields }) => String(fields.why).includes("belongs to cluster")),
  );
});

test("a repair that a crash cuts short is made good by the next one", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  await lab.found(...names);
  await lab.put(await lab.leader(), 5);
  await lab.converged();
  for (const name of names) lab.machine(name).kill();
  const crash = (disk: Disk): Disk =>
    new Proxy(disk, {
      get: (target, name) =>
        name === "replaceFile"
          ? (path: string, ...rest: [Uint8Array, number?]) =>
            path.endsWith("identity.json")
              ? Promise.reject(new CoveyError(Code.aborted, "the power is gone"))
              : target.replaceFile(path, ...rest)
          : Reflect.get(target, name).bind(target),
    });
  assert.equal((await caught(repair(lab, "a", { wrap: crash }))).code, Code.aborted);
  lab.machine("a").kill();
  lab.start("a");
  await lab.until(() => lab.has("a") && lab.node("a").cluster.root !== undefined);
  assert.equal(lab.node("a").failure, undefined);
  await lab.pass(2_000);
  assert.equal(lab.node("a").isLeading, false, "it counts the others yet");
  lab.machine("a").kill();
  assert.deepEqual((await repair(lab, "a")).map(({ dropped }) => dropped), [[2, 3]]);
  lab.start("a");
  await lab.until(() => lab.has("a") && lab.node("a").isLeading);
  await lab.put(lab.node("a"), 1);
});

test("a learner, or a replica that was removed, is repaired by force only", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const removed = lab.followers()[0].name;
  lab.define("d", { join: [addressOf("a")] });
  lab.start("d");
  await lab.pass(1_000);
  await lab.wait(lab.operator("a").add({ address: addressOf("d"), learner: true }));
  await lab.put(leader, 5);
  await lab.wait(
    lab.operator(leader.name).remove({ replica: BigInt(lab.node(removed).root.replica) }),
  );
  await lab.until(() => lab.node(removed).root.isRemoved);
  await lab.converged(lab.names.filter((name) => name !== removed));
  await lab.until(() => lab.node("d").root.applied === leader.root.applied);
  await lab.pass(1_000);
  for (const name of lab.names) lab.machine(name).kill();
  for (const [name, why] of [["d", /a learner/], [removed, /no member/]] as const) {
    const error = await caught(repair(lab, name));
    lab.machine(name).kill();
    assert.equal(error.code, Code.failedPrecondition);
    assert.match(error.message, why);
    assert.match(error.message, /--force/);
  }
  await repair(lab, "d", { force: true });
  lab.start("d");
  await lab.until(() => lab.has("d") && lab.node("d").isLeading);
  await lab.put(lab.node("d"), 1);
});

test("the last node of a cluster goes on alone after a repair, and takes new ones", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  const leader = await lab.found(...names);
  await lab.put(leader, 30);
  await lab.converged();
  const before = leader.machine.ids;
  for (const name of names) lab.machine(name).losePower();
  const repaired = await repair(lab, "a");
  assert.deepEqual(repaired.map(({ dropped }) => dropped), [[2, 3]]);
  lab.start("a");
  const alone = await lab.leader(["a"]);
  await lab.converged(["a"]);
  assert.deepEqual(alone.machine.ids, before);
  await lab.put(alone, 3);
  assert.deepEqual(alone.root.members.all.map(({ replica }) => replica), [1]);
  lab.define("d", { join: [addressOf("a")] });
  lab.start("d");
  await lab.pass(1_000);
  const { peer } = await lab.wait(lab.operator("a").add({ address: addressOf("d") }));
  assert.equal(peer?.replica, 4n);
  await lab.put(lab.node("d"), 3);
  // One of the lost that comes back after all changes nothing.
  const { term } = alone.root;
  lab.start("b");
  await lab.pass(10_000);
  assert.equal(alone.root.term, term);
  assert.equal(lab.node("b").isLeading, false);
  const again = await lab.failure(lab.operator("a").add({ address: addressOf("b") }));
  assert.equal(again.code, Code.failedPrecondition);
  await lab.converged(["a", "d"]);
});

test("a node that was repaired by mistake does not end the others, who are well", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  await lab.found(...names);
  await lab.put(await lab.leader(), 10);
  await lab.converged();
  lab.machine("a").kill();
  await lab.leader(["b", "c"]);
  await repair(lab, "a");
  lab.start("a");
  await lab.pass(3_000);
  // Elections among the two who are well, with the third one listening.
  for (let round = 0; round < 3; round++) {
    const leader = await lab.leader(["b", "c"]);
    lab.machine(leader.name).kill();
    await lab.pass(3_000);
    lab.start(leader.name);
  }
  await lab.put(await lab.leader(["b", "c"]), 5);
  for (const name of ["b", "c"]) assert.equal(lab.node(name).root.stopped, undefined);
  await lab.converged(["b", "c"]);
});
