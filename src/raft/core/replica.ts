/**
 * The state of one replica of one group, and the few steps that every role shares. The files beside
 * this one are its roles: functions on this state, one file per concern. Only `node.ts` is for
 * callers.
 */
import type { Prng } from "../../base/prng.ts";
import { applyChange } from "./configuration.ts";
import { decodeConfigurationChange } from "./configuration_codec.ts";
import { Log, type StoredLog } from "./log.ts";
import { makeMessage, type MessageFields, needsSync } from "./messages.ts";
import { type Options, ReadMode } from "./options.ts";
import { type Dropped, DropReason, type ReadReady, Role } from "./ready.ts";
import { Reads } from "./reads.ts";
import { Tracker } from "./tracker.ts";
import {
  type Configuration,
  type Entry,
  EntryType,
  type LogIndex,
  type Message,
  MessageType,
  noReplica,
  type ReplicaId,
  type Term,
} from "./types.ts";

/** What was the configuration from an applied index on. */
export interface ConfigurationAt {
  readonly index: LogIndex;
  readonly configuration: Configuration;
}

/** Counts what happened, for metrics and for tests that must know that it did. */
export interface Counters {
  campaigns: number;
  elected: number;
  resignedWithoutQuorum: number;
  resignedForDisk: number;
  steppedDownRemoved: number;
  votesIgnoredInLease: number;
  messagesInvalid: number;
  snapshotsRestored: number;
  snapshotsFastForwarded: number;
  snapshotsSent: number;
  transfersAborted: number;
  campaignsRefused: number;
  autoLeaves: number;
}

export class Replica {
  readonly id: ReplicaId;
  /** Replaced when the driver adapts the election timeout. */
  options: Options;
  readonly random: Prng;
  readonly log: Log;
  readonly tracker: Tracker;
  readonly reads = new Reads();
  readonly counters: Counters = {
    campaigns: 0,
    elected: 0,
    resignedWithoutQuorum: 0,
    resignedForDisk: 0,
    steppedDownRemoved: 0,
    votesIgnoredInLease: 0,
    messagesInvalid: 0,
    snapshotsRestored: 0,
    snapshotsFastForwarded: 0,
    snapshotsSent: 0,
    transfersAborted: 0,
    campaignsRefused: 0,
    autoLeaves: 0,
  };

  term: Term;
  vote: ReplicaId;
  role: Role = Role.follower;
  leader: ReplicaId = noReplica;

  /** The driver may forbid it. */
  isCandidacyAllowed = true;

  /** The driver wants others to lead if they can; this replica campaigns when they had time to. */
  standsAside = false;

  /** Whether the voters are known to keep the leases that this leader counts on. */
  isLeaseAllowed = true;

  /** Ticks since the start. */
  ticks = 0;
  /** Since the leader was heard of; at a leader, since the quorum was last checked. */
  electionElapsed = 0;
  heartbeatElapsed = 0;
  /** Drawn anew with every term and role: between one and two election timeouts. */
  randomElectionTicks = 0;
  /** A voter that may have had a lease before it was restarted keeps it until this tick. */
  restartLeaseUntil = 0;

  /** Where leadership is going; noReplica unless a transfer is under way. Leaders only. */
  transferee: ReplicaId = noReplica;
  transferElapsed = 0;
  /** The transferee may campaign at any time now, past all leases, until this term ends. */
  leaseSurrendered = false;
  /** The leader asked for a campaign, for which something has to be applied first. */
  campaignDue = false;
  /** No change may be proposed before this index is applied. Leaders only. */
  pendingChangeIndex: LogIndex = 0 as LogIndex;
  /** This leader's first entry; once that is committed, the leader knows what is. */
  termStartIndex: LogIndex = 0 as LogIndex;
  uncommittedBytes = 0;
  /** This leader was no voter when it was elected: see {@link isCaretaker}. */
  leadsAsCaretaker = false;
  /** This leader is no voter any more; it resigns after its last messages are made. */
  stepDownDue = false;
  /** Some follower may be due an append; they are made when `ready()` is called. */
  replicationDue = false;
  /** Some follower does not know of the newest commit index yet, and was not told for lack of entries. */
  commitNews = false;
  /** Such followers are to be told now. */
  announceCommit = false;

  /** Applied configurations from the newest snapshot on, ascending, at least one. */
  configurations: ConfigurationAt[];

  messages: Message[] = [];
  afterSync: Message[] = [];
  readsReady: ReadReady[] = [];
  dropped: Dropped[] = [];

  /** A leader that counts on entries which this log does not have. */
  missedBy: ReplicaId = noReplica;

  /** The next number of a proposal or a read; starts at random, so that no restart reuses one. */
  nextRequest: number;

  constructor(options: Options, stored: StoredLog, random: Prng) {
    this.id = options.id;
    this.options = options;
    this.random = random;
    this.log = new Log(stored);
    this.term = stored.hardState.term;
    this.vote = stored.hardState.vote;
    this.tracker = new Tracker(stored.snapshot.configuration, {
      messagesMax: options.inflightMessagesMax,
      bytesMax: options.inflightBytesMax,
    });
    this.configurations = [{
      index: stored.snapshot.index,
      configuration: stored.snapshot.configuration,
    }];
    // 52 random bits, of which nobody counts through more than a sliver.
    this.nextRequest = 1 + random.next() * 0x80000 + random.below(0x80000);
    for (let index = stored.snapshot.index + 1; index <= this.log.applied; index++) {
      this.applyConfiguration(this.log.entry(index as LogIndex)!);
    }
    // Answers to heartbeats do not wait for the disk, so what is on it does not tell.
    if (options.readMode === ReadMode.lease) this.restartLeaseUntil = options.electionTicks;
    this.drawElectionTimeout();
  }

  get isLeader(): boolean {
    return this.role === Role.leader;
  }

  /**
   * Whether this replica may become leader at all. An outgoing voter may: the incoming ones may not
   * have the log yet.
   */
  get isPromotable(): boolean {
    return this.tracker.isVoter(this.id) && !this.log.isRestoring;
  }

  /**
   * A replica that lost its vote may be the only one to know that, and may have the longest log:
   * the others then need its vote and do not get it. It leads them until they know as much (the
   * dissertation's section 4.2.2 has the like for the time before the change is committed).
   */
  get isCaretaker(): boolean {
    return !this.tracker.isVoter(this.id) && this.tracker.ids.length > 0 &&
      this.log.lastIndex > this.log.committed && !this.log.isRestoring;
  }

  takeRequest(): number {
    return this.nextRequest++;
  }

  drawElectionTimeout(): void {
    const { electionTicks } = this.options;
    this.randomElectionTicks = electionTicks + this.random.below(electionTicks);
  }

  /** There is a leader, or will be one: the time without begins anew. */
  restartElectionClock(): void {
    this.electionElapsed = 0;
    // Campaigns that were refused had put off the next one.
    if (this.randomElectionTicks >= 2 * this.options.electionTicks) this.drawElectionTimeout();
  }

  /** Every message leaves through here; those that follow the disk wait for it. */
  send(fields: MessageFields): void {
    const message = makeMessage(this.id, { term: this.term, ...fields });
    if (needsSync(message.type)) this.afterSync.push(message);
    else this.messages.push(message);
  }

  /** What all changes of role or term have in common. */
  enterRole(role: Role, term: Term, leader: ReplicaId): void {
    if (this.term !== term) {
      this.term = term;
      this.vote = noReplica;
    }
    const leaderChanged = this.leader !== leader || this.role === Role.leader;
    this.role = role;
    this.leader = leader;
    this.electionElapsed = 0;
    this.heartbeatElapsed = 0;
    this.drawElectionTimeout();
    this.tracker.clearVotes();
    this.transferee = noReplica;
    this.transferElapsed = 0;
    this.leaseSurrendered = false;
    this.campaignDue = false;
    this.pendingChangeIndex = 0 as LogIndex;
    this.uncommittedBytes = 0;
    this.replicationDue = false;
    this.commitNews = false;
    this.announceCommit = false;
    this.stepDownDue = false;
    if (leaderChanged) {
      for (const request of this.reads.clear(this.id)) {
        this.dropped.push({ kind: "read", request, reason: DropReason.leaderChanged });
      }
    }
  }

  becomeFollower(term: Term, leader: ReplicaId): void {
    this.enterRole(Role.follower, term, leader);
  }

  /** A committed change takes effect now that it is applied. Says whether there was one. */
  applyConfiguration(entry: Entry): boolean {
    const next = configurationFrom(this.tracker.configuration, entry);
    if (next === this.tracker.configuration) return false;
    this.setConfiguration(entry.index, next);
    return true;
  }

  /** As it will be when the log is applied up to `index`. */
  configurationAfter(index: LogIndex): Configuration {
    let configuration = this.tracker.configuration;
    for (let at = this.log.applied + 1; at <= index; at++) {
      configuration = configurationFrom(configuration, this.log.entry(at as LogIndex)!);
    }
    return configuration;
  }

  setConfiguration(index: LogIndex, configuration: Configuration): void {
    this.tracker.setConfiguration(configuration, this.log.lastIndex + 1 as LogIndex);
    this.configurations.push({ index, configuration });
  }

  /** A message of a type that only the leader can answer goes on to it. */
  forward(message: MessageFields): void {
    this.send({ ...message, to: this.leader });
  }

  /** Answers a read, here or at the follower that asked. */
  answerRead(from: ReplicaId, request: number, index: LogIndex): void {
    if (from === this.id) this.readsReady.push({ request, index });
    else this.send({ type: MessageType.readIndexResponse, to: from, index, round: request });
  }
}

/**
 * What an applied entry makes of the configuration. A change that cannot be read or does not fit is
 * none: everybody sees the same bytes and the same configuration, and judges alike.
 */
function configurationFrom(configuration: Configuration, entry: Entry): Configuration {
  if (entry.type !== EntryType.configuration) return configuration;
  const change = decodeConfigurationChange(entry.data);
  if (change === undefined) return configuration;
  const result = applyChange(configuration, change);
  return "refused" in result ? configuration : result.configuration;
}
