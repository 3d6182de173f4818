/** Proposals: taken by the leader, sent on by a follower, or dropped with the reason. */
import { changeProblem } from "./membership.ts";
import { DropReason } from "./ready.ts";
import { appendOwn } from "./replication.ts";
import type { Replica } from "./replica.ts";
import {
  type Entry,
  EntryType,
  type LogIndex,
  type Message,
  MessageType,
  noReplica,
  type Term,
} from "./types.ts";

/**
 * What became of a proposal. An appended one has happened once an entry of this term is committed at
 * its index; if one of another term is, it never will. A forwarded one may be reported as dropped
 * later, under its number; its fate is otherwise known by its content alone.
 */
export type ProposeResult =
  | {
    readonly kind: "appended";
    readonly term: Term;
    /** The last entry's, when several were proposed together. */
    readonly index: LogIndex;
  }
  | { readonly kind: "forwarded"; readonly request: number }
  | { readonly kind: "dropped"; readonly reason: DropReason };

/** Entries without a place yet. */
export type Proposed = Pick<Entry, "type" | "data">;

/** All of them, one after the other, or none. */
export function propose(replica: Replica, proposed: readonly Proposed[]): ProposeResult {
  if (!replica.isLeader) return forwardProposal(replica, proposed);
  const problem = proposalProblem(replica, proposed);
  if (problem !== undefined) return { kind: "dropped", reason: problem };
  const index = appendOwn(replica, proposed);
  const change = proposed.findIndex(({ type }) => type === EntryType.configuration);
  if (change >= 0) {
    replica.pendingChangeIndex = index - proposed.length + 1 + change as LogIndex;
  }
  return { kind: "appended", term: replica.term, index };
}

function forwardProposal(replica: Replica, proposed: readonly Proposed[]): ProposeResult {
  if (replica.leader === noReplica) return { kind: "dropped", reason: DropReason.noLeader };
  if (!replica.options.forwardProposals) return { kind: "dropped", reason: DropReason.notLeader };
  const request = replica.takeRequest();
  const noTerm = 0 as Term;
  const noIndex = 0 as LogIndex;
  replica.forward({
    type: MessageType.propose,
    to: replica.leader,
    term: noTerm,
    entries: proposed.map(({ type, data }) => ({ term: noTerm, index: noIndex, type, data })),
    round: request,
  });
  return { kind: "forwarded", request };
}

function proposalProblem(replica: Replica, proposed: readonly Proposed[]): DropReason | undefined {
  if (replica.transferee !== noReplica) return DropReason.transfer;
  if (!replica.tracker.isVoter(replica.id)) return DropReason.removed;
  let bytes = 0;
  let changes = 0;
  for (const { type, data } of proposed) {
    bytes += data.length;
    if (type === EntryType.configuration) {
      const problem = ++changes > 1 ? DropReason.changePending : changeProblem(replica, data);
      if (problem !== undefined) return problem;
    }
  }
  // Something is always let through when nothing is uncommitted, and empty data always: whatever
  // the limits are, the group can go on.
  const { uncommittedBytes, options } = replica;
  const isTooMuch = bytes > 0 && uncommittedBytes > 0 &&
    uncommittedBytes + bytes > options.uncommittedBytesMax;
  return isTooMuch ? DropReason.overload : undefined;
}

/** A follower's proposal at the leader, or the leader's refusal at the follower. */
export function receiveProposal(replica: Replica, message: Message): void {
  if (message.reject) {
    replica.dropped.push({ kind: "proposal", request: message.round, reason: DropReason.refused });
    return;
  }
  if (message.entries.length === 0) return;
  // It is forwarded once. Who is not the leader any more refuses, rather than sending it around.
  if (replica.isLeader && propose(replica, message.entries).kind === "appended") return;
  replica.send({
    type: MessageType.propose,
    to: message.from,
    term: 0 as Term,
    reject: true,
    round: message.round,
  });
}
