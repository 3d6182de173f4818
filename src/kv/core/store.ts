/**
 * etcd's multi-version store: every change has a revision, the revisions of a key are kept until a
 * compaction passes them, and any of them can be read meanwhile.
 *
 * A compaction takes effect at once for every answer and for the bytes counted: both follow from
 * revisions alone. Memory is given back step by step afterwards ({@link Store.clean}); how far that
 * has come shows nowhere, so replicas may differ in it.
 */
import { assert } from "../../base/assert.ts";
import { History } from "./history.ts";
import { KeyIndex, type Position } from "./key_index.ts";
import { isOpenEnd, noBytes } from "./bytes.ts";
import { recordBytes } from "./limits.ts";
import { nowhere, type RecordFields, Records } from "./records.ts";
import type { EventCursor } from "./events.ts";
import type { KeyValue } from "./result.ts";

/** Told when a key gets and loses a lease. */
export interface LeaseLinks {
  attach(lease: number, key: number): void;
  detach(lease: number, key: number): void;
}

/** The revision that a command makes: one for all of its changes, numbered within it. */
export interface Change {
  readonly main: number;
  sub: number;
}

/** A key and a value, each a range of some bytes, so that the hottest path makes no views. */
export interface PutInput {
  readonly key: Uint8Array;
  readonly keyFrom: number;
  readonly keyTo: number;
  readonly value: Uint8Array;
  readonly valueFrom: number;
  readonly valueTo: number;
  readonly lease: number;
}

/** The revision of a store that was never written to, as in etcd. */
export const firstRevision = 1;

/** A revision as a snapshot has it: key and value are parts of its bytes. */
export interface LoadedRecord extends Omit<RecordFields, "previous"> {
  readonly source: Uint8Array;
  readonly keyFrom: number;
  readonly keyTo: number;
  readonly valueFrom: number;
  readonly valueTo: number;
  /** The key is behind all that were loaded before. */
  readonly appended: boolean;
}

export class Store {
  readonly records: Records = new Records();
  readonly index: KeyIndex = new KeyIndex(this.records);
  readonly history: History = new History();
  readonly #links: LeaseLinks;
  /** The newest revision. */
  revision = firstRevision;
  /** The oldest revision that can be read; 0 when nothing was compacted. */
  compactRevision = 0;
  /** What the kept revisions count towards the quota. */
  bytes = 0;
  /** Bytes that all changes up to now, and up to the compaction, made superfluous. */
  #superseded = 0;
  #reclaimed = 0;
  /** Of the reclaimed bytes, those whose records are cleaned away. */
  #cleaned = 0;
  /** Where cleaning stands among the changes of the compacted revision itself. */
  #cut = 0;
  /** Filled anew by every put, so that the hottest path leaves no garbage. */
  readonly #fields: { -readonly [name in keyof RecordFields]: RecordFields[name] } = {
    mod: 0,
    sub: 0,
    create: 0,
    version: 0,
    lease: 0,
    previous: nowhere,
  };
  /** A command has made a part of its changes: what is newest is not to be shown yet. */
  unsettled = false;
  /** How many snapshots are being read: cleaning waits for them. */
  pins = 0;

  constructor(links: LeaseLinks) {
    this.#links = links;
  }

  /** What kept revisions take that a compaction at the newest one would free. */
  get historyBytes(): number {
    return this.#superseded - this.#reclaimed;
  }

  /** What compactions made superfluous and is still in memory, as it counted towards the quota. */
  get uncleanedBytes(): number {
    return this.#reclaimed - this.#cleaned;
  }

  /** The newest revision of the key if it is there now, else 0. */
  live(key: Uint8Array): number {
    return this.liveOf(this.index.find(key));
  }

  liveOf(address: number): number {
    if (address === nowhere) return nowhere;
    const newest = this.records.newest(address);
    return this.records.version(newest) === 0 ? nowhere : newest;
  }

  /** The key's record as of a revision that is not compacted; 0 if it was not there. */
  at(address: number, revision: number): number {
    const records = this.records;
    let record = records.newest(address);
    while (record !== nowhere && records.mod(record) > revision) record = records.previous(record);
    return record !== nowhere && records.version(record) !== 0 ? record : nowhere;
  }

  put(put: PutInput, change: Change): void {
    const { records, index } = this;
    const { key, keyFrom, keyTo, lease } = put;
    const { main } = change;
    const keyBytes = keyTo - keyFrom;
    let address = index.find(key, keyFrom, keyTo);
    let before: number = nowhere;
    if (address === nowhere) {
      address = records.addKey(key, keyFrom, keyTo);
      index.insert(address);
    } else before = records.newest(address);
    const wasLive = before !== nowhere && records.version(before) !== 0;
    if (!wasLive) index.countLive(1);
    const leaseBefore = wasLive ? records.lease(before) : 0;
    const fields = this.#fields;
    fields.mod = main;
    fields.sub = change.sub++;
    fields.create = wasLive ? records.create(before) : main;
    fields.version = wasLive ? records.version(before) + 1 : 1;
    fields.lease = lease;
    fields.previous = before;
    const record = records.add(address, fields, put.value, put.valueFrom, put.valueTo);
    records.setNewest(address, record);
    if (wasLive) this.#superseded += recordBytes(keyBytes, records.valueLength(before));
    this.bytes += recordBytes(keyBytes, put.valueTo - put.valueFrom);
    this.history.push(record, this.#superseded);
    if (lease === leaseBefore) return;
    if (leaseBefore !== 0) this.#links.detach(leaseBefore, address);
    if (lease !== 0) this.#links.attach(lease, address);
  }

  /** Deletes every live key of the interval and counts them in `change.sub`. */
  deleteRange(key: Uint8Array, end: Uint8Array, change: Change, previous?: KeyValue[]): void {
    const { index } = this;
    if (end.length === 0) {
      const address = index.find(key);
      const record = this.liveOf(address);
      if (record === nowhere) return;
      previous?.push(this.records.keyValue(record));
      this.#delete(address, record, change);
      index.countLive(-1);
      return;
    }
    const from: Position = { leaf: 0, slot: 0 };
    index.seek(key, from);
    this.deleteSome(from, end, { change, previous, keys: Infinity });
  }

  /**
   * Deletes from the position on, looking at so many keys at most, and moves the position; true when
   * it came to the end. Nothing else may be written between two calls.
   */
  deleteSome(from: Position, end: Uint8Array, run: {
    readonly change: Change;
    readonly previous: KeyValue[] | undefined;
    readonly keys: number;
  }): boolean {
    const { index, records } = this;
    const open = isOpenEnd(end);
    let left = run.keys;
    while (index.settle(from)) {
      const leaf = index.leaves[from.leaf];
      for (; from.slot < leaf.count; from.slot++) {
        if (left-- <= 0) return false;
        const address = leaf.keys[from.slot];
        if (!open && records.compareKey(address, end) >= 0) return true;
        const record = this.liveOf(address);
        if (record === nowhere) continue;
        run.previous?.push(records.keyValue(record));
        this.#delete(address, record, run.change);
        index.countLiveIn(from.leaf, -1);
      }
    }
    return true;
  }

  #delete(address: number, before: number, change: Change): void {
    const { records } = this;
    const keyBytes = records.keyLength(address);
    const record = records.add(address, {
      mod: change.main,
      sub: change.sub++,
      create: 0,
      version: 0,
      lease: 0,
      previous: before,
    }, noBytes);
    records.setNewest(address, record);
    const own = recordBytes(keyBytes, 0);
    this.bytes += own;
    // A deletion is itself superfluous as soon as it is compacted.
    this.#superseded += own + recordBytes(keyBytes, records.valueLength(before));
    this.history.push(record, this.#superseded);
    const lease = records.lease(before);
    if (lease !== 0) this.#links.detach(lease, address);
  }

  /** The first position in the history that is not before this change of this revision. */
  positionOf(revision: number, sub = 0): number {
    const { history, records } = this;
    let low = history.begin, high = history.end;
    if (low === high) return high;
    // Mostly it is the newest revision that is looked for, whose changes are numbered without gaps.
    const last = history.record(high - 1);
    if (records.mod(last) === revision && records.sub(last) >= sub) {
      const position = high - 1 - (records.sub(last) - sub);
      const found = position >= low ? history.record(position) : last;
      if (records.mod(found) === revision && records.sub(found) === sub) return position;
    }
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const record = history.record(middle);
      const mod = records.mod(record);
      if (mod < revision || (mod === revision && records.sub(record) < sub)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The changes from the cursor on that may be shown, as positions in the history. */
  unread(from: EventCursor): { readonly begin: number; readonly end: number } {
    // A command that is being applied in slices is not to be seen before it is whole.
    const end = this.unsettled ? this.positionOf(this.revision + 1) : this.history.end;
    return { begin: Math.min(end, this.positionOf(from.revision, from.sub)), end };
  }

  /** Where somebody who has seen everything goes on. */
  after(from: EventCursor): EventCursor {
    const revision = Math.max(from.revision, this.revision + 1);
    return { revision, sub: from.revision === revision ? from.sub : 0 };
  }

  /** Forgets what was superseded up to this revision, which lies after the last compaction. */
  compact(revision: number): void {
    assert(revision > this.compactRevision, "compaction goes forward");
    assert(revision <= this.revision, "compaction does not reach into the future");
    const after = this.positionOf(revision + 1);
    if (after > this.history.begin) {
      const sum = this.history.sum(after - 1);
      // Changes that an earlier compaction counted may still be there: the sums only grow.
      this.bytes -= sum - this.#reclaimed;
      this.#reclaimed = sum;
    }
    this.compactRevision = revision;
  }

  /**
   * The earliest revision at which a compaction leaves no more than this much history; undefined
   * when nothing needs to be compacted.
   */
  revisionForHistory(bytesMax: number): number | undefined {
    if (this.historyBytes <= bytesMax) return undefined;
    const wanted = this.#superseded - bytesMax;
    let low = this.positionOf(this.compactRevision), high = this.history.end - 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.history.sum(middle) < wanted) low = middle + 1;
      else high = middle;
    }
    return this.records.mod(this.history.record(low));
  }

  /** Gives back memory that the compaction freed; false when there is none left. */
  clean(steps: number): boolean {
    if (this.pins > 0 || this.unsettled) return false;
    const { history, records } = this;
    for (let left = steps; left > 0; left--) {
      if (history.begin === history.end) return false;
      const record = history.record(history.begin);
      const mod = records.mod(record);
      if (mod < this.compactRevision) {
        this.#cutPrevious(record);
        this.#cleaned = Math.max(this.#cleaned, history.sum(history.begin));
        history.shift();
        if (records.version(record) === 0) this.#dropDeleted(record);
        continue;
      }
      // The compacted revision's own changes stay, for watchers that begin there.
      this.#cut = Math.max(this.#cut, history.begin);
      if (this.#cut === history.end) return false;
      const kept = history.record(this.#cut);
      if (records.mod(kept) > this.compactRevision) return false;
      this.#cutPrevious(kept);
      this.#cleaned = Math.max(this.#cleaned, history.sum(this.#cut));
      this.#cut++;
    }
    return true;
  }

  #cutPrevious(record: number): void {
    const previous = this.records.previous(record);
    if (previous === nowhere) return;
    this.records.setPrevious(record, nowhere);
    this.records.arena.free(previous);
  }

  /** A deletion that was followed by a put goes when that put's predecessor is cut. */
  #dropDeleted(record: number): void {
    const { records, index } = this;
    const address = records.key(record);
    if (records.newest(address) !== record) return;
    const found = index.find(records.keyBytes(address));
    assert(found === address, "a key that has revisions is in the index");
    index.removeFound();
    records.arena.free(record);
    records.arena.free(address);
  }

  /**
   * Adds one revision as a snapshot has it; `appended` says that keys come in order. False if it
   * contradicts what is there.
   */
  load(change: LoadedRecord): boolean {
    const { records, index } = this;
    const { source, keyFrom, keyTo, valueFrom, valueTo } = change;
    let address: number;
    if (change.appended) {
      address = records.addKey(source, keyFrom, keyTo);
      if (!index.append(source.subarray(keyFrom, keyTo), address)) return false;
    } else {
      address = index.findNext(source, keyFrom, keyTo);
      if (address === nowhere) {
        address = records.addKey(source, keyFrom, keyTo);
        index.insert(address);
      }
    }
    const before = records.newest(address);
    const kept = before !== nowhere;
    if (kept && records.mod(before) >= change.mod) return false;
    const wasLive = kept && records.version(before) !== 0;
    const isLive = change.version !== 0;
    const fields = this.#fields;
    fields.mod = change.mod;
    fields.sub = change.sub;
    fields.create = change.create;
    fields.version = change.version;
    fields.lease = change.lease;
    fields.previous = before;
    const record = records.add(address, fields, source, valueFrom, valueTo);
    records.setNewest(address, record);
    if (wasLive !== isLive) index.countLive(isLive ? 1 : -1);
    const own = recordBytes(keyTo - keyFrom, valueTo - valueFrom);
    const compacted = change.mod <= this.compactRevision;
    // A deletion up to the compaction was counted and uncounted already.
    if (isLive || !compacted) this.bytes += own;
    if (wasLive) this.#superseded += recordBytes(keyTo - keyFrom, records.valueLength(before));
    if (!isLive && !compacted) this.#superseded += own;
    if (change.mod >= this.compactRevision) this.history.push(record, this.#superseded);
    const leaseBefore = wasLive ? records.lease(before) : 0;
    if (leaseBefore !== 0) this.#links.detach(leaseBefore, address);
    if (isLive && change.lease !== 0) this.#links.attach(change.lease, address);
    return true;
  }
}
