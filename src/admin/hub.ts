/**
 * One place where everything that happens on the node can be followed. Modules open topics and
 * publish; `/v1/events` and `/v1/socket` attach clients. Nothing is kept and nothing is turned
 * into text while nobody follows.
 *
 * Each event has an id, `<epoch>-<number>`. A small ring keeps the last ones, so that a client
 * that comes back with the id of the last event it saw continues there, or is told how many it
 * missed. The epoch tells ids from before a restart.
 */
import { assert } from "../base/assert.ts";
import { Code } from "../base/error.ts";
import type { JsonValue } from "../base/log_json.ts";
import type { Counter, Gauge } from "../base/metrics.ts";
import type { Clock, Timer } from "../runtime/port.ts";
import { HttpError } from "./error.ts";
import type { AdminLimits } from "./parts.ts";
import type { TopicReport } from "./schema.ts";

/** One event, its data already text. */
export interface HubEvent {
  readonly id: string;
  readonly sequence: number;
  readonly topic: string;
  /** JSON. */
  readonly data: string;
}

/** What a client is told beside events. */
export type HubNotice =
  /** Events are gone. `missed` counts those of all topics, where their number is known. */
  | { readonly kind: "gap"; readonly missed: number | undefined; readonly reason: string }
  /** Nothing follows: the client was too slow. */
  | { readonly kind: "dropped"; readonly missed: number; readonly reason: string }
  /** Nothing follows: the node stops. */
  | { readonly kind: "end"; readonly reason: string };

/** Names that topics may not have. */
const noticeKinds: readonly string[] = ["gap", "dropped", "end"] satisfies HubNotice["kind"][];

/** One client, whatever carries it. None of these may throw. */
export interface HubClient {
  readonly topics: ReadonlySet<string>;
  event(event: HubEvent): void;
  notice(notice: HubNotice): void;
  /** Time to show that the connection lives. */
  beat(): void;
}

/** Where a module publishes. */
export interface Topic {
  /** Whether a publish would reach anybody; asked before data that is dear to build. */
  readonly wanted: boolean;
  publish(data: JsonValue): void;
}

/** An event larger than this is replaced by a note of its size. */
const eventBytesMax = 64 * 1024;
/** How long after the last client left events are still kept for its return. */
const returnMs = 120_000;

export interface HubParts {
  readonly clock: Clock;
  readonly limits: AdminLimits;
  readonly published: Counter;
  readonly clients: Gauge;
  /** Counts clients turned away because there are too many. */
  readonly limitHit: Counter;
}

export class EventHub {
  readonly #parts: HubParts;
  readonly #epoch: string;
  readonly #topics: Map<string, string> = new Map();
  readonly #clients: Set<HubClient> = new Set();
  /** The newest last. Its byte count never exceeds the limit, nor its length. */
  #ring: HubEvent[] = [];
  #ringBytes = 0;
  #sequence = 0;
  /** Events before this one were not numbered, since nobody was there. */
  #hole = 0;
  /** Runs while the last client that left may still come back. */
  #returning: Timer | undefined = undefined;
  #heartbeat: Timer | undefined = undefined;
  #closed = false;

  constructor(parts: HubParts) {
    this.#parts = parts;
    this.#epoch = Math.floor(parts.clock.wallMs()).toString(36);
  }

  /** Whether events are made: somebody follows, or just left and may come back. */
  get active(): boolean {
    return this.#clients.size > 0 || this.#returning !== undefined;
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** Opens a topic; `help` is shown to people. Each name once. */
  topic(name: string, help: string): Topic {
    assert(/^[a-z][a-z0-9_.]{0,62}$/.test(name), `topic ${name} is lower-case words`);
    assert(!noticeKinds.includes(name), `topic ${name} has the name of a notice`);
    assert(!this.#topics.has(name), `topic ${name} is opened once`);
    this.#topics.set(name, help);
    return new HubTopic(this, (data) => this.#publish(name, data));
  }

  /** Sorted by name. */
  topics(): TopicReport[] {
    return [...this.#topics].map(([name, help]) => ({ name, help })).sort((a, b) =>
      a.name < b.name ? -1 : 1
    );
  }

  /** The topics that a request names; all of them when it names none. */
  chooseTopics(names: readonly string[]): Set<string> {
    if (names.length === 0) return new Set(this.#topics.keys());
    for (const name of names) {
      if (this.#topics.has(name)) continue;
      throw new HttpError(400, Code.invalidArgument, `no topic ${JSON.stringify(name)}`, {
        hint: `topics: ${[...this.#topics.keys()].sort().join(", ")}`,
      });
    }
    return new Set(names);
  }

  /** Throws when there is no room for one more client, or the node stops. */
  admit(): void {
    if (this.#closed) throw new HttpError(503, Code.unavailable, "the node stops");
    if (this.#clients.size < this.#parts.limits.eventClientsMax) return;
    this.#parts.limitHit.value++;
    throw new HttpError(
      503,
      Code.resourceExhausted,
      `${this.#clients.size} clients follow events already`,
      { hint: "close one, or raise admin.event_clients_max", headers: { "retry-after": "5" } },
    );
  }

  /** Starts to deliver, first what the client missed since the event `after`. */
  attach(client: HubClient, after?: string): void {
    this.#returning?.cancel();
    this.#returning = undefined;
    this.#clients.add(client);
    this.#parts.clients.value = this.#clients.size;
    this.#heartbeat ??= this.#armHeartbeat();
    if (after !== undefined) this.replay(client, after);
  }

  /** The events after `after` that the client follows, or a notice that some are gone. */
  replay(client: HubClient, after: string): void {
    const match = /^([0-9a-z]+)-(\d{1,15})$/.exec(after);
    if (match === null || match[1] !== this.#epoch || Number(match[2]) > this.#sequence) {
      client.notice({ kind: "gap", missed: undefined, reason: "the node restarted since" });
      return;
    }
    const seen = Number(match[2]);
    const oldest = this.#sequence - this.#ring.length;
    if (seen < oldest) {
      const missed = seen < this.#hole ? undefined : oldest - seen;
      client.notice({ kind: "gap", missed, reason: "too long ago" });
    }
    for (const event of this.#ring) {
      if (event.sequence > seen && client.topics.has(event.topic)) client.event(event);
    }
  }

  detach(client: HubClient): void {
    if (!this.#clients.delete(client)) return;
    this.#parts.clients.value = this.#clients.size;
    if (this.#clients.size > 0) return;
    this.#heartbeat?.cancel();
    this.#heartbeat = undefined;
    if (!this.#closed) this.#returning = this.#parts.clock.timer(returnMs, forget, this);
  }

  /** Tells every client that nothing follows. */
  close(): void {
    this.#closed = true;
    for (const client of [...this.#clients]) {
      client.notice({ kind: "end", reason: "the node stops" });
      this.detach(client);
    }
    this.forget();
  }

  #publish(topic: string, data: JsonValue): void {
    if (this.#closed || !this.active) return;
    let text = JSON.stringify(data);
    if (text.length > eventBytesMax) {
      const note: JsonValue = { tooLarge: true, characters: text.length };
      text = JSON.stringify(note);
    }
    const sequence = ++this.#sequence;
    const event: HubEvent = { id: `${this.#epoch}-${sequence}`, sequence, topic, data: text };
    this.#keep(event);
    this.#parts.published.value++;
    // A client that is dropped by this event detaches itself while the loop runs; a Set allows it.
    for (const client of this.#clients) if (client.topics.has(topic)) client.event(event);
  }

  #keep(event: HubEvent): void {
    const { eventRingMax, eventRingBytesMax } = this.#parts.limits;
    this.#ring.push(event);
    this.#ringBytes += event.data.length;
    let surplus = 0;
    while (
      this.#ring.length - surplus > eventRingMax || this.#ringBytes > eventRingBytesMax
    ) {
      this.#ringBytes -= this.#ring[surplus].data.length;
      surplus++;
    }
    if (surplus > 0) this.#ring.splice(0, surplus);
  }

  /** Nobody comes back for the events that are kept; those to come are not even numbered. */
  forget(): void {
    this.#returning?.cancel();
    this.#returning = undefined;
    this.#ring = [];
    this.#ringBytes = 0;
    this.#hole = ++this.#sequence;
  }

  #armHeartbeat(): Timer {
    return this.#parts.clock.timer(this.#parts.limits.heartbeatMs, beat, this);
  }

  beat(): void {
    for (const client of this.#clients) client.beat();
    this.#heartbeat = this.#clients.size > 0 ? this.#armHeartbeat() : undefined;
  }
}

class HubTopic implements Topic {
  readonly #hub: EventHub;
  readonly publish: (data: JsonValue) => void;

  constructor(hub: EventHub, publish: (data: JsonValue) => void) {
    this.#hub = hub;
    this.publish = publish;
  }

  get wanted(): boolean {
    return this.#hub.active;
  }
}

function beat(hub: EventHub): void {
  hub.beat();
}

function forget(hub: EventHub): void {
  hub.forget();
}
