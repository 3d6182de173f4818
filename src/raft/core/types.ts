/**
 * The words of the consensus core. Everything is plain data; bytes of entries and snapshots are the
 * caller's and never changed. Numbers that are u64 on the wire and on disk are safe integers here:
 * the codecs refuse larger ones.
 */

declare const termBrand: unique symbol;
declare const indexBrand: unique symbol;

/** An election's number. 0 before the first. */
export type Term = number & { readonly [termBrand]: true };
/** A position in the log. The first entry has 1; 0 is "before the first". */
export type LogIndex = number & { readonly [indexBrand]: true };
/** A replica of one group, above 0; assigned through the log and never used again. */
export type ReplicaId = number;
/** Stands for "nobody" where a replica id is expected. */
export const noReplica = 0;

/** What an entry is for. The numbers are on disk. */
export const EntryType = {
  /** Data of the group's machine. Empty data is a new leader's first entry. */
  normal: 0,
  /** A {@link ConfigurationChange}, encoded; takes effect when it is applied. */
  configuration: 1,
} as const;
export type EntryType = (typeof EntryType)[keyof typeof EntryType];

export interface Entry {
  readonly term: Term;
  readonly index: LogIndex;
  readonly type: EntryType;
  readonly data: Uint8Array;
}

/** What must be durable before anything that depends on it is sent (dissertation, figure 3.1). */
export interface HardState {
  readonly term: Term;
  /** Who got this term's vote. */
  readonly vote: ReplicaId;
  /** A hint that saves work after a restart; its loss is harmless. */
  readonly commit: LogIndex;
}

/** Who takes part (dissertation, chapter 4; joint consensus is section 4.3). Ids ascend. */
export interface Configuration {
  readonly voters: readonly ReplicaId[];
  /** Voters of the configuration that is being left; empty unless joint. */
  readonly votersOutgoing: readonly ReplicaId[];
  readonly learners: readonly ReplicaId[];
  /** Outgoing voters that become learners when the joint configuration is left. */
  readonly learnersNext: readonly ReplicaId[];
  /** The leader leaves the joint configuration by itself. */
  readonly autoLeave: boolean;
}

export const ChangeType = { addVoter: 0, remove: 1, addLearner: 2 } as const;
export type ChangeType = (typeof ChangeType)[keyof typeof ChangeType];

export interface SingleChange {
  readonly type: ChangeType;
  readonly replica: ReplicaId;
}

/** How a configuration change is made. */
export const Transition = {
  /** Simple if it can be (one voter changes), else joint and left automatically. */
  auto: 0,
  /** Joint, left automatically. */
  jointImplicit: 1,
  /** Joint until an empty change leaves it. */
  jointExplicit: 2,
} as const;
export type Transition = (typeof Transition)[keyof typeof Transition];

/** No changes at all mean: leave the joint configuration. */
export interface ConfigurationChange {
  readonly transition: Transition;
  readonly changes: readonly SingleChange[];
  /** For the machine: addresses, roles; opaque here. */
  readonly context: Uint8Array;
}

/** Where a snapshot stands. Its bytes are the driver's business. */
export interface SnapshotMeta {
  readonly index: LogIndex;
  readonly term: Term;
  readonly configuration: Configuration;
}

/** The numbers are on the wire. */
export const MessageType = {
  append: 1,
  appendResponse: 2,
  vote: 3,
  voteResponse: 4,
  preVote: 5,
  preVoteResponse: 6,
  heartbeat: 7,
  heartbeatResponse: 8,
  snapshot: 9,
  /** A follower's proposal, on its way to the leader. */
  propose: 10,
  readIndex: 11,
  readIndexResponse: 12,
  transferLeader: 13,
  timeoutNow: 14,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/**
 * One message between two replicas of a group. Every message has every field, so that all of them
 * have one shape; a field that its type does not use is zero, empty or undefined.
 */
export interface Message {
  readonly type: MessageType;
  readonly from: ReplicaId;
  readonly to: ReplicaId;
  /** The sender's term; 0 on proposals and read requests, which belong to no term. */
  readonly term: Term;
  /** Term of the entry at `index`; of the last entry in votes; the hint's term in rejections. */
  readonly logTerm: Term;
  /** The entry before `entries`, the last entry, the acknowledged or the rejected one, the read's. */
  readonly index: LogIndex;
  readonly entries: readonly Entry[];
  readonly commit: LogIndex;
  readonly reject: boolean;
  /** Where to look next, in a rejected append. */
  readonly rejectHint: LogIndex;
  /** A campaign that was asked for by the leader: leases do not stop it. */
  readonly forced: boolean;
  /** Numbers a round of read requests; unique per leader and term. */
  readonly round: number;
  readonly snapshot: SnapshotMeta | undefined;
}
