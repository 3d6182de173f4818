/**
 * The durable log of all Raft groups of a process (docs/reference/raft_log.md).
 *
 * What is appended gathers in memory and goes out as one batch, with one durable write; what is
 * appended meanwhile goes out with the next. Each append has a ticket, and tickets become durable
 * in order. Nothing but appends, a rotation or a release ever touches the disk, so an idle log
 * writes nothing.
 *
 * The first write or sync that fails ends the log: the owner is told once and must end the process,
 * because after a failed sync nobody knows what is on the disk until it is read again.
 */
import { assert } from "../../base/assert.ts";
import { type Disk, DiskError, type Random } from "../../runtime/port.ts";
import type { HardState, SnapshotMeta } from "../core/types.ts";
import { LogError } from "./error.ts";
import type { Ledger } from "./group_state.ts";
import type { GroupWrite, LogOptions, LogOwner, SpaceState } from "./options.ts";
import { orClose } from "./or_close.ts";
import { encodeMark, RecordBuffer } from "./record_buffer.ts";
import { entryBytesMax } from "./record_format.ts";
import type { Recovered } from "./recovery.ts";
import { enoughBytes, roomFor } from "./room.ts";
import { createSegment } from "./rotation.ts";
import type { SegmentFiles } from "./segment_files.ts";
import type { SegmentWriter } from "./segment_writer.ts";
import { Waiters } from "./waiters.ts";

/** A group as far as it has been appended, which is ahead of what has been written. */
interface Appended {
  readonly id: number;
  last: number;
  mark: number;
  /** A hard state that nobody waits for. */
  lazy: HardState | undefined;
}

export interface LogParts {
  readonly disk: Disk;
  readonly random: Random;
  readonly files: SegmentFiles;
  readonly owner: LogOwner;
  readonly logId: Uint8Array;
  readonly options: LogOptions;
}

/** Bytes that an entry takes at most beside its data. */
const entryOverhead = 64;

export class WriteAheadLog {
  readonly #parts: LogParts;
  readonly #ledger: Ledger;
  readonly #appended = new Map<number, Appended>();
  readonly #lazy: Appended[] = [];
  #writer: SegmentWriter;
  #batch: number;
  #sealed: boolean;
  #oldest: number;
  /** Gathers appends. */
  #filling: RecordBuffer;
  /** Full ones, oldest first. */
  readonly #full: RecordBuffer[] = [];
  readonly #pool: RecordBuffer[] = [];
  #ticket = 0;
  /** The newest ticket that somebody waits for. */
  #wanted = 0;
  #durable = 0;
  readonly #waiters = new Waiters();
  #running: Promise<void> | undefined;
  #maintaining: Promise<void> | undefined;
  /** Segments below this one are needed by nobody, durably. */
  #releasable: number;
  #ended: LogError | undefined;
  #closing: Promise<void> | undefined;
  #isSealing = false;
  #space: SpaceState = "normal";
  #noRoom = false;
  #freeBytes = 0;
  /** Of the batch that waits for a segment. */
  #unplacedBytes = 0;
  #bytesWritten = 0;
  #batches = 0;

  /** Use {@link openLog}. */
  constructor(parts: LogParts, recovered: Recovered) {
    this.#parts = parts;
    this.#ledger = recovered.ledger;
    this.#writer = recovered.writer;
    this.#batch = recovered.batch;
    this.#sealed = recovered.sealed;
    this.#oldest = recovered.oldest;
    this.#releasable = recovered.ledger.oldest(recovered.writer.sequence).segment;
    this.#filling = this.#newBuffer();
    for (const { id, last, mark } of recovered.ledger.groups.values()) {
      this.#appended.set(id, { id, last, mark: mark.index, lazy: undefined });
    }
  }

  // -------------------------------------------------------------------------------------------
  // State

  /** Eight bytes of this log's own; its snapshots carry them, too. */
  get id(): Uint8Array {
    return this.#parts.logId;
  }

  /** Everything up to this ticket is durable. */
  get durable(): number {
    return this.#durable;
  }

  /** Whether the log has this group. */
  has(group: number): boolean {
    return this.#appended.has(group);
  }

  /** A batch is on its way to the disk. */
  get isWriting(): boolean {
    return this.#running !== undefined;
  }

  /** Whether these entries may still be taken; see {@link roomFor}. */
  hasRoomFor(entries: readonly { readonly data: Uint8Array }[]): boolean {
    const { files, options } = this.#parts;
    return roomFor({
      isLow: this.#space === "low",
      freeBytes: this.#freeBytes,
      lowWaterBytes: options.lowWaterBytes,
      segmentBytes: options.segmentBytes,
      spares: files.spares,
      checkpointBytes: () => this.#ledger.checkpointBytesMax,
      aheadBytes: this.#unplacedBytes + this.gatheredBytes,
      fits: (bytes) => this.#writer.fits(bytes),
    }, entries.reduce((sum, { data }) => sum + data.length + entryOverhead, 0));
  }

  /** With `low`, new proposals are to be refused; what Raft itself must write still goes out. */
  get space(): SpaceState {
    return this.#space;
  }

  /** Of the disk, when it was looked at last. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** The segment that is written now, the oldest one, and a group that keeps the oldest. */
  get segments(): { newest: number; oldest: number; spares: number; holder: number | undefined } {
    const { group } = this.#ledger.oldest(this.#writer.sequence);
    return {
      newest: this.#writer.sequence,
      oldest: this.#oldest,
      spares: this.#parts.files.spares,
      holder: group,
    };
  }

  /** Bytes that have been appended and are not on their way to the disk yet. */
  get gatheredBytes(): number {
    return this.#full.reduce((sum, buffer) => sum + buffer.length, this.#filling.length);
  }

  /** Batches and their bytes since the start, for metrics. */
  get written(): { batches: number; bytes: number } {
    return { batches: this.#batches, bytes: this.#bytesWritten };
  }

  // -------------------------------------------------------------------------------------------
  // Appending

  /**
   * Gathers this for the next batch and returns its ticket. The arrays may be reused at once. The
   * ticket of a hard state alone without `mustSync` says nothing: it waits in memory.
   */
  append(group: number, write: GroupWrite): number {
    const known = this.#group(group);
    const { snapshot, hardState, entries } = write;
    let bytes = 0;
    for (const { data } of entries) {
      if (data.length > entryBytesMax) {
        throw new LogError(
          "too-large",
          { file: this.#writer.path, group },
          `an entry of ${data.length} bytes; at most ${entryBytesMax} fit`,
        );
      }
      bytes += data.length + entryOverhead;
    }
    const buffer = this.#bufferFor(bytes);
    if (snapshot !== undefined) {
      buffer.snapshotMark(group, encodeMark(snapshot), true);
      known.last = snapshot.index;
      known.mark = snapshot.index;
    }
    if (hardState !== undefined) {
      if (write.mustSync || entries.length > 0 || snapshot !== undefined) {
        known.lazy = undefined;
        buffer.hardState(group, hardState);
      } else {
        if (!this.#lazy.includes(known)) this.#lazy.push(known);
        known.lazy = hardState;
      }
    }
    if (entries.length > 0) {
      const first = entries[0].index;
      assert(
        first > known.mark && first <= known.last + 1,
        "appended entries are behind the snapshot and leave no gap",
      );
      if (first <= known.last) buffer.truncation(group, first - 1);
      buffer.entries(group, entries);
      known.last = entries[entries.length - 1].index;
    }
    return this.#ticketFor(buffer, write.mustSync);
  }

  /** Entries above `after` are void. An append that overlaps says so by itself. */
  truncate(group: number, after: number): number {
    const known = this.#group(group);
    assert(after >= known.mark && after <= known.last, "a cut is within the log");
    const buffer = this.#bufferFor(0);
    buffer.truncation(group, after);
    known.last = after;
    return this.#ticketFor(buffer, true);
  }

  /**
   * Entries up to this snapshot are not needed any more. Only for a snapshot whose file is durable,
   * and with two files kept only for the older of them, so that the newer may turn out damaged.
   */
  compact(group: number, meta: SnapshotMeta): number {
    const known = this.#group(group);
    // A leader's snapshot came meanwhile.
    if (meta.index < known.mark) return this.#wanted;
    assert(meta.index <= known.last, "a snapshot is within the log");
    const buffer = this.#bufferFor(0);
    buffer.snapshotMark(group, encodeMark(meta), false);
    known.mark = meta.index;
    return this.#ticketFor(buffer, true);
  }

  createGroup(group: number, replica: number): number {
    assert(!this.#appended.has(group), "a new group is not there yet");
    this.#checkOpen();
    this.#appended.set(group, { id: group, last: 0, mark: 0, lazy: undefined });
    const buffer = this.#bufferFor(0);
    buffer.groupCreated(group, replica);
    return this.#ticketFor(buffer, true);
  }

  removeGroup(group: number): number {
    this.#group(group).lazy = undefined;
    this.#appended.delete(group);
    const buffer = this.#bufferFor(0);
    buffer.groupRemoved(group);
    return this.#ticketFor(buffer, true);
  }

  /** Resolves when everything up to the ticket is durable. Does not make it go out. */
  whenDurable(ticket: number): Promise<void> {
    if (ticket <= this.#durable) return Promise.resolve();
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return this.#waiters.add(ticket);
  }

  /** Writes what waits, marks the end, and closes. The mark lets any later damage be recognized. */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#wanted = this.#ticket;
    this.#start();
    // What is appended until all is quiet goes out, too; nothing may come beside the last batch.
    while ((this.#running ?? this.#maintaining) !== undefined) {
      await this.#running;
      await this.#maintaining;
    }
    this.#isSealing = true;
    const closed = new LogError("closed", { file: this.#writer.path }, "the log is closed");
    if (this.#ended === undefined) {
      try {
        if (!this.#sealed) await this.#put(this.#filling);
        this.#ended = closed;
      } catch (error) {
        this.#fail(error);
      }
    }
    this.#waiters.reject(closed);
    await this.#writer.file.close();
  }

  /** Looks at the room on the disk, now and then: others fill it, too, and an idle log does not. */
  async checkSpace(): Promise<SpaceState> {
    const { disk, files, options } = this.#parts;
    const free = this.#freeBytes = await disk.freeBytes(files.directory);
    if (this.#noRoom && free >= options.lowWaterBytes) {
      this.#noRoom = false;
      // There may be bytes and yet no room, without an inode or within a quota: it says so itself.
      this.#maintain();
      await this.#maintaining;
    }
    const { lowWaterBytes } = options;
    const enough = this.#space === "low" ? enoughBytes(lowWaterBytes) : lowWaterBytes;
    this.#setSpace(this.#noRoom || free < enough ? "low" : "normal");
    return this.#space;
  }

  /** Spares are made and room is looked at; {@link openLog} calls it once. */
  async begin(): Promise<void> {
    this.#maintain();
    await this.#maintaining;
    if (this.#ended !== undefined) throw this.#ended;
    await this.checkSpace();
  }

  // -------------------------------------------------------------------------------------------
  // Gathering

  #group(group: number): Appended {
    this.#checkOpen();
    const known = this.#appended.get(group);
    assert(known !== undefined, "a group is created before it is written to");
    return known;
  }

  #checkOpen(): void {
    if (this.#ended === undefined && !this.#isSealing) return;
    throw new LogError("closed", { file: this.#writer.path }, "the log has ended", this.#ended);
  }

  #newBuffer(): RecordBuffer {
    return this.#pool.pop() ?? new RecordBuffer(64 << 10);
  }

  #bufferFor(bytes: number): RecordBuffer {
    const { batchBytesMax } = this.#parts.options;
    if (this.#filling.length > 0 && this.#filling.length + bytes > batchBytesMax) {
      this.#full.push(this.#filling);
      this.#filling = this.#newBuffer();
    }
    return this.#filling;
  }

  #ticketFor(buffer: RecordBuffer, mustSync: boolean): number {
    buffer.ticket = ++this.#ticket;
    if (mustSync) {
      this.#wanted = this.#ticket;
      this.#start();
    }
    return this.#ticket;
  }

  // -------------------------------------------------------------------------------------------
  // Writing

  #start(): void {
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // Lets the rest of this turn append, too.
    try {
      while (this.#durable < this.#wanted && this.#ended === undefined) {
        const buffer = this.#take();
        const { ticket } = buffer;
        if (!await this.#written(buffer)) return;
        this.#sealed = false;
        buffer.clear();
        if (this.#pool.length < 2) this.#pool.push(buffer);
        // What the owner does with it is not the disk's fault, and passes through.
        this.#completed(ticket);
      }
    } finally {
      this.#running = undefined;
    }
  }

  /** Whether the batch is durable; a failure ends the log. */
  async #written(buffer: RecordBuffer): Promise<boolean> {
    try {
      await this.#write(buffer);
      return true;
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  #take(): RecordBuffer {
    const full = this.#full.shift();
    if (full !== undefined) return full;
    const buffer = this.#filling;
    for (const group of this.#lazy) {
      if (group.lazy !== undefined) buffer.hardState(group.id, group.lazy);
      group.lazy = undefined;
    }
    this.#lazy.length = 0;
    // Tickets of hard states alone have no records of their own.
    buffer.ticket = this.#ticket;
    this.#filling = this.#newBuffer();
    return buffer;
  }

  async #write(buffer: RecordBuffer): Promise<void> {
    this.#unplacedBytes = buffer.length;
    if (!this.#writer.fits(buffer.length)) await this.#rotate(buffer.length);
    this.#unplacedBytes = 0;
    await this.#put(buffer);
  }

  async #put(buffer: RecordBuffer): Promise<void> {
    const writer = this.#writer;
    const offset = writer.seal(buffer, this.#batch++, this.#ledger);
    await writer.file.write(buffer.bytes.subarray(0, buffer.length), offset);
    this.#bytesWritten += buffer.length;
    this.#batches++;
    this.#releasable = this.#ledger.oldest(writer.sequence).segment;
  }

  async #rotate(batchBytes: number): Promise<void> {
    // A spare may be in the making, or a segment about to become one.
    if (this.#parts.files.spares === 0) await this.#maintaining;
    const before = this.#writer;
    this.#writer = await createSegment(this.#parts, {
      sequence: before.sequence + 1,
      logId: this.#parts.logId,
      batch: this.#batch++,
      before,
      groups: this.#ledger.groups.values(),
      roomFor: batchBytes,
    });
    await orClose(before.file, () => before.writeEnd(this.#batch - 1));
    await before.file.close();
    this.#releasable = this.#ledger.oldest(this.#writer.sequence).segment;
    await this.checkSpace();
  }

  #completed(ticket: number): void {
    this.#durable = ticket;
    this.#maintain();
    this.#parts.owner.durable(ticket);
    this.#waiters.durable(ticket);
  }

  #fail(error: unknown): void {
    if (this.#ended !== undefined) return;
    const full = error instanceof DiskError && error.kind === "full";
    const what = full
      ? "no room for the log, and its reserve is used up"
      : "the log cannot be written any more, and the process must end";
    const ended = error instanceof LogError
      ? error
      : new LogError(full ? "full" : "io", { file: this.#writer.path }, what, error);
    this.#ended = ended;
    this.#waiters.reject(ended);
    this.#parts.owner.failed(ended);
  }

  // -------------------------------------------------------------------------------------------
  // Releasing and preparing

  #maintain(): void {
    if (this.#maintaining !== undefined || this.#ended !== undefined || !this.#hasChores()) return;
    this.#maintaining = this.#doChores().catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#maintaining = undefined;
      });
  }

  #hasChores(): boolean {
    return this.#oldest < this.#releasable ||
      (this.#parts.files.spares === 0 && !this.#noRoom);
  }

  async #doChores(): Promise<void> {
    const { files } = this.#parts;
    while (this.#ended === undefined && this.#hasChores()) {
      if (this.#oldest < this.#releasable) {
        // The oldest first, each durably, so that a crash never leaves a gap.
        await files.release(this.#oldest);
        this.#oldest++;
        continue;
      }
      try {
        await files.addSpare();
      } catch (error) {
        if (!(error instanceof DiskError) || error.kind !== "full") throw error;
        this.#noRoom = true;
        this.#setSpace("low");
      }
    }
  }

  #setSpace(state: SpaceState): void {
    if (state === this.#space) return;
    this.#space = state;
    this.#parts.owner.space(state, this.#freeBytes);
  }
}
