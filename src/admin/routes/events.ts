/** `/v1/events` and `/v1/socket`: two ways to follow the one hub. */
import { Code } from "../../base/error.ts";
import type { Counter, Family } from "../../base/metrics.ts";
import type { Clock } from "../../runtime/port.ts";
import { HttpError } from "../error.ts";
import { EventSocket } from "../event_socket.ts";
import { EventStream } from "../event_stream.ts";
import type { Gate, Visit } from "../gate.ts";
import type { EventHub } from "../hub.ts";
import { eventsQuery } from "../node_input.ts";
import type { AdminLimits } from "../parts.ts";
import { eventHeaders, textReply } from "../reply.ts";
import type { Reply } from "../schema.ts";

export interface EventRouteParts {
  readonly hub: EventHub;
  readonly clock: Clock;
  readonly limits: AdminLimits;
  readonly clientsDropped: Family<Counter>;
  readonly eventsMissed: Counter;
}

export function eventRoutes(gate: Gate, parts: EventRouteParts): void {
  gate.serve("GET /v1/events", (visit) => events(visit, parts));
  gate.serve("GET /v1/socket", (visit) => socket(visit, parts));
}

function events({ request, url }: Visit, parts: EventRouteParts): Reply<"GET /v1/events"> {
  const { hub, clock, limits } = parts;
  checkQuery(url, Object.keys(eventsQuery.shape));
  const names = url.searchParams.getAll("topic").flatMap((value) => value.split(","));
  const topics = hub.chooseTopics(names);
  hub.admit();
  // Nobody would read, or ever close, the stream behind the answer to HEAD.
  if (request.method === "HEAD") return textReply(null, eventHeaders);
  const stream = new EventStream({
    hub,
    clock,
    queueBytesMax: limits.eventQueueBytesMax,
    dropped: dropped(parts, "events"),
  }, topics);
  const after = request.headers.get("last-event-id") ?? url.searchParams.get("after") ?? undefined;
  hub.attach(stream, after);
  return textReply(stream.body, eventHeaders);
}

function socket(visit: Visit, parts: EventRouteParts): Reply<"GET /v1/socket"> {
  const { hub, limits } = parts;
  checkQuery(visit.url, []);
  if (visit.http === undefined) {
    throw new HttpError(
      501,
      Code.unimplemented,
      "the server that this app is mounted in makes no WebSockets for it",
      { hint: "use v1/events, or the node's own admin.listen address" },
    );
  }
  hub.admit();
  const response = visit.http.upgrade(
    new EventSocket({
      hub,
      queueBytesMax: limits.eventQueueBytesMax,
      dropped: dropped(parts, "socket"),
    }),
  );
  if (response === undefined) {
    throw new HttpError(426, Code.invalidArgument, "this path speaks WebSocket only", {
      hint: "open it with a WebSocket client, or use v1/events",
      headers: { upgrade: "websocket", connection: "upgrade" },
    });
  }
  visit.upgraded = true;
  return response as Reply<"GET /v1/socket">;
}

function dropped(parts: EventRouteParts, transport: string): (missed: number) => void {
  return (missed) => {
    parts.clientsDropped.with(transport).value++;
    parts.eventsMissed.value += missed;
  };
}

/** A misspelt parameter would otherwise be a filter that filters nothing. */
function checkQuery(url: URL, allowed: readonly string[]): void {
  for (const key of url.searchParams.keys()) {
    if (allowed.includes(key)) continue;
    throw new HttpError(400, Code.invalidArgument, `no parameter ${JSON.stringify(key)}`, {
      hint: allowed.length === 0 ? "this path takes none" : `parameters: ${allowed.join(", ")}`,
    });
  }
}
