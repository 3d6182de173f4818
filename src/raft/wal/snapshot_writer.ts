/** A snapshot on its way to the disk, from the machine here or from the leader. */
import { assert } from "../../base/assert.ts";
import type { DiskFile } from "../../runtime/port.ts";
import { crc32c } from "../../base/crc32c.ts";
import { LogError } from "./error.ts";
import {
  chunkHeadBytes,
  ChunkSeal,
  encodeSnapshotHeader,
  type SnapshotHeader,
  trailerBytes,
} from "./snapshot_format.ts";
import { readChunk } from "./snapshot_reader.ts";

/** A sync after so many bytes, so that the log's own never waits for many of them. */
const syncBytes = 256 << 10;

export interface SnapshotFinish {
  readonly bytes: number;
  readonly checksum: number;
}

export class SnapshotWriter {
  readonly header: SnapshotHeader;
  readonly path: string;
  readonly #file: DiskFile;
  readonly #seal: ChunkSeal;
  readonly #headerBytes: number;
  readonly #chunk: Uint8Array;
  readonly #finished: (writer: SnapshotWriter) => Promise<void>;
  readonly #abandoned: (writer: SnapshotWriter) => Promise<void>;
  readonly #closed: () => void;
  /** Content in the chunk that is being filled. */
  #filled = 0;
  #chunks = 0;
  #checksum = 0;
  #unsynced = 0;
  #open = true;
  /** A sync failed: the pages look clean, and no later sync would write them. */
  #isSpoiled = false;

  /** Use `SnapshotStore.create` and `SnapshotStore.receive`. */
  constructor(
    { path, file }: { readonly path: string; readonly file: DiskFile },
    header: SnapshotHeader,
    ends: {
      readonly finished: (writer: SnapshotWriter) => Promise<void>;
      readonly abandoned: (writer: SnapshotWriter) => Promise<void>;
      /** Nothing is done with the file any more; after the two others. */
      readonly closed: () => void;
    },
  ) {
    this.header = header;
    this.path = path;
    this.#file = file;
    const encoded = encodeSnapshotHeader(header);
    this.#seal = new ChunkSeal(encoded);
    this.#headerBytes = encoded.length;
    this.#chunk = new Uint8Array(chunkHeadBytes + header.chunkBytes);
    this.#finished = ends.finished;
    this.#abandoned = ends.abandoned;
    this.#closed = ends.closed;
  }

  /** Bytes of the content that are there: where the sender is to go on. */
  get offset(): number {
    return this.#chunks * this.header.chunkBytes + this.#filled;
  }

  get #position(): number {
    return this.#headerBytes + this.#chunks * this.#chunk.length;
  }

  /** A file that is empty gets its header. */
  async begin(): Promise<void> {
    await this.#file.truncate(0);
    await this.#file.write(encodeSnapshotHeader(this.header), 0);
  }

  /** Takes up the whole chunks that are in the file already. */
  async resume(): Promise<void> {
    for (;;) {
      const length = await readChunk(this.#file, this.#seal, {
        chunk: this.#chunk,
        position: this.#position,
        number: this.#chunks,
      });
      if (length !== this.header.chunkBytes) break;
      this.#checksum = crc32c(this.#chunk, chunkHeadBytes, chunkHeadBytes + length, this.#checksum);
      this.#chunks++;
    }
    await this.#file.truncate(this.#position);
  }

  /** Adds content. One call at a time; the array may be reused when it resolves. */
  async write(content: Uint8Array): Promise<void> {
    assert(this.#open, "a snapshot that has ended takes no more");
    for (let at = 0; at < content.length;) {
      const room = this.header.chunkBytes - this.#filled;
      const part = content.subarray(at, at + room);
      this.#chunk.set(part, chunkHeadBytes + this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === this.header.chunkBytes) await this.#flush();
    }
  }

  /**
   * The content is complete: when this resolves, the snapshot is durable under its name. Rejects
   * when it is not what the sender announced; then nothing of it is kept.
   */
  async commit(): Promise<SnapshotFinish> {
    const bytes = this.offset;
    const length = this.#filled;
    if (length > 0) await this.#flush();
    const { source } = this.header;
    const announced = source.bytes !== 0 || source.checksum !== 0;
    if (announced && (source.bytes !== bytes || source.checksum !== this.#checksum)) {
      const { group } = this.header;
      await this.abandon();
      throw new LogError(
        "damaged",
        { file: this.path, group },
        `${bytes} bytes came whose checksum is not that of the ${source.bytes} announced`,
      );
    }
    const end = this.#position - (length > 0 ? this.header.chunkBytes - length : 0);
    await this.#file.write(this.#seal.trailer(bytes, this.#checksum), end);
    await this.#file.truncate(end + trailerBytes);
    await this.#sync();
    await this.#file.close();
    this.#open = false;
    try {
      await this.#finished(this);
    } finally {
      this.#closed();
    }
    return { bytes, checksum: this.#checksum };
  }

  /** Stops; what came so far stays, so that a later transfer of the same may go on, if it can. */
  async suspend(): Promise<void> {
    await this.#stop(this.#isSpoiled);
  }

  /** Stops and removes what is there. */
  async abandon(): Promise<void> {
    await this.#stop(true);
  }

  async #stop(removes: boolean): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    try {
      await this.#file.close();
    } finally {
      try {
        if (removes) await this.#abandoned(this);
      } finally {
        this.#closed();
      }
    }
  }

  async #sync(): Promise<void> {
    try {
      await this.#file.sync();
    } catch (error) {
      this.#isSpoiled = true;
      throw error;
    }
  }

  async #flush(): Promise<void> {
    const length = this.#filled;
    this.#seal.writeHead(this.#chunk, this.#chunks, length);
    const end = chunkHeadBytes + length;
    await this.#file.write(this.#chunk.subarray(0, end), this.#position);
    this.#checksum = crc32c(this.#chunk, chunkHeadBytes, end, this.#checksum);
    this.#chunks++;
    this.#filled = 0;
    this.#unsynced += end;
    if (this.#unsynced < syncBytes) return;
    this.#unsynced = 0;
    await this.#sync();
  }
}
