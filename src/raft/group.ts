/**
 * One group on this node: a replica of the core, the machine that it drives, and whoever waits for
 * either. The host ({@link RaftHost}) gives it turns; a turn asks the core what is to be done, hands
 * it to the log, the peers and the machine, and ends when the core has nothing more to say.
 */
import { Code, CoveyError } from "../base/error.ts";
import { Applier } from "./applier.ts";
import { CatchUp } from "./catch_up.ts";
import { CommitNews } from "./commit_news.ts";
import { RaftNode } from "./core/node.ts";
import { type Leadership, type Ready, Role } from "./core/ready.ts";
import type { Status } from "./core/status.ts";
import {
  type ConfigurationChange,
  type Entry,
  type LogIndex,
  type Message,
  MessageType,
  noReplica,
  type SnapshotMeta,
} from "./core/types.ts";
import { coreOptions, ticksOf } from "./core_options.ts";
import { type Flight, Flights } from "./flights.ts";
import { GroupFront } from "./group_front.ts";
import { GroupRestore } from "./group_restore.ts";
import type { GroupSnapshots, TakenSnapshot } from "./group_snapshots.ts";
import type { GroupHost, GroupParts, LeaderHint, RequestOptions } from "./group_types.ts";
import type { LogHold } from "./log_memory.ts";
import type { Machine } from "../base/machine.ts";
import type { DriverCommand, Members } from "./members.ts";
import { ticksPerHeartbeat } from "./options.ts";
import { replicaRemoved, shuttingDown } from "./proposals.ts";
import { Removal } from "./removal.ts";
import { SnapshotKeeper } from "./snapshot_keeper.ts";

export class Group<Result> extends GroupFront<Result> {
  readonly id: number;
  readonly name: string;
  readonly replica: number;
  readonly machine: Machine<Result>;
  readonly members: Members;
  readonly #host: GroupHost;
  readonly #node: RaftNode;
  readonly #applier: Applier<Result>;
  readonly #snapshots: GroupSnapshots;
  readonly #restore: GroupRestore;
  readonly #catchUp: CatchUp;
  readonly #keeper: SnapshotKeeper;
  readonly #flights = new Flights();
  #leadership: Leadership;
  #leading = false;
  #committed: LogIndex;
  #toldApplied: LogIndex;
  readonly #news: CommitNews;
  readonly #removal: Removal;
  #stopped: CoveyError | undefined = undefined;
  #electionTicks: number;

  constructor(parts: GroupParts<Result>) {
    const { host, stored, machine } = parts;
    super(host);
    this.#host = host;
    this.id = parts.id;
    this.name = parts.name;
    this.replica = parts.replica;
    this.machine = machine;
    this.members = parts.members;
    this.#electionTicks = ticksOf(host.options, host.options.electionMs);
    this.#node = new RaftNode(coreOptions(host.options, parts.replica), stored, parts.random);
    this.#node.allowLease(false);
    const { role, term, leader, applied } = this.#node.status();
    this.#leadership = { role, term, leader };
    this.#committed = applied;
    this.#toldApplied = applied;
    this.#applier = new Applier(machine, host.clock, applied, {
      applied: (entry, data, result) => this.#applied(entry, data, result),
      configured: (entry) => this.#configured(entry),
      commanded: (command) => this.#commanded(command),
      progressed: (index) => this.#progressed(index),
      stuck: (entry, why) => this.#stop(why, entry),
    });
    this.#snapshots = parts.snapshots({
      metaNow: () => {
        this.#tellApplied(this.#applier.index);
        return this.#node.snapshotMeta(this.#applier.index);
      },
      stored: (meta) => {
        if (this.#stopped === undefined) this.#keeper.stored(meta);
      },
    });
    this.#news = new CommitNews(host.clock, () => {
      this.#node.announceCommit();
      host.schedule(this);
    });
    this.#removal = new Removal(() => this.#node.status());
    this.#restore = new GroupRestore(this.#snapshots, {
      restored: (meta) => this.#restored(meta),
      failed: (error) => {
        if (this.#stopped === undefined) this.#stop(error.rawMessage);
      },
    });
    this.#catchUp = new CatchUp(host.options.catchUpBytes, stored.entries);
    this.#keeper = new SnapshotKeeper({
      group: parts.id,
      host,
      node: this.#node,
      snapshots: this.#snapshots,
      catchUp: this.#catchUp,
      mayBegin: () => this.#applier.isBetweenEntries && !this.isRestoring,
      appliedIndex: () => this.#applier.index,
      proposeNothing: () => this.requests.propose(new Uint8Array(0)),
      offer: () => host.schedule(this),
    });
  }

  // -------------------------------------------------------------------------------------------
  // What users see

  get clusterId(): string {
    return this.#host.clusterId;
  }

  get term(): number {
    return this.#leadership.term;
  }

  get role(): Role {
    return this.#leadership.role;
  }

  get committed(): number {
    return this.#committed;
  }

  get applied(): number {
    return this.#applier.index;
  }

  /** This node leads; it may not have applied yet what earlier leaders committed. */
  get leads(): boolean {
    return this.#leadership.role === Role.leader;
  }

  /** It leads, and has applied everything that earlier leaders committed. */
  get isLeading(): boolean {
    return this.#leading;
  }

  /** The machine is being filled from a snapshot. */
  get isRestoring(): boolean {
    return this.#restore.isRestoring;
  }

  /** It leads, nobody else takes part, and nobody waits for anything. */
  get isAtRest(): boolean {
    return this.#leading && this.members.all.length === 1 && this.isIdle;
  }

  /** See {@link RaftNode.calmTicks}; nothing here waits for time to pass. */
  get calmTicks(): number {
    return this.isIdle ? this.#node.calmTicks : 1;
  }

  /** This replica id was given out, and taken back. */
  wasRemoved(replica: number): boolean {
    return replica < this.members.nextReplica && this.members.get(replica) === undefined;
  }

  /** Its removal is applied: it gets no entries any more, and cannot answer for the group. */
  get isRemoved(): boolean {
    return this.wasRemoved(this.replica);
  }

  /** Why the group does not go on here; undefined while it does. */
  get stopped(): CoveyError | undefined {
    return this.#stopped;
  }

  get leader(): LeaderHint | undefined {
    const { leader } = this.#leadership;
    return leader === noReplica ? undefined : this.members.get(leader) ??
      { replica: leader, nodeId: "", name: "", address: "" };
  }

  get electionTimeoutMs(): number {
    return this.#electionTicks * this.#host.options.heartbeatMs / ticksPerHeartbeat;
  }

  status(): Status {
    return this.#node.status();
  }

  /** Resolves once the entry at `index` is applied or the signal fires; rejects at the group's end. */
  advanced(index: LogIndex, signal: AbortSignal): Promise<void> {
    if (this.#stopped !== undefined) return Promise.reject(this.#stopped);
    if (this.#applier.index >= index || signal.aborted) return Promise.resolve();
    return this.events.advanced(index, signal);
  }

  /** Proposes a change of the configuration and waits until it is applied here. Leaders only. */
  change(change: ConfigurationChange, options?: RequestOptions): Promise<void> {
    return this.requests.change(this.#node, change, options);
  }

  /** Committed and applied entries from this one on, about so many bytes; `compacted` when gone. */
  committedFrom(from: LogIndex, bytesMax: number): readonly Entry[] | "compacted" {
    return this.#node.committedFrom(from, bytesMax, this.#applier.index);
  }

  /** What is in memory of the log stays for somebody who follows it; see LogMemory. */
  holdLog(): LogHold {
    return this.#keeper.hold();
  }

  /** Takes a snapshot now. */
  async takeSnapshot(): Promise<TakenSnapshot> {
    if (this.#stopped !== undefined) throw this.#stopped;
    return await this.#keeper.take();
  }

  /** The log is held up by this group's old entries. */
  wantSnapshot(heldBytes: number): void {
    this.#keeper.want(heldBytes);
  }

  transfer(target: number): ReturnType<RaftNode["transferLeadership"]> {
    const result = this.#node.transferLeadership(target);
    this.#host.schedule(this);
    return result;
  }

  // -------------------------------------------------------------------------------------------
  // What the host does with it

  step(message: Message): void {
    if (this.#stopped !== undefined) return;
    this.#node.step(message);
    if (this.#node.missedBy === message.from && this.members.get(message.from) !== undefined) {
      this.#stop(
        "entries that this replica had acknowledged are gone from its log: remove the replica, and " +
          "add the node anew with an empty data directory",
      );
      this.#host.membersChanged();
    }
    this.#host.schedule(this);
  }

  tick(nowMs: number, count: number): void {
    if (this.#stopped !== undefined) return;
    this.#node.tick(count);
    this.requests.tick(nowMs);
    if (!this.isRestoring) this.#keeper.tick(nowMs);
    if (this.isRemoved && this.#removal.tick(this.#electionTicks)) this.removed();
    if (
      this.#node.hasReady() || this.requests.proposals.hasQueued ||
      this.requests.barriers.wantsIndex
    ) {
      this.#host.schedule(this);
    }
    this.changed();
  }

  clockJumped(): void {
    this.#node.clockJumped();
  }

  /** What the timeouts have to be, by what the host measured. */
  adapt(electionMs: number, windowBytes: number): void {
    this.#node.limitWindows(windowBytes);
    if (this.#host.options.leaseReads) return;
    const ticks = ticksOf(this.#host.options, electionMs);
    // Each change draws the timeout anew: not for every little difference.
    if (ticks <= this.#electionTicks * 1.25 && ticks >= this.#electionTicks * 0.5) return;
    this.#electionTicks = ticks;
    this.#node.setElectionTicks(ticks);
  }

  /** Whether others should lead, seen from this node's disk. */
  standAside(aside: boolean): void {
    this.#node.standAside(aside);
  }

  /** Whether this leader may read by its lease; true when that is new. */
  allowLease(allowed: boolean): boolean {
    return this.#node.allowLease(allowed);
  }

  /** A replica could not be reached: what was on its way there is lost. */
  unreachable(replica: number): void {
    this.#node.unreachable(replica);
    if (replica === this.#leadership.leader) this.requests.barriers.lost();
    this.#host.schedule(this);
  }

  snapshotSent(replica: number, arrived: boolean): void {
    this.#node.snapshotSent(replica, arrived);
    this.#host.schedule(this);
  }

  /** The process that leads has ended: nobody needs to wait out its election timeout. */
  leaderIsGone(): void {
    if (this.#node.forgetLeader()) this.#host.schedule(this);
  }

  campaign(): void {
    if (this.#stopped !== undefined || this.#leadership.leader !== noReplica) return;
    this.#node.campaign();
    this.#host.schedule(this);
  }

  /** Everything up to this ticket is durable. Says whether that gave the group something to do. */
  durable(ticket: number): boolean {
    const landed = this.#flights.land(ticket);
    for (const flight of landed) this.#landed(flight);
    if (landed.length > 0) this.#node.persisted(landed[landed.length - 1].batch);
    return landed.length > 0;
  }

  /** One turn. */
  run(): void {
    while (this.#stopped === undefined) {
      this.requests.enter(this.#node);
      if (this.requests.barriers.wantsIndex && this.#mayRead()) {
        this.requests.barriers.asked(this.#node.readIndex());
      }
      if (!this.#node.hasReady()) break;
      this.#handle(this.#node.ready());
      this.#applier.run();
    }
    if (this.#stopped === undefined && this.#node.hasCommitNews) this.#news.wait();
    this.changed();
  }

  /** Ends it; whoever waits, or asks later, is told the reason. */
  async stop(reason: CoveyError = shuttingDown()): Promise<void> {
    this.#stopped ??= reason;
    this.#applier.stop();
    this.#news.stop();
    this.requests.proposals.close(reason.rawMessage);
    this.requests.barriers.close(() => reason);
    this.events.close(reason);
    await this.#snapshots.cancel();
  }

  // -------------------------------------------------------------------------------------------
  // A turn

  #handle(ready: Ready): void {
    const { snapshot, hardState, entries, mustSync } = ready;
    if (ready.leadership !== undefined) this.#led(ready.leadership);
    if (hardState !== undefined) this.#committed = hardState.commit;
    let ticket = this.#flights.newestTicket;
    if (snapshot !== undefined || hardState !== undefined || entries.length > 0) {
      const written = this.#host.log.append(this.id, { snapshot, hardState, entries, mustSync });
      if (mustSync) {
        ticket = written;
        this.#host.appended(written);
      }
      this.#catchUp.appended(entries);
    }
    const flight = { batch: ready.batch, ticket, afterSync: ready.afterSync, snapshot };
    if (ticket <= this.#host.log.durable) {
      this.#landed(flight);
      this.#node.persisted(ready.batch);
    } else this.#flights.push(flight);
    if (snapshot !== undefined) {
      this.#restore.expect(snapshot);
      this.#applier.hold();
      this.events.restoring();
    }
    for (const message of ready.messages) this.#send(message);
    if (ready.committed.length > 0) this.#applier.add(ready.committed);
    for (const { request, index } of ready.reads) {
      this.requests.barriers.indexed(request, index, this.isRestoring ? 0 : this.#applier.index);
    }
    for (const { kind, request } of ready.dropped) {
      if (kind === "read") this.requests.barriers.dropped(request);
    }
  }

  #landed(flight: Flight): void {
    for (const message of flight.afterSync) this.#send(message);
    if (flight.snapshot !== undefined) this.#restore.begin(flight.snapshot);
  }

  #send(message: Message): void {
    const to = this.members.get(message.to) ?? this.members.departed(message.to);
    if (message.type === MessageType.snapshot) this.#host.sendSnapshot(this, to, message);
    else this.#host.send(this, to, message);
  }

  /** Without a leader a request for the index would only be dropped, again and again. */
  #mayRead(): boolean {
    return this.#leadership.leader !== noReplica;
  }

  #led(leadership: Leadership): void {
    const before = this.#leadership;
    this.#leadership = leadership;
    if (leadership.role !== Role.leader && this.#leading) {
      this.#leading = false;
      this.events.led(false);
    }
    if (before.leader === leadership.leader && before.term === leadership.term) return;
    const { leader } = this;
    if (leader !== undefined) {
      const { replica, name } = leader;
      const fields = { group: this.id, term: leadership.term, replica, leader: name };
      this.#host.logger.info("there is a leader", fields);
    } else if (before.leader !== noReplica) {
      this.#host.logger.info("there is no leader", { group: this.id, term: leadership.term });
    }
    this.events.leader(leader);
  }

  // -------------------------------------------------------------------------------------------
  // Applying

  #applied(entry: Entry, data: Uint8Array, result: Result): void {
    this.#catchUp.applied(entry);
    this.requests.proposals.applied(entry.index, entry.term, result);
    this.events.applied(entry, data, result);
    const { role, term } = this.#leadership;
    if (!this.#leading && role === Role.leader && entry.term === term) {
      this.#leading = true;
      this.events.led(true);
    }
  }

  #configured(entry: Entry): void {
    this.#tellApplied(entry.index);
    this.members.changed(entry.data, this.#node.status().configuration);
    // What they wait for will not come here.
    if (this.isRemoved) this.requests.barriers.close(() => replicaRemoved(this.name));
    this.#host.membersChanged();
  }

  #commanded(command: DriverCommand): void {
    this.members.apply(command);
    this.#host.membersChanged();
  }

  #progressed(index: LogIndex): void {
    this.#tellApplied(index);
    this.requests.barriers.applied(index);
    this.events.progressed(index);
    this.#host.schedule(this);
  }

  #tellApplied(index: LogIndex): void {
    if (index <= this.#toldApplied) return;
    this.#toldApplied = index;
    this.#node.applied(index);
  }

  #stop(why: string, entry?: Entry): void {
    const where = entry === undefined ? "" : `, entry ${entry.index}`;
    const message = `group ${this.name}${where}: ${why}`;
    // To a caller this is one node that cannot serve; others can.
    const error = this.#stopped = new CoveyError(Code.unavailable, message, { sent: false });
    this.#host.logger.error("a group cannot go on", { group: this.id, why: message });
    this.#applier.stop();
    this.requests.proposals.close(message);
    this.requests.barriers.close(() => error);
    this.events.close(error);
    if (this.#leading) this.events.led(false);
    this.#leading = false;
    this.events.stopped(error);
  }

  /** Another node says that this replica was removed. */
  toldRemoved(nodeId: string): void {
    const by = this.members.ofNode(nodeId);
    if (by !== undefined && this.#removal.told(by.replica)) this.removed();
  }

  /** Its data is worth nothing any more. */
  removed(): void {
    if (this.#stopped !== undefined) return;
    this.#stop(
      `replica ${this.replica} was removed from the group: to add this node anew, stop it and give ` +
        "it an empty data directory",
    );
    this.#host.membersChanged();
  }

  /** The machine is what the leader's snapshot says. */
  #restored({ index }: SnapshotMeta): void {
    if (this.#stopped !== undefined) return;
    this.#applier.release(index);
    this.requests.proposals.skipped(index);
    this.#catchUp.restored(index);
    this.#committed = Math.max(this.#committed, index) as LogIndex;
    this.#tellApplied(index);
    this.requests.barriers.applied(index);
    this.events.restored();
    this.#host.membersChanged();
    this.#host.schedule(this);
  }
}
