/**
 * One replica of one group as a pure machine: events go in by method calls, what is to be done comes
 * out of {@link RaftNode.ready}. Nothing here waits, reads a clock or touches a disk; docs/raft.md
 * says what the driver does with it.
 */
import { assert } from "../../base/assert.ts";
import type { Prng } from "../../base/prng.ts";
import { encodeConfigurationChange } from "./configuration_codec.ts";
import {
  campaign,
  Cause,
  forgetLeader,
  receiveOwnVote,
  resign,
  resignAsRemoved,
} from "./election.ts";
import { entryBytes, type StoredLog } from "./log.ts";
import {
  changeEntry,
  forgetConfigurations,
  maybeAutoLeave,
  receiveApplied,
  snapshotMetaAt,
} from "./membership.ts";
import { makeOptions, type Options, ReadMode } from "./options.ts";
import { propose, type ProposeResult } from "./proposals.ts";
import { flushReads, hasReadsToFlush, requestRead } from "./read_index.ts";
import type { Leadership, Ready } from "./ready.ts";
import { repair } from "./repair.ts";
import {
  flushReplication,
  neededFrom,
  offerSnapshot,
  receiveOwnProgress,
  receiveSnapshotStatus,
  receiveUnreachable,
  wantsSnapshot,
} from "./replication.ts";
import { Replica } from "./replica.ts";
import { type Status, statusOf } from "./status.ts";
import { step } from "./step.ts";
import { tick } from "./tick.ts";
import { requestTransfer, type TransferResult } from "./transfer.ts";
import {
  type Configuration,
  type ConfigurationChange,
  type Entry,
  EntryType,
  type HardState,
  type LogIndex,
  type Message,
  noReplica,
  type ReplicaId,
  type SnapshotMeta,
} from "./types.ts";

export class RaftNode {
  readonly #replica: Replica;
  /** As the last batch that held one left it. */
  #handedHardState: HardState;
  #shownLeadership: Leadership;

  /**
   * `random` decides election timeouts and where request numbers begin: seed it differently at each
   * start. `stored` is what was read from disk; see {@link StoredLog}.
   */
  constructor(
    options: Partial<Options> & { readonly id: ReplicaId },
    stored: StoredLog,
    random: Prng,
  ) {
    this.#replica = new Replica(makeOptions(options), stored, random);
    this.#handedHardState = stored.hardState;
    this.#shownLeadership = this.#leadership();
  }

  /** With lazy commits: whether somebody is to be told of the commit index, sooner or later. */
  get hasCommitNews(): boolean {
    return this.#replica.commitNews;
  }

  /** Tells them now. */
  announceCommit(): void {
    const replica = this.#replica;
    if (!replica.isLeader || !replica.commitNews) return;
    replica.announceCommit = true;
    replica.replicationDue = true;
  }

  /** A message from another replica arrived. Whatever it says, this does not throw. */
  step(message: Message): void {
    step(this.#replica, message);
  }

  /** One tick of the driver's clock has passed; heartbeats follow its count, where there is one. */
  tick(count?: number): void {
    tick(this.#replica, count);
  }

  /** Data for the machine: all of it, in consecutive entries, or nothing. */
  propose(data: readonly Uint8Array[]): ProposeResult {
    assert(data.length > 0, "a proposal proposes something");
    return propose(
      this.#replica,
      data.map((bytes) => ({ type: EntryType.normal, data: bytes })),
    );
  }

  /** Another configuration, in effect when the entry is applied. */
  changeConfiguration(change: ConfigurationChange): ProposeResult {
    return propose(this.#replica, [changeEntry(encodeConfigurationChange(change))]);
  }

  /** A linearizable read; its number comes back in `Ready.reads` or `Ready.dropped`. */
  readIndex(): number {
    return requestRead(this.#replica);
  }

  transferLeadership(target: ReplicaId): TransferResult {
    return requestTransfer(this.#replica, target);
  }

  /** Campaigns now, as if the election timeout had passed. */
  campaign(): void {
    campaign(this.#replica, Cause.timeout);
  }

  /** A leader gives up; a full disk is a reason. */
  resign(): void {
    if (this.#replica.isLeader) resign(this.#replica);
  }

  /**
   * Whether this replica may campaign. One that must not lead (it is an arbiter, for instance)
   * still votes and replicates; a leader keeps its office until it resigns or transfers.
   */
  allowCandidacy(allowed: boolean): void {
    this.#replica.isCandidacyAllowed = allowed;
  }

  /** Whether others should lead, if one of them can be elected. */
  standAside(aside: boolean): void {
    this.#replica.standsAside = aside;
  }

  /**
   * Adapts the election timeout to what the driver measures. Not with lease reads, whose leases are
   * safe only while everybody counts the same.
   */
  setElectionTicks(ticks: number): void {
    const replica = this.#replica;
    assert(replica.options.readMode !== ReadMode.lease, "with lease reads the timeout is fixed");
    replica.options = makeOptions({ ...replica.options, electionTicks: ticks });
    replica.drawElectionTimeout();
  }

  /** Bytes of appends under way to each follower, instead of `inflightBytesMax`. */
  limitWindows(bytesMax: number): void {
    assert(bytesMax >= 1, "a window has room for an append");
    this.#replica.tracker.limitWindows(bytesMax);
  }

  /** How many ticks change nothing that this replica would do before the last of them. */
  get calmTicks(): number {
    const { isLeader, leader, transferee, electionElapsed, options } = this.#replica;
    if (isLeader) return transferee === noReplica ? options.heartbeatTicks : 1;
    // A candidate, or a follower that may have to campaign soon, counts every tick.
    const left = Math.floor(options.electionTicks / 2) - electionElapsed;
    return leader === noReplica ? 1 : Math.max(1, Math.min(2 * options.heartbeatTicks, left));
  }

  /** A follower may vote at once. False when it has no leader, is one, or leases are read by. */
  forgetLeader(): boolean {
    return forgetLeader(this.#replica);
  }

  /**
   * Whether all voters are known to keep to this leader for an election timeout of its own. Without
   * that reads ask them. True when it was otherwise before.
   */
  allowLease(allowed: boolean): boolean {
    const replica = this.#replica;
    if (replica.isLeaseAllowed === allowed) return false;
    replica.isLeaseAllowed = allowed;
    replica.reads.forgetLease();
    return true;
  }

  /**
   * The driver noticed that time passed without ticks (a suspended machine, a stalled loop): a lease
   * that was counted in ticks is void.
   */
  clockJumped(): void {
    this.#replica.reads.forgetLease();
  }

  /** A follower could not be reached. */
  unreachable(id: ReplicaId): void {
    receiveUnreachable(this.#replica, id);
  }

  /** A snapshot message was delivered with its bytes, or could not be. */
  snapshotSent(id: ReplicaId, arrived: boolean): void {
    receiveSnapshotStatus(this.#replica, id, arrived);
  }

  /** Everything in the batches up to this one is durable. */
  persisted(batch: number): void {
    const replica = this.#replica;
    replica.log.durability.persisted(batch);
    if (replica.isLeader) receiveOwnProgress(replica);
    else receiveOwnVote(replica);
  }

  /** The machine has applied all entries up to `index`, or restored the snapshot that ends there. */
  applied(index: LogIndex): void {
    receiveApplied(this.#replica, index);
    maybeAutoLeave(this.#replica);
  }

  /** Where a snapshot stands that the machine makes with everything up to `index` applied. */
  snapshotMeta(index: LogIndex): SnapshotMeta {
    return snapshotMetaAt(this.#replica, index);
  }

  /** Such a snapshot is durable, and can be sent. */
  snapshotStored(snapshot: SnapshotMeta): void {
    const replica = this.#replica;
    if (!replica.log.snapshotStored(snapshot)) return;
    forgetConfigurations(replica);
    if (offerSnapshot(replica)) replica.replicationDue = true;
  }

  /**
   * Whether a snapshot is to be taken now: a follower needs one, and behind the stored one entries
   * are missing. What comes behind the new one has to stay until {@link snapshotStored}; from then
   * on {@link neededFrom} says so.
   */
  get wantsSnapshot(): boolean {
    return wantsSnapshot(this.#replica);
  }

  /** The first entry, not before `least`, that must stay for a follower which is there. */
  neededFrom(least: LogIndex): LogIndex {
    return neededFrom(this.#replica, least);
  }

  /** Of what is in memory. */
  get firstIndex(): LogIndex {
    return this.#replica.log.firstIndex;
  }

  /**
   * Forgets entries up to `index`, as far as they are applied and durable. A follower that needs one
   * of them gets a snapshot. How far that is good is for the driver to say, who knows of memory.
   */
  compact(index: LogIndex): void {
    const { log } = this.#replica;
    const end = Math.min(index, log.applied, log.durability.stableIndex);
    if (!log.isRestoring) log.compact(end as LogIndex);
  }

  /** Only by an operator's command, on a replica that has not run yet: see repair.ts. */
  repair(configuration: Configuration): void {
    repair(this.#replica, configuration);
  }

  /**
   * Applied entries from this one on, about so many bytes and at least one if there is one;
   * `compacted` when the first is gone. For observers, who follow what is committed.
   */
  committedFrom(from: LogIndex, bytesMax: number, to: LogIndex): readonly Entry[] | "compacted" {
    const { log } = this.#replica;
    if (from < log.firstIndex) return "compacted";
    const entries: Entry[] = [];
    let bytes = 0;
    for (let index: number = from; index <= to && bytes < bytesMax; index++) {
      const entry = log.entry(index as LogIndex);
      if (entry === undefined) break;
      entries.push(entry);
      bytes += entryBytes(entry);
    }
    return entries;
  }

  /** What batches hold from this entry on; undefined when some of it is compacted. */
  handedFrom(from: LogIndex): readonly Entry[] | undefined {
    const { log } = this.#replica;
    if (from < log.firstIndex) return undefined;
    const { handedIndex } = log.durability;
    return from > handedIndex ? [] : log.slice(from, handedIndex, Infinity);
  }

  /** As it will be when everything in the log is applied. */
  configurationAtEnd(): Configuration {
    return this.#replica.configurationAfter(this.#replica.log.lastIndex);
  }

  /**
   * A leader of the present term that counts on entries which were acknowledged here and are not
   * there any more; noReplica while there is none.
   */
  get missedBy(): ReplicaId {
    return this.#replica.missedBy;
  }

  status(): Status {
    return statusOf(this.#replica);
  }

  /** Whether {@link ready} has anything to say. */
  hasReady(): boolean {
    const replica = this.#replica;
    return replica.messages.length > 0 || replica.afterSync.length > 0 ||
      replica.readsReady.length > 0 || replica.dropped.length > 0 ||
      replica.replicationDue || replica.stepDownDue || hasReadsToFlush(replica) ||
      replica.log.hasUnhanded() ||
      replica.log.hasCommitted(replica.options.applyingBytesMax) ||
      this.#hardStateChanged() || this.#leadershipChanged();
  }

  /** What is to be done; see {@link Ready}. Each call makes one batch and forgets it. */
  ready(): Ready {
    const replica = this.#replica;
    flushReplication(replica);
    if (replica.stepDownDue) resignAsRemoved(replica);
    flushReads(replica);
    const snapshot = replica.log.takeUnhandedSnapshot();
    const entries = replica.log.unhanded();
    const before = this.#handedHardState;
    let hardState: HardState | undefined;
    if (this.#hardStateChanged()) {
      hardState = { term: replica.term, vote: replica.vote, commit: replica.log.committed };
      this.#handedHardState = hardState;
    }
    const mustSync = snapshot !== undefined || entries.length > 0 ||
      before.term !== replica.term || before.vote !== replica.vote;
    const ready: Ready = {
      batch: replica.log.durability.hand(replica.log.lastIndex, { hardState, mustSync }),
      snapshot,
      hardState,
      entries,
      mustSync,
      messages: replica.messages,
      afterSync: replica.afterSync,
      committed: replica.log.takeCommitted(replica.options.applyingBytesMax),
      reads: replica.readsReady,
      dropped: replica.dropped,
      leadership: this.#leadershipChanged() ? this.#leadership() : undefined,
    };
    if (ready.leadership !== undefined) this.#shownLeadership = ready.leadership;
    replica.messages = [];
    replica.afterSync = [];
    replica.readsReady = [];
    replica.dropped = [];
    return ready;
  }

  #hardStateChanged(): boolean {
    const { term, vote, commit } = this.#handedHardState;
    const replica = this.#replica;
    return term !== replica.term || vote !== replica.vote || commit !== replica.log.committed;
  }

  #leadershipChanged(): boolean {
    const { role, term, leader } = this.#shownLeadership;
    const replica = this.#replica;
    return role !== replica.role || term !== replica.term || leader !== replica.leader;
  }

  #leadership(): Leadership {
    const { role, term, leader } = this.#replica;
    return { role, term, leader };
  }
}
