/** What operators ask, of any node, in good times and in bad ones. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code, type CoveyError } from "../../../src/base/error.ts";
import { Suffrage } from "../../../src/gen/covey/raft/v1/raft_pb.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, Lab, type LabNode, nodeIdOf } from "./lab.ts";

before(armBan);
after(liftBan);

/** A node that is to be added to the cluster of a. */
function newcomer(lab: Lab, name: string): void {
  lab.define(name, { join: [addressOf("a")] });
  lab.start(name);
}

test("every request can be made of any node", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  await lab.found(...names);
  newcomer(lab, "d");
  newcomer(lab, "e");
  await lab.pass(1_000);
  for (const asked of names) {
    const operator = lab.operator(asked);
    const { peers, leader, term, clusterId } = await lab.wait(operator.peers({}));
    const leading = await lab.leader(names);
    assert.equal(leader, BigInt(leading.root.replica));
    assert.equal(term, BigInt(leading.root.term));
    assert.equal(clusterId, leading.root.clusterId);
    assert.deepEqual(peers.map(({ name }) => name), names);
    assert.deepEqual(peers.map(({ address }) => address), names.map(addressOf));
    assert.deepEqual(peers.map(({ active }) => active), [true, true, true]);
    const status = await lab.wait(operator.status({}));
    assert.equal(status.nodeId, nodeIdOf(asked));
    assert.equal(status.groups.length, 1);
    const { peer } = await lab.wait(operator.add({ address: addressOf("d"), learner: true }));
    assert.equal(peer?.suffrage, Suffrage.LEARNER);
    await lab.until(() => lab.node("d").cluster.root?.applied === leading.root.applied);
    await lab.pass(200);
    await lab.wait(operator.promote({ replica: peer!.replica }));
    await lab.until(() => lab.node("d").cluster.root?.status().isVoter === true);
    const next = names[(names.indexOf(leading.name) + 1) % 3];
    const target = BigInt(lab.node(next).root.replica);
    assert.equal((await lab.wait(operator.transfer({ replica: target }))).leader, target);
    await lab.until(() => lab.node(next).isLeading);
    await lab.wait(operator.remove({ replica: peer!.replica }));
    await lab.put(lab.node(asked), 3);
    // d was removed, and gets an empty directory.
    lab.machine("d").kill();
    lab.machine("d").disk.tree.removeTree("/data");
    lab.setup("d").nodeId = nodeIdOf(`d${asked}`);
    lab.start("d");
    await lab.pass(1_000);
  }
  // Replica ids are never given out again.
  assert.deepEqual((await lab.leader(names)).root.members.nextReplica, 7);
  lab.checkOperations();
});

test("a transfer without a target goes to the voter that has most", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const [behind, ahead] = lab.followers();
  lab.machine(behind.name).pause();
  await lab.put(leader, 10);
  const { leader: chosen } = await lab.wait(lab.operator(leader.name).transfer({}));
  assert.equal(chosen, BigInt(ahead.root.replica));
  lab.machine(behind.name).resume();
  await lab.leader();
});

test("the answer of a request does not depend on the moment in a leader's round", async () => {
  // Every so often a leader begins to count anew of whom it hears.
  for (let offset = 0; offset < 1_000; offset += 150) {
    const lab = new Lab({ latencyMs: [40, 40] });
    const leader = await lab.found("a", "b", "c");
    newcomer(lab, "d");
    await lab.wait(lab.operator(leader.name).add({ address: addressOf("d"), learner: true }));
    await lab.pass(2_000 + offset);
    const operator = lab.operator(leader.name);
    const { peers } = await lab.wait(operator.peers({}));
    assert.deepEqual(peers.map(({ active }) => active), [true, true, true, true], `${offset} ms`);
    await lab.wait(operator.promote({ replica: 4n }));
    await lab.wait(operator.transfer({}));
    await lab.pass(offset);
    await lab.wait(operator.remove({ replica: 4n }));
  }
});

const ofYoungLeaders: Readonly<
  Record<string, (lab: Lab, leader: LabNode, learner: LabNode) => Promise<unknown>>
> = {
  "a removal": (lab, leader, learner) =>
    lab.operator(leader.name).remove({ replica: BigInt(learner.root.replica) }),
  "the removal of a voter": (lab, leader) => {
    const other = lab.names.find((name) => !["d", leader.name].includes(name))!;
    return lab.operator(leader.name).remove({ replica: BigInt(lab.node(other).root.replica) });
  },
  "its own removal": (lab, leader) =>
    lab.operator(leader.name).remove({ replica: BigInt(leader.root.replica) }),
  "a promotion": (lab, leader, learner) =>
    lab.operator(leader.name).promote({ replica: BigInt(learner.root.replica) }),
  "a transfer to anybody": (lab, leader) => lab.operator(leader.name).transfer({}),
  "a new group": async (lab, leader) => {
    const { founders } = await lab.operator(leader.name).createGroup({ name: "g", replicas: 3 });
    assert.equal(founders.length, 3);
  },
  "an addition": (lab, leader) =>
    lab.operator(leader.name).add({ address: addressOf("e"), learner: true }),
};

for (const [what, ask] of Object.entries(ofYoungLeaders)) {
  test(`${what} right after an election is judged when the leader has heard of the others`, async () => {
    const lab = new Lab({ latencyMs: [10, 10] });
    const first = await lab.found("a", "b", "c");
    newcomer(lab, "d");
    newcomer(lab, "e");
    await lab.pass(1_000);
    await lab.wait(lab.operator(first.name).add({ address: addressOf("d"), learner: true }));
    await lab.pass(1_000);
    const next = lab.node(first.name === "a" ? "b" : "a");
    first.root.transfer(next.root.replica);
    await lab.until(() => next.root.leads);
    assert.equal(next.isLeading, false, "it has committed nothing yet");
    await lab.wait(ask(lab, next, lab.node("d")));
    lab.checkOperations();
  });
}

test("reads and writes at a node whose removal is applied end at once, with another node's turn", async () => {
  for (const who of ["follower", "leader"]) {
    const lab = new Lab();
    const leader = await lab.found("a", "b", "c");
    const gone = who === "leader" ? leader : lab.followers()[0];
    const other = lab.names.find((name) => name !== gone.name)!;
    const removal = lab.operator(other).remove({ replica: BigInt(gone.root.replica) });
    const waits: Promise<CoveyError | undefined>[] = [];
    let slowestMs = 0;
    while (!gone.root.isRemoved || waits.length < 100) {
      const sinceMs = lab.simulation.nowMs;
      for (
        const end of [
          gone.root.barrier(),
          lab.propose(gone).then(({ error }) => thrown(error)),
        ]
      ) {
        waits.push(end.then(() => undefined, (error) => error as CoveyError));
        void waits.at(-1)!.then(() => {
          slowestMs = Math.max(slowestMs, lab.simulation.nowMs - sinceMs);
        });
      }
      await lab.put(lab.node(other), 1);
    }
    await lab.wait(removal);
    const errors = await lab.wait(Promise.all(waits));
    assert.ok(slowestMs < 100, `${who}: ${slowestMs} ms`);
    assert.ok(errors.some((error) => error !== undefined), "some came after the removal");
    for (const error of errors) {
      assert.ok(error === undefined || (error.code === Code.unavailable && error.sent === false));
    }
    lab.checkOperations();
  }
});

function thrown(error: unknown): void {
  if (error !== undefined) throw error;
}

test("case 15: a learner that is far behind is not promoted", async () => {
  const lab = new Lab({ raft: { catchUpBytes: 64 << 20, snapshotLogBytes: 64 << 20 } });
  const leader = await lab.found("a", "b", "c");
  newcomer(lab, "d");
  const operator = lab.operator("b");
  await lab.wait(operator.add({ address: addressOf("d"), learner: true }));
  await lab.converged();
  await lab.wait(operator.peers({}));
  lab.machine("d").pause();
  for (let round = 0; round < 6; round++) await lab.put(leader, 300);
  const error = await lab.failure(operator.promote({ replica: 4n }));
  assert.equal(error.code, Code.failedPrecondition);
  assert.match(error.rawMessage, /learner 4 has not caught up: it lacks \d+ entries/);
  lab.machine("d").resume();
  await lab.converged();
  await lab.wait(operator.promote({ replica: 4n }));
  const again = await lab.failure(operator.promote({ replica: 4n }));
  assert.equal(again.code, Code.failedPrecondition);
  assert.match(again.rawMessage, /a voter already/);
  const unknown = await lab.failure(operator.promote({ replica: 9n }));
  assert.equal(unknown.code, Code.notFound);
});

test("case 15: a removal that would leave no majority is refused, whoever would be removed", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  const followers = lab.followers();
  const leader = await lab.leader();
  lab.machine(followers[0].name).kill();
  await lab.pass(3_000);
  const operator = lab.operator(leader.name);
  // Of a, b and c, two live: without one of them, one of two is left.
  const alive = followers[1];
  const error = await lab.failure(operator.remove({ replica: BigInt(alive.root.replica) }));
  assert.equal(error.code, Code.failedPrecondition);
  assert.match(error.rawMessage, /without replica \d only 1 of 2 voters would be there/);
  // The dead one may go: two of two are left.
  await lab.wait(operator.remove({ replica: BigInt(followers[0].root.replica) }));
  await lab.put(leader, 3);
  assert.equal(leader.root.status().configuration.voters.length, 2);
});

test("the only voter is not removed", async () => {
  const lab = new Lab();
  await lab.found("a");
  const error = await lab.failure(lab.operator("a").remove({ replica: 1n }));
  assert.equal(error.code, Code.failedPrecondition);
  assert.match(error.rawMessage, /the only voter: add another one first/);
});

test("a leader that is removed hands over by itself and is quiet", async () => {
  for (const asked of ["leader", "follower"] as const) {
    const lab = new Lab();
    const leader = await lab.found("a", "b", "c");
    await lab.put(leader, 10);
    await lab.pass(500);
    const others = lab.followers().map(({ name }) => name);
    const operator = lab.operator(asked === "leader" ? leader.name : others[0]);
    await lab.wait(operator.remove({ replica: BigInt(leader.root.replica) }));
    const next = await lab.leader(others);
    await lab.put(next, 10);
    const { term } = next.root;
    await lab.pass(20_000);
    assert.equal(next.root.term, term, "nobody disturbs");
    assert.equal(leader.root.isLeading, false);
    assert.deepEqual(next.root.status().configuration.voters.length, 2);
    const error = await lab.failure(
      leader.root.propose(new Uint8Array([65]), { timeoutMs: 1_000 }),
    );
    assert.equal(error.sent, false, error.message);
  }
});

for (const down of [false, true]) {
  test(`a node that was removed while it was ${down ? "down" : "up"} disturbs nobody`, async () => {
    const lab = new Lab();
    await lab.found("a", "b", "c");
    await lab.wait(lab.operator("a").transfer({ replica: 1n }).catch(() => {}));
    await lab.until(() => lab.node("a").isLeading);
    if (down) lab.machine("c").kill();
    await lab.pass(2_000);
    await lab.wait(lab.operator("a").remove({ replica: 3n }));
    await lab.pass(2_000);
    if (down) lab.start("c");
    const { term } = lab.node("a").root;
    await lab.put(lab.node("a"), 3);
    await lab.pass(30_000);
    await lab.put(lab.node("b"), 3);
    assert.equal(lab.node("a").root.term, term);
    assert.deepEqual(lab.node("a").root.members.all.map(({ replica }) => replica), [1, 2]);
    // It is told, so that its own status and log say so.
    const c = lab.node("c").root;
    assert.ok(!c.status().isVoter || c.stopped !== undefined, lab.describe());
  });
}

test("transfers under load lose nothing and repeat nothing", async () => {
  const lab = new Lab();
  const names = ["a", "b", "c"];
  await lab.found(...names);
  let running = true;
  const client = async (name: string): Promise<void> => {
    while (running) await lab.propose(lab.node(name), { timeoutMs: 5_000 });
  };
  const clients = [...names, ...names, ...names].map(client);
  for (let round = 0; round < 9; round++) {
    await lab.pass(200);
    const target = BigInt(1 + round % 3);
    const { leader } = await lab.wait(
      lab.operator(names[(round + 1) % 3]).transfer({
        replica: target,
      }),
    );
    assert.equal(leader, target);
  }
  running = false;
  await lab.wait(Promise.all(clients));
  await lab.converged();
  const { ok, refused, unknown } = lab.checkOperations();
  assert.ok(ok > 500, `${ok} ok`);
  assert.equal(refused, 0);
  assert.equal(unknown, 0);
});

test("of two changes at a time one is made and the other says so", async () => {
  const lab = new Lab({ latencyMs: [20, 20] });
  const leader = await lab.found("a", "b", "c");
  newcomer(lab, "d");
  newcomer(lab, "e");
  await lab.pass(1_000);
  const ends = await lab.wait(Promise.allSettled([
    lab.operator(leader.name).add({ address: addressOf("d"), learner: true }),
    lab.operator(leader.name).add({ address: addressOf("e"), learner: true }),
    lab.operator(leader.name).add({ address: addressOf("e"), learner: true }),
  ]));
  const good = ends.filter(({ status }) => status === "fulfilled");
  assert.ok(good.length >= 1);
  for (const end of ends) {
    if (end.status === "rejected") assert.equal(end.reason.code, Code.aborted, end.reason.message);
  }
  const replicas = leader.root.members.all.map(({ replica }) => replica);
  assert.equal(new Set(replicas).size, replicas.length);
  assert.equal(leader.root.members.all.length, 3 + good.length);
});

test("an addition that broke off half way is made good by the next one", async () => {
  // What is lost: the invitation, its answer, or the newcomer itself after it has begun.
  for (const crashAfterMs of [0, 5, 15, 30, 100]) {
    const lab = new Lab({ seed: 7 + crashAfterMs });
    await lab.found("a", "b", "c");
    newcomer(lab, "d");
    await lab.pass(1_000);
    const operator = lab.operator("b");
    const first = operator.add({ address: addressOf("d") }, { timeoutMs: 2_000 }).then(
      () => undefined,
      (error: unknown) => error,
    );
    await lab.pass(crashAfterMs);
    lab.machine("d").losePower();
    await lab.wait(first);
    lab.start("d");
    await lab.pass(3_000);
    await lab.wait(operator.add({ address: addressOf("d") }, { timeoutMs: 20_000 }));
    await lab.leader(["a", "b", "c", "d"]);
    const { members } = lab.node("d").root;
    assert.deepEqual(members.all.map(({ replica }) => replica), [1, 2, 3, 4], lab.describe());
    await lab.put(lab.node("d"), 2);
  }
});

test("a removed node is not taken back with its old directory, and leaves no trace", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 5);
  const gone = lab.followers()[0];
  const operator = lab.operator(leader.name);
  await lab.wait(operator.remove({ replica: BigInt(gone.root.replica) }));
  await lab.pass(2_000);
  const before = leader.root.members.all;
  const error = await lab.failure(operator.add({ address: addressOf(gone.name) }, {
    timeoutMs: 10_000,
  }));
  assert.equal(error.code, Code.failedPrecondition, error.message);
  assert.match(error.rawMessage, /was removed|empty data directory/);
  assert.deepEqual(leader.root.members.all, before);
  // With an empty one it is a new replica.
  lab.machine(gone.name).kill();
  lab.machine(gone.name).disk.tree.removeTree("/data");
  lab.setup(gone.name).nodeId = nodeIdOf("fresh");
  lab.start(gone.name);
  await lab.pass(1_000);
  const { peer } = await lab.wait(operator.add({ address: addressOf(gone.name) }));
  assert.equal(peer?.replica, 4n);
});

test("a node whose replica does not go on asks the others who takes part, or says what to do", async () => {
  for (const why of ["removed", "broken"] as const) {
    const lab = new Lab();
    const names = ["a", "b", "c"];
    const leader = await lab.found(...names);
    await lab.put(leader, 5);
    const [asked] = lab.followers();
    if (why === "removed") {
      const request = { replica: BigInt(asked.root.replica) };
      await lab.wait(lab.operator(leader.name).remove(request));
      await lab.until(() => asked.root.stopped !== undefined);
    } else {
      asked.machine.apply = () => {
        throw new Error("it is broken");
      };
      await lab.put(leader, 1);
      await lab.until(() => asked.root.stopped !== undefined);
    }
    const others = names.filter((name) => name !== asked.name);
    const operator = lab.operator(asked.name);
    const { peers, leader: leads, term } = await lab.wait(operator.peers({}));
    assert.deepEqual(peers.map(({ name }) => name), why === "removed" ? others : names);
    assert.equal(leads, BigInt(leader.root.replica));
    assert.equal(term, BigInt(leader.root.term));
    const refused = await lab.failure(operator.transfer({}));
    assert.equal(refused.code, Code.unavailable);
    for (const name of others) lab.machine(name).kill();
    await lab.pass(3_000);
    const startedMs = lab.simulation.nowMs;
    const error = await lab.failure(operator.peers({}));
    assert.equal(error.code, Code.unavailable);
    assert.match(
      error.rawMessage,
      why === "removed" ? /replica \d was removed .* empty data directory/ : /it is broken/,
    );
    assert.ok(lab.simulation.nowMs - startedMs < 1_500);
  }
});

test("a voter whose data is gone is not invited again under its old replica id", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 5);
  const [gone] = lab.followers();
  lab.machine(gone.name).kill();
  lab.machine(gone.name).disk.tree.removeTree("/data");
  lab.start(gone.name);
  await lab.pass(2_000);
  const { cluster } = lab.node(gone.name);
  assert.equal(cluster.root, undefined);
  assert.match(cluster.problem!, /data is gone/);
  const error = await lab.failure(
    lab.operator(leader.name).add({ address: addressOf(gone.name) }, { timeoutMs: 5_000 }),
  );
  assert.equal(error.code, Code.failedPrecondition, error.message);
  assert.match(error.rawMessage, /its data is gone/);
  assert.equal(lab.node(gone.name).cluster.root, undefined, lab.describe());
});

test("what cannot be added is refused with a reason, and changes nothing", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  await lab.found("z");
  lab.define("f", { join: [addressOf("f"), addressOf("g")] });
  lab.start("f");
  await lab.pass(1_000);
  const operator = lab.operator("b");
  const refused = async (
    request: { address: string; nodeId?: string; learner?: boolean },
    code: number,
    message: RegExp,
  ): Promise<void> => {
    const error = await lab.failure(operator.add(request, { timeoutMs: 4_000 }));
    assert.equal(error.code, code, error.message);
    assert.match(error.rawMessage, message);
  };
  await refused({ address: addressOf("z") }, Code.failedPrecondition, /belongs to cluster/);
  await refused(
    { address: addressOf("f"), nodeId: nodeIdOf("x") },
    Code.failedPrecondition,
    /node 66000000.* \(f\) answers at tcp:\/\/f:7946, not 78/,
  );
  await refused({ address: "tcp://nowhere:1" }, Code.unavailable, /nowhere/);
  await refused({ address: "tcp:/nowhere" }, Code.invalidArgument, /address/);
  await refused({ address: "" }, Code.invalidArgument, /address/);
  await refused(
    { address: addressOf("a"), learner: true },
    Code.alreadyExists,
    /is replica 1 already/,
  );
  assert.equal(leader.root.members.all.length, 3);
});

test("a replica id that no number holds is refused, not rounded to another one", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  const operator = lab.operator("b");
  for (const replica of [2n ** 53n, 2n ** 64n - 1n]) {
    for (const what of ["remove", "promote", "transfer"] as const) {
      const error = await lab.failure(operator[what]({ replica }));
      assert.equal(error.code, Code.invalidArgument, error.message);
      assert.match(error.rawMessage, new RegExp(`^replica ${replica} is above 2\\^53 - 1`));
    }
  }
  const error = await lab.failure(operator.remove({ replica: 2n ** 53n - 1n }));
  assert.match(error.rawMessage, /no replica 9007199254740991/);
});
