/** `/v1/raft` and below against real nodes: one voter, and one that is added to it. */
import { hc } from "npm:hono@4.13.19/client";
import assert from "node:assert/strict";
import { test } from "node:test";
import { contracts } from "../../src/admin/contract.ts";
import type {
  RaftAddReport,
  RaftPeersReport,
  RaftReport,
  RaftSnapshotReport,
  RaftTransferReport,
} from "../../src/admin/raft_schema.ts";
import type { AdminApp, ReadyReport, StatusReport } from "../../src/admin/schema.ts";
import { Raft } from "../../src/gen/covey/raft/v1/raft_pb.ts";
import { raftReport } from "../../src/report/raft.ts";
import { AdminNode, EventReader } from "./node_support.ts";

/** The answer has exactly the fields that the document promises. */
function fits(route: "GET /v1/raft" | "GET /v1/raft/peers", answer: unknown): void {
  assert.deepEqual(contracts[route].answer.schema.parse(answer), answer);
}

test("raft routes: status, peers and a snapshot of a single voter", async () => {
  await using one = await AdminNode.start({ node: { name: "gate-1" } });
  const raft = await one.json<RaftReport>("/v1/raft");
  fits("GET /v1/raft", raft);
  assert.equal(raft.nodeId, one.node.nodeId);
  assert.match(raft.clusterId, /^[0-9a-f]{32}$/);
  assert.equal(raft.groups.length, 1);
  const [group] = raft.groups;
  assert.deepEqual([group.name, group.role, group.leader, group.voters], ["kv", "leader", 1, [1]]);
  assert.ok(raft.log !== undefined && raft.log.batches > 0 && !raft.log.lowSpace);

  const peers = await one.json<RaftPeersReport>("/v1/raft/peers");
  fits("GET /v1/raft/peers", peers);
  assert.equal(peers.clusterId, raft.clusterId);
  assert.deepEqual(
    peers.peers.map(({ replica, name, suffrage, leader }) => [replica, name, suffrage, leader]),
    [[1, "gate-1", "voter", true]],
  );
  assert.equal((await one.json<RaftPeersReport>("/v1/raft/peers?group=0")).leader, 1);

  await one.node.kv.put("a", "1");
  const before = await one.json<RaftReport>("/v1/raft");
  assert.ok(before.groups[0].commitIndex > group.commitIndex, "a put commits an entry");
  const taken = await one.json<RaftSnapshotReport>("/v1/raft/snapshot", { body: {} });
  assert.equal(taken.index, before.groups[0].appliedIndex);
  assert.ok(taken.bytes > 0);
  const after = await one.json<RaftReport>("/v1/raft");
  assert.equal(after.groups[0].snapshotIndex, taken.index);
});

test("raft routes: the words are those of covey raft status --json", async () => {
  await using one = await AdminNode.start();
  const { groups } = raftReport(await one.node.raft.operator.status({}));
  assert.deepEqual((await one.json<RaftReport>("/v1/raft")).groups, groups);
  assert.ok(!("stopped" in groups[0]), "it goes on");
});

test("raft routes: a wrong request is told what is wrong with it", async () => {
  await using one = await AdminNode.start();
  const wrong: [number, string, RegExp, object?][] = [
    [400, "/v1/raft?verbose", /^no parameter "verbose"$/],
    [400, "/v1/raft/peers?group=x", /^group: "x" is not a whole number from 0 to 4294967295$/],
    [400, "/v1/raft/peers?group=-1", /^group: -1 is not a whole number/],
    [400, "/v1/raft/peers?group=1.5", /^group: "1\.5" is not a whole number/],
    [400, "/v1/raft/peers?grup=1", /^no parameter "grup"$/],
    [400, "/v1/raft/peers?group=0&group=1", /^group: given twice$/],
    [404, "/v1/raft/peers?group=7", /^this node has no replica of group 7$/],
    [400, "/v1/raft/add", /^address: is missing: an address/, {}],
    [400, "/v1/raft/add", /^address: 7 is not an address/, { address: 7 }],
    [400, "/v1/raft/add", /^address: "" is not an address/, { address: "" }],
    [400, "/v1/raft/add", /^nodeId: "abc" is not 32 hexadecimal digits/, {
      address: "tcp://127.0.0.1:1",
      nodeId: "abc",
    }],
    [400, "/v1/raft/add", /^no field "adress"$/, { adress: "x", address: "y" }],
    [400, "/v1/raft/promote", /^replica: is missing: a whole number from 1 on$/, {}],
    [400, "/v1/raft/promote", /^replica: 0 is not a whole number from 1 on$/, { replica: 0 }],
    [400, "/v1/raft/promote", /^replica: "1" is not a whole number/, { replica: "1" }],
    [400, "/v1/raft/remove", /^replica: 1\.5 is not a whole number/, { replica: 1.5 }],
    [400, "/v1/raft/remove?group=1", /^no parameter "group"$/, { replica: 1 }],
    [400, "/v1/raft/snapshot", /^the body: \[\] is not a JSON object$/, []],
    [404, "/v1/raft/snapshot", /^this node has no replica of group 3$/, { group: 3 }],
    [404, "/v1/raft/promote", /^group kv has no replica 9$/, { replica: 9 }],
    [400, "/v1/raft/promote", /^replica 1 is a voter already$/, { replica: 1 }],
    [400, "/v1/raft/remove", /is the only voter: add another one first$/, { replica: 1 }],
    [400, "/v1/raft/transfer", /^there is no other voter to hand over to/, {}],
    [503, "/v1/raft/add", /cannot reach tcp:\/\/127\.0\.0\.1:1/, { address: "tcp://127.0.0.1:1" }],
  ];
  for (const [status, path, message, body] of wrong) {
    const report = await one.refused(status, path, { body });
    assert.match(report.message, message, path);
  }
  // None of it came to the log of the node as a failure of the node.
  assert.equal((await one.json<RaftReport>("/v1/raft")).groups[0].voters.length, 1);
});

test("raft routes: bodies that are no JSON, too large or of another type", async () => {
  await using one = await AdminNode.start({ admin: {} });
  const send = async (body: string | Uint8Array<ArrayBuffer>, type = "application/json") => {
    const response = await one.node.admin.request("http://127.0.0.1/v1/raft/promote", {
      method: "POST",
      headers: { "content-type": type },
      body,
    });
    return [response.status, (await response.json() as { message: string }).message];
  };
  assert.deepEqual(await send(""), [400, "the body is empty"]);
  assert.deepEqual(await send("{replica: 1}"), [400, "the body is not JSON"]);
  assert.deepEqual(await send(Uint8Array.of(0x22, 0xff, 0x22)), [400, "the body is not UTF-8"]);
  assert.deepEqual(await send("null"), [400, "the body: null is not a JSON object"]);
  const [status, message] = await send("replica=1", "application/x-www-form-urlencoded");
  assert.equal(status, 415, String(message));
  assert.equal((await send("{}", "application/proto"))[0], 415);
  const large = await send(`{"replica":1,"x":"${"x".repeat(5_000_000)}"}`);
  assert.deepEqual(large, [413, "the body is larger than 4194304 bytes"]);
  assert.equal(one.metric('covey_limit_hit_total{limit="admin_body_bytes"}'), 1);
  const other = await one.ask("/v1/raft/promote");
  assert.equal(other.status, 405);
  assert.equal(other.headers.get("allow"), "POST");
  assert.equal((await one.ask("/v1/kv/key")).headers.get("allow"), "PUT, DELETE");
});

test("raft routes: a node is added, leads, is removed; events and numbers tell of it", async () => {
  // Everybody may everything, and more than one node may be in the cluster, which --dev forbids.
  const open = { dev: false, tls: { mode: "off" } } as const;
  await using one = await AdminNode.start({ ...open, node: { name: "one" } });
  await one.node.kv.put("a", "1");
  const [address] = one.node.rpc.addresses;
  await using two = new AdminNode(
    await AdminNode.startNode({ ...open, node: { name: "two" }, cluster: { join: [address] } }),
  );
  const waiting = await two.json<RaftReport>("/v1/raft");
  fits("GET /v1/raft", waiting);
  assert.deepEqual([waiting.clusterId, waiting.groups], ["", []]);
  const ready = await two.ask("/readyz?verbose");
  assert.equal(ready.status, 503);
  const report = await ready.json() as ReadyReport;
  assert.deepEqual(report.failing, ["raft", "kv", "membership"]);
  assert.equal(report.checks?.[2].reason, "the store waits for a cluster");

  const events = new EventReader(await one.ask("/v1/events?topic=raft"));
  const client = hc<AdminApp>("http://127.0.0.1", {
    fetch: ((input: Request | string | URL, init?: RequestInit) =>
      one.node.admin.request(input, init)) as typeof fetch,
  });
  const added = await client.v1.raft.add.$post({
    json: { address: two.node.rpc.addresses[0], nodeId: two.node.nodeId },
  });
  assert.equal(added.status, 200);
  const { peer }: RaftAddReport = await added.json();
  assert.deepEqual([peer.replica, peer.name, peer.suffrage], [2, "two", "voter"]);
  const joined = await events.until(({ data }) =>
    data.kind === "members" && (data.voters as unknown[]).length === 2
  );
  assert.deepEqual(joined.data.voters, [
    { replica: 1, name: "one" },
    { replica: 2, name: "two" },
  ]);

  // The newcomer got what was there by a snapshot, and both sides counted it.
  assert.equal(one.metric('covey_raft_snapshots_total{event="sent"}'), 1);
  assert.equal(two.metric('covey_raft_snapshots_total{event="received"}'), 1);
  assert.equal(two.metric('covey_raft_snapshots_installed_total{group="kv"}'), 1);
  const bytes = one.metric('covey_raft_snapshot_bytes_total{event="sent"}');
  assert.ok(bytes !== undefined && bytes > 0);
  assert.equal(two.metric('covey_raft_snapshot_bytes_total{event="received"}'), bytes);
  assert.equal(one.metric('covey_raft_members{group="kv",kind="voter"}'), 2);

  // What only the leader can do is asked of the other node, which passes it on.
  const moved = await two.json<RaftTransferReport>("/v1/raft/transfer", { body: { replica: 2 } });
  assert.equal(moved.leader, 2);
  const led = await events.until(({ data }) =>
    data.kind === "leader" && (data.leader as { replica: number } | null)?.replica === 2
  );
  assert.match(led.id ?? "", /^[0-9a-z]+-\d+$/);
  // To hand over takes both links, which an addition does not wait for.
  assert.equal(one.metric('covey_raft_peers{state="connected"}'), 1);
  assert.equal(one.metric('covey_raft_peer_connected{peer="two"}'), 1);
  for (const [link, direction] of [["control", "sent"], ["log", "sent"], ["log", "received"]]) {
    const series = `covey_raft_frames_total{link="${link}",direction="${direction}"}`;
    assert.ok((one.metric(series) ?? 0) > 0, series);
  }
  assert.deepEqual(
    { ...led.data, term: 0 },
    {
      group: 0,
      name: "kv",
      kind: "leader",
      role: "follower",
      term: 0,
      leader: { replica: 2, name: "two" },
    },
  );
  assert.equal(one.metric('covey_raft_leader_changes_total{group="kv"}'), 2);
  assert.equal(one.metric('covey_raft_leader{group="kv"}'), 2);
  assert.equal(one.metric('covey_raft_role{group="kv",role="leader"}'), 0);
  assert.equal(two.metric('covey_raft_role{group="kv",role="leader"}'), 1);
  assert.equal(two.metric('covey_raft_elections_won_total{group="kv"}'), 1);
  assert.equal((await two.node.kv.get("a"))?.text, "1");
  const status = await two.json<StatusReport>("/v1/status");
  assert.equal(status.modules.raft.state, "leader");
  assert.equal(status.modules.raft.peersConnected, 1);
  assert.equal(status.modules.kv.leading, true);

  const peers = await one.json<RaftPeersReport>("/v1/raft/peers");
  fits("GET /v1/raft/peers", peers);
  assert.equal(peers.leader, 2);
  assert.deepEqual(await two.json("/v1/raft/remove", { body: { replica: 1 } }), {});
  assert.deepEqual((await two.json<RaftReport>("/v1/raft")).groups[0].voters, [2]);
  // Whom consensus has taken in asks the members of its cluster to be let in, too.
  for await (const { members } of two.node.members.views()) if (members.length === 2) break;
  assert.equal((await two.json<ReadyReport>("/readyz")).ready, true);

  // Whoever was removed says so, and why it does nothing any more.
  const { data } = await events.until(({ data }) => data.kind === "stopped");
  const over = await one.json<RaftReport>("/v1/raft");
  fits("GET /v1/raft", over);
  assert.match(String(over.groups[0].stopped), /replica 1 was removed from the group/);
  assert.equal(over.groups[0].stopped, data.reason);
  await events.leave();
});

test("raft routes: without an identity they are not even asked", async () => {
  // Not --dev: whoever comes through a program's own server is nobody until it says who.
  await using one = await AdminNode.start({ dev: false });
  const anonymous = await one.refused(401, "/v1/raft");
  assert.equal(anonymous.code, "unauthenticated");
  await one.refused(401, "/v1/raft/remove", { body: { replica: 1 } });
  await one.refused(401, "/v1/kv/range?prefix=");
  await one.refused(401, "/v1/kv/watch?prefix=");
  await one.refused(401, "/v1/kv/key", { method: "PUT", body: { key: "a", value: "1" } });
  await one.refused(401, "/v1/openapi.json");
  assert.equal(await one.node.kv.get("a"), undefined);
});

test("raft routes: a module that is off says so", async () => {
  await using off = new AdminNode(
    await AdminNode.startNode({
      raft: { enabled: false },
      kv: { enabled: false },
      membership: { enabled: false },
    }),
  );
  const report = await off.refused(501, "/v1/raft");
  assert.deepEqual(report, {
    code: "unimplemented",
    message: "this node does not serve covey.raft.v1.Raft",
    hint: "set raft.enabled = true and kv.enabled = true",
  });
  await off.refused(501, "/v1/kv/watch?key=a");
  assert.deepEqual(Object.keys((await off.json<StatusReport>("/v1/status")).modules), ["rpc"]);
  assert.equal((await off.json<ReadyReport>("/readyz")).ready, true);

  await using plain = new AdminNode(await AdminNode.startNode({ kv: { enabled: false } }));
  await plain.refused(501, "/v1/kv");
  const { topics, modules } = await plain.json<StatusReport>("/v1/status");
  assert.deepEqual(topics.map(({ name }) => name), ["log", "membership", "raft"]);
  assert.deepEqual(Object.keys(modules), ["rpc", "raft", "membership"]);
  assert.equal(plain.metric("covey_kv_keys"), undefined);
});

test("raft routes: the same over Connect, from the same handlers", async () => {
  await using one = await AdminNode.start();
  const path = `/${Raft.typeName}/Promote`;
  const report = await one.refused(404, path, { body: { replica: 9 } });
  assert.deepEqual(report, { code: "not_found", message: "group kv has no replica 9" });
  const status = await one.json<{ groups: { role: string }[] }>(
    `/${Raft.typeName}/Status`,
    { body: {} },
  );
  assert.equal(status.groups[0].role, "ROLE_LEADER");
});
