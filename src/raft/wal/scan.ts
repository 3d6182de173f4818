/**
 * Reads a segment's batches, and tells a torn tail from damage.
 *
 * One batch is written and synced before the next one is. So when a batch cannot be read, and a
 * frame of a later batch of this very use of the segment stands behind it, that batch was durable
 * once: damage. When there is none, it was the last one, and a crash while it was written explains
 * what is seen: its sectors reach the disk in any order. Payload proves nothing in either case,
 * zeros as little as anything else; a frame's checksum covers the salt and its own place, so that
 * neither a stale frame of a recycled file nor a copy inside an entry can be taken for one.
 */
import { crc32c } from "../../base/crc32c.ts";
import { LogError } from "./error.ts";
import type { EntrySink, Ledger, RecordPlace } from "./group_state.ts";
import { ByteCursor, getU24, getU32, MalformedRecord } from "./record_bytes.ts";
import {
  frameBytes,
  recordHeadBytes,
  RecordType,
  recordVersion,
  sectorBytes,
  segmentHeaderBytes,
} from "./record_format.ts";
import { chainStart, FrameSeal, segmentName } from "./segment.ts";

export interface ScanOptions {
  readonly file: string;
  /** The whole segment. */
  readonly bytes: Uint8Array;
  readonly sequence: number;
  /** Number of the first batch. */
  readonly batch: number;
  /** Where the segment after this one says that this one ends; undefined for the last one. */
  readonly end: number | undefined;
  readonly ledger: Ledger;
  readonly sink: EntrySink | undefined;
}

export interface ScanResult {
  /** Behind the last batch's frame. */
  readonly end: number;
  readonly chain: number;
  /** Number of the next batch. */
  readonly batch: number;
  /** Where the last batch begins. */
  readonly lastBatchAt: number;
  /** The last batch is an empty one behind the first: the log was closed in order. */
  readonly sealed: boolean;
  readonly tail: Tail;
}

/**
 * What stood behind the last batch: nothing of this log; the beginning of a batch that was being
 * written; or the frame of one, with parts of it missing. The last is what sectors leave that
 * reached the disk in another order, or what damage to the very last batch leaves: the two cannot
 * be told apart.
 */
export type Tail = "clean" | "torn" | "torn-behind-frame";

/** Hands every batch of a segment to the ledger. Throws a {@link LogError}. */
export function scanSegment(options: ScanOptions): ScanResult {
  const { bytes, ledger, sink } = options;
  const seal = new FrameSeal(bytes);
  const place: RecordPlace = { bytes, start: 0, end: 0 };
  let chain = chainStart(bytes);
  let at = segmentHeaderBytes;
  let { batch } = options;
  let lastBatchAt = at;
  let sealed = false;
  while (at !== options.end) {
    const found = readBatch(bytes, seal, { at, chain, batch });
    if (typeof found === "number") {
      if (options.end === undefined) checkNewest(options, seal, at);
      return {
        end: at,
        chain,
        batch,
        lastBatchAt,
        sealed,
        tail: judgeTail(options, seal, { at, bad: found, batch }),
      };
    }
    for (let start = at; start < found.frameAt; start = place.end) {
      place.start = start;
      place.end = start + recordHeadBytes + getU24(bytes, start + 4);
      applyRecord(options, place, () => ledger.apply(place, options.sequence, sink));
    }
    sealed = found.frameAt === at && at > segmentHeaderBytes;
    lastBatchAt = at;
    at = found.frameAt + frameBytes;
    chain = getU32(bytes, found.frameAt);
    batch++;
    if (options.end !== undefined && at > options.end) {
      throw new LogError(
        "damaged",
        { file: options.file, offset: options.end },
        "the next segment says that this one ends here, and it does not",
      );
    }
  }
  return { end: at, chain, batch, lastBatchAt, sealed, tail: "clean" };
}

/** A segment that says that the log goes on in the next one is not the newest. */
function checkNewest({ file, bytes, sequence }: ScanOptions, seal: FrameSeal, at: number): void {
  if (seal.read(bytes, at, RecordType.endFrame) === undefined) return;
  throw new LogError(
    "damaged",
    { file: `${file.slice(0, file.lastIndexOf("/") + 1)}${segmentName(sequence + 1)}` },
    `is missing: segment ${sequence} says that the log goes on there`,
  );
}

interface BatchStart {
  readonly at: number;
  readonly chain: number;
  readonly batch: number;
}

/** Where the frame is of the whole batch that begins here, or the place of the first bad record. */
function readBatch(
  bytes: Uint8Array,
  seal: FrameSeal,
  start: BatchStart,
): { readonly frameAt: number } | number {
  let { at, chain } = start;
  while (at + recordHeadBytes <= bytes.length) {
    const type = bytes[at + 7];
    if (type === 0) return at;
    if (type === RecordType.batchFrame) {
      const frame = seal.read(bytes, at);
      const whole = frame !== undefined && frame.batch === start.batch &&
        frame.batchBytes === at - start.at && frame.chain === chain;
      return whole ? { frameAt: at } : at;
    }
    const end = at + recordHeadBytes + getU24(bytes, at + 4);
    if (end > bytes.length) return at;
    const checksum = crc32c(bytes, at + 4, end, chain);
    if (checksum !== getU32(bytes, at)) return at;
    chain = checksum;
    at = end;
  }
  return at;
}

/** A batch begins at `at` whose record at `bad` cannot be read. Throws when that is damage. */
function judgeTail(
  { file, bytes, end }: ScanOptions,
  seal: FrameSeal,
  { at, bad, batch }: { at: number; bad: number; batch: number },
): Tail {
  const damaged = (message: string): LogError =>
    new LogError("damaged", { file, offset: bad, group: groupAt(bytes, bad) }, message);
  if (end !== undefined) {
    throw damaged("a record is damaged, and the next segment says that there were more");
  }
  if (at === segmentHeaderBytes) {
    throw damaged(
      "the segment's first batch is damaged, and it was durable before the segment was",
    );
  }
  let tail: Tail = bad > at ? "torn" : "clean";
  let from = at + 7;
  for (;;) {
    const found = bytes.indexOf(RecordType.batchFrame, from);
    if (found < 0) return tail;
    from = found + 1;
    const frame = seal.read(bytes, found - 7);
    if (frame === undefined || frame.batch < batch) continue;
    if (frame.batch > batch) {
      throw damaged(
        `a record is damaged: batch ${batch} cannot be read, and batch ${frame.batch} behind it ` +
          `was written after it was durable`,
      );
    }
    if (frame.version !== recordVersion) continue;
    const frameAt = found - 7;
    if (frameAt - frame.batchBytes !== at) continue;
    if (Math.floor(bad / sectorBytes) === Math.floor(frameAt / sectorBytes)) {
      // A sector is written whole or not at all, and this one has the frame in it.
      throw damaged(`a record of batch ${batch} is damaged within the sector of its frame`);
    }
    tail = "torn-behind-frame";
  }
}

function applyRecord(options: ScanOptions, place: RecordPlace, apply: () => void): void {
  try {
    apply();
  } catch (error) {
    if (!(error instanceof MalformedRecord)) throw error;
    throw new LogError(
      error.newer ? "newer" : "damaged",
      {
        file: options.file,
        offset: place.start,
        group: groupAt(options.bytes, place.start),
      },
      error.newer
        ? `a record ${error.message}, which this version of covey does not know: run the newer ` +
          "covey that wrote it"
        : `a record makes no sense: ${error.message}`,
      error,
    );
  }
}

/** The group that a record names, as far as it can be read. */
function groupAt(bytes: Uint8Array, at: number): number | undefined {
  const type = bytes[at + 7];
  if (type === undefined || type === 0 || type > RecordType.checkpoint) return undefined;
  try {
    return new ByteCursor().set(bytes, at + recordHeadBytes, bytes.length).varint();
  } catch (error) {
    if (error instanceof MalformedRecord) return undefined;
    throw error;
  }
}
