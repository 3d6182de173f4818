/**
 * A watch that outlives its nodes and streams. It knows what was yielded, to the single event, and
 * goes on right behind it wherever it finds a node.
 */
import { Code, CoveyError } from "../base/error.ts";
import { type Calls, canceledBy } from "./client_calls.ts";
import type { Event, WatchCreateRequestSchema, WatchResponse } from "../gen/covey/kv/v1/kv_pb.ts";
import {
  Event_Type as EventType,
  WatchCreateRequest_FilterType as FilterType,
} from "../gen/covey/kv/v1/kv_pb.ts";
import { CompactedError, isStopped } from "./client_error.ts";
import { entryOf, headerOf, optionalEntry, toInterval, toWire } from "./client_wire.ts";
import type { KeySelection, KvWatch, KvWatchEvent, WatchOptions } from "./client_types.ts";
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { Requests } from "./client_requests.ts";
import { requireLeaderKey } from "./metadata_keys.ts";

type CreateInit = MessageInitShape<typeof WatchCreateRequestSchema>;

export class ClientWatch implements KvWatch {
  readonly ready: Promise<void>;
  readonly #calls: Calls;
  readonly #create: CreateInit;
  readonly #tellsProgress: boolean;
  readonly #abort = new AbortController();
  readonly #signal: AbortSignal;
  readonly #events: AsyncGenerator<KvWatchEvent, void>;
  #tellReady!: () => void;
  #tellNever!: (error: unknown) => void;
  /** The first revision of which something may be missing; 0 while that is not known. */
  #next: number;
  /** So many events of that revision have arrived. */
  #told = 0;
  /** So many of them come again, because a new stream began with that revision. */
  #repeated = 0;
  /** Everything up to this revision was yielded. */
  #seen = 0;
  #failures = 0;
  #closed = false;

  constructor(calls: Calls, keys: KeySelection, options: WatchOptions) {
    this.#calls = calls;
    const { key, end } = toInterval(keys);
    const filters: FilterType[] = [];
    if (options.withoutPuts) filters.push(FilterType.NOPUT);
    if (options.withoutDeletes) filters.push(FilterType.NODELETE);
    this.#next = Number(toWire(options.from, "from"));
    this.#tellsProgress = options.progress ?? false;
    this.#create = {
      key,
      rangeEnd: end,
      filters,
      prevKv: options.previous ?? false,
      fragment: true,
      // What is not told on is learned all the same: who knows how far a quiet watch has come asks
      // another node for what is still there, and not for what was compacted meanwhile.
      progressNotify: true,
      watchId: 1n,
    };
    const signals = [this.#abort.signal, calls.closing];
    if (options.signal !== undefined) signals.push(options.signal);
    this.#signal = AbortSignal.any(signals);
    this.ready = new Promise((resolve, reject) => {
      this.#tellReady = resolve;
      this.#tellNever = reject;
    });
    // Who does not ask for it learns the same from the iterator.
    this.ready.catch(() => undefined);
    this.#events = this.#run();
    // It watches from now on, not from when somebody reads: its first step is to ask a node.
    this.#first = this.#events.next();
    this.#first.catch(() => undefined);
  }

  #first: Promise<IteratorResult<KvWatchEvent>> | undefined;

  get revision(): number {
    return this.#seen;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<KvWatchEvent>> {
    if (this.#closed) return Promise.resolve({ done: true, value: undefined });
    const first = this.#first;
    this.#first = undefined;
    return first ?? this.#events.next();
  }

  return(): Promise<IteratorResult<KvWatchEvent>> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#abort.abort();
    this.#events.return().catch(() => undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  async *#run(): AsyncGenerator<KvWatchEvent, void> {
    try {
      for (;;) {
        const { endpoint } = this.#calls;
        try {
          yield* this.#stream();
        } catch (thrown) {
          if (this.#closed) return;
          const error = CoveyError.from(thrown);
          if (this.#signal.aborted) throw canceledBy(this.#signal);
          if (!isLoss(error) || (isStopped(error) && !this.#calls.hasOthers)) throw error;
          this.#calls.leave(endpoint, error);
        }
        if (this.#closed) return;
        const pauseMs = this.#calls.pauseMs(++this.#failures);
        if (pauseMs > 0) await this.#calls.pause(pauseMs, this.#signal);
      }
    } catch (error) {
      if (this.#closed) return;
      this.#tellNever(error);
      throw error;
    } finally {
      this.#tellNever(new CoveyError(Code.canceled, "the watch is over", { sent: false }));
    }
  }

  /** One stream of one node, until it ends. */
  async *#stream(): AsyncGenerator<KvWatchEvent, void> {
    const requests = new Requests<{ request: { case: "createRequest"; value: CreateInit } }>();
    const value = { ...this.#create, startRevision: BigInt(this.#next) };
    requests.push({ request: { case: "createRequest", value } });
    this.#repeated = this.#told;
    try {
      const responses = this.#calls.endpoint.watch.watch(requests, {
        signal: this.#signal,
        metadata: { [requireLeaderKey]: "true" },
      });
      for await (const response of responses) {
        if (response.canceled) throw endOf(response);
        this.#failures = 0;
        const events = this.#taken(response);
        const last = events.pop();
        for (const event of events) yield event;
        this.#seen = Math.max(this.#seen, this.#next - 1);
        if (response.created) this.#tellReady();
        if (last !== undefined) yield last;
      }
    } finally {
      requests.end();
    }
  }

  /** The events of an answer that are new, and what it says beside. */
  #taken(response: WatchResponse): KvWatchEvent[] {
    const { revision } = headerOf(response.header);
    if (response.created) {
      if (this.#next === 0) this.#next = revision + 1;
      return [];
    }
    const taken: KvWatchEvent[] = [];
    for (const event of response.events) {
      const told = eventOf(event);
      if (this.#repeated > 0 && told.revision === this.#next) this.#repeated--;
      else {
        this.#repeated = 0;
        this.#told = told.revision === this.#next ? this.#told + 1 : 1;
        this.#next = told.revision;
        taken.push(told);
      }
    }
    if (response.fragment || this.#repeated > 0) return taken;
    if (this.#told > 0) {
      // It is about what was before.
      if (response.events.length === 0 && revision < this.#next) return taken;
      // That revision is complete: an answer without events may be what says so.
      this.#next++;
      this.#told = 0;
    } else if (response.events.length === 0) {
      this.#next = Math.max(this.#next, revision + 1);
      if (this.#tellsProgress) taken.push({ type: "progress", revision: this.#next - 1 });
    }
    return taken;
  }
}

function eventOf(event: Event): KvWatchEvent & { readonly type: "put" | "delete" } {
  if (event.kv === undefined) {
    throw new CoveyError(Code.internal, "the node's answer has an event without a key");
  }
  const entry = entryOf(event.kv);
  return {
    type: event.type === EventType.DELETE ? "delete" : "put",
    revision: entry.modRevision,
    entry,
    previous: optionalEntry(event.prevKv),
  };
}

function isLoss({ code }: CoveyError): boolean {
  return code === Code.unavailable || code === Code.deadlineExceeded;
}

/** Why a node ended the watch. */
function endOf({ compactRevision, cancelReason, created }: WatchResponse): CoveyError {
  if (compactRevision > 0n) return new CompactedError(cancelReason, Number(compactRevision));
  const what = created ? "the node refused the watch" : "the node ended the watch";
  return new CoveyError(Code.failedPrecondition, `${what}: ${cancelReason}`);
}
