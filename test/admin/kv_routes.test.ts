/** `/v1/kv` and below against a real node. */
import { hc } from "npm:hono@4.13.19/client";
import assert from "node:assert/strict";
import { test } from "node:test";
import { contracts } from "../../src/admin/contract.ts";
import type {
  KvDeleteReport,
  KvEntryReport,
  KvLeasesReport,
  KvPutReport,
  KvRangeReport,
  KvReport,
} from "../../src/admin/kv_schema.ts";
import type { AdminApp, StatusReport } from "../../src/admin/schema.ts";
import { shapes } from "../../src/admin/shapes.ts";
import type { Shape } from "../../src/admin/shape.ts";
import { runtime } from "../node/support.ts";
import { AdminNode, EventReader } from "./node_support.ts";

type JsonRoute =
  | "GET /v1/kv"
  | "GET /v1/kv/range"
  | "PUT /v1/kv/key"
  | "DELETE /v1/kv/key"
  | "GET /v1/kv/leases";

/** The answer has exactly the fields that the document promises. */
function fits<T>(route: JsonRoute, answer: T): T {
  const { schema } = contracts[route].answer as Shape<unknown>;
  assert.deepEqual(schema.parse(answer), answer);
  return answer;
}

async function put(node: AdminNode, body: object): Promise<KvPutReport> {
  return fits("PUT /v1/kv/key", await node.json("/v1/kv/key", { method: "PUT", body }));
}

async function range(node: AdminNode, query: string): Promise<KvRangeReport> {
  return fits("GET /v1/kv/range", await node.json(`/v1/kv/range?${query}`));
}

/** The store lets go of watches in slices. */
async function nobodyWatches({ node }: AdminNode): Promise<void> {
  for (let at = 0; node.status().modules.kv.watches !== 0; at++) {
    assert.ok(at < 1000, "a watch goes on though nobody listens");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const keys = ({ entries }: KvRangeReport): (string | undefined)[] => entries.map(({ key }) => key);

test("kv routes: put, read and delete a key, as text and as base64", async () => {
  await using one = await AdminNode.start();
  const first = await put(one, { key: "lamp", value: "on" });
  assert.deepEqual(first, { revision: 2 });
  const second = await put(one, { key: "lamp", value: "off", previous: true });
  const was: KvEntryReport = {
    key: "lamp",
    value: "on",
    createRevision: 2,
    modRevision: 2,
    version: 1,
    lease: 0,
  };
  assert.deepEqual(second, { revision: 3, previous: was });
  // Bytes that are no text, and an empty value.
  await put(one, { keyBase64: "/wA=", valueBase64: "" });
  const found = await range(one, "keyBase64=_wA=");
  assert.deepEqual(found.entries, [{
    keyBase64: "/wA=",
    value: "",
    createRevision: 4,
    modRevision: 4,
    version: 1,
    lease: 0,
  }]);
  // What is text may be asked for in base64, and comes as text all the same.
  assert.deepEqual(keys(await range(one, "keyBase64=bGFtcA==")), ["lamp"]);
  assert.equal((await one.node.kv.get("lamp"))?.text, "off");

  const gone = await one.json<KvDeleteReport>("/v1/kv/key?key=lamp&previous", { method: "DELETE" });
  fits("DELETE /v1/kv/key", gone);
  assert.deepEqual([gone.revision, gone.deleted, gone.previous?.value], [5, 1, "off"]);
  const again = await one.json<KvDeleteReport>("/v1/kv/key?key=lamp", { method: "DELETE" });
  assert.deepEqual(again, { revision: 5, deleted: 0 });
  assert.deepEqual((await range(one, "key=lamp")).entries, []);
  assert.equal((await range(one, "key=lamp&revision=3")).entries[0].value, "off");
});

test("kv routes: ranges by prefix and interval, with limit, order and what is left out", async () => {
  await using one = await AdminNode.start();
  for (const key of ["a", "b/1", "b/2", "b/3", "c"]) await put(one, { key, value: `of ${key}` });
  assert.deepEqual(keys(await range(one, "prefix=")), ["a", "b/1", "b/2", "b/3", "c"]);
  assert.deepEqual(keys(await range(one, "prefix=b/")), ["b/1", "b/2", "b/3"]);
  assert.deepEqual(keys(await range(one, "from=b/2")), ["b/2", "b/3", "c"]);
  assert.deepEqual(keys(await range(one, "from=&to=b/2")), ["a", "b/1"]);
  assert.deepEqual(keys(await range(one, "from=b/2&to=c")), ["b/2", "b/3"]);
  const some = await range(one, "prefix=&limit=2");
  assert.deepEqual([keys(some), some.more, some.count], [["a", "b/1"], true, 5]);
  const last = await range(one, "prefix=&sortBy=create&order=descend&limit=1");
  assert.deepEqual(keys(last), ["c"]);
  assert.deepEqual(keys(await range(one, "prefix=b/&order=descend")), ["b/3", "b/2", "b/1"]);
  const bare = await range(one, "key=a&keysOnly");
  assert.deepEqual(Object.keys(bare.entries[0]).filter((name) => name.startsWith("value")), []);
  const counted = await range(one, "prefix=b/&countOnly=true");
  assert.deepEqual([counted.entries, counted.count], [[], 3]);
  assert.equal((await range(one, "key=a&serializable=true")).count, 1);
  // The last byte of a prefix may be the highest one.
  await put(one, { keyBase64: "YP8=", value: "x" });
  await put(one, { keyBase64: "YP8B", value: "y" });
  assert.equal((await range(one, "prefixBase64=YP8=")).count, 2);
});

test("kv routes: how the store fares, and its leases", async () => {
  await using one = await AdminNode.start();
  const before = fits("GET /v1/kv", await one.json<KvReport>("/v1/kv"));
  assert.deepEqual([before.keys, before.leader, before.errors], [0, 1, []]);
  assert.equal(one.metric("covey_kv_keys"), 0);
  const lease = await one.node.kv.lease({ ttlMs: 60_000 });
  await put(one, { key: "mine", value: "1", lease: lease.id });
  await put(one, { key: "mine", value: "2", keepLease: true });
  const after = await one.json<KvReport>("/v1/kv");
  assert.deepEqual([after.keys, after.leases], [1, 1]);
  assert.ok(after.bytes > 0 && after.revision > before.revision);
  assert.equal((await range(one, "key=mine")).entries[0].lease, lease.id);
  const leases = fits("GET /v1/kv/leases", await one.json<KvLeasesReport>("/v1/kv/leases"));
  assert.deepEqual(leases.leases, [{ id: lease.id }]);
  const { modules } = await one.json<StatusReport>("/v1/status");
  assert.deepEqual(
    [modules.kv.state, modules.kv.leading, modules.kv.keys, modules.kv.leases, modules.kv.full],
    ["serving", true, 1, 1, false],
  );
  assert.equal(one.metric("covey_kv_keys"), 1);
  assert.equal(one.metric('covey_kv_requests_total{kind="put"}'), 2);
  await lease.revoke();
  assert.deepEqual((await one.json<KvLeasesReport>("/v1/kv/leases")).leases, []);
});

test("kv routes: a wrong request is told what is wrong with it", async () => {
  await using one = await AdminNode.start();
  await put(one, { key: "a", value: "1" });
  const wrong: [number, string, RegExp][] = [
    [400, "range", /^which keys is not said, or said twice$/],
    [400, "range?key=a&prefix=b", /^which keys is not said, or said twice$/],
    [400, "range?key=a&keyBase64=YQ==", /^key and keyBase64 are both given$/],
    [400, "range?key=a&to=b", /^to: goes with from only$/],
    [400, "range?from=a&to=", /^to: is empty$/],
    [400, "range?keyBase64=%25", /^keyBase64: "%" is not base64/],
    [400, "range?keyBase64=Y", /^keyBase64: "Y" is not base64$/],
    [400, "range?key=", /^the key is empty$/],
    [400, "range?key=a&limit=0", /^limit: 0 is not a whole number from 1 to 100000$/],
    [400, "range?key=a&limit=1e3", /^limit: "1e3" is not a whole number/],
    [400, "range?key=a&revision=99999999999999999999", /^revision: "9{20}" is not a whole number/],
    [400, "range?key=a&revision=77", /^the revision has not happened yet \(the newest is 2\)$/],
    [400, "range?key=a&order=up", /^order: "up" is not ascend or descend$/],
    [400, "range?key=a&sortBy=size", /^sortBy: "size" is not key, version, create, mod or value$/],
    [400, "range?key=a&keysOnly=yes", /^keysOnly: "yes" is not true or false$/],
    [400, "range?key=a&limits=1", /^no parameter "limits"$/],
    [400, "leases?all", /^no parameter "all"$/],
    [400, "watch?key=a&fromRevision=0", /^fromRevision: 0 is not a whole number from 1 on$/],
    [400, "watch?from=b&to=a", /^no key lies in the range/],
    [400, "watch", /^which keys is not said, or said twice$/],
  ];
  for (const [status, path, message] of wrong) {
    assert.match((await one.refused(status, `/v1/kv/${path}`)).message, message, path);
  }
  const bodies: [number, RegExp, object][] = [
    [400, /^key: is missing$/, { value: "1" }],
    [400, /^value: is missing$/, { key: "a" }],
    [400, /^value and valueBase64 are both given$/, { key: "a", value: "1", valueBase64: "" }],
    [400, /^key: "\\ud800" is not text$/, { key: "\ud800", value: "1" }],
    [400, /^value: 1 is not text$/, { key: "a", value: 1 }],
    [400, /^lease: -1 is not a whole number from 1 on$/, { key: "a", value: "1", lease: -1 }],
    [400, /^no field "ttl"$/, { key: "a", value: "1", ttl: 3 }],
    [400, /^the key is empty$/, { key: "", value: "1" }],
    [404, /lease/, { key: "a", value: "1", lease: 4711 }],
    [400, /4096 bytes/, { key: "k".repeat(5000), value: "1" }],
  ];
  for (const [status, message, body] of bodies) {
    const report = await one.refused(status, "/v1/kv/key", { method: "PUT", body });
    assert.match(report.message, message, JSON.stringify(body).slice(0, 80));
  }
  await one.refused(400, "/v1/kv/key", { method: "DELETE" });
  await one.refused(400, "/v1/kv/key?prefix=a", { method: "DELETE" });
  const id = await one.ask("/v1/kv/watch?key=a", { headers: { "last-event-id": "x-1" } });
  assert.deepEqual([id.status, (await id.json()).message], [
    400,
    'last-event-id: "x-1" is not a revision',
  ]);
  // Refusals are the caller's: the store is as it was.
  assert.equal((await one.json<KvReport>("/v1/kv")).revision, 2);
});

test("kv routes: a page of another origin changes nothing", async () => {
  await using one = await AdminNode.start();
  await put(one, { key: "a", value: "1" });
  const headers = { origin: "https://evil.example" };
  await one.refused(403, "/v1/kv/key?key=a", { method: "DELETE", headers });
  await one.refused(403, "/v1/kv/key", { method: "PUT", body: { key: "a", value: "2" }, headers });
  await one.refused(403, "/v1/raft/remove", { body: { replica: 1 }, headers });
  await one.refused(403, "/v1/kv/watch?prefix=", { headers });
  const rebound = { host: "evil.example" };
  await one.refused(403, "/v1/kv/key?key=a", { method: "DELETE", headers: rebound });
  assert.equal((await range(one, "key=a")).entries[0].value, "1");
});

test("kv routes: Hono's client knows them", async () => {
  await using one = await AdminNode.start();
  const client = hc<AdminApp>("http://127.0.0.1", {
    fetch: ((input: Request | string | URL, init?: RequestInit) =>
      one.node.admin.request(input, init)) as typeof fetch,
  });
  const written = await client.v1.kv.key.$put({ json: { key: "a", value: "1" } });
  const revision: number = (await written.json()).revision;
  const found = await (await client.v1.kv.range.$get({ query: { prefix: "", limit: "5" } })).json();
  const entry: KvEntryReport = found.entries[0];
  assert.deepEqual([entry.value, entry.modRevision], ["1", revision]);
  const { deleted } = await (await client.v1.kv.key.$delete({ query: { key: "a" } })).json();
  assert.equal(deleted, 1);
});

test("kv watch: what happened and what happens, once and in order, and on from an id", async () => {
  await using one = await AdminNode.start();
  await put(one, { key: "a", value: "1" });
  const watch = new EventReader(await one.ask("/v1/kv/watch?prefix=&fromRevision=2&previous"));
  const changes = shapes.find(({ name }) => name === "KvChanges")!;
  assert.equal((await watch.next())?.event, "watching");
  const first = await watch.next();
  assert.deepEqual([first?.event, first?.id], ["change", "2"]);
  assert.deepEqual(changes.schema.parse(first?.data), first?.data);
  // A transaction is one event, whatever it changes.
  await one.node.kv.transact({
    success: [{ put: "a", value: "2" }, { put: new Uint8Array([255]), value: "x" }],
  });
  await one.json("/v1/kv/key?key=a", { method: "DELETE" });
  const second = await watch.next();
  assert.deepEqual(changes.schema.parse(second?.data), second?.data);
  assert.deepEqual([second?.id, second?.data], ["3", {
    revision: 3,
    events: [
      {
        type: "put",
        entry: { key: "a", value: "2", createRevision: 2, modRevision: 3, version: 2, lease: 0 },
        previous: { key: "a", value: "1", createRevision: 2, modRevision: 2, version: 1, lease: 0 },
      },
      {
        type: "put",
        entry: {
          keyBase64: "/w==",
          value: "x",
          createRevision: 3,
          modRevision: 3,
          version: 1,
          lease: 0,
        },
      },
    ],
  }]);
  const third = await watch.next();
  assert.deepEqual(changes.schema.parse(third?.data), third?.data);
  const [deleted] = third?.data.events as { type: string; entry: KvEntryReport }[];
  assert.deepEqual([third?.id, deleted.type, deleted.entry.key], ["4", "delete", "a"]);
  assert.ok(!("value" in deleted.entry));
  await watch.leave();

  const back = new EventReader(
    await one.ask("/v1/kv/watch?prefix=&fromRevision=2", { headers: { "last-event-id": "3" } }),
  );
  assert.equal((await back.next())?.event, "watching");
  assert.equal((await back.next())?.id, "4");
  await back.leave();
  const only = new EventReader(await one.ask("/v1/kv/watch?key=a&fromRevision=2&withoutPuts"));
  assert.equal((await only.until(({ event }) => event === "change")).id, "4");
  await only.leave();
  // Whoever left is forgotten, here and in the store.
  await nobodyWatches(one);
  assert.equal(one.metric("covey_admin_calls_active"), 0);
  const head = await one.ask("/v1/kv/watch?key=a", { method: "HEAD" });
  assert.deepEqual([head.status, head.headers.get("content-type")], [
    200,
    "text/event-stream; charset=utf-8",
  ]);
  assert.equal((await one.json<KvReport>("/v1/kv")).watches, 0);
});

test("kv watch: the end says why", async () => {
  await using one = await AdminNode.start();
  for (let at = 0; at < 5; at++) await put(one, { key: "a", value: String(at) });
  await one.node.kv.compact(5);
  const late = new EventReader(await one.ask("/v1/kv/watch?key=a&fromRevision=2"));
  const compacted = await late.until(({ event }) => event === "end");
  assert.equal(compacted.data.compactRevision, 5);
  assert.match(String(compacted.data.reason), /compacted/);
  assert.equal(await late.next(), undefined);
  const live = new EventReader(await one.ask("/v1/kv/watch?key=a"));
  assert.equal((await live.next())?.event, "watching");
  const stopped = one.node.stop();
  const end = await live.until(({ event }) => event === "end");
  assert.match(String(end.data.reason), /shutting down|stops/);
  assert.equal(await live.next(), undefined);
  await stopped;
});

test("kv watch: over a socket, and a client that leaves is noticed", async () => {
  await using one = await AdminNode.start();
  const address = one.node.listeners.admin;
  const leaving = new AbortController();
  const response = await runtime.http.fetch(
    new Request(`${address}/v1/kv/watch?prefix=`, { signal: leaving.signal }),
  );
  const watch = new EventReader(response);
  assert.equal((await watch.next())?.event, "watching");
  const put = await runtime.http.fetch(
    new Request(`${address}/v1/kv/key`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: '{"key":"a","value":"1"}',
    }),
  );
  assert.equal(put.status, 200);
  await put.body?.cancel();
  assert.equal((await watch.next())?.id, "2");
  await watch.leave();
  leaving.abort();
  await nobodyWatches(one);
});

test("kv routes: the store's services answer over Connect", async () => {
  await using one = await AdminNode.start();
  const call = async (path: string, body: object) =>
    await one.json<Record<string, unknown>>(`/covey.kv.v1.${path}`, { body });
  await call("KV/Put", { key: "YQ==", value: "MQ==" });
  const { kvs } = await call("KV/Range", { key: "YQ==" }) as { kvs: { value: string }[] };
  assert.equal(kvs[0].value, "MQ==");
  assert.equal((await call("Maintenance/Status", {})).keys, "1");
  const { id } = await call("Lease/LeaseGrant", { ttl: "60" });
  assert.match(String(id), /^\d+$/);
  const refused = await one.refused(400, "/covey.kv.v1.KV/Put", { body: { value: "MQ==" } });
  assert.equal(refused.message, "the key is empty");
});
