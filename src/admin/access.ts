/**
 * What each route is, and what its caller must be allowed to do. The index page, the OpenAPI
 * document and the answer to an unknown path read the same table.
 *
 * A route that asks a service of the node names the action and the resource of the method that it
 * calls: whoever may not call the method may not take this way to it either.
 */
import type { AdminPath, AdminRoute } from "./schema.ts";

export interface RouteAccess {
  readonly action: string;
  readonly resource: string;
  /** One line for the index page. */
  readonly summary: string;
  /** Health answers whoever asks from wherever: it tells nothing but yes or no. */
  readonly health?: boolean;
}

function node(action: string, summary: string): RouteAccess {
  return { action, resource: "node", summary };
}

function raft(action: string, summary: string): RouteAccess {
  return { action, resource: "raft", summary };
}

function membership(action: string, summary: string): RouteAccess {
  return { action, resource: "membership", summary };
}

function kv(action: string, summary: string): RouteAccess {
  return { action, resource: "kv", summary };
}

/** A row for every route: the types see to that. */
export const routeAccess: { readonly [R in AdminRoute]: RouteAccess } = {
  "GET /": node("page.read", "this page"),
  "GET /livez": { ...node("health.read", "whether the process answers"), health: true },
  "GET /readyz": {
    ...node("health.read", "whether the node can do its work; ?verbose names every check"),
    health: true,
  },
  "GET /healthz": { ...node("health.read", "the same as /readyz"), health: true },
  "GET /metrics": node("metrics.read", "all numbers, as Prometheus reads them"),
  "GET /v1/status": node("status.read", "what this node is and does"),
  "GET /v1/config": node(
    "config.read",
    "the configuration in force and where each value comes from",
  ),
  "GET /v1/events": node("events.read", "server-sent events; ?topic=log picks topics"),
  "GET /v1/socket": node("events.read", "the same events over a WebSocket"),
  "GET /v1/openapi.json": node("openapi.read", "all of these routes as OpenAPI 3.1"),
  "GET /v1/raft": raft("raft.read", "the replicas of this node and its log"),
  "GET /v1/raft/peers": raft("raft.read", "the replicas of a group; ?group= picks one"),
  "POST /v1/raft/add": raft("raft.change", "makes the node at an address a replica"),
  "POST /v1/raft/promote": raft("raft.change", "makes a learner a voter"),
  "POST /v1/raft/remove": raft("raft.change", "takes a replica out for ever"),
  "POST /v1/raft/transfer": raft("raft.maintain", "hands leadership to another voter"),
  "POST /v1/raft/snapshot": raft("raft.maintain", "makes this node take a snapshot now"),
  "GET /v1/members": membership("membership.read", "who takes part, as this node sees it"),
  "POST /v1/members/kick": membership("membership.change", "takes another member out of the view"),
  "POST /v1/members/leave": membership("membership.change", "makes this node leave the view"),
  "GET /v1/kv": kv("kv.read", "how the key-value store of this node fares"),
  "GET /v1/kv/range": kv("kv.read", "keys and values: ?key=, ?prefix=, or ?from= and ?to="),
  "PUT /v1/kv/key": kv("kv.write", "sets one key"),
  "DELETE /v1/kv/key": kv("kv.write", "deletes one key: ?key="),
  "GET /v1/kv/leases": kv("kv.read", "the leases there are"),
  "GET /v1/kv/watch": kv("kv.read", "changes of keys as server-sent events: ?key=, ?prefix="),
};

/** The action of a call to a service over HTTP; its resource is `service/method`. */
export const callAction = "service.call";

/** Every route that can be asked, in the table's order. */
export const routeNames: readonly AdminRoute[] = Object.keys(routeAccess) as AdminRoute[];

/** Every path, once. */
export const routePaths: readonly AdminPath[] = [
  ...new Set(routeNames.map((route) => splitRoute(route).path as AdminPath)),
];

/** `GET /v1/status` in its parts. */
export function splitRoute(route: AdminRoute): { readonly method: string; readonly path: string } {
  const at = route.indexOf(" ");
  return { method: route.slice(0, at), path: route.slice(at + 1) };
}

/** The methods that a path takes, as the header `allow` lists them. */
export function allowedMethods(path: string): string[] {
  return routeNames.map(splitRoute).filter((route) => route.path === path).flatMap(({ method }) =>
    method === "GET" ? ["GET", "HEAD"] : [method]
  );
}
