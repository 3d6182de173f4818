/**
 * One client of `/v1/kv/watch`: a watch of the store as server-sent events. The store is asked for
 * more when the client has taken what there was; it keeps up with slow ones by itself, and tells
 * them every change once and in order.
 *
 * An event's id is its revision, so that a browser that comes back goes on behind the last one.
 */
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { create } from "npm:@bufbuild/protobuf@2.17.0";
import { encodeText } from "../base/bytes.ts";
import { CoveyError } from "../base/error.ts";
import type { JsonValue } from "../base/log_json.ts";
import { type Event, type WatchResponse, WatchResponseSchema } from "../gen/covey/kv/v1/kv_pb.ts";
import type { Clock } from "../runtime/port.ts";
import { orAborted } from "./abort.ts";
import { changeReport } from "./kv_report.ts";
import type { KvChangeData } from "./kv_schema.ts";
import type { OpenStream } from "./service_call.ts";

export interface KvWatchStreamParts {
  readonly clock: Clock;
  /** Silence after which a comment says that the stream lives. */
  readonly heartbeatMs: number;
  readonly stream: OpenStream<typeof WatchResponseSchema>;
  /** The first answer, which was waited for. */
  readonly first: WatchResponse;
}

type WatchInit = MessageInitShape<typeof WatchResponseSchema>;

/** What a browser waits before it comes back. */
const retryMs = 2000;

export class KvWatchStream {
  readonly body: ReadableStream<Uint8Array>;
  readonly #parts: KvWatchStreamParts;
  #next: Promise<IteratorResult<WatchInit>> | undefined = undefined;
  #isOver = false;
  /** The client left. */
  #isGone = false;

  constructor(parts: KvWatchStreamParts) {
    this.#parts = parts;
    let begun = false;
    this.body = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        if (!begun) {
          begun = true;
          controller.enqueue(encodeText(`retry: ${retryMs}\n\n${textOf(parts.first)}`));
          return;
        }
        const text = await this.#wait();
        if (this.#isGone) return;
        if (text.length > 0) controller.enqueue(encodeText(text));
        if (!this.#isOver) return;
        parts.stream.end();
        controller.close();
      },
      cancel: () => {
        this.#isGone = true;
        parts.stream.end();
      },
    }, { highWaterMark: 0 });
  }

  /** The next answers as text, or a comment when there are none for long. */
  async #wait(): Promise<string> {
    const { answers, signal } = this.#parts.stream;
    try {
      this.#next ??= orAborted(answers.next(), signal);
      const result = await this.#orBeat(this.#next);
      if (result === undefined) return ":\n\n";
      this.#next = undefined;
      if (result.done === true) return this.#end({ reason: "the watch ended" });
      const answer = create(WatchResponseSchema, result.value);
      return answer.canceled ? this.#end(endOf(answer)) : textOf(answer);
    } catch (error) {
      return this.#end({ reason: CoveyError.from(error).rawMessage });
    }
  }

  #end(data: JsonValue): string {
    this.#isOver = true;
    return `event: end\ndata: ${JSON.stringify(data)}\n\n`;
  }

  #orBeat<T>(promise: Promise<T>): Promise<T | undefined> {
    const { clock, heartbeatMs } = this.#parts;
    return new Promise((resolve, reject) => {
      const timer = clock.timer(heartbeatMs, () => resolve(undefined), undefined);
      promise.then((value) => {
        timer.cancel();
        resolve(value);
      }, (error) => {
        timer.cancel();
        reject(error);
      });
    });
  }
}

/** Why a watch is over, and where one may begin instead. */
export function endOf({ cancelReason, compactRevision }: WatchResponse): {
  readonly reason: string;
  readonly compactRevision?: number;
} {
  if (compactRevision === 0n) return { reason: cancelReason || "the watch was canceled" };
  return {
    reason: cancelReason ||
      `what comes next is compacted: begin with fromRevision=${compactRevision}`,
    compactRevision: Number(compactRevision),
  };
}

/** One answer as events: one a revision. */
function textOf(answer: WatchResponse): string {
  const { created, header, events, fragment } = answer;
  const revision = Number(header?.revision ?? 0);
  if (created) return `event: watching\ndata: ${JSON.stringify({ revision })}\n\n`;
  if (events.length === 0 && !fragment) {
    return `id: ${revision}\nevent: progress\ndata: ${JSON.stringify({ revision })}\n\n`;
  }
  const revisions = byRevision(events);
  return revisions.map(([at, changes], index) => {
    const isPart = fragment && index === revisions.length - 1;
    const data: KvChangeData = {
      revision: at,
      events: changes.map(changeReport),
      ...(isPart ? { more: true } : {}),
    };
    // Without the id, a client that comes back is told the whole revision again.
    const id = isPart ? "" : `id: ${at}\n`;
    return `${id}event: change\ndata: ${JSON.stringify(data)}\n\n`;
  }).join("");
}

function byRevision(events: readonly Event[]): [number, Event[]][] {
  const revisions: [number, Event[]][] = [];
  for (const event of events) {
    const revision = Number(event.kv?.modRevision ?? 0);
    const last = revisions.at(-1);
    if (last !== undefined && last[0] === revision) last[1].push(event);
    else revisions.push([revision, [event]]);
  }
  return revisions;
}
