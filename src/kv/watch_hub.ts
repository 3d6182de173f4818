/**
 * Shows every change, once and in order, to whoever watches its key. The hub follows the machine
 * through its history: right behind each entry as long as that is little, in slices where an entry
 * changed very much. A stream that does not keep up is left out and reads the history by itself
 * until it is where the hub is.
 */
import type { Clock, Timer } from "../runtime/port.ts";
import { type Change, kept, type ToldChange } from "./core/changes.ts";
import type { EventCursor } from "./core/events.ts";
import type { KvMachine } from "./core/kv_machine.ts";
import type { KvEvent } from "./core/result.ts";
import { type EventInit, eventInit, type HeaderInit } from "./response.ts";
import type { Logger } from "../base/log.ts";
import type { KvSettings } from "./options.ts";
import { type Interval, WatchIndex } from "./watch_index.ts";
import type { Slices } from "./slices.ts";
import type { Watcher, WatchTarget } from "./watcher.ts";

/** What the hub tells the streams. */
export interface HubStream {
  /** What waits to be sent. */
  readonly queuedBytes: number;
  readonly live: { readonly size: number };
  /** Its client wants to be sent away when there is no leader. */
  readonly requiresLeader: boolean;
  /** The revision that the hub shows is complete. */
  revisionShown(): void;
  /** From here on the stream has to read history: the hub cannot show it. */
  lagFrom(cursor: EventCursor): void;
  /** The machine may be read again, or the hub is further on. */
  proceed(): void;
  /** So many watches. */
  readonly size: number;
  /** Tells watches that asked for it that nothing happened. */
  progressTick(): void;
  /** The same, to those whose clients know of nothing that is not {@link WatchHub.revisionOld}. */
  tellOld(): void;
  end(error: Error): void;
}

export interface HubCounters {
  watches: number;
  streams: number;
  streamsSlow: number;
  slowTotal: number;
  eventsTotal: number;
  responsesTotal: number;
  canceledTotal: number;
  compactedTotal: number;
  limitHits: number;
}

export interface HubParts {
  readonly machine: KvMachine;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly slices: Slices;
  readonly settings: KvSettings;
  readonly header: (revision: number) => HeaderInit;
}

/** What one turn looks at: a fraction of a millisecond. */
const changesPerTurn = 512;

/** Watches that are asked in one turn whether what they know is old. */
const watchesPerLook = 2_048;

/** A change that more watch than can be told in one turn. */
interface Telling {
  readonly change: ToldChange;
  readonly targets: readonly WatchTarget[];
  /** Those before were told. */
  at: number;
  /** The change behind it. */
  next: EventCursor;
}

export class WatchHub {
  readonly parts: HubParts;
  readonly counters: HubCounters = {
    watches: 0,
    streams: 0,
    streamsSlow: 0,
    slowTotal: 0,
    eventsTotal: 0,
    responsesTotal: 0,
    canceledTotal: 0,
    compactedTotal: 0,
    limitHits: 0,
  };
  readonly #machine: KvMachine;
  readonly #perTurn: number;
  readonly #index = new WatchIndex<WatchTarget>();
  readonly #streams = new Set<HubStream>();
  readonly #waiters = new Set<Waiter>();
  /** The next change to be shown. */
  #revision: number;
  #sub = 0;
  /** Turns are asked for: what is applied meanwhile is found then. */
  #queued = false;
  #offers = 0;
  #telling: Telling | undefined = undefined;
  readonly #found: WatchTarget[] = [];
  /** Streams that were shown something of the present revision. */
  readonly #touched = new Set<HubStream>();
  readonly #visit = (change: Change): boolean => this.#show(change);
  #progress: Timer | undefined = undefined;
  #progressWatches = 0;
  /** Streams whose watches are still to be asked what they know. */
  #toTell: HubStream[] = [];
  #restored: (() => void)[] = [];
  #stopped: Error | undefined = undefined;
  /** The events that were made last, with and without what was before. */
  readonly #wired: [KvEvent | undefined, EventInit][] = [[undefined, {}], [undefined, {}]];

  constructor(parts: HubParts) {
    this.parts = parts;
    this.#machine = parts.machine;
    this.#perTurn = parts.settings.watchesPerTurn;
    this.#revision = parts.machine.revision + 1;
  }

  /** The next change that live watches are shown. */
  get position(): EventCursor {
    return { revision: this.#revision, sub: this.#sub };
  }

  /** The change at the position was told to some of those who watch it. */
  get isTelling(): boolean {
    return this.#telling !== undefined;
  }

  /** Everything up to this revision was shown. */
  get revisionShown(): number {
    return this.#revision - 1;
  }

  /**
   * Below it is the older half of what compactions left. Who watches in silence is told where the
   * hub is before its place gets there: else a compaction could take what a client that has lost its
   * stream asks for, of which it missed nothing.
   */
  get revisionOld(): number {
    const { revision, compactRevision } = this.#machine;
    return compactRevision + Math.floor((revision - compactRevision) / 2);
  }

  /** What waits to be sent on all streams. */
  get queuedBytes(): number {
    let bytes = 0;
    for (const stream of this.#streams) bytes += stream.queuedBytes;
    return bytes;
  }

  // -- the machine ----------------------------------------------------------------------------

  /** An entry was applied. */
  applied(): void {
    const next = this.#machine.revision + 1;
    if (this.#queued || next <= this.#revision) return;
    if (this.#index.size === 0) {
      // Nobody to be shown anything, which is not worth a look at the history.
      this.#revision = next;
      this.#sub = 0;
      return;
    }
    if (this.slice()) this.#ask();
  }

  /** The machine is another one, filled from a snapshot. */
  restored(): void {
    for (const waiter of [...this.#waiters]) waiter.changed();
    for (const resolve of this.#restored.splice(0)) resolve();
    this.applied();
    for (const stream of this.#streams) stream.proceed();
    this.compacted();
  }

  /** What is old is another part of history. */
  compacted(): void {
    if (this.#progressWatches === 0) return;
    if (this.#toTell.length === 0) this.parts.slices.add({ slice: () => this.#tellOldOnes() });
    this.#toTell = [...this.#streams];
  }

  #tellOldOnes(): boolean {
    for (let left = watchesPerLook; left > 0;) {
      const stream = this.#toTell.pop();
      if (stream === undefined) return false;
      left -= stream.size;
      if (this.#streams.has(stream)) stream.tellOld();
    }
    return this.#toTell.length > 0;
  }

  /** Resolves when the machine may be read. */
  readable(): Promise<void> | undefined {
    if (!this.#machine.restoring || this.#stopped !== undefined) return undefined;
    return new Promise((resolve) => this.#restored.push(resolve));
  }

  /** One turn of showing; true when more is left. */
  slice(): boolean {
    this.#queued = false;
    if (this.#stopped !== undefined) return false;
    this.#offers = 0;
    if (this.#telling !== undefined && this.#tellSome(this.#telling)) return this.#queued = true;
    // What comes after is asked for when it may be read again.
    if (this.#machine.restoring) return false;
    const page = this.#machine.changes({
      from: { revision: this.#revision, sub: this.#sub },
      changesMax: changesPerTurn,
      visit: this.#visit,
    });
    if (page.kind === "compacted") {
      this.#skip();
      return false;
    }
    if (this.#telling !== undefined) this.#telling.next = page.next;
    else {
      this.#moveTo(page.next);
      if (page.caughtUp) return false;
    }
    return this.#queued = true;
  }

  #moveTo({ revision, sub }: EventCursor): void {
    this.#revision = revision;
    this.#sub = sub;
    if (sub === 0) this.#complete();
  }

  /** Goes on with a change that many watch; true when more of them are left. */
  #tellSome(telling: Telling): boolean {
    const { change, targets } = telling;
    const to = Math.min(targets.length, telling.at + this.#perTurn);
    for (; telling.at < to; telling.at++) targets[telling.at].changed(change);
    if (to < targets.length) return true;
    this.#telling = undefined;
    this.#moveTo(telling.next);
    return false;
  }

  #ask(): void {
    this.#queued = true;
    this.parts.slices.add(this);
  }

  #show(change: Change): boolean {
    if (this.#offers >= this.#perTurn || this.#telling !== undefined) return false;
    if (change.revision !== this.#revision) this.#complete();
    this.#revision = change.revision;
    this.#sub = change.sub;
    const found = this.#found;
    this.#index.find(change, found);
    if (found.length > this.#perTurn) {
      this.#telling = {
        change: kept(change),
        targets: found.splice(0),
        at: 0,
        next: this.position,
      };
      this.#tellSome(this.#telling);
      return true;
    }
    for (const target of found) target.changed(change);
    this.#offers += found.length;
    found.length = 0;
    return true;
  }

  #complete(): void {
    if (this.#touched.size === 0) return;
    for (const stream of this.#touched) stream.revisionShown();
    this.#touched.clear();
  }

  /** A compaction took what was to be shown: each stream finds that out for itself. */
  #skip(): void {
    const position = this.position;
    this.#touched.clear();
    for (const stream of this.#streams) if (stream.live.size > 0) stream.lagFrom(position);
    this.#revision = this.#machine.revision + 1;
    this.#sub = 0;
    for (const waiter of [...this.#waiters]) waiter.changed();
    for (const stream of this.#streams) stream.proceed();
  }

  // -- streams --------------------------------------------------------------------------------

  opened(stream: HubStream): void {
    this.#streams.add(stream);
    this.counters.streams++;
  }

  closed(stream: HubStream): void {
    if (!this.#streams.delete(stream)) return;
    this.#touched.delete(stream);
    this.counters.streams--;
  }

  /** The stream is told when the revision that is being shown is complete. */
  touched(stream: HubStream): void {
    this.#touched.add(stream);
  }

  /** From now on the watch is shown what happens. */
  attach(watcher: Watcher): void {
    watcher.live = true;
    this.#add(watcher.options, watcher);
  }

  detach(watcher: Watcher): void {
    if (!watcher.live) return;
    watcher.live = false;
    this.#index.delete(watcher.options, watcher);
  }

  #add(interval: Interval, target: WatchTarget): void {
    // An empty hub did not look at what its position says.
    if (this.#index.size === 0 && !this.#queued && !this.#machine.restoring) {
      this.#revision = Math.max(this.#revision, this.#machine.revision + 1);
    }
    this.#index.add(interval, target);
  }

  /** An event as it is sent; the same one for all who are told. */
  wire(event: KvEvent, previous: boolean): EventInit {
    const slot = this.#wired[previous ? 1 : 0];
    if (slot[0] !== event) {
      slot[0] = event;
      slot[1] = eventInit(event);
    }
    return slot[1];
  }

  // -- progress -------------------------------------------------------------------------------

  progressWatch(count: 1 | -1): void {
    this.#progressWatches += count;
    if (this.#progressWatches > 0) this.#armProgress();
    else {
      this.#progress?.cancel();
      this.#progress = undefined;
    }
  }

  /** Public only for the timer. */
  progressTick(): void {
    this.#progress = undefined;
    for (const stream of this.#streams) stream.progressTick();
    if (this.#progressWatches > 0) this.#armProgress();
  }

  #armProgress(): void {
    const { clock, settings } = this.parts;
    this.#progress ??= clock.timer(settings.progressIntervalMs, tickProgress, this);
  }

  // -- waiting --------------------------------------------------------------------------------

  /**
   * Resolves at the next change in one of the intervals, and whenever there may have been one.
   * Whoever waits looks first, in the same turn, and looks again afterwards.
   */
  change(intervals: readonly Interval[], signal: AbortSignal): Promise<void> {
    if (this.#stopped !== undefined) return Promise.reject(this.#stopped);
    if (signal.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiters.delete(waiter);
        for (const interval of intervals) this.#index.delete(interval, waiter);
        signal.removeEventListener("abort", abort);
      };
      const abort = (): void => {
        leave();
        reject(signal.reason);
      };
      const waiter: Waiter = {
        changed: () => {
          leave();
          resolve();
        },
        end: (error) => {
          leave();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
      for (const interval of intervals) this.#add(interval, waiter);
      signal.addEventListener("abort", abort);
    });
  }

  /** Ends every stream for which this holds, with an error that says why. */
  endWhere(chosen: (stream: HubStream) => boolean, error: Error): void {
    for (const stream of [...this.#streams]) if (chosen(stream)) stream.end(error);
  }

  /** Ends every wait of {@link change}: what is waited for may happen elsewhere, unseen. */
  endWaits(error: Error): void {
    for (const waiter of [...this.#waiters]) waiter.end(error);
  }

  /** Ends everything, with this reason. */
  stop(error: Error): void {
    this.#stopped = error;
    this.#progress?.cancel();
    this.#progress = undefined;
    this.#toTell = [];
    this.parts.slices.remove(this);
    for (const stream of [...this.#streams]) stream.end(error);
    this.endWaits(error);
    for (const resolve of this.#restored.splice(0)) resolve();
  }
}

interface Waiter extends WatchTarget {
  changed(): void;
  end(error: Error): void;
}

function tickProgress(hub: WatchHub): void {
  hub.progressTick();
}
