/**
 * What the log says about each group, record by record. The same code follows the records that are
 * written and the ones that are read back, so that a checkpoint says what a recovery would find.
 */
import {
  type Configuration,
  type Entry,
  EntryType,
  type LogIndex,
  type Term,
} from "../core/types.ts";
import { emptyConfiguration } from "../core/configuration.ts";
import { decodeConfiguration, encodeConfiguration } from "../core/configuration_codec.ts";
import { equalBytes } from "../../base/bytes.ts";
import type { CheckpointSource, EncodedMark } from "./record_buffer.ts";
import { ByteCursor, MalformedRecord, varintBytesMax } from "./record_bytes.ts";
import { markReplacesLog, recordHeadBytes, RecordType, recordVersion } from "./record_format.ts";

/** Before the first snapshot. */
const noMark: EncodedMark = {
  index: 0,
  term: 0,
  configuration: encodeConfiguration(emptyConfiguration),
};

/** Of a group's record in a checkpoint, before its configuration: nine numbers. */
const checkpointHeadBytesMax = recordHeadBytes + 9 * varintBytesMax;

/** The entries from `first` on, up to the next run, are in this segment. */
interface Run {
  readonly segment: number;
  readonly first: number;
}

export class GroupState implements CheckpointSource {
  readonly id: number;
  readonly replica: number;
  term = 0;
  vote = 0;
  commit = 0;
  /** Index of the last entry; of the mark when there is none behind it. */
  last = 0;
  mark: EncodedMark = noMark;
  /** Which segments hold the entries behind the mark, oldest first. */
  readonly runs: Run[] = [];

  constructor(id: number, replica: number) {
    this.id = id;
    this.replica = replica;
  }

  /** The oldest segment that must stay for this group; `otherwise` when none must. */
  oldestSegment(otherwise: number): number {
    return this.runs.length > 0 ? this.runs[0].segment : otherwise;
  }

  /** Entries from `first` to `last` went into this segment. */
  extend(segment: number, first: number, last: number): void {
    if (first !== this.last + 1) {
      throw new MalformedRecord(`entry ${first} follows entry ${this.last}`);
    }
    this.last = last;
    if (this.runs.length === 0 || this.runs[this.runs.length - 1].segment !== segment) {
      this.runs.push({ segment, first });
    }
  }

  truncate(after: number): void {
    if (after < this.mark.index || after > this.last) {
      throw new MalformedRecord(
        `a cut after entry ${after}, with entries ${this.mark.index + 1} to ${this.last}`,
      );
    }
    this.last = after;
    while (this.runs.length > 0 && this.runs[this.runs.length - 1].first > after) this.runs.pop();
  }

  setMark(mark: EncodedMark, replacesLog: boolean): void {
    if (mark.index < this.mark.index || (!replacesLog && mark.index > this.last)) {
      throw new MalformedRecord(
        `a snapshot at ${mark.index}, with entries ${this.mark.index + 1} to ${this.last}`,
      );
    }
    this.mark = mark;
    if (replacesLog) {
      this.last = mark.index;
      this.runs.length = 0;
      return;
    }
    if (this.last === mark.index) this.runs.length = 0;
    let gone = 0;
    while (gone + 1 < this.runs.length && this.runs[gone + 1].first <= mark.index + 1) gone++;
    if (gone > 0) this.runs.splice(0, gone);
  }
}

/** Gets the entries of a recovery. */
export interface EntrySink {
  entry(group: number, entry: Entry): void;
  truncated(group: number, after: number): void;
  marked(group: number, mark: number, replacesLog: boolean): void;
  removed(group: number): void;
}

export class Ledger {
  readonly groups: Map<number, GroupState> = new Map();
  readonly #cursor = new ByteCursor();

  /** One record, whose checksum is right, of this segment. Throws {@link MalformedRecord}. */
  apply(record: RecordPlace, segment: number, sink?: EntrySink): void {
    const { bytes, start, end } = record;
    const type = bytes[start + 7];
    if (bytes[start + 8] !== recordVersion) {
      throw new MalformedRecord(
        `has version ${bytes[start + 8]}`,
        bytes[start + 8] > recordVersion,
      );
    }
    if (type > RecordType.checkpoint) throw new MalformedRecord(`has type ${type}`, true);
    const cursor = this.#cursor.set(bytes, start + recordHeadBytes, end);
    const id = cursor.varint();
    if (type === RecordType.checkpoint) return this.#checkpoint(id, cursor);
    if (type === RecordType.groupCreated) {
      if (this.groups.has(id)) throw new MalformedRecord("creates a group that is there");
      this.groups.set(id, new GroupState(id, cursor.varint()));
      return cursor.finish();
    }
    const group = this.groups.get(id);
    if (group === undefined) throw new MalformedRecord("belongs to a group that is not there");
    switch (type) {
      case RecordType.entries:
        return applyEntries(group, { cursor, segment, sink });
      case RecordType.hardState:
        group.term = cursor.varint();
        group.vote = cursor.varint();
        group.commit = cursor.varint();
        return cursor.finish();
      case RecordType.truncation: {
        const after = cursor.varint();
        group.truncate(after);
        sink?.truncated(id, after);
        return cursor.finish();
      }
      case RecordType.snapshotMark: {
        const replacesLog = (cursor.varint() & markReplacesLog) !== 0;
        const mark = readMark(cursor);
        group.setMark(mark, replacesLog);
        sink?.marked(id, mark.index, replacesLog);
        return cursor.finish();
      }
      case RecordType.groupRemoved:
        this.groups.delete(id);
        sink?.removed(id);
        return cursor.finish();
      default:
        throw new MalformedRecord("has type 0");
    }
  }

  /** What a segment that begins now says of the groups takes at most. */
  get checkpointBytesMax(): number {
    let bytes = 0;
    for (const { mark } of this.groups.values()) {
      bytes += checkpointHeadBytesMax + mark.configuration.length;
    }
    return bytes;
  }

  /** The oldest segment that must stay, and a group that needs it. */
  oldest(current: number): { readonly segment: number; readonly group: number | undefined } {
    let segment = current;
    let holder: number | undefined;
    for (const group of this.groups.values()) {
      const needed = group.oldestSegment(current);
      if (needed < segment) {
        segment = needed;
        holder = group.id;
      }
    }
    return { segment, group: holder };
  }

  /** In the oldest segment it makes the group; later on it must say what is known already. */
  #checkpoint(id: number, cursor: ByteCursor): void {
    const said = new GroupState(id, cursor.varint());
    said.term = cursor.varint();
    said.vote = cursor.varint();
    said.commit = cursor.varint();
    said.last = cursor.varint();
    said.mark = readMark(cursor);
    cursor.finish();
    const known = this.groups.get(id);
    if (known === undefined) {
      this.groups.set(id, said);
      return;
    }
    const same = known.replica === said.replica && known.term === said.term &&
      known.vote === said.vote && known.commit === said.commit && known.last === said.last &&
      known.mark.index === said.mark.index && known.mark.term === said.mark.term &&
      equalBytes(known.mark.configuration, said.mark.configuration);
    if (!same) throw new MalformedRecord("a checkpoint differs from the records before it");
  }
}

/** Where a record is. */
export interface RecordPlace {
  bytes: Uint8Array;
  start: number;
  end: number;
}

function applyEntries(
  group: GroupState,
  { cursor, segment, sink }: { cursor: ByteCursor; segment: number; sink?: EntrySink },
): void {
  const first = cursor.varint();
  const term = cursor.varint();
  let index = first;
  for (; cursor.at < cursor.end; index++) {
    const head = cursor.varint();
    const length = Math.floor(head / 4);
    const at = cursor.pass(length);
    if (sink === undefined) continue;
    const type = head % 4;
    if (type !== EntryType.normal && type !== EntryType.configuration) {
      throw new MalformedRecord(`an entry of type ${type}`, true);
    }
    sink.entry(group.id, {
      term: term as Term,
      index: index as LogIndex,
      type,
      // A copy: a part of the segment would keep all of it in memory.
      data: cursor.bytes.slice(at, at + length),
    });
  }
  if (index === first) throw new MalformedRecord("holds no entries");
  if (!Number.isSafeInteger(index)) throw new MalformedRecord("an index above 2^53 - 1");
  group.extend(segment, first, index - 1);
}

function readMark(cursor: ByteCursor): EncodedMark {
  const index = cursor.varint();
  const term = cursor.varint();
  const length = cursor.varint();
  const at = cursor.pass(length);
  return { index, term, configuration: cursor.bytes.slice(at, at + length) };
}

/** The configuration of a mark; undefined when the bytes are none. */
export function configurationOf(mark: EncodedMark): Configuration | undefined {
  return decodeConfiguration(mark.configuration);
}
