/**
 * What a Raft group drives: a machine that turns committed entries into results. The key-value
 * store is the first; streams of the bus and a user's own machine are others. A machine is pure: its
 * state is a function of the entries alone, so every replica that applied the same ones answers the
 * same, whatever engine, clock or locale it runs with.
 */

/** One committed entry. The bytes are the caller's: a machine copies what it keeps. */
export interface MachineEntry {
  readonly index: number;
  readonly term: number;
  readonly data: Uint8Array;
}

export interface Machine<Result> {
  /** The index of the last applied entry, or of the restored snapshot. */
  readonly appliedIndex: number;
  /**
   * Applies the next entry. Undefined: it is a large one and not finished; {@link resume} goes on.
   * Until then reads see the state before it, and no other entry and no snapshot may be begun.
   *
   * An entry that is not the machine's own, like a change of the configuration, is given to it
   * without data, so that its index keeps up.
   *
   * Never throws for what the bytes say: a refusal is a result like another.
   * A result that {@link isFatal} tells means that this build cannot apply the entry; the driver
   * stops the group then, because going on would make this replica differ from the others.
   */
  apply(entry: MachineEntry): Result | undefined;
  /** Goes on with the entry that is not finished, for some milliseconds again. */
  resume(): Result | undefined;
  isFatal(result: Result): boolean;
  /** The result as bytes, for a peer that forwarded the command. */
  encodeResult(result: Result): Uint8Array;
  /** The other way; undefined when the bytes are no result that this build knows. */
  decodeResult(bytes: Uint8Array): Result | undefined;
  /**
   * Housekeeping that changes no answer, about `steps` small units of it. False when none is left.
   * A driver calls it when it is idle; `apply` does a little of it by itself.
   */
  work(steps: number): boolean;
  /** The state as it is now. Applying goes on meanwhile; at most one is open at a time. */
  snapshot(): SnapshotSource;
  /** Empties the machine and fills it again from a snapshot's bytes. */
  restore(): SnapshotSink;
}

/** A snapshot being read, in pieces. It must be read to the end or closed. */
export interface SnapshotSource {
  /** The last entry that the snapshot holds. */
  readonly index: number;
  readonly term: number;
  /** The next piece, of about this many bytes; undefined at the end. */
  next(bytesWanted: number): Uint8Array | undefined;
  /** Gives up: the machine need not keep old state any longer. */
  close(): void;
}

/** Why a snapshot is refused. The machine is empty then and must be restored from another. */
export type RestoreProblem =
  /** The bytes contradict themselves. */
  | "corrupt"
  /** Written by a newer build. */
  | "unsupported_version"
  /** The end is missing. */
  | "incomplete";

/** A snapshot being restored. Pieces may be cut anywhere, not only where they were made. */
export interface SnapshotSink {
  /** Takes the next bytes; a problem ends the restoring. */
  push(bytes: Uint8Array): RestoreProblem | undefined;
  /** To be called after the last piece. Without a problem the machine may be used. */
  finish(): RestoreProblem | undefined;
}
