/** Maintenance, and what the store does by itself: limits, compaction, cleaning, metrics. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { MetricsRegistry } from "../../src/base/metrics.ts";
import { Maintenance } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { encodeCommand } from "../../src/kv/core/command_codec.ts";
import { KvMachine } from "../../src/kv/core/kv_machine.ts";
import { showKvMetrics } from "../../src/kv/metrics.ts";
import { settingsOf } from "../../src/kv/options.ts";
import { prefixEnd } from "../../src/kv/core/bytes.ts";
import { digest } from "./core/support.ts";
import { encodeText } from "../../src/base/bytes.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { FakeCluster, settle } from "./support.ts";

async function snapshotOf(cluster: FakeCluster): Promise<{
  pieces: Uint8Array[];
  end: { index: number; term: number; bytes: number };
}> {
  const pieces: Uint8Array[] = [];
  const snapshot = cluster.client().snapshot();
  for (;;) {
    const { done, value } = await settle(cluster, snapshot.next(), 1);
    if (done) return { pieces, end: value };
    pieces.push(value);
  }
}

test("status", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const kv = cluster.client();
  await kv.put("a", "1");
  await kv.put("a", "2");
  await kv.lease({ ttlMs: 60_000, keepAlive: false });
  const watch = kv.watch("a");
  await watch.ready;
  const status = await kv.status();
  const { machine } = cluster.nodes[0].module;
  assert.equal(status.version, "0.0.0");
  assert.deepEqual([status.keys, status.leases, status.sessions, status.watches], [1, 1, 1, 1]);
  assert.equal(status.bytes, 2 * 66);
  assert.equal(status.historyBytes, 66);
  assert.equal(status.bytesMax, 512 * 1024 * 1024);
  assert.equal(status.leader, 1);
  assert.deepEqual([status.raftIndex, status.appliedIndex], [
    cluster.log.length,
    machine.appliedIndex,
  ]);
  assert.ok(status.memoryBytes > 0);
  assert.deepEqual(status.errors, []);
  await kv.setLimits({ databaseBytesMax: 100 });
  assert.deepEqual((await kv.status()).errors, ["NOSPACE"]);
  cluster.elect(undefined);
  assert.deepEqual((await kv.status()).errors, ["NOSPACE", "no leader"]);
  watch.close();
  await cluster.close();
});

test("the hash is the same on every node, and tells states apart", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const kv = cluster.client();
  for (let at = 0; at < 50; at++) await kv.put(`k${at % 7}`, `${at}`);
  await turns();
  const hashes = await Promise.all([0, 1].map((at) => cluster.client({ nodes: [at] }).hash()));
  assert.equal(hashes[0].hash, hashes[1].hash);
  assert.equal(hashes[0].appliedIndex, cluster.log.length);
  assert.equal(hashes[0].hash, digest(cluster.nodes[0].module.machine));
  await kv.put("k0", "x");
  assert.notEqual((await kv.hash()).hash, hashes[0].hash);
  await cluster.close();
});

test("a snapshot can be restored, while writing goes on", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.client();
  for (let at = 0; at < 200; at++) await kv.put(`k${at}`, new Uint8Array(2_000));
  const before = digest(cluster.nodes[0].module.machine);
  const taking = snapshotOf(cluster);
  await kv.put("later", "x");
  const { pieces, end } = await taking;
  assert.ok(pieces.length > 3);
  assert.equal(end.bytes, pieces.reduce((sum, piece) => sum + piece.length, 0));
  const machine = new KvMachine();
  const sink = machine.restore();
  for (const piece of pieces) assert.equal(sink.push(piece), undefined);
  assert.equal(sink.finish(), undefined);
  assert.equal(machine.appliedIndex, end.index);
  assert.equal(digest(machine), before);
  await cluster.close();
});

test("snapshots are few at a time, and not for ever", async () => {
  const options = { snapshotsMax: 2, snapshotMs: 5_000 };
  const cluster = new FakeCluster({ options });
  const kv = cluster.client();
  for (let at = 0; at < 100; at++) await kv.put(`k${at}`, new Uint8Array(2_000));
  const { machine } = cluster.nodes[0].module;
  const maintenance = cluster.nodes[0].local(Maintenance);
  const open = [0, 1].map(() => maintenance.snapshot({})[Symbol.asyncIterator]());
  for (const one of open) {
    const first = one.next();
    await cluster.manual.advance(1);
    assert.equal((await first).done, false);
  }
  assert.ok(machine.pinned);
  const third = maintenance.snapshot({})[Symbol.asyncIterator]().next();
  await assert.rejects(third, /\[resource_exhausted\] 2 snapshots are being read already/);
  await open[0].return?.();
  await cluster.manual.advance(5_100);
  assert.ok(!machine.pinned, "nobody keeps old state for longer");
  await assert.rejects(settle(cluster, open[1].next()), /\[deadline_exceeded\].*within 5000 ms/);
  const { pieces } = await snapshotOf(cluster);
  assert.ok(pieces.length > 1);
  await cluster.close();
});

test("two snapshots that overlap, and a compaction between them", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.client();
  const { machine } = cluster.nodes[0].module;
  for (let at = 0; at < 100; at++) await kv.put(`k${at % 9}`, new Uint8Array(3_000));
  const first = { digest: digest(machine), taking: snapshotOf(cluster) };
  await turns(2);
  for (let at = 0; at < 20; at++) await kv.put(`k${at % 9}`, new Uint8Array(3_000));
  await kv.compact(machine.revision - 3);
  const second = { digest: digest(machine), taking: snapshotOf(cluster) };
  await turns(2);
  await kv.compact(machine.revision);
  await kv.delete({ prefix: "k" });
  for (const { digest: expected, taking } of [first, second]) {
    const restored = new KvMachine();
    const sink = restored.restore();
    for (const piece of (await taking).pieces) assert.equal(sink.push(piece), undefined);
    assert.equal(sink.finish(), undefined);
    assert.equal(digest(restored), expected);
  }
  await cluster.close();
});

test("a snapshot waits for an entry that is being applied, and for a restore", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const kv = cluster.client();
  for (let at = 0; at < 60; at++) {
    const success = Array.from(
      { length: 100 },
      (_, index) => ({ put: `k/${at}/${index}`, value: "" }),
    );
    await kv.transact({ success });
  }
  const [leader, follower] = cluster.nodes;
  const { key, end } = { key: encodeText("k/"), end: prefixEnd(encodeText("k/")) };
  cluster.append(encodeCommand({ kind: "deleteRange", key, end, previous: false }));
  await Promise.resolve();
  while (!leader.module.machine.applying) await Promise.resolve();
  const hash = cluster.client({ nodes: [0] }).hash();
  assert.equal((await settle(cluster, hash)).appliedIndex, cluster.log.length);
  const restoring = follower.restoreFrom(leader);
  const waiting = cluster.client({ nodes: [1] }).hash();
  await turns();
  restoring.finish();
  assert.equal((await settle(cluster, waiting)).hash, (await settle(cluster, hash)).hash);
  await cluster.close();
});

test("limits: by an operator, and refused ones", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const kv = cluster.client();
  await kv.setLimits({ keyBytesMax: 10, leaseTtlMsMin: 5_000 });
  await turns();
  for (const { module } of cluster.nodes) {
    const { keyBytesMax, leaseTtlMsMin, requestBytesMax } = module.machine.limits;
    assert.deepEqual([keyBytesMax, leaseTtlMsMin, requestBytesMax], [10, 5_000, 1_572_864]);
  }
  await assert.rejects(kv.put("01234567890", ""), /longer than the limit \(10 bytes\)/);
  await assert.rejects(kv.setLimits({}), /no limit is named/);
  await assert.rejects(
    kv.setLimits({ requestBytesMax: 10 }),
    /request_bytes_max is 10: it must be at least 1024/,
  );
  await assert.rejects(kv.setLimits({ leasesMax: -1 }), /leasesMax is -1/);
  await assert.rejects(
    kv.setLimits({ leaseTtlMsMin: 10_000, leaseTtlMsMax: 9_000 }),
    /lease_ttl_millis_min would be 10000 and lease_ttl_millis_max 9000/,
  );
  await assert.rejects(kv.setLimits({ leaseTtlMsMax: 4_999 }), /min would be 5000 and .* 4999/);
  await kv.setLimits({ leaseTtlMsMax: 5_000 });
  await cluster.close();
});

test("the leader sees to the configured limits, again and again", async () => {
  const options = { limits: { databaseBytesMax: 1_000_000, keyBytesMax: 100 } };
  const cluster = new FakeCluster({ nodes: 2, options });
  await turns();
  const { machine } = cluster.nodes[1].module;
  assert.deepEqual([machine.limits.databaseBytesMax, machine.limits.keyBytesMax], [1_000_000, 100]);
  const entries = cluster.log.length;
  cluster.elect(1);
  await turns();
  assert.equal(cluster.log.length, entries + 1, "what is as it should be is not proposed");
  // An operator's word holds until somebody else leads.
  await cluster.client().setLimits({ keyBytesMax: 50 });
  assert.equal(machine.limits.keyBytesMax, 50);
  for (let at = 0; at < 200; at++) await cluster.client().put("k", "");
  assert.equal(machine.limits.keyBytesMax, 50);
  cluster.faults.refused = 1;
  cluster.elect(0);
  await turns();
  assert.equal(machine.limits.keyBytesMax, 50);
  await cluster.manual.advance(1_100);
  assert.equal(machine.limits.keyBytesMax, 100, "a proposal that fails is made again");
  await cluster.close();
});

test("nodes of different configuration: each leader says its own once, and an operator is not overruled", async () => {
  const quotas = [1_000_000, 2_000_000];
  const cluster = new FakeCluster({
    nodes: 2,
    optionsOf: (at) => ({ limits: { databaseBytesMax: quotas[at], keyBytesMax: 100 } }),
  });
  const kv = cluster.client({ sessions: "single" });
  const { machine } = cluster.nodes[0].module;
  const rest = async (): Promise<void> => {
    for (let rounds = 0; rounds < 5; rounds++) await cluster.manual.advance(1_100);
  };
  const limits = (): number[] => [machine.limits.databaseBytesMax, machine.limits.keyBytesMax];
  await rest();
  for (const at of [1, 0, 1]) {
    const entries = cluster.log.length;
    cluster.elect(at);
    await rest();
    assert.deepEqual(limits(), [quotas[at], 100]);
    assert.equal(cluster.log.length, entries + 2, "a term's first entry, and one of the limits");
  }
  // It is applied, its leader does not hear of that, and an operator changes it before the retry.
  cluster.faults.answersLost = 1;
  cluster.elect(0);
  await turns();
  assert.deepEqual(limits(), [quotas[0], 100]);
  await kv.setLimits({ databaseBytesMax: 3_000_000 });
  let entries = cluster.log.length;
  await rest();
  assert.deepEqual(limits(), [3_000_000, 100]);
  assert.equal(cluster.log.length, entries);
  // Both at the same time: the log's order says who was last, and it stays so.
  cluster.faults.held = true;
  cluster.elect(1);
  const changed = kv.setLimits({ databaseBytesMax: 4_000_000 });
  await turns();
  entries = cluster.log.length;
  cluster.release();
  await settle(cluster, changed);
  await rest();
  assert.deepEqual(limits(), [4_000_000, 100]);
  assert.equal(cluster.log.length, entries + 2);
  // A change of something else leaves the leader its say.
  cluster.faults.refused = 1;
  cluster.elect(0);
  await turns();
  await kv.setLimits({ leasesMax: 7 });
  await rest();
  assert.deepEqual([...limits(), machine.limits.leasesMax], [quotas[0], 100, 7]);
  await cluster.close();
});

test("limits that would lock everybody out stop the start", () => {
  for (const limits of [{ requestBytesMax: 10 }, { leasesMax: 0 }, { sessionsMax: 1.5 }]) {
    assert.throws(() => settingsOf({ limits }), (error) => {
      assert.ok(error instanceof CoveyError);
      assert.match(error.message, /\[invalid_argument\] the limit \w+ is/);
      return true;
    });
  }
});

test("the leader compacts by itself, and memory follows without a busy timer", async () => {
  const options = { compaction: { revisions: 100, historyBytes: 0 } };
  const cluster = new FakeCluster({ nodes: 2, options });
  const kv = cluster.client();
  for (let at = 0; at < 1_000; at++) await kv.put(`k${at % 10}`, new Uint8Array(1_000));
  await turns();
  const [leader, follower] = cluster.nodes.map(({ module }) => module);
  const { revision, compactRevision } = leader.machine;
  assert.ok(revision - compactRevision <= 200, `${revision} and ${compactRevision}`);
  assert.ok(leader.counters.autoCompactions >= 5);
  assert.equal(follower.counters.autoCompactions, 0);
  await cluster.manual.advance(100);
  assert.equal(cluster.manual.timers, 0, "nothing is left to do");
  const { historyBytes, bytes } = leader.machine.statistics();
  assert.ok(historyBytes < 200 * 1_100 && bytes < 210 * 1_100);
  await cluster.close();
});

test("compaction by size", async () => {
  const options = { compaction: { revisions: 0, historyBytes: 50_000 } };
  const cluster = new FakeCluster({ options });
  const kv = cluster.client();
  const { machine } = cluster.nodes[0].module;
  for (let at = 0; at < 60; at++) await kv.put("k", new Uint8Array(1_000));
  assert.equal(machine.compactRevision, 0);
  for (let at = 0; at < 67; at++) await kv.put("k", new Uint8Array(1_000));
  await turns();
  assert.ok(machine.compactRevision > 0);
  assert.ok(machine.statistics().historyBytes <= 60_000);
  await cluster.close();
});

test("a small store is never full of its history", async () => {
  const quota = 4 * 1024 * 1024;
  const cluster = new FakeCluster({ options: { limits: { databaseBytesMax: quota } } });
  const kv = cluster.client();
  await cluster.manual.advance(100);
  for (let at = 0; at < 6_000; at++) await kv.put("only", "x".repeat(1_024));
  // Large ones fill it between two looks; the refusal itself is one.
  let refusals = 0;
  for (let at = 0; at < 30; at++) {
    const put = kv.put("only", "x".repeat(1_000_000)).catch((error) => {
      assert.equal(error.code, Code.resourceExhausted);
      refusals++;
    });
    await settle(cluster, put);
  }
  assert.ok(refusals < 12, `${refusals} refusals`);
  await settle(cluster, kv.put("only", ""));
  const { keys, historyBytes } = await kv.status();
  assert.deepEqual([keys, historyBytes < quota], [1, true]);
  await cluster.close();
});

test("metrics", async () => {
  const cluster = new FakeCluster();
  const registry = new MetricsRegistry();
  showKvMetrics(registry, cluster.nodes[0].module);
  const kv = cluster.client();
  for (let at = 0; at < 40; at++) await kv.put("a", `${at}`);
  await kv.get("a");
  await kv.get("a", { serializable: true });
  await kv.transact({ success: [{ range: "a" }] });
  await kv.transact({ success: [{ put: "b", value: "1" }] });
  await kv.delete("b");
  await kv.compact(10);
  await kv.put("a", "x", { lease: 77 }).catch(() => undefined);
  const lease = await kv.lease({ ttlMs: 5_000, keepAlive: false });
  await kv.renewLease(lease.id);
  const watch = kv.watch("a");
  await watch.ready;
  await kv.put("a", "y");
  await watch.next();
  const text = registry.expose("prometheus");
  const value = (series: string): number => {
    const line = text.split("\n").find((one) => one.startsWith(`${series} `));
    assert.ok(line !== undefined, `${series} is shown`);
    return Number(line.slice(series.length + 1));
  };
  assert.equal(value('covey_kv_requests_total{kind="put"}'), 42);
  assert.equal(value('covey_kv_requests_total{kind="range"}'), 1);
  assert.equal(value('covey_kv_requests_total{kind="range_serializable"}'), 1);
  assert.equal(value('covey_kv_requests_total{kind="txn"}'), 1);
  assert.equal(value('covey_kv_requests_total{kind="txn_read"}'), 1);
  assert.equal(value('covey_kv_requests_total{kind="delete_range"}'), 1);
  assert.equal(value("covey_kv_refusals_total"), 1);
  assert.equal(value('covey_kv_compactions_total{cause="client"}'), 1);
  assert.equal(value("covey_kv_write_seconds_count"), 2);
  assert.equal(value("covey_kv_keys"), 1);
  assert.equal(value("covey_kv_revision"), cluster.nodes[0].module.machine.revision);
  assert.equal(value("covey_kv_compact_revision"), 10);
  assert.equal(value("covey_kv_quota_bytes"), 512 * 1024 * 1024);
  assert.equal(value("covey_kv_sessions"), 1);
  assert.equal(value("covey_kv_leases"), 1);
  assert.equal(value('covey_kv_lease_events_total{event="granted"}'), 1);
  assert.equal(value('covey_kv_lease_events_total{event="renewed"}'), 1);
  assert.equal(value("covey_kv_watches"), 1);
  assert.equal(value('covey_kv_watch_streams{state="all"}'), 1);
  assert.equal(value("covey_kv_watch_events_total"), 1);
  watch.close();
  await cluster.close();
});
