/**
 * The admin endpoint: one Hono app of route groups, and the listener that serves it.
 *
 * The app may also be mounted in a program's own server, `userApp.route("/covey", node.admin)`, and
 * called with Hono's client, `hc<AdminApp>(address)`.
 */
import { Hono } from "npm:hono@4.13.19";
import { type Address, formatAddress, isLoopback } from "../base/address.ts";
import { assert } from "../base/assert.ts";
import { Code, CoveyError } from "../base/error.ts";
import { logRecordToJson } from "../base/log_json.ts";
import { type HttpServer, NetError, type Subscription } from "../runtime/port.ts";
import { Gate } from "./gate.ts";
import { EventHub, type Topic } from "./hub.ts";
import { adminMetrics } from "./metrics.ts";
import { AllowedHosts } from "./origin.ts";
import { adminLimitDefaults, type AdminLimits, type AdminParts } from "./parts.ts";
import { CallSlots } from "./call_slots.ts";
import { callRoutes } from "./routes/call.ts";
import { eventRoutes } from "./routes/events.ts";
import { healthRoutes } from "./routes/health.ts";
import { kvRoutes } from "./routes/kv.ts";
import { kvWatchRoute } from "./routes/kv_watch.ts";
import { membersRoutes } from "./routes/members.ts";
import { metricsRoutes } from "./routes/metrics.ts";
import { openApiRoute } from "./routes/openapi.ts";
import { pageRoutes } from "./routes/page.ts";
import { raftRoutes } from "./routes/raft.ts";
import { reportRoutes } from "./routes/report.ts";
import type { AdminApp, AdminEnv } from "./schema.ts";
import { ServiceCaller } from "./service_call.ts";

/** The admin endpoint of one node. */
export interface Admin {
  /** The routes. Works, and can be mounted, whether or not {@link Admin.start} was called. */
  readonly app: AdminApp;
  /** The bound address, with the real port, while it serves. */
  readonly address: Address | undefined;
  /** Opens a topic of the event hub. */
  topic(name: string, help: string): Topic;
  /** Serves on `parts.listen`; `failed_precondition` beyond loopback. */
  start(): Promise<void>;
  /**
   * Ends event streams, lets requests finish for `graceMs`, ends calls that go on, stops. The app
   * still answers where it is mounted.
   */
  stop(graceMs: number): Promise<void>;
}

/** Builds the app; nothing listens yet. */
export function createAdmin(parts: AdminParts): Admin {
  return new NodeAdmin(parts);
}

/**
 * The runtimes could refuse large bodies too, but not as JSON. Both leave what is not read in the
 * kernel's buffers (tried), so the app itself is the only judge.
 */
const runtimeBodyBytesMax = 2 ** 40;
/** What calls that are told to end get to say so. */
const lastWordsMs = 250;

class NodeAdmin implements Admin {
  readonly app: AdminApp;
  readonly #parts: AdminParts;
  readonly #hub: EventHub;
  readonly #hosts: AllowedHosts;
  readonly #endCalls: AbortController = new AbortController();
  #server: HttpServer | undefined = undefined;
  #logSubscription: Subscription | undefined = undefined;

  constructor(parts: AdminParts) {
    this.#parts = parts;
    const limits: AdminLimits = { ...adminLimitDefaults, ...parts.limits };
    const metrics = parts.metrics.declare(adminMetrics);
    const { clock } = parts.runtime;
    this.#hosts = new AllowedHosts(parts.allowedHosts);
    if (parts.listen.kind === "tcp") this.#hosts.add(parts.listen.host);
    this.#hub = new EventHub({
      clock,
      limits,
      published: metrics.events,
      clients: metrics.eventClients,
      limitHit: parts.metrics.limit("admin_event_clients"),
    });
    const app = new Hono<AdminEnv>();
    const gate = new Gate(app, parts, limits, this.#hosts, metrics);
    healthRoutes(gate, parts, limits);
    metricsRoutes(gate, parts);
    reportRoutes(gate, parts, this.#hub);
    eventRoutes(gate, {
      hub: this.#hub,
      clock,
      limits,
      clientsDropped: metrics.eventClientsDropped,
      eventsMissed: metrics.eventsMissed,
    });
    const { signal: stop } = this.#endCalls;
    const slots = new CallSlots({
      callsMax: limits.callsMax,
      active: metrics.callsActive,
      limitHit: parts.metrics.limit("admin_calls"),
    });
    const caller = new ServiceCaller({ services: parts.services, slots, stop });
    const body = {
      clock,
      bytesMax: limits.bodyBytesMax,
      exceeded: () => void parts.metrics.limit("admin_body_bytes").value++,
    };
    pageRoutes(gate, { parts, hub: this.#hub, caller });
    raftRoutes(gate, caller, body);
    membersRoutes(gate, caller, body);
    kvRoutes(gate, caller, body);
    kvWatchRoute(gate, { caller, clock, heartbeatMs: limits.heartbeatMs });
    openApiRoute(gate, parts);
    gate.refuseOtherMethods();
    callRoutes(gate, { admin: parts, limits, slots, stop });
    gate.notFound();
    // Hono collects the schema while routes are chained; here it is written out instead, and every
    // handler was checked against its row.
    this.app = app as Hono<AdminEnv> as AdminApp;
    this.#followLog();
  }

  get address(): Address | undefined {
    if (this.#server === undefined) return undefined;
    return { kind: "tcp", host: this.#server.host, port: this.#server.port };
  }

  topic(name: string, help: string): Topic {
    return this.#hub.topic(name, help);
  }

  async start(): Promise<void> {
    assert(this.#server === undefined, "an admin endpoint is started once");
    const { listen, runtime, logger } = this.#parts;
    if (listen.kind !== "tcp" || !isLoopback(listen)) {
      throw new CoveyError(
        Code.failedPrecondition,
        `admin.listen is ${formatAddress(listen)}, which is not on loopback: TLS and tokens do ` +
          "not exist for the admin endpoint yet, so it only serves this machine; allowed: " +
          "tcp://127.0.0.1:port, tcp://[::1]:port, tcp://localhost:port",
      );
    }
    try {
      this.#server = await runtime.http.serve({
        host: listen.host,
        port: listen.port,
        bodyBytesMax: runtimeBodyBytesMax,
        fetch: (request, context) => this.app.fetch(request, { covey: context }),
      });
    } catch (error) {
      throw new CoveyError(
        error instanceof NetError && error.kind === "in-use"
          ? Code.alreadyExists
          : Code.unavailable,
        `admin.listen: cannot serve on ${formatAddress(listen)}: ${reasonOf(error)}`,
        { cause: error },
      );
    }
    this.#hosts.add(this.#server.host);
    logger.info("admin endpoint serves", { address: `http://${hostPort(this.#server)}/` });
  }

  async stop(graceMs: number): Promise<void> {
    this.#logSubscription?.cancel();
    this.#hub.close();
    const { clock } = this.#parts.runtime;
    const endCalls = clock.timer(graceMs, (calls) => {
      calls.abort(new CoveyError(Code.unavailable, "the node stops"));
    }, this.#endCalls);
    const server = this.#server;
    this.#server = undefined;
    await server?.stop(graceMs + lastWordsMs);
    endCalls.cancel();
  }

  #followLog(): void {
    const { log } = this.#parts;
    if (log === undefined) return;
    const topic = this.#hub.topic("log", "this node's log, line by line");
    this.#logSubscription = log.subscribe((record) => {
      if (topic.wanted) topic.publish(logRecordToJson(record));
    });
  }
}

function reasonOf(error: unknown): string {
  return error instanceof NetError && error.kind === "in-use"
    ? "another process listens there already"
    : CoveyError.from(error).rawMessage;
}

function hostPort({ host, port }: HttpServer): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
