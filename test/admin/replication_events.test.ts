/** What the endpoint tells of consensus and the store: events, readiness, numbers, the page. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ReadyReport, StatusReport } from "../../src/admin/schema.ts";
import type { KvResult } from "../../src/kv/core/result.ts";
import { KvMachine } from "../../src/kv/core/kv_machine.ts";
import type { KvGroup, LeaderHint } from "../../src/kv/group.ts";
import type { KvModule } from "../../src/kv/kv_module.ts";
import { StoreHealth } from "../../src/kv/store_health.ts";
import { ReplicationAdmin } from "../../src/node/replication_admin.ts";
import { RaftCounters } from "../../src/raft/counters.ts";
import type { Cluster } from "../../src/raft/cluster.ts";
import { KeyValueService } from "../../src/gen/api/v1/raft_go_pb.ts";
import { KV, Watch } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { Role } from "../../src/gen/covey/raft/v1/raft_pb.ts";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../src/gen/grpc/health/v1/health_pb.ts";
import { inFolder } from "../node/support.ts";
import { ManualClock } from "../ttrpc/support/memory_net.ts";
import { AdminNode, EventReader } from "./node_support.ts";

/** One of two founders on unix sockets, with a data directory: it comes back as the one it was. */
async function founder(folder: string, at: number): Promise<AdminNode> {
  const join = ["a", "b"].map((name) => `unix:${folder}/${name}.sock`);
  const node = await AdminNode.startNode({
    dev: false,
    tls: { mode: "off" },
    node: { name: `gate-${at}`, listen: [join[at]], data: `${folder}/${at}` },
    cluster: { join },
    raft: { heartbeat_interval: "50ms", election_timeout: "500ms" },
  });
  return new AdminNode(node);
}

test("events: a leader is elected and lost, a snapshot is taken", () =>
  inFolder(async (folder) => {
    await using one = await founder(folder, 0);
    const health = one.node.rpc.client(Health, one.node.rpc.addresses[0], { peer: "covey" });
    const unready = await (await one.ask("/readyz?verbose")).json() as ReadyReport;
    assert.deepEqual(unready.failing, ["raft", "kv", "membership"]);
    const [, raft, kv, membership] = unready.checks ?? [];
    assert.equal(membership.reason, "no cluster is known yet");
    assert.match(raft.reason ?? "", /^the cluster is being founded: found gate-0/);
    assert.equal(kv.reason, "the store waits for a cluster");
    assert.equal((await one.json<StatusReport>("/v1/status")).modules.raft.state, "founding");
    const events = new EventReader(await one.ask("/v1/events?topic=raft"));
    const two = await founder(folder, 1);
    try {
      const elected = await events.until(({ data }) =>
        data.kind === "leader" && data.leader !== null
      );
      assert.equal(elected.event, "raft");
      assert.deepEqual([elected.data.group, elected.data.name], [0, "kv"]);
      const { clusterId } = one.node.raft;
      assert.equal(clusterId, two.node.raft.clusterId);

      const { peers } = await one.node.raft.operator.peers({});
      const { replica } = peers.find(({ name }) => name === "gate-0")!;
      // The next loss is the loss of the other, and not of a leader that hands over.
      const { role } = (await one.node.raft.operator.status({})).groups[0];
      if (role !== Role.LEADER) {
        await one.node.raft.operator.transfer({ replica });
        await events.until(({ data }) => data.kind === "leading" && data.leading === true);
      }
      const { index, bytes } = await one.json<{ index: number; bytes: number }>(
        "/v1/raft/snapshot",
        { body: {} },
      );
      const snapshot = await events.until(({ data }) => data.kind === "snapshot");
      assert.deepEqual([snapshot.data.index, snapshot.data.bytes], [index, bytes]);
    } finally {
      await two.node.stop();
    }
    await events.until(({ data }) => data.kind === "leader" && data.leader === null);
    // An election's time later, health and readiness say the same.
    for await (const { status } of health.watch({ service: KV.typeName })) {
      if (status === ServingStatus.NOT_SERVING) break;
    }
    const status = async (service: string) => (await health.check({ service })).status;
    assert.equal(await status(KeyValueService.typeName), ServingStatus.NOT_SERVING);
    assert.equal(await status(Watch.typeName), ServingStatus.SERVING);
    assert.equal(await status(""), ServingStatus.SERVING);
    const alone = await (await one.ask("/readyz?verbose")).json() as ReadyReport;
    assert.deepEqual(alone.failing, ["raft", "kv"]);
    assert.equal(alone.checks?.[1].reason, "there is no leader");
    assert.equal(alone.checks?.[2].reason, "there is no leader");
    // What is old may be read all the same.
    assert.equal(await one.node.kv.get("nothing", { serializable: true }), undefined);
    assert.equal((await one.json<StatusReport>("/v1/status")).modules.raft.leader, null);
    await using _two = await founder(folder, 1);
    await events.until(({ data }) => data.kind === "leader" && data.leader !== null);
    assert.equal(await status(KV.typeName), ServingStatus.SERVING);
    await events.leave();
  }));

test("events: a compaction, leases that expired, and the quota", async () => {
  await using one = await AdminNode.start({ kv: { quota_bytes: "1MiB" } });
  const { kv } = one.node;
  const events = new EventReader(await one.ask("/v1/events?topic=kv"));
  for (let at = 0; at < 4; at++) await kv.put("a", String(at));
  await kv.compact(4);
  const compacted = await events.until(({ data }) => data.kind === "compacted");
  assert.deepEqual(compacted.data, { kind: "compacted", revision: 5, compactRevision: 4 });

  // One whose owner ends it is no news; two that end by themselves are one event or two.
  const revoked = await kv.lease({ ttlMs: 1_000, keepAlive: false });
  await revoked.revoke();
  await kv.lease({ ttlMs: 1_000, keepAlive: false });
  await kv.lease({ ttlMs: 1_000, keepAlive: false });
  let expired = 0;
  while (expired < 2) {
    const event = await events.until(({ data }) => data.kind === "leasesExpired");
    expired += event.data.leases as number;
  }
  assert.equal(expired, 2);

  const large = new Uint8Array(400_000);
  await kv.put("one", large);
  await kv.put("two", large);
  await assert.rejects(kv.put("three", large), /resource_exhausted/);
  const reached = await events.until(({ data }) => data.kind === "quotaReached");
  assert.equal(reached.data.bytesMax, 1024 * 1024);
  assert.equal((await one.json<StatusReport>("/v1/status")).modules.kv.full, true);
  // Everybody says so who is asked, and reads go on: it stays ready.
  assert.equal(one.metric("covey_kv_full"), 1);
  assert.deepEqual((await kv.status()).errors, ["NOSPACE"]);
  const { ready, checks } = await one.json<ReadyReport>("/readyz?verbose");
  assert.ok(ready);
  assert.match(checks?.[2].note ?? "", /^NOSPACE: /);
  await kv.delete("one");
  const { revision } = await kv.delete("two");
  await kv.compact(revision);
  await events.until(({ data }) => data.kind === "quotaLeft");
  assert.equal((await one.json<StatusReport>("/v1/status")).modules.kv.full, false);
  assert.equal(one.metric("covey_kv_full"), 0);
  assert.deepEqual((await kv.status()).errors, []);
  assert.equal((await one.json<ReadyReport>("/readyz?verbose")).checks?.[2].note, undefined);
  await events.leave();
});

test("events: nothing is made while nobody follows", async () => {
  await using one = await AdminNode.start();
  await one.node.kv.put("a", "1");
  await one.node.kv.compact(2);
  await one.json("/v1/raft/snapshot", { body: {} });
  assert.equal(one.metric("covey_admin_events_total"), 0);
  const { topics } = await one.json<StatusReport>("/v1/status");
  assert.deepEqual(topics.map(({ name }) => name), ["kv", "log", "membership", "raft"]);
});

test("metrics: they change when what they count does", async () => {
  await using one = await AdminNode.start();
  const read = () => ({
    commit: one.metric('covey_raft_commit_index{group="kv"}')!,
    applied: one.metric('covey_raft_applied_index{group="kv"}')!,
    last: one.metric('covey_raft_last_index{group="kv"}')!,
    durable: one.metric('covey_raft_durable_index{group="kv"}')!,
    snapshot: one.metric('covey_raft_snapshot_index{group="kv"}')!,
    proposals: one.metric("covey_raft_proposals_total")!,
    sampled: one.metric("covey_raft_commit_seconds_count")!,
    batches: one.metric("covey_raft_log_batches_total")!,
    bytes: one.metric("covey_raft_log_written_bytes_total")!,
    taken: one.metric('covey_raft_snapshots_total{event="taken"}')!,
  });
  const before = read();
  assert.equal(before.commit, before.applied);
  for (let at = 0; at < 32; at++) await one.node.kv.put("a", String(at));
  const after = read();
  assert.equal(after.commit - before.commit, 32 + 1, "the writes, and the client's session");
  assert.equal(after.applied, after.commit);
  assert.equal(after.last, after.commit);
  assert.equal(after.durable, after.commit);
  assert.equal(after.proposals - before.proposals, 33);
  assert.equal(after.sampled, Math.ceil(after.proposals / 16));
  assert.ok(after.batches > before.batches && after.bytes > before.bytes);
  assert.equal(after.snapshot, before.snapshot);
  await one.json("/v1/raft/snapshot", { body: {} });
  const last = read();
  assert.equal(last.snapshot, after.commit);
  assert.equal(last.taken, 1);
  assert.equal(one.metric('covey_raft_term{group="kv"}'), 2);
  assert.equal(one.metric('covey_raft_leader_changes_total{group="kv"}'), 1);
  assert.equal(one.metric('covey_raft_resignations_total{group="kv",reason="quorum"}'), 0);
  assert.equal(one.metric("covey_raft_log_tail_repaired"), 0);
  assert.equal(one.metric('covey_raft_election_timeout_seconds{group="kv"}'), 0.05);
  assert.ok(one.metric("covey_raft_disk_sync_seconds")! > 0);
});

test("metrics: a group comes with its series, and goes with them", async () => {
  await using one = await AdminNode.start();
  const series = (): string[] =>
    one.node.metrics.expose("prometheus").split("\n").filter((line) =>
      line.startsWith("covey_raft_") && line.includes('group="ledger"')
    );
  assert.deepEqual(series(), []);
  const events = new EventReader(await one.ask("/v1/events?topic=raft"));
  const group = await one.node.raft.group<KvResult>("ledger", new KvMachine());
  await group.barrier();
  assert.ok(series().length > 20);
  assert.equal(one.metric('covey_raft_role{group="ledger",role="leader"}'), 1);
  assert.equal(one.metric('covey_raft_leader_changes_total{group="ledger"}'), 1);
  const elected = await events.until(({ data }) => data.name === "ledger" && data.leader !== null);
  assert.equal(elected.data.group, group.id);
  await one.node.raft.removeGroup("ledger");
  assert.deepEqual(series(), []);
  assert.equal(one.metric('covey_raft_role{group="kv",role="leader"}'), 1);
  await events.leave();
});

test("metrics: a proposal that came to nothing is counted", async () => {
  await using one = await AdminNode.start();
  const group = await one.node.raft.group<KvResult>("ledger", new KvMachine());
  await group.barrier();
  const before = one.metric("covey_raft_proposals_failed_total");
  assert.equal(before, 0);
  const left = new AbortController();
  // Its proposer leaves before it can be in the log.
  const write = group.propose(new Uint8Array(0), { signal: left.signal });
  left.abort();
  await assert.rejects(write, /canceled/);
  assert.equal(one.metric("covey_raft_proposals_failed_total"), 1);
});

/** A cluster that is what a test says. */
function pretended(cluster: object, kv: object): ReplicationAdmin {
  return new ReplicationAdmin(
    { counters: new RaftCounters(), ...cluster } as unknown as Cluster<KvResult>,
    kv as unknown as KvModule,
  );
}

async function problems(admin: ReplicationAdmin): Promise<Record<string, string | undefined>> {
  const answers = admin.checks().map(async ({ name, check }) => [name, await check()]);
  return Object.fromEntries(await Promise.all(answers));
}

test("readiness: each check names its reason", async () => {
  const root = { committed: 6000, applied: 6000, leader: { replica: 1 }, electionTimeoutMs: 100 };
  const machine = { restoring: false, bytes: 0, bytesMax: 1 };
  const clock = new ManualClock();
  const health = (group: object | undefined, made: object = machine): { health: StoreHealth } => {
    const store = new StoreHealth(made as KvMachine, clock);
    if (group !== undefined) store.attach(group as KvGroup);
    return { health: store };
  };
  const led = health(root);
  const waits = { raft: "there is no leader", kv: "there is no leader" };
  assert.deepEqual(await problems(pretended({ root }, led)), waits, "before the first one");
  led.health.leader(root.leader as LeaderHint);
  const ready = { raft: undefined, kv: undefined };
  assert.deepEqual(await problems(pretended({ root }, led)), ready);
  // A change of leaders is no failure, unless it takes longer than an election does.
  led.health.leader(undefined);
  assert.deepEqual(await problems(pretended({ root }, led)), ready);
  await clock.advance(100);
  assert.deepEqual(await problems(pretended({ root }, led)), waits);
  led.health.leader(root.leader as LeaderHint);
  assert.deepEqual(
    await problems(pretended({ root: undefined, problem: "waits" }, health(undefined))),
    { raft: "waits", kv: "the store waits for a cluster" },
  );
  root.applied = 1000;
  assert.deepEqual(await problems(pretended({ root }, led)), ready);
  root.applied = 999;
  assert.deepEqual(await problems(pretended({ root }, led)), {
    raft: undefined,
    kv: "the store is behind: 5001 entries are committed and not applied",
  });
  machine.restoring = true;
  assert.deepEqual(await problems(pretended({ root }, led)), {
    raft: undefined,
    kv: "the store is being filled from a snapshot",
  });
  const stopped = { rawMessage: "group kv, entry 7: update this node" };
  assert.deepEqual(
    await problems(pretended({ root, problem: stopped.rawMessage }, health({ ...root, stopped }))),
    { raft: stopped.rawMessage, kv: stopped.rawMessage },
  );
});

test("readiness: a node that leads is ready", async () => {
  await using one = await AdminNode.start();
  const report = await one.json<ReadyReport>("/readyz?verbose");
  assert.deepEqual(report.checks, [
    { name: "rpc", ready: true },
    { name: "raft", ready: true },
    { name: "kv", ready: true },
    { name: "membership", ready: true },
  ]);
});

test("the page shows the cluster, and its policy still allows nothing but its style", async () => {
  await using one = await AdminNode.start({ node: { name: "gate-7" } });
  await one.node.kv.put("a", "1");
  const response = await one.ask("/");
  const html = await response.text();
  assert.match(html, /<h2>Cluster<\/h2>/);
  assert.match(html, /<td>raft state<\/td><td>leader<\/td>/);
  assert.match(html, /<td>raft leader<\/td><td>1, gate-7<\/td>/);
  assert.match(html, /<td>kv keys<\/td><td>1<\/td>/);
  const policy = response.headers.get("content-security-policy") ?? "";
  const style = /<style>([^]*?)<\/style>/.exec(html)?.[1] ?? "";
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(style));
  assert.ok(policy.includes(btoa(String.fromCharCode(...new Uint8Array(digest)))));
  assert.ok(!html.includes("<script"));
});
