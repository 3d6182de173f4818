/** Links between nodes: who dials, what is refused, what waits, and what is noticed. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code, CoveyError } from "../../../src/base/error.ts";
import type { FrameInit } from "../../../src/raft/wire.ts";
import { FrameQueue } from "../../../src/ttrpc/frame_queue.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, Lab, nodeIdOf } from "./lab.ts";

before(armBan);
after(liftBan);

/** A stream of frames into a node, from the outside, and how it ended. */
function intrude(
  lab: Lab,
  name: string,
  kind: "control" | "log",
  frames: readonly FrameInit[],
): { ended: Promise<CoveyError | undefined>; answers: unknown[]; queue: FrameQueue<FrameInit> } {
  const queue = new FrameQueue<FrameInit>(1 << 20);
  for (const frame of frames) queue.push(frame, 0);
  const answers: unknown[] = [];
  const ended = (async () => {
    try {
      for await (const frame of lab.transport(name)[kind](queue)) answers.push(frame);
    } catch (error) {
      return CoveyError.from(error);
    }
    return undefined;
  })();
  return { ended, answers, queue };
}

function helloOf(lab: Lab, name: string, change: object = {}): NonNullable<FrameInit["hello"]> {
  return {
    versionMin: 1,
    versionMax: 1,
    clusterId: lab.node("a").cluster.record!.clusterId,
    nodeId: nodeIdOf(name),
    name,
    peerId: "",
    address: addressOf(name),
    instance: 77n,
    ...change,
  };
}

for (
  const [title, change, code, message] of [
    [
      "another cluster",
      { clusterId: "0".repeat(32) },
      Code.failedPrecondition,
      /belongs to cluster 0+/,
    ],
    ["no cluster", { clusterId: "" }, Code.failedPrecondition, /belongs to cluster \(none\)/],
    [
      "a newer protocol",
      { versionMin: 2, versionMax: 3 },
      Code.failedPrecondition,
      /speaks versions 2 to 3/,
    ],
    [
      "an older protocol",
      { versionMin: 0, versionMax: 0 },
      Code.failedPrecondition,
      /speaks versions 0 to 0/,
    ],
    [
      "somebody else meant",
      { peerId: nodeIdOf("z") },
      Code.failedPrecondition,
      /this is node .* not 7a00/,
    ],
    ["its own id", { nodeId: nodeIdOf("a") }, Code.failedPrecondition, /has this node's own id/],
    ["a copied directory", { nodeId: nodeIdOf("b") }, Code.alreadyExists, /is connected already/],
  ] as const
) {
  test(`a hello of ${title} is refused, and harms nobody`, async () => {
    const lab = new Lab();
    const leader = await lab.found("a", "b", "c");
    await lab.pass(1_000);
    const { term } = leader.root;
    for (const kind of ["control", "log"] as const) {
      const { ended, answers } = intrude(lab, "a", kind, [
        { hello: helloOf(lab, "x", change) },
        {
          messages: [{ group: 0, type: 3, from: 9n, to: 1n, term: 99n, index: 99n, logTerm: 99n }],
        },
      ]);
      const error = await lab.wait(ended);
      assert.equal(error?.code, code, String(error));
      assert.match(error!.rawMessage, message);
      assert.deepEqual(answers, []);
    }
    await lab.pass(5_000);
    assert.equal(leader.root.term, term);
    await lab.put(leader, 3);
    await lab.converged();
  });
}

test("a stream without a hello is refused", async () => {
  const lab = new Lab();
  await lab.found("a");
  for (const first of [{}, { messages: [{ group: 0, type: 7, from: 2n, to: 1n, term: 9n }] }]) {
    const error = await lab.wait(intrude(lab, "a", "control", [first]).ended);
    assert.equal(error?.code, Code.invalidArgument);
  }
  const { ended, queue } = intrude(lab, "a", "log", []);
  queue.end();
  assert.equal((await lab.wait(ended))?.code, Code.invalidArgument);
  assert.deepEqual(lab.handlerErrors, []);
});

test("a node in no cluster refuses every stream", async () => {
  const lab = new Lab();
  lab.define("a", { join: [addressOf("a"), addressOf("b")] });
  lab.start("a");
  await lab.pass(1_000);
  const hello = { versionMin: 1, versionMax: 1, nodeId: nodeIdOf("x"), instance: 5n };
  for (const kind of ["control", "log"] as const) {
    const error = await lab.wait(intrude(lab, "a", kind, [{ hello }]).ended);
    assert.equal(error?.code, Code.failedPrecondition, String(error));
  }
  const { refused } = await lab.wait(
    lab.transport("a").propose({ data: new Uint8Array(1) }).catch((error) => ({
      refused: String(error),
    })),
  );
  assert.match(refused, /part of no cluster/);
  assert.deepEqual(lab.handlerErrors, []);
});

test("a lost directory behind an address is noticed by those who dial it, at a calm pace", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  await lab.wait(lab.operator("a").transfer({ replica: 1n }).catch(() => {}));
  lab.machine("c").kill();
  lab.machine("c").disk.tree.removeTree("/data");
  lab.setup("c").nodeId = nodeIdOf("other");
  lab.setup("c").join = [];
  lab.start("c");
  await lab.pass(60_000);
  const lines = [...lab.logged("a", /cannot be reached/), ...lab.logged("c", /was refused/)];
  assert.ok(lines.length > 0);
  assert.ok(lines.length < 12, `${lines.length} lines in a minute`);
  await lab.put(await lab.leader(["a", "b"]), 3);
});

test("clusters that were founded apart and name each other say so, once an hour", async () => {
  const lab = new Lab();
  await lab.found("a");
  await lab.found("b", "c");
  const ids = ["a", "b"].map((name) => lab.node(name).root.clusterId);
  for (const name of ["a", "b", "c"]) lab.machine(name).kill();
  lab.setup("a").join = ["b", "c", "nowhere"].map(addressOf);
  lab.setup("b").join = ["a", "b", "c"].map(addressOf);
  lab.start("a", "b", "c");
  await lab.pass(30_000);
  const strangers = (name: string): string[] =>
    lab.logged(name, /cluster.join names a node of another cluster/).map(({ level, fields }) => {
      assert.equal(level, "warning");
      return String(fields.why);
    });
  assert.deepEqual(strangers("c"), [], "its cluster.join names its own cluster");
  assert.deepEqual(strangers("b"), [
    `node a at ${addressOf("a")} belongs to cluster ${ids[0]}, and this node to ${ids[1]}: two ` +
    "clusters never become one; correct cluster.join, or stop that node, give it an empty data " +
    `directory, start it, and run "covey raft add ${addressOf("a")}"`,
  ]);
  assert.equal(strangers("a").length, 2, "one line for each node");
  await lab.pass(3_500_000);
  assert.equal(strangers("a").length, 2);
  await lab.pass(1_300_000);
  assert.equal(strangers("a").length, 4);
});

test("an address of cluster.join at which nobody answers is left alone while nobody is missing", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  for (const name of names) {
    lab.define(name, { join: [...names, "gone"].map(addressOf), expect: 3 });
  }
  await lab.found(...names);
  await lab.pass(10_000);
  const asked = (): number => lab.logged("a", /nobody answers at an address/).length;
  const before = asked();
  assert.ok(before > 0);
  await lab.pass(1_200_000);
  assert.ok(asked() - before <= 2, `${asked() - before} times in 20 minutes`);
});

test("a copied data directory runs once: the second process is refused, and told why", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  await lab.found(...names);
  await lab.put(await lab.leader(), 10);
  await lab.converged();
  // d gets c's disk, and c runs on.
  const target = lab.simulation.machine("d", { boot: () => new Promise<never>(() => {}) });
  await lab.wait((async () => {
    const { disk } = target.runtime;
    for (const path of lab.machine("c").disk.paths()) {
      await disk.makeDirectory(path.slice(0, path.lastIndexOf("/")));
      const file = await disk.open(path, { write: true, create: true });
      await file.write(lab.machine("c").disk.content(path)!, 0);
      await file.sync();
      await file.close();
    }
  })());
  lab.define("d", { nodeId: nodeIdOf("c"), join: names.map(addressOf) });
  await lab.leader(names);
  const events = lab.simulation.events;
  const terms = names.map((name) => lab.node(name).root.term);
  const copy = lab.runOn(target, "d");
  await lab.pass(30_000);
  const said = names.flatMap((name) => lab.logged(name, /two processes run with one node id/));
  assert.ok(said.length > 0 && said.length <= names.length, `${said.length} lines`);
  assert.ok(lab.simulation.events - events < 30_000, `${lab.simulation.events - events} events`);
  assert.deepEqual(names.map((name) => lab.node(name).root.term), terms);
  assert.equal(copy.cluster.root?.leader, undefined);
  await lab.put(lab.node("c"), 3);
  await lab.converged(names);
});

test("a restarted node is not taken for a copy of itself", async () => {
  for (let round = 0; round < 6; round++) {
    const lab = new Lab({ seed: round + 1, latencyMs: [0.3, 30] });
    await lab.found("a", "b", "c");
    const name = ["a", "b", "c"][round % 3];
    const machine = lab.machine(name);
    await lab.pass(1_000 + 37 * round);
    if (round % 2 === 0) machine.kill();
    else machine.crash({ afterMs: 50 });
    await lab.pass(round * 20);
    lab.start(name);
    await lab.leader();
    await lab.pass(3_000);
    const said = ["a", "b", "c"].flatMap((one) => lab.logged(one, /two processes/));
    assert.deepEqual(said, []);
  }
});
