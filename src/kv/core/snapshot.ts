/**
 * The whole state as a row of items, made while applying goes on: the small tables are copied when
 * it begins, the keys are read at the revision and the compaction of that moment, which the store
 * keeps until the end. The bytes depend on the state alone, so that their hash is the state's.
 *
 *   "covey-kv" · version · items: tag · length · body
 *
 * Keys as of the compaction come first, by key; then every later change, in order.
 */
import { assert } from "../../base/assert.ts";
import { ByteWriter } from "./bytes.ts";
import { encodeResult } from "./result_codec.ts";
import { encodeText, fromHex } from "../../base/bytes.ts";
import { type KvLimits, namedInSnapshots } from "./limits.ts";
import type { CoveyError } from "../../base/error.ts";
import type { KvResult } from "./result.ts";
import type { Leases } from "./leases.ts";
import { nowhere } from "./records.ts";
import type { Position } from "./key_index.ts";
import type { KnownOpening, Sessions } from "./sessions.ts";
import type { SnapshotSource } from "../../base/machine.ts";
import type { Store } from "./store.ts";
import { writeLimits } from "./command_codec.ts";

/** The newest that this build reads: the one with openings. */
export const snapshotVersion = 2;
/** What is written while there are none. */
export const plainSnapshotVersion = 1;
export const snapshotMagic: Uint8Array = encodeText("covey-kv");

export const Tag = {
  meta: 1,
  limits: 2,
  lease: 3,
  session: 4,
  base: 5,
  change: 6,
  end: 7,
  /** Between sessions and base. */
  opening: 8,
} as const;

/** What looking at one key or change counts, so that a piece is bounded in time too. */
const visitBytes = 32;

export interface SnapshotState {
  readonly index: number;
  readonly term: number;
  readonly store: Store;
  readonly leases: Leases;
  readonly sessions: Sessions;
  readonly limits: KvLimits;
}

interface SessionCopy {
  readonly id: number;
  readonly acknowledged: number;
  readonly results: readonly (readonly [number, KvResult])[];
}

type Phase = "head" | "leases" | "sessions" | "openings" | "base" | "changes" | "closed";

export class KvSnapshot implements SnapshotSource {
  /** The last entry that the snapshot holds. */
  readonly index: number;
  readonly term: number;
  readonly #store: Store;
  readonly #limits: KvLimits;
  readonly #revision: number;
  readonly #compactRevision: number;
  readonly #bytes: number;
  readonly #lastSession: number;
  /** Triples: id, time to live, remainder. */
  readonly #leases: Float64Array;
  readonly #sessions: readonly SessionCopy[];
  readonly #openings: readonly KnownOpening[];
  readonly #changesEnd: number;
  #phase: Phase = "head";
  /** How far the phase has come: an item of a table, or a position in the history. */
  #at = 0;
  #resume: Uint8Array = Uint8Array.of(0);
  #items = 0;
  #expired: CoveyError | undefined = undefined;
  readonly #closed: (snapshot: KvSnapshot) => void;
  readonly #writer = new ByteWriter(4096);
  readonly #body = new ByteWriter(1024);

  constructor(state: SnapshotState, closed: (snapshot: KvSnapshot) => void) {
    const { store } = state;
    this.#closed = closed;
    this.index = state.index;
    this.term = state.term;
    this.#store = store;
    this.#limits = state.limits;
    this.#revision = store.revision;
    this.#compactRevision = store.compactRevision;
    this.#bytes = store.bytes;
    this.#lastSession = state.sessions.lastId;
    this.#leases = new Float64Array(state.leases.size * 3);
    let at = 0;
    for (const lease of state.leases.all()) {
      this.#leases[at++] = lease.id;
      this.#leases[at++] = lease.ttlMs;
      this.#leases[at++] = lease.remainingMs;
    }
    this.#sessions = state.sessions.all().map(({ id, acknowledged, results }) => ({
      id,
      acknowledged,
      results: [...results],
    }));
    this.#openings = state.sessions.openings();
    this.#changesEnd = store.history.end;
    store.pins++;
  }

  /**
   * Throws `resource_exhausted` when it was read so slowly that the store would have kept more old
   * state for it than it may.
   */
  next(bytesWanted: number): Uint8Array | undefined {
    if (this.#expired !== undefined) throw this.#expired;
    if (this.#phase === "closed") return undefined;
    for (let visits = 0; this.#writer.length + visits * visitBytes < bytesWanted; visits++) {
      if (!this.#step()) break;
    }
    return this.#writer.take();
  }

  close(): void {
    if (this.#phase === "closed") return;
    this.#phase = "closed";
    this.#store.pins--;
    assert(this.#store.pins >= 0, "a snapshot is closed once");
    this.#closed(this);
  }

  /** Gives up because of this; whoever reads it is told. */
  expire(error: CoveyError): void {
    this.#expired = error;
    this.close();
  }

  /** Does one item or visit; false at the end. */
  #step(): boolean {
    switch (this.#phase) {
      case "head":
        this.#head();
        this.#phase = "leases";
        return true;
      case "leases":
        if (this.#at === this.#leases.length) return this.#enter("sessions", 0);
        for (let field = 0; field < 3; field++) this.#body.number(this.#leases[this.#at++]);
        return this.#item(Tag.lease);
      case "sessions":
        if (this.#at === this.#sessions.length) return this.#enter("openings", 0);
        return this.#session(this.#sessions[this.#at++]);
      case "openings":
        if (this.#at === this.#openings.length) return this.#enter("base", 0);
        return this.#opening(this.#openings[this.#at++]);
      case "base":
        return this.#base();
      case "changes":
        if (this.#at < this.#changesEnd) {
          return this.#record(Tag.change, this.#store.history.record(this.#at++));
        }
        this.#body.number(this.#items);
        this.#item(Tag.end);
        this.close();
        return false;
      case "closed":
        return false;
    }
  }

  #enter(phase: Phase, at: number): boolean {
    this.#phase = phase;
    this.#at = at;
    return true;
  }

  #head(): void {
    this.#writer.raw(snapshotMagic)
      .byte(this.#openings.length > 0 ? snapshotVersion : plainSnapshotVersion);
    this.#body.number(this.index).number(this.term);
    this.#body.number(this.#revision).number(this.#compactRevision);
    this.#body.number(this.#bytes).number(this.#lastSession);
    this.#item(Tag.meta);
    writeLimits(this.#body, namedInSnapshots(this.#limits));
    this.#item(Tag.limits);
  }

  #session({ id, acknowledged, results }: SessionCopy): boolean {
    this.#body.number(id).number(acknowledged).number(results.length);
    for (const [sequence, result] of results) {
      this.#body.number(sequence).bytes(encodeResult(result));
    }
    return this.#item(Tag.session);
  }

  #opening({ nonce, id, single }: KnownOpening): boolean {
    const bytes = fromHex(nonce);
    assert(bytes !== undefined, "an opening's nonce is hexadecimal");
    this.#body.number(id).byte(single ? 1 : 0).raw(bytes);
    return this.#item(Tag.opening);
  }

  /** A leaf's keys at a time: a search is needed only to find the place again. */
  #base(): boolean {
    const { index, records } = this.#store;
    const at: Position = { leaf: 0, slot: 0 };
    index.seek(this.#resume, at);
    if (this.#compactRevision === 0 || !index.settle(at)) {
      return this.#enter("changes", this.#store.positionOf(this.#compactRevision));
    }
    const leaf = index.leaves[at.leaf];
    let last: number = nowhere;
    for (let left = keysPerStep; left > 0 && at.slot < leaf.count; left--, at.slot++) {
      last = leaf.keys[at.slot];
      let record = records.newest(last);
      while (record !== nowhere && records.mod(record) > this.#compactRevision) {
        record = records.previous(record);
      }
      // What happened at the compacted revision itself is among the changes.
      if (record === nowhere || records.mod(record) === this.#compactRevision) continue;
      if (records.version(record) !== 0) this.#record(Tag.base, record);
    }
    this.#resume = successor(records.keyBytes(last));
    return true;
  }

  #record(tag: number, record: number): boolean {
    const { records } = this.#store;
    records.writeKey(this.#body, records.key(record));
    this.#body.number(records.mod(record)).number(records.sub(record));
    this.#body.number(records.create(record)).number(records.version(record));
    this.#body.number(records.lease(record));
    records.writeValue(this.#body, record);
    return this.#item(tag);
  }

  #item(tag: number): true {
    this.#writer.byte(tag).bytes(this.#body.view());
    this.#body.clear();
    this.#items++;
    return true;
  }
}

const keysPerStep = 16;

/** The next key after this one in the order of bytes. */
function successor(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}
