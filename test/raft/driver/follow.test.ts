/** The commit stream for observers: from any entry of any replica on, through losses and compaction. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { Code, CoveyError } from "../../../src/base/error.ts";
import { type FollowResponse, Transport } from "../../../src/gen/covey/raft/v1/transport_pb.ts";
import { Observer } from "../../../src/raft/observer.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, caught, Lab, nodeIdOf } from "./lab.ts";
import { TestMachine, type TestResult } from "./test_machine.ts";

before(armBan);
after(liftBan);

const small = { snapshotLogBytes: 32 << 10, catchUpBytes: 8 << 10, segmentBytes: 32 << 10 };

interface Following {
  readonly observer: Observer<TestResult>;
  readonly machine: TestMachine;
  readonly applied: number[];
  readonly restored: number[];
  readonly lost: CoveyError[];
  readonly ended: Promise<unknown>;
}

/** An observer on a machine that is no node. */
function follow(lab: Lab, names: readonly string[], machine = new TestMachine()): Following {
  const applied: number[] = [];
  const restored: number[] = [];
  const lost: CoveyError[] = [];
  const observer = new Observer({
    clock: lab.outsideRuntime.clock,
    group: 0,
    machine,
    channels: names.map((name) => lab.channel(name)),
    applied: ({ index }) => applied.push(index),
    restored: (index) => restored.push(index),
    lost: (error) => lost.push(error),
  });
  const ended = observer.run().then(() => undefined, (error: unknown) => error);
  return { observer, machine, applied, restored, lost, ended };
}

async function caughtUp(lab: Lab, { machine }: Following, withinMs = 20_000): Promise<void> {
  const of = lab.alive[0];
  await lab.until(() => machine.ids.length === of.machine.ids.length, withinMs);
  assert.deepEqual(machine.commands, of.machine.commands);
}

test("an observer of any replica gets every entry once, in order", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 20);
  for (const name of ["a", "b", "c"]) {
    const following = follow(lab, [name]);
    await caughtUp(lab, following);
    for (let round = 0; round < 5; round++) {
      await lab.put(leader, 7);
      await caughtUp(lab, following);
    }
    for (let at = 1; at < following.applied.length; at++) {
      assert.equal(following.applied[at], following.applied[at - 1] + 1);
    }
    assert.deepEqual(following.lost, []);
    following.observer.stop();
    assert.equal(await lab.wait(following.ended), undefined);
  }
  await lab.pass(2_000);
  // The streams are gone, on both sides.
  for (const { server } of lab.alive) assert.ok(server.counters.callsOpen <= 4);
});

test("observers do not cost the leader anything, and are no members", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const [followed] = lab.followers();
  const observers = Array.from({ length: 50 }, () => follow(lab, [followed.name]));
  await lab.put(leader, 20);
  for (const following of observers) await caughtUp(lab, following);
  const before = leader.cluster.counters.control.framesSent;
  await lab.pass(10_000);
  assert.ok(leader.cluster.counters.control.framesSent - before <= 215);
  assert.equal(leader.root.members.all.length, 3);
  for (const { observer } of observers) observer.stop();
});

test("an observer that comes late gets a snapshot, and the entries behind it", async () => {
  const lab = new Lab({ raft: small, machine: { padBytes: 200_000 } });
  const leader = await lab.found("a", "b", "c");
  for (let round = 0; round < 10; round++) {
    await lab.put(leader, 16, 1 << 10);
    await lab.pass(200);
  }
  const following = follow(lab, [lab.followers()[0].name]);
  await caughtUp(lab, following);
  assert.equal(following.restored.length, 1);
  assert.ok(following.applied.length < 100);
  await lab.put(leader, 5);
  await caughtUp(lab, following);
  assert.equal(following.restored.length, 1);
  following.observer.stop();
});

test("an observer goes on where it was after the loss of its node, at another one too", async () => {
  const lab = new Lab();
  await lab.found("a", "b", "c");
  const following = follow(lab, ["a", "b", "c"]);
  let running = true;
  const writer = (async () => {
    while (running) {
      // One that has just been started may still be reading its disk.
      const node = lab.alive.find(({ cluster }) => cluster.root !== undefined);
      if (node !== undefined) await lab.propose(node, { timeoutMs: 5_000 });
      await lab.sleep(20);
    }
  })();
  for (let round = 0; round < 6; round++) {
    await lab.pass(1_500);
    const name = ["a", "b", "c"][round % 3];
    if (round % 2 === 0) lab.machine(name).kill();
    else lab.machine(name).losePower();
    await lab.pass(2_500);
    lab.start(name);
    await lab.leader();
  }
  running = false;
  await lab.wait(writer);
  await lab.converged();
  await caughtUp(lab, following);
  for (let at = 1; at < following.applied.length; at++) {
    assert.equal(following.applied[at], following.applied[at - 1] + 1);
  }
  assert.ok(following.lost.length >= 2);
  following.observer.stop();
});

test("a new observer goes on with the machine of an earlier one", async () => {
  const lab = new Lab();
  const leader = await lab.found("a");
  await lab.put(leader, 10);
  const first = follow(lab, ["a"]);
  await caughtUp(lab, first);
  first.observer.stop();
  await lab.wait(first.ended);
  await lab.put(leader, 10);
  const second = follow(lab, ["a"], first.machine);
  await caughtUp(lab, second);
  assert.equal(second.applied.length, 10);
  second.observer.stop();
});

test("an observer that does not read holds little of its node's memory, and delays nobody", async () => {
  const lab = new Lab({ windowBytes: 64 << 10 });
  const leader = await lab.found("a", "b", "c");
  const stream = lab.transport(leader.name).follow({ fromIndex: 2n });
  const iterator = stream[Symbol.asyncIterator]();
  await lab.wait(iterator.next());
  const read = leader.root.committedFrom.bind(leader.root);
  let reached = 0;
  leader.root.committedFrom = (from, bytesMax) => {
    reached = Math.max(reached, from);
    return read(from, bytesMax);
  };
  for (let round = 0; round < 15; round++) {
    const startedMs = lab.simulation.nowMs;
    await lab.put(leader, 16, 64 << 10);
    assert.ok(lab.simulation.nowMs - startedMs < 200);
  }
  await lab.pass(5_000);
  assert.ok(reached > 5 && reached < 50, `${reached} entries of 64 KiB were read for nobody`);
  await iterator.return?.();
});

test("requests that make no sense are refused with a type", async () => {
  const lab = new Lab();
  await lab.found("a");
  const first = async (request: object): Promise<unknown> => {
    for await (const answer of lab.transport("a").follow(request)) return answer;
    return undefined;
  };
  const wrong = await lab.failure(first({ clusterId: "0".repeat(32), fromIndex: 1n }));
  assert.equal(wrong.code, Code.failedPrecondition);
  const unknown = await lab.failure(first({ group: 7, fromIndex: 1n }));
  assert.equal(unknown.code, Code.notFound);
  const huge = await lab.failure(first({ fromIndex: 2n ** 63n }));
  assert.equal(huge.code, Code.invalidArgument);
  const answer = await lab.wait(first({ fromIndex: 0n })) as FollowResponse;
  assert.ok(answer.snapshot !== undefined, "from the very beginning");
  assert.deepEqual(lab.handlerErrors, []);
});

test("an observer does not follow another cluster that took its node's place", async () => {
  const lab = new Lab();
  await lab.found("a");
  await lab.put(lab.node("a"), 10);
  const following = follow(lab, ["a"]);
  await caughtUp(lab, following);
  const { ids } = following.machine;
  lab.machine("a").kill();
  lab.machine("a").disk.tree.removeTree("/data");
  lab.define("a", { nodeId: nodeIdOf("new"), machine: { told: () => {} } });
  lab.forgetHistory();
  lab.start("a");
  await lab.leader(["a"]);
  await lab.put(lab.node("a"), 30);
  await lab.pass(5_000);
  assert.deepEqual(following.machine.ids, ids, "nothing of it");
  assert.match(following.lost.at(-1)!.rawMessage, /belongs to cluster/);
  following.observer.stop();
});

test("while its node is restored an observer gets nothing old", async () => {
  const lab = new Lab({ raft: small, machine: { padBytes: 300_000 } });
  const leader = await lab.found("a", "b", "c");
  const [behind] = lab.followers();
  const following = follow(lab, [behind.name]);
  await lab.put(leader, 5);
  await caughtUp(lab, following);
  const cut = lab.simulation.partition(
    [behind.name],
    ["a", "b", "c"].filter((name) => name !== behind.name),
  );
  for (let round = 0; round < 30; round++) {
    await lab.put(leader, 16, 1 << 10);
    await lab.pass(300);
  }
  const seen: number[] = [];
  let restoring = 0;
  behind.root.observe({ restoring: () => restoring++ });
  cut.heal();
  await lab.until(() => {
    seen.push(following.observer.appliedIndex);
    return following.machine.ids.length === leader.machine.ids.length;
  }, 30_000);
  for (let at = 1; at < seen.length; at++) assert.ok(seen[at] >= seen[at - 1], "never back");
  assert.equal(restoring, 1);
  assert.ok(following.restored.length <= 2, `${following.restored}`);
  following.observer.stop();
});

test("a damaged newest snapshot does not send observers in circles", async () => {
  const lab = new Lab({ raft: small });
  const leader = await lab.found("a", "b", "c");
  for (let round = 0; round < 10; round++) {
    await lab.put(leader, 16, 1 << 10);
    await lab.pass(200);
  }
  const snapshots = lab.machine("a").disk.paths().filter((path) => path.endsWith(".snap"));
  lab.machine("a").disk.flipBit(snapshots[snapshots.length - 1]);
  const events = lab.simulation.events;
  const following = follow(lab, ["a"]);
  await lab.pass(5_000);
  assert.ok(lab.simulation.events - events < 5_000, `${lab.simulation.events - events} events`);
  // It says so, or serves from the older one if the log reaches that far back.
  assert.ok(following.lost.length > 0 || following.machine.ids.length > 0);
  following.observer.stop();
  const elsewhere = follow(lab, ["a", "b"]);
  await lab.until(() => elsewhere.machine.ids.length === leader.machine.ids.length, 20_000);
  elsewhere.observer.stop();
});

test("an entry that this build cannot apply ends the observer with a type", async () => {
  const lab = new Lab();
  const leader = await lab.found("a");
  await lab.put(leader, 3);
  const machine = new TestMachine();
  machine.isFatal = ({ id }) => id === "future";
  const following = follow(lab, ["a"], machine);
  await lab.wait(lab.propose(leader, { id: "future" }));
  const error = await lab.wait(following.ended);
  assert.ok(error instanceof CoveyError);
  assert.equal(error.code, Code.failedPrecondition);
  assert.match(error.rawMessage, /entry \d+: the machine of this build cannot apply it/);
  const newer = follow(lab, [addressOf("a").slice(6, 7)], new TestMachine({ version: 0 }));
  await lab.put(leader, 3);
  newer.observer.stop();
  await lab.wait(newer.ended);
});

test("an observer whose program throws ends with that, and nothing else does", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 2);
  for (const id of ["bad", "large:3:bad"]) {
    const told: number[] = [];
    const observer = new Observer({
      clock: lab.outsideRuntime.clock,
      group: 0,
      machine: new TestMachine(),
      channels: [lab.channel("a")],
      applied: ({ index }, result) => {
        if (result.id === id) throw new RangeError("not mine");
        told.push(index);
      },
    });
    const ended = caught(observer.run());
    await lab.wait(lab.propose(leader, { id }));
    await lab.put(leader, 2);
    const error = await lab.wait(ended);
    assert.equal(error.code, Code.internal);
    assert.match(error.message, /not mine/);
    assert.ok(told.length > 0 && Math.max(...told) < lab.indexOf(id)!, `${told}`);
  }
});

test("an observer that has channels of its own leaves none of them open", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  for (const how of ["stopped", "never run", "failed"] as const) {
    const channels = ["a", "b"].map((name) => lab.channel(name));
    const observer = new Observer<TestResult>({
      clock: lab.outsideRuntime.clock,
      group: 0,
      machine: new TestMachine(),
      channels,
      ownsChannels: true,
      applied: (_entry, { id }) => assert.notEqual(id, "bad"),
    });
    const ended = how === "never run" ? undefined : observer.run().catch(() => how);
    await lab.put(leader, 1);
    if (how === "failed") await lab.wait(lab.propose(leader, { id: "bad" }));
    else observer.stop();
    if (ended !== undefined) {
      assert.equal(await lab.wait(ended), how === "failed" ? how : undefined);
    }
    for (const channel of channels) {
      await lab.failure(createClient(Transport, channel).identify({}, { timeoutMs: 1_000 }));
    }
  }
});
