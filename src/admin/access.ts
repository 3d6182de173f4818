/**
 * What each route is, and what its caller must be allowed to do. The index page and the answer to
 * an unknown path read the same table.
 */
import type { AdminPath } from "./schema.ts";

export interface RouteAccess {
  readonly action: string;
  readonly resource: string;
  /** One line for the index page. */
  readonly summary: string;
  /** Health answers whoever asks from wherever: it tells nothing but yes or no. */
  readonly health?: boolean;
}

/** A row for every path: the types see to that. */
export const routeAccess: { readonly [P in AdminPath]: RouteAccess } = {
  "/": { action: "page.read", resource: "node", summary: "this page" },
  "/livez": {
    action: "health.read",
    resource: "node",
    summary: "whether the process answers",
    health: true,
  },
  "/readyz": {
    action: "health.read",
    resource: "node",
    summary: "whether the node can do its work; ?verbose names every check",
    health: true,
  },
  "/healthz": {
    action: "health.read",
    resource: "node",
    summary: "the same as /readyz",
    health: true,
  },
  "/metrics": {
    action: "metrics.read",
    resource: "node",
    summary: "all numbers, as Prometheus reads them",
  },
  "/v1/status": { action: "status.read", resource: "node", summary: "what this node is and does" },
  "/v1/config": {
    action: "config.read",
    resource: "node",
    summary: "the configuration in force and where each value comes from",
  },
  "/v1/events": {
    action: "events.read",
    resource: "node",
    summary: "server-sent events; ?topic=log picks topics",
  },
  "/v1/socket": {
    action: "events.read",
    resource: "node",
    summary: "the same events over a WebSocket",
  },
};

/** The action of a call to a service over HTTP; its resource is `service/method`. */
export const callAction = "service.call";

/** Every path that can be asked, in the table's order. */
export const routePaths: readonly AdminPath[] = Object.keys(routeAccess) as AdminPath[];
