/**
 * A group's snapshots: when one is due it is written beside everything else, and the log in front
 * of the older of the two is given back; at a start, or when the leader sent one, the machine is
 * filled from it.
 *
 * A snapshot's content is the length of the group's own state as four bytes, lowest first, that
 * state ({@link Members}), and the machine's bytes.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import { DiskError } from "../runtime/port.ts";
import type { LogIndex, SnapshotMeta } from "./core/types.ts";
import type { Machine, SnapshotSink } from "../base/machine.ts";
import type { Members } from "./members.ts";
import type { SnapshotReader } from "./wal/snapshot_reader.ts";
import type { SnapshotStore } from "./wal/snapshot_store.ts";
import type { SnapshotWriter } from "./wal/snapshot_writer.ts";

const headBytes = 4;
/** More than the state of any group. */
const stateBytesMax = 4 << 20;
/** One piece of the machine's bytes: some milliseconds of work at most. */
const pieceBytes = 64 << 10;

/** What was written. */
export interface TakenSnapshot {
  readonly meta: SnapshotMeta;
  readonly bytes: number;
}

export interface SnapshotOwner {
  /** Where a snapshot stands that begins now. */
  metaNow(): SnapshotMeta;
  /** It is durable. */
  stored(meta: SnapshotMeta): void;
}

export class GroupSnapshots {
  readonly #group: number;
  readonly #store: SnapshotStore;
  readonly #machine: Machine<unknown>;
  readonly #members: Members;
  readonly #logger: Logger;
  readonly #owner: SnapshotOwner;
  #taking: Promise<TakenSnapshot> | undefined = undefined;
  #takingIndex: LogIndex | undefined = undefined;
  /** Set when the one that is being written is not wanted any more. */
  #cancelled = false;
  #newestBytes = 0;

  constructor(parts: {
    readonly group: number;
    readonly store: SnapshotStore;
    readonly machine: Machine<unknown>;
    readonly members: Members;
    readonly logger: Logger;
    readonly owner: SnapshotOwner;
    /** Of the one that the machine was filled from. */
    readonly newestBytes: number;
  }) {
    this.#group = parts.group;
    this.#store = parts.store;
    this.#machine = parts.machine;
    this.#members = parts.members;
    this.#logger = parts.logger;
    this.#owner = parts.owner;
    this.#newestBytes = parts.newestBytes;
  }

  get isTaking(): boolean {
    return this.#taking !== undefined;
  }

  /** Where the one stands that is being written. */
  get takingIndex(): LogIndex | undefined {
    return this.#takingIndex;
  }

  /** Bytes of the newest one that was written or read. */
  get newestBytes(): number {
    return this.#newestBytes;
  }

  /** Writes one; several callers share it. The machine must be between two entries. */
  take(): Promise<TakenSnapshot> {
    this.#cancelled = false;
    return this.#taking ??= this.#take().finally(() => {
      this.#taking = undefined;
      this.#takingIndex = undefined;
    });
  }

  /** Gives up the one that is being written. */
  async cancel(): Promise<void> {
    this.#cancelled = true;
    try {
      await this.#taking;
    } catch {
      // Whoever asked for it has been told.
    }
  }

  async #take(): Promise<TakenSnapshot> {
    const meta = this.#owner.metaNow();
    this.#takingIndex = meta.index;
    const state = this.#members.encode();
    const source = this.#machine.snapshot();
    let writer: SnapshotWriter | undefined;
    try {
      writer = await this.#store.create(this.#group, meta);
      const head = new Uint8Array(headBytes);
      new DataView(head.buffer).setUint32(0, state.length, true);
      await writer.write(head);
      await writer.write(state);
      for (;;) {
        if (this.#cancelled) {
          throw new CoveyError(Code.canceled, "the snapshot was given up for a newer one");
        }
        const piece = source.next(pieceBytes);
        if (piece === undefined) break;
        await writer.write(piece);
      }
      const { bytes } = await writer.commit();
      this.#newestBytes = bytes;
      this.#owner.stored(meta);
      this.#logger.debug("took a snapshot", { group: this.#group, index: meta.index, bytes });
      return { meta, bytes };
    } catch (error) {
      await this.#abandon(writer);
      throw error instanceof DiskError && error.kind === "full"
        ? new CoveyError(Code.resourceExhausted, "no room on the disk for a snapshot", {
          cause: error,
        })
        : error;
    } finally {
      source.close();
    }
  }

  async #abandon(writer: SnapshotWriter | undefined): Promise<void> {
    try {
      await writer?.abandon();
    } catch (error) {
      this.#logger.warning("an unfinished snapshot could not be removed", {
        group: this.#group,
        cause: error,
      });
    }
  }

  /**
   * Fills machine and members from the newest good snapshot that `fits`, not older than `least`.
   * Undefined when there is none and none is needed. Rejects with a LogError or a CoveyError.
   */
  async restore(
    least: LogIndex,
    fits: (meta: SnapshotMeta) => boolean,
  ): Promise<SnapshotMeta | undefined> {
    const found = await this.#store.use(
      this.#group,
      least,
      fits,
      (reader) => this.#fill(reader),
    );
    if (found === undefined) return undefined;
    for (const cause of found.damaged) {
      this.#logger.error("a snapshot is damaged; the one before it is used", {
        group: this.#group,
        cause,
      });
    }
    this.#newestBytes = found.bytes;
    return found.meta;
  }

  /** The log goes up to this entry now: what it does not need is removed. */
  async prune(index: LogIndex): Promise<void> {
    try {
      await this.#store.prune(this.#group, index);
    } catch (cause) {
      this.#logger.warning("old snapshots could not be removed", { group: this.#group, cause });
    }
  }

  async #fill(reader: SnapshotReader): Promise<void> {
    const sink = this.#machine.restore();
    let state: Uint8Array | undefined;
    let early: Uint8Array[] = [];
    for (let offset = 0; offset < reader.source.bytes;) {
      const chunk = await reader.read(offset);
      offset += chunk.length;
      if (state !== undefined) {
        this.#push(sink, chunk);
        continue;
      }
      early.push(chunk.slice());
      const rest = splitSnapshotHead(early);
      if (rest === undefined) continue;
      early = [];
      state = rest.state;
      this.#push(sink, rest.machine);
    }
    if (state === undefined || !this.#members.decode(state)) this.#refuse("its head is damaged");
    const problem = sink.finish();
    if (problem !== undefined) this.#refuse(problem);
  }

  #push(sink: SnapshotSink, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const problem = sink.push(bytes);
    if (problem !== undefined) this.#refuse(problem);
  }

  #refuse(problem: string): never {
    throw new CoveyError(
      problem === "unsupported_version" ? Code.failedPrecondition : Code.dataLoss,
      problem === "unsupported_version"
        ? `the snapshot of group ${this.#group} was written by a newer version: update this node`
        : `the snapshot of group ${this.#group} cannot be restored: ${problem}`,
    );
  }
}

/** The group's state and the beginning of the machine's bytes; undefined while it is not whole. */
export function splitSnapshotHead(
  parts: readonly Uint8Array[],
): { readonly state: Uint8Array; readonly machine: Uint8Array } | undefined {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length < headBytes) return undefined;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  const stateBytes = new DataView(bytes.buffer).getUint32(0, true);
  if (stateBytes > stateBytesMax) {
    throw new CoveyError(Code.dataLoss, "the snapshot's head is damaged");
  }
  if (length < headBytes + stateBytes) return undefined;
  return {
    state: bytes.slice(headBytes, headBytes + stateBytes),
    machine: bytes.subarray(headBytes + stateBytes),
  };
}
