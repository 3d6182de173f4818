/**
 * Reading an interval of keys as of one revision, as etcd's Range does. A scan can be taken in
 * slices: the revision is fixed when it begins, so what is written meanwhile does not show.
 */
import { compareBytes, isOpenEnd } from "./bytes.ts";
import type { Position } from "./key_index.ts";
import { entryBytes } from "./limits.ts";
import { SortOrder, SortTarget } from "./command.ts";
import type { RangeRequest } from "./command.ts";
import { nowhere, type Records } from "./records.ts";
import type { KeyValue, RangeResult } from "./result.ts";
import { SlicedSort } from "./sliced_sort.ts";
import type { Store } from "./store.ts";

/** What a caller may leave out of a {@link RangeRequest}. */
export const plainRange: Omit<RangeRequest, "key" | "end"> = {
  kind: "range",
  limit: 0,
  revision: 0,
  sortOrder: SortOrder.none,
  sortTarget: SortTarget.key,
  keysOnly: false,
  countOnly: false,
  modMin: 0,
  modMax: 0,
  createMin: 0,
  createMax: 0,
};

/** Why a range cannot be read; undefined when it can. */
export function rangeProblem(
  store: Store,
  request: RangeRequest,
): "key_empty" | "compacted" | "future_revision" | undefined {
  if (request.key.length === 0) return "key_empty";
  if (request.revision > store.revision) return "future_revision";
  if (request.revision !== 0 && request.revision < store.compactRevision) return "compacted";
  return undefined;
}

type Phase = "collect" | "sort" | "copy" | "done";

/** Values that one step copies. */
const copyBytesMax = 1024 * 1024;

/** What an entry takes in an answer beside its key and value, at least. */
export const entryOverheadBytes = 16;

/** What a range looks at and gives. */
export interface RangeWeight {
  /** Keys that are looked at one by one, and revisions that are newer than the one asked for. */
  readonly keys: number;
  /** What the entries count in a result. */
  readonly bytes: number;
}

/** One range being read. Use it while {@link rangeProblem} gave none. */
export class RangeScan {
  readonly #store: Store;
  readonly #request: RangeRequest;
  readonly #bytesMax: number;
  /** The revision as of which is read, and the one that the result names. */
  readonly #revision: number;
  readonly #shown: number;
  /** Every record counts, in key order: neither sorted nor narrowed. */
  readonly #plain: boolean;
  #records: number[] = [];
  #sort: SlicedSort<number> | undefined = undefined;
  readonly #entries: KeyValue[] = [];
  /** Of the entries. */
  #bytes = 0;
  #count = 0;
  /** Records that would be returned but for the limit. */
  #wanted = 0;
  #phase: Phase = "collect";
  /** Where to go on: the key after the last one looked at. */
  #resume: Uint8Array;
  /** See {@link RangeWeight}. */
  #visits = 0;
  #visitsMax = Infinity;

  /**
   * `newest` is the revision of the records that are there now: within a transaction that has
   * written already it is one more than the store's. Above `bytesMax` the range ends as too large.
   */
  constructor(store: Store, request: RangeRequest, options: {
    readonly newest?: number;
    readonly bytesMax?: number;
  } = {}) {
    const newest = options.newest ?? store.revision;
    this.#store = store;
    this.#request = request;
    this.#bytesMax = options.bytesMax ?? Infinity;
    this.#revision = request.revision === 0 ? newest : request.revision;
    this.#shown = newest;
    this.#plain = request.sortTarget === SortTarget.key && request.sortOrder !== 2 &&
      request.modMin === 0 && request.modMax === 0 && request.createMin === 0 &&
      request.createMax === 0;
    this.#resume = request.key;
  }

  /** What the entries that were copied take, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Looks at up to about this many keys. Undefined: not finished. "compacted": a compaction passed
   * the scan's revision between two steps.
   */
  step(keys: number): RangeResult | "compacted" | "too_large" | undefined {
    if (this.#revision < this.#store.compactRevision) return "compacted";
    if (this.#phase === "collect") this.#collect(keys);
    else if (this.#phase === "sort") this.#sorted(keys);
    else if (this.#phase === "copy") this.#copy(keys);
    if (Math.max(this.#bytes, this.#bytesAhead) > this.#bytesMax) return "too_large";
    if (this.#phase !== "done") return undefined;
    const { limit, countOnly } = this.#request;
    return {
      kind: "range",
      revision: this.#shown,
      count: this.#count,
      more: !countOnly && limit > 0 && this.#wanted > limit,
      entries: this.#entries,
    };
  }

  /**
   * Weighs the range instead of reading it. It depends on what was written alone, never on which
   * deleted keys are still in the index. Above `keysMax` it stops.
   */
  weigh(keysMax: number): RangeWeight {
    const { records } = this.#store;
    const { limit, keysOnly } = this.#request;
    this.#visitsMax = keysMax;
    this.#collect(Number.MAX_SAFE_INTEGER);
    if (this.#visits > keysMax) return { keys: this.#visits, bytes: 0 };
    if (limit > 0 && this.#records.length > limit) {
      while (this.#phase === "sort") this.#sorted(Number.MAX_SAFE_INTEGER);
    }
    let bytes = 0;
    for (const record of this.#records) {
      const keyBytes = records.keyLength(records.key(record));
      bytes += entryBytes(keyBytes, keysOnly ? 0 : records.valueLength(record));
    }
    return { keys: this.#visits, bytes };
  }

  /** What the answer takes at least, by what was collected. */
  get #bytesAhead(): number {
    const { limit } = this.#request;
    const { length } = this.#records;
    return (limit > 0 && limit < length ? limit : length) * entryOverheadBytes;
  }

  #collect(keys: number): void {
    const { index, records } = this.#store;
    const { end, key } = this.#request;
    if (end.length === 0) {
      const address = index.find(key);
      if (address !== nowhere) this.#take(this.#recordOf(address));
      return this.#collected();
    }
    const at: Position = { leaf: 0, slot: 0 };
    index.seek(this.#resume, at);
    const open = isOpenEnd(end);
    const last: Position = { leaf: index.leaves.length, slot: 0 };
    if (!open) index.seek(end, last);
    // Whole leaves are counted without a look at their keys where only their number matters.
    const isNewest = this.#revision === this.#shown && this.#store.revision <= this.#shown &&
      !this.#store.unsettled;
    for (let left = keys; index.settle(at); left--) {
      const leaf = index.leaves[at.leaf];
      const countsLeaf = leaf.live === 0 || (this.#plain && this.#onlyCounts);
      if (isNewest && countsLeaf && at.slot === 0 && at.leaf < last.leaf) {
        this.#count += leaf.live;
        this.#wanted += leaf.live;
        // A transaction that has written before it reads them one by one at a revision that it names.
        if (this.#request.revision !== 0) this.#visits += leaf.live;
        at.slot = leaf.count;
        continue;
      }
      const address = leaf.keys[at.slot];
      if (!open && records.compareKey(address, end) >= 0) break;
      if (left <= 0) {
        this.#resume = records.keyBytes(address);
        return;
      }
      const before = this.#visits;
      const record = this.#recordOf(address);
      // Revisions that were passed are work like keys.
      left -= this.#visits - before;
      // Keys that are only counted are no work to speak of, as long as whole leaves are.
      const isFree = this.#plain && this.#onlyCounts && this.#request.revision === 0;
      if (record !== nowhere && !isFree) this.#visits++;
      if (this.#visits > this.#visitsMax) return;
      this.#take(record);
      at.slot++;
    }
    this.#collected();
  }

  /** Like {@link Store.at}, and counts the revisions that it passes. */
  #recordOf(address: number): number {
    const { records } = this.#store;
    let record = records.newest(address);
    while (record !== nowhere && records.mod(record) > this.#revision) {
      record = records.previous(record);
      this.#visits++;
    }
    return record !== nowhere && records.version(record) !== 0 ? record : nowhere;
  }

  get #onlyCounts(): boolean {
    const { countOnly, limit } = this.#request;
    return countOnly || (limit > 0 && this.#records.length >= limit);
  }

  #take(record: number): void {
    if (record === nowhere) return;
    this.#count++;
    if (this.#plain) {
      this.#wanted++;
      if (!this.#onlyCounts) this.#records.push(record);
      return;
    }
    const { records } = this.#store;
    const { modMin, modMax, createMin, createMax, countOnly } = this.#request;
    if (modMin !== 0 && records.mod(record) < modMin) return;
    if (modMax !== 0 && records.mod(record) > modMax) return;
    if (createMin !== 0 && records.create(record) < createMin) return;
    if (createMax !== 0 && records.create(record) > createMax) return;
    this.#wanted++;
    if (!countOnly) this.#records.push(record);
  }

  #collected(): void {
    const { sortTarget, sortOrder } = this.#request;
    if (this.#plain || this.#records.length < 2) return this.#cut();
    if (sortTarget !== SortTarget.key) {
      this.#sort = new SlicedSort(this.#records, orderOf(this.#store.records, this.#request));
      this.#phase = "sort";
      return;
    }
    if (sortOrder === SortOrder.descend) this.#records.reverse();
    this.#cut();
  }

  #sorted(keys: number): void {
    const sort = this.#sort;
    if (sort === undefined || !sort.step(keys)) return;
    this.#records = sort.sorted;
    this.#sort = undefined;
    this.#cut();
  }

  #cut(): void {
    const { limit } = this.#request;
    if (limit > 0 && this.#records.length > limit) this.#records.length = limit;
    this.#phase = this.#records.length === 0 ? "done" : "copy";
  }

  /** The records stay where they are: their revision is not compacted. */
  #copy(keys: number): void {
    const { records } = this.#store;
    const withValue = !this.#request.keysOnly;
    const to = Math.min(this.#records.length, this.#entries.length + Math.max(keys, 1));
    const bytesTo = this.#bytes + copyBytesMax;
    for (let at = this.#entries.length; at < to && this.#bytes < bytesTo; at++) {
      const entry = records.keyValue(this.#records[at], withValue);
      this.#bytes += entryOverheadBytes + entry.key.length + entry.value.length;
      this.#entries.push(entry);
    }
    if (this.#entries.length === this.#records.length) {
      this.#records = [];
      this.#phase = "done";
    }
  }
}

/** Ties keep the order of the keys: the collected records are in it, and the sort is stable. */
function orderOf(records: Records, request: RangeRequest): (a: number, b: number) => number {
  const sign = request.sortOrder === SortOrder.descend ? -1 : 1;
  switch (request.sortTarget) {
    case SortTarget.version:
      return (a, b) => sign * (records.version(a) - records.version(b));
    case SortTarget.create:
      return (a, b) => sign * (records.create(a) - records.create(b));
    case SortTarget.mod:
      return (a, b) => sign * (records.mod(a) - records.mod(b));
    default:
      return (a, b) => sign * compareBytes(records.valueView(a), records.valueView(b));
  }
}
