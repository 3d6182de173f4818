/** What `/v1/raft` and the paths below it take and answer. Numbers are whole; ids of replicas. */

export interface RaftReport {
  /** 32 hexadecimal digits; empty while the node is part of no cluster. */
  readonly clusterId: string;
  readonly nodeId: string;
  /** The replicas of this node. */
  readonly groups: readonly RaftGroupReport[];
  /** Absent while the node is part of no cluster. */
  readonly log?: RaftLogReport;
}

export type RaftRole = "follower" | "pre-candidate" | "candidate" | "leader" | "unknown";

export interface RaftGroupReport {
  /** 0 is the key-value store's. */
  readonly group: number;
  readonly name: string;
  /** This node's. */
  readonly replica: number;
  readonly role: RaftRole;
  readonly term: number;
  /** The replica that leads; 0 for none. */
  readonly leader: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  /** Durable on this node's disk. */
  readonly stableIndex: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly snapshotIndex: number;
  readonly uncommittedBytes: number;
  readonly proposalsPending: number;
  readonly readsPending: number;
  readonly electionTimeoutMs: number;
  readonly voters: readonly number[];
  readonly votersOutgoing: readonly number[];
  readonly learners: readonly number[];
  readonly learnersNext: readonly number[];
}

/** The log of all groups of this node. */
export interface RaftLogReport {
  readonly oldestSegment: number;
  readonly newestSegment: number;
  /** Since the start of the process. */
  readonly batches: number;
  readonly bytesWritten: number;
  /** The disk is nearly full: writes are refused. */
  readonly lowSpace: boolean;
}

export interface RaftPeersReport {
  readonly clusterId: string;
  readonly term: number;
  /** 0 for none. */
  readonly leader: number;
  readonly peers: readonly RaftPeerReport[];
}

export type RaftSuffrage = "voter" | "learner" | "learner next" | "voter leaving" | "unknown";

export interface RaftPeerReport {
  readonly replica: number;
  readonly name: string;
  readonly nodeId: string;
  /** Where other nodes dial it. */
  readonly address: string;
  readonly suffrage: RaftSuffrage;
  readonly leader: boolean;
  /** What only the leader knows: absent from other nodes' answers. */
  readonly matchIndex?: number;
  readonly active?: boolean;
  /** `probe`, `replicate` or `snapshot`. */
  readonly progress?: string;
  /** Measured by the node that answered; absent where it was not. */
  readonly roundTripMs?: number;
}

/** 0 is the key-value store's group. */
export interface RaftGroupInput {
  readonly group?: number;
}

export interface RaftAddInput extends RaftGroupInput {
  /** Of the mesh listener of a node that is in no cluster yet: `tcp://10.0.0.4:7946`. */
  readonly address: string;
  /** Leave it a learner, rather than promoting it as soon as it has caught up. */
  readonly learner?: boolean;
  /** The node id that is expected there. */
  readonly nodeId?: string;
}

export interface RaftReplicaInput extends RaftGroupInput {
  readonly replica: number;
}

export interface RaftTransferInput extends RaftGroupInput {
  /** Without it, the leader chooses the voter that has most of the log. */
  readonly replica?: number;
}

export interface RaftAddReport {
  readonly peer: RaftPeerReport;
}

export interface RaftTransferReport {
  /** Who leads now. */
  readonly leader: number;
}

export interface RaftSnapshotReport {
  readonly index: number;
  readonly term: number;
  readonly bytes: number;
}

/** It is done, and there is nothing to say about it. */
export type DoneReport = Record<string, never>;
