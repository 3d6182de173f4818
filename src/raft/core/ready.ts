/** What a replica wants done. Each field says when. */
import type {
  Entry,
  HardState,
  LogIndex,
  Message,
  ReplicaId,
  SnapshotMeta,
  Term,
} from "./types.ts";

export const Role = {
  follower: "follower",
  preCandidate: "preCandidate",
  candidate: "candidate",
  leader: "leader",
} as const;
export type Role = (typeof Role)[keyof typeof Role];

/** Why a proposal or a read will not happen here. */
export const DropReason = {
  noLeader: "noLeader",
  /** This replica is not the leader, and proposals are not forwarded. */
  notLeader: "notLeader",
  /** Leadership is on its way to another replica. */
  transfer: "transfer",
  /** Too much is uncommitted, or too many reads wait. */
  overload: "overload",
  /** A configuration change is under way, or this leader has not committed anything yet. */
  changePending: "changePending",
  /** The change does not fit the configuration. */
  changeInvalid: "changeInvalid",
  /** The leader to which it was forwarded refused it. */
  refused: "refused",
  /** The leader changed, or did not answer within an election timeout; it may have happened. */
  leaderChanged: "leaderChanged",
  /** This leader is no voter any more. */
  removed: "removed",
} as const;
export type DropReason = (typeof DropReason)[keyof typeof DropReason];

export interface ReadReady {
  /** The number that `readIndex()` gave. */
  readonly request: number;
  /** The machine may answer as soon as it has applied so much. */
  readonly index: LogIndex;
}

export interface Dropped {
  readonly kind: "proposal" | "read";
  readonly request: number;
  readonly reason: DropReason;
}

export interface Leadership {
  readonly role: Role;
  readonly term: Term;
  readonly leader: ReplicaId;
}

export interface Ready {
  /** Batches are numbered from 1, without gaps. */
  readonly batch: number;
  /**
   * A leader's snapshot, to be written first. It replaces the whole log: what is on disk of it,
   * entries beyond the snapshot too, is void. The machine restores it and `applied(index)` says so;
   * until then `committed` stays empty.
   */
  readonly snapshot: SnapshotMeta | undefined;
  /** Undefined when it did not change. */
  readonly hardState: HardState | undefined;
  /** To be written; the first one may overwrite: what is on disk from its index on is void. */
  readonly entries: readonly Entry[];
  /** Whether the batch needs an fdatasync. A commit index alone does not. */
  readonly mustSync: boolean;
  /** To be sent at once, in order, while the batch is being written. */
  readonly messages: readonly Message[];
  /** To be sent when this batch and all before it are durable, and never if they are not. */
  readonly afterSync: readonly Message[];
  /** To be applied in order; they need not be durable here. `applied(index)` says when. */
  readonly committed: readonly Entry[];
  /** Reads whose index is known. */
  readonly reads: readonly ReadReady[];
  /** What will not happen, so that nobody waits. */
  readonly dropped: readonly Dropped[];
  /** Undefined when it did not change. */
  readonly leadership: Leadership | undefined;
}
