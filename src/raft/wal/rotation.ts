/** A new segment: header and checkpoint are durable in the file before it gets its name. */
import { concatBytes } from "../../base/bytes.ts";
import type { Disk, Random } from "../../runtime/port.ts";
import { orClose } from "./or_close.ts";
import type { CheckpointSource } from "./record_buffer.ts";
import { RecordBuffer } from "./record_buffer.ts";
import { frameBytes, segmentHeaderBytes } from "./record_format.ts";
import { encodeSegmentHeader, idBytes } from "./segment.ts";
import type { SegmentFiles } from "./segment_files.ts";
import { SegmentWriter } from "./segment_writer.ts";

export interface NewSegment {
  readonly sequence: number;
  readonly logId: Uint8Array;
  /** Number of its first batch, the checkpoint. */
  readonly batch: number;
  /** The segment that it follows. */
  readonly before: { readonly chain: number; readonly offset: number } | undefined;
  readonly groups: Iterable<CheckpointSource>;
  /** A batch of so many bytes is to follow the checkpoint. */
  readonly roomFor: number;
}

export interface SegmentParts {
  readonly disk: Disk;
  readonly random: Random;
  readonly files: SegmentFiles;
}

export async function createSegment(
  { random, files }: SegmentParts,
  segment: NewSegment,
): Promise<SegmentWriter> {
  const salt = new Uint8Array(idBytes);
  random.fill(salt);
  const checkpoint = new RecordBuffer(4 << 10);
  for (const group of segment.groups) checkpoint.checkpoint(group);
  const least = segmentHeaderBytes + checkpoint.length + segment.roomFor + 4 * frameBytes;
  const { name, file, capacity } = await files.take(least);
  return await orClose(file, async () => {
    const header = encodeSegmentHeader({
      sequence: segment.sequence,
      salt,
      logId: segment.logId,
      firstBatch: segment.batch,
      previousChain: segment.before?.chain ?? 0,
      previousEnd: segment.before?.offset ?? 0,
      capacity,
    });
    const path = files.segmentPath(segment.sequence);
    const writer = new SegmentWriter({ sequence: segment.sequence, path, file, capacity }, header);
    // The ledger knows all that a checkpoint says.
    writer.seal(checkpoint, segment.batch, undefined);
    const used = checkpoint.bytes.subarray(0, checkpoint.length);
    await file.write(concatBytes([header, used]), 0);
    await files.publish(name, segment.sequence);
    return writer;
  });
}
