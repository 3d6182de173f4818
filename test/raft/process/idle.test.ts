/** A cluster at rest writes nothing: flash wears. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { ClusterNode } from "../../support/cluster.ts";
import { type Lab, withLab } from "./lab.ts";
import { report } from "./report.ts";
import { verify } from "./verify.ts";
import { watchFor } from "./waiting.ts";

const restMs = 4_000;
/** It has to be renewed while everything rests. */
const leaseMs = 2_000;

/** Counters of another process's writes are Linux's, and only for whoever may trace it. */
function noProc(): string | false {
  try {
    readFileSync("/proc/self/io");
    return false;
  } catch {
    return "/proc/self/io cannot be read here";
  }
}

interface Written {
  /** What the kernel was given to write to a disk. */
  readonly bytes: string | undefined;
  /** Batches of the log, each of which may be synced. */
  readonly batches: bigint | undefined;
}

async function written(lab: Lab, node: ClusterNode): Promise<Written> {
  const io = readFileSync(`/proc/${node.pid}/io`, "utf8");
  const { log } = await lab.status(node);
  return { bytes: /^write_bytes: (\d+)$/m.exec(io)?.[1], batches: log?.batches };
}

test(
  "processes: at rest nothing is written and nothing synced, leases and watches included",
  { skip: noProc() },
  () =>
    withLab({}, async (lab) => {
      await lab.start();
      const load = lab.load({ clients: lab.clients(4, { sessions: true }), seed: 6 });
      await load.acknowledged(100);
      await load.stop();
      await verify(lab);
      // Clients that are there and want nothing: a session, a watch, a lease that is renewed.
      const kv = lab.client();
      const lease = await kv.lease({ ttlMs: leaseMs });
      await kv.put("leased", "x", { lease: lease.id });
      await using watch = kv.watch({ prefix: "" });
      await watch.ready;
      await lab.converged();
      const look = () => Promise.all(lab.nodes.map((node) => written(lab, node)));
      const before = await look();
      assert.ok(before.every(({ bytes, batches }) => Number(bytes) > 0 && Number(batches) > 0));
      const { term } = await lab.group(lab.nodes[0]);
      let looks = 0;
      await watchFor(restMs, async () => {
        assert.deepEqual(await look(), before);
        looks++;
      });
      assert.equal((await lab.group(lab.nodes[0])).term, term);
      report(`at rest for ${restMs} ms: 0 bytes written, 0 batches, looked at ${looks} times`);
      const { remainingMs } = await kv.leaseStatus(lease.id);
      assert.ok(remainingMs !== undefined, "the lease was renewed");
      // The counters do count.
      await kv.put("one more", "byte");
      assert.notDeepEqual(await look(), before);
    }),
);
