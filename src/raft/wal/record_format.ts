/**
 * The numbers of the log's format. The bytes are described in docs/reference/raft_log.md; golden
 * files under test/golden/raft_log hold those of each version for ever.
 * Integers of fixed width are little-endian; a varint has seven bits a byte, the lowest first, the
 * eighth bit set on all but the last byte, and is at most 2^53 - 1.
 */

/** Of a segment's header: version 1 did not say how long the file is. */
export const formatVersion = 2;
export const recordVersion = 1;

/** "COVEYWAL". */
export const segmentMagic: readonly number[] = [0x43, 0x4f, 0x56, 0x45, 0x59, 0x57, 0x41, 0x4c];
export const segmentHeaderBytes = 64;

/** Checksum u32, body length u24, type u8, version u8. */
export const recordHeadBytes = 9;
/** Largest body: the length has 24 bits. */
export const recordBodyBytesMax = 0xffffff;
/** Sequence u48, bytes of the batch before the frame u32, checksum of the last record u32. */
export const frameBodyBytes = 14;
export const frameBytes: number = recordHeadBytes + frameBodyBytes;

/** 0 is no type, so that a run of zeros is no record. */
export const RecordType = {
  entries: 1,
  hardState: 2,
  truncation: 3,
  snapshotMark: 4,
  groupCreated: 5,
  groupRemoved: 6,
  checkpoint: 7,
  /** Closes a batch. A byte that is rare in text and in small numbers: recovery searches for it. */
  batchFrame: 0xb7,
  /** Behind the last batch of a segment: the next segment is durable, and the log goes on there. */
  endFrame: 0xb8,
} as const;
export type RecordType = (typeof RecordType)[keyof typeof RecordType];

/** In a snapshot mark: whether the log behind the mark is void, too. */
export const markReplacesLog = 1;

/** What a disk writes whole or not at all, at least. */
export const sectorBytes = 512;
/** One entry's data. A record holds the largest one with room to spare. */
export const entryBytesMax: number = 8 << 20;
/** A record of entries that has grown to this is closed and another one begun. */
export const entriesRecordBytes: number = 256 << 10;
