/** Leadership goes to a follower of choice (section 3.10). */
import type { Replica } from "./replica.ts";
import { type LogIndex, type Message, MessageType, noReplica, type ReplicaId } from "./types.ts";

/** What became of a request to transfer; `started` says nothing of the outcome. */
export type TransferResult =
  | { readonly kind: "started" | "forwarded" | "alreadyLeader" }
  | { readonly kind: "refused"; readonly reason: "noLeader" | "notAVoter" };

/** Asked here; a follower sends it on. */
export function requestTransfer(replica: Replica, target: ReplicaId): TransferResult {
  if (!replica.isLeader) {
    if (replica.leader === noReplica) return { kind: "refused", reason: "noLeader" };
    // The target travels as the read's number does: the message has no other use for it.
    replica.forward({ type: MessageType.transferLeader, to: replica.leader, round: target });
    return { kind: "forwarded" };
  }
  if (target === replica.id) {
    abortTransfer(replica);
    return { kind: "alreadyLeader" };
  }
  const progress = replica.tracker.get(target);
  if (progress === undefined || !replica.tracker.configuration.voters.includes(target)) {
    return { kind: "refused", reason: "notAVoter" };
  }
  // Asked for again, it goes on; its time limit stays.
  if (replica.transferee === target) return { kind: "started" };
  replica.transferee = target;
  replica.transferElapsed = 0;
  if (progress.match === replica.log.lastIndex) sendTimeoutNow(replica, target);
  else {
    progress.owesAppend = true;
    replica.replicationDue = true;
  }
  return { kind: "started" };
}

/** From here on the target may win at any time, whatever its voters' leases say. */
export function sendTimeoutNow(replica: Replica, to: ReplicaId): void {
  replica.leaseSurrendered = true;
  // It may have been promoted a moment ago, and cannot campaign before it knows that.
  const match = replica.tracker.get(to)?.match ?? 0;
  const commit = Math.min(match, replica.log.committed) as LogIndex;
  replica.send({ type: MessageType.timeoutNow, to, commit });
}

export function receiveTransfer(replica: Replica, message: Message): void {
  // It is forwarded once: a replica that is not the leader any more lets it go.
  if (replica.isLeader) requestTransfer(replica, message.round);
}

/** Proposals are taken again. The target may still campaign, which is an election like any other. */
export function abortTransfer(replica: Replica): void {
  if (replica.transferee === noReplica) return;
  replica.transferee = noReplica;
  replica.transferElapsed = 0;
  replica.counters.transfersAborted++;
}

/** One election timeout is all that a transfer gets. */
export function tickTransfer(replica: Replica): void {
  if (replica.transferee === noReplica) return;
  if (++replica.transferElapsed >= replica.options.electionTicks) abortTransfer(replica);
}
