/**
 * What each route takes and answers, for the OpenAPI document. The inputs are the schemas that the
 * routes check with; the answers are held against the handlers' types by the compiler.
 */
import type * as z from "npm:zod@4.6.7";
import { deleteQuery, putBody, rangeQuery, watchQuery } from "./kv_input.ts";
import { kickBody, leaveBody } from "./membership_input.ts";
import { eventsQuery, readyQuery } from "./node_input.ts";
import { addBody, groupBody, peersQuery, replicaBody, transferBody } from "./raft_input.ts";
import type { AdminRoute, Answer } from "./schema.ts";
import type { Shape } from "./shape.ts";
import * as shapes from "./shapes.ts";

/** An answer that is no JSON. */
export interface TextAnswer {
  readonly type: string;
  readonly description: string;
  /** 101 for what is no answer but another protocol. */
  readonly status?: 101;
}

export interface RouteContract<R extends AdminRoute = AdminRoute> {
  /** More than the table of routes says. */
  readonly description?: string;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodObject;
  readonly answer: Answer<R> extends string ? TextAnswer : Shape<Answer<R>>;
  /** Whether 503 is answered with the same shape. */
  readonly unavailable?: true;
}

const events = "text/event-stream";

export const contracts: { readonly [R in AdminRoute]: RouteContract<R> } = {
  "GET /": { answer: { type: "text/html", description: "A page for browsers." } },
  "GET /livez": { answer: shapes.live },
  "GET /readyz": { query: readyQuery, answer: shapes.ready, unavailable: true },
  "GET /healthz": { query: readyQuery, answer: shapes.ready, unavailable: true },
  "GET /metrics": {
    description: "OpenMetrics for whoever accepts application/openmetrics-text.",
    answer: { type: "text/plain", description: "Prometheus text 0.0.4." },
  },
  "GET /v1/status": { answer: shapes.status },
  "GET /v1/config": { answer: shapes.config },
  "GET /v1/events": {
    description: "Each event has the topic as its name and JSON as its data. The events gap, " +
      "dropped and end are about the stream itself.",
    query: eventsQuery,
    answer: { type: events, description: "Events until the client leaves or the node stops." },
  },
  "GET /v1/socket": {
    answer: { type: "", status: 101, description: "JSON messages over a WebSocket." },
  },
  "GET /v1/openapi.json": { answer: shapes.openApi },
  "GET /v1/raft": { answer: shapes.raft },
  "GET /v1/raft/peers": {
    description: "Asked of the group's leader; without one, what this node knows.",
    query: peersQuery,
    answer: shapes.raftPeers,
  },
  "POST /v1/raft/add": {
    description: "The node must run, be part of no cluster and have an empty data directory. It " +
      "becomes a learner first, and a voter once it has caught up.",
    body: addBody,
    answer: shapes.raftAdded,
  },
  "POST /v1/raft/promote": { body: replicaBody, answer: shapes.done },
  "POST /v1/raft/remove": {
    description: "Refused where the group could not go on without it. Its data is worth nothing " +
      "afterwards.",
    body: replicaBody,
    answer: shapes.done,
  },
  "POST /v1/raft/transfer": { body: transferBody, answer: shapes.raftLeader },
  "POST /v1/raft/snapshot": { body: groupBody, answer: shapes.raftSnapshot },
  "GET /v1/members": { answer: shapes.membership },
  "POST /v1/members/kick": {
    description:
      "It is sent away, and is out of the view once the members agree. If it still runs " +
      "it learns of it, and joins again as a new member.",
    body: kickBody,
    answer: shapes.kicked,
  },
  "POST /v1/members/leave": {
    description: "Answers once the others have taken this node out, or after 5 s. It does not " +
      "join again before it is started again.",
    body: leaveBody,
    answer: shapes.done,
  },
  "GET /v1/kv": { answer: shapes.kv },
  "GET /v1/kv/range": {
    description: "Exactly one of key, prefix and from says which keys. Nothing that was " +
      "acknowledged before the request is missing, unless serializable is set.",
    query: rangeQuery,
    answer: shapes.kvRange,
  },
  "PUT /v1/kv/key": {
    description: "Answers once the write is applied. When the answer is lost, it may have been.",
    body: putBody,
    answer: shapes.kvPut,
  },
  "DELETE /v1/kv/key": { query: deleteQuery, answer: shapes.kvDelete },
  "GET /v1/kv/leases": { answer: shapes.kvLeases },
  "GET /v1/kv/watch": {
    description: "The event watching comes first; change has KvChanges as its data and its " +
      "revision as its id; progress says up to where there was nothing; end says why nothing " +
      "follows. The header last-event-id goes on behind that revision.",
    query: watchQuery,
    answer: { type: events, description: "Changes until the client leaves or the node stops." },
  },
};
