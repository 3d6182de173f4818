/** Nodes that start at once, one after the other, with crashes in between: one cluster or none. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import process from "node:process";
import { create } from "npm:@bufbuild/protobuf@2.17.0";
import { silentLogger } from "../../../src/base/log.ts";
import { FounderSchema } from "../../../src/gen/covey/raft/v1/transport_pb.ts";
import { clusterIdOf } from "../../../src/raft/cluster_record.ts";
import { Founding } from "../../../src/raft/founding.ts";
import { DiskError } from "../../../src/runtime/port.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, dataDirectory, Lab, nodeIdOf } from "./lab.ts";

before(armBan);
after(liftBan);

/** Every moment with the flag, else every third. */
const step = process.env.COVEY_DRIVER_SEEDS === undefined ? 3 : 1;

const letters = ["a", "b", "c", "d", "e"];

/** Everybody is a voter of one cluster, takes writes, and has the same in the end. */
async function works(lab: Lab, names: readonly string[]): Promise<void> {
  const leader = await lab.leader(names);
  const ids = new Set(names.map((name) => lab.node(name).cluster.record?.clusterId));
  assert.equal(ids.size, 1, lab.describe());
  assert.deepEqual(
    leader.root.status().configuration.voters,
    names.map((_name, at) => at + 1),
  );
  for (const name of names) await lab.put(lab.node(name), 2);
  await lab.converged(names);
  for (const name of names) {
    assert.deepEqual(lab.node(name).root.members.all, leader.root.members.all);
    assert.equal(lab.node(name).cluster.problem, undefined);
  }
}

for (const count of [1, 2, 3, 5]) {
  const names = letters.slice(0, count);
  for (const staggered of [false, true]) {
    for (const how of ["join", "expect", "join without self"] as const) {
      if (count === 1 && how === "join without self") continue;
      test(`${count} founders, ${staggered ? "one after the other" : "at once"}, by ${how}`, async () => {
        const lab = new Lab({ seed: count });
        for (const name of names) {
          const others = names.filter((other) => other !== name);
          const join = how === "join" ? names : how === "expect" ? names.slice(0, 1) : others;
          lab.define(name, {
            join: join.map(addressOf),
            expect: how === "expect" ? count : 0,
          });
        }
        for (const name of names) {
          lab.start(name);
          if (staggered) await lab.pass(3_000);
        }
        await works(lab, names);
        assert.equal(
          lab.node("a").cluster.record?.clusterId,
          clusterIdOf(names.map((name) => nodeIdOf(name))),
        );
      });
    }
  }
}

test("a founder is listed under another name than its own, too", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  // The simulator gives addresses in the order of the machines.
  for (const name of names) {
    lab.define(name, {
      join: ["tcp://10.0.0.2:7946", addressOf("a"), addressOf("c"), "tcp://10.0.0.1:7946"],
    });
  }
  lab.start(...names);
  assert.deepEqual(names.map((name) => lab.machine(name).ip), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
  await works(lab, names);
});

for (const expect of [0, 3]) {
  test(`a founder that comes back as another node leaves no ghost, expect ${expect}`, async () => {
    const lab = new Lab();
    const names = ["a", "b", "c"];
    for (const name of names) lab.define(name, { join: names.map(addressOf), expect });
    lab.start("a", "b");
    await lab.pass(2_000);
    lab.machine("b").kill();
    lab.setup("b").nodeId = nodeIdOf("bb");
    lab.start("b", "c");
    await works(lab, names);
  });
}

test("one node that is told to wait for others waits, and says for whom", async () => {
  const lab = new Lab();
  lab.define("a", { join: [addressOf("a"), addressOf("b")] });
  lab.start("a");
  await lab.pass(10_000);
  const { cluster } = lab.node("a");
  assert.equal(cluster.root, undefined);
  assert.match(cluster.problem!, /being founded: found a, no answer from tcp:\/\/b:7946/);
  assert.equal(lab.machine("a").disk.content("/data/cluster.json"), undefined);
  lab.define("b", { expect: 3, join: [addressOf("a")] });
  lab.start("b");
  await lab.pass(10_000);
  // b counts to three, a to two: nobody founds anything.
  assert.equal(lab.node("b").cluster.root, undefined);
  assert.match(lab.node("b").cluster.problem!, /found (a, b|b, a) of 3 nodes/);
  assert.equal(cluster.root, undefined, lab.describe());
});

test("join lists that differ found one cluster at most, and the others say what is wrong", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const lab = new Lab({ seed, latencyMs: [0.3, 40] });
    const random = lab.simulation.random("lists");
    const names = letters.slice(0, 4);
    for (const name of names) {
      const join = names.filter((other) => other !== name && random.chance(0.6)).map(addressOf);
      const expect = random.chance(0.5) ? 0 : random.between(2, 4);
      lab.define(name, { join: join.length > 0 ? join : [addressOf("a")], expect });
    }
    lab.start(...names);
    await lab.pass(20_000);
    const clusters = new Map<string, string[]>();
    for (const name of names) {
      const { record, root, problem } = lab.node(name).cluster;
      if (record === undefined) assert.notEqual(problem, undefined);
      else {
        clusters.set(record.clusterId, [...clusters.get(record.clusterId) ?? [], name]);
        assert.ok(root !== undefined);
      }
    }
    // Each cluster is the very set of nodes that it names, so no node is in two.
    for (const [clusterId, inside] of clusters) {
      assert.equal(clusterId, clusterIdOf(inside.map(nodeIdOf)), lab.describe());
    }
  }
});

test("more nodes than cluster.expect found nothing, or a cluster of that many", async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const lab = new Lab({ seed, latencyMs: [0.3, 100] });
    const names = letters.slice(0, 4);
    const join = names.map(addressOf);
    for (const name of names) lab.define(name, { join, expect: 3 });
    lab.start(...names);
    await lab.pass(20_000);
    const founded = names.filter((name) => lab.node(name).cluster.record !== undefined);
    assert.ok(founded.length === 0 || founded.length === 3, lab.describe());
    const ids = new Set(founded.map((name) => lab.node(name).cluster.record?.clusterId));
    assert.ok(ids.size <= 1, lab.describe());
    if (founded.length === 0) {
      const said = names.flatMap((name) => lab.logged(name, /found 4 nodes where cluster.expect/));
      assert.ok(said.length >= 1);
      // Once each, not at every look.
      assert.ok(said.length <= 8, `${said.length} lines`);
    }
  }
});

test("a late node waits to be added, says how, and is added", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  lab.define("d", { join: [addressOf("a")] });
  lab.start("d");
  await lab.pass(5_000);
  const d = lab.node("d");
  assert.equal(d.cluster.root, undefined);
  assert.match(
    d.cluster.problem!,
    /exists without this node: run "covey raft add tcp:\/\/d:7946"/,
  );
  const { peer } = await lab.wait(lab.operator("b").add({ address: addressOf("d") }));
  assert.equal(peer?.replica, 4n);
  await lab.leader(["a", "b", "c", "d"]);
  await lab.put(lab.node("d"), 3);
  await lab.converged();
  assert.deepEqual(lab.node("a").root.status().configuration.voters, [1, 2, 3, 4]);
});

// ---------------------------------------------------------------------------------------------
// Crashes

/** Kills a founder at every disk call of its founding, by turns with and without the disk's cache. */
test("a founder that crashes at any of its disk calls comes back into the one cluster", async () => {
  const endings = new Set<string>();
  let crashes = 0;
  for (let nth = 1; nth <= 60; nth += step) {
    const lab = new Lab({ seed: nth, tornWriteChance: nth % 2 });
    const names = ["a", "b", "c"];
    const join = names.map(addressOf);
    let calls = 0;
    for (const name of names) {
      lab.define(name, {
        join,
        disk: name !== "b" ? undefined : (disk) => {
          const counted = (): void => {
            if (++calls !== nth) return;
            crashes++;
            const { cluster } = lab.node("b");
            endings.add(`${cluster.record === undefined ? "before" : "after"} the record`);
            lab.simulation.at(lab.simulation.nowMs, () => {
              if (nth % 3 === 0) lab.machine("b").kill();
              else lab.machine("b").losePower();
            });
          };
          return new Proxy(disk, {
            get: (target, name) => {
              const value: unknown = Reflect.get(target, name);
              if (typeof value !== "function") return value;
              return (...parts: unknown[]) => {
                counted();
                return value.apply(target, parts);
              };
            },
          });
        },
      });
    }
    lab.start(...names);
    await lab.pass(3_000 + 1_000 * (nth % 3));
    if (calls < nth) break;
    lab.setup("b").disk = undefined;
    if (!lab.machine("b").running) lab.start("b");
    await works(lab, names);
  }
  assert.ok(crashes > 15 / step, `${crashes} crashes`);
  if (step === 1) assert.equal(endings.size, 2, [...endings].join());
});

test("all founders crash together at any moment and come back into the one cluster", async () => {
  let early = 0;
  for (let nth = 0; nth < 24; nth += step) {
    const lab = new Lab({ seed: 100 + nth, tornWriteChance: 0.5 });
    const names = ["a", "b", "c"];
    const join = names.map(addressOf);
    for (const name of names) lab.define(name, { join });
    lab.start(...names);
    await lab.pass(2 + nth * 1.5);
    for (const name of names) {
      if (lab.node(name).cluster.record === undefined) early++;
      lab.machine(name).losePower();
    }
    await lab.pass(100);
    lab.start(...names);
    await works(lab, names);
  }
  assert.ok(early > 5 / step, `${early} nodes crashed before they were founded`);
});

test("a founder's promise outlives its restart: it founds no other cluster", async () => {
  const lab = new Lab({ latencyMs: [100, 100] });
  const names = ["a", "b"];
  for (const name of names) lab.define(name, { join: names.map(addressOf) });
  lab.start("a", "b");
  // The promise is on the disk long before anybody hears of it.
  await lab.until(() => lab.machine("a").disk.content("/data/cluster.json") !== undefined);
  await lab.pass(5);
  lab.machine("a").losePower();
  lab.machine("b").losePower();
  const b = lab.setup("b");
  // b is lost; another node takes its address.
  b.nodeId = nodeIdOf("z");
  lab.machine("b").disk.tree.removeTree("/data");
  lab.start("a", "b");
  await lab.pass(10_000);
  assert.equal(lab.node("a").cluster.root, undefined);
  assert.match(lab.node("a").cluster.problem!, /waiting for b at tcp:\/\/b:7946 to agree/);
  assert.equal(lab.node("b").cluster.root, undefined);
  // Given up by hand, a new set is agreed upon.
  lab.machine("a").kill();
  lab.machine("a").disk.tree.remove("/data/cluster.json");
  lab.machine("b").kill();
  lab.machine("b").disk.tree.remove("/data/cluster.json");
  lab.start("a", "b");
  await works(lab, names);
});

test("who waits for founders says for whom, and is not heard again for an hour", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  const join = names.map(addressOf);
  lab.define("a", { join, expect: 3 });
  lab.define("d", { join: [addressOf("d")], expect: 3 });
  lab.start("a", "d");
  await lab.pass(600_000);
  const waiting = (name: string): string[] =>
    (lab.lines.get(name) ?? []).filter(({ message }) => message.includes("waits to be part"))
      .map(({ fields }) => String(fields?.why));
  assert.equal(waiting("a").length, 1, waiting("a").join("\n"));
  assert.match(
    waiting("a")[0],
    /found a of 3 nodes, no answer from tcp:\/\/b:\d+ \(.+\), tcp:\/\/c:/,
  );
  assert.deepEqual(waiting("d").length, 1);
  assert.match(waiting("d")[0], /found d of 3 nodes, and cluster.join names nobody else/);
  await lab.pass(3_600_000);
  assert.ok(waiting("a").length <= 3);
  lab.define("b", { join, expect: 3 });
  lab.define("c", { join, expect: 3 });
  lab.start("b", "c");
  await lab.leader(names);
});

test("founders that have agreed to different sets say so, and what to do", async () => {
  const lab = new Lab();
  lab.define("a", { join: [addressOf("b")] });
  lab.define("b", { join: [addressOf("a"), addressOf("c")] });
  lab.define("c", { join: [addressOf("b")] });
  lab.start("a", "b", "c");
  await lab.pass(10_000);
  for (const [name, pattern] of [["a", /of 3 nodes.*of 2/], ["b", /of 2 nodes.*of 3/]] as const) {
    const { record, problem } = lab.node(name).cluster;
    assert.equal(record, undefined);
    assert.match(problem!, pattern);
    assert.match(problem!, /the same cluster\.join.*remove cluster\.json/);
    assert.ok(lab.logged(name, /has agreed to found/).length <= 2);
  }
  // What it says helps.
  for (const name of ["a", "b", "c"]) {
    lab.machine(name).kill();
    lab.define(name, { join: ["a", "b", "c"].map(addressOf) });
    await lab.runTool(name, ({ disk }) => disk.remove(`${dataDirectory}/cluster.json`));
  }
  lab.start("a", "b", "c");
  await works(lab, ["a", "b", "c"]);
});

test("who stops to found makes no promise any more", async () => {
  const lab = new Lab();
  lab.define("b", { join: [addressOf("nobody")], expect: 2 });
  lab.start("b");
  await lab.pass(1_000);
  lab.machine("b").pause();
  let promises = 0;
  const self = { nodeId: nodeIdOf("x"), name: "x", address: addressOf("x") };
  const other = { nodeId: nodeIdOf("b"), name: "b", address: addressOf("b") };
  const founding = new Founding({
    clock: lab.outsideRuntime.clock,
    logger: silentLogger,
    self,
    join: [addressOf("b")],
    expect: 2,
    channel: () => lab.channel("b"),
    promised: undefined,
    promise: () => {
      promises++;
      return Promise.resolve();
    },
  });
  const run = founding.run();
  await lab.pass(100);
  // It is complete with that, and its own question has no answer yet.
  founding.met(create(FounderSchema, { ...other, known: [other.nodeId], expect: 2 }));
  founding.stop();
  assert.equal(await lab.wait(run), undefined);
  assert.equal(promises, 0);
});

test("an invitation that came to nothing is forgotten when another one is taken", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  let isFull = true;
  const full = (path: string): Promise<never> => {
    isFull = false;
    return Promise.reject(new DiskError("full", path, "no room"));
  };
  lab.define("d", {
    join: [addressOf("a")],
    disk: (disk) =>
      new Proxy(disk, {
        get: (target, name) => {
          if (name === "replaceFile" && isFull) return full;
          const value: unknown = Reflect.get(target, name);
          return typeof value === "function" ? value.bind(target) : value;
        },
      }),
  });
  lab.start("d");
  await lab.pass(2_000);
  await lab.failure(lab.operator("a").add({ address: addressOf("d") }));
  const { cluster } = lab.node("d");
  assert.match(cluster.problem!, /no room/);
  await lab.wait(lab.operator("a").add({ address: addressOf("d") }));
  assert.equal(cluster.problem, undefined);
  await lab.converged();
});
