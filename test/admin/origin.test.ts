import assert from "node:assert/strict";
import { test } from "node:test";
import { AllowedHosts, hostName } from "../../src/admin/origin.ts";
import type { ErrorReport } from "../../src/admin/schema.ts";
import { createFixture, json, running } from "./support.ts";

const call = "/covey.test.v1.TestService/Nothing";

test("admin host: one name with at most a port, nothing else", () => {
  const good: [string, string][] = [
    ["localhost", "localhost"],
    ["LocalHost:7980", "localhost"],
    ["127.0.0.1:1", "127.0.0.1"],
    ["[::1]:7980", "::1"],
    ["[::1]", "::1"],
    ["a-b.example", "a-b.example"],
  ];
  for (const [host, name] of good) assert.equal(hostName(host), name);
  const bad = [
    "",
    " ",
    "a b",
    "a,b",
    "localhost@evil",
    "evil/localhost",
    "::1",
    "[::1",
    "a:b",
    "a:",
  ];
  for (const host of bad) assert.equal(hostName(host), undefined, host);
});

test("admin host: loopback names, the bound address and what is configured", () => {
  const hosts = new AllowedHosts(["Panel.Example", "[fd00::1]"]);
  hosts.add("127.0.0.5");
  const yes = [
    "localhost",
    "127.0.0.1:7980",
    "[::1]:7980",
    "panel.example",
    "[fd00::1]",
    "127.0.0.5",
  ];
  for (const host of yes) assert.ok(hosts.has(host), host);
  const no = [
    "evil.example",
    "localhost.evil.example",
    "localhost.",
    "127.0.0.1.evil.example",
    "127.0.0.2",
    "0.0.0.0",
    "127.1",
    "2130706433",
    "[::ffff:127.0.0.1]",
    "xlocalhost",
  ];
  for (const host of no) assert.ok(!hosts.has(host), host);
});

test("admin: a rebound name reaches no route, health included", async () => {
  const fixture = createFixture();
  const requests: [string, RequestInit][] = [
    ["/", {}],
    ["/livez", {}],
    ["/readyz", {}],
    ["/metrics", {}],
    ["/v1/status", {}],
    ["/v1/config", {}],
    ["/v1/events", {}],
    ["/v1/socket", { headers: { upgrade: "websocket" } }],
    ["/nowhere", {}],
    ["/v1/status", { method: "POST" }],
    [call, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" }],
  ];
  const before = running.calls;
  for (const [path, init] of requests) {
    for (const host of ["evil.example", "evil.example:7980", "a, localhost"]) {
      const headers = { ...init.headers as Record<string, string>, host };
      const response = await fixture.admin.app.request(path, { ...init, headers });
      assert.equal(response.status, 403, `${path} as ${host}`);
      const report = await json<ErrorReport>(response);
      assert.ok(report.message.includes(JSON.stringify(host)));
      assert.match(report.hint ?? "", /admin\.allowed_hosts/);
    }
  }
  assert.equal(running.calls, before);
  assert.deepEqual(fixture.asked, []);
  assert.match(
    fixture.metrics.expose("prometheus"),
    /^covey_admin_refused_total\{reason="host"\} 33$/m,
  );
});

test("admin: a name in allowed_hosts is answered", async () => {
  const { app } = createFixture({ allowedHosts: ["panel.example"] }).admin;
  const response = await app.request("/v1/status", { headers: { host: "panel.example:8443" } });
  assert.equal(response.status, 200);
});

test("admin: other origins get health by GET and nothing else", async () => {
  const fixture = createFixture();
  const foreign = [
    "http://evil.example",
    "https://localhost",
    "http://localhost:1234",
    "http://localhost",
    "http://127.0.0.1:7980",
    "null",
    "file://",
    "http://localhost:7980/path",
    "chrome-extension://abc",
    "",
  ];
  for (const origin of foreign) {
    const headers = { host: "localhost:7980", origin };
    for (const path of ["/", "/metrics", "/v1/status", "/v1/config", "/v1/events", "/v1/socket"]) {
      const response = await fixture.admin.app.request(path, { headers });
      assert.equal(response.status, 403, `${path} from ${origin}`);
      assert.match((await json<ErrorReport>(response)).message, /another origin/);
    }
    assert.equal((await fixture.admin.app.request("/livez", { headers })).status, 200);
    assert.equal((await fixture.admin.app.request("/readyz", { headers })).status, 200);
    const posted = await fixture.admin.app.request("/readyz", { method: "POST", headers });
    assert.equal(posted.status, 403);
    const called = await fixture.admin.app.request(call, {
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      body: "{}",
    });
    assert.equal(called.status, 403);
  }
  assert.ok(fixture.asked.every((asked) => asked.endsWith("health.read node")));
});

test("admin: the page's own origin may ask", async () => {
  const { app } = createFixture({ allowedHosts: ["panel.example"] }).admin;
  const own: [string, string][] = [
    ["localhost:7980", "http://localhost:7980"],
    ["localhost", "http://localhost"],
    ["localhost:80", "http://localhost"],
    ["[::1]:7980", "http://[::1]:7980"],
    ["Panel.Example", "https://panel.example"],
    ["panel.example:443", "https://panel.example"],
    // A proxy in front of a mounted app may have ended its TLS.
    ["panel.example:8443", "https://panel.example:8443"],
  ];
  for (const [host, origin] of own) {
    const response = await app.request("/v1/status", { headers: { host, origin } });
    assert.equal(response.status, 200, `${origin} to ${host}`);
  }
});

test("admin: a browser that sends no Origin still says where the request comes from", async () => {
  const { app } = createFixture().admin;
  const ask = async (path: string, headers: Record<string, string>, method = "GET") =>
    (await app.request(path, { method, headers })).status;
  for (const site of ["cross-site", "same-site"]) {
    // An image or a script tag on a foreign page.
    const embedded = {
      "sec-fetch-site": site,
      "sec-fetch-mode": "no-cors",
      "sec-fetch-dest": "image",
    };
    assert.equal(await ask("/v1/config", embedded), 403);
    assert.equal(await ask("/livez", embedded), 200);
    // A frame.
    const framed = {
      "sec-fetch-site": site,
      "sec-fetch-mode": "navigate",
      "sec-fetch-dest": "iframe",
    };
    assert.equal(await ask("/", framed), 403);
    // A link that somebody clicked.
    const linked = {
      "sec-fetch-site": site,
      "sec-fetch-mode": "navigate",
      "sec-fetch-dest": "document",
    };
    assert.equal(await ask("/", linked), 200);
    // A form that posts.
    assert.equal(await ask(call, linked, "POST"), 403);
  }
  for (const site of ["none", "same-origin"]) {
    assert.equal(await ask("/v1/config", { "sec-fetch-site": site }), 200);
  }
});

test("admin: what a form can send never reaches a handler", async () => {
  const { app } = createFixture().admin;
  const before = running.calls;
  const types = [
    "text/plain",
    "text/plain; x=application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/grpc",
    "application/grpc-web+proto",
    "application/jsonx",
    "",
  ];
  for (const type of types) {
    const response = await app.request("/covey.test.v1.TestService/Echo", {
      method: "POST",
      headers: { "content-type": type },
      body: "{}",
    });
    assert.equal(response.status, 415, type);
    assert.match((await json<ErrorReport>(response)).hint ?? "", /application\/json/);
  }
  assert.equal(running.calls, before);
});
