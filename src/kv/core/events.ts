/** What a watch is made of: the changes of an interval from some revision on, page by page. */
import { inInterval } from "./bytes.ts";
import { nowhere } from "./records.ts";
import type { KeyValue, KvEvent } from "./result.ts";
import type { Store } from "./store.ts";

/** The next change to look at: changes of one revision are numbered from 0. */
export interface EventCursor {
  readonly revision: number;
  readonly sub: number;
}

export interface EventsRequest {
  readonly key: Uint8Array;
  readonly end: Uint8Array;
  readonly from: EventCursor;
  /** Give what was there before, where it is not compacted. */
  readonly previous: boolean;
  /** Leave these out. */
  readonly withoutPuts?: boolean;
  readonly withoutDeletes?: boolean;
  /** Where a page ends: after this many events, bytes of them, or changes looked at. */
  readonly eventsMax: number;
  readonly bytesMax: number;
  readonly changesMax: number;
}

export type EventsPage =
  | {
    readonly kind: "events";
    /** At least one if there is any within the changes looked at. */
    readonly events: readonly KvEvent[];
    /** Where the next page begins. Its sub is above 0 when this page ends within a revision. */
    readonly next: EventCursor;
    /** Nothing is left up to the store's newest revision. */
    readonly caughtUp: boolean;
  }
  | {
    readonly kind: "compacted";
    /** The earliest revision that can be asked for. */
    readonly compactRevision: number;
  };

export function readEvents(store: Store, request: EventsRequest): EventsPage {
  const { history, records } = store;
  const { from, eventsMax, bytesMax, changesMax } = request;
  if (from.revision < store.compactRevision) {
    return { kind: "compacted", compactRevision: store.compactRevision };
  }
  const { begin, end } = store.unread(from);
  const stop = Math.min(end, begin + Math.max(changesMax, 1));
  let position = begin;
  const events: KvEvent[] = [];
  let bytes = 0;
  for (; position < stop; position++) {
    if (events.length > 0 && (events.length >= eventsMax || bytes >= bytesMax)) break;
    const record = history.record(position);
    const event = eventOf(store, record, request);
    if (event === undefined) continue;
    events.push(event);
    bytes += event.entry.key.length + event.entry.value.length +
      (event.previous?.value.length ?? 0);
  }
  const caughtUp = position === end;
  const next = caughtUp ? store.after(from) : {
    revision: records.mod(history.record(position)),
    sub: records.sub(history.record(position)),
  };
  return { kind: "events", events, next, caughtUp };
}

/** Everything that this revision changed, in its order, with previous values. */
export function eventsOf(store: Store, revision: number): KvEvent[] {
  const { history, records } = store;
  const events: KvEvent[] = [];
  for (let at = store.positionOf(revision); at < history.end; at++) {
    const record = history.record(at);
    if (records.mod(record) !== revision) break;
    events.push(eventOfRecord(store, record, true));
  }
  return events;
}

function eventOf(store: Store, record: number, request: EventsRequest): KvEvent | undefined {
  const { records } = store;
  const deleted = records.version(record) === 0;
  if (deleted ? request.withoutDeletes === true : request.withoutPuts === true) return undefined;
  const address = records.key(record);
  if (request.end.length === 0 && records.compareKey(address, request.key) !== 0) return undefined;
  if (records.compareKey(address, request.key) < 0) return undefined;
  const key = records.keyBytes(address);
  if (!inInterval(key, request.key, request.end)) return undefined;
  return toEvent(store, record, key, request.previous);
}

/** The event of a change that the store keeps. */
export function eventOfRecord(store: Store, record: number, previous: boolean): KvEvent {
  const { records } = store;
  return toEvent(store, record, records.keyBytes(records.key(record)), previous);
}

function toEvent(store: Store, record: number, key: Uint8Array, previous: boolean): KvEvent {
  const { records } = store;
  const entry: KeyValue = {
    key,
    value: records.valueView(record).slice(),
    createRevision: records.create(record),
    modRevision: records.mod(record),
    version: records.version(record),
    lease: records.lease(record),
  };
  return {
    type: entry.version === 0 ? "delete" : "put",
    entry,
    previous: previous ? previousOf(store, record) : undefined,
  };
}

/** What was before the compaction is not told, whether it is still there or not. */
function previousOf(store: Store, record: number): KeyValue | undefined {
  const { records } = store;
  if (records.mod(record) <= store.compactRevision) return undefined;
  const previous = records.previous(record);
  if (previous === nowhere || records.version(previous) === 0) return undefined;
  return records.keyValue(previous);
}
