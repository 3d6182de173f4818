/** Snapshots: when they are taken, what they free, how they travel, and what may be wrong with them. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { Lab, type LabNode } from "./lab.ts";

before(armBan);
after(liftBan);

const small = { snapshotLogBytes: 64 << 10, catchUpBytes: 32 << 10, segmentBytes: 64 << 10 };

function snapshotsOf(lab: Lab, name: string): string[] {
  return lab.machine(name).disk.paths().filter((path) => path.endsWith(".snap"));
}

function partsOf(lab: Lab, name: string): string[] {
  return lab.machine(name).disk.paths().filter((path) => path.endsWith(".part"));
}

function segmentBytes(lab: Lab, name: string): number {
  const { segments } = lab.node(name).cluster.host!.log;
  return (segments.newest - segments.oldest + 1) * small.segmentBytes;
}

/** Virtual time for each piece of a snapshot, on a disk that is slow. */
const slowReadMs = 400;

test("snapshots are taken by bytes; the log shrinks on disk and in memory", async () => {
  const lab = new Lab({ raft: small });
  const leader = await lab.found("a", "b", "c");
  for (let round = 0; round < 40; round++) {
    await lab.put(leader, 16, 1 << 10);
    await lab.pass(200);
  }
  await lab.pass(2_000);
  for (const { name, root, cluster } of lab.alive) {
    const status = root.status();
    const kept = status.lastIndex - status.firstIndex;
    assert.ok(status.snapshotIndex > 400, `${name}: ${status.snapshotIndex}`);
    assert.ok(kept < 200, `${name} keeps ${kept} entries in memory`);
    // Two snapshots' worth of log, and what the segments are cut into.
    assert.ok(segmentBytes(lab, name) <= 6 * small.segmentBytes, `${segmentBytes(lab, name)}`);
    assert.ok(cluster.counters.snapshotsTaken >= 7 && cluster.counters.snapshotsTaken <= 14);
    assert.ok(snapshotsOf(lab, name).length <= 2);
    assert.deepEqual(partsOf(lab, name), []);
  }
});

test("a cluster that comes to rest takes no more snapshots, however much log there is", async () => {
  // Many small segments: old ones stay until the next snapshot but one.
  const lab = new Lab({ raft: { ...small, segmentBytes: 16 << 10, snapshotLogBytes: 256 << 10 } });
  const leader = await lab.found("a", "b", "c");
  for (let round = 0; round < 30; round++) {
    await lab.put(leader, 16, 1 << 10);
    await lab.pass(100);
  }
  await lab.pass(20_000);
  const taken = lab.alive.map(({ cluster }) => cluster.counters.snapshotsTaken);
  const written = lab.alive.map(({ cluster }) => cluster.host!.log.written.bytes);
  for (const count of taken) assert.ok(count <= 6, `${taken}`);
  await lab.pass(60_000);
  assert.deepEqual(lab.alive.map(({ cluster }) => cluster.counters.snapshotsTaken), taken);
  assert.deepEqual(lab.alive.map(({ cluster }) => cluster.host!.log.written.bytes), written);
});

test("under load no more snapshots are taken than the log asks for", async () => {
  const lab = new Lab({ raft: { ...small, segmentBytes: 16 << 10, snapshotLogBytes: 512 << 10 } });
  const leader = await lab.found("a", "b", "c");
  for (let round = 0; round < 100; round++) {
    await lab.put(leader, 16, 1 << 10);
    await lab.pass(300);
  }
  // 1.6 MiB of log are three snapshots; the old segments are asked for once in a while.
  for (const { cluster } of lab.alive) {
    assert.ok(cluster.counters.snapshotsTaken <= 7, `${cluster.counters.snapshotsTaken} taken`);
  }
});

test("a large state is not written again for a little log, after a restart neither", async () => {
  const lab = new Lab({ raft: small, machine: { padBytes: 1 << 20 } });
  const names = ["a", "b", "c"];
  await lab.found(...names);
  for (const when of ["before", "after"]) {
    const leader = await lab.leader(names);
    await lab.converged();
    if (when === "before") await lab.wait(leader.root.takeSnapshot());
    const { counters } = leader.cluster;
    const taken = counters.snapshotsTaken;
    // Six times what is due for a small state; half of this one is more.
    for (let round = 0; round < 24; round++) {
      await lab.put(leader, 16, 1 << 10);
      await lab.pass(50);
    }
    assert.equal(counters.snapshotsTaken, taken, when);
    await lab.wait(Promise.all(lab.alive.map(({ root }) => root.takeSnapshot())));
    for (const name of names) lab.machine(name).kill();
    await lab.pass(50);
    lab.start(...names);
  }
});

test("a node starts from its snapshot and the log behind it", async () => {
  const lab = new Lab({ raft: small });
  const names = ["a", "b", "c"];
  const leader = await lab.found(...names);
  for (let round = 0; round < 12; round++) {
    await lab.put(leader, 16, 1 << 10);
    await lab.pass(150);
  }
  for (const how of ["kill", "losePower"] as const) {
    const before = leader.machine.commands.length;
    for (const name of names) lab.machine(name)[how]();
    await lab.pass(50);
    lab.start(...names);
    await lab.leader(names);
    await lab.converged();
    for (const { machine } of lab.alive) {
      assert.equal(machine.commands.length, before);
      assert.equal(machine.restores, 1, "from a snapshot");
    }
  }
  lab.checkOperations();
});

test("the older snapshot stands in for a newest one that is damaged, anywhere in it", async () => {
  for (let nth = 0; nth < 8; nth++) {
    const lab = new Lab({ seed: nth + 1, raft: small, machine: { padBytes: 100_000 } });
    await lab.found("a");
    for (let round = 0; round < 12; round++) {
      await lab.put(lab.node("a"), 16, 1 << 10);
      await lab.pass(150);
    }
    const before = lab.node("a").machine.commands.length;
    const snapshots = snapshotsOf(lab, "a");
    assert.equal(snapshots.length, 2, snapshots.join());
    lab.machine("a").kill();
    lab.machine("a").disk.flipBit(snapshots[1]);
    lab.start("a");
    await lab.leader(["a"]);
    await lab.converged();
    assert.equal(lab.node("a").machine.commands.length, before);
    assert.equal(lab.logged("a", /a snapshot is damaged; the one before it is used/).length, 1);
    // Both damaged: refused, and said so.
    lab.machine("a").kill();
    for (const path of snapshotsOf(lab, "a")) lab.machine("a").disk.flipBit(path);
    lab.start("a");
    await lab.pass(500);
    assert.match(String(lab.node("a").failure), /data_loss/);
  }
});

/** A leader and one follower that runs, and one that lacks more than the log has. */
async function fallenBehind(
  lab: Lab,
): Promise<{ leader: LabNode; behind: string; running: string }> {
  const leader = await lab.found("a", "b", "c");
  const [behind, running] = lab.followers().map(({ name }) => name);
  lab.machine(behind).kill();
  for (let round = 0; round < 12; round++) {
    await lab.put(leader, 16, 1 << 10);
    await lab.pass(150);
  }
  return { leader, behind, running };
}

test("a snapshot goes to who lacks more than the log has, and the log after it", async () => {
  const lab = new Lab({ raft: small, machine: { padBytes: 300_000 } });
  const { leader, behind } = await fallenBehind(lab);
  lab.start(behind);
  await lab.converged();
  assert.equal(lab.node(behind).machine.restores, 2, "its own, and the leader's");
  // The replica has it a moment before the sender knows that.
  await lab.until(() => leader.cluster.counters.snapshotsSent > 0);
  await lab.put(leader, 10);
  await lab.converged();
  assert.equal(leader.cluster.counters.snapshotsSent, 1);
});

/** Bytes of snapshots that came over the network. */
function received(lab: Lab, name: string): number {
  return lab.node(name).cluster.counters.snapshotsReceivedBytes;
}

test("a transfer that is cut goes on where it was", async () => {
  const lab = new Lab({
    raft: small,
    machine: { padBytes: 3 << 20 },
    windowBytes: 64 << 10,
  });
  const { leader, behind } = await fallenBehind(lab);
  const slow = lab.simulation.slowLink(leader.name, behind, 1 << 20);
  lab.start(behind);
  const offsets: number[] = [];
  for (let cut = 0; cut < 5; cut++) {
    await lab.pass(1_000);
    const [part] = partsOf(lab, behind);
    if (part === undefined) continue;
    offsets.push(lab.machine(behind).disk.content(part)!.length);
    lab.simulation.resetConnections(leader.name, behind);
  }
  slow.heal();
  await lab.converged();
  assert.ok(offsets.length >= 2, `${offsets}`);
  for (let at = 1; at < offsets.length; at++) {
    assert.ok(offsets[at] > offsets[at - 1], `${offsets}`);
  }
  assert.deepEqual(partsOf(lab, behind), []);
  assert.ok(received(lab, behind) <= 4 << 20, `${received(lab, behind)} bytes`);
});

test("a receiver that is restarted in the middle goes on where it was", async () => {
  for (const how of ["kill", "losePower"] as const) {
    const lab = new Lab({
      raft: small,
      machine: { padBytes: 3 << 20 },
      windowBytes: 64 << 10,
      tornWriteChance: 0.5,
    });
    const { leader, behind } = await fallenBehind(lab);
    const slow = lab.simulation.slowLink(leader.name, behind, 1 << 20);
    lab.start(behind);
    await lab.pass(2_000);
    assert.equal(partsOf(lab, behind).length, 1);
    lab.machine(behind)[how]();
    await lab.pass(500);
    lab.start(behind);
    await lab.pass(1_000);
    slow.heal();
    await lab.converged();
    assert.deepEqual(partsOf(lab, behind), []);
    lab.checkOperations();
  }
});

test("a sender that dies in the middle is followed by another", async () => {
  const lab = new Lab({ raft: small, machine: { padBytes: 3 << 20 }, windowBytes: 64 << 10 });
  const { leader, behind, running } = await fallenBehind(lab);
  const slow = lab.simulation.slowLink([leader.name, running], behind, 1 << 20);
  lab.start(behind);
  await lab.pass(1_500);
  assert.equal(partsOf(lab, behind).length, 1);
  lab.machine(leader.name).losePower();
  await lab.pass(3_000);
  slow.heal();
  const next = await lab.leader([running, behind]);
  await lab.put(next, 3);
  await lab.converged([running, behind]);
  lab.start(leader.name);
  await lab.converged();
  assert.deepEqual(partsOf(lab, behind), []);
});

test("a leader that has handed over sends its snapshot no further", async () => {
  const lab = new Lab({ raft: small, machine: { padBytes: 3 << 20 }, windowBytes: 64 << 10 });
  const { leader, behind, running } = await fallenBehind(lab);
  lab.simulation.slowLink([leader.name, running], behind, 1 << 20);
  lab.start(behind);
  await lab.pass(1_000);
  assert.equal(partsOf(lab, behind).length, 1);
  leader.root.transfer(lab.node(running).root.replica);
  await lab.until(() => lab.node(running).isLeading);
  const sent = leader.cluster.counters.snapshotsSentBytes;
  assert.ok(sent < 2 << 20, `${sent} bytes`);
  await lab.converged(undefined, 60_000);
  // Its window moved on by what was confirmed before it knew.
  const more = leader.cluster.counters.snapshotsSentBytes - sent;
  assert.ok(more <= 128 << 10, `${more} bytes more`);
  assert.deepEqual(partsOf(lab, behind), []);
});

test("a receiver without room is not sent the same again and again", async () => {
  const lab = new Lab({ raft: small, machine: { padBytes: 2 << 20 } });
  const { leader, behind } = await fallenBehind(lab);
  lab.machine(behind).disk.quotaBytes = lab.machine(behind).disk.usedBytes() + (1 << 20);
  lab.start(behind);
  await lab.pass(30_000);
  const { snapshotsSendFailed } = leader.cluster.counters;
  assert.ok(snapshotsSendFailed > 1, "it is tried again");
  assert.ok(snapshotsSendFailed < 20, `${snapshotsSendFailed} times in half a minute`);
  assert.ok(lab.logged(leader.name, /did not arrive/).length < 20);
  assert.ok(leader.isLeading);
  lab.machine(behind).disk.quotaBytes = 1 << 30;
  await lab.converged(undefined, 30_000);
});

test("a snapshot of a newer machine stops that group there, and says so; the others go on", async () => {
  const lab = new Lab({ raft: small });
  const { leader, behind, running } = await fallenBehind(lab);
  for (const name of [leader.name, running]) {
    lab.machine(name).kill();
    lab.setup(name).machine = { version: 2 };
  }
  lab.start(leader.name, running);
  const next = await lab.leader([leader.name, running]);
  for (let round = 0; round < 12; round++) {
    await lab.put(next, 16, 1 << 10);
    await lab.pass(150);
  }
  lab.start(behind);
  await lab.until(() => lab.has(behind) && lab.node(behind).cluster.root?.stopped !== undefined);
  const { root, cluster } = lab.node(behind);
  assert.match(root.stopped!.message, /written by a newer version: update this/);
  assert.match(cluster.problem!, /newer version/);
  assert.equal(lab.logged(behind, /a group cannot go on/).length, 1);
  const error = await lab.failure(root.propose(new Uint8Array([65])));
  assert.equal(error.sent, false);
  await lab.failure(root.barrier());
  await lab.failure(root.takeSnapshot());
  await lab.put(next, 3);
  await lab.pass(10_000);
  assert.ok(next.isLeading);
  // Updated, it goes on.
  lab.machine(behind).kill();
  lab.setup(behind).machine = { version: 2 };
  lab.start(behind);
  await lab.converged();
});

test("an entry that this build cannot apply stops the group there and nowhere else", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  const old = lab.followers()[0];
  old.machine.isFatal = ({ id }) => id === "future";
  for (const { machine, name } of lab.alive) if (name !== old.name) machine.isFatal = () => false;
  await lab.wait(lab.propose(leader, { id: "future" }));
  await lab.put(leader, 3);
  await lab.pass(1_000);
  assert.match(old.root.stopped!.message, /entry \d+: the machine of this build cannot apply it/);
  assert.equal(old.machine.ids.includes("future"), true);
  const operation = await lab.wait(lab.propose(old, { timeoutMs: 500 }));
  assert.equal(operation.error?.sent, false);
  await lab.pass(5_000);
  await lab.put(leader, 3);
});

test("a snapshot begins between entries, never within a large one", async () => {
  const lab = new Lab({ raft: small });
  const leader = await lab.found("a", "b", "c");
  const operations: Promise<unknown>[] = [];
  for (let round = 0; round < 30; round++) {
    operations.push(lab.propose(leader, { id: `large:40:${round}`, bytes: 4 << 10 }));
    for (const { root } of lab.alive) operations.push(root.takeSnapshot().catch(() => {}));
    await lab.pass(3);
  }
  await lab.wait(Promise.all(operations));
  await lab.pass(1_000);
  await lab.converged();
  for (const { machine, root } of lab.alive) {
    assert.equal(machine.snapshotsOpen, 0);
    assert.equal(root.stopped, undefined);
  }
  lab.checkOperations();
});

test("a newer snapshot that comes while the one before is read takes its place", async () => {
  const lab = new Lab({
    raft: { ...small, catchUpBytes: 1 << 10 },
    machine: { padBytes: 400_000 },
  });
  const { leader, behind } = await fallenBehind(lab);
  // Reading a snapshot takes seconds there; meanwhile the leader's log moves on.
  lab.setup(behind).disk = (disk) =>
    new Proxy(disk, {
      get: (target, name) => {
        if (name !== "open") {
          const value: unknown = Reflect.get(target, name);
          return typeof value === "function" ? value.bind(target) : value;
        }
        return async (...parts: Parameters<typeof disk.open>) => {
          const file = await target.open(...parts);
          if (!parts[0].includes("snapshot-") || parts[1].write) return file;
          const read = file.read.bind(file);
          file.read = async (into, position) => {
            await lab.sleep(slowReadMs);
            return await read(into, position);
          };
          return file;
        };
      },
    });
  lab.start(behind);
  await lab.until(() => lab.has(behind) && lab.node(behind).cluster.root?.isRestoring === true);
  const { root } = lab.node(behind);
  const first = root.status().snapshotIndex;
  // Meanwhile it is cut off, and the log moves on without it.
  const cut = lab.simulation.partition(behind);
  for (let round = 0; round < 12; round++) {
    await lab.put(leader, 24, 1 << 10);
    await lab.pass(100);
  }
  cut.heal();
  await lab.until(() => root.status().snapshotIndex !== first);
  assert.ok(root.isRestoring, "the newer one came while the first was read");
  await lab.converged(undefined, 120_000);
  assert.equal(root.stopped, undefined);
  assert.ok(lab.node(behind).machine.restores >= 3);
  lab.checkOperations();
});

test("a snapshot of its own does not spoil the one that a replica is being sent", async () => {
  const lab = new Lab({ raft: small, machine: { padBytes: 2 << 20 }, windowBytes: 64 << 10 });
  const { leader, behind } = await fallenBehind(lab);
  const slow = lab.simulation.slowLink(leader.name, behind, 1 << 20);
  lab.start(behind);
  await lab.until(() => partsOf(lab, behind).length > 0);
  await lab.pass(500);
  await lab.wait(lab.node(behind).root.takeSnapshot());
  await lab.pass(1_000);
  slow.heal();
  await lab.converged();
  assert.equal(leader.cluster.counters.snapshotsSendFailed, 0);
});

test("snapshots by request of an operator: two at once are one, and each says what it is", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 10);
  const operator = lab.operator(lab.followers()[0].name);
  const [one, two] = await lab.wait(Promise.all([operator.snapshot({}), operator.snapshot({})]));
  assert.deepEqual(one, two);
  assert.equal(Number(one.index), lab.followers()[0].root.applied);
  assert.ok(one.bytes > 0n);
  await lab.wait(operator.snapshot({}));
  await lab.put(leader, 1);
  await lab.converged();
  const later = await lab.wait(operator.snapshot({}));
  assert.ok(later.index > one.index);
});

test("without room for a snapshot nothing else stops, and it is tried again", async () => {
  const lab = new Lab({ raft: small, machine: { padBytes: 1 << 20 } });
  const leader = await lab.found("a", "b", "c");
  const [poor] = lab.followers();
  const { disk } = lab.machine(poor.name);
  disk.quotaBytes = disk.usedBytes() + (512 << 10);
  for (let round = 0; round < 8; round++) {
    await lab.put(leader, 16, 1 << 10);
    await lab.pass(200);
  }
  assert.ok(lab.logged(poor.name, /no snapshot could be taken/).length >= 1);
  assert.deepEqual(partsOf(lab, poor.name), []);
  assert.equal(poor.machine.snapshotsOpen, 0);
  disk.quotaBytes = 1 << 30;
  await lab.pass(15_000);
  assert.ok(poor.cluster.counters.snapshotsTaken > 0);
  await lab.converged();
});

test("case 19: a crash between a snapshot's file and its mark in the log, twice, loses nothing", async () => {
  for (const times of [1, 2, 3]) {
    const lab = new Lab({ seed: times, raft: small });
    const { leader, behind } = await fallenBehind(lab);
    let crashes = 0;
    let isDue = false;
    lab.setup(behind).disk = (disk) =>
      new Proxy(disk, {
        get: (target, name) => {
          const value: unknown = Reflect.get(target, name);
          if (typeof value !== "function") return value;
          if (name === "rename") {
            return async (from: string, to: string) => {
              await target.rename(from, to);
              if (to.endsWith(".snap") && crashes < times) isDue = true;
            };
          }
          if (name !== "open") return value.bind(target);
          return async (...parts: Parameters<typeof disk.open>) => {
            const file = await target.open(...parts);
            if (!parts[0].includes("/wal-") && !parts[0].includes("/spare-")) return file;
            const write = file.write.bind(file);
            file.write = async (bytes, position) => {
              if (!isDue) return await write(bytes, position);
              // The first thing that the log writes after the file is there is the mark.
              isDue = false;
              crashes++;
              lab.simulation.at(lab.simulation.nowMs, () => lab.machine(behind).losePower());
              await new Promise<never>(() => {});
            };
            return file;
          };
        },
      });
    for (let nth = 1; nth <= times; nth++) {
      lab.start(behind);
      await lab.until(() => crashes === nth);
      await lab.pass(10);
      // The leader's next snapshot is another one.
      for (let round = 0; round < 12; round++) {
        await lab.put(leader, 16, 1 << 10);
        await lab.pass(150);
      }
    }
    lab.start(behind);
    await lab.until(() => {
      const node = lab.has(behind) ? lab.node(behind) : undefined;
      return node?.cluster.root !== undefined || node?.failure !== undefined;
    });
    assert.equal(lab.node(behind).failure, undefined);
    await lab.converged();
    await lab.pass(3_000);
    assert.ok(snapshotsOf(lab, behind).length <= 3, snapshotsOf(lab, behind).join());
  }
});
