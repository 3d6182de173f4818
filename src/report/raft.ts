/**
 * Answers of covey.raft.v1.Raft as JSON objects. The routes below `/v1/raft` and the commands with
 * `--json` share them, so that both say the same in the same words.
 */
import {
  type GroupStatus,
  type Peer,
  type PeersResponse,
  Role,
  type StatusResponse,
  Suffrage,
} from "../gen/covey/raft/v1/raft_pb.ts";

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
  /** Why the group does not go on here until the node is started again; absent while it does. */
  readonly stopped?: string;
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

/** A newer node may say what is not in these tables. */
const roles: Readonly<Record<number, RaftRole>> = {
  [Role.FOLLOWER]: "follower",
  [Role.PRE_CANDIDATE]: "pre-candidate",
  [Role.CANDIDATE]: "candidate",
  [Role.LEADER]: "leader",
};

const suffrages: Readonly<Record<number, RaftSuffrage>> = {
  [Suffrage.VOTER]: "voter",
  [Suffrage.LEARNER]: "learner",
  [Suffrage.LEARNER_NEXT]: "learner next",
  [Suffrage.OUTGOING]: "voter leaving",
};

/** "leader" and the like. */
export function roleName(role: Role): RaftRole {
  return roles[role] ?? "unknown";
}

/** "voter" and the like. */
export function suffrageName(suffrage: Suffrage): RaftSuffrage {
  return suffrages[suffrage] ?? "unknown";
}

export function raftReport({ clusterId, nodeId, groups, log }: StatusResponse): RaftReport {
  return {
    clusterId,
    nodeId,
    groups: groups.map(groupReport),
    ...(log === undefined ? {} : {
      log: {
        oldestSegment: Number(log.oldestSegment),
        newestSegment: Number(log.newestSegment),
        batches: Number(log.batches),
        bytesWritten: Number(log.bytesWritten),
        lowSpace: log.lowSpace,
      },
    }),
  };
}

function groupReport(group: GroupStatus): RaftGroupReport {
  return {
    group: group.group,
    name: group.name,
    replica: Number(group.replica),
    role: roleName(group.role),
    term: Number(group.term),
    leader: Number(group.leader),
    firstIndex: Number(group.firstIndex),
    lastIndex: Number(group.lastIndex),
    stableIndex: Number(group.stableIndex),
    commitIndex: Number(group.commitIndex),
    appliedIndex: Number(group.appliedIndex),
    snapshotIndex: Number(group.snapshotIndex),
    uncommittedBytes: Number(group.uncommittedBytes),
    proposalsPending: Number(group.proposalsPending),
    readsPending: Number(group.readsPending),
    electionTimeoutMs: Number(group.electionTimeoutMillis),
    voters: group.voters.map(Number),
    votersOutgoing: group.votersOutgoing.map(Number),
    learners: group.learners.map(Number),
    learnersNext: group.learnersNext.map(Number),
    ...(group.stopped === "" ? {} : { stopped: group.stopped }),
  };
}

export function peersReport(answer: PeersResponse): RaftPeersReport {
  return {
    clusterId: answer.clusterId,
    term: Number(answer.term),
    leader: Number(answer.leader),
    peers: answer.peers.map(peerReport),
  };
}

export function peerReport(peer: Peer): RaftPeerReport {
  return {
    replica: Number(peer.replica),
    name: peer.name,
    nodeId: peer.nodeId,
    address: peer.address,
    suffrage: suffrageName(peer.suffrage),
    leader: peer.leader,
    ...(peer.progress === "" ? {} : {
      matchIndex: Number(peer.matchIndex),
      active: peer.active,
      progress: peer.progress,
    }),
    ...(peer.roundTripMillis === 0 ? {} : { roundTripMs: peer.roundTripMillis }),
  };
}
