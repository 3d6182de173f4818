/** A snapshot that do not fit onto a follower's disk must not fill it up first. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { armBan, liftBan } from "../../simulation/ban.ts";
import { Lab } from "./lab.ts";

before(armBan);
after(liftBan);

test("a snapshot without room is refused before it takes what there is", async () => {
  const lab = new Lab({
    raft: { snapshotLogBytes: 64 << 10, catchUpBytes: 32 << 10, segmentBytes: 64 << 10 },
    machine: { padBytes: 2 << 20 },
  });
  const leader = await lab.found("a", "b", "c");
  const [{ name }] = lab.followers();
  lab.machine(name).kill();
  await lab.put(leader, 400, 1 << 10);
  await lab.pass(2_000);
  const { disk } = lab.machine(name);
  const room = 1 << 20;
  disk.quotaBytes = disk.usedBytes() + room;
  lab.start(name);
  await lab.pass(15_000);
  const { host, counters } = lab.node(name).cluster;
  assert.ok(leader.cluster.counters.snapshotsSendFailed > 1);
  assert.equal(counters.snapshotsReceivedBytes, 0);
  assert.ok(disk.quotaBytes - disk.usedBytes() > room / 2, "what others need is still free");
  assert.equal(host!.lowSpace, false);
  assert.ok(lab.logged(leader.name, /do not fit/).length > 0);
  disk.quotaBytes = 1 << 30;
  await lab.converged(undefined, 60_000);
});
