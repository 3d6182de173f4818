/** One place makes messages, so that all of them have one shape; another judges what peers sent. */
import { configurationProblem, isReplicaId } from "./configuration.ts";
import {
  type Entry,
  EntryType,
  type LogIndex,
  type Message,
  MessageType,
  type ReplicaId,
  type SnapshotMeta,
  type Term,
} from "./types.ts";

/** What a message says beside who sends it. */
export interface MessageFields {
  readonly type: MessageType;
  readonly to: ReplicaId;
  readonly term?: Term;
  readonly logTerm?: Term;
  readonly index?: LogIndex;
  readonly entries?: readonly Entry[];
  readonly commit?: LogIndex;
  readonly reject?: boolean;
  readonly rejectHint?: LogIndex;
  readonly forced?: boolean;
  readonly round?: number;
  readonly snapshot?: SnapshotMeta;
}

const noEntries: readonly Entry[] = Object.freeze([]);

export function makeMessage(from: ReplicaId, fields: MessageFields): Message {
  return {
    type: fields.type,
    from,
    to: fields.to,
    term: fields.term ?? 0 as Term,
    logTerm: fields.logTerm ?? 0 as Term,
    index: fields.index ?? 0 as LogIndex,
    entries: fields.entries ?? noEntries,
    commit: fields.commit ?? 0 as LogIndex,
    reject: fields.reject ?? false,
    rejectHint: fields.rejectHint ?? 0 as LogIndex,
    forced: fields.forced ?? false,
    round: fields.round ?? 0,
    snapshot: fields.snapshot,
  };
}

/**
 * What may be sent only when the batch that was made together with it is durable. Beside votes and
 * acknowledgements these are requests for votes: a candidate that asked in a term which it then
 * forgets in a crash could ask again in that term with a shorter log, and count old answers.
 */
export function needsSync(type: MessageType): boolean {
  return type === MessageType.appendResponse || type === MessageType.vote ||
    type === MessageType.voteResponse || type === MessageType.preVoteResponse;
}

/** These belong to no term. */
function hasNoTerm(type: MessageType): boolean {
  return type === MessageType.propose || type === MessageType.readIndex;
}

/** Why a message cannot be true; undefined when it can. Peers' messages never end in an exception. */
export function messageProblem(message: Message): string | undefined {
  const { type, from, entries, snapshot } = message;
  if (!isMessageType(type)) return "its type is unknown";
  if (!isReplicaId(from)) return "its sender is no replica";
  for (
    const value of [
      message.term,
      message.logTerm,
      message.index,
      message.commit,
      message.rejectHint,
      message.round,
    ]
  ) {
    if (!Number.isSafeInteger(value) || value < 0) return "a number is out of range";
  }
  if ((message.term === 0) !== hasNoTerm(type)) return "its term does not go with its type";
  if (entries.length > 0) {
    if (type === MessageType.append) return entriesProblem(message);
    if (type !== MessageType.propose) return "its type has no entries";
  }
  for (const entry of entries) {
    if (!isEntryType(entry.type)) return "an entry's type is unknown";
  }
  if (type === MessageType.snapshot) return snapshotProblem(snapshot, message.term);
  return undefined;
}

function entriesProblem(message: Message): string | undefined {
  let index: number = message.index;
  let term: number = message.logTerm;
  for (const entry of message.entries) {
    if (entry.index !== ++index) return "its entries have a gap";
    if (!Number.isSafeInteger(entry.term) || entry.term < Math.max(1, term)) {
      return "its entries' terms descend";
    }
    if (entry.term > message.term) return "an entry is newer than its leader";
    if (!isEntryType(entry.type)) return "an entry's type is unknown";
    term = entry.term;
  }
  return Number.isSafeInteger(index) ? undefined : "its entries go out of range";
}

function snapshotProblem(snapshot: SnapshotMeta | undefined, term: Term): string | undefined {
  if (snapshot === undefined) return "it has no snapshot";
  if (!Number.isSafeInteger(snapshot.index) || snapshot.index < 1) return "its snapshot is empty";
  if (!Number.isSafeInteger(snapshot.term) || snapshot.term < 0 || snapshot.term > term) {
    return "its snapshot is newer than its leader";
  }
  return configurationProblem(snapshot.configuration);
}

function isMessageType(value: number): boolean {
  return Number.isInteger(value) && value >= MessageType.append && value <= MessageType.timeoutNow;
}

function isEntryType(value: number): boolean {
  return value === EntryType.normal || value === EntryType.configuration;
}
