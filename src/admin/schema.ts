/**
 * The types of the routes, for Hono's client: `hc<AdminApp>("http://127.0.0.1:7980")`. They are
 * written out because a published module may not export inferred types; each handler's type is
 * taken from here, so that the two cannot differ.
 */
import type { Hono, TypedResponse } from "npm:hono@4.13.19";
import type { Identity } from "../base/identity.ts";
import type { JsonObject, JsonValue } from "../base/log_json.ts";
import type { HttpContext } from "../runtime/port.ts";
import type {
  KvDeleteQuery,
  KvDeleteReport,
  KvLeasesReport,
  KvPutInput,
  KvPutReport,
  KvRangeQuery,
  KvRangeReport,
  KvReport,
  KvWatchQuery,
} from "./kv_schema.ts";
import type { KickInput, KickReport, MembershipReport } from "./membership_schema.ts";
import type { ConfigSetting, NodeStatus } from "./parts.ts";
import type {
  DoneReport,
  RaftAddInput,
  RaftAddReport,
  RaftGroupInput,
  RaftPeersReport,
  RaftReplicaInput,
  RaftReport,
  RaftSnapshotReport,
  RaftTransferInput,
  RaftTransferReport,
} from "./raft_schema.ts";

/** What the app finds in Hono's context. */
export type AdminEnv = {
  /** Given by the node's own listener: `app.fetch(request, { covey: context })`. */
  Bindings: { covey?: HttpContext };
  /** Set by a middleware of a program that mounts the app and knows who asks. */
  Variables: { coveyIdentity?: Identity };
};

/** `node.admin`. */
export type AdminApp = Hono<AdminEnv, AdminSchema, "/">;

/** The answer to every request that is refused. */
export interface ErrorReport {
  /** gRPC's name of what went wrong, `permission_denied`. */
  readonly code: string;
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
}

export interface LiveReport {
  readonly alive: true;
}

export interface ReadyReport {
  readonly ready: boolean;
  /** The names of the checks that failed; absent when none did. */
  readonly failing?: readonly string[];
  /** With `?verbose`: each check. */
  readonly checks?: readonly CheckReport[];
}

export interface CheckReport {
  readonly name: string;
  readonly ready: boolean;
  /** Why it is not. */
  readonly reason?: string;
  /** What is wrong although it is ready. */
  readonly note?: string;
}

export interface StatusReport extends NodeStatus {
  /** What can be called, here and on the mesh listener. */
  readonly services: readonly ServiceReport[];
  /** What `/v1/events` and `/v1/socket` offer. */
  readonly topics: readonly TopicReport[];
}

export interface ServiceReport {
  readonly name: string;
  readonly methods: readonly MethodReport[];
}

export interface MethodReport {
  readonly name: string;
  readonly kind: "unary" | "server_streaming" | "client_streaming" | "bidi_streaming";
}

export interface TopicReport {
  readonly name: string;
  readonly help: string;
}

export interface ConfigReport {
  readonly settings: readonly ConfigSetting[];
}

/** An OpenAPI 3.1 document; see https://spec.openapis.org/oas/v3.1.0. */
export interface OpenApiDocument {
  readonly openapi: "3.1.0";
  readonly info: JsonObject;
  readonly servers: readonly JsonObject[];
  readonly paths: { readonly [path: string]: JsonObject };
  readonly components: JsonObject;
}

/** One event as `/v1/events` sends it in `data`, and inside `/v1/socket`'s messages. */
export type EventData = JsonValue;

type NoInput = Record<never, never>;
type Get<Output, Status extends 200 | 503 = 200, Input = NoInput> = {
  input: Input;
  output: Output;
  outputFormat: "json";
  status: Status;
};
/** The body is JSON. */
type Post<Output, Body> = Get<Output, 200, { json: Body }>;
type GetText<Input = NoInput> = {
  input: Input;
  output: string;
  outputFormat: "text";
  status: 200;
};
type ReadyInput = { query?: { verbose?: string } };
type PeersInput = { query?: { group?: string } };
type EventsInput = { query?: { topic?: string | string[]; after?: string } };

/** Every route but those of the services, which have clients of their own kind. */
export type AdminSchema = {
  "/": { $get: GetText };
  "/livez": { $get: Get<LiveReport> };
  "/readyz": { $get: Get<ReadyReport, 200, ReadyInput> | Get<ReadyReport, 503, ReadyInput> };
  "/healthz": { $get: Get<ReadyReport, 200, ReadyInput> | Get<ReadyReport, 503, ReadyInput> };
  "/metrics": { $get: GetText };
  "/v1/status": { $get: Get<StatusReport> };
  "/v1/config": { $get: Get<ConfigReport> };
  "/v1/events": { $get: GetText<EventsInput> };
  "/v1/socket": { $get: GetText };
  "/v1/openapi.json": { $get: Get<OpenApiDocument> };
  "/v1/raft": { $get: Get<RaftReport> };
  "/v1/raft/peers": { $get: Get<RaftPeersReport, 200, PeersInput> };
  "/v1/raft/add": { $post: Post<RaftAddReport, RaftAddInput> };
  "/v1/raft/promote": { $post: Post<DoneReport, RaftReplicaInput> };
  "/v1/raft/remove": { $post: Post<DoneReport, RaftReplicaInput> };
  "/v1/raft/transfer": { $post: Post<RaftTransferReport, RaftTransferInput> };
  "/v1/raft/snapshot": { $post: Post<RaftSnapshotReport, RaftGroupInput> };
  "/v1/members": { $get: Get<MembershipReport> };
  "/v1/members/kick": { $post: Post<KickReport, KickInput> };
  "/v1/members/leave": { $post: Post<DoneReport, NoInput> };
  "/v1/kv": { $get: Get<KvReport> };
  "/v1/kv/range": { $get: Get<KvRangeReport, 200, { query: KvRangeQuery }> };
  "/v1/kv/key": {
    $put: Post<KvPutReport, KvPutInput>;
    $delete: Get<KvDeleteReport, 200, { query: KvDeleteQuery }>;
  };
  "/v1/kv/leases": { $get: Get<KvLeasesReport> };
  "/v1/kv/watch": { $get: GetText<{ query: KvWatchQuery }> };
};

/** A path of {@link AdminSchema}. */
export type AdminPath = keyof AdminSchema;

type MethodOf<Key> = Key extends `$${infer M}` ? Uppercase<M> : never;

/** `GET /v1/status`: each method of each path. */
export type AdminRoute = {
  [P in AdminPath]: `${MethodOf<keyof AdminSchema[P]>} ${P}`;
}[AdminPath];

type EndpointOf<R extends AdminRoute> = R extends `${infer M} ${infer P extends AdminPath}`
  ? `$${Lowercase<M>}` extends keyof AdminSchema[P] ? AdminSchema[P][`$${Lowercase<M>}`]
  : never
  : never;

/** What the handler of a route must return. */
export type Reply<R extends AdminRoute> = ReplyOf<EndpointOf<R>>;

/** What it answers in JSON; `string` where it answers text or a stream. */
export type Answer<R extends AdminRoute> = EndpointOf<R> extends { output: infer Output } ? Output
  : never;

type ReplyOf<Endpoint> = Endpoint extends {
  output: infer Output;
  status: infer Status extends 200 | 503;
  outputFormat: infer Format extends string;
} ? Response & TypedResponse<Output, Status, Format>
  : never;
