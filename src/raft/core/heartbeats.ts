/** A leader's heartbeats, which also carry the rounds of reads. */
import { ReadMode } from "./options.ts";
import type { Progress } from "./progress.ts";
import type { Replica } from "./replica.ts";
import type { ReadRequest } from "./reads.ts";
import { type LogIndex, MessageType } from "./types.ts";

/** To everybody. With lease reads each broadcast is a round of its own, to prolong the lease. */
export function broadcastHeartbeat(replica: Replica): void {
  if (replica.options.readMode === ReadMode.lease) beginRound(replica, noRequests);
  for (const id of replica.tracker.ids) {
    if (id !== replica.id) sendHeartbeat(replica, replica.tracker.get(id)!);
  }
}

/** A round of reads asks the voters only. */
export function broadcastRound(replica: Replica, requests: readonly ReadRequest[]): void {
  beginRound(replica, requests);
  for (const id of replica.tracker.ids) {
    if (id !== replica.id && replica.tracker.isVoter(id)) {
      sendHeartbeat(replica, replica.tracker.get(id)!);
    }
  }
}

function beginRound(replica: Replica, requests: readonly ReadRequest[]): void {
  const { reads, log, ticks } = replica;
  const round = reads.begin({ sentTick: ticks, index: log.committed, requests });
  const own = replica.tracker.get(replica.id);
  if (own !== undefined) own.roundAcked = round;
  // It may be that nobody else is asked.
  releaseReads(replica);
}

/** Answers the reads whose rounds the quorum has confirmed. */
export function releaseReads(replica: Replica): void {
  const confirmed = replica.tracker.quorumRound();
  for (const { from, request, index } of replica.reads.confirm(confirmed)) {
    replica.answerRead(from, request, index);
  }
}

function sendHeartbeat(replica: Replica, progress: Progress): void {
  // Beyond `match` the follower's log may differ from ours, so it must not commit there.
  const commit = Math.min(progress.match, replica.log.committed) as LogIndex;
  replica.send({
    type: MessageType.heartbeat,
    to: progress.id,
    commit,
    round: replica.tracker.isVoter(progress.id) ? replica.reads.round : 0,
  });
}

const noRequests: readonly ReadRequest[] = Object.freeze([]);
