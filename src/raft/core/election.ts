/** Elections (section 3.4), with pre-votes (9.6) and leases of voters (6.4.1, 4.2.3). */
import { ReadMode } from "./options.ts";
import { VoteResult } from "./quorum.ts";
import { DropReason, Role } from "./ready.ts";
import { appendOwn } from "./replication.ts";
import type { Replica } from "./replica.ts";
import {
  EntryType,
  type LogIndex,
  type Message,
  MessageType,
  noReplica,
  type Term,
} from "./types.ts";

/** Why a campaign starts: by time, or because the leader asked for it. */
export const Cause = { timeout: "timeout", transfer: "transfer" } as const;
export type Cause = (typeof Cause)[keyof typeof Cause];

/** Campaigns unless something stands against it. */
export function campaign(replica: Replica, cause: Cause): void {
  if (replica.isLeader) return;
  if (!mayCampaign(replica, cause)) {
    replica.counters.campaignsRefused++;
    // Tries again in a while. The time without a leader runs on: this replica may vote for others.
    replica.drawElectionTimeout();
    replica.randomElectionTicks += replica.electionElapsed;
    return;
  }
  replica.counters.campaigns++;
  // Somebody who should not lead asks first, always.
  if (cause === Cause.timeout && (replica.options.preVote || !replica.isPromotable)) {
    askForPreVotes(replica);
  } else askForVotes(replica, cause);
}

function mayCampaign(replica: Replica, cause: Cause): boolean {
  if (!replica.isCandidacyAllowed) return false;
  if (replica.standsAside && cause === Cause.transfer) return false;
  // One's own vote is bound by the lease of lease reads too.
  const isBound = cause === Cause.timeout && replica.options.readMode === ReadMode.lease &&
    isInLease(replica);
  const mayLead = replica.isPromotable || (cause === Cause.timeout && replica.isCaretaker);
  return mayLead && !isBound && !hasUnappliedChange(replica) && !isDiskStalled(replica);
}

/** The leader hands over. What is committed may have to be applied first: {@link resumeCampaign}. */
export function receiveTimeoutNow(replica: Replica, message: Message): void {
  if (replica.isLeader) return;
  if (message.commit <= replica.log.lastIndex) replica.log.commitTo(message.commit);
  if (hasUnappliedChange(replica)) replica.campaignDue = true;
  else campaign(replica, Cause.transfer);
}

/** More was applied: a campaign that the leader asked for may have waited for that. */
export function resumeCampaign(replica: Replica): void {
  if (!replica.campaignDue || hasUnappliedChange(replica)) return;
  replica.campaignDue = false;
  campaign(replica, Cause.transfer);
}

/**
 * A committed change that is not applied may be the one that takes this replica's vote away, or
 * gives one to a majority that it does not know.
 */
function hasUnappliedChange(replica: Replica): boolean {
  const { log } = replica;
  for (let index = log.applied + 1; index <= log.committed; index++) {
    if (log.entry(index as LogIndex)?.type === EntryType.configuration) return true;
  }
  return false;
}

/** A replica that cannot write cannot lead either. */
function isDiskStalled(replica: Replica): boolean {
  return replica.log.durability.waitingTicks >= replica.options.diskStallTicks;
}

function askForPreVotes(replica: Replica): void {
  replica.enterRole(Role.preCandidate, replica.term, noReplica);
  // One's own opinion needs no disk: nothing is promised by it.
  if (replica.tracker.recordVote(replica.id, true) === VoteResult.won) {
    askForVotes(replica, Cause.timeout);
    return;
  }
  broadcastRequest(replica, MessageType.preVote, replica.term + 1 as Term, false);
}

function askForVotes(replica: Replica, cause: Cause): void {
  replica.enterRole(Role.candidate, replica.term + 1 as Term, noReplica);
  replica.vote = replica.id;
  // One's own vote counts when it is durable, like everybody's: see receiveOwnVote.
  broadcastRequest(replica, MessageType.vote, replica.term, cause === Cause.transfer);
}

function broadcastRequest(replica: Replica, type: MessageType, term: Term, forced: boolean): void {
  for (const id of replica.tracker.ids) {
    if (id === replica.id || !replica.tracker.isVoter(id)) continue;
    replica.send({
      type,
      to: id,
      term,
      index: replica.log.lastIndex,
      logTerm: replica.log.lastTerm,
      forced,
    });
  }
}

/** The candidate's disk holds its term and vote. */
export function receiveOwnVote(replica: Replica): void {
  const { hardState } = replica.log.durability;
  if (replica.role !== Role.candidate) return;
  if (hardState.term === replica.term && hardState.vote === replica.id) {
    countVote(replica, replica.tracker.recordVote(replica.id, true));
  }
}

/**
 * Whether a request for votes is to be ignored: the leader was heard of within an election timeout,
 * so whoever asks is cut off or removed, and must not disturb.
 */
export function isInLease(replica: Replica): boolean {
  if (!replica.options.checkQuorum) return false;
  if (replica.ticks < replica.restartLeaseUntil) return true;
  return replica.leader !== noReplica && replica.electionElapsed < replica.options.electionTicks;
}

/**
 * Votes and pre-votes. It does not matter whether this replica believes to be a voter, or knows the
 * candidate: it may be behind the change that made it so.
 */
export function receiveVoteRequest(replica: Replica, message: Message): void {
  const isPreVote = message.type === MessageType.preVote;
  const isFree = replica.vote === message.from ||
    (replica.vote === noReplica && replica.leader === noReplica) ||
    (isPreVote && message.term > replica.term);
  const granted = isFree && replica.log.isUpToDate(message.index, message.logTerm);
  replica.send({
    type: isPreVote ? MessageType.preVoteResponse : MessageType.voteResponse,
    to: message.from,
    // A granted pre-vote answers for the term that was asked about; a refusal brings the own one.
    term: granted ? message.term : replica.term,
    reject: !granted,
  });
  if (granted && !isPreVote) {
    replica.vote = message.from;
    replica.restartElectionClock();
  }
}

export function receiveVoteResponse(replica: Replica, message: Message): void {
  if (replica.role !== Role.candidate) return;
  countVote(replica, replica.tracker.recordVote(message.from, !message.reject));
}

export function receivePreVoteResponse(replica: Replica, message: Message): void {
  if (replica.role !== Role.preCandidate) return;
  const result = replica.tracker.recordVote(message.from, !message.reject);
  if (result === VoteResult.won) askForVotes(replica, Cause.timeout);
  else if (result === VoteResult.lost) replica.becomeFollower(replica.term, noReplica);
}

function countVote(replica: Replica, result: VoteResult): void {
  if (result === VoteResult.won) becomeLeader(replica);
  else if (result === VoteResult.lost) replica.becomeFollower(replica.term, noReplica);
}

function becomeLeader(replica: Replica): void {
  replica.enterRole(Role.leader, replica.term, replica.id);
  replica.counters.elected++;
  replica.leadsAsCaretaker = !replica.tracker.isVoter(replica.id);
  const { log, tracker } = replica;
  tracker.restart(log.lastIndex + 1 as LogIndex);
  const own = tracker.get(replica.id);
  if (own !== undefined) {
    own.becomeReplicate();
    own.recentActive = true;
    own.acknowledged(log.durability.stableIndex);
  }
  // An entry of this term commits what earlier ones left (section 3.6.2). No change is taken
  // before that: neither it nor what it follows may be judged by a configuration that is behind.
  replica.termStartIndex = appendOwn(replica, [{ type: EntryType.normal, data: noData }]);
  replica.pendingChangeIndex = replica.termStartIndex;
}

/** The leader gives up: followers elect another one when their leases have run out. */
export function resign(replica: Replica): void {
  replica.becomeFollower(replica.term, noReplica);
}

/** This leader lost its vote, and has told what it had to tell. */
export function resignAsRemoved(replica: Replica): void {
  replica.counters.steppedDownRemoved++;
  resign(replica);
}

/** A follower acts as if it had not heard of its leader, and may vote (not under lease reads). */
export function forgetLeader(replica: Replica): boolean {
  if (replica.isLeader || replica.options.readMode === ReadMode.lease) return false;
  if (replica.leader === noReplica) return false;
  loseLeader(replica);
  return true;
}

/** Who leads is not known any more; nothing else changes. */
export function loseLeader(replica: Replica): void {
  replica.leader = noReplica;
  for (const request of replica.reads.clear(replica.id)) {
    replica.dropped.push({ kind: "read", request, reason: DropReason.leaderChanged });
  }
}

const noData = new Uint8Array(0);
