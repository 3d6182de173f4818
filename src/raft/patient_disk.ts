/**
 * A disk for the log and its snapshots that outlasts a shortage of descriptors. An open that fails
 * for want of one changed nothing, so it is tried again until it succeeds, and whoever asked for it
 * waits, everything behind it in order. Whoever floods a listener slows the log; he cannot end it.
 */
import type { Logger } from "../base/log.ts";
import { type Clock, type Disk, DiskError, type Timer } from "../runtime/port.ts";

export interface PatientDiskParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A call begins to wait. */
  readonly waits: () => void;
}

/** Before the second try, and the longest before a later one. */
const firstWaitMs = 5;
const waitMsMax = 500;
/** A shortage is told once a minute at most, however often it comes and goes. */
const tellAgainMs = 60_000;

export class PatientDisk implements Disk {
  // What opens nothing is handed on as it is.
  readonly rename: Disk["rename"];
  readonly remove: Disk["remove"];
  readonly makeDirectory: Disk["makeDirectory"];
  readonly stat: Disk["stat"];
  readonly lock: Disk["lock"];
  readonly freeBytes: Disk["freeBytes"];
  readonly #parts: PatientDiskParts;
  /** Ends the wait of each call that waits: with another try, or with its failure. */
  readonly #waiting = new Set<() => void>();
  #toldMs = -Infinity;
  #hurry: Timer | undefined = undefined;
  #isOver = false;

  constructor(parts: PatientDiskParts) {
    this.#parts = parts;
    const { disk } = parts;
    this.rename = (from, to) => disk.rename(from, to);
    this.remove = (path) => disk.remove(path);
    this.makeDirectory = (path, mode) => disk.makeDirectory(path, mode);
    this.stat = (path) => disk.stat(path);
    this.lock = (path) => disk.lock(path);
    this.freeBytes = (path) => disk.freeBytes(path);
  }

  open: Disk["open"] = (path, options) => this.#try((disk) => disk.open(path, options));

  readFile: Disk["readFile"] = (path, bytesMax) =>
    this.#try((disk) => disk.readFile(path, bytesMax));

  // What a try left behind, a temporary file or a name that is not durable, the next one replaces.
  replaceFile: Disk["replaceFile"] = (path, bytes, mode) =>
    this.#try((disk) => disk.replaceFile(path, bytes, mode));

  removeTree: Disk["removeTree"] = (path) => this.#try((disk) => disk.removeTree(path));

  list: Disk["list"] = (path) => this.#try((disk) => disk.list(path));

  syncDirectory: Disk["syncDirectory"] = (path) => this.#try((disk) => disk.syncDirectory(path));

  /** The node stops: after this long, what still finds no descriptor fails. */
  hurry(limitMs: number): void {
    this.#hurry ??= this.#parts.clock.timer(limitMs, (disk) => disk.#giveUp(), this);
  }

  /** Nothing is asked for any more. */
  close(): void {
    this.#hurry?.cancel();
    this.#giveUp();
  }

  #giveUp(): void {
    this.#isOver = true;
    for (const wake of [...this.#waiting]) wake();
  }

  async #try<T>(work: (disk: Disk) => Promise<T>): Promise<T> {
    for (let waitMs = 0;;) {
      try {
        return await work(this.#parts.disk);
      } catch (error) {
        if (!(error instanceof DiskError) || error.kind !== "limit" || this.#isOver) throw error;
        if (waitMs === 0) this.#tell(error);
        waitMs = Math.min(waitMsMax, waitMs === 0 ? firstWaitMs : waitMs * 2);
        await this.#wait(waitMs);
      }
    }
  }

  #wait(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel();
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = this.#parts.clock.timer(waitMs, wake, undefined);
      this.#waiting.add(wake);
    });
  }

  #tell(error: DiskError): void {
    const { clock, logger, waits } = this.#parts;
    waits();
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#toldMs < tellAgainMs) return;
    this.#toldMs = nowMs;
    logger.warning(
      "the log waits for a free descriptor: close connections, or raise the limit of open files " +
        "(ulimit -n)",
      { why: error.message },
    );
  }
}
