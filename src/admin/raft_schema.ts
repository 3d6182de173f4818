/** What `/v1/raft` and the paths below it take and answer. Numbers are whole; ids of replicas. */

import type { RaftPeerReport } from "../report/raft.ts";

export type {
  RaftGroupReport,
  RaftLogReport,
  RaftPeerReport,
  RaftPeersReport,
  RaftReport,
} from "../report/raft.ts";

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
