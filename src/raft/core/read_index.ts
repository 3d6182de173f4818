/** Linearizable reads: who asks, who answers, and when (section 6.4). */
import { broadcastRound } from "./heartbeats.ts";
import { ReadMode } from "./options.ts";
import { DropReason } from "./ready.ts";
import type { Replica } from "./replica.ts";
import { type Message, MessageType, noReplica } from "./types.ts";

/** A read of this replica's own. Its number comes back in `Ready.reads` or `Ready.dropped`. */
export function requestRead(replica: Replica): number {
  const request = replica.takeRequest();
  if (replica.reads.count >= replica.options.readsMax) drop(replica, request, DropReason.overload);
  else if (replica.isLeader) replica.reads.add({ from: replica.id, request });
  else if (replica.leader === noReplica) drop(replica, request, DropReason.noLeader);
  else {
    replica.reads.forward(request, replica.ticks + replica.options.electionTicks);
    replica.forward({
      type: MessageType.readIndex,
      to: replica.leader,
      term: 0 as Message["term"],
      round: request,
    });
  }
  return request;
}

/** A follower's read at the leader; anybody else lets it run into its time limit. */
export function receiveRead(replica: Replica, message: Message): void {
  if (!replica.isLeader || replica.reads.count >= replica.options.readsMax) return;
  replica.reads.add({ from: message.from, request: message.round });
}

export function receiveReadResponse(replica: Replica, message: Message): void {
  if (!replica.reads.answered(message.round)) return;
  replica.readsReady.push({ request: message.round, index: message.index });
}

/** Puts the collected requests on their way; called when a `Ready` is made. */
export function flushReads(replica: Replica): void {
  const { reads, log } = replica;
  if (!replica.isLeader || !reads.hasOpen || !knowsCommitted(replica)) return;
  if (replica.tracker.isSoleVoter(replica.id) || hasLease(replica)) {
    for (const { from, request, index } of reads.takeOpen(log.committed)) {
      replica.answerRead(from, request, index);
    }
    return;
  }
  broadcastRound(replica, reads.takeOpenRequests());
}

/** Whether there is something that {@link flushReads} would do. */
export function hasReadsToFlush(replica: Replica): boolean {
  return replica.isLeader && replica.reads.hasOpen && knowsCommitted(replica);
}

/** Forwarded reads that got lost, or whose leader is gone without anybody noticing. */
export function expireReads(replica: Replica): void {
  for (const request of replica.reads.takeOverdue(replica.ticks)) {
    drop(replica, request, DropReason.leaderChanged);
  }
}

/**
 * A leader has all committed entries but does not know which ones are, before one of its own term
 * is committed.
 */
function knowsCommitted(replica: Replica): boolean {
  return replica.log.committed >= replica.termStartIndex;
}

/**
 * Whether no other leader can exist yet: a quorum heard of this one so recently that its leases are
 * all running, by a margin. A transferee is not bound by leases.
 */
function hasLease(replica: Replica): boolean {
  const { options, reads, ticks } = replica;
  if (options.readMode !== ReadMode.lease || replica.leaseSurrendered || !replica.isLeaseAllowed) {
    return false;
  }
  return reads.confirmedTick >= 0 &&
    ticks - reads.confirmedTick < options.electionTicks - options.leaseMarginTicks;
}

function drop(replica: Replica, request: number, reason: DropReason): void {
  replica.dropped.push({ kind: "read", request, reason });
}
