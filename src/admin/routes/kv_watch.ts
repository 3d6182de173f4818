/** `/v1/kv/watch`: changes of keys as server-sent events. */
import { create } from "npm:@bufbuild/protobuf@2.17.0";
import { Code } from "../../base/error.ts";
import {
  Watch,
  WatchCreateRequest_FilterType as FilterType,
  type WatchResponse,
  WatchResponseSchema,
} from "../../gen/covey/kv/v1/kv_pb.ts";
import type { Clock } from "../../runtime/port.ts";
import { orAborted } from "../abort.ts";
import { HttpError } from "../error.ts";
import type { Gate, Visit } from "../gate.ts";
import { invalid, readQuery } from "../input.ts";
import { readSelection, watchQuery } from "../kv_input.ts";
import { endOf, KvWatchStream } from "../kv_watch_stream.ts";
import { eventHeaders, textReply } from "../reply.ts";
import type { Reply } from "../schema.ts";
import { type OpenStream, type ServiceCaller, told } from "../service_call.ts";

export interface WatchRouteParts {
  readonly caller: ServiceCaller;
  readonly clock: Clock;
  readonly heartbeatMs: number;
}

export function kvWatchRoute(gate: Gate, parts: WatchRouteParts): void {
  gate.serve("GET /v1/kv/watch", (visit) => watch(visit, parts));
}

async function watch(
  visit: Visit,
  { caller, clock, heartbeatMs }: WatchRouteParts,
): Promise<Reply<"GET /v1/kv/watch">> {
  const input = readQuery(visit.url, watchQuery);
  const selection = readSelection(input);
  const startRevision = startOf(visit, input.fromRevision);
  // Nobody would read, or ever close, the stream behind the answer to HEAD.
  if (visit.request.method === "HEAD") return textReply(null, eventHeaders);
  const filters: FilterType[] = [];
  if (input.withoutPuts) filters.push(FilterType.NOPUT);
  if (input.withoutDeletes) filters.push(FilterType.NODELETE);
  const stream = caller.listen(visit, Watch.method.watch, {
    request: {
      case: "createRequest",
      value: {
        ...selection,
        startRevision,
        prevKv: input.previous,
        filters,
        progressNotify: true,
        fragment: true,
      },
    },
  });
  try {
    const first = await begun(stream, visit.request.signal);
    return textReply(
      new KvWatchStream({ clock, heartbeatMs, stream, first }).body,
      eventHeaders,
    );
  } catch (error) {
    stream.end();
    throw told(error);
  }
}

/** Where a client that comes back goes on, or where it asks to begin; 0 for what happens next. */
function startOf({ request }: Visit, fromRevision: number | undefined): bigint {
  const last = request.headers.get("last-event-id");
  if (last === null) return BigInt(fromRevision ?? 0);
  if (!/^\d{1,15}$/.test(last)) {
    throw invalid(`last-event-id: ${JSON.stringify(last)} is not a revision`);
  }
  return BigInt(last) + 1n;
}

/** The answer that says that there is a watch. */
async function begun(
  stream: OpenStream<typeof WatchResponseSchema>,
  left: AbortSignal,
): Promise<WatchResponse> {
  const signal = AbortSignal.any([left, stream.signal]);
  const { done, value } = await orAborted(stream.answers.next(), signal);
  if (done === true) throw new HttpError(503, Code.unavailable, "the watch ended at once");
  const answer = create(WatchResponseSchema, value);
  if (!answer.canceled) return answer;
  throw new HttpError(400, Code.failedPrecondition, endOf(answer).reason);
}
