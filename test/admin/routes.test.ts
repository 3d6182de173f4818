import assert from "node:assert/strict";
import { test } from "node:test";
import {
  allowedMethods,
  routeAccess,
  routeNames,
  routePaths,
  splitRoute,
} from "../../src/admin/access.ts";
import type {
  ConfigReport,
  ErrorReport,
  ReadyReport,
  StatusReport,
} from "../../src/admin/schema.ts";
import { createFixture, json, nobody } from "./support.ts";

test("admin: livez answers, readyz names what fails", async () => {
  const fixture = createFixture();
  const { app } = fixture.admin;
  assert.deepEqual(await json(await app.request("/livez")), { alive: true });
  assert.deepEqual(await json(await app.request("/readyz")), { ready: true });
  fixture.checks = [
    { name: "disk", check: () => undefined },
    { name: "kv", check: () => "no leader" },
    { name: "bus", check: () => Promise.resolve("starting") },
    { name: "raft", check: () => Promise.reject(new Error("broken")) },
    {
      name: "demux",
      check: () => {
        throw new Error("at once");
      },
    },
  ];
  for (const path of ["/readyz", "/healthz"]) {
    const short = await app.request(path);
    assert.equal(short.status, 503);
    assert.deepEqual(await json(short), { ready: false, failing: ["kv", "bus", "raft", "demux"] });
  }
  const long = await json<ReadyReport>(await app.request("/readyz?verbose"));
  assert.deepEqual(long.checks, [
    { name: "disk", ready: true },
    { name: "kv", ready: false, reason: "no leader" },
    { name: "bus", ready: false, reason: "starting" },
    { name: "raft", ready: false, reason: "broken" },
    { name: "demux", ready: false, reason: "at once" },
  ]);
});

test("admin: a readiness check that never answers is a no, in bounded time", async () => {
  const fixture = createFixture();
  fixture.checks = [{ name: "stuck", check: () => new Promise(() => {}) }];
  const asked = fixture.admin.app.request("/readyz?verbose");
  await new Promise((resolve) => setTimeout(resolve, 1));
  fixture.clock.advance(2000);
  const response = await asked;
  assert.equal(response.status, 503);
  const report = await json<ReadyReport>(response);
  assert.deepEqual(report.failing, ["stuck"]);
  assert.equal(report.checks?.[0].reason, "no answer within 2000 ms");
});

test("admin: metrics in both formats", async () => {
  const { app } = createFixture().admin;
  const plain = await app.request("/metrics");
  assert.equal(plain.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  assert.match(await plain.text(), /^covey_admin_event_clients 0$/m);
  const open = await app.request("/metrics", {
    headers: { accept: "application/openmetrics-text;version=1.0.0,text/plain;q=0.5" },
  });
  assert.match(open.headers.get("content-type") ?? "", /^application\/openmetrics-text/);
  const text = await open.text();
  assert.match(text, /# EOF\n$/);
  assert.match(text, /^covey_admin_requests_total\{route="\/metrics",status="200"\} 1$/m);
});

test("admin: status has the node, its services and topics", async () => {
  const { app } = createFixture().admin;
  const status = await json<StatusReport>(await app.request("/v1/status"));
  assert.equal(status.nodeId, "00112233445566778899aabbccddeeff");
  assert.deepEqual(status.modules, { ttrpc: { connections: 3 } });
  assert.equal(status.services[0].name, "covey.test.v1.TestService");
  assert.deepEqual(status.services[0].methods[1], { name: "Count", kind: "server_streaming" });
  assert.deepEqual(status.topics.map(({ name }) => name), ["log"]);
});

test("admin: config has every value with its origin", async () => {
  const { app } = createFixture().admin;
  const { settings } = await json<ConfigReport>(await app.request("/v1/config"));
  assert.deepEqual(settings[1], {
    key: "node.tags",
    value: ["north"],
    origin: "file covey.toml:3",
  });
});

test("admin: the index page says what this is, runs nothing and trusts nothing", async () => {
  const fixture = createFixture();
  const response = await fixture.admin.app.request("/");
  assert.equal(response.headers.get("content-type"), "text/html; charset=utf-8");
  const html = await response.text();
  assert.match(html, /<h1>gate-1<\/h1>/);
  assert.match(html, /covey\.test\.v1\.TestService/);
  assert.match(html, /Count \(server streaming\)/);
  for (const route of routeNames) {
    const { method, path } = splitRoute(route);
    // A link that changes something would be followed by whoever preloads links.
    assert.equal(html.includes(`href="${path}"`), allowedMethods(path).includes("GET"), path);
    if (method !== "GET") assert.ok(html.includes(`<code>${route}</code>`), route);
  }
  assert.ok(!html.includes("{{") && !html.includes("<script"));
  const policy = response.headers.get("content-security-policy") ?? "";
  assert.match(policy, /^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; /);
  assert.match(policy, /frame-ancestors 'none'/);
  // The hash is the style sheet's, as a browser computes it.
  const style = /<style>([^]*?)<\/style>/.exec(html)?.[1] ?? "";
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(style));
  assert.ok(policy.includes(btoa(String.fromCharCode(...new Uint8Array(digest)))));
});

test("admin: every answer protects itself", async () => {
  const { app } = createFixture().admin;
  const requests: [string, RequestInit][] = [
    ["/", {}],
    ["/livez", {}],
    ["/v1/status", {}],
    ["/nowhere", {}],
    ["/v1/status", { method: "DELETE" }],
    ["/v1/status", { headers: { host: "evil.example" } }],
    ["/covey.test.v1.TestService/Nothing", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    }],
  ];
  for (const [path, init] of requests) {
    const response = await app.request(path, init);
    const where = `${init.method ?? "GET"} ${path}`;
    assert.equal(response.headers.get("x-content-type-options"), "nosniff", where);
    assert.equal(response.headers.get("x-frame-options"), "DENY", where);
    assert.equal(response.headers.get("cross-origin-resource-policy"), "same-origin", where);
    assert.match(response.headers.get("content-security-policy") ?? "", /default-src 'none'/);
    assert.equal(response.headers.get("access-control-allow-origin"), null, where);
    await response.body?.cancel();
  }
});

test("admin: unknown paths and methods are told what to do", async () => {
  const { app } = createFixture().admin;
  const missing = await app.request("/v1/statsu");
  assert.equal(missing.status, 404);
  const report = await json<ErrorReport>(missing);
  assert.equal(report.code, "not_found");
  assert.match(report.message, /\/v1\/statsu/);
  assert.match(report.hint ?? "", /GET \/ lists/);
  for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
    const response = await app.request("/v1/status", { method });
    assert.equal(response.status, 405, method);
    assert.equal(response.headers.get("allow"), "GET, HEAD");
    assert.equal((await json<ErrorReport>(response)).hint, "use GET, HEAD");
  }
});

test("admin: HEAD is GET without a body, and leaves no client behind", async () => {
  const fixture = createFixture();
  const ofNode = routePaths.filter((path) =>
    path !== "/v1/socket" && !/^\/v1\/(?:raft|kv|members)/.test(path)
  );
  for (const path of ofNode) {
    const response = await fixture.admin.app.request(path, { method: "HEAD" });
    assert.equal(response.status, 200, path);
    assert.equal(await response.text(), "", path);
    if (path === "/v1/events" || path === "/metrics") continue;
    // The length is what GET gives, where the runtimes would say 0.
    const whole = await (await fixture.admin.app.request(path)).arrayBuffer();
    assert.equal(response.headers.get("content-length"), String(whole.byteLength), path);
  }
  const head = await fixture.admin.app.request("/nothing", { method: "HEAD" });
  assert.equal(head.status, 404);
  assert.match(head.headers.get("content-length") ?? "", /^[1-9]/);
  assert.match(fixture.metrics.expose("prometheus"), /^covey_admin_event_clients 0$/m);
});

test("admin: every route asks the policy first, with its own action", async () => {
  const fixture = createFixture();
  fixture.identity = nobody;
  fixture.denied = () => true;
  let touched = 0;
  fixture.checks = [{ name: "x", check: () => void touched++ }];
  const ask = async (route: typeof routeNames[number]): Promise<Response> => {
    const { method, path } = splitRoute(route);
    const body = method === "POST" || method === "PUT" ? "not looked at" : undefined;
    const headers = { "content-type": "application/json" };
    return await fixture.admin.app.request(path, { method, headers, body });
  };
  for (const route of routeNames) {
    const response = await ask(route);
    assert.equal(response.status, 401, route);
    const report = await json<ErrorReport>(response);
    assert.equal(report.code, "unauthenticated");
    const { action, resource } = routeAccess[route];
    assert.ok(report.message.startsWith(`${action} on ${resource} needs an identity`), route);
  }
  fixture.identity = { kind: "token", name: "kiosk" };
  for (const route of routeNames) {
    const response = await ask(route);
    assert.equal(response.status, 403, route);
    const report = await json<ErrorReport>(response);
    assert.equal(report.code, "permission_denied");
    assert.match(report.message, /token identity "kiosk" may not/);
  }
  assert.equal(touched, 0);
  assert.deepEqual(
    fixture.asked,
    ["anonymous", "token"].flatMap((kind) =>
      routeNames.map((route) => {
        const { action, resource } = routeAccess[route];
        return `${kind} ${action} ${resource}`;
      })
    ),
  );
  const call = await fixture.admin.app.request("/covey.test.v1.TestService/Nothing", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  assert.equal(call.status, 403);
  assert.equal(
    fixture.asked.at(-1),
    "token service.call covey.test.v1.TestService/Nothing",
  );
});

test("admin: a failure inside is a JSON answer and a log line, never a crash", async () => {
  const fixture = createFixture();
  fixture.denied = () => {
    throw new TypeError("bug");
  };
  const response = await fixture.admin.app.request("/v1/status");
  assert.equal(response.status, 500);
  assert.deepEqual(await json(response), { code: "internal", message: "bug" });
  assert.deepEqual(fixture.complaints, ["request failed"]);
});

test("admin: two endpoints need two registries", () => {
  const fixture = createFixture();
  assert.throws(() =>
    fixture.metrics.declare({
      again: { name: "covey_admin_requests_total", unit: "requests", help: "x", kind: "counter" },
    }), /declared twice/);
});
