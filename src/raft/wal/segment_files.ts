/**
 * The files of the log's folder: segments in use, and spares that wait to be used again. A file
 * gets a segment's name only when its header and first batch are durable in it, and every change of
 * a name is made durable before anything relies on it.
 */
import { type Disk, DiskError, type DiskFile } from "../../runtime/port.ts";
import { orClose } from "./or_close.ts";
import { segmentName, segmentSequence, spareName, spareNumber } from "./segment.ts";

/** Zeros are synced after so many, so that no batch waits for many of them. */
const zerosBytes = 256 << 10;
/**
 * They are written page by page: the kernel's cache takes a large write as one large folio, of which
 * a later small batch then makes all dirty (ext4 on Linux 6.18: 256 KiB are accounted to a batch of
 * 300 bytes, and its sync takes a fifth longer).
 */
const pageBytes = 4 << 10;

export interface SegmentFilesOptions {
  readonly directory: string;
  /** Length of a new file. */
  readonly segmentBytes: number;
  /** Spares beyond this are removed. */
  readonly sparesMax: number;
}

interface Spare {
  readonly name: string;
  /** Found at the start: whoever made it may have been killed before its length was durable. */
  readonly isFound: boolean;
}

export class SegmentFiles {
  readonly directory: string;
  readonly #disk: Disk;
  readonly #options: SegmentFilesOptions;
  readonly #spares: Spare[] = [];
  #nextSpare = 1;

  constructor(disk: Disk, options: SegmentFilesOptions) {
    this.#disk = disk;
    this.#options = options;
    this.directory = options.directory;
  }

  get spares(): number {
    return this.#spares.length;
  }

  path(name: string): string {
    return `${this.directory}/${name}`;
  }

  segmentPath(sequence: number): string {
    return this.path(segmentName(sequence));
  }

  /** Sequences of the segments, ascending; spares are taken in, useless ones removed. */
  async list(): Promise<number[]> {
    const sequences: number[] = [];
    for (const name of await this.#disk.list(this.directory)) {
      const sequence = segmentSequence(name);
      if (sequence !== undefined) sequences.push(sequence);
      const number = spareNumber(name);
      if (number === undefined) continue;
      this.#nextSpare = Math.max(this.#nextSpare, number + 1);
      const { sizeBytes } = await this.#disk.stat(this.path(name));
      // One that a crash interrupted, or of another size than the configuration says now.
      if (sizeBytes !== this.#options.segmentBytes) await this.#disk.remove(this.path(name));
      else this.#spares.push({ name, isFound: true });
    }
    return sequences.sort((a, b) => a - b);
  }

  /** A file of zeros that nobody uses yet, durable with its name. Throws `full`. */
  async addSpare(): Promise<void> {
    const name = await this.#makeZeros(this.#options.segmentBytes);
    this.#spares.push({ name, isFound: false });
  }

  /** A spare, opened as durable; a new one when none is there or it must be larger. */
  async take(bytes: number): Promise<{ name: string; file: DiskFile; capacity: number }> {
    const { segmentBytes } = this.#options;
    const spare = bytes <= segmentBytes ? this.#spares.shift() : undefined;
    const capacity = Math.max(bytes, segmentBytes);
    const name = spare?.name ?? await this.#makeZeros(capacity);
    const options = { read: true, write: true, durable: true };
    const file = await this.#disk.open(this.path(name), options);
    if (spare?.isFound === true) await orClose(file, () => file.sync());
    return { name, file, capacity };
  }

  /** Makes a taken spare a segment, durably. */
  async publish(name: string, sequence: number): Promise<void> {
    await this.#disk.rename(this.path(name), this.segmentPath(sequence));
    await this.#disk.syncDirectory(this.directory);
  }

  /** Nothing needs this segment any more. Durable when this resolves. */
  async release(sequence: number): Promise<void> {
    const path = this.segmentPath(sequence);
    const { sizeBytes } = await this.#disk.stat(path);
    const keep = this.#spares.length < this.#options.sparesMax &&
      sizeBytes === this.#options.segmentBytes;
    const name = spareName(this.#nextSpare++);
    if (keep) await this.#disk.rename(path, this.path(name));
    else await this.#disk.remove(path);
    await this.#disk.syncDirectory(this.directory);
    if (keep) this.#spares.push({ name, isFound: false });
  }

  async #makeZeros(bytes: number): Promise<string> {
    const name = spareName(this.#nextSpare++);
    const path = this.path(name);
    const file = await this.#disk.open(path, { write: true, create: true, truncate: true });
    try {
      await orClose(file, () => writeZeros(file, bytes));
    } catch (error) {
      if (error instanceof DiskError && error.kind === "full") await this.#disk.remove(path);
      throw error;
    }
    await file.close();
    await this.#disk.syncDirectory(this.directory);
    return name;
  }
}

async function writeZeros(file: DiskFile, bytes: number): Promise<void> {
  const zeros = new Uint8Array(Math.min(pageBytes, bytes));
  for (let at = 0, unsynced = 0; at < bytes; at += zeros.length) {
    await file.write(zeros.subarray(0, Math.min(zeros.length, bytes - at)), at);
    unsynced += zeros.length;
    if (unsynced < zerosBytes && at + zeros.length < bytes) continue;
    unsynced = 0;
    await file.sync();
  }
}
