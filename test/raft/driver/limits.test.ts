/** Numbers that docs/raft.md promises, in virtual time. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { addressOf, Lab } from "./lab.ts";

before(armBan);
after(liftBan);

test("of a snapshot half a MiB is under way, not all of it", async () => {
  const lab = new Lab({
    raft: { snapshotLogBytes: 1 << 30 },
    machine: { padBytes: 6 << 20 },
    windowBytes: 64 << 10,
  });
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 3);
  await lab.wait(leader.root.takeSnapshot());
  lab.define("d", { join: [addressOf("a")] });
  lab.start("d");
  await lab.pass(500);
  lab.simulation.slowLink(leader.name, "d", 512 << 10);
  let joined = false;
  const addition = lab.operator(leader.name)
    .add({ address: addressOf("d"), learner: true }, { timeoutMs: 60_000 })
    .then(() => joined = true);
  const { counters } = leader.cluster;
  const got = lab.node("d").cluster.counters;
  let most = 0;
  while (got.snapshotsReceived === 0) {
    await lab.pass(20);
    most = Math.max(most, counters.snapshotsSentBytes - got.snapshotsReceivedBytes);
    assert.ok(lab.simulation.nowMs < 60_000, lab.describe());
  }
  await lab.wait(addition);
  assert.ok(joined && got.snapshotsReceivedBytes > 6 << 20);
  // What is read for it comes in pieces of 64 KiB.
  assert.ok(most <= (512 + 64) << 10, `${most} bytes`);
  assert.ok(most >= 384 << 10, `${most} bytes: a fast way would stand idle`);
});

test("a proposal waits 2 ms for a disk that is busy, not for its end", async () => {
  const lab = new Lab();
  const leader = await lab.found("a", "b", "c");
  await lab.put(leader, 3);
  await lab.pass(1_000);
  lab.machine(leader.name).disk.slowSync([100, 100]);
  const { log } = leader.cluster.counters;
  for (let round = 0; round < 10; round++) {
    const first = lab.propose(leader);
    await lab.wait(first);
    await lab.pass(5);
    assert.ok(leader.cluster.host!.log.isWriting, "the disk is at the entry before");
    const startedMs = lab.simulation.nowMs;
    const sent = log.framesSent;
    // Those that come in the meantime go along in one frame for each follower.
    const burst = Array.from({ length: 8 }, () => lab.propose(leader));
    const all = Promise.all(burst);
    await lab.until(() => log.framesSent > sent);
    const waitedMs = lab.simulation.nowMs - startedMs;
    assert.ok(waitedMs <= 2.1, `sent after ${waitedMs} ms`);
    assert.ok(waitedMs >= 1.9, `sent after ${waitedMs} ms, nothing could go along`);
    await lab.wait(all);
    // The followers have it long before the leader's own disk.
    assert.ok(lab.simulation.nowMs - startedMs < 20, `${lab.simulation.nowMs - startedMs} ms`);
    await lab.until(() => !leader.cluster.host!.log.isWriting);
  }
});
