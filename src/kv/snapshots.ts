/** Snapshots of the machine for operators: begun between two entries, few at a time, not for ever. */
import { Code, CoveyError } from "../base/error.ts";
import type { KvParts } from "./kv_parts.ts";
import type { KvSnapshot } from "./core/snapshot.ts";
import type { Timer } from "../runtime/port.ts";

/** A snapshot that is being read. */
export class OpenSnapshot {
  readonly index: number;
  readonly term: number;
  readonly revision: number;
  readonly #source: KvSnapshot;
  readonly #closed: () => void;
  readonly #limitMs: number;
  #timer: Timer | undefined;
  #expired = false;

  constructor(parts: KvParts, closed: () => void) {
    this.#source = parts.machine.snapshot({
      pinnedBytesMax: parts.settings.snapshotPinnedBytesMax,
    });
    this.index = this.#source.index;
    this.term = this.#source.term;
    this.revision = parts.machine.revision;
    this.#closed = closed;
    this.#limitMs = parts.settings.snapshotMs;
    this.#timer = parts.clock.timer(this.#limitMs, expire, this);
  }

  /** The next piece; undefined at the end. Throws when it took too long. */
  next(bytesWanted: number): Uint8Array | undefined {
    if (this.#expired) {
      throw new CoveyError(
        Code.deadlineExceeded,
        `the snapshot was not read within ${this.#limitMs} ms: old state cannot be kept for longer`,
      );
    }
    return this.#source.next(bytesWanted);
  }

  close(): void {
    if (this.#timer === undefined) return;
    this.#timer.cancel();
    this.#timer = undefined;
    this.#source.close();
    this.#closed();
  }

  /** Public only for the timer. */
  expire(): void {
    this.#expired = true;
    this.close();
  }
}

export class Snapshots {
  readonly #parts: KvParts;
  #open = 0;
  #waiting: ((error?: CoveyError) => void)[] = [];

  constructor(parts: KvParts) {
    this.#parts = parts;
  }

  /** Between this entry and the next one, at the latest when the machine is whole again. */
  open(): Promise<OpenSnapshot> {
    this.#parts.assertReplayed();
    const { snapshotsMax } = this.#parts.settings;
    if (this.#open >= snapshotsMax) {
      const message = `${snapshotsMax} snapshots are being read already: try again later`;
      return Promise.reject(new CoveyError(Code.resourceExhausted, message));
    }
    this.#open++;
    return new Promise((resolve, reject) => {
      const begin = (error?: CoveyError): void => {
        if (error === undefined) {
          resolve(new OpenSnapshot(this.#parts, () => this.#open--));
        } else {
          this.#open--;
          reject(error);
        }
      };
      const { applying, restoring } = this.#parts.machine;
      if (applying || restoring) this.#waiting.push(begin);
      else begin();
    });
  }

  /** The machine is between two entries. */
  idle(): void {
    if (this.#waiting.length === 0) return;
    for (const begin of this.#waiting.splice(0)) begin();
  }

  stop(error: CoveyError): void {
    for (const begin of this.#waiting.splice(0)) begin(error);
  }
}

function expire(snapshot: OpenSnapshot): void {
  snapshot.expire();
}
