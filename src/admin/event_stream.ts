/**
 * One client of `/v1/events`: server-sent events
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html) with a bounded queue.
 *
 * The runtime pulls as fast as the client reads. What it has not pulled waits here; when too much
 * waits, the queue is thrown away, the client is told how much it missed and the stream ends. A
 * browser then comes back by itself with the last id it saw.
 */
import { encodeText } from "../base/bytes.ts";
import type { Clock, Timer } from "../runtime/port.ts";
import type { EventHub, HubClient, HubEvent, HubNotice } from "./hub.ts";

export interface EventStreamParts {
  readonly hub: EventHub;
  readonly clock: Clock;
  readonly queueBytesMax: number;
  /** Called once when the client was too slow, with the number of events it did not get. */
  readonly dropped: (missed: number) => void;
}

/** What a browser waits before it comes back. */
const retryMs = 2000;
/** A client that does not even take the notice of its end is cut off after this. */
const lingerMs = 10_000;

export class EventStream implements HubClient {
  readonly topics: ReadonlySet<string>;
  readonly body: ReadableStream<Uint8Array>;
  readonly #parts: EventStreamParts;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #queue: string[] = [];
  #queuedBytes = 0;
  /** Events in the queue, which may also hold comments and notices. */
  #queuedEvents = 0;
  /** The runtime asked for bytes and there were none. */
  #waiting = false;
  #state: "open" | "ending" | "closed" = "open";
  #linger: Timer | undefined = undefined;

  constructor(parts: EventStreamParts, topics: ReadonlySet<string>) {
    this.#parts = parts;
    this.topics = topics;
    this.body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#pull(),
      cancel: () => this.#closed(),
    }, { highWaterMark: 0 });
    this.#send(`retry: ${retryMs}\n\n`);
  }

  event(event: HubEvent): void {
    if (this.#state !== "open") return;
    const text = `id: ${event.id}\nevent: ${event.topic}\ndata: ${event.data}\n\n`;
    if (!this.#waiting && this.#queuedBytes + text.length > this.#parts.queueBytesMax) {
      this.#drop();
      return;
    }
    if (!this.#waiting) this.#queuedEvents++;
    this.#send(text);
  }

  notice(notice: HubNotice): void {
    if (this.#state !== "open") return;
    const { kind, ...data } = notice;
    this.#send(`event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`);
    if (kind !== "gap") this.#end();
  }

  beat(): void {
    // A client with a queue is not silent, it is slow; a comment would only lengthen the queue.
    if (this.#state === "open" && this.#waiting) this.#send(":\n\n");
  }

  #drop(): void {
    const missed = this.#queuedEvents + 1;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#parts.dropped(missed);
    this.notice({ kind: "dropped", missed, reason: "this client reads slower than events come" });
  }

  /** No event follows; the stream closes once what is queued was pulled. */
  #end(): void {
    this.#state = "ending";
    this.#parts.hub.detach(this);
    if (this.#queue.length === 0) this.#close();
    else this.#linger = this.#parts.clock.timer(lingerMs, cutOff, this);
  }

  #send(text: string): void {
    if (this.#waiting) {
      this.#waiting = false;
      this.#controller.enqueue(encodeText(text));
    } else {
      this.#queue.push(text);
      this.#queuedBytes += text.length;
    }
  }

  #pull(): void {
    if (this.#queue.length > 0) {
      const bytes = encodeText(this.#queue.join(""));
      this.#queue = [];
      this.#queuedBytes = 0;
      this.#queuedEvents = 0;
      this.#controller.enqueue(bytes);
      if (this.#state === "ending") this.#close();
    } else this.#waiting = true;
  }

  #close(): void {
    this.#closed();
    this.#controller.close();
  }

  #closed(): void {
    this.#state = "closed";
    this.#linger?.cancel();
    this.#queue = [];
    this.#parts.hub.detach(this);
  }

  cutOff(): void {
    if (this.#state !== "ending") return;
    this.#closed();
    this.#controller.error(new Error("the client does not read"));
  }
}

function cutOff(stream: EventStream): void {
  stream.cutOff();
}
