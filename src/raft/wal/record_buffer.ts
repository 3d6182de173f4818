/**
 * The records of one batch, being gathered. One array that grows and is used again for the next
 * batch; no object per record or entry. Checksums are put in when the batch is sealed, because they
 * depend on what is written before it.
 */
import { assert } from "../../base/assert.ts";
import { encodeConfiguration } from "../core/configuration_codec.ts";
import type { Entry, HardState, SnapshotMeta } from "../core/types.ts";
import { putU24, putVarint, varintBytesMax } from "./record_bytes.ts";
import {
  entriesRecordBytes,
  frameBytes,
  markReplacesLog,
  recordBodyBytesMax,
  recordHeadBytes,
  RecordType,
  recordVersion,
} from "./record_format.ts";

/** The bytes that a record of this many numbers may take before its data. */
function roomFor(numbers: number): number {
  return recordHeadBytes + (numbers + 1) * varintBytesMax;
}

/** Where a snapshot stands; the configuration is encoded. */
export interface EncodedMark {
  readonly index: number;
  readonly term: number;
  readonly configuration: Uint8Array;
}

export function encodeMark({ index, term, configuration }: SnapshotMeta): EncodedMark {
  return { index, term, configuration: encodeConfiguration(configuration) };
}

/** All that a segment's first batch says about a group. */
export interface CheckpointSource {
  readonly id: number;
  readonly replica: number;
  readonly term: number;
  readonly vote: number;
  readonly commit: number;
  readonly last: number;
  readonly mark: EncodedMark;
}

export class RecordBuffer {
  bytes: Uint8Array;
  /** Bytes in use. */
  length = 0;
  /** The newest ticket whose records are in here, 0 for none. */
  ticket = 0;
  readonly #initialBytes: number;
  /** Where the last record begins when it holds entries, else -1; and which may follow in it. */
  #runStart = -1;
  #runGroup = 0;
  #runTerm = 0;
  #runNext = 0;

  constructor(initialBytes: number) {
    this.#initialBytes = initialBytes;
    this.bytes = new Uint8Array(initialBytes);
  }

  /** Ready for the next batch. An array that one huge batch has blown up is let go. */
  clear(): void {
    this.length = 0;
    this.ticket = 0;
    this.#runStart = -1;
    if (this.bytes.length > 4 * this.#initialBytes) this.bytes = new Uint8Array(this.#initialBytes);
  }

  /**
   * Entries of ascending indexes. They go into the record before when that ends where they begin; a
   * new one begins where the term changes, and where one has grown large.
   */
  entries(group: number, entries: readonly Entry[]): void {
    for (let at = 0; at < entries.length;) {
      const { term, index } = entries[at];
      const goesOn = this.#runStart >= 0 && this.#runGroup === group && this.#runTerm === term &&
        this.#runNext === index && this.#fitsRun(entries[at]);
      const start = goesOn ? this.#runStart : this.#begin(RecordType.entries, group, 2);
      if (!goesOn) {
        this.#number(index);
        this.#number(term);
      }
      this.#runStart = start;
      do {
        const { data, type } = entries[at++];
        this.#reserve(varintBytesMax + data.length);
        this.#number(data.length * 4 + type);
        this.bytes.set(data, this.length);
        this.length += data.length;
      } while (at < entries.length && entries[at].term === term && this.#fitsRun(entries[at]));
      this.#finish(start);
      this.#runGroup = group;
      this.#runTerm = term;
      this.#runNext = entries[at - 1].index + 1;
    }
  }

  #fitsRun({ data }: Entry): boolean {
    return this.length - this.#runStart + data.length <= entriesRecordBytes;
  }

  hardState(group: number, { term, vote, commit }: HardState): void {
    const start = this.#begin(RecordType.hardState, group, 3);
    this.#number(term);
    this.#number(vote);
    this.#number(commit);
    this.#finish(start);
  }

  /** Entries above `after` are void. */
  truncation(group: number, after: number): void {
    const start = this.#begin(RecordType.truncation, group, 1);
    this.#number(after);
    this.#finish(start);
  }

  /** Entries up to the mark are void; with `replacesLog`, the ones behind it, too. */
  snapshotMark(group: number, mark: EncodedMark, replacesLog: boolean): void {
    const start = this.#begin(RecordType.snapshotMark, group, 4);
    this.#number(replacesLog ? markReplacesLog : 0);
    this.#mark(mark);
    this.#finish(start);
  }

  groupCreated(group: number, replica: number): void {
    const start = this.#begin(RecordType.groupCreated, group, 1);
    this.#number(replica);
    this.#finish(start);
  }

  groupRemoved(group: number): void {
    this.#finish(this.#begin(RecordType.groupRemoved, group, 0));
  }

  checkpoint(group: CheckpointSource): void {
    const start = this.#begin(RecordType.checkpoint, group.id, 8);
    this.#number(group.replica);
    this.#number(group.term);
    this.#number(group.vote);
    this.#number(group.commit);
    this.#number(group.last);
    this.#mark(group.mark);
    this.#finish(start);
  }

  /** Room for the frame that closes the batch; returns where it goes. */
  frame(): number {
    this.#reserve(frameBytes);
    const at = this.length;
    this.length += frameBytes;
    return at;
  }

  #mark({ index, term, configuration }: EncodedMark): void {
    this.#number(index);
    this.#number(term);
    this.#number(configuration.length);
    this.#reserve(configuration.length);
    this.bytes.set(configuration, this.length);
    this.length += configuration.length;
  }

  #begin(type: RecordType, group: number, numbers: number): number {
    const start = this.length;
    this.#runStart = -1;
    this.#reserve(roomFor(numbers));
    this.bytes[start + 7] = type;
    this.bytes[start + 8] = recordVersion;
    this.length = putVarint(this.bytes, start + recordHeadBytes, group);
    return start;
  }

  #finish(start: number): void {
    const body = this.length - start - recordHeadBytes;
    assert(body <= recordBodyBytesMax, "a record's length fits its 24 bits");
    putU24(this.bytes, start + 4, body);
  }

  /** The room was reserved. */
  #number(value: number): void {
    this.length = putVarint(this.bytes, this.length, value);
  }

  #reserve(more: number): void {
    const need = this.length + more;
    if (need <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(need, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }
}
