/** Nodes that are reached elsewhere than before, one of them or all at once; and quorums lost for good. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code } from "../../../src/base/error.ts";
import { raftOptionsDefault } from "../../../src/raft/options.ts";
import { repairCluster } from "../../../src/raft/repair.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, dataDirectory, Lab, nodeIdOf } from "./lab.ts";

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

test("the last node of a cluster goes on alone after a repair, and takes new ones", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  const leader = await lab.found(...names);
  await lab.put(leader, 30);
  await lab.converged();
  const before = leader.machine.ids;
  for (const name of names) lab.machine(name).losePower();
  const { runtime } = lab.simulation.machine("tool", { boot: () => new Promise<never>(() => {}) });
  // As the command does it: on the node's disk, while nothing runs there.
  lab.setup("a").disk = undefined;
  const repaired = await lab.runTool("a", ({ disk }) =>
    repairCluster({
      disk,
      random: runtime.random,
      logger: lab.logger("repair"),
      directory: dataDirectory,
      nodeId: nodeIdOf("a"),
      options: { ...raftOptionsDefault, lowWaterBytes: 0 },
    }));
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
  await lab.runTool("a", ({ disk, random }) =>
    repairCluster({
      disk,
      random,
      logger: lab.logger("repair"),
      directory: dataDirectory,
      nodeId: nodeIdOf("a"),
      options: { ...raftOptionsDefault, lowWaterBytes: 0 },
    }));
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
