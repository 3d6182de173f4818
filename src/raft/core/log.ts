/**
 * The log in memory: the entries after the last compaction. Indexes go
 *
 *   compacted <= applied <= applying <= committed <= last
 *
 * and `durability.stableIndex` may stand anywhere from compacted up to last: entries that a quorum
 * has are committed, and applied, even if this replica's own disk is behind. The newest snapshot
 * stands anywhere up to applied. Entries behind it may be compacted; it is of no use to a follower
 * then, who would need them next.
 */
import { assert } from "../../base/assert.ts";
import { Durability } from "./durability.ts";
import { PackedEntries, pageEntries } from "./packed_entries.ts";
import type { Entry, HardState, LogIndex, SnapshotMeta, Term } from "./types.ts";

/** What an entry costs beside its data, in every limit that counts bytes. */
export const entryOverheadBytes = 24;

export function entryBytes(entry: Entry): number {
  return entry.data.length + entryOverheadBytes;
}

/** What was read from disk at the start. */
export interface StoredLog {
  readonly hardState: HardState;
  /** The newest; founding.ts makes the first. */
  readonly snapshot: SnapshotMeta;
  /** From the entry after `compacted` on, without a gap. */
  readonly entries: readonly Entry[];
  /** Entries before the first one of `entries`, if they begin before the snapshot's end. */
  readonly compacted?: { readonly index: LogIndex; readonly term: Term };
  /** What the machine has applied already, if it is more than the snapshot. */
  readonly applied?: LogIndex;
}

interface Page {
  readonly lastIndex: LogIndex;
  readonly bytes: number;
}

export class Log {
  readonly durability: Durability;
  /** The front of the log: applied, durable, and not likely to be asked for. */
  readonly #packed: PackedEntries = new PackedEntries();
  /** The rest. */
  #entries: Entry[];
  #compactedIndex: LogIndex;
  #compactedTerm: Term;
  #snapshot: SnapshotMeta;
  #committed: LogIndex;
  #applying: LogIndex;
  #applied: LogIndex;
  /** A leader's snapshot: nothing is handed out for applying until this index was applied. */
  #restoring: LogIndex = 0 as LogIndex;
  /** The leader's snapshot that no batch holds yet. */
  #unhandedSnapshot: SnapshotMeta | undefined = undefined;
  /** Committed entries that are being applied. */
  #pages: Page[] = [];
  #applyingBytes = 0;

  constructor(stored: StoredLog) {
    const { snapshot } = stored;
    this.#snapshot = snapshot;
    this.#compactedIndex = stored.compacted?.index ?? snapshot.index;
    this.#compactedTerm = stored.compacted?.term ?? snapshot.term;
    this.#entries = [...stored.entries];
    assert(this.#compactedIndex <= snapshot.index, "a stored log goes back to its snapshot");
    assert(
      snapshot.index > 0 || snapshot.configuration.voters.length === 0,
      "a configuration comes with a snapshot, or those who join would miss it",
    );
    let index: number = this.#compactedIndex;
    for (const entry of this.#entries) {
      assert(entry.index === ++index, "the stored entries have no gap");
    }
    assert(snapshot.index <= this.lastIndex, "the stored entries reach the snapshot");
    this.#committed = Math.max(stored.hardState.commit, snapshot.index) as LogIndex;
    assert(this.#committed <= this.lastIndex, "the stored log reaches its commit index");
    this.#applied = stored.applied ?? snapshot.index;
    assert(this.#applied >= snapshot.index, "the machine has at least its snapshot");
    assert(this.#applied <= this.#committed, "only committed entries were applied");
    this.#applying = this.#applied;
    this.durability = new Durability(this.lastIndex, stored.hardState);
  }

  get committed(): LogIndex {
    return this.#committed;
  }

  get applied(): LogIndex {
    return this.#applied;
  }

  /** The newest snapshot that is on disk here, to be sent to a follower that needs one. */
  get snapshot(): SnapshotMeta {
    return this.#snapshot;
  }

  /** Whether every entry behind that snapshot is here. */
  get isSnapshotUseful(): boolean {
    return this.#compactedIndex <= this.#snapshot.index;
  }

  /** Whether a leader's snapshot waits to be written or restored. */
  get isRestoring(): boolean {
    return this.#restoring > 0;
  }

  get firstIndex(): LogIndex {
    return this.#compactedIndex + 1 as LogIndex;
  }

  get lastIndex(): LogIndex {
    return this.#compactedIndex + this.#packed.length + this.#entries.length as LogIndex;
  }

  get lastTerm(): Term {
    return this.term(this.lastIndex)!;
  }

  /** The entry's term; undefined when it is compacted away or not there yet. */
  term(index: LogIndex): Term | undefined {
    if (index === this.#compactedIndex) return this.#compactedTerm;
    const place = index - this.#compactedIndex - 1;
    const { length } = this.#packed;
    if (place >= length) return this.#entries[place - length]?.term;
    return place < 0 ? undefined : this.#packed.term(place);
  }

  hasEntry(index: LogIndex, term: Term): boolean {
    return this.term(index) === term;
  }

  /** Whether a log that ends so is at least as new as this one (section 3.6.1). */
  isUpToDate(lastIndex: LogIndex, lastTerm: Term): boolean {
    return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.lastIndex);
  }

  /**
   * The last index up to `index` whose term is at most `term`: the first place where two logs that
   * disagree can agree again. Terms never descend along a log, so it is found by halving.
   */
  lastIndexUpTo(index: LogIndex, term: Term): LogIndex {
    let low: number = this.#compactedIndex;
    let high: number = Math.min(index, this.lastIndex);
    if (high < low) return high as LogIndex;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.term(middle as LogIndex)! <= term) low = middle;
      else high = middle - 1;
    }
    // Before the last compacted entry nothing is known: it may be the next one.
    if (low === this.#compactedIndex && this.#compactedTerm > term) low--;
    return low as LogIndex;
  }

  /** Entries from `from` through `to`, as many as fit but one at least if there is one. */
  slice(from: LogIndex, to: LogIndex, bytesMax: number): readonly Entry[] {
    assert(from > this.#compactedIndex, "compacted entries are gone");
    const end = Math.min(to, this.lastIndex);
    if (from > end) return noEntries;
    const taken: Entry[] = [];
    let bytes = 0;
    for (let index: number = from; index <= end; index++) {
      const entry = this.entry(index as LogIndex)!;
      bytes += entryBytes(entry);
      if (bytes > bytesMax && taken.length > 0) break;
      taken.push(entry);
    }
    return taken;
  }

  entry(index: LogIndex): Entry | undefined {
    const place = index - this.#compactedIndex - 1;
    const { length } = this.#packed;
    if (place >= length) return this.#entries[place - length];
    return place < 0 ? undefined : this.#packed.at(place);
  }

  /** A leader's own entries. */
  append(entries: readonly Entry[]): void {
    for (const entry of entries) {
      assert(entry.index === this.lastIndex + 1, "a leader appends at the end");
      this.#entries.push(entry);
    }
  }

  /**
   * A leader's entries at a follower: what is here already stays, from the first entry that
   * disagrees on everything is replaced. Answers the last index that is known to be the leader's;
   * undefined when the logs disagree before the entries.
   */
  accept(
    previous: { readonly index: LogIndex; readonly term: Term },
    entries: readonly Entry[],
  ): LogIndex | undefined {
    if (!this.hasEntry(previous.index, previous.term)) return undefined;
    for (let at = 0; at < entries.length; at++) {
      const { index, term } = entries[at];
      if (this.hasEntry(index, term)) continue;
      if (index <= this.lastIndex) {
        assert(index > this.#committed, "a committed entry is never replaced");
        this.#entries.length = index - this.#unpackedFrom;
        this.durability.truncated(index);
      }
      this.append(at === 0 ? entries : entries.slice(at));
      break;
    }
    return previous.index + entries.length as LogIndex;
  }

  /** Says whether that is news. */
  commitTo(index: LogIndex): boolean {
    if (index <= this.#committed) return false;
    assert(index <= this.lastIndex, "only entries that are here can be committed");
    this.#committed = index;
    return true;
  }

  /** Entries that no batch holds yet. */
  unhanded(): readonly Entry[] {
    const from = this.durability.handedIndex;
    if (from >= this.lastIndex) return noEntries;
    return this.#entries.slice(from + 1 - this.#unpackedFrom);
  }

  hasUnhanded(): boolean {
    return this.durability.handedIndex < this.lastIndex || this.#unhandedSnapshot !== undefined;
  }

  takeUnhandedSnapshot(): SnapshotMeta | undefined {
    const snapshot = this.#unhandedSnapshot;
    this.#unhandedSnapshot = undefined;
    return snapshot;
  }

  /** Whether {@link takeCommitted} has something to hand out. */
  hasCommitted(bytesMax: number): boolean {
    return this.#applying < this.#committed && !this.isRestoring && this.#applyingBytes < bytesMax;
  }

  /** Committed entries to apply next, so that about `bytesMax` are being applied at a time. */
  takeCommitted(bytesMax: number): readonly Entry[] {
    if (!this.hasCommitted(bytesMax)) return noEntries;
    const from = this.#applying + 1 as LogIndex;
    const entries = this.slice(from, this.#committed, bytesMax - this.#applyingBytes);
    let bytes = 0;
    for (const entry of entries) bytes += entryBytes(entry);
    this.#applying = this.#applying + entries.length as LogIndex;
    this.#applyingBytes += bytes;
    this.#pages.push({ lastIndex: this.#applying, bytes });
    return entries;
  }

  /** The machine has applied everything up to `index`. */
  appliedTo(index: LogIndex): void {
    assert(index >= this.#applied, "the applied index never descends");
    assert(index <= this.#applying, "only what was handed out can have been applied");
    this.#applied = index;
    if (index >= this.#restoring) this.#restoring = 0 as LogIndex;
    let done = 0;
    while (done < this.#pages.length && this.#pages[done].lastIndex <= index) {
      this.#applyingBytes -= this.#pages[done++].bytes;
    }
    if (done > 0) this.#pages = this.#pages.slice(done);
    this.#pack();
  }

  /** The index of the first entry that is not packed. */
  get #unpackedFrom(): number {
    return this.#compactedIndex + this.#packed.length + 1;
  }

  /**
   * What a quorum has needs no truncation, and what the own disk has is handed out to it no more. A
   * page of them stays as it is: a follower that just lost its connection asks for those.
   */
  #pack(): void {
    const done = Math.min(this.#applied, this.durability.stableIndex);
    const pages = Math.floor((done + 1 - this.#unpackedFrom) / pageEntries) - 1;
    if (pages <= 0) return;
    for (let page = 0; page < pages; page++) {
      this.#packed.push(this.#entries.slice(page * pageEntries, (page + 1) * pageEntries));
    }
    this.#entries.splice(0, pages * pageEntries);
  }

  /** A leader's snapshot replaces everything. */
  restore(snapshot: SnapshotMeta): void {
    assert(snapshot.index > this.#committed, "a snapshot never takes back what is committed");
    this.#packed.clear();
    this.#entries = [];
    this.#compactedIndex = snapshot.index;
    this.#compactedTerm = snapshot.term;
    this.#snapshot = snapshot;
    this.#committed = snapshot.index;
    this.#applying = snapshot.index;
    this.#restoring = snapshot.index;
    this.#unhandedSnapshot = snapshot;
    this.durability.replaced(snapshot.index);
  }

  /** A snapshot of this replica's own machine is on disk. Says whether it is newer. */
  snapshotStored(snapshot: SnapshotMeta): boolean {
    if (snapshot.index <= this.#snapshot.index) return false;
    assert(snapshot.index <= this.#applied, "a snapshot holds only what was applied");
    this.#snapshot = snapshot;
    return true;
  }

  /** Forgets the entries up to `index`, which the machine and the disk have. */
  compact(index: LogIndex): void {
    if (index <= this.#compactedIndex) return;
    assert(index <= this.#applied, "only what is applied is compacted");
    assert(index <= this.durability.stableIndex, "only durable entries are compacted");
    const term = this.term(index);
    assert(term !== undefined, "the last compacted entry is there");
    const count = index - this.#compactedIndex;
    const packed = Math.min(count, this.#packed.length);
    this.#packed.drop(packed);
    this.#entries.splice(0, count - packed);
    this.#compactedIndex = index;
    this.#compactedTerm = term;
  }
}

const noEntries: readonly Entry[] = Object.freeze([]);
