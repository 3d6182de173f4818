import { Hono } from "npm:hono@4.13.19";
import { hc } from "npm:hono@4.13.19/client";
import assert from "node:assert/strict";
import { test } from "node:test";
import type { AdminApp, AdminEnv } from "../../src/admin/schema.ts";
import { createFixture, json, nobody } from "./support.ts";

test("admin: Hono's client is typed by the app", async () => {
  const fixture = createFixture();
  fixture.checks = [{ name: "kv", check: () => "no leader" }];
  const client = hc<AdminApp>("http://localhost", {
    fetch: ((input: Request | string | URL, init?: RequestInit) =>
      fixture.admin.app.request(input, init)) as typeof fetch,
  });
  const alive: true = (await (await client.livez.$get()).json()).alive;
  assert.equal(alive, true);
  const status = await (await client.v1.status.$get()).json();
  const kind: "unary" | "server_streaming" | "client_streaming" | "bidi_streaming" =
    status.services[0].methods[0].kind;
  assert.equal(kind, "unary");
  const ready = await client.readyz.$get({ query: { verbose: "" } });
  assert.equal(ready.status, 503);
  if (ready.status === 503) {
    const failing: readonly string[] | undefined = (await ready.json()).failing;
    assert.deepEqual(failing, ["kv"]);
  }
  const text: string = await (await client.metrics.$get()).text();
  assert.match(text, /covey_admin_requests_total/);
  assert.equal(client.v1.events.$url({ query: { topic: ["log"] } }).search, "?topic=log");
  // @ts-expect-error -- a route that does not exist is a type error, not a 404 in the field
  assert.equal(typeof client.v1.nope.$get, "function");
});

test("admin: the app can be mounted in a program's own server", async () => {
  const fixture = createFixture();
  const userApp = new Hono()
    .get("/", (context) => context.text("mine"))
    .route("/covey", fixture.admin.app)
    .get("/covey/extra", (context) => context.text("mine too"))
    .notFound((context) => context.text("my own 404", 404));
  assert.equal(await (await userApp.request("/")).text(), "mine");
  assert.equal(await (await userApp.request("/covey/extra")).text(), "mine too");
  assert.equal(await (await userApp.request("/covey/nope")).text(), "my own 404");
  assert.equal((await userApp.request("/covey/v1/status")).status, 200);
  const page = await (await userApp.request("/covey")).text();
  assert.match(page, /href="\/covey\/v1\/status"/);
  const call = await userApp.request("/covey/covey.test.v1.TestService/Echo", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"payload":"aGk="}',
  });
  assert.deepEqual(await json(call), { payload: "aGk=" });
  // The same protection as on the node's own listener.
  const rebound = await userApp.request("/covey/v1/config", { headers: { host: "evil.example" } });
  assert.equal(rebound.status, 403);
  const wrong = await userApp.request("/covey/v1/config", { method: "POST" });
  assert.equal(wrong.status, 405);

  const client = hc<typeof userApp>("http://localhost", {
    fetch: ((input: Request | string | URL, init?: RequestInit) =>
      userApp.request(input, init)) as typeof fetch,
  });
  const report = await (await client.covey.v1.config.$get()).json();
  assert.equal(report.settings[0].origin, "default");
});

test("admin: a mounted app can be told who asks", async () => {
  const fixture = createFixture();
  fixture.identity = nobody;
  fixture.denied = (identity) => identity.kind === "anonymous";
  const userApp = new Hono<{ Variables: AdminEnv["Variables"] }>();
  userApp.use("/covey/*", async (context, next) => {
    if (context.req.header("x-key") === "secret") {
      context.set("coveyIdentity", { kind: "token", name: "operator" });
    }
    await next();
  });
  userApp.route("/covey", fixture.admin.app);
  const unknown = await userApp.request("/covey/v1/status");
  assert.equal(unknown.status, 401);
  assert.equal(unknown.headers.get("www-authenticate"), 'Bearer realm="covey"');
  const known = await userApp.request("/covey/v1/status", { headers: { "x-key": "secret" } });
  assert.equal(known.status, 200);
  assert.equal(fixture.asked.at(-1), "token status.read node");
  const call = await userApp.request("/covey/covey.test.v1.TestService/Echo", {
    method: "POST",
    headers: { "content-type": "application/json", "x-key": "secret" },
    body: "{}",
  });
  assert.equal(call.headers.get("served-by"), "operator");
});
