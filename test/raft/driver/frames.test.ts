/** Frames that a node must not believe: of other replicas, of other groups, of nobody, of garbage. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code, CoveyError } from "../../../src/base/error.ts";
import { FrameQueue } from "../../../src/ttrpc/frame_queue.ts";
import type { FrameInit } from "../../../src/raft/wire.ts";
import { encodeConfiguration } from "../../../src/raft/core/configuration_codec.ts";
import { makeConfiguration } from "../../../src/raft/core/configuration.ts";
import { encodeDriverCommand } from "../../../src/raft/members.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, Lab, nodeIdOf } from "./lab.ts";

before(armBan);
after(liftBan);

type MessageInit = NonNullable<FrameInit["messages"]>[number];

/** A member of the cluster by its hello, with frames of the test's making. */
class Intruder {
  readonly lab: Lab;
  readonly queue = new FrameQueue<FrameInit>(64 << 20);
  readonly answers: unknown[] = [];
  error: CoveyError | undefined = undefined;

  constructor(lab: Lab, name: string, kind: "control" | "log", nodeId = nodeIdOf("x")) {
    this.lab = lab;
    this.queue.push({
      hello: {
        versionMin: 1,
        versionMax: 1,
        clusterId: lab.node("a").cluster.record!.clusterId,
        nodeId,
        name: "x",
        address: addressOf("x"),
        instance: 9n,
      },
    }, 0);
    void this.#read(name, kind);
  }

  async #read(name: string, kind: "control" | "log"): Promise<void> {
    try {
      for await (const frame of this.lab.transport(name)[kind](this.queue)) {
        this.answers.push(frame);
      }
    } catch (error) {
      this.error = CoveyError.from(error);
    }
  }

  send(...messages: MessageInit[]): void {
    this.queue.push({ messages }, 0);
  }
}

test("case 32: numbers above 2^53 - 1, and the largest of all, are refused and change nothing", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 3);
  await lab.pass(500);
  const [follower] = lab.followers();
  const peer = leader.cluster.host!.peer(follower.setup.nodeId)!;
  const { replica, term } = follower.root;
  const from = BigInt(leader.root.replica);
  const usual = { group: 0, from, to: BigInt(replica), term: BigInt(term) };
  const before = follower.root.status();
  const numbers = [2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n];
  const fields = ["term", "logTerm", "index", "commit", "rejectHint", "round"] as const;
  let sent = 0;
  for (const type of [1, 2, 3, 5, 7, 8]) {
    for (const number of numbers) {
      for (const field of fields) {
        peer.link("control").send({ messages: [{ ...usual, type, [field]: number }] }, 64);
        sent++;
      }
    }
  }
  await lab.pass(1_000);
  const after = follower.root.status();
  assert.equal(after.counters.messagesInvalid - before.counters.messagesInvalid, sent);
  assert.equal(follower.root.stopped, undefined);
  for (const key of ["term", "vote", "leader", "lastIndex", "committed"] as const) {
    assert.equal(after[key], before[key], key);
  }
  await lab.put(follower, 3);
});

test("messages that claim to be another node's replica are dropped", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const { term } = leader.root;
  for (const { name, root } of lab.alive) {
    const x = new Intruder(lab, name, "control");
    for (const from of [1n, 2n, 3n]) {
      if (BigInt(root.replica) === from) continue;
      for (const type of [1, 2, 3, 4, 5, 6, 7, 8, 13, 14]) {
        x.send({ group: 0, type, from, to: BigInt(root.replica), term: 50n, forced: true });
      }
    }
    await lab.pass(1_000);
    assert.equal(x.error, undefined);
  }
  assert.equal(leader.root.term, term);
  assert.ok(leader.isLeading);
});

test("messages of unknown groups, for other replicas, and of no type are dropped", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const { term } = leader.root;
  const to = BigInt(leader.root.replica);
  const x = new Intruder(lab, leader.name, "control");
  x.send({ group: 7, type: 7, from: 9n, to, term: 50n });
  x.send({ group: 0, type: 7, from: 9n, to: to + 1n, term: 50n });
  x.send({ group: 0, type: 0, from: 9n, to, term: 50n });
  x.send({ group: 0, type: 99, from: 9n, to, term: 50n });
  x.send({ group: 0, type: 7, from: 0n, to, term: 50n });
  x.send({ group: 0, type: 7, from: 9n, to, term: 2n ** 60n });
  x.send({ group: 0, type: 1, from: 9n, to, term: 50n, index: 2n ** 53n });
  x.send({ group: 0, type: 9, from: 9n, to, term: 50n });
  x.send({ group: 0, type: 9, from: 9n, to, term: 50n, snapshot: snapshot(90n) });
  x.send({
    group: 0,
    type: 1,
    from: 9n,
    to,
    term: 50n,
    snapshot: { index: 1n, term: 1n, configuration: new Uint8Array([9, 9, 9]) },
  });
  await lab.pass(1_000);
  assert.equal(leader.root.term, term);
  assert.equal(x.error, undefined);
  await lab.put(leader, 3);
});

function snapshot(index: bigint): { index: bigint; term: bigint; configuration: Uint8Array } {
  return { index, term: 1n, configuration: encodeConfiguration(makeConfiguration([1, 2, 3])) };
}

test("random frames of a stranger end no process and lose nothing", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const lab = new Lab({ seed });
    const leader = await lab.found("a", "b", "c");
    await lab.put(leader, 20);
    const random = lab.simulation.random("garbage");
    const number = (): bigint =>
      random.pick([
        0n,
        1n,
        2n,
        3n,
        BigInt(random.below(60)),
        BigInt(random.below(60)),
        2n ** 53n - 1n,
        2n ** 64n - 1n,
      ]);
    const streams = lab.alive.map(({ name }) =>
      new Intruder(lab, name, random.pick(["control", "log"]))
    );
    for (let round = 0; round < 100; round++) {
      for (const stream of streams) {
        stream.send({
          group: random.pick([0, 0, 0, 5]),
          type: random.below(16),
          from: number() + 4n & (2n ** 64n - 1n),
          to: BigInt(1 + random.below(3)),
          term: number(),
          logTerm: number(),
          index: number(),
          commit: number(),
          reject: random.chance(0.3),
          rejectHint: number(),
          forced: random.chance(0.3),
          round: number(),
          entries: Array.from({ length: random.below(3) }, () => ({
            term: number(),
            type: random.below(3),
            data: new Uint8Array(random.below(20)),
          })),
          snapshot: random.chance(0.2) ? { ...snapshot(number()), term: number() } : undefined,
        });
      }
      if (round % 10 === 9) await lab.pass(50);
    }
    await lab.pass(2_000);
    for (const { queue } of streams) queue.end();
    for (const { name } of lab.alive) assert.ok(lab.machine(name).running);
    assert.deepEqual(lab.handlerErrors, []);
    lab.checkOperations();
  }
});

test("a snapshot is taken from the sender of its message alone, and only as a snapshot", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 5);
  const target = lab.followers()[0];
  const { term } = target.root;
  const send = async (message: MessageInit, from = "x"): Promise<CoveyError | undefined> => {
    const chunks = (async function* () {
      yield {
        head: {
          hello: {
            versionMin: 1,
            versionMax: 1,
            clusterId: leader.root.clusterId,
            nodeId: nodeIdOf(from),
            name: from,
            address: addressOf(from),
            instance: 9n,
          },
          message,
          group: 0,
          bytes: 5n,
          checksum: 1,
        },
      };
      yield { offset: 0n, data: new Uint8Array(5) };
    })();
    try {
      for await (const _answer of lab.transport(target.name).sendSnapshot(chunks)) { /* Ends. */ }
    } catch (error) {
      return CoveyError.from(error);
    }
    return undefined;
  };
  const base = {
    group: 0,
    to: BigInt(target.root.replica),
    term: 70n,
    snapshot: snapshot(500n),
  };
  const claimed = await lab.wait(send({ ...base, type: 9, from: BigInt(leader.root.replica) }));
  assert.equal(claimed?.code, Code.permissionDenied, String(claimed));
  const other = await lab.wait(send({ ...base, type: 14, from: 9n, forced: true }));
  assert.equal(other?.code, Code.invalidArgument, String(other));
  const otherGroup = await lab.wait(send({ ...base, group: 3, type: 9, from: 9n }));
  assert.equal(otherGroup?.code, Code.invalidArgument, String(otherGroup));
  const wrong = await lab.wait(send({ ...base, type: 9, from: 9n }));
  assert.equal(wrong?.code, Code.dataLoss, String(wrong));
  await lab.pass(1_000);
  assert.equal(target.root.term, term);
  assert.equal(target.root.stopped, undefined);
  assert.deepEqual(lab.handlerErrors, []);
  await lab.converged();
});

test("a forwarded proposal carries the machine's data and nothing of the driver's own", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const { clusterId } = leader.root;
  const transport = lab.transport(leader.name);
  const command = encodeDriverCommand({
    kind: "updateMember",
    member: { replica: 1, nodeId: nodeIdOf("a"), name: "evil", address: "tcp://evil:1" },
  });
  for (
    const data of [
      command,
      new Uint8Array([255, 1, 255, 255]),
      new Uint8Array([255, 9]),
      new Uint8Array([255]),
    ]
  ) {
    const error = await lab.failure(transport.propose({ clusterId, group: 0, data }));
    assert.equal(error.code, Code.invalidArgument, error.message);
  }
  const elsewhere = await lab.wait(
    transport.propose({ clusterId: "1".repeat(32), group: 0, data: new Uint8Array([65]) }),
  );
  assert.match(elsewhere.refused, /belongs to cluster/);
  assert.equal(elsewhere.retry, false);
  const noGroup = await lab.wait(
    transport.propose({ clusterId, group: 4, data: new Uint8Array([65]) }),
  );
  assert.notEqual(noGroup.refused, "");
  await lab.put(leader, 3);
  await lab.converged();
  for (const { root } of lab.alive) {
    assert.equal(root.stopped, undefined);
    assert.deepEqual(root.members.all.map(({ name }) => name), ["a", "b", "c"]);
  }
});

test("data that looks like the driver's own is the machine's all the same", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  const seen: number[][] = [];
  const leader = await lab.leader();
  leader.root.observe({ applied: ({ data }) => seen.push([...data]) });
  const datas = [[255], [255, 0], [255, 1], [255, 1, 8], [0], [], [255, 255, 255]];
  for (const node of lab.alive) {
    for (const data of datas) {
      await lab.wait(node.root.propose(new Uint8Array(data)));
      assert.deepEqual(seen.at(-1), data);
    }
  }
});

test("the certificate of one node does not speak for another", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  const tls = (name: string, nodeId: string) =>
    lab.simulation.identity({
      commonName: name,
      names: [`DNS:${name}`, `URI:covey:node:${nodeId}`],
    });
  for (const name of names) {
    lab.define(name, { join: names.map(addressOf), tls: tls(name, nodeIdOf(name)) });
  }
  lab.start(...names);
  const leader = await lab.leader(names);
  await lab.put(leader, 3);
  // b comes back with a certificate that names another node.
  lab.machine("b").kill();
  await lab.pass(500);
  lab.setup("b").tls = tls("b", nodeIdOf("z"));
  lab.start("b");
  await lab.pass(10_000);
  const said = [
    ...lab.logged("a", /cannot speak for node/),
    ...lab.logged("c", /cannot speak for/),
  ];
  assert.ok(said.length > 0);
  assert.ok(said.length < 60, `${said.length}`);
  await lab.put(await lab.leader(["a", "c"]), 3);
  lab.machine("b").kill();
  lab.setup("b").tls = tls("b", nodeIdOf("b"));
  lab.start("b");
  await lab.leader(names);
  await lab.converged();
});
