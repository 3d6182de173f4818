/** A picture of a replica, as plain data, for people and for whoever decides about members. */
import type { ProgressState } from "./progress.ts";
import type { Role } from "./ready.ts";
import type { Counters, Replica } from "./replica.ts";
import type { Configuration, HardState, LogIndex, ReplicaId, Term } from "./types.ts";

/** What a leader knows of one member. */
export interface MemberStatus {
  readonly id: ReplicaId;
  readonly match: LogIndex;
  readonly next: LogIndex;
  readonly state: ProgressState;
  readonly paused: boolean;
  /** What it is being sent; 0 in state `snapshot` while that has to be made first. */
  readonly pendingSnapshot: LogIndex;
  /** Whether it was heard of within the last one to two election timeouts. */
  readonly recentActive: boolean;
  readonly inflightMessages: number;
  readonly inflightBytes: number;
}

export interface Status {
  readonly id: ReplicaId;
  readonly role: Role;
  readonly term: Term;
  readonly vote: ReplicaId;
  readonly leader: ReplicaId;
  readonly transferee: ReplicaId;
  readonly configuration: Configuration;
  /** Of the configuration that is applied here. */
  readonly isVoter: boolean;
  readonly isLearner: boolean;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly stableIndex: LogIndex;
  readonly committed: LogIndex;
  readonly applied: LogIndex;
  readonly snapshotIndex: LogIndex;
  /** What would be read after a crash. */
  readonly durable: HardState;
  readonly uncommittedBytes: number;
  readonly diskWaitingTicks: number;
  readonly readsWaiting: number;
  /** It leads for an election timeout at least: whom it has not heard of is not there. */
  readonly hasHeard: boolean;
  /** Ascending by id; empty unless this replica leads. */
  readonly members: readonly MemberStatus[];
  readonly counters: Readonly<Counters>;
}

export function statusOf(replica: Replica): Status {
  const { log, tracker } = replica;
  return {
    id: replica.id,
    role: replica.role,
    term: replica.term,
    vote: replica.vote,
    leader: replica.leader,
    transferee: replica.transferee,
    configuration: tracker.configuration,
    isVoter: tracker.isVoter(replica.id),
    isLearner: tracker.isLearner(replica.id),
    firstIndex: log.firstIndex,
    lastIndex: log.lastIndex,
    stableIndex: log.durability.stableIndex,
    committed: log.committed,
    applied: log.applied,
    snapshotIndex: log.snapshot.index,
    durable: log.durability.hardState,
    uncommittedBytes: replica.uncommittedBytes,
    diskWaitingTicks: log.durability.waitingTicks,
    readsWaiting: replica.reads.count,
    hasHeard: replica.isLeader && tracker.hasChecked,
    members: replica.isLeader ? memberStatuses(replica) : [],
    counters: { ...replica.counters },
  };
}

function memberStatuses(replica: Replica): MemberStatus[] {
  return replica.tracker.ids.map((id) => {
    const progress = replica.tracker.get(id)!;
    return {
      id,
      match: progress.match,
      next: progress.next,
      state: progress.state,
      paused: progress.isPaused(),
      pendingSnapshot: progress.pendingSnapshot,
      recentActive: progress.isThere,
      inflightMessages: progress.inflights.count,
      inflightBytes: progress.inflights.bytes,
    };
  });
}
