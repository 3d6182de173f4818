/**
 * Counts a group's log by bytes: how much came since the last snapshot, and from which entry on the
 * newest so many bytes are, which stay in memory for followers that are a little behind.
 */
import type { Entry, LogIndex } from "./core/types.ts";

/** Bytes between two marks: fine enough, and few marks. */
const markBytes = 64 << 10;
/** What an entry takes beside its data. */
const entryOverheadBytes = 24;

interface Mark {
  readonly index: number;
  readonly bytes: number;
}

export class CatchUp {
  readonly #keepBytes: number;
  /** All bytes ever appended here. */
  #bytes = 0;
  #marks: Mark[] = [];
  /** Of entries that were applied since the last snapshot. */
  #sinceSnapshot = 0;

  constructor(keepBytes: number, entries: readonly Entry[]) {
    this.#keepBytes = keepBytes;
    this.appended(entries);
  }

  /** Bytes of the entries that were applied since the last snapshot. */
  get sinceSnapshotBytes(): number {
    return this.#sinceSnapshot;
  }

  appended(entries: readonly Entry[]): void {
    for (const { index, data } of entries) {
      // An overwritten suffix begins anew.
      while (this.#marks.length > 0 && this.#marks[this.#marks.length - 1].index >= index) {
        this.#marks.pop();
      }
      this.#bytes += data.length + entryOverheadBytes;
      const last = this.#marks[this.#marks.length - 1];
      if (last === undefined || this.#bytes - last.bytes >= markBytes) {
        this.#marks.push({ index, bytes: this.#bytes });
      }
    }
  }

  applied(entry: Entry): void {
    this.#sinceSnapshot += entry.data.length + entryOverheadBytes;
  }

  /** A snapshot up to `index` is stored: gives up to which entry memory may be given back. */
  snapshotAt(index: LogIndex): LogIndex {
    this.#sinceSnapshot = 0;
    let first = 0;
    while (
      first + 1 < this.#marks.length && this.#bytes - this.#marks[first].bytes > this.#keepBytes
    ) first++;
    this.#marks = this.#marks.slice(first);
    const keep = this.#marks[0]?.index ?? index;
    return Math.min(index, keep) as LogIndex;
  }

  /** A leader's snapshot replaced the log. */
  restored(_index: LogIndex): void {
    this.#sinceSnapshot = 0;
    this.#marks = [];
  }
}
