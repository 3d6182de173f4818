/**
 * The watches of one stream. Live ones are shown changes by the hub as long as the stream has room.
 * Without room the whole stream lags: it keeps its place in history and reads on from there when
 * its client has taken something, so that what it costs is bounded however slow the client is.
 * Watches that begin in the past join the live ones once they have been told it.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { ToldChange } from "./core/changes.ts";
import type { EventCursor } from "./core/events.ts";
import type { WatchRequest } from "../gen/covey/kv/v1/kv_pb.ts";
import type { HubStream, WatchHub } from "./watch_hub.ts";
import { Outbox, WatchGroup } from "./watch_outbox.ts";
import { payloadBytesMax } from "./options.ts";
import { readCreate } from "./watch_request.ts";
import { isEmptyInterval, type WatchControl, Watcher, type WatchResponseInit } from "./watcher.ts";
import type { SlicedTask } from "./slices.ts";

/** Answers that are sent before others get the thread. */
const answersPerTurn = 64;
/** What one turn of reading looks at. */
const changesPerTurn = 512;
/** Unanswered requests after which no more are read. */
const controlsMax = 1_024;
/** Watches that enter the hub, or leave it, before others get the thread. */
const joinedPerTurn = 512;
const detachedPerTurn = 512;

/** Told to every watch: the answer is about the stream. */
const wholeStream = -1n;

/** Told where a watch was refused, which therefore has no id. */
const noWatch = -1n;

/** Watches that are told the past, all of them from one place. */
interface Joining {
  readonly group: WatchGroup;
  from: EventCursor;
}

export class WatchStream
  implements HubStream, SlicedTask, AsyncIterableIterator<WatchResponseInit> {
  readonly #hub: WatchHub;
  readonly #outbox: Outbox;
  readonly #watchers = new Map<number, Watcher>();
  readonly #live = new WatchGroup();
  /** Where the live ones stand while the stream lags; else they stand where the hub does. */
  #lag: EventCursor | undefined = undefined;
  #joining: Joining | undefined = undefined;
  /** They join when those before them have. */
  #waiting: Watcher[] = [];
  /** The change that was looked at last: whether there is room is decided once for each. */
  #revision = 0;
  #sub = 0;
  #nextId = 1;
  #progressWanted = false;
  #queued = false;
  /** Whose turn it was, where both read history. */
  #joins = false;
  #ended: { readonly error: Error | undefined } | undefined = undefined;
  #wake: (() => void) | undefined = undefined;
  #drained: (() => void) | undefined = undefined;
  #sent = 0;
  readonly requiresLeader: boolean;

  constructor(hub: WatchHub, requests: AsyncIterable<WatchRequest>, requiresLeader: boolean) {
    this.#hub = hub;
    this.requiresLeader = requiresLeader;
    this.#outbox = new Outbox({
      queueBytesMax: hub.parts.settings.watchQueueBytesMax,
      payloadBytesMax: payloadBytesMax(hub.parts.settings),
      header: hub.parts.header,
      wire: (event, previous) => hub.wire(event, previous),
      refuse: (watcher, reason) => this.#cancel(watcher, { cancelReason: reason }),
    });
    hub.opened(this);
    void this.#listen(requests);
  }

  get size(): number {
    return this.#watchers.size;
  }

  get live(): { readonly size: number } {
    return this.#live.watchers;
  }

  get queuedBytes(): number {
    return this.#outbox.bytes;
  }

  // -- what is sent ---------------------------------------------------------------------------

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<WatchResponseInit>> {
    for (;;) {
      if (this.#ended !== undefined) {
        if (this.#ended.error !== undefined) throw this.#ended.error;
        return { done: true, value: undefined };
      }
      const response = this.#outbox.shift();
      if (response !== undefined) {
        this.#took();
        if (++this.#sent % answersPerTurn === 0) await this.#hub.parts.slices.turn();
        return { done: false, value: response };
      }
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** The client left. */
  return(): Promise<IteratorResult<WatchResponseInit>> {
    this.#close(undefined);
    return Promise.resolve({ done: true, value: undefined });
  }

  end(error: Error): void {
    this.#close(error);
  }

  #took(): void {
    const { counters } = this.#hub;
    counters.responsesTotal++;
    counters.eventsTotal += this.#outbox.eventsTotal;
    this.#outbox.eventsTotal = 0;
    if (this.#outbox.length < controlsMax) {
      this.#drained?.();
      this.#drained = undefined;
    }
    if (this.#behind && this.#outbox.hasRoom) this.proceed();
  }

  #woken(): void {
    if (this.#outbox.length === 0 && this.#ended === undefined) return;
    this.#wake?.();
    this.#wake = undefined;
  }

  #close(error: Error | undefined): void {
    if (this.#ended !== undefined) return;
    this.#ended = { error };
    this.#hub.closed(this);
    if (this.#lag !== undefined) this.#hub.counters.streamsSlow--;
    this.#lag = undefined;
    const watchers = [...this.#watchers.values()];
    for (const watcher of watchers) watcher.over = true;
    this.#drained?.();
    this.#woken();
    this.#hub.parts.slices.add({
      slice: () => {
        for (const watcher of watchers.splice(-detachedPerTurn)) this.#forget(watcher);
        return watchers.length > 0;
      },
    });
  }

  #forget(watcher: Watcher): void {
    this.#hub.detach(watcher);
    this.#hub.counters.watches--;
    if (watcher.options.progress) this.#hub.progressWatch(-1);
    this.#watchers.delete(watcher.options.id);
  }

  // -- what is asked --------------------------------------------------------------------------

  /** Requests in their order. Their end is the stream's: a client that closes wants no more. */
  async #listen(requests: AsyncIterable<WatchRequest>): Promise<void> {
    try {
      for await (const { request } of requests) {
        await this.#hub.readable();
        if (this.#ended !== undefined || !this.#take(request)) return;
        if (this.#outbox.length >= controlsMax) {
          await new Promise<void>((resolve) => this.#drained = resolve);
        }
      }
      this.#close(undefined);
    } catch {
      // The peer is gone or broke the protocol; whoever pumps the answers is told the same.
      this.#close(undefined);
    }
  }

  /** False when the stream is over: a request that none is, or a fault of this node's own. */
  #take(request: WatchRequest["request"]): boolean {
    try {
      if (request.case === "createRequest") this.#create(readCreate(request.value));
      else if (request.case === "cancelRequest") this.#canceled(Number(request.value.watchId));
      else if (request.case === "progressRequest") this.#askProgress();
      this.#woken();
      return true;
    } catch (error) {
      if (!(error instanceof CoveyError)) {
        this.#hub.parts.logger.error("a request of a watch failed", { cause: error });
      }
      this.end(CoveyError.from(error, Code.internal));
      return false;
    }
  }

  #create(wanted: ReturnType<typeof readCreate>): void {
    const { machine, settings } = this.#hub.parts;
    const { counters } = this.#hub;
    const id = wanted.id === 0 ? this.#freeId() : wanted.id;
    // As in etcd: there may be a watch of the id that was asked for, which goes on.
    const refuse = (cancelReason: string): void => {
      this.#control({ watchId: noWatch, created: true, canceled: true, cancelReason });
    };
    if (wanted.problem !== undefined) return refuse(wanted.problem);
    if (this.#watchers.has(id)) return refuse(`this stream has a watch ${id} already`);
    if (this.#watchers.size >= settings.watchesPerStreamMax) {
      counters.limitHits++;
      return refuse(
        `this stream has as many watches as one may have (${settings.watchesPerStreamMax}): open another`,
      );
    }
    if (counters.watches >= settings.watchesMax) {
      counters.limitHits++;
      return refuse(
        `this node serves as many watches as it may (${settings.watchesMax}): ask another one`,
      );
    }
    // As in etcd, no key at all is the first one there can be.
    const key = wanted.key.length === 0 ? Uint8Array.of(0) : wanted.key;
    const interval = { key, end: wanted.end };
    if (isEmptyInterval(interval)) {
      return refuse("no key lies in the range: its end is not after its key");
    }
    const from = wanted.start === 0 ? machine.revision + 1 : wanted.start;
    const watcher = new Watcher(this, { ...wanted, ...interval, id, from });
    this.#watchers.set(id, watcher);
    counters.watches++;
    if (wanted.progress) this.#hub.progressWatch(1);
    this.#control({ watchId: BigInt(id), created: true });
    if (from > machine.revision) {
      this.#live.watchers.add(watcher);
      this.#hub.attach(watcher);
    } else if (from < machine.compactRevision) this.#compacted(watcher);
    else {
      this.#waiting.push(watcher);
      this.proceed();
    }
  }

  #freeId(): number {
    while (this.#watchers.has(this.#nextId)) this.#nextId++;
    return this.#nextId++;
  }

  #canceled(id: number): void {
    const watcher = this.#watchers.get(id);
    // As in etcd, there is no answer to one that is over, which may have been told already.
    if (watcher !== undefined) this.#cancel(watcher, {});
  }

  #compacted(watcher: Watcher): void {
    const { compactRevision } = this.#hub.parts.machine;
    this.#hub.counters.compactedTotal++;
    this.#cancel(watcher, {
      compactRevision: BigInt(compactRevision),
      cancelReason: `the revision has been compacted: begin with ${compactRevision} or later`,
    });
  }

  #cancel(
    watcher: Watcher,
    how: Omit<WatchControl, "watchId">,
  ): void {
    if (watcher.over) return;
    watcher.over = true;
    this.#outbox.drop(watcher);
    this.#live.watchers.delete(watcher);
    this.#joining?.group.watchers.delete(watcher);
    this.#waiting = this.#waiting.filter((one) => one !== watcher);
    this.#forget(watcher);
    this.#hub.counters.canceledTotal++;
    this.#control({ watchId: BigInt(watcher.options.id), canceled: true, ...how });
    this.#woken();
  }

  #control(control: WatchControl, revision = this.#hub.parts.machine.revision): void {
    this.#outbox.control({ header: this.#hub.parts.header(revision), ...control });
  }

  // -- progress -------------------------------------------------------------------------------

  #askProgress(): void {
    this.#progressWanted = true;
    this.#tellProgress();
  }

  /** Only where everything before it was told: that is what it says. */
  #tellProgress(): void {
    if (!this.#progressWanted || this.#behind) return;
    this.#progressWanted = false;
    this.#control({ watchId: wholeStream }, this.#hub.revisionShown);
    this.#woken();
  }

  progressTick(): void {
    for (const watcher of this.#watchers.values()) {
      if (!watcher.options.progress) continue;
      if (watcher.quiet) this.#tellProgressOf(watcher);
      watcher.quiet = true;
    }
    this.#woken();
  }

  tellOld(): void {
    for (const watcher of this.#watchers.values()) {
      if (this.#isOld(watcher)) this.#tellProgressOf(watcher);
    }
    this.#woken();
  }

  /** The next compactions may take the place at which its client would go on elsewhere. */
  #isOld({ options, known }: Watcher): boolean {
    return options.progress && known < this.#hub.revisionOld;
  }

  /** What says that all of a revision was told must not stand in the middle of one. */
  #tellProgressOf(watcher: Watcher): void {
    if (!watcher.live || this.#lag !== undefined || this.#outbox.full) return;
    if (watcher.open !== undefined || watcher.fragmentOf !== 0) return;
    watcher.known = this.#hub.revisionShown;
    this.#control({ watchId: BigInt(watcher.options.id) }, watcher.known);
  }

  // -- live -----------------------------------------------------------------------------------

  /** For the hub, by way of the watch. */
  changed(watcher: Watcher, change: ToldChange): void {
    if (this.#lag !== undefined) return;
    if (this.#revision !== change.revision || this.#sub !== change.sub) {
      this.#revision = change.revision;
      this.#sub = change.sub;
      if (this.#outbox.full) {
        this.lagFrom({ revision: change.revision, sub: change.sub });
        return;
      }
      this.#hub.touched(this);
    }
    this.#outbox.deliver(this.#live, watcher, change);
  }

  revisionShown(): void {
    // What a stream was shown before it began to lag in the same revision is not all of it.
    if (this.#lag === undefined) this.#outbox.complete(this.#live);
    this.#woken();
  }

  lagFrom(cursor: EventCursor): void {
    if (this.#lag !== undefined) return;
    this.#lag = cursor;
    this.#hub.counters.streamsSlow++;
    this.#hub.counters.slowTotal++;
    // With nothing to be taken, nobody would ask for turns.
    if (this.#outbox.length === 0) this.proceed();
  }

  // -- behind ---------------------------------------------------------------------------------

  get #behind(): boolean {
    return this.#lag !== undefined || this.#joining !== undefined || this.#waiting.length > 0;
  }

  /** Asks for turns to read history, where there is any to be read. */
  proceed(): void {
    if (this.#queued || !this.#behind || this.#ended !== undefined) return;
    this.#queued = true;
    this.#hub.parts.slices.add(this);
  }

  slice(): boolean {
    this.#queued = false;
    // The hub says when the machine may be read again.
    if (this.#ended !== undefined || this.#hub.parts.machine.restoring) return false;
    if (this.#outbox.full) {
      const { group } = this.#joining ?? {};
      this.#outbox.relieve(group === undefined ? [this.#live] : [this.#live, group]);
      this.#woken();
      if (this.#outbox.full) return false;
    }
    // Who is behind and who joins take turns.
    this.#joins = this.#lag === undefined || !this.#joins;
    if (this.#joins && (this.#joining !== undefined || this.#waiting.length > 0)) this.#join();
    else if (this.#lag !== undefined) this.#follow(this.#lag);
    this.#tellProgress();
    this.#woken();
    this.#queued = this.#behind;
    return this.#queued;
  }

  /** The live ones read on. */
  #follow(from: EventCursor): void {
    const { position } = this.#hub;
    this.#lag = this.#read(this.#live, from, position);
    // Some have been told that change, and others of this stream were passed over.
    if (this.#lag === undefined && this.#hub.isTelling) this.#lag = position;
    if (this.#lag !== undefined) return;
    this.#hub.counters.streamsSlow--;
    this.#isLive();
  }

  /** Those that join read on, up to where the live ones are. */
  #join(): void {
    if (this.#joining === undefined) {
      const revision = this.#waiting.reduce(
        (least, { options }) => Math.min(least, options.from),
        Infinity,
      );
      this.#joining = { group: new WatchGroup(), from: { revision, sub: 0 } };
      for (const watcher of this.#waiting.splice(0)) this.#joining.group.watchers.add(watcher);
    }
    const { group, from } = this.#joining;
    const target = this.#lag ?? this.#hub.position;
    const next = this.#read(group, from, target);
    if (next !== undefined) {
      this.#joining.from = next;
      return;
    }
    this.#joining.from = target;
    // Whoever came now would not be told the change that is being told.
    if (this.#lag === undefined && this.#hub.isTelling) return;
    this.#enter(group);
    if (group.watchers.size === 0) this.#joining = undefined;
    this.#isLive();
  }

  /** Some of those that are where the live ones are become live ones. */
  #enter(group: WatchGroup): void {
    let left = joinedPerTurn;
    for (const watcher of group.watchers) {
      if (left-- === 0) break;
      group.watchers.delete(watcher);
      this.#live.watchers.add(watcher);
      this.#hub.attach(watcher);
      if (this.#isOld(watcher)) this.#tellProgressOf(watcher);
    }
    const open = group.open.splice(0);
    for (const watcher of open) {
      (group.watchers.has(watcher) ? group : this.#live).open.push(watcher);
    }
  }

  /** What the hub shows goes on in the middle of a revision, which it then says is complete. */
  #isLive(): void {
    if (this.#lag === undefined && this.#live.open.length > 0) this.#hub.touched(this);
  }

  /** Tells a group what happened from one place up to another; undefined once it is there. */
  #read(group: WatchGroup, from: EventCursor, to: EventCursor): EventCursor | undefined {
    const outbox = this.#outbox;
    const found: Watcher[] = [];
    let told = from.revision;
    const page = this.#hub.parts.machine.changes({
      from,
      changesMax: changesPerTurn,
      visit: (change) => {
        const { revision, sub } = change;
        if (revision > to.revision || (revision === to.revision && sub >= to.sub)) return false;
        if (outbox.full) return false;
        if (revision !== told) outbox.complete(group);
        told = revision;
        group.watchers.find(change, found);
        for (const watcher of found) outbox.deliver(group, watcher, change);
        found.length = 0;
        return true;
      },
    });
    if (page.kind === "compacted") {
      const { compactRevision } = page;
      for (const watcher of [...group.watchers]) {
        if (watcher.options.from < compactRevision) this.#compacted(watcher);
      }
      group.open.length = 0;
      return { revision: compactRevision, sub: 0 };
    }
    const { next } = page;
    if (next.sub === 0) outbox.complete(group);
    const isThere = next.revision > to.revision ||
      (next.revision === to.revision && next.sub >= to.sub);
    return page.caughtUp || isThere ? undefined : next;
  }
}
