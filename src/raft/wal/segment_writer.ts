/** The segment that is being written: seals batches and puts them behind each other. */
import type { DiskFile } from "../../runtime/port.ts";
import { crc32c } from "../../base/crc32c.ts";
import type { Ledger, RecordPlace } from "./group_state.ts";
import type { RecordBuffer } from "./record_buffer.ts";
import { getU24, putU32 } from "./record_bytes.ts";
import { frameBytes, recordHeadBytes, RecordType } from "./record_format.ts";
import { chainStart, FrameSeal } from "./segment.ts";

export interface SegmentPlace {
  readonly sequence: number;
  readonly path: string;
  /** Opened as durable: what is written is on the disk when the write resolves. */
  readonly file: DiskFile;
  /** Bytes that the file has; they are there already, so that writing to them needs no room. */
  readonly capacity: number;
}

export class SegmentWriter {
  readonly sequence: number;
  readonly path: string;
  readonly file: DiskFile;
  readonly capacity: number;
  chain: number;
  /** Where the next batch goes. */
  offset: number;
  readonly #seal: FrameSeal;
  readonly #place: RecordPlace = { bytes: new Uint8Array(0), start: 0, end: 0 };

  /** `at` is given when the segment has batches already. */
  constructor(place: SegmentPlace, header: Uint8Array, at?: { chain: number; offset: number }) {
    this.sequence = place.sequence;
    this.path = place.path;
    this.file = place.file;
    this.capacity = place.capacity;
    this.#seal = new FrameSeal(header);
    this.chain = at?.chain ?? chainStart(header);
    this.offset = at?.offset ?? header.length;
  }

  /**
   * Whether a batch of so many bytes fits with its frame, and behind it the frame that a closed log
   * ends with, and the one that ends the segment.
   */
  fits(batchBytes: number): boolean {
    return this.offset + batchBytes + 3 * frameBytes <= this.capacity;
  }

  /**
   * Says, durably, that the next segment is there: from now on its loss is noticed. It begins with
   * this batch. A segment of version 1 that was full when it was closed has no room for that.
   */
  async writeEnd(batch: number): Promise<void> {
    const { offset, chain } = this;
    if (offset + frameBytes > this.capacity) return;
    const bytes = new Uint8Array(frameBytes);
    this.#seal.write(bytes, 0, { batch, batchBytes: 0, chain, offset }, RecordType.endFrame);
    await this.file.write(bytes, offset);
  }

  /**
   * Puts in the checksums and the frame, tells the ledger, and moves on behind the batch. Returns
   * where it belongs in the file.
   */
  seal(buffer: RecordBuffer, batch: number, ledger: Ledger | undefined): number {
    const at = this.offset;
    const batchBytes = buffer.length;
    const frameAt = buffer.frame();
    const { bytes } = buffer;
    const place = this.#place;
    place.bytes = bytes;
    let { chain } = this;
    for (let start = 0; start < frameAt; start = place.end) {
      place.start = start;
      place.end = start + recordHeadBytes + getU24(bytes, start + 4);
      chain = crc32c(bytes, start + 4, place.end, chain);
      putU32(bytes, start, chain);
      ledger?.apply(place, this.sequence);
    }
    this.chain = this.#seal.write(bytes, frameAt, {
      batch,
      batchBytes,
      chain,
      offset: at + frameAt,
    });
    this.offset = at + buffer.length;
    return at;
  }
}
