/**
 * A segment's header, the frames that close its batches, and the chain of checksums through both.
 * The bytes are in docs/reference/raft_log.md.
 */
import { crc32c } from "../../base/crc32c.ts";
import {
  getU16,
  getU24,
  getU32,
  getU48,
  getU64,
  putU16,
  putU24,
  putU32,
  putU48,
  putU64,
} from "./record_bytes.ts";
import {
  formatVersion,
  frameBodyBytes,
  frameBytes,
  recordHeadBytes,
  RecordType,
  recordVersion,
  segmentHeaderBytes,
  segmentMagic,
} from "./record_format.ts";

export const idBytes = 8;

export interface SegmentHeader {
  readonly sequence: number;
  /** Eight random bytes of this use of the file. */
  readonly salt: Uint8Array;
  /** Eight random bytes of this log. */
  readonly logId: Uint8Array;
  /** Of the first batch in here. */
  readonly firstBatch: number;
  /** The chain's value where the segment before this one ended, and where that was; 0 for none. */
  readonly previousChain: number;
  readonly previousEnd: number;
  /** Bytes that the file has had since it was made; 0 in a header of version 1. */
  readonly capacity: number;
}

export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const bytes = new Uint8Array(segmentHeaderBytes);
  bytes.set(segmentMagic);
  putU16(bytes, 8, formatVersion);
  putU16(bytes, 10, segmentHeaderBytes);
  putU32(bytes, 12, crc32c(bytes, 0, 12));
  putU64(bytes, 16, header.sequence);
  bytes.set(header.salt, 24);
  bytes.set(header.logId, 32);
  putU64(bytes, 40, header.firstBatch);
  putU32(bytes, 48, header.previousChain);
  putU32(bytes, 52, header.previousEnd);
  putU32(bytes, 56, header.capacity);
  putU32(bytes, 60, crc32c(bytes, 0, 60));
  return bytes;
}

/** What is wrong with a header, when it is not one that this version can read. */
export type HeaderProblem = { readonly kind: "damaged" | "newer"; readonly message: string };

export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader | HeaderProblem {
  const damaged = (message: string): HeaderProblem => ({ kind: "damaged", message });
  if (bytes.length < segmentHeaderBytes) return damaged("ends within its header");
  for (let at = 0; at < segmentMagic.length; at++) {
    if (bytes[at] !== segmentMagic[at]) return damaged("does not begin as a segment of the log");
  }
  // The first sixteen bytes keep their meaning in every version.
  if (getU32(bytes, 12) !== crc32c(bytes, 0, 12)) return damaged("its version is damaged");
  const version = getU16(bytes, 8);
  if (version > formatVersion) {
    return {
      kind: "newer",
      message: `has format ${version}, and this version of covey reads up to ${formatVersion}: ` +
        "run the newer covey that wrote it",
    };
  }
  if (version < 1 || getU16(bytes, 10) !== segmentHeaderBytes) {
    return damaged(`has format ${version}, which does not exist`);
  }
  if (getU32(bytes, 60) !== crc32c(bytes, 0, 60)) return damaged("its header is damaged");
  const sequence = getU64(bytes, 16);
  const firstBatch = getU64(bytes, 40);
  if (sequence === undefined || firstBatch === undefined) return damaged("has a number too large");
  return {
    sequence,
    salt: bytes.slice(24, 32),
    logId: bytes.slice(32, 40),
    firstBatch,
    previousChain: getU32(bytes, 48),
    previousEnd: getU32(bytes, 52),
    capacity: version === 1 ? 0 : getU32(bytes, 56),
  };
}

/** The chain's first value in a segment. It depends on all before, through `previousChain`. */
export function chainStart(encodedHeader: Uint8Array): number {
  return getU32(encodedHeader, 60);
}

const namePattern = /^wal-([0-9a-f]{14})\.log$/;
const sparePattern = /^spare-([0-9]{1,15})\.log$/;

export function segmentName(sequence: number): string {
  return `wal-${sequence.toString(16).padStart(14, "0")}.log`;
}

/** The sequence in a segment's name; undefined for other files. */
export function segmentSequence(name: string): number | undefined {
  const match = namePattern.exec(name);
  return match === null ? undefined : Number.parseInt(match[1], 16);
}

export function spareName(number: number): string {
  return `spare-${number}.log`;
}

export function spareNumber(name: string): number | undefined {
  const match = sparePattern.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** Checksums of frames: each begins with the segment's salt and the frame's own place. */
export class FrameSeal {
  readonly #salted: number;
  readonly #place = new Uint8Array(4);

  constructor(encodedHeader: Uint8Array) {
    this.#salted = crc32c(encodedHeader, 24, 32, chainStart(encodedHeader));
  }

  /** Writes the frame at `at` of the array, which is byte `offset` of the segment. */
  write(
    bytes: Uint8Array,
    at: number,
    frame: Frame & { readonly offset: number },
    type: FrameType = RecordType.batchFrame,
  ): number {
    putU24(bytes, at + 4, frameBodyBytes);
    bytes[at + 7] = type;
    bytes[at + 8] = recordVersion;
    putU48(bytes, at + 9, frame.batch);
    putU32(bytes, at + 15, frame.batchBytes);
    putU32(bytes, at + 19, frame.chain);
    const checksum = this.#checksum(bytes, at, frame.offset);
    putU32(bytes, at, checksum);
    return checksum;
  }

  /** The frame at this byte of the segment; undefined when there is none of this segment. */
  read(
    bytes: Uint8Array,
    at: number,
    type: FrameType = RecordType.batchFrame,
  ): Frame | undefined {
    if (at + frameBytes > bytes.length || getU24(bytes, at + 4) !== frameBodyBytes) {
      return undefined;
    }
    if (bytes[at + 7] !== type) return undefined;
    if (getU32(bytes, at) !== this.#checksum(bytes, at, at)) return undefined;
    return {
      version: bytes[at + 8],
      batch: getU48(bytes, at + recordHeadBytes),
      batchBytes: getU32(bytes, at + 15),
      chain: getU32(bytes, at + 19),
    };
  }

  #checksum(bytes: Uint8Array, at: number, offset: number): number {
    putU32(this.#place, 0, offset);
    return crc32c(bytes, at + 4, at + frameBytes, crc32c(this.#place, 0, 4, this.#salted));
  }
}

type FrameType = typeof RecordType.batchFrame | typeof RecordType.endFrame;

export interface Frame {
  readonly version?: number;
  readonly batch: number;
  /** Of its records, without the frame. */
  readonly batchBytes: number;
  /** The chain's value before the frame. */
  readonly chain: number;
}
