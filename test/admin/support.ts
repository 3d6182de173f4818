/** A node's worth of parts for the admin tests: everything is settable, nothing is real. */
import { type Admin, createAdmin } from "../../src/admin/admin.ts";
import type { AdminLimits, AdminParts, NodeStatus, ReadinessCheck } from "../../src/admin/parts.ts";
import type { Address } from "../../src/base/address.ts";
import { type Code, CoveyError } from "../../src/base/error.ts";
import { anonymous, type Identity } from "../../src/base/identity.ts";
import { type Logger, type LogLevel, type LogRecord, silentLogger } from "../../src/base/log.ts";
import { MetricsRegistry } from "../../src/base/metrics.ts";
import type { Clock, Http, HttpContext, Runtime, Timer } from "../../src/runtime/port.ts";
import { adminServices } from "../../src/node/admin_services.ts";
import { ServiceRegistry } from "../../src/ttrpc/registry.ts";
import type { Handlers } from "../../src/ttrpc/service.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";

/** Time that moves when the test says so. */
export class ManualClock implements Clock {
  #now = 1000;
  #timers: { at: number; run: () => void }[] = [];

  monotonicMs(): number {
    return this.#now;
  }

  wallMs(): number {
    return 1795224600000 + this.#now;
  }

  timer<A>(delayMs: number, callback: (argument: A) => void, argument: A): Timer {
    const timer = { at: this.#now + delayMs, run: () => callback(argument) };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = next.at;
      next.run();
    }
    this.#now = until;
  }
}

export interface Fixture {
  readonly admin: Admin;
  readonly metrics: MetricsRegistry;
  readonly registry: ServiceRegistry;
  readonly clock: ManualClock;
  /** What the topic `log` gets. */
  log(message: string, level?: LogLevel): void;
  /** Warnings and errors that the admin itself logged. */
  readonly complaints: string[];
  checks: ReadinessCheck[];
  identity: Identity;
  /** What was asked of the policy. */
  readonly asked: string[];
  denied: (identity: Identity, action: string, resource: string) => boolean;
}

export interface FixtureOptions {
  readonly limits?: Partial<AdminLimits>;
  readonly listen?: Address;
  readonly allowedHosts?: readonly string[];
  readonly http?: Http;
  readonly clock?: Clock;
  readonly runtimeName?: Runtime["name"];
}

/** Loopback, as configured by default. */
export const loopback: Address = { kind: "tcp", host: "127.0.0.1", port: 0 };

export function createFixture(options: FixtureOptions = {}): Fixture {
  const clock = new ManualClock();
  const metrics = new MetricsRegistry();
  const registry = new ServiceRegistry();
  registry.add(TestService, testHandlers);
  const listeners = new Set<(record: LogRecord) => void>();
  const complaints: string[] = [];
  const asked: string[] = [];
  const complain = (message: string) => void complaints.push(message);
  const logger: Logger = { ...silentLogger, warning: complain, error: complain };
  const parts: AdminParts = {
    runtime: {
      name: options.runtimeName ?? "bun",
      http: options.http ?? ({} as Http),
      clock: options.clock ?? clock,
    },
    nodeName: "gate-1",
    version: "0.1.0",
    listen: options.listen ?? loopback,
    allowedHosts: options.allowedHosts ?? [],
    limits: options.limits,
    logger,
    log: {
      subscribe: (listener) => {
        listeners.add(listener);
        return { cancel: () => void listeners.delete(listener) };
      },
    },
    metrics,
    config: () => [
      { key: "admin.listen", value: "tcp://127.0.0.1:7980", origin: "default" },
      { key: "node.tags", value: ["north"], origin: "file covey.toml:3" },
    ],
    status: () => nodeStatus,
    checks: () => fixture.checks,
    services: adminServices(registry),
    identify: () => fixture.identity,
    authorize: (identity, action, resource) => {
      asked.push(`${identity.kind} ${action} ${resource}`);
      return !fixture.denied(identity, action, resource);
    },
  };
  const fixture: Fixture = {
    admin: createAdmin(parts),
    metrics,
    registry,
    clock,
    log: (message, level = "info") => {
      const record: LogRecord = {
        timeMs: 0,
        level,
        component: "node",
        node: "gate-1",
        message,
        fields: undefined,
        cause: undefined,
      };
      for (const listener of listeners) listener(record);
    },
    complaints,
    checks: [],
    identity: { kind: "local", name: "loopback" },
    asked,
    denied: () => false,
  };
  return fixture;
}

export const nodeStatus: NodeStatus = {
  name: "gate-1",
  nodeId: "00112233445566778899aabbccddeeff",
  version: "0.1.0",
  runtime: { name: "bun", version: "1.4.5", architecture: "x64" },
  pid: 42,
  uptimeMs: 125_000,
  memory: { rssBytes: 58 * 1024 * 1024, heapUsedBytes: 1, heapTotalBytes: 2 },
  listeners: { mesh: "tcp://127.0.0.1:7946" },
  modules: { ttrpc: { connections: 3 } },
};

/** A context as a runtime's listener would give it. */
export function httpContext(over: Partial<HttpContext> = {}): HttpContext {
  return { remoteHost: "127.0.0.1", upgrade: () => undefined, ...over };
}

/** The answer's JSON, whose type the test claims to know. */
export async function json<T>(response: Response): Promise<T> {
  return await response.json() as T;
}

/** What ran, for the tests that ask whether a handler was left alone. */
export const running: { calls: number; counted: number; ended: number; aborted: number } = {
  calls: 0,
  counted: 0,
  ended: 0,
  aborted: 0,
};

const testHandlers: Handlers<typeof TestService> = {
  async echo(request, context) {
    running.calls++;
    if (request.delayMillis > 0) await delay(request.delayMillis, context.signal);
    context.responseMetadata.append("served-by", context.identity.name);
    context.responseMetadata.append("Set-Cookie", "evil=1");
    context.responseMetadata.append("access-control-allow-origin", "*");
    return {
      payload: request.payload,
      metadataValues: context.metadata.getAll(request.metadataKey),
      hasDeadline: context.timeoutMs !== undefined,
    };
  },
  async *count(request, context) {
    try {
      for (let index = 0; index < request.count; index++) {
        if (context.signal.aborted) return;
        running.counted++;
        yield { index, payload: new Uint8Array(request.bytes) };
      }
      context.responseMetadata.append("counted", String(request.count));
    } finally {
      running.ended++;
    }
  },
  async sum(requests) {
    let sum = 0n;
    let count = 0;
    for await (const { value } of requests) {
      sum += value;
      count++;
    }
    return { sum, count };
  },
  async *chat(requests) {
    for await (const { payload } of requests) yield { payload };
  },
  fail(request) {
    throw failure(request.code, request.message);
  },
  async *failStream(request) {
    for (let index = 0; index < request.after; index++) yield { payload: new Uint8Array([index]) };
    throw failure(request.code, request.message);
  },
  nothing: () => ({}),
};

function failure(code: number, message: string): Error {
  if (code === 0) return new TypeError(message);
  return new CoveyError(code as Code, message, {
    details: [{
      typeUrl: "type.googleapis.com/covey.test.v1.SumRequest",
      value: Uint8Array.of(8, 7),
    }],
  });
}

function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      running.aborted++;
      clearTimeout(timer);
      // Deliberately never resolves: the endpoint must answer without this handler's help.
    });
  });
}

/** Nobody in particular. */
export const nobody: Identity = anonymous;
