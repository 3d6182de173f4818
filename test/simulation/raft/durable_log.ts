/**
 * What a machine's disk is known to hold of the consensus log: the batches whose sync has returned,
 * read back from the very bytes that were written. It is an account of its own, apart from what the
 * product believes, so that a promise made before its sync shows.
 */
import { crc32c } from "../../../src/base/crc32c.ts";
import { EntryType, type ReplicaId } from "../../../src/raft/core/types.ts";
import { ByteCursor, getU24, getU48 } from "../../../src/raft/wal/record_bytes.ts";
import {
  markReplacesLog,
  recordHeadBytes,
  RecordType,
} from "../../../src/raft/wal/record_format.ts";
import type { RecoveredGroup } from "../../../src/raft/wal/recovery.ts";

/** One group's part of the log. */
export class DurableGroup {
  readonly replica: number;
  term = 0;
  vote = 0;
  commit = 0;
  /** Where its snapshot stands; entries follow. */
  mark = 0;
  markTerm = 0;
  readonly terms: number[] = [];
  readonly hashes: number[] = [];

  constructor(replica: number) {
    this.replica = replica;
  }

  static recovered({ replica, hardState, snapshot, entries }: RecoveredGroup): DurableGroup {
    const group = new DurableGroup(replica);
    group.term = hardState.term;
    group.vote = hardState.vote;
    group.commit = hardState.commit;
    group.mark = snapshot.index;
    group.markTerm = snapshot.term;
    for (const { term, type, data } of entries) {
      group.terms.push(term);
      group.hashes.push(entryHash(type, data));
    }
    return group;
  }

  clone(): DurableGroup {
    const copy = new DurableGroup(this.replica);
    copy.term = this.term;
    copy.vote = this.vote;
    copy.commit = this.commit;
    copy.mark = this.mark;
    copy.markTerm = this.markTerm;
    copy.terms.push(...this.terms);
    copy.hashes.push(...this.hashes);
    return copy;
  }

  get last(): number {
    return this.mark + this.terms.length;
  }

  /** Undefined where there is no entry, or none any more. */
  termAt(index: number): number | undefined {
    return index === this.mark ? this.markTerm : this.terms[index - this.mark - 1];
  }

  truncate(after: number): void {
    const length = Math.max(0, after - this.mark);
    if (length >= this.terms.length) return;
    this.terms.length = length;
    this.hashes.length = length;
  }

  setMark(index: number, term: number, replaces: boolean): void {
    const gone = replaces ? this.terms.length : Math.min(index - this.mark, this.terms.length);
    this.terms.splice(0, gone);
    this.hashes.splice(0, gone);
    this.mark = index;
    this.markTerm = term;
  }

  /** What differs between the two; undefined when they are the same. */
  difference(other: DurableGroup): string | undefined {
    const numbers = (group: DurableGroup): string =>
      `term ${group.term}, vote ${group.vote}, commit ${group.commit}, ` +
      `a mark of term ${group.markTerm}, entries ${group.mark + 1} to ${group.last}`;
    if (numbers(this) !== numbers(other)) return `${numbers(this)} and ${numbers(other)}`;
    const at = this.hashes.findIndex((hash, place) =>
      hash !== other.hashes[place] || this.terms[place] !== other.terms[place]
    );
    return at < 0 ? undefined : `another entry ${this.mark + 1 + at}`;
  }
}

/** The machine's disk of each replica. */
export type Disks = (replica: ReplicaId) => DurableGroup | undefined;

export function entryHash(type: number, data: Uint8Array): number {
  return crc32c(data, 0, data.length, type);
}

export class DurableLog {
  readonly groups: Map<number, DurableGroup> = new Map();
  /** The number of the last batch that was synced. */
  #batch = 0;

  /** As it was read from the disk; reading made it durable. */
  static recovered(groups: Iterable<RecoveredGroup>): DurableLog {
    const log = new DurableLog();
    for (const group of groups) log.groups.set(group.group, DurableGroup.recovered(group));
    return log;
  }

  clone(): DurableLog {
    const copy = new DurableLog();
    copy.#batch = this.#batch;
    for (const [id, group] of this.groups) copy.groups.set(id, group.clone());
    return copy;
  }

  /** What a write to a segment holds, when that is a batch; says whether it was. */
  apply(bytes: Uint8Array): boolean {
    const frame = frameAt(bytes);
    if (frame === undefined) return false;
    const batch = getU48(bytes, frame + recordHeadBytes);
    if (batch <= this.#batch) return false;
    this.#batch = batch;
    for (let at = 0; at < frame;) {
      const end = at + recordHeadBytes + getU24(bytes, at + 4);
      this.#record(bytes, at, end);
      at = end;
    }
    return true;
  }

  #record(bytes: Uint8Array, start: number, end: number): void {
    const cursor = new ByteCursor().set(bytes, start + recordHeadBytes, end);
    const type = bytes[start + 7];
    const id = cursor.varint();
    if (type === RecordType.groupCreated) {
      this.groups.set(id, new DurableGroup(cursor.varint()));
      return;
    }
    const group = this.groups.get(id);
    if (group === undefined) return;
    switch (type) {
      case RecordType.entries:
        return readEntries(group, cursor);
      case RecordType.hardState:
        group.term = cursor.varint();
        group.vote = cursor.varint();
        group.commit = cursor.varint();
        return;
      case RecordType.truncation:
        return group.truncate(cursor.varint());
      case RecordType.snapshotMark: {
        const replaces = (cursor.varint() & markReplacesLog) !== 0;
        const index = cursor.varint();
        return group.setMark(index, cursor.varint(), replaces);
      }
      case RecordType.groupRemoved:
        this.groups.delete(id);
    }
  }
}

function readEntries(group: DurableGroup, cursor: ByteCursor): void {
  // Entries go on where the log ends; a cut says so before them.
  cursor.varint();
  const term = cursor.varint();
  while (cursor.at < cursor.end) {
    const head = cursor.varint();
    const length = Math.floor(head / 4);
    const at = cursor.pass(length);
    const type = head % 4 === EntryType.configuration ? EntryType.configuration : EntryType.normal;
    group.terms.push(term);
    group.hashes.push(entryHash(type, cursor.bytes.subarray(at, at + length)));
  }
}

/** Where the frame is that ends a batch; undefined when the bytes are no batch. */
function frameAt(bytes: Uint8Array): number | undefined {
  let at = 0;
  while (at + recordHeadBytes <= bytes.length) {
    const type = bytes[at + 7];
    if (type === RecordType.batchFrame) return at;
    if (type === 0 || type > RecordType.checkpoint) return undefined;
    at += recordHeadBytes + getU24(bytes, at + 4);
  }
  return undefined;
}
