/**
 * What a stream of watches has to send. Events of one revision stay together: an answer is only
 * sent once its last revision is complete, or as a fragment to a watch that takes those.
 */
import type { ToldChange } from "./core/changes.ts";
import type { KvEvent } from "./core/result.ts";
import { entryBytes, type EventInit, type HeaderInit } from "./response.ts";
import { Outgoing, type Watcher, WatcherSet, type WatchResponseInit } from "./watcher.ts";

/** Watches that are told the same history at the same time. */
export class WatchGroup {
  readonly watchers = new WatcherSet();
  /** Those with events of a revision that is not complete. */
  readonly open: Watcher[] = [];
}

export interface OutboxParts {
  /** Above it, nothing more is taken. One change may pass it. */
  readonly queueBytesMax: number;
  readonly payloadBytesMax: number;
  readonly header: (revision: number) => HeaderInit;
  readonly wire: (event: KvEvent, previous: boolean) => EventInit;
  /** The watch cannot be told its events as it wants them. */
  readonly refuse: (watcher: Watcher, reason: string) => void;
}

/** Where an answer is cut if it may be: bulk travels in pieces. */
const answerBytesMax = 64 * 1024;

export class Outbox {
  readonly #parts: OutboxParts;
  #queue: Outgoing[] = [];
  /** Answers at the beginning of the queue that are gone. */
  #taken = 0;
  #bytes = 0;
  #epoch = 0;
  /** Events that were taken. */
  eventsTotal = 0;

  constructor(parts: OutboxParts) {
    this.#parts = parts;
  }

  get length(): number {
    return this.#queue.length - this.#taken;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get full(): boolean {
    return this.#bytes >= this.#parts.queueBytesMax;
  }

  /** Half empty again, or nothing can be sent any more: worth being filled. */
  get hasRoom(): boolean {
    return this.length === 0 || this.#bytes * 2 < this.#parts.queueBytesMax;
  }

  /** The next answer, in the order of their making. */
  shift(): WatchResponseInit | undefined {
    if (this.#taken === this.#queue.length) return undefined;
    const outgoing = this.#queue[this.#taken++];
    if (this.#taken * 2 >= this.#queue.length) {
      this.#queue = this.#queue.slice(this.#taken);
      this.#taken = 0;
    }
    this.#bytes -= outgoing.bytes;
    const { watcher } = outgoing;
    if (watcher?.queued === outgoing) watcher.queued = undefined;
    this.eventsTotal += outgoing.events.length;
    return outgoing.response(this.#parts.header);
  }

  /** An answer that is not about events. What comes later stays behind it. */
  control(response: WatchResponseInit): void {
    this.#epoch++;
    this.#push(new Outgoing(undefined, response));
    this.#bytes += controlBytes;
    this.#queue[this.#queue.length - 1].bytes = controlBytes;
  }

  /** One change for one watch of the group, if it wants it. */
  deliver(group: WatchGroup, watcher: Watcher, change: ToldChange): void {
    if (!watcher.wants(change)) return;
    const { previous, fragment } = watcher.options;
    const event = change.event(previous);
    const bytes = eventBytes(event);
    const { payloadBytesMax } = this.#parts;
    if (bytes > payloadBytesMax) {
      const what = `the change of revision ${change.revision} is larger than a message may be`;
      this.#parts.refuse(watcher, `${what}${previous ? ": watch without prev_kv" : ""}`);
      return;
    }
    let { open } = watcher;
    if (open !== undefined && open.bytes + bytes > (fragment ? answerBytesMax : payloadBytesMax)) {
      if (!fragment) return this.#refuseWhole(watcher, change.revision);
      this.#pushFragment(watcher, open);
      open = undefined;
    }
    if (open === undefined) {
      open = watcher.open = new Outgoing(watcher);
      this.#bytes += open.bytes;
      if (watcher.fragmentOf === 0) group.open.push(watcher);
    }
    watcher.quiet = false;
    watcher.known = change.revision - 1;
    open.revision = change.revision;
    open.events.push(this.#parts.wire(event, previous));
    open.bytes += bytes;
    this.#bytes += bytes;
  }

  /** The revision that the group was told of is complete. */
  complete(group: WatchGroup): void {
    for (const watcher of group.open) {
      if (watcher.over) continue;
      const { open, fragmentOf } = watcher;
      watcher.open = undefined;
      watcher.fragmentOf = 0;
      if (open === undefined) {
        const last = new Outgoing(watcher);
        last.revision = fragmentOf;
        this.#bytes += last.bytes;
        this.#push(last);
      } else if (fragmentOf !== 0) this.#push(open);
      else if (!this.#join(watcher, open)) {
        this.#push(open);
        watcher.queued = open;
      }
    }
    group.open.length = 0;
  }

  /**
   * Everything that fills the outbox belongs to revisions that are not complete, so that nothing
   * could ever be sent: fragments go out, and who wants whole revisions cannot be helped.
   */
  relieve(groups: readonly WatchGroup[]): void {
    if (this.length > 0 || !this.full) return;
    for (const { open: watchers } of groups) {
      for (const watcher of watchers) {
        const { open } = watcher;
        if (watcher.over || open === undefined) continue;
        if (watcher.options.fragment) this.#pushFragment(watcher, open);
      }
    }
    if (this.length > 0) return;
    for (const { open: watchers } of groups) {
      for (const watcher of [...watchers]) {
        if (watcher.open !== undefined) this.#refuseWhole(watcher, watcher.open.revision);
      }
    }
  }

  /** The watch is over: what it was not told yet of the present revision is dropped. */
  drop(watcher: Watcher): void {
    if (watcher.open !== undefined) this.#bytes -= watcher.open.bytes;
    watcher.open = undefined;
    watcher.queued = undefined;
  }

  #refuseWhole(watcher: Watcher, revision: number): void {
    const reason = `the changes of revision ${revision} are more than may wait for one message: ` +
      "watch with fragment";
    this.#parts.refuse(watcher, reason);
  }

  #pushFragment(watcher: Watcher, open: Outgoing): void {
    open.fragment = true;
    watcher.fragmentOf = open.revision;
    watcher.open = undefined;
    watcher.queued = undefined;
    this.#push(open);
  }

  /** Adds to the answer before, while that waits. */
  #join(watcher: Watcher, open: Outgoing): boolean {
    const { queued } = watcher;
    if (queued === undefined || queued.epoch !== this.#epoch) return false;
    if (queued.bytes + open.bytes > answerBytesMax) return false;
    for (const event of open.events) queued.events.push(event);
    queued.bytes += open.bytes;
    queued.revision = open.revision;
    return true;
  }

  #push(outgoing: Outgoing): void {
    outgoing.epoch = this.#epoch;
    this.#queue.push(outgoing);
  }
}

/** What an answer without events counts. */
const controlBytes = 160;
const eventOverheadBytes = 8;

function eventBytes({ entry, previous }: KvEvent): number {
  return entryBytes(entry) + (previous === undefined ? 0 : entryBytes(previous)) +
    eventOverheadBytes;
}
