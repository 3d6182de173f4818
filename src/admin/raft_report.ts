/** Answers of covey.raft.v1.Raft as JSON, in the words of `covey raft … --json`. */
import {
  type GroupStatus,
  type Peer,
  type PeersResponse,
  Role,
  type StatusResponse,
  Suffrage,
} from "../gen/covey/raft/v1/raft_pb.ts";
import type {
  RaftGroupReport,
  RaftPeerReport,
  RaftPeersReport,
  RaftReport,
  RaftRole,
  RaftSuffrage,
} from "./raft_schema.ts";

const roles: Readonly<Record<Role, RaftRole>> = {
  [Role.UNSPECIFIED]: "unknown",
  [Role.FOLLOWER]: "follower",
  [Role.PRE_CANDIDATE]: "pre-candidate",
  [Role.CANDIDATE]: "candidate",
  [Role.LEADER]: "leader",
};

const suffrages: Readonly<Record<Suffrage, RaftSuffrage>> = {
  [Suffrage.UNSPECIFIED]: "unknown",
  [Suffrage.VOTER]: "voter",
  [Suffrage.LEARNER]: "learner",
  [Suffrage.LEARNER_NEXT]: "learner next",
  [Suffrage.OUTGOING]: "voter leaving",
};

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
    role: roles[group.role],
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
    suffrage: suffrages[peer.suffrage],
    leader: peer.leader,
    ...(peer.progress === "" ? {} : {
      matchIndex: Number(peer.matchIndex),
      active: peer.active,
      progress: peer.progress,
    }),
    ...(peer.roundTripMillis === 0 ? {} : { roundTripMs: peer.roundTripMillis }),
  };
}
