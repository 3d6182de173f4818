/**
 * The bytes of a snapshot's file, version 1 (docs/reference/raft_log.md): a header, the content in
 * chunks of one size with a checksum each, and a trailer with length and checksum of the whole. A
 * chunk's checksum covers the header's and its own number, so that each can be checked alone and
 * none can stand in for another.
 */
import { decodeConfiguration, encodeConfiguration } from "../core/configuration_codec.ts";
import type { LogIndex, SnapshotMeta, Term } from "../core/types.ts";
import { crc32c } from "../../base/crc32c.ts";
import { getU16, getU32, getU64, putU16, putU32, putU64 } from "./record_bytes.ts";
import type { HeaderProblem } from "./segment.ts";

/** "COVEYSNP". */
const snapshotMagic: readonly number[] = [0x43, 0x4f, 0x56, 0x45, 0x59, 0x53, 0x4e, 0x50];
const snapshotVersion = 1;
/** Before the configuration. */
export const fixedHeaderBytes = 68;
/** More than any configuration takes. */
export const configurationBytesMax: number = 1 << 20;
/** Checksum u32 and length u32 in front of each chunk. */
export const chunkHeadBytes = 8;
/** Length u64, checksum of the content u32, checksum of the trailer u32. */
export const trailerBytes = 16;
/** Content in one chunk; only the last is shorter. */
export const chunkBytesDefault: number = 64 << 10;
export const chunkBytesMax: number = 4 << 20;

/** What the sender says of a snapshot's content, so that a transfer can be taken up again. */
export interface SnapshotSource {
  readonly bytes: number;
  /** CRC-32C of the whole content. */
  readonly checksum: number;
}

export interface SnapshotHeader {
  readonly group: number;
  readonly meta: SnapshotMeta;
  readonly logId: Uint8Array;
  /** Zeros for a snapshot that was made here. */
  readonly source: SnapshotSource;
  readonly chunkBytes: number;
}

export function encodeSnapshotHeader(header: SnapshotHeader): Uint8Array {
  const configuration = encodeConfiguration(header.meta.configuration);
  const bytes = new Uint8Array(fixedHeaderBytes + configuration.length + 4);
  bytes.set(snapshotMagic);
  putU16(bytes, 8, snapshotVersion);
  putU16(bytes, 10, fixedHeaderBytes);
  putU32(bytes, 12, crc32c(bytes, 0, 12));
  putU64(bytes, 16, header.group);
  putU64(bytes, 24, header.meta.index);
  putU64(bytes, 32, header.meta.term);
  bytes.set(header.logId, 40);
  putU64(bytes, 48, header.source.bytes);
  putU32(bytes, 56, header.source.checksum);
  putU32(bytes, 60, header.chunkBytes);
  putU32(bytes, 64, configuration.length);
  bytes.set(configuration, fixedHeaderBytes);
  putU32(bytes, bytes.length - 4, crc32c(bytes, 0, bytes.length - 4));
  return bytes;
}

/** Length of the whole header, when its fixed part is one of this version. */
export function snapshotHeaderBytes(bytes: Uint8Array): number | HeaderProblem {
  const damaged = (message: string): HeaderProblem => ({ kind: "damaged", message });
  if (bytes.length < fixedHeaderBytes) return damaged("ends within its header");
  for (let at = 0; at < snapshotMagic.length; at++) {
    if (bytes[at] !== snapshotMagic[at]) return damaged("does not begin as a snapshot");
  }
  if (getU32(bytes, 12) !== crc32c(bytes, 0, 12)) return damaged("its version is damaged");
  const version = getU16(bytes, 8);
  if (version > snapshotVersion) {
    return {
      kind: "newer",
      message: `has format ${version}, and this version of covey reads up to ` +
        `${snapshotVersion}: run the newer covey that wrote it`,
    };
  }
  const length = getU32(bytes, 64);
  if (
    version !== snapshotVersion || getU16(bytes, 10) !== fixedHeaderBytes ||
    length > configurationBytesMax
  ) {
    return damaged("its header is damaged");
  }
  return fixedHeaderBytes + length + 4;
}

/** `bytes` is the whole header. */
export function decodeSnapshotHeader(bytes: Uint8Array): SnapshotHeader | HeaderProblem {
  const end = bytes.length - 4;
  const damaged: HeaderProblem = { kind: "damaged", message: "its header is damaged" };
  if (getU32(bytes, end) !== crc32c(bytes, 0, end)) return damaged;
  const group = getU64(bytes, 16);
  const index = getU64(bytes, 24);
  const term = getU64(bytes, 32);
  const sourceBytes = getU64(bytes, 48);
  const chunkBytes = getU32(bytes, 60);
  const configuration = decodeConfiguration(bytes.slice(fixedHeaderBytes, end));
  if (
    group === undefined || index === undefined || term === undefined ||
    sourceBytes === undefined || configuration === undefined ||
    chunkBytes < 1 || chunkBytes > chunkBytesMax
  ) {
    return damaged;
  }
  return {
    group,
    meta: { index: index as LogIndex, term: term as Term, configuration },
    logId: bytes.slice(40, 48),
    source: { bytes: sourceBytes, checksum: getU32(bytes, 56) },
    chunkBytes,
  };
}

/** Checksums of the chunks and the trailer of one file. */
export class ChunkSeal {
  readonly #header: number;
  readonly #number = new Uint8Array(4);

  constructor(encodedHeader: Uint8Array) {
    this.#header = getU32(encodedHeader, encodedHeader.length - 4);
  }

  /** Fills in the head of the chunk at the array's beginning. */
  writeHead(chunk: Uint8Array, number: number, length: number): void {
    putU32(chunk, 4, length);
    putU32(chunk, 0, this.#checksum(chunk, number, length));
  }

  /** Length of the content in this chunk; undefined when it is damaged. */
  readHead(chunk: Uint8Array, number: number): number | undefined {
    if (chunk.length < chunkHeadBytes) return undefined;
    const length = getU32(chunk, 4);
    if (length === 0 || length > chunk.length - chunkHeadBytes) return undefined;
    return getU32(chunk, 0) === this.#checksum(chunk, number, length) ? length : undefined;
  }

  trailer(bytes: number, checksum: number): Uint8Array {
    const trailer = new Uint8Array(trailerBytes);
    putU64(trailer, 0, bytes);
    putU32(trailer, 8, checksum);
    putU32(trailer, 12, crc32c(trailer, 0, 12, this.#header));
    return trailer;
  }

  /** Undefined when it is damaged. */
  readTrailer(trailer: Uint8Array): SnapshotSource | undefined {
    const bytes = getU64(trailer, 0);
    const right = getU32(trailer, 12) === crc32c(trailer, 0, 12, this.#header);
    return right && bytes !== undefined ? { bytes, checksum: getU32(trailer, 8) } : undefined;
  }

  #checksum(chunk: Uint8Array, number: number, length: number): number {
    putU32(this.#number, 0, number);
    return crc32c(chunk, 4, chunkHeadBytes + length, crc32c(this.#number, 0, 4, this.#header));
  }
}

const namePattern = /^snapshot-([0-9a-f]{14})-([0-9a-f]{14})-([0-9a-f]{14})\.(snap|part)$/;

export interface SnapshotName {
  readonly group: number;
  readonly index: number;
  readonly term: number;
  /** Not finished: being made, or on its way here. */
  readonly partial: boolean;
}

export function snapshotName({ group, index, term, partial }: SnapshotName): string {
  const [a, b, c] = [group, index, term].map((one) => one.toString(16).padStart(14, "0"));
  return `snapshot-${a}-${b}-${c}.${partial ? "part" : "snap"}`;
}

export function parseSnapshotName(name: string): SnapshotName | undefined {
  const match = namePattern.exec(name);
  if (match === null) return undefined;
  const [group, index, term] = match.slice(1, 4).map((one) => Number.parseInt(one, 16));
  return { group, index, term, partial: match[4] === "part" };
}
