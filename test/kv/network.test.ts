/** The services and the client over ttrpc, on the sockets and the clock of the engine. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { encodeText } from "../../src/base/bytes.ts";
import { KeyValueService } from "../../src/gen/api/v1/raft_go_pb.ts";
import { KV } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { CompactedError, leaderOf, refusalOf } from "../../src/kv/client_error.ts";
import type { Runtime } from "../../src/runtime/port.ts";
import { within } from "../ttrpc/support/within.ts";
import { FakeCluster } from "./support.ts";

function loadRuntime(): Promise<Runtime> {
  return "Bun" in globalThis
    ? import("../../src/runtime/bun.ts").then((one) => one.createBunRuntime())
    : import("../../src/runtime/deno.ts").then((one) => one.createDenoRuntime());
}

function networkTest(
  name: string,
  nodes: number,
  body: (cluster: FakeCluster) => Promise<void>,
): void {
  test(name, async () => {
    const { clock, net } = await loadRuntime();
    const address = () => ({ kind: "tcp", host: "127.0.0.1", port: 0 }) as const;
    const cluster = new FakeCluster({ nodes, clock, net, address });
    for (const node of cluster.nodes) await node.serve();
    try {
      await within(body(cluster), () => name, 60_000);
    } finally {
      await cluster.close();
    }
  });
}

networkTest("everything once, over the network", 1, async (cluster) => {
  await using kv = cluster.client({ network: true });
  assert.equal((await kv.put("a", "1")).revision, 2);
  assert.equal((await kv.get("a"))?.text, "1");
  const watch = kv.watch({ prefix: "a" }, { previous: true });
  await watch.ready;
  const done = await kv.transaction().if({ keys: "a", version: 1 })
    .do({ put: "a", value: "2" }, { range: "a" }).commit();
  assert.ok(done.succeeded);
  const { value: event } = await watch.next();
  assert.ok(event.type === "put" && event.previous?.text === "1");
  await watch[Symbol.asyncDispose]();
  {
    await using lease = await kv.lease({ ttlMs: 5_000 });
    await kv.put("leased", "x", { lease: lease.id });
    assert.equal(await kv.renewLease(lease.id), 5_000);
    assert.equal((await kv.leaseStatus(lease.id, { keys: true })).keys.length, 1);
  }
  assert.equal(await kv.get("leased"), undefined);
  {
    await using lock = await kv.lock("l");
    assert.ok((await kv.transact({ compare: [lock.held] })).succeeded);
  }
  const leadership = await kv.election("e").campaign("me");
  assert.equal((await kv.election("e").leader())?.text, "me");
  await leadership.resign();
  const { deleted } = await kv.delete({ prefix: "" });
  assert.ok(deleted > 0);
  const { revision } = await kv.range("a");
  await kv.compact(revision);
  await assert.rejects(kv.get("a", { revision: 2 }), (error) => error instanceof CompactedError);
  const status = await kv.status();
  assert.deepEqual([status.compactRevision, status.errors], [revision, []]);
  const { hash } = await kv.hash();
  assert.match(hash, /^[0-9a-f]{16}$/);
  let bytes = 0;
  const snapshot = kv.snapshot();
  for (;;) {
    const { done: isEnd, value } = await snapshot.next();
    if (isEnd) {
      assert.equal(value.bytes, bytes);
      break;
    }
    bytes += value.length;
  }
});

networkTest("errors keep their code, reason and details on the wire", 1, async (cluster) => {
  await using kv = cluster.client({ network: true });
  const lease = await kv.put("a", "1", { lease: 99 }).catch((error) => error);
  assert.ok(lease instanceof CoveyError);
  assert.equal(lease.code, Code.notFound);
  assert.equal(refusalOf(lease), "lease_not_found");
  const future = await kv.get("a", { revision: 99 }).catch((error) => error);
  assert.equal(refusalOf(future), "future_revision");
  cluster.faults.refused = 1_000;
  const refused = await kv.put("a", "1", { timeoutMs: 1_000 }).catch((error) => error);
  assert.equal(leaderOf(refused)?.name, "node-1");
  cluster.faults.refused = 0;
});

networkTest("raft-go's clients go on as they are", 1, async (cluster) => {
  const client = cluster.nodes[0].remote(KeyValueService);
  const unset = await client.get({}).catch((error) => error);
  assert.equal(unset.code, Code.notFound);
  const { ok, message } = await client.set({ value: 4_000_000_000 });
  assert.deepEqual([ok, message], [true, "committed at revision 2"]);
  assert.equal((await client.get({})).value, 4_000_000_000);
  await using kv = cluster.client({ network: true });
  assert.equal((await kv.get("sample-value"))?.text, "4000000000");
});

networkTest(
  "a node that goes away under load: nothing acknowledged is lost, nothing is doubled",
  3,
  async (cluster) => {
    await using kv = cluster.client({ network: true });
    const watch = kv.watch({ prefix: "k" });
    await watch.ready;
    const told: string[] = [];
    const reading = (async () => {
      for await (const event of watch) {
        if (event.type !== "progress") told.push(event.entry.keyText!);
      }
    })();
    const acknowledged: string[] = [];
    const writer = async (index: number): Promise<void> => {
      for (let at = 0; at < 100; at++) {
        await kv.put(`k${index}/${at}`, "x", { timeoutMs: 20_000 });
        acknowledged.push(`k${index}/${at}`);
      }
    };
    const writers = Promise.all(Array.from({ length: 8 }, (_, index) => writer(index)));
    while (acknowledged.length < 200) await kv.get("k");
    cluster.elect(1);
    cluster.nodes[0].module.stop();
    await cluster.nodes[0].unserve();
    while (acknowledged.length < 500) await kv.get("k");
    cluster.elect(2);
    await cluster.nodes[1].unserve();
    await writers;
    const { entries } = await kv.range({ prefix: "k" });
    assert.equal(entries.length, 800);
    assert.ok(entries.every(({ version }) => version === 1), "each was applied once");
    while (told.length < 800) await kv.get("k");
    assert.equal(new Set(told).size, 800, "each was told once");
    watch.close();
    await reading;
  },
);

networkTest("renewals reach the leader through any node", 2, async (cluster) => {
  await using kv = cluster.client({ network: true, nodes: [1] });
  const lease = await kv.lease({ ttlMs: 2_000, keepAlive: false });
  assert.equal(await kv.renewLease(lease.id), 2_000);
  assert.equal(cluster.nodes[0].module.counters.leasesRenewed, 1);
  assert.equal((await kv.leaseStatus(lease.id)).ttlMs, 2_000);
  await lease.revoke();
});

networkTest("a lease that nobody renews ends by the engine's clock", 1, async (cluster) => {
  await using kv = cluster.client({ network: true });
  const lease = await kv.lease({ ttlMs: 1_000, keepAlive: false });
  await kv.put("a", "1", { lease: lease.id });
  const watch = kv.watch("a");
  await watch.ready;
  const { value } = await watch.next();
  assert.equal(value.type, "delete");
  watch.close();
});

networkTest("a large range does not hold up others", 1, async (cluster) => {
  await using kv = cluster.client({ network: true });
  for (let at = 0; at < 200; at++) {
    const success = Array.from({ length: 100 }, (_, index) => ({
      put: `big/${at}/${index}`,
      value: new Uint8Array(100),
    }));
    await kv.transact({ success });
  }
  const raw = cluster.nodes[0].remote(KV);
  const range = { key: encodeText("big/"), rangeEnd: encodeText("big0"), sortTarget: 4 as const };
  const large = raw.range(range);
  let isDone = false;
  large.then(() => isDone = true, () => isDone = true);
  let others = 0;
  while (!isDone) {
    await kv.get("big/0/0");
    others++;
  }
  assert.equal((await large).count, 20_000n);
  assert.ok(others > 2, `${others} other reads meanwhile`);
});

networkTest("a transaction that is nested too deep is told as that", 1, async (cluster) => {
  const { kv } = cluster.nodes[0].channelEndpoint();
  type Txn = Parameters<typeof kv.txn>[0];
  let txn: Txn = { success: [] };
  for (let level = 0; level < 60; level++) {
    txn = { success: [{ request: { case: "requestTxn", value: txn } }] } as Txn;
  }
  // As of ttrpc and gRPC in Go, the code of what cannot be decoded is `internal`.
  await assert.rejects(
    kv.txn(txn),
    /\[internal\] covey\.kv\.v1\.TxnRequest is nested too deep: at most 100 messages within/,
  );
});
