/**
 * What a Raft group drives: a machine that turns committed entries into results. The key-value
 * store is the first; streams of the bus and a user's own machine are others. A machine is pure: its
 * state is a function of the entries alone, so every replica that applied the same ones answers the
 * same, whatever engine, clock or locale it runs with.
 */

/** One committed entry. The bytes are the group's: a machine copies what it keeps. */
export interface MachineEntry {
  readonly index: number;
  readonly term: number;
  readonly data: Uint8Array;
}

export interface Machine<Result> {
  /** The index of the last applied entry, or of the restored snapshot. */
  readonly appliedIndex: number;
  /**
   * Applies the next entry. Undefined: it is a large one and not finished; {@link resume} goes on
   * after others had the thread. Until then reads see the state before it, and no other entry and
   * no snapshot is begun.
   *
   * An entry that is not the machine's own, like a change of the configuration, is given to it
   * without data, so that its index keeps up. Never throws for what the bytes say: a refusal is a
   * result like another.
   */
  apply(entry: MachineEntry): Result | undefined;
  /** Goes on with the entry that is not finished, for some milliseconds again. */
  resume(): Result | undefined;
  /**
   * This build cannot apply the entry: the group stops here, because going on would make this
   * replica differ from the others.
   */
  isFatal(result: Result): boolean;
  /**
   * Whether this build can apply such an entry; without the method, any. The leader asks before a
   * command enters the log, its own as well as one that another node forwards, and refuses what it
   * cannot apply: while nodes are updated one after the other, a newer one may send what older ones
   * do not know, and in the log it would stop each of them ({@link isFatal}). To be told by a
   * version in the first bytes: this is asked for every command.
   */
  supports?(data: Uint8Array): boolean;
  /** The result as bytes, for the node that forwarded the command. */
  encodeResult(result: Result): Uint8Array;
  /** The other way; undefined when the bytes are no result that this build knows. */
  decodeResult(bytes: Uint8Array): Result | undefined;
  /** The state as it is now. Applying goes on meanwhile; at most one is open at a time. */
  snapshot(): SnapshotSource;
  /** Empties the machine and fills it again from a snapshot's bytes. */
  restore(): SnapshotSink;
}

/** A snapshot being read, in pieces. It must be read to the end or closed. */
export interface SnapshotSource {
  /** The next piece, of about this many bytes; undefined at the end. */
  next(bytesWanted: number): Uint8Array | undefined;
  /** Gives up: the machine need not keep old state any longer. */
  close(): void;
}

/** A snapshot being restored. Pieces may be cut anywhere, not only where they were made. */
export interface SnapshotSink {
  /** Takes the next bytes; a problem, in a word or a sentence, ends the restoring. */
  push(bytes: Uint8Array): string | undefined;
  /** To be called after the last piece. Without a problem the machine may be used. */
  finish(): string | undefined;
}
