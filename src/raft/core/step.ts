/** A message from another replica: first its term, then its type. */
import {
  isInLease,
  receivePreVoteResponse,
  receiveTimeoutNow,
  receiveVoteRequest,
  receiveVoteResponse,
} from "./election.ts";
import { hearLeader, receiveAppend, receiveHeartbeat, receiveSnapshot } from "./follower.ts";
import { messageProblem } from "./messages.ts";
import { receiveProposal } from "./proposals.ts";
import { receiveRead, receiveReadResponse } from "./read_index.ts";
import { receiveAppendResponse, receiveHeartbeatResponse } from "./replication.ts";
import type { Replica } from "./replica.ts";
import { receiveTransfer } from "./transfer.ts";
import { type Message, MessageType, noReplica } from "./types.ts";

/** Never throws for what a peer sent: it is ignored, and counted when it cannot be true. */
export function step(replica: Replica, message: Message): void {
  if (message.to !== replica.id || message.from === replica.id) return;
  if (messageProblem(message) !== undefined) {
    replica.counters.messagesInvalid++;
    return;
  }
  if (message.type === MessageType.propose) receiveProposal(replica, message);
  else if (message.type === MessageType.readIndex) receiveRead(replica, message);
  else if (message.term < replica.term) answerOldTerm(replica, message);
  else if (message.term === replica.term || enterNewTerm(replica, message)) {
    dispatch(replica, message);
  }
}

/** Whether the message is still to be looked at. */
function enterNewTerm(replica: Replica, message: Message): boolean {
  const { type } = message;
  if (type === MessageType.vote || type === MessageType.preVote) {
    if (!message.forced && isInLease(replica)) {
      replica.counters.votesIgnoredInLease++;
      return false;
    }
    // Nobody's term is raised by a question.
    if (type === MessageType.preVote) return true;
  }
  // Who was taken out may be ahead in terms. What it is asked until then disturbs nobody.
  if (isAnswer(type) && replica.tracker.get(message.from) === undefined) return false;
  // A granted pre-vote answers for the term that was asked about, which is not there yet.
  if (type === MessageType.preVoteResponse && !message.reject) return true;
  replica.becomeFollower(message.term, isFromLeader(type) ? message.from : noReplica);
  return true;
}

/**
 * Of an old term. A leader that is behind somebody's term would never hear of it while everybody
 * ignores that candidate for the leader's sake, or when it is no member any more; so it is told.
 * Likewise a pre-candidate that is behind.
 */
function answerOldTerm(replica: Replica, message: Message): void {
  if (message.type === MessageType.preVote) {
    replica.send({ type: MessageType.preVoteResponse, to: message.from, reject: true });
  } else if (isFromLeader(message.type)) {
    // Its receiver only looks at the term.
    replica.send({ type: MessageType.appendResponse, to: message.from, reject: true });
  }
}

function isFromLeader(type: MessageType): boolean {
  return type === MessageType.append || type === MessageType.heartbeat ||
    type === MessageType.snapshot;
}

/** To what only members are asked. */
function isAnswer(type: MessageType): boolean {
  return type === MessageType.appendResponse || type === MessageType.heartbeatResponse ||
    type === MessageType.voteResponse || type === MessageType.preVoteResponse;
}

function dispatch(replica: Replica, message: Message): void {
  switch (message.type) {
    case MessageType.vote:
    case MessageType.preVote:
      return receiveVoteRequest(replica, message);
    case MessageType.voteResponse:
      return receiveVoteResponse(replica, message);
    case MessageType.preVoteResponse:
      return receivePreVoteResponse(replica, message);
    case MessageType.append:
    case MessageType.heartbeat:
    case MessageType.snapshot:
      return fromLeader(replica, message);
    case MessageType.appendResponse:
      if (replica.isLeader) receiveAppendResponse(replica, message);
      return;
    case MessageType.heartbeatResponse:
      if (replica.isLeader) receiveHeartbeatResponse(replica, message);
      return;
    case MessageType.readIndexResponse:
      return receiveReadResponse(replica, message);
    case MessageType.transferLeader:
      return receiveTransfer(replica, message);
    case MessageType.timeoutNow:
      return receiveTimeoutNow(replica, message);
  }
}

function fromLeader(replica: Replica, message: Message): void {
  if (replica.isLeader) {
    // There is one leader in a term, and it is this one.
    replica.counters.messagesInvalid++;
    return;
  }
  hearLeader(replica, message);
  if (message.type === MessageType.append) receiveAppend(replica, message);
  else if (message.type === MessageType.heartbeat) receiveHeartbeat(replica, message);
  else receiveSnapshot(replica, message);
}
