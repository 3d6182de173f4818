/**
 * What the admin endpoint needs from the node. It shows and serves nothing that is not handed to
 * it here, so it can be tested without a node and mounted in a program that has one.
 */
import type { DescMethod, DescService, Message } from "npm:@bufbuild/protobuf@2.17.0";
import type { Address } from "../base/address.ts";
import type { Identity } from "../base/identity.ts";
import type { Logger, LogRecord } from "../base/log.ts";
import type { JsonObject, JsonValue } from "../base/log_json.ts";
import type { MetricsRegistry } from "../base/metrics.ts";
import type { HttpContext, Runtime, Subscription } from "../runtime/port.ts";

/** Filled by `node.ts`. */
export interface AdminParts {
  readonly runtime: Pick<Runtime, "name" | "http" | "clock">;
  readonly nodeName: string;
  /** covey's version. */
  readonly version: string;
  /** `admin.listen`; loopback, or {@link Admin.start} refuses. */
  readonly listen: Address;
  /** `admin.allowed_hosts`: names that a request's Host may carry beside the loopback ones. */
  readonly allowedHosts: readonly string[];
  readonly limits?: Partial<AdminLimits>;
  readonly logger: Logger;
  /** The node's lines, for the topic `log`. */
  readonly log?: { subscribe(listener: (record: LogRecord) => void): Subscription };
  readonly metrics: MetricsRegistry;
  /** The configuration in force. Secrets are blanked out before they come here. */
  config(): readonly ConfigSetting[];
  status(): NodeStatus | Promise<NodeStatus>;
  /** One per module that can be unready, read anew at each question. */
  checks(): readonly ReadinessCheck[];
  readonly services: AdminServices;
  /**
   * Who asks. `context` is absent when the app is mounted in somebody else's server, which can say
   * it itself by the Hono variable `coveyIdentity`.
   */
  identify(request: Request, context: HttpContext | undefined): Identity;
  /** Whether that identity may; every route asks before it does anything else. */
  authorize(identity: Identity, action: string, resource: string): boolean;
}

/** What bounds the admin endpoint. */
export interface AdminLimits {
  /** Largest request body, and largest message of a streaming call. Default 4 MiB. */
  readonly bodyBytesMax: number;
  /** Connect calls in flight. Default 256. */
  readonly callsMax: number;
  /** Event streams and WebSockets together. Default 64. */
  readonly eventClientsMax: number;
  /** Bytes that wait for one of them; then it is dropped. Default 512 KiB. */
  readonly eventQueueBytesMax: number;
  /** Events kept for a client that comes back. Default 512 events, 256 KiB. */
  readonly eventRingMax: number;
  readonly eventRingBytesMax: number;
  /** Silence on an event stream before a comment says that it lives. Default 15 s. */
  readonly heartbeatMs: number;
  /** Time for one readiness check. Default 2 s. */
  readonly checkTimeoutMs: number;
}

/** The limits of a node whose configuration names none. */
export const adminLimitDefaults: AdminLimits = {
  bodyBytesMax: 4 * 1024 * 1024,
  callsMax: 256,
  eventClientsMax: 64,
  eventQueueBytesMax: 512 * 1024,
  eventRingMax: 512,
  eventRingBytesMax: 256 * 1024,
  heartbeatMs: 15_000,
  checkTimeoutMs: 2_000,
};

/** One key of the configuration. */
export interface ConfigSetting {
  /** `rpc.message_bytes_max` */
  readonly key: string;
  /** As a file would write it. */
  readonly value: JsonValue;
  /** Where the value comes from: `default`, `file covey.toml:3`, `environment`, `flag`. */
  readonly origin: string;
}

/** What a node says about itself. */
export interface NodeStatus {
  readonly name: string;
  /** 32 hexadecimal digits. */
  readonly nodeId: string;
  readonly version: string;
  readonly runtime: {
    readonly name: string;
    readonly version: string;
    readonly architecture: string;
  };
  readonly pid: number;
  readonly uptimeMs: number;
  readonly memory: {
    readonly rssBytes: number;
    readonly heapUsedBytes: number;
    readonly heapTotalBytes: number;
  };
  /** What listens where: `{"mesh": "tcp://127.0.0.1:7946"}`. */
  readonly listeners: Readonly<Record<string, string>>;
  /** What each module says about itself; a module that is off is absent. */
  readonly modules: Readonly<Record<string, JsonObject>>;
}

/** One named question whose answer decides `/readyz`. */
export interface ReadinessCheck {
  /** The module, `kv`. */
  readonly name: string;
  /** Undefined when ready, else the reason in one line. Throwing is a reason too. */
  check(): string | undefined | Promise<string | undefined>;
  /** What is wrong although it is ready, for `?verbose`. */
  note?(): string | undefined;
}

/** The services that this node serves; the table may change at any time. */
export interface AdminServices {
  /** By its full name, `covey.node.v1.Node`. */
  find(name: string): AdminService | undefined;
  /** Sorted by name. */
  list(): readonly DescService[];
}

/** One service with its handlers behind the interceptors of the node. */
export interface AdminService {
  readonly descriptor: DescService;
  /**
   * Serves one call. `input` is a message, or an iterable of messages when the client streams. The
   * result is a message or the promise of one, or an iterable when the server streams.
   */
  call(
    method: DescMethod,
    input: Message | AsyncIterable<Message>,
    context: AdminCallContext,
  ): AdminCallResult;
}

/** What a handler gives back, by the method's kind: as loose as the handlers' own type. */
export type AdminCallResult = unknown;

/** What a call over HTTP brings beside its input. */
export interface AdminCallContext {
  readonly identity: Identity;
  /** The client's address; its port is not known and 0. */
  readonly address: Address;
  /** Fires when the client leaves, the deadline passes or the call is over. */
  readonly signal: AbortSignal;
  /** Milliseconds left when read; undefined without a deadline. */
  readonly timeoutMs: number | undefined;
  /** The request's headers without those of HTTP and Connect, in lower case. */
  readonly metadata: Iterable<readonly [key: string, value: string]>;
  /**
   * Adds response metadata. A unary call sends it as headers if it is there before the result is;
   * a streaming call sends it at its end.
   */
  respond(key: string, value: string): void;
}
