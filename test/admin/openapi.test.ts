/** The OpenAPI document: every route, nothing else, and what the routes really take and give. */
import { Hono } from "npm:hono@4.13.19";
import assert from "node:assert/strict";
import { test } from "node:test";
import { routeAccess, routeNames } from "../../src/admin/access.ts";
import { contracts } from "../../src/admin/contract.ts";
import type { AdminRoute, OpenApiDocument } from "../../src/admin/schema.ts";
import { shapes } from "../../src/admin/shapes.ts";
import { accessRule } from "../../src/security/access.ts";
import { createFixture, json } from "./support.ts";

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema: object }>>;
  };
  readonly responses: Readonly<Record<string, unknown>>;
  readonly "x-covey-access": { readonly action: string; readonly resource: string };
}

async function readDocument(base = ""): Promise<OpenApiDocument> {
  const { app } = createFixture().admin;
  const mounted = base === "" ? app : new Hono().route(base, app);
  const response = await mounted.request(`${base}/v1/openapi.json`);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/json");
  return await json<OpenApiDocument>(response);
}

function operations(document: OpenApiDocument): Map<string, Operation> {
  const found = new Map<string, Operation>();
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      found.set(`${method.toUpperCase()} ${path}`, operation as unknown as Operation);
    }
  }
  return found;
}

test("openapi: every route that the app has is in it, and nothing else", async () => {
  const { app } = createFixture().admin;
  const known = new Set(routeNames.map((route) => route.slice(route.indexOf(" ") + 1)));
  const served = app.routes.flatMap(({ method, path }) => {
    if (method !== "ALL") return [`${method} ${path}`];
    // What is there for all methods is the refusal of a known path, or a call of a service.
    if (path === "/:service/:method") return ["POST /{service}/{method}"];
    assert.ok(known.has(path as never), `${path} takes every method`);
    return [];
  });
  const described = [...operations(await readDocument()).keys()];
  assert.deepEqual(described.sort(), served.sort());
  assert.equal(described.length, routeNames.length + 1);
});

test("openapi: each operation has a name of its own, its access and its answers", async () => {
  const found = operations(await readDocument());
  const names = [...found.values()].map(({ operationId }) => operationId);
  assert.equal(new Set(names).size, names.length);
  for (const route of routeNames) {
    const operation = found.get(route);
    assert.ok(operation !== undefined, route);
    const { action, resource, summary } = routeAccess[route];
    assert.deepEqual(operation["x-covey-access"], { action, resource }, route);
    assert.equal(operation.summary, summary);
    const { query, body } = contracts[route];
    assert.deepEqual(
      (operation.parameters ?? []).map(({ name }) => name),
      Object.keys(query?.shape ?? {}),
      route,
    );
    assert.equal(operation.requestBody !== undefined, body !== undefined, route);
    // A body comes with POST and PUT, and these never come without one.
    assert.equal(/^P/.test(route), body !== undefined, route);
    assert.ok("200" in operation.responses || "101" in operation.responses, route);
    assert.ok("default" in operation.responses, route);
  }
});

test("openapi: it is 3.1, says where it is mounted, and every reference leads somewhere", async () => {
  const document = await readDocument();
  assert.equal(document.openapi, "3.1.0");
  assert.equal(document.info.version, "0.1.0");
  assert.deepEqual(document.servers, [{ url: "/" }]);
  assert.deepEqual((await readDocument("/covey")).servers, [{ url: "/covey" }]);
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)];
  assert.ok(references.length > routeNames.length);
  for (const [, reference] of references) {
    let target: unknown = document;
    for (const step of reference.replace(/^#\//, "").split("/")) {
      target = (target as Record<string, unknown>)[step];
    }
    assert.ok(typeof target === "object", reference);
  }
  const { schemas } = document.components as { schemas: Record<string, object> };
  assert.deepEqual(Object.keys(schemas).sort(), shapes.map(({ name }) => name).sort());
  assert.ok(!JSON.stringify(document).includes("$schema"));
});

test("openapi: its own answer has the shape that it describes", async () => {
  const { schema } = contracts["GET /v1/openapi.json"].answer;
  const document = await readDocument();
  assert.deepEqual(schema.parse(document), document);
});

/** The methods that the routes call. */
const methods: Partial<Record<AdminRoute, string>> = {
  "GET /v1/raft": "covey.raft.v1.Raft/Status",
  "GET /v1/raft/peers": "covey.raft.v1.Raft/Peers",
  "POST /v1/raft/add": "covey.raft.v1.Raft/Add",
  "POST /v1/raft/promote": "covey.raft.v1.Raft/Promote",
  "POST /v1/raft/remove": "covey.raft.v1.Raft/Remove",
  "POST /v1/raft/transfer": "covey.raft.v1.Raft/Transfer",
  "POST /v1/raft/snapshot": "covey.raft.v1.Raft/Snapshot",
  "GET /v1/members": "covey.membership.v1.Members/List",
  "POST /v1/members/kick": "covey.membership.v1.Members/Kick",
  "POST /v1/members/leave": "covey.membership.v1.Members/Leave",
  "GET /v1/kv": "covey.kv.v1.Maintenance/Status",
  "GET /v1/kv/range": "covey.kv.v1.KV/Range",
  "PUT /v1/kv/key": "covey.kv.v1.KV/Put",
  "DELETE /v1/kv/key": "covey.kv.v1.KV/DeleteRange",
  "GET /v1/kv/leases": "covey.kv.v1.Lease/LeaseLeases",
  "GET /v1/kv/watch": "covey.kv.v1.Watch/Watch",
};

test("admin: a route asks for what the method behind it asks for", () => {
  for (const route of routeNames) {
    const { action, resource } = routeAccess[route];
    const path = methods[route];
    assert.equal(path === undefined, resource === "node", route);
    if (path === undefined) continue;
    const [service, method] = path.split("/");
    assert.deepEqual({ action, resource }, accessRule(service, method), route);
  }
});
