/** Disks that fill up: writes are refused before the log breaks, and reads go on. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code } from "../../../src/base/error.ts";
import type { ClusterNode } from "../../support/cluster.ts";
import { type Lab, withLab } from "./lab.ts";
import { Recorder } from "./recorder.ts";
import { report } from "./report.ts";
import { SmallDisks, smallDisksMissing } from "./small_disks.ts";
import { verify } from "./verify.ts";
import { until, watchFor } from "./waiting.ts";

const skip = smallDisksMissing() ?? false;
const mebi = 1 << 20;
const diskBytes = 48 * mebi;
const lowWaterBytes = 8 * mebi;
/** Left on a disk that is to be found nearly full. */
const leftBytes = mebi;
/** Less than the log's next file needs. */
const nothingBytes = mebi / 2;
const config = {
  raft: {
    segment_bytes: "512KiB",
    snapshot_log_bytes: "2MiB",
    catch_up_bytes: "256KiB",
    low_water_bytes: `${lowWaterBytes}B`,
  },
};
const writesAround = 150;
/** Of each value. */
const paddingBytes = 2_000;
/** A node at rest looks at its disk now and then only. */
const noticedMs = 30_000;
const goesOnMs = 2_000;

async function withDisks(body: (lab: Lab, disks: SmallDisks) => Promise<void>): Promise<void> {
  const disks = await SmallDisks.mount(3, diskBytes);
  try {
    await withLab({
      config,
      wrap: (command) => disks.wrap(command),
      dataFolder: (index) => disks.dataFolder(index),
    }, (lab) => body(lab, disks));
  } finally {
    disks.unmount();
  }
}

async function isLow(lab: Lab, node: ClusterNode): Promise<boolean> {
  return (await lab.status(node)).log!.lowSpace;
}

/** A client of one node alone, whose calls are judged with all others. */
function at(lab: Lab, node: ClusterNode, name: string): Recorder {
  const client = lab.client({ nodes: [node], sessions: false, timeoutMs: 5_000 });
  return new Recorder(`${name} ${node.name}`, client, lab.history);
}

test(
  "processes: a leader whose disk is nearly full hands over and goes on serving",
  { skip },
  () =>
    withDisks(async (lab, disks) => {
      await lab.start();
      const load = lab.load({ clients: lab.clients(6), seed: 16, padding: paddingBytes });
      await load.acknowledged(writesAround);
      const full = await lab.leader();
      const sinceMs = performance.now();
      disks.fill(full.index, leftBytes);
      await until("another one leads", noticedMs, async () => await lab.leader() !== full);
      const handedMs = Math.round(performance.now() - sinceMs);
      const gapMs = load.longestGapMs(sinceMs);
      await until("it says that there is little room", noticedMs, () => isLow(lab, full));
      const here = at(lab, full, "at");
      assert.equal((await here.get("t0/0")).kind, "answered");
      const written = await here.put("through the full one", "x");
      assert.equal(written.kind, "answered", JSON.stringify(written));
      // The others have room, and go on beyond what this one can keep.
      while (full.isRunning && disks.freeBytes(full.index) > nothingBytes) {
        await load.acknowledged(10);
      }
      await load.acknowledged(writesAround);
      const ended = !full.isRunning;
      disks.free(full.index);
      if (ended) {
        assert.match(full.process!.output, /"code":"resource_exhausted".*no room for the log/);
        await full.start();
      }
      await until("there is room again", noticedMs, async () => !(await isLow(lab, full)));
      await lab.caughtUp(full);
      const { replica } = await lab.group(full);
      await lab.raft(await lab.leader()).transfer({ replica }, { timeoutMs: 10_000 });
      await load.acknowledged(writesAround);
      await load.stop();
      await verify(lab);
      report(
        `the leader's disk nearly full: handed over after ${handedMs} ms, longest gap ${gapMs} ms; ` +
          `${ended ? "it ended when nothing was left" : "it stayed"}; ${load.describe()}`,
      );
    }),
);

test("processes: with all disks full writes are refused, reads go on, nothing is lost", {
  skip,
}, () =>
  withDisks(async (lab, disks) => {
    await lab.start();
    const load = lab.load({ clients: lab.clients(6), seed: 17, padding: paddingBytes });
    await load.acknowledged(writesAround);
    // To the last byte, while clients write.
    for (const { index } of lab.nodes) disks.fill(index, 0);
    for (const node of lab.nodes) {
      await until("it says that there is little room", noticedMs, () => isLow(lab, node));
    }
    await load.stop();
    for (const node of lab.nodes) {
      const here = at(lab, node, "full");
      const refused = await here.put("into a full disk", `${node.index}`);
      assert.equal(refused.kind, "refused", JSON.stringify(refused));
      if (refused.kind === "refused") {
        assert.equal(refused.error.code, Code.resourceExhausted, refused.error.message);
      }
      assert.equal((await here.get("t0/0")).kind, "answered");
    }
    await watchFor(goesOnMs, () => {
      for (const node of lab.nodes) assert.ok(node.isRunning, node.process!.output);
    });
    // Also whoever starts on a full disk.
    await lab.nodes[0].restart("kill");
    await lab.leader();
    for (const { index } of lab.nodes) disks.free(index);
    const freedMs = performance.now();
    const again = lab.load({
      clients: lab.clients(6),
      seed: 18,
      name: "again ",
      padding: paddingBytes,
    });
    const recoveredMs = await again.recovered(freedMs);
    await again.acknowledged(writesAround);
    await again.stop();
    await verify(lab);
    report(
      `all disks full: writes again ${recoveredMs} ms after there was room; ${load.describe()}`,
    );
  }));
