/** Time passes. */
import { campaign, Cause, loseLeader, resign } from "./election.ts";
import { broadcastHeartbeat } from "./heartbeats.ts";
import { maybeAutoLeave } from "./membership.ts";
import { expireReads } from "./read_index.ts";
import type { Replica } from "./replica.ts";
import { tickTransfer } from "./transfer.ts";
import { noReplica } from "./types.ts";

/** `count`: of whoever ticks several replicas, so that their heartbeats fall on the same ticks. */
export function tick(replica: Replica, count?: number): void {
  replica.ticks++;
  replica.log.durability.tick();
  expireReads(replica);
  replica.electionElapsed++;
  if (replica.isLeader) tickLeader(replica, count ?? ++replica.heartbeatElapsed);
  else if (replica.electionElapsed >= replica.randomElectionTicks + patienceTicks(replica)) {
    campaign(replica, Cause.timeout);
  }
  if (isLeaderSilent(replica)) loseLeader(replica);
}

/**
 * Whoever campaigns knows of no leader. A learner never does, nor a voter while something stands
 * against it: cut off, they would take the old leader for the present one for ever.
 */
function isLeaderSilent(replica: Replica): boolean {
  return !replica.isLeader && replica.leader !== noReplica &&
    replica.electionElapsed >= 2 * replica.options.electionTicks;
}

/**
 * Voters come first, and those of them that stand aside last: with the longest log of a majority,
 * such a one is the only one who can be elected.
 */
function patienceTicks(replica: Replica): number {
  if (replica.isPromotable) return replica.standsAside ? 2 * replica.options.electionTicks : 0;
  return replica.isCaretaker ? 2 * replica.options.electionTicks : Infinity;
}

function tickLeader(replica: Replica, count: number): void {
  const { options, tracker } = replica;
  if (isDiskStalled(replica)) {
    replica.counters.resignedForDisk++;
    resign(replica);
    return;
  }
  if (replica.electionElapsed >= options.electionTicks) {
    replica.electionElapsed = 0;
    if (options.checkQuorum && !tracker.isQuorumActive(replica.id)) {
      replica.counters.resignedWithoutQuorum++;
      resign(replica);
      return;
    }
    tracker.forgetActive();
  }
  tickTransfer(replica);
  maybeAutoLeave(replica);
  if (count % options.heartbeatTicks === 0) broadcastHeartbeat(replica);
}

/**
 * Heartbeats do not wait for the disk, so followers would keep a leader whose disk is stuck. Who
 * decides alone has nobody to leave it to.
 */
function isDiskStalled(replica: Replica): boolean {
  const { waitingTicks } = replica.log.durability;
  return waitingTicks >= replica.options.diskStallTicks && !replica.tracker.isSoleVoter(replica.id);
}
