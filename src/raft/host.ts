/**
 * All groups of one process: one log, one tick, one set of links to the other nodes.
 *
 * The host gives groups their turns. A turn follows what happened (messages came, the disk is done,
 * the clock ticked) at the end of that same event, so that all groups' writes share one batch and
 * all messages to one node share one frame. Proposals alone wait while a batch is being written:
 * they join what that write's end brings, which is how load turns into larger batches.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Prng } from "../base/prng.ts";
import type { Clock, Random, Timer } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import type { Frame, Hello } from "../gen/covey/raft/v1/transport_pb.ts";
import { type Entry, type Message, MessageType, type SnapshotMeta } from "./core/types.ts";
import type { RaftCounters } from "./counters.ts";
import { Addresses } from "./addresses.ts";
import { Bereavement } from "./bereavement.ts";
import { Drain } from "./drain.ts";
import { electionMs } from "./election_time.ts";
import { Estimate } from "./estimate.ts";
import { forward } from "./forward.ts";
import type { Forwarded, GroupHost, GroupOfAny, RequestOptions } from "./group_types.ts";
import { mayHear } from "./hearing.ts";
import { lookAtLeases } from "./leases.ts";
import { leadOrNot, lookAtSpace, tellSpace } from "./low_space.ts";
import type { Member } from "./members.ts";
import type { RaftOptions } from "./options.ts";
import type { LinkKind, LinkLoss, Peer, PeerOwner } from "./peer.ts";
import { type HelloFacts, helloProblem, makeHello } from "./hello.ts";
import { countsTicks, type Pace, paceOf, tickMsOf } from "./pace.ts";
import { Peers } from "./peers.ts";
import { seededBy } from "./seeded.ts";
import { SnapshotSender } from "./snapshot_sender.ts";
import type { Storage } from "./storage.ts";
import { lookAtSupply } from "./supply.ts";
import { Ticker, type TickerOwner } from "./ticker.ts";
import type { LogError } from "./wal/error.ts";
import type { SnapshotStore } from "./wal/snapshot_store.ts";
import type { SpaceState } from "./wal/options.ts";
import type { WriteAheadLog } from "./wal/write_ahead_log.ts";
import { windowBytes } from "./windows.ts";
import { decodeMessage } from "./wire.ts";

/** Proposals that wait for a write's end go out after this long in any case. */
const lazyMs = 2;
/** How often timeouts are adapted, and the disk is looked at: as often as that while it is full. */
const adaptMs = 1_000;
const spaceMs = 10_000;
/** Segments that one group may keep from being released before it is asked for a snapshot. */
const heldSegmentsMax = 8;

export interface HostParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly options: RaftOptions;
  readonly facts: HelloFacts;
  readonly counters: RaftCounters;
  /** A managed connection to a node's mesh listener. */
  readonly channel: (address: string) => Channel;
  /** The log has failed: the process must end. */
  readonly fatal: (error: LogError) => void;
  /** Who takes part in a group changed, or which groups there are. */
  readonly membersChanged: () => void;
  /** A group that does not run here holds up the log. */
  readonly held: (group: number) => void;
}

export class RaftHost implements GroupHost, PeerOwner, TickerOwner {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly options: RaftOptions;
  readonly counters: RaftCounters;
  readonly #parts: HostParts;
  readonly #groups = new Map<number, GroupOfAny>();
  readonly #addresses: Addresses;
  readonly #peers: Peers;
  readonly #snapshots: SnapshotSender;
  readonly #random: Prng;
  readonly diskMs: Estimate = new Estimate();
  /** How this node leaves. */
  readonly drain: Drain;
  #storage: Storage | undefined = undefined;
  #dirty = new Set<GroupOfAny>();
  #lazy = new Set<GroupOfAny>();
  #flushing = false;
  #flushDue = false;
  #lazyTimer: Timer | undefined = undefined;
  readonly #ticker: Ticker;
  readonly #bereavement: Bereavement;
  #windowBytes: number;
  #adaptAtMs = 0;
  #spaceAtMs = 0;
  #syncSample: { readonly ticket: number; readonly sinceMs: number } | undefined = undefined;
  #stopped = false;

  constructor(parts: HostParts) {
    this.#parts = parts;
    this.clock = parts.clock;
    this.logger = parts.logger;
    this.options = parts.options;
    this.#windowBytes = parts.options.inflightBytesMax;
    this.counters = parts.counters;
    this.#random = seededBy(parts.random);
    this.#ticker = new Ticker(parts.clock, tickMsOf(parts.options), this);
    this.drain = new Drain(this);
    this.#bereavement = new Bereavement(parts.clock, this.#random);
    this.#addresses = new Addresses(this);
    this.#peers = new Peers(this, parts.facts.nodeId);
    this.#snapshots = new SnapshotSender({
      counters: parts.counters,
      clock: parts.clock,
      logger: parts.logger,
      store: () => this.store,
      hello: (peerId) => this.hello(peerId),
      helloProblem: (peer, hello) => this.helloProblem(peer, hello),
    });
  }

  get clusterId(): string {
    return this.#parts.facts.clusterId;
  }

  get nodeId(): string {
    return this.#parts.facts.nodeId;
  }

  get facts(): HelloFacts {
    return this.#parts.facts;
  }

  get log(): WriteAheadLog {
    return this.#opened.log;
  }

  get store(): SnapshotStore {
    return this.#opened.store;
  }

  get lowSpace(): boolean {
    return this.log.space === "low";
  }

  get someDiskIsLow(): boolean {
    return this.lowSpace || this.#peers.someDiskIsLow;
  }

  /** Nothing is done any more. */
  get isStopped(): boolean {
    return this.#stopped;
  }

  /** A window of appends fits, or what does not would be made and thrown away with every answer. */
  get queueBytesMax(): number {
    return 2 * this.#windowBytes;
  }

  get groups(): readonly GroupOfAny[] {
    return [...this.#groups.values()];
  }

  get peers(): readonly Peer[] {
    return [...this.#peers.all];
  }

  get #opened(): Storage {
    if (this.#storage === undefined) {
      throw new CoveyError(Code.failedPrecondition, "the node is part of no cluster yet");
    }
    return this.#storage;
  }

  group(id: number): GroupOfAny | undefined {
    return this.#groups.get(id);
  }

  peer(nodeId: string): Peer | undefined {
    return this.#peers.get(nodeId);
  }

  /** A generator for one replica, seeded anew at each start. */
  random(): Prng {
    return this.#random.fork();
  }

  // -------------------------------------------------------------------------------------------
  // Start and stop

  begin(storage: Storage): void {
    this.#storage = storage;
    this.counters.isTailRepaired = storage.isTailRepaired;
    this.#ticker.begin();
  }

  add(group: GroupOfAny): void {
    this.#groups.set(group.id, group);
    this.membersChanged();
    this.schedule(group);
  }

  async remove(id: number, reason: CoveyError): Promise<void> {
    const group = this.#groups.get(id);
    this.#groups.delete(id);
    await group?.stop(reason);
    this.membersChanged();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#ticker.stop();
    this.#lazyTimer?.cancel();
    this.#bereavement.stop();
    this.#snapshots.stop();
    this.#peers.close();
    await Promise.all(this.groups.map((group) => group.stop()));
    await this.#storage?.log.close();
  }

  // -------------------------------------------------------------------------------------------
  // Turns

  schedule(group: GroupOfAny): void {
    this.#dirty.add(group);
    this.#hurry(group);
    this.#flushSoon();
  }

  scheduleLazily(group: GroupOfAny): void {
    if (!this.log.isWriting) return this.schedule(group);
    this.#hurry(group);
    this.#lazy.add(group);
    this.#lazyTimer ??= this.clock.timer(lazyMs, flushLazy, this);
  }

  /** The timer's work; public only for the timer. */
  flushLazily(): void {
    this.#lazyTimer = undefined;
    if (this.#lazy.size > 0) this.#flush();
  }

  #hurry(group: GroupOfAny): void {
    if (!this.#ticker.isLong) return;
    if (countsTicks(group, this.#peers.all, this.options)) this.#ticker.hurry();
  }

  #flushSoon(): void {
    if (this.#flushDue || this.#flushing) return;
    this.#flushDue = true;
    void Promise.resolve().then(() => {
      this.#flushDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#flushing || this.#stopped) return;
    // What wakes the process after a sleep may be a read, before the tick.
    this.#noticeSleep();
    this.#ticker.catchUp();
    this.#flushing = true;
    try {
      while (this.#dirty.size > 0 || this.#lazy.size > 0) {
        const groups = new Set([...this.#dirty, ...this.#lazy]);
        this.#dirty = new Set();
        this.#lazy = new Set();
        for (const group of groups) group.run();
      }
      for (const peer of this.#peers.all) peer.flush();
    } finally {
      this.#flushing = false;
    }
  }

  // -------------------------------------------------------------------------------------------
  // The disk

  /** For the log: everything up to this ticket is durable. */
  durable(ticket: number): void {
    const sample = this.#syncSample;
    if (sample !== undefined && sample.ticket <= ticket) {
      this.diskMs.add(this.nowMs() - sample.sinceMs);
      this.#syncSample = undefined;
    }
    for (const group of this.#groups.values()) {
      if (group.durable(ticket)) this.#dirty.add(group);
    }
    this.#flush();
  }

  /** A group appended to the log under this ticket. */
  appended(ticket: number): void {
    this.#syncSample ??= { ticket, sinceMs: this.nowMs() };
  }

  failed(error: LogError): void {
    if (this.#stopped) return;
    // From now on nothing is said that the disk might not hold.
    this.#stopped = true;
    this.#parts.fatal(error);
  }

  space(state: SpaceState, freeBytes: number): void {
    if (this.#stopped) return;
    this.#spaceAtMs = Math.min(this.#spaceAtMs, this.nowMs() + adaptMs);
    tellSpace(this.logger, state, freeBytes, this.options.lowWaterBytes);
    leadOrNot(this);
  }

  compactLog(group: number, meta: SnapshotMeta): void {
    if (!this.#stopped) this.log.compact(group, meta);
  }

  // -------------------------------------------------------------------------------------------
  // Time

  nowMs(): number {
    return this.clock.monotonicMs();
  }

  /** A lease is counted in ticks: one that takes too long voids it. */
  #noticeSleep(): void {
    if (!this.options.leaseReads || !this.#ticker.isLate) return;
    for (const group of this.#groups.values()) group.clockJumped();
  }

  /** For the ticker. */
  pace(): Pace {
    return paceOf(this.#groups.values(), this.#peers.all, this.options);
  }

  passed(count: number): void {
    this.#noticeSleep();
    const nowMs = this.nowMs();
    for (const group of this.#groups.values()) group.tick(nowMs, count);
  }

  /** A timer of the ticker is over. */
  tick(): void {
    const nowMs = this.nowMs();
    for (const peer of this.#peers.all) peer.tick();
    const window = windowBytes(this.options, this.#peers.all);
    if (nowMs >= this.#adaptAtMs || window !== this.#windowBytes) {
      this.#windowBytes = window;
      this.#adaptAtMs = nowMs + adaptMs;
      this.#adapt();
    }
    if (nowMs >= this.#spaceAtMs) {
      this.#spaceAtMs = nowMs + (this.lowSpace ? adaptMs : spaceMs);
      void lookAtSpace(this);
    }
    this.#flush();
  }

  #adapt(): void {
    for (const group of this.#groups.values()) {
      const ways = group.members.all.map(({ nodeId }: Member) => this.#peers.get(nodeId));
      group.adapt(electionMs(this.options, ways, this.diskMs), this.#windowBytes);
      this.#addresses.look(group);
      lookAtSupply(this, group);
    }
    lookAtLeases(this);
    this.#peers.expire(this.nowMs());
    this.#askForSnapshot();
    if (this.lowSpace) leadOrNot(this);
  }

  /** A group that has nothing new to say may keep old segments from being released. */
  #askForSnapshot(): void {
    const { newest, oldest, holder } = this.log.segments;
    if (holder === undefined || newest - oldest < heldSegmentsMax) return;
    const group = this.#groups.get(holder);
    if (group !== undefined) group.wantSnapshot((newest - oldest) * this.options.segmentBytes);
    else this.#parts.held(holder);
  }

  // -------------------------------------------------------------------------------------------
  // Other nodes

  /** The nodes of all groups are peers; whoever is in none any more is let go after a while. */
  membersChanged(): void {
    const wanted = new Set<string>();
    for (const group of this.#groups.values()) {
      // A group that stopped has nothing to say any more.
      if (group.stopped !== undefined) continue;
      for (const { nodeId, name, address } of group.members.all) {
        if (nodeId === this.nodeId) continue;
        wanted.add(nodeId);
        // An open link knows better than the log where the node is.
        const peer = this.meet(nodeId, name, address);
        if (!peer.connected) peer.move(address);
      }
    }
    this.#peers.want(wanted);
    this.#parts.membersChanged();
  }

  /** The peer of this id, made if need be. */
  meet(nodeId: string, name: string, address: string): Peer {
    return this.#peers.meet(nodeId, name, address);
  }

  send(group: GroupOfAny, to: Member | undefined, message: Message): void {
    const peer = this.#peerFor(group.id, to, message.to);
    if (peer === undefined) group.unreachable(message.to);
    else peer.gather(group.id, message);
  }

  sendSnapshot(group: GroupOfAny, to: Member | undefined, message: Message): void {
    const peer = this.#peerFor(group.id, to, message.to);
    if (peer === undefined) group.snapshotSent(message.to, false);
    else this.#snapshots.send(group, peer, message);
  }

  #peerFor(group: number, to: Member | undefined, replica: number): Peer | undefined {
    return to === undefined ? this.#peers.contactOf(group, replica) : this.#peers.get(to.nodeId);
  }

  forward(
    group: number,
    to: Member,
    data: Uint8Array,
    options: RequestOptions,
  ): Promise<Forwarded> {
    const peer = this.meet(to.nodeId, to.name, to.address);
    return forward(peer, { clusterId: this.clusterId, group, data }, options);
  }

  silentMs(nodeId: string): number {
    return this.nowMs() - (this.#peers.get(nodeId)?.lastHeardMs ?? -Infinity);
  }

  channelTo(member: Member): Channel {
    return this.meet(member.nodeId, member.name, member.address).channel("data");
  }

  channel(address: string): Channel {
    return this.#parts.channel(address);
  }

  hello(peerId: string): ReturnType<typeof makeHello> {
    return makeHello(this.#parts.facts, peerId);
  }

  helloProblem(peer: Peer, hello: Hello): CoveyError | undefined {
    const problem = helloProblem(this.#parts.facts, hello, peer.nodeId);
    if (problem === undefined) this.heard(peer, hello);
    return problem;
  }

  /** A peer's hello was checked. */
  heard(peer: Peer, hello: Hello): void {
    peer.said(hello);
    lookAtLeases(this);
  }

  received(peer: Peer, frame: Frame, _kind: LinkKind): void {
    this.#ticker.catchUp();
    for (const { group, replica } of frame.removed) {
      const own = this.#groups.get(group);
      if (own !== undefined && own.replica === Number(replica)) own.toldRemoved(peer.nodeId);
    }
    // Of the frame so far: they go to the log together.
    let entries: readonly Entry[] = [];
    for (const wire of frame.messages) {
      const group = this.#groups.get(wire.group);
      const message = group === undefined ? undefined : decodeMessage(wire);
      if (group === undefined || message === undefined) continue;
      if (
        message.type === MessageType.snapshot || !mayHear(this.#peers, group, { peer, message })
      ) continue;
      if (message.entries.length > 0) {
        const all = entries.length > 0 ? entries.concat(message.entries) : message.entries;
        // A full disk must not end the process: the leader goes on with the others, and tries again.
        if (!group.supply.came(this.log.hasRoomFor(all), this.nowMs())) continue;
        entries = all;
      }
      group.step(message);
    }
  }

  lost(peer: Peer, kind: LinkKind, { wasOpen, refused }: LinkLoss): void {
    if (this.#stopped) return;
    for (const group of this.#groups.values()) {
      const member = group.members.ofNode(peer.nodeId);
      if (member === undefined) continue;
      group.unreachable(member.replica);
      if (refused && kind === "control" && group.leader?.replica === member.replica) {
        this.#bereavement.leaderIsGone(group, this.options.electionMs / 5);
      }
    }
    // Whether nobody listens there any more shows when it is dialled; after that the ticks dial.
    if (wasOpen && kind === "control") peer.link("control").connect();
  }
}

function flushLazy(host: RaftHost): void {
  host.flushLazily();
}
