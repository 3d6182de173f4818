/**
 * Stands between a node and its disk: follows what is written to the consensus log and what of it
 * is synced, and counts writes. The node sees the same calls in the same order.
 */
import type { Prng } from "../../../src/base/prng.ts";
import type { Disk, DiskFile } from "../../../src/runtime/port.ts";
import { DurableLog } from "./durable_log.ts";

export interface DiskWatchOptions {
  /** Files below it are the consensus log. */
  readonly logDirectory: string;
  /** A batch has become durable. */
  readonly synced: (log: DurableLog) => void;
  /** A batch is on its way to the disk. */
  readonly writing: () => void;
}

/** What is on one machine's disk; it outlives the machine's processes. */
export class DiskWatch {
  readonly #options: DiskWatchOptions;
  log: DurableLog = new DurableLog();
  /** Calls that changed something, ever. */
  writes = 0;
  /** Is told of each of them, when it is made. */
  wrote: (count: number) => void = () => {};
  /** Written and not synced. */
  #unsynced: Uint8Array[] = [];
  /** The process that writes now; what older ones still do has no meaning. */
  #process = 0;
  /** Before that the log is being read, and what is written is what was there. */
  #open = false;
  /** Where the last batch begins in its segment. */
  #lastBatchAt = 0;
  /** A start writes the last batch that it found once more, before anything else. */
  #rewritten = false;

  constructor(options: DiskWatchOptions) {
    this.#options = options;
  }

  /** A batch was being written when the process ended: it may be there or not. */
  get unsynced(): readonly Uint8Array[] {
    return this.#unsynced;
  }

  /** The log was read back, and is as it was read. */
  opened(log: DurableLog): void {
    this.log = log;
    this.#unsynced = [];
    this.#open = true;
  }

  /**
   * Somewhere in the log or in a snapshot. Not in the last batch: damage there cannot be told from a
   * write that a power loss interrupted.
   */
  placeToDamage(
    paths: readonly string[],
    random: Prng,
  ): { readonly path: string; readonly position: number } | undefined {
    const files = paths.filter((path) => /\/wal-\w+\.log$|\.snap$/.test(path));
    if (files.length === 0) return undefined;
    const newest = files.findLast((path) => path.endsWith(".log"));
    // In the newest segment damage is hardest to tell from a torn tail.
    const path = newest !== undefined && random.chance(0.5) ? newest : random.pick(files);
    const end = path === newest ? this.#lastBatchAt : 4096;
    return end === 0 ? undefined : { path, position: random.below(end) };
  }

  /** The disk as a new process sees it. */
  watch(disk: Disk): Disk {
    const process = ++this.#process;
    this.#open = false;
    this.#rewritten = false;
    const watched: Disk = {
      open: async (path, options) => {
        const file = await disk.open(path, options);
        if (options.write === true) this.#note();
        return path.startsWith(this.#options.logDirectory)
          ? this.#watchLogFile(file, process, options.durable === true)
          : this.#countWrites(file);
      },
      readFile: (path, bytesMax) => disk.readFile(path, bytesMax),
      // Step by step, as the seam has it, so that each is a moment in which something may happen.
      replaceFile: async (path, bytes, mode) => {
        const temporary = `${path}.tmp-${this.writes}`;
        const options = { write: true, create: true, truncate: true, mode };
        const file = await watched.open(temporary, options);
        await file.write(bytes, 0);
        await file.sync();
        await file.close();
        await watched.rename(temporary, path);
        await watched.syncDirectory(path.slice(0, path.lastIndexOf("/")));
      },
      rename: (from, to) => this.#count(() => disk.rename(from, to)),
      remove: (path) => this.#count(() => disk.remove(path)),
      removeTree: (path) => this.#count(() => disk.removeTree(path)),
      list: (path) => disk.list(path),
      makeDirectory: (path, mode) => this.#count(() => disk.makeDirectory(path, mode)),
      stat: (path) => disk.stat(path),
      syncDirectory: (path) => this.#count(() => disk.syncDirectory(path)),
      lock: (path) => disk.lock(path),
      freeBytes: (path) => disk.freeBytes(path),
    };
    return watched;
  }

  #note(): void {
    this.writes++;
    this.wrote(this.writes);
  }

  #count<T>(call: () => T): T {
    this.#note();
    return call();
  }

  #countWrites(file: DiskFile): DiskFile {
    return {
      read: (target, position) => file.read(target, position),
      write: (bytes, position) => this.#count(() => file.write(bytes, position)),
      append: (bytes) => this.#count(() => file.append(bytes)),
      size: () => file.size(),
      truncate: (size) => this.#count(() => file.truncate(size)),
      sync: () => this.#count(() => file.sync()),
      close: () => file.close(),
    };
  }

  /** `durable`: each write is its own sync. */
  #watchLogFile(file: DiskFile, process: number, durable: boolean): DiskFile {
    /** Written to this file since its last sync was called. */
    let written: Uint8Array[] = [];
    const synced = async (call: Promise<void>): Promise<void> => {
      const covered = written;
      written = [];
      await call;
      if (process !== this.#process || !this.#open || covered.length === 0) return;
      this.#unsynced = this.#unsynced.filter((bytes) => !covered.includes(bytes));
      let news = false;
      for (const bytes of covered) if (this.log.apply(bytes)) news = true;
      if (news) this.#options.synced(this.log);
    };
    return {
      ...this.#countWrites(file),
      write: (bytes, position) => {
        this.#note();
        // A header at the front is followed by a checkpoint, which says nothing new.
        if (position > 0 && this.#open && process === this.#process) {
          this.#lastBatchAt = position;
          const copy = bytes.slice();
          written.push(copy);
          this.#unsynced.push(copy);
          this.#options.writing();
        } else if (position > 0 && process === this.#process && !this.#rewritten) {
          this.#rewritten = true;
          this.#lastBatchAt = position;
        }
        const call = file.write(bytes, position);
        return durable ? synced(call) : call;
      },
      sync: () => {
        this.#note();
        return synced(file.sync());
      },
    };
  }
}
