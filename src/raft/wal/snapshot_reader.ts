/** A snapshot that is read back. Each chunk is checked when it is read. */
import type { Disk, DiskFile } from "../../runtime/port.ts";
import { equalBytes } from "../../base/bytes.ts";
import { crc32c } from "../../base/crc32c.ts";
import { LogError } from "./error.ts";
import { orClose } from "./or_close.ts";
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

/** One read of the disk, of whole chunks: as much as is restored in one turn. */
const windowBytes = 256 << 10;

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
  /** Of a chunk with its head. */
  readonly #stride: number;
  /** Chunks that follow each other, the first of which is this one. */
  readonly #window: Uint8Array;
  #windowFirst = 0;
  #windowLength = 0;

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
    this.#stride = chunkHeadBytes + header.chunkBytes;
    this.#window = new Uint8Array(
      Math.max(1, Math.floor(windowBytes / this.#stride)) * this.#stride,
    );
  }

  /** Opens and checks everything. Rejects with a {@link LogError} that says where it is damaged. */
  static async open(disk: Disk, path: string, logId: Uint8Array): Promise<SnapshotReader> {
    const reader = await SnapshotReader.begin(disk, path, logId);
    await orClose(reader.#file, () => reader.#check());
    return reader;
  }

  /** Opens; only whoever reads all of it knows that it is whole. */
  static async begin(disk: Disk, path: string, logId: Uint8Array): Promise<SnapshotReader> {
    const file = await disk.open(path, { read: true });
    return await orClose(file, async () => {
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
      reader.#checkSize(size);
      return reader;
    });
  }

  /**
   * The content from `offset` to the end of the chunk that it is in; empty at the end. Valid until
   * the next call, and one call at a time.
   */
  async read(offset: number): Promise<Uint8Array> {
    const { chunkBytes, group } = this.header;
    if (offset >= this.source.bytes) return this.#window.subarray(0, 0);
    const number = Math.floor(offset / chunkBytes);
    const position = this.#headerBytes + number * this.#stride;
    const at = (number - this.#windowFirst) * this.#stride;
    const isThere = at >= 0 && at < this.#windowLength;
    if (!isThere) await this.#fill(number, position);
    const start = isThere ? at : 0;
    const chunk = this.#window.subarray(
      start,
      Math.min(start + this.#stride, this.#windowLength),
    );
    const expected = Math.min(chunkBytes, this.source.bytes - number * chunkBytes);
    if (this.#seal.readHead(chunk, number) !== expected) {
      throw new LogError("damaged", { file: this.path, offset: position, group }, "is damaged");
    }
    return chunk.subarray(chunkHeadBytes + offset % chunkBytes, chunkHeadBytes + expected);
  }

  async #fill(number: number, position: number): Promise<void> {
    this.#windowLength = 0;
    this.#windowLength = await this.#file.read(this.#window, position);
    this.#windowFirst = number;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  #checkSize(size: number): void {
    const { bytes } = this.source;
    const chunks = Math.ceil(bytes / this.header.chunkBytes);
    const { group } = this.header;
    if (size === this.#headerBytes + chunks * chunkHeadBytes + bytes + trailerBytes) return;
    throw new LogError("damaged", { file: this.path, group }, `has ${size} bytes, which is wrong`);
  }

  async #check(): Promise<void> {
    const { bytes, checksum } = this.source;
    const { group } = this.header;
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
