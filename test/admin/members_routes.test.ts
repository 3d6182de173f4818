/** `/v1/members`, its events, numbers, readiness and the page, against real nodes. */
import { hc } from "npm:hono@4.13.19/client";
import assert from "node:assert/strict";
import { test } from "node:test";
import { contracts } from "../../src/admin/contract.ts";
import type { KickReport, MembershipReport } from "../../src/admin/membership_schema.ts";
import type { AdminApp, ReadyReport, StatusReport } from "../../src/admin/schema.ts";
import { MemberRole } from "../../src/membership/core/member.ts";
import type { Members } from "../../src/membership/members.ts";
import type { MembersState } from "../../src/membership/members_types.ts";
import { type View, ViewFeed } from "../../src/membership/view_feed.ts";
import { MembershipAdmin } from "../../src/node/membership_admin.ts";
import type { StartOptions } from "../../src/start.ts";
import { inFolder } from "../node/support.ts";
import { AdminNode, EventReader } from "./node_support.ts";

/** Without consensus, so that it is a member as soon as somebody lets it in. */
async function member(name: string, more: StartOptions = {}): Promise<AdminNode> {
  const node = await AdminNode.startNode({
    dev: false,
    tls: { mode: "off" },
    raft: { enabled: false },
    kv: { enabled: false },
    membership: { profile: "low_latency" },
    ...more,
    node: { name, ...more.node },
  });
  return new AdminNode(node);
}

function fits(answer: unknown): void {
  assert.deepEqual(contracts["GET /v1/members"].answer.schema.parse(answer), answer);
}

/** Resolves once the node is in a view of so many. */
async function membersOf(one: AdminNode, count: number): Promise<void> {
  for await (const { members } of one.node.members.views()) if (members.length === count) return;
}

test("members routes: a node alone, in the words of covey members --json", async () => {
  await using one = await AdminNode.start({ node: { name: "gate-1" } });
  const report = await one.json<MembershipReport>("/v1/members");
  fits(report);
  assert.deepEqual([report.state, report.problem, report.epoch], ["member", undefined, 1]);
  assert.equal(report.clusterId, one.node.members.clusterId);
  assert.match(report.digest, /^[0-9a-f]{16}$/);
  const [self] = report.members;
  assert.deepEqual(report.members.length, 1);
  assert.deepEqual([self.name, self.nodeId, self.role], ["gate-1", one.node.nodeId, "core"]);
  assert.equal(self.address, one.node.rpc.addresses[0]);
  one.node.members.say("zone", new TextEncoder().encode("north"));
  one.node.members.say("raw", Uint8Array.of(0xff));
  const said = await one.json<MembershipReport>("/v1/members");
  fits(said);
  const { facts } = said.members[0];
  assert.deepEqual([facts?.raw, facts?.zone], [{ base64: "/w==" }, "north"]);
  const { modules } = await one.json<StatusReport>("/v1/status");
  assert.deepEqual(modules.membership, {
    state: "member",
    clusterId: report.clusterId,
    epoch: report.epoch,
    members: 1,
  });
});

test("members routes: a wrong request is told what is wrong with it", async () => {
  await using one = await AdminNode.start({ node: { name: "gate-1" } });
  const wrong: [number, string, RegExp, object?][] = [
    [400, "/v1/members?epoch=1", /^no parameter "epoch"$/],
    [400, "/v1/members/kick", /^member: is missing: a member's name, address or node id$/, {}],
    [400, "/v1/members/kick", /^member: "" is not a member's name/, { member: "" }],
    [400, "/v1/members/kick", /^member: 7 is not a member's name/, { member: 7 }],
    [400, "/v1/members/kick", /^no field "name"$/, { name: "x", member: "y" }],
    [404, "/v1/members/kick", /^there is no member gate-9: the members are gate-1$/, {
      member: "gate-9",
    }],
    [400, "/v1/members/kick", /^gate-1 is the node that was asked/, { member: "gate-1" }],
    [400, "/v1/members/leave", /^no field "timeoutMs"$/, { timeoutMs: 1 }],
    [400, "/v1/members/leave", /^the body: \[\] is not a JSON object$/, []],
  ];
  for (const [status, path, message, body] of wrong) {
    const report = await one.refused(status, path, { body });
    assert.match(report.message, message, path);
  }
  assert.equal((await one.ask("/v1/members/kick")).headers.get("allow"), "POST");
  assert.equal((await one.json<MembershipReport>("/v1/members")).members.length, 1);
});

test("members routes: without an identity they are not even asked", async () => {
  await using one = await AdminNode.start({ dev: false });
  assert.equal((await one.refused(401, "/v1/members")).code, "unauthenticated");
  await one.refused(401, "/v1/members/kick", { body: { member: "x" } });
  await one.refused(401, "/v1/members/leave", { body: {} });
  assert.equal(one.node.members.state, "member");
});

test("members routes: where membership is off they say so", async () => {
  await using off = await AdminNode.start({ membership: { enabled: false } });
  const report = await off.refused(501, "/v1/members");
  assert.deepEqual(report, {
    code: "unimplemented",
    message: "this node does not serve covey.membership.v1.Members",
    hint: "set membership.enabled = true",
  });
  const { topics, modules } = await off.json<StatusReport>("/v1/status");
  assert.deepEqual(topics.map(({ name }) => name), ["kv", "log", "raft"]);
  assert.deepEqual(Object.keys(modules), ["rpc", "raft", "kv"]);
  const { checks } = await off.json<ReadyReport>("/readyz?verbose");
  assert.deepEqual(checks?.map(({ name }) => name), ["rpc", "raft", "kv"]);
  assert.ok(!(await (await off.ask("/")).text()).includes("<h2>Members</h2>"));
});

test("members routes: one joins, is sent away and leaves; events, numbers and the page tell", async () => {
  await using one = await member("one");
  const [address] = one.node.rpc.addresses;
  const events = new EventReader(await one.ask("/v1/events?topic=membership"));
  await using two = await member("two", { cluster: { join: [address] } });
  const joined = await events.until(({ data }) => data.kind === "view");
  const { epoch } = joined.data;
  assert.equal(joined.event, "membership");
  const self = { name: "two", address: two.node.rpc.addresses[0], nodeId: two.node.nodeId };
  assert.deepEqual(joined.data, {
    kind: "view",
    epoch,
    members: 2,
    joined: [self],
    left: [],
    skipped: 0,
  });
  await membersOf(two, 2);
  const report = await two.json<MembershipReport>("/v1/members");
  fits(report);
  assert.deepEqual(report.members.map(({ name }) => name).sort(), ["one", "two"]);
  const { digest } = await one.json<MembershipReport>("/v1/members");
  assert.equal(digest, report.digest, "at both the same view");
  assert.equal(one.metric('covey_membership_members{role="core"}'), 2);
  assert.equal(one.metric('covey_membership_members{role="leaf"}'), 0);
  assert.equal(one.metric("covey_membership_epoch"), epoch);
  assert.equal(one.metric("covey_membership_views_total"), 2);
  assert.equal(one.metric('covey_membership_changes_total{change="joined"}'), 1);
  assert.equal(one.metric('covey_membership_state{state="member"}'), 1);
  assert.equal(one.metric("covey_membership_degraded"), 0);

  const html = await (await one.ask("/")).text();
  assert.match(html, /<td>membership state<\/td><td>member<\/td>/);
  assert.match(html, /<td>membership members<\/td><td>2<\/td>/);
  assert.match(
    html,
    new RegExp(`<h2>Members</h2>[^]*<td>two</td><td>${self.address} \\(core\\), ${self.nodeId}`),
  );

  const kicked = await one.json<KickReport>("/v1/members/kick", { body: { member: "two" } });
  assert.deepEqual([kicked.member.name, kicked.member.nodeId], ["two", two.node.nodeId]);
  await events.until(({ data }) => data.kind === "view" && data.members === 1);
  // It still runs, and joins again.
  await events.until(({ data }) => data.kind === "view" && data.members === 2);
  const states = new EventReader(await two.ask("/v1/events?topic=membership"));
  const stays = async (): Promise<string | undefined> =>
    (await two.json<MembershipReport>("/v1/members")).members
      .find(({ name }) => name === "two")?.incarnation;
  for await (const { members } of two.node.members.views()) {
    if (members.length === 2 && await stays() !== kicked.member.incarnation) break;
  }

  const client = hc<AdminApp>("http://127.0.0.1", {
    fetch: ((input: Request | string | URL, init?: RequestInit) =>
      two.node.admin.request(input, init)) as typeof fetch,
  });
  assert.deepEqual(await (await client.v1.members.leave.$post({ json: {} })).json(), {});
  await events.until(({ data }) => data.kind === "view" && data.members === 1);
  const told = await states.until(({ data }) => data.kind === "state" && data.state === "left");
  assert.deepEqual(told.data, { kind: "state", state: "left" });
  await states.leave();
  const gone = await two.json<MembershipReport>("/v1/members");
  fits(gone);
  assert.deepEqual([gone.state, gone.problem], ["left", "this node has left"]);
  const ready = await two.ask("/readyz?verbose");
  assert.equal(ready.status, 503);
  assert.deepEqual((await ready.json() as ReadyReport).failing, ["membership"]);
  assert.equal(two.metric('covey_membership_state{state="left"}'), 1);
  assert.equal(one.metric('covey_membership_changes_total{change="left"}'), 2);
  await events.leave();
});

test("members routes: a member that cannot follow is ready, and says what is wrong", () =>
  inFolder(async (folder) => {
    const [a, b] = ["a", "b"].map((name) => `unix:${folder}/${name}.sock`);
    const start = (name: string, listen: string, join: string[]) =>
      member(name, { node: { listen: [listen], data: `${folder}/${name}` }, cluster: { join } });
    await using one = await start("one", a, []);
    const events = new EventReader(await one.ask("/v1/events?topic=membership"));
    const two = await start("two", b, [a]);
    try {
      await membersOf(two, 2);
    } finally {
      await two.node.stop();
    }
    // Of two neither decides alone.
    const { data } = await events.until(({ data }) => data.kind === "degraded");
    assert.match(String(data.why), /\S \S/);
    const ready = await one.json<ReadyReport>("/readyz?verbose");
    assert.deepEqual(ready.checks?.at(-1), { name: "membership", ready: true, note: data.why });
    assert.equal(one.metric("covey_membership_degraded"), 1);
    assert.equal(one.metric("covey_membership_links_up"), 0);
    assert.ok((one.metric('covey_membership_probes_total{event="sent"}') ?? 0) > 0);
    for (const reason of ["stranger", "fork", "invalid", "frame"]) {
      assert.equal(one.metric(`covey_membership_dropped_total{reason="${reason}"}`), 0, reason);
    }
    assert.equal((await one.json<MembershipReport>("/v1/members")).problem, data.why);
    assert.equal((await one.json<StatusReport>("/v1/status")).modules.membership.problem, data.why);

    await using _two = await start("two", b, [a]);
    await events.until(({ data }) => data.kind === "recovered");
    assert.equal(one.metric("covey_membership_degraded"), 0);
    assert.equal(one.metric("covey_membership_links_up"), 1);
    assert.ok((one.metric('covey_membership_probes_total{event="answered"}') ?? 0) > 0);
    assert.equal((await one.json<MembershipReport>("/v1/members")).problem, undefined);
    await events.leave();
  }));

test("membership events: each state, whatever was missed, and nothing while nobody follows", () => {
  const feed = new ViewFeed();
  const stay = (name: string, incarnation: bigint) => ({
    name,
    incarnation,
    address: `tcp://${name}:1`,
    nodeId: name,
    role: MemberRole.core,
    metadata: new Map(),
  });
  const members = {
    state: "waiting" as MembersState,
    problem: "no cluster is known yet" as string | undefined,
    feed,
  };
  const admin = new MembershipAdmin(members as unknown as Members);
  const seen: unknown[] = [];
  const topic = { wanted: false, publish: (data: unknown) => void seen.push(data) };
  admin.openTopics((name, help) => {
    assert.equal(name, "membership");
    assert.match(help, /\S \S/);
    return topic;
  });
  const show = (epoch: number, all: readonly ReturnType<typeof stay>[]) =>
    feed.show({ epoch, digest: 1n, members: all } satisfies View as never);

  members.state = "joining";
  admin.changed();
  topic.wanted = true;
  admin.changed();
  assert.deepEqual(seen.splice(0), [], "what was not wanted is not told later");

  members.state = "member";
  members.problem = undefined;
  show(4, [stay("a", 1n), stay("b", 2n)]);
  const named = (name: string) => ({ name, address: `tcp://${name}:1`, nodeId: name });
  assert.deepEqual(seen.splice(0), [
    { kind: "state", state: "member" },
    {
      kind: "view",
      epoch: 4,
      members: 2,
      joined: [named("a"), named("b")],
      left: [],
      skipped: 0,
    },
  ]);
  // The same node under another stay has gone and come.
  show(7, [stay("a", 1n), stay("b", 9n)]);
  assert.deepEqual(seen.splice(0), [{
    kind: "view",
    epoch: 7,
    members: 2,
    joined: [named("b")],
    left: [named("b")],
    skipped: 2,
  }]);
  members.problem = "too few are there";
  admin.changed();
  admin.changed();
  members.problem = undefined;
  admin.changed();
  assert.deepEqual(seen.splice(0), [
    { kind: "degraded", why: "too few are there" },
    { kind: "recovered" },
  ]);
  assert.deepEqual(admin.counters, { views: 2, joined: 1, left: 1 });
});
