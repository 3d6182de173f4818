/**
 * Brings what must not be forgotten to the disk: one write at a time, and of what piled up meanwhile
 * only the newest. A disk that does not take it is tried again; until then nothing is told.
 */
import type { Logger } from "../base/log.ts";
import type { Clock, Disk } from "../runtime/port.ts";
import { type MembershipRecord, writeRecord } from "./record.ts";

/** Between two tries to write what the disk did not take. */
const againMs = 1_000;

export interface RecordWriterParts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Undefined: nothing is kept. */
  readonly storage: { readonly disk: Disk; readonly directory: string } | undefined;
}

interface Write {
  readonly record: MembershipRecord;
  readonly written: () => void;
}

export class RecordWriter {
  readonly #parts: RecordWriterParts;
  #next: Write | undefined = undefined;
  #writing: Promise<void> | undefined = undefined;
  #isClosed = false;
  #isFailing = false;

  constructor(parts: RecordWriterParts) {
    this.#parts = parts;
  }

  /** `written` is called once this record, or one that came after it, is durable. */
  write(record: MembershipRecord, written: () => void): void {
    this.#next = { record, written };
    this.#writing ??= this.#writeAll().finally(() => this.#writing = undefined);
  }

  /** Resolves when nothing is on its way to the disk any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#writing;
  }

  async #writeAll(): Promise<void> {
    for (let next = this.#next; next !== undefined && !this.#isClosed; next = this.#next) {
      this.#next = undefined;
      if (await this.#isWritten(next.record)) next.written();
      else this.#next ??= next;
    }
  }

  async #isWritten(record: MembershipRecord): Promise<boolean> {
    const { storage, logger, clock } = this.#parts;
    // Nobody is told before the turn is over, whether there is a disk or not.
    if (storage === undefined) return await Promise.resolve(true);
    try {
      await writeRecord(storage.disk, storage.directory, record);
      this.#isFailing = false;
      return true;
    } catch (cause) {
      if (!this.#isFailing) {
        logger.error("the membership cannot be written: until it can, this node decides nothing", {
          cause,
        });
      }
      this.#isFailing = true;
      await new Promise<void>((resolve) => void clock.timer(againMs, resolve, undefined));
      return false;
    }
  }
}
