/**
 * Reads a log back: whose it is, which segments there are, what they say. What is read counts as
 * durable only after the last batch has been written once more: a process that was killed, or whose
 * write failed, leaves pages in the kernel's cache that are not on the disk, and may look clean.
 */
import type {
  Configuration,
  Entry,
  HardState,
  LogIndex,
  SnapshotMeta,
  Term,
} from "../core/types.ts";
import type { Disk, DiskFile, OpenOptions } from "../../runtime/port.ts";
import { equalBytes } from "../../base/bytes.ts";
import { LogError } from "./error.ts";
import { configurationOf, type EntrySink, type GroupState, Ledger } from "./group_state.ts";
import { orClose } from "./or_close.ts";
import { RecordBuffer } from "./record_buffer.ts";
import { segmentHeaderBytes } from "./record_format.ts";
import { type ScanResult, scanSegment, type Tail } from "./scan.ts";
import { decodeSegmentHeader, type SegmentHeader } from "./segment.ts";
import type { SegmentFiles } from "./segment_files.ts";
import { SegmentWriter } from "./segment_writer.ts";

/** What a group had when the log was last written. */
export interface RecoveredGroup {
  readonly group: number;
  readonly replica: number;
  readonly hardState: HardState;
  readonly snapshot: SnapshotMeta;
  /** From the one behind the snapshot on, without a gap. */
  readonly entries: readonly Entry[];
}

export interface Recovered {
  readonly ledger: Ledger;
  readonly groups: readonly RecoveredGroup[];
  readonly oldest: number;
  readonly writer: SegmentWriter;
  /** Number of the next batch. */
  readonly batch: number;
  /** Nothing was written since the log was closed. */
  readonly sealed: boolean;
  readonly tail: Tail;
}

/** The log in these segments, the last of them open for writing. */
export async function recover(
  disk: Disk,
  files: SegmentFiles,
  { sequences, logId }: { sequences: readonly number[]; logId: Uint8Array },
): Promise<Recovered> {
  const headers = await readHeaders(disk, files, { sequences, logId });
  const ledger = new Ledger();
  const entries = new EntryCollector();
  let before: ScanResult | undefined;
  /** Of the segment before the last. */
  let ended: ScanResult | undefined;
  let bytes = new Uint8Array(0);
  /** One array for all segments: each new one costs the kernel as much as the reading. */
  let room = bytes;
  for (let at = 0; at < sequences.length; at++) {
    const header = headers[at];
    const file = files.segmentPath(sequences[at]);
    const next = headers.at(at + 1);
    if (before !== undefined) checkJoint(file, header, before);
    bytes = await readWhole(disk, file, room);
    if (bytes.length > room.length) room = bytes;
    checkLength(file, header, bytes.length);
    ended = before;
    before = scanSegment({
      file,
      bytes,
      sequence: header.sequence,
      batch: header.firstBatch,
      end: at + 1 < sequences.length ? next?.previousEnd : undefined,
      ledger,
      sink: entries,
    });
  }
  const last = before as ScanResult;
  const path = files.segmentPath(sequences[sequences.length - 1]);
  const groups = [...ledger.groups.values()].map((group) => {
    return recoveredGroup(group, entries.of(group.id), files.segmentPath(sequences[0]));
  });
  const torn = last.tail !== "clean";
  const file = await disk.open(path, durably);
  const writer = new SegmentWriter(
    { sequence: sequences[sequences.length - 1], path, file, capacity: bytes.length },
    bytes.slice(0, segmentHeaderBytes),
    { chain: last.chain, offset: last.end },
  );
  await orClose(file, async () => {
    await file.write(bytes.slice(last.lastBatchAt, last.end), last.lastBatchAt);
    await disk.syncDirectory(files.directory);
    const before = headers.at(-2);
    if (before !== undefined && ended !== undefined) {
      await endAgain(disk, files, { sequence: before.sequence, ended });
    }
    if (!torn) return;
    // An empty batch in the torn one's place, so that its remains bear a number of the past.
    const empty = new RecordBuffer(64);
    const offset = writer.seal(empty, last.batch, undefined);
    await file.write(empty.bytes.slice(0, empty.length), offset);
  });
  return {
    ledger,
    groups,
    oldest: sequences[0],
    writer,
    batch: torn ? last.batch + 1 : last.batch,
    sealed: last.sealed || torn,
    tail: last.tail,
  };
}

const durably: OpenOptions = { read: true, write: true, durable: true };

/** A crash may have come before the segment before the last said that it is not the last. */
async function endAgain(
  disk: Disk,
  files: SegmentFiles,
  { sequence, ended }: { readonly sequence: number; readonly ended: ScanResult },
): Promise<void> {
  const path = files.segmentPath(sequence);
  const file = await disk.open(path, durably);
  await orClose(file, async () => {
    const header = new Uint8Array(segmentHeaderBytes);
    await file.read(header, 0);
    const at = { chain: ended.chain, offset: ended.end };
    const writer = new SegmentWriter(
      { sequence, path, file, capacity: await file.size() },
      header,
      at,
    );
    await writer.writeEnd(ended.batch);
  });
  await file.close();
}

/** Files are made in full length, and durable in it before they become segments. */
function checkLength(file: string, { capacity }: SegmentHeader, length: number): void {
  if (length >= capacity) return;
  throw new LogError(
    "damaged",
    { file, offset: length },
    `ends here, and it was made with ${capacity} bytes: it has been cut off`,
  );
}

/** Whether the segment holds nothing but its first batch, and that one no groups. */
export async function isUnused(disk: Disk, file: string): Promise<boolean> {
  const bytes = await readWhole(disk, file, new Uint8Array(0));
  const header = headerOf(file, bytes);
  const ledger = new Ledger();
  const { batch } = scanSegment({
    file,
    bytes,
    sequence: header.sequence,
    batch: header.firstBatch,
    end: undefined,
    ledger,
    sink: undefined,
  });
  return header.sequence === 1 && batch === header.firstBatch + 1 && ledger.groups.size === 0;
}

/** In `room`, if it is large enough. */
async function readWhole(
  disk: Disk,
  path: string,
  room: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const file = await disk.open(path, { read: true });
  try {
    const size = await file.size();
    const bytes = size <= room.length ? room.subarray(0, size) : new Uint8Array(size);
    return bytes.subarray(0, await file.read(bytes, 0));
  } finally {
    await file.close();
  }
}

async function readHeaders(
  disk: Disk,
  files: SegmentFiles,
  { sequences, logId }: { sequences: readonly number[]; logId: Uint8Array },
): Promise<SegmentHeader[]> {
  const headers: SegmentHeader[] = [];
  for (const sequence of sequences) {
    const path = files.segmentPath(sequence);
    const file = await disk.open(path, { read: true });
    const bytes = new Uint8Array(segmentHeaderBytes);
    const read = await readClosing(file, bytes);
    const header = headerOf(path, bytes.subarray(0, read));
    if (header.sequence !== sequence) {
      throw new LogError("damaged", { file: path }, `is segment ${header.sequence} by its header`);
    }
    if (!equalBytes(header.logId, logId)) {
      throw new LogError("foreign", { file: path }, "belongs to another log");
    }
    const before = headers.at(-1);
    if (before !== undefined && before.sequence + 1 !== sequence) {
      throw new LogError(
        "damaged",
        { file: files.segmentPath(before.sequence + 1) },
        `is missing, and segment ${sequence} behind it is there`,
      );
    }
    headers.push(header);
  }
  return headers;
}

async function readClosing(file: DiskFile, bytes: Uint8Array): Promise<number> {
  try {
    return await file.read(bytes, 0);
  } finally {
    await file.close();
  }
}

function headerOf(file: string, bytes: Uint8Array): SegmentHeader {
  const header = decodeSegmentHeader(bytes);
  if ("kind" in header) throw new LogError(header.kind, { file, offset: 0 }, header.message);
  return header;
}

/** A segment must go on exactly where the one before it ended. */
function checkJoint(file: string, header: SegmentHeader, before: ScanResult): void {
  if (header.previousChain === before.chain && header.firstBatch === before.batch) return;
  throw new LogError(
    "damaged",
    { file, offset: 0 },
    "does not go on where the segment before ended",
  );
}

function recoveredGroup(
  group: GroupState,
  entries: readonly Entry[],
  firstSegment: string,
): RecoveredGroup {
  const { id, mark, last, replica } = group;
  const configuration: Configuration | undefined = configurationOf(mark);
  if (configuration === undefined) {
    throw new LogError(
      "damaged",
      { file: firstSegment, group: id },
      "the configuration of the group's snapshot makes no sense",
    );
  }
  const there = entries.length > 0 ? entries[0].index : last + 1;
  if (there !== mark.index + 1) {
    throw new LogError(
      "damaged",
      { file: firstSegment, group: id },
      `entries ${mark.index + 1} to ${there - 1} were in older segments, which are missing`,
    );
  }
  return {
    group: id,
    replica,
    hardState: {
      term: group.term as Term,
      vote: group.vote,
      commit: group.commit as LogIndex,
    },
    snapshot: { index: mark.index as LogIndex, term: mark.term as Term, configuration },
    entries,
  };
}

/** Keeps each group's entries as the records add and void them. */
class EntryCollector implements EntrySink {
  readonly #entries = new Map<number, Entry[]>();

  of(group: number): readonly Entry[] {
    return this.#entries.get(group) ?? [];
  }

  entry(group: number, entry: Entry): void {
    const list = this.#entries.get(group);
    if (list === undefined) this.#entries.set(group, [entry]);
    else list.push(entry);
  }

  truncated(group: number, after: number): void {
    const list = this.#entries.get(group);
    while (list !== undefined && list.length > 0 && list[list.length - 1].index > after) list.pop();
  }

  marked(group: number, mark: number, replacesLog: boolean): void {
    const list = this.#entries.get(group);
    if (list === undefined) return;
    if (replacesLog) list.length = 0;
    else list.splice(0, Math.max(0, Math.min(list.length, mark + 1 - (list[0]?.index ?? 0))));
  }

  removed(group: number): void {
    this.#entries.delete(group);
  }
}
