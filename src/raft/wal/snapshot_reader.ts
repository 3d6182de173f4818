/** A snapshot that was checked as a whole; each chunk is checked again when it is read. */
import type { Disk, DiskFile } from "../../runtime/port.ts";
import { equalBytes } from "../../base/bytes.ts";
import { crc32c } from "../../base/crc32c.ts";
import { LogError } from "./error.ts";
import {
  chunkHeadBytes,
  ChunkSeal,
  decodeSnapshotHeader,
  encodeSnapshotHeader,
  fixedHeaderBytes,
  type SnapshotHeader,
  snapshotHeaderBytes,
  type SnapshotSource,
  trailerBytes,
} from "./snapshot_format.ts";

export interface ChunkPlace {
  /** Room for a head and the largest content. */
  readonly chunk: Uint8Array;
  readonly position: number;
  readonly number: number;
}

/** Length of the content that is now in the array; undefined when the chunk is damaged or missing. */
export async function readChunk(
  file: DiskFile,
  seal: ChunkSeal,
  { chunk, position, number }: ChunkPlace,
): Promise<number | undefined> {
  const read = await file.read(chunk, position);
  return seal.readHead(chunk.subarray(0, read), number);
}

/** The header of an open file. Throws a {@link LogError}. */
export async function readSnapshotHeader(file: DiskFile, path: string): Promise<SnapshotHeader> {
  const start = new Uint8Array(fixedHeaderBytes);
  const read = await file.read(start, 0);
  const length = snapshotHeaderBytes(start.subarray(0, read));
  if (typeof length !== "number") throw new LogError(length.kind, { file: path }, length.message);
  const whole = new Uint8Array(length);
  const header = await file.read(whole, 0) === length
    ? decodeSnapshotHeader(whole)
    : { kind: "damaged" as const, message: "ends within its header" };
  if ("kind" in header) throw new LogError(header.kind, { file: path, offset: 0 }, header.message);
  return header;
}

export class SnapshotReader {
  readonly header: SnapshotHeader;
  readonly path: string;
  /** Length and checksum of the content, to be announced to whoever gets it. */
  readonly source: SnapshotSource;
  readonly #file: DiskFile;
  readonly #seal: ChunkSeal;
  readonly #headerBytes: number;
  readonly #chunk: Uint8Array;

  private constructor(
    { path, file }: { readonly path: string; readonly file: DiskFile },
    header: SnapshotHeader,
    source: SnapshotSource,
  ) {
    this.header = header;
    this.path = path;
    this.source = source;
    this.#file = file;
    const encoded = encodeSnapshotHeader(header);
    this.#seal = new ChunkSeal(encoded);
    this.#headerBytes = encoded.length;
    this.#chunk = new Uint8Array(chunkHeadBytes + header.chunkBytes);
  }

  /** Opens and checks everything. Rejects with a {@link LogError} that says where it is damaged. */
  static async open(disk: Disk, path: string, logId: Uint8Array): Promise<SnapshotReader> {
    const file = await disk.open(path, { read: true });
    try {
      const header = await readSnapshotHeader(file, path);
      if (!equalBytes(header.logId, logId)) {
        throw new LogError(
          "foreign",
          { file: path, group: header.group },
          "belongs to another log",
        );
      }
      const trailer = new Uint8Array(trailerBytes);
      const size = await file.size();
      await file.read(trailer, Math.max(0, size - trailerBytes));
      const source = new ChunkSeal(encodeSnapshotHeader(header)).readTrailer(trailer);
      if (source === undefined) {
        throw new LogError(
          "damaged",
          { file: path, offset: Math.max(0, size - trailerBytes), group: header.group },
          "its end is damaged or missing",
        );
      }
      const reader = new SnapshotReader({ path, file }, header, source);
      await reader.#check(size);
      return reader;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /**
   * The content from `offset` to the end of the chunk that it is in; empty at the end. Valid until
   * the next call, and one call at a time.
   */
  async read(offset: number): Promise<Uint8Array> {
    const { chunkBytes, group } = this.header;
    if (offset >= this.source.bytes) return this.#chunk.subarray(0, 0);
    const number = Math.floor(offset / chunkBytes);
    const position = this.#headerBytes + number * this.#chunk.length;
    const length = await readChunk(this.#file, this.#seal, {
      chunk: this.#chunk,
      position,
      number,
    });
    const expected = Math.min(chunkBytes, this.source.bytes - number * chunkBytes);
    if (length !== expected) {
      throw new LogError("damaged", { file: this.path, offset: position, group }, "is damaged");
    }
    return this.#chunk.subarray(chunkHeadBytes + offset % chunkBytes, chunkHeadBytes + length);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #check(size: number): Promise<void> {
    const { bytes, checksum } = this.source;
    const chunks = Math.ceil(bytes / this.header.chunkBytes);
    const { group } = this.header;
    if (size !== this.#headerBytes + chunks * chunkHeadBytes + bytes + trailerBytes) {
      throw new LogError(
        "damaged",
        { file: this.path, group },
        `has ${size} bytes, which is wrong`,
      );
    }
    let found = 0;
    for (let offset = 0; offset < bytes;) {
      const content = await this.read(offset);
      found = crc32c(content, 0, content.length, found);
      offset += content.length;
    }
    if (found !== checksum) {
      throw new LogError("damaged", { file: this.path, group }, "its checksum is wrong");
    }
  }
}
