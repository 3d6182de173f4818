/** Reads a snapshot's bytes, cut anywhere, into an empty state. */
import { assert } from "../../base/assert.ts";
import { ByteReader, noBytes } from "./bytes.ts";
import { concatBytes, equalBytes, toHex } from "../../base/bytes.ts";
import { decodeResult } from "./result_codec.ts";
import { defaultLimits, type KvLimits } from "./limits.ts";
import type { KvResult } from "./result.ts";
import type { Leases } from "./leases.ts";
import { openingBytes } from "./command.ts";
import { readLimits } from "./command_codec.ts";
import type { SnapshotSink } from "../../base/machine.ts";
import type { Sessions } from "./sessions.ts";
import { snapshotMagic, snapshotVersion, Tag } from "./snapshot.ts";
import type { LoadedRecord, Store } from "./store.ts";

/** No item is larger: the longest is a session with all of its results. */
const itemBytesMax = 256 * 1024 * 1024;
/** A tag and a length. */
const itemHeadBytesMax = 9;

/** Why a snapshot is refused. The machine is empty then and must be restored from another. */
export type RestoreProblem =
  /** The bytes contradict themselves. */
  | "corrupt"
  /** Written by a newer build. */
  | "unsupported_version"
  /** The end is missing. */
  | "incomplete";

/** What a snapshot fills. */
export interface RestoreTarget {
  readonly store: Store;
  readonly leases: Leases;
  readonly sessions: Sessions;
}

/** What the machine takes over beside the tables. */
export interface RestoredHead {
  readonly index: number;
  readonly term: number;
  readonly limits: KvLimits;
}

export class KvRestore implements SnapshotSink {
  readonly #target: RestoreTarget;
  readonly #done: (head: RestoredHead) => void;
  #rest = noBytes;
  #started = false;
  #problem: RestoreProblem | undefined;
  /** The tag of the item before: tags do not go back. */
  #tag = 0;
  #items = 0;
  #ended = false;
  #finished = false;
  #index = 0;
  #term = 0;
  #bytes = 0;
  #limits = defaultLimits;
  readonly #head = new ByteReader(noBytes);
  readonly #body = new ByteReader(noBytes);
  /** Filled anew by every record. */
  readonly #loaded: { -readonly [name in keyof LoadedRecord]: LoadedRecord[name] } = {
    source: noBytes,
    keyFrom: 0,
    keyTo: 0,
    valueFrom: 0,
    valueTo: 0,
    mod: 0,
    sub: 0,
    create: 0,
    version: 0,
    lease: 0,
    appended: false,
  };
  #mod = 0;
  #sub = -1;

  /** `done` is called once, from {@link finish}, unless there was a problem. */
  constructor(target: RestoreTarget, done: (head: RestoredHead) => void) {
    this.#target = target;
    this.#done = done;
  }

  push(bytes: Uint8Array): RestoreProblem | undefined {
    assert(!this.#finished, "nothing is pushed after the end");
    if (this.#problem !== undefined) return this.#problem;
    let input = bytes;
    let at = 0;
    if (this.#started) {
      if (this.#rest.length > 0) {
        at = this.#join(bytes);
        if (at < 0) return this.#problem;
      }
    } else {
      if (this.#rest.length > 0) input = concatBytes([this.#rest, bytes]);
      at = snapshotMagic.length + 1;
      if (input.length < at) return this.#wait(input);
      if (!equalBytes(input.subarray(0, at - 1), snapshotMagic)) return this.#fail("corrupt");
      if (input[at - 1] > snapshotVersion) return this.#fail("unsupported_version");
      if (input[at - 1] === 0) return this.#fail("corrupt");
      this.#started = true;
    }
    while (at < input.length) {
      if (this.#ended) return this.#fail("corrupt");
      const reader = this.#head.open(input, at);
      const tag = reader.byte();
      const length = reader.number();
      if (reader.failed) {
        if (input.length - at >= itemHeadBytesMax) return this.#fail("corrupt");
        break;
      }
      if (length > itemBytesMax) return this.#fail("corrupt");
      if (length > reader.left) break;
      const from = reader.position;
      at = from + length;
      if (!this.#item(tag, input, from, at)) return this.#fail("corrupt");
    }
    return this.#wait(input.subarray(at));
  }

  /**
   * The item that began in the bytes before these. Answers where the next one begins; -1 when this
   * one is not whole yet, or makes no sense.
   */
  #join(bytes: Uint8Array): number {
    const rest = this.#rest;
    const head = new ByteReader(concatBytes([rest, bytes.subarray(0, itemHeadBytesMax)]));
    const tag = head.byte();
    const length = head.number();
    const used = head.position + length - rest.length;
    const isHeadWhole = rest.length + bytes.length >= itemHeadBytesMax;
    if (head.failed ? !isHeadWhole : used > bytes.length && length <= itemBytesMax) {
      this.#wait(concatBytes([rest, bytes]));
      return -1;
    }
    this.#rest = noBytes;
    if (!head.failed && used <= bytes.length && !this.#ended) {
      const item = concatBytes([rest, bytes.subarray(0, used)]);
      if (this.#item(tag, item, head.position, item.length)) return used;
    }
    this.#fail("corrupt");
    return -1;
  }

  finish(): RestoreProblem | undefined {
    if (this.#problem !== undefined) return this.#problem;
    assert(!this.#finished, "a restore ends once");
    if (!this.#ended || this.#rest.length > 0) return this.#fail("incomplete");
    // What the quota counts follows from the records: it must come out as it was.
    if (this.#target.store.bytes !== this.#bytes) return this.#fail("corrupt");
    this.#finished = true;
    this.#done({ index: this.#index, term: this.#term, limits: this.#limits });
    return undefined;
  }

  #fail(problem: RestoreProblem): RestoreProblem {
    this.#problem = problem;
    this.#rest = noBytes;
    return problem;
  }

  #wait(rest: Uint8Array): undefined {
    this.#rest = rest.length === 0 ? noBytes : rest.slice();
    return undefined;
  }

  #item(tag: number, input: Uint8Array, from: number, to: number): boolean {
    const repeats = tag >= Tag.lease && tag !== Tag.end;
    if (placeOf(tag) < placeOf(this.#tag) || (tag === this.#tag && !repeats)) return false;
    if (this.#tag < Tag.limits && tag !== this.#tag + 1) return false;
    this.#tag = tag;
    this.#items++;
    if (tag === Tag.base || tag === Tag.change) return this.#record(tag, input, from, to);
    const reader = new ByteReader(input, from, to);
    return this.#read(tag, reader) && !reader.failed && reader.left === 0;
  }

  #read(tag: number, reader: ByteReader): boolean {
    switch (tag) {
      case Tag.meta:
        return this.#meta(reader);
      case Tag.limits:
        this.#limits = { ...defaultLimits, ...readLimits(reader) };
        return true;
      case Tag.lease:
        return this.#lease(reader);
      case Tag.session:
        return this.#session(reader);
      case Tag.opening:
        return this.#opening(reader);
      case Tag.end:
        this.#ended = true;
        return reader.number() === this.#items - 1;
      default:
        return false;
    }
  }

  #meta(reader: ByteReader): boolean {
    const { store, sessions } = this.#target;
    this.#index = reader.number();
    this.#term = reader.number();
    store.revision = reader.number();
    store.compactRevision = reader.number();
    this.#bytes = reader.number();
    sessions.lastId = reader.number();
    return store.revision > 0 && store.compactRevision <= store.revision;
  }

  #lease(reader: ByteReader): boolean {
    const id = reader.number(), ttlMs = reader.number(), remainingMs = reader.number();
    if (id === 0 || ttlMs === 0 || this.#target.leases.has(id)) return false;
    this.#target.leases.grant(id, ttlMs, remainingMs);
    return true;
  }

  #session(reader: ByteReader): boolean {
    const { sessions } = this.#target;
    const id = reader.number(), acknowledged = reader.number();
    const results = new Map<number, KvResult>();
    for (let left = reader.count(); left > 0 && !reader.failed; left--) {
      const sequence = reader.number();
      const result = decodeResult(reader.bytes());
      if (result === undefined || results.has(sequence)) return false;
      results.set(sequence, result);
    }
    if (id === 0 || id > sessions.lastId || sessions.has(id)) return false;
    sessions.insert({ id, single: false, acknowledged, results, bytes: 0 });
    return true;
  }

  #opening(reader: ByteReader): boolean {
    const id = reader.number(), flag = reader.byte();
    const nonce = reader.raw(openingBytes);
    if (reader.failed || flag > 1) return false;
    return this.#target.sessions.restoreOpening({ nonce: toHex(nonce), id, single: flag === 1 });
  }

  /** Without an object of its own: there may be millions. */
  #record(tag: number, input: Uint8Array, from: number, to: number): boolean {
    const { store } = this.#target;
    const loaded = this.#loaded;
    const reader = this.#body.open(input, from);
    const keyLength = reader.skipBytes();
    loaded.source = input;
    loaded.keyTo = reader.position;
    loaded.keyFrom = loaded.keyTo - keyLength;
    const mod = loaded.mod = reader.number();
    const sub = loaded.sub = reader.number();
    loaded.create = reader.number();
    loaded.version = reader.number();
    loaded.lease = reader.number();
    const valueLength = reader.skipBytes();
    loaded.valueTo = reader.position;
    loaded.valueFrom = loaded.valueTo - valueLength;
    if (reader.failed || reader.position !== to || keyLength === 0) return false;
    const { version } = loaded;
    if (mod > store.revision || loaded.create > mod) return false;
    if (sub > 0xffffffff || version > 0xffffffff) return false;
    const appended = loaded.appended = tag === Tag.base;
    if (appended) {
      if (mod >= store.compactRevision || version === 0) return false;
    } else {
      if (mod < store.compactRevision || mod < this.#mod) return false;
      if (mod === this.#mod && sub <= this.#sub) return false;
      this.#mod = mod;
      this.#sub = sub;
    }
    return store.load(loaded);
  }
}

/** Tags stand in the order of the items, but for those that came later. */
function placeOf(tag: number): number {
  return tag === Tag.opening ? Tag.session + 0.5 : tag;
}
