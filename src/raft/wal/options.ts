/** What the owner of a log chooses, and what it is told. */
import type { Entry, HardState, SnapshotMeta } from "../core/types.ts";
import type { LogError } from "./error.ts";
import type { LogIdentity } from "./identity.ts";

/** `low`: the disk is nearly full, and new proposals are to be refused. */
export type SpaceState = "normal" | "low";

export interface LogOptions {
  /** A folder of its own. */
  readonly directory: string;
  readonly identity: LogIdentity;
  /** Whether a log may be made when there is none; otherwise its absence is `lost`. */
  readonly create: boolean;
  /** Length of a segment, 1 to 4 MiB on devices. */
  readonly segmentBytes: number;
  /** Old segments that are kept to be used again. */
  readonly sparesMax: number;
  /** A batch that has grown to this is closed and the next one begun. */
  readonly batchBytesMax: number;
  /** Free bytes on the disk below which proposals are to be refused. */
  readonly lowWaterBytes: number;
}

export const logDefaults = {
  segmentBytes: 4 << 20,
  // As many as a snapshot releases at once: a segment that is made anew is written twice.
  sparesMax: 8,
  batchBytesMax: 1 << 20,
  lowWaterBytes: 64 << 20,
} as const;

/** Callbacks must not throw, and may append. */
export interface LogOwner {
  /** Everything up to this ticket is durable. Tickets ascend. */
  durable(ticket: number): void;
  /** Once. The process must end: what is on the disk is known only after it has been read again. */
  failed(error: LogError): void;
  /** `freeBytes`: of the disk, when it was looked at last. */
  space(state: SpaceState, freeBytes: number): void;
}

/** What one group wants on disk, all of it or nothing. In the order of the fields. */
export interface GroupWrite {
  /** A snapshot that came from the leader: it replaces the log. Its file must be durable. */
  readonly snapshot: SnapshotMeta | undefined;
  readonly hardState: HardState | undefined;
  /** Those that are there from the first one's index on are void. */
  readonly entries: readonly Entry[];
  /** Without it, a hard state waits in memory for the next batch that must go out. */
  readonly mustSync: boolean;
}
