/**
 * Counts a group's log by bytes: how much came since the last snapshot, and behind which entry the
 * newest so many bytes begin.
 */
import type { Entry, LogIndex } from "./core/types.ts";

/** Marks for so much of the log as is kept: what is forgotten at once is a part of this size. */
const marksPerKept = 16;
const markBytesMin = 256;
const markBytesMax = 256 << 10;
/** What an entry takes beside its data. */
const entryOverheadBytes = 24;

interface Mark {
  readonly index: LogIndex;
  /** Of all entries up to this one. */
  readonly bytes: number;
}

export class CatchUp {
  readonly #markBytes: number;
  /** All bytes ever appended here. */
  #bytes = 0;
  #marks: Mark[] = [];
  /** Of entries that were applied since the last snapshot. */
  #sinceSnapshot = 0;

  /** `keepBytes`: what will be asked for usually; the marks are as fine as that asks. */
  constructor(keepBytes: number, entries: readonly Entry[]) {
    const even = Math.floor(keepBytes / marksPerKept);
    this.#markBytes = Math.min(markBytesMax, Math.max(markBytesMin, even));
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
      if (last === undefined || this.#bytes - last.bytes >= this.#markBytes) {
        this.#marks.push({ index, bytes: this.#bytes });
      }
    }
  }

  applied(entry: Entry): void {
    this.#sinceSnapshot += entry.data.length + entryOverheadBytes;
  }

  snapshotStored(): void {
    this.#sinceSnapshot = 0;
  }

  /** Behind this entry there are `bytes` of log at most, by a mark; 0 while there are not more. */
  behind(bytes: number): LogIndex {
    const least = this.#bytes - bytes;
    if (this.#marks.length === 0 || this.#marks[0].bytes >= least) return 0 as LogIndex;
    let low = 0;
    let high = this.#marks.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#marks[middle].bytes >= least) high = middle;
      else low = middle + 1;
    }
    return this.#marks[low].index;
  }

  /** The log begins behind this entry: nobody asks for what is before it. */
  forgotten(index: LogIndex): void {
    let first = 0;
    while (first + 1 < this.#marks.length && this.#marks[first + 1].index <= index) first++;
    if (first > 0) this.#marks = this.#marks.slice(first);
  }

  /** A leader's snapshot replaced the log. */
  restored(_index: LogIndex): void {
    this.#sinceSnapshot = 0;
    this.#marks = [];
  }
}
