/** One watch of a stream, and sets of them. */
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import type { WatchResponseSchema } from "../gen/covey/kv/v1/kv_pb.ts";
import type { Change, ToldChange } from "./core/changes.ts";
import { compareBytes, isOpenEnd } from "./core/bytes.ts";
import type { EventInit, HeaderInit } from "./response.ts";
import { type Interval, WatchIndex } from "./watch_index.ts";

export type WatchResponseInit = MessageInitShape<typeof WatchResponseSchema>;

/** What an answer says that is not about events. */
export interface WatchControl {
  readonly watchId: bigint;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly compactRevision?: bigint;
  readonly cancelReason?: string;
}

/** What the hub shows live changes to. */
export interface WatchTarget {
  /** A change within its interval. Must not throw. */
  changed(change: ToldChange): void;
}

export interface WatchOptions extends Interval {
  /** On its stream. */
  readonly id: number;
  /** Nothing before this revision is told. */
  readonly from: number;
  readonly previous: boolean;
  readonly withoutPuts: boolean;
  readonly withoutDeletes: boolean;
  readonly fragment: boolean;
  readonly progress: boolean;
}

/** What a watcher needs of its stream. */
export interface WatcherOwner {
  changed(watcher: Watcher, change: ToldChange): void;
}

export class Watcher implements WatchTarget {
  readonly owner: WatcherOwner;
  readonly options: WatchOptions;
  /** Nothing is told any more. */
  over = false;
  /** The hub shows it what happens; until then its stream reads history for it. */
  live = false;
  /** Events of a revision that is not known to be complete. */
  open: Outgoing | undefined = undefined;
  /** The revision of which a part is on its way as a fragment, so that a last part has to follow. */
  fragmentOf = 0;
  /** Its last answer, while it waits to be sent: more events may be added to it. */
  queued: Outgoing | undefined = undefined;
  /** Nothing was told since the last look. */
  quiet = false;
  /** Its client lacks nothing up to this revision, and knows so. */
  known: number;

  constructor(owner: WatcherOwner, options: WatchOptions) {
    this.owner = owner;
    this.options = options;
    this.known = options.from - 1;
  }

  changed(change: ToldChange): void {
    if (!this.over) this.owner.changed(this, change);
  }

  wants(change: ToldChange): boolean {
    const { from, withoutPuts, withoutDeletes } = this.options;
    if (this.over || change.revision < from) return false;
    return change.isDelete ? !withoutDeletes : !withoutPuts;
  }
}

/** An answer that waits to be sent. */
export class Outgoing {
  readonly watcher: Watcher | undefined;
  readonly events: EventInit[] = [];
  bytes = outgoingBytes;
  /** The last revision of its events. */
  revision = 0;
  /** More of that revision follows. */
  fragment = false;
  /** Only answers of one epoch are joined: something else was promised in between. */
  epoch = 0;
  /** An answer that is not about events. */
  readonly control: WatchResponseInit | undefined;

  constructor(watcher: Watcher | undefined, control?: WatchResponseInit) {
    this.watcher = watcher;
    this.control = control;
  }

  response(header: (revision: number) => HeaderInit): WatchResponseInit {
    if (this.control !== undefined) return this.control;
    return {
      header: header(this.revision),
      watchId: BigInt(this.watcher?.options.id ?? 0),
      fragment: this.fragment,
      events: this.events,
    };
  }
}

/** What an answer counts beside its events. */
const outgoingBytes = 96;

/** Up to so many are looked through; most streams have one. */
const listMax = 16;

/** Watchers by what they watch. */
export class WatcherSet {
  readonly #all = new Set<Watcher>();
  #index: WatchIndex<Watcher> | undefined = undefined;

  get size(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): IterableIterator<Watcher> {
    return this.#all.values();
  }

  has(watcher: Watcher): boolean {
    return this.#all.has(watcher);
  }

  add(watcher: Watcher): void {
    this.#all.add(watcher);
    if (this.#index !== undefined) this.#index.add(watcher.options, watcher);
    else if (this.#all.size > listMax) {
      this.#index = new WatchIndex();
      for (const one of this.#all) this.#index.add(one.options, one);
    }
  }

  delete(watcher: Watcher): void {
    if (this.#all.delete(watcher)) this.#index?.delete(watcher.options, watcher);
  }

  /** Appends those whose interval holds the change's key. */
  find(change: Change, found: Watcher[]): void {
    if (this.#index !== undefined) {
      this.#index.find(change, found);
      return;
    }
    for (const watcher of this.#all) if (holds(watcher.options, change)) found.push(watcher);
  }
}

function holds({ key, end }: Interval, change: Change): boolean {
  const order = change.compareKey(key);
  if (end.length === 0) return order === 0;
  return order >= 0 && (isOpenEnd(end) || change.compareKey(end) < 0);
}

/** Whether no key can be in the interval. */
export function isEmptyInterval({ key, end }: Interval): boolean {
  return end.length > 0 && !isOpenEnd(end) && compareBytes(key, end) >= 0;
}
