/**
 * A cluster of key-value modules without consensus: one log that everybody agrees on at once, with
 * the faults that the services have to live with. Nodes can also be reached over a network.
 */
import type { DescService } from "npm:@bufbuild/protobuf@2.17.0";
import { create, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { assert } from "../../src/base/assert.ts";
import { type Address, formatAddress } from "../../src/base/address.ts";
import { Code, CoveyError } from "../../src/base/error.ts";
import type { Logger } from "../../src/base/log.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Prng } from "../../src/base/prng.ts";
import { LeaderHintSchema } from "../../src/gen/covey/raft/v1/raft_pb.ts";
import { KvClient, type KvClientOptions } from "../../src/kv/client.ts";
import { channelEndpoint, type KvEndpoint, localEndpoint } from "../../src/kv/client_endpoint.ts";
import type { KvResult } from "../../src/kv/core/result.ts";
import type { GroupObserver, KvGroup, LeaderHint, RequestOptions } from "../../src/kv/group.ts";
import { KvModule } from "../../src/kv/kv_module.ts";
import type { KvModuleOptions } from "../../src/kv/options.ts";
import type { Clock, Net, Subscription, Timer } from "../../src/runtime/port.ts";
import { Channel } from "../../src/ttrpc/channel.ts";
import { createClient } from "../../src/ttrpc/client.ts";
import { createLocalClient, type LocalCaller } from "../../src/ttrpc/local_client.ts";
import { ServiceRegistry } from "../../src/ttrpc/registry.ts";
import { RpcServer } from "../../src/ttrpc/server.ts";
import type { Client } from "../../src/ttrpc/service.ts";
import { ManualClock, MemoryNet, turns } from "../ttrpc/support/memory_net.ts";

export const clusterId = "0123456789abcdef0123456789abcdef";

/** What goes wrong with proposals; numbers say with how many of the next ones. */
export interface Faults {
  /** Applied, but the proposer is told that the leader was lost. */
  answersLost: number;
  /** Never applied, and the proposer is told the same. */
  proposalsLost: number;
  /** Refused before anything happened. */
  refused: number;
  /** Neither appended nor answered until {@link FakeCluster.release}. */
  held: boolean;
}

interface Entry {
  readonly term: number;
  readonly data: Uint8Array;
}

export interface ClusterOptions {
  readonly nodes?: number;
  readonly clock?: Clock;
  readonly net?: Net;
  readonly address?: () => Address;
  readonly options?: KvModuleOptions;
  /** Of one node, in place of the others'. */
  readonly optionsOf?: (at: number) => KvModuleOptions;
  readonly logger?: Logger;
}

export class FakeCluster {
  readonly clock: Clock;
  readonly net: Net;
  readonly random = new Prng(1);
  readonly log: Entry[] = [];
  readonly nodes: FakeNode[] = [];
  readonly faults: Faults = { answersLost: 0, proposalsLost: 0, refused: 0, held: false };
  readonly options: ClusterOptions;
  term = 1;
  leader: FakeNode | undefined = undefined;
  readonly #clients: KvClient[] = [];
  #held: (() => void)[] = [];
  #port = 20_000;

  constructor(options: ClusterOptions = {}) {
    this.options = options;
    this.clock = options.clock ?? new ManualClock();
    this.net = options.net ?? new MemoryNet(this.clock as ManualClock);
    for (let at = 0; at < (options.nodes ?? 1); at++) this.nodes.push(new FakeNode(this, at));
    for (const node of this.nodes) node.attach();
    this.elect(0);
  }

  get manual(): ManualClock {
    assert(this.clock instanceof ManualClock, "the clock is moved by hand");
    return this.clock;
  }

  address(): Address {
    return this.options.address?.() ??
      { kind: "tcp", host: "127.0.0.1", port: this.#port++ };
  }

  /** Another leader, of the next term; none without a number. */
  elect(at?: number): void {
    const before = this.leader;
    this.leader = at === undefined ? undefined : this.nodes[at];
    this.term++;
    before?.group.led(false);
    for (const node of this.nodes) node.group.leaderChanged();
    // A leader's first entry has no data.
    if (this.leader !== undefined) this.append(new Uint8Array(0));
  }

  append(data: Uint8Array): number {
    this.log.push({ term: this.term, data });
    for (const node of this.nodes) node.pump();
    return this.log.length;
  }

  /** Resolves once proposals are not held. */
  admitted(): Promise<void> | undefined {
    return this.faults.held ? new Promise<void>((resolve) => this.#held.push(resolve)) : undefined;
  }

  release(): void {
    this.faults.held = false;
    for (const resolve of this.#held.splice(0)) resolve();
  }

  /** A client over these nodes, in this order; without a network unless it is asked for. */
  client(options: Partial<KvClientOptions> & {
    readonly nodes?: readonly number[];
    readonly network?: boolean;
  } = {}): KvClient {
    const { nodes = this.nodes.map((_, at) => at), network = false, ...own } = options;
    const endpoints = nodes.map((at) =>
      network ? this.nodes[at].channelEndpoint() : this.nodes[at].endpoint
    );
    const client = new KvClient({ clock: this.clock, random: this.random, endpoints, ...own });
    this.#clients.push(client);
    return client;
  }

  async close(): Promise<void> {
    this.release();
    const closing = Promise.all(this.#clients.map((client) => client.close()));
    const stopping = closing.then(async () => {
      for (const node of this.nodes) await node.stop();
    });
    if (!(this.clock instanceof ManualClock)) return await stopping;
    // What waits for an answer that never comes waits for time.
    while (!await Promise.race([stopping.then(() => true), turns(5).then(() => false)])) {
      await this.clock.advance(100);
    }
  }
}

export class FakeNode {
  readonly cluster: FakeCluster;
  readonly at: number;
  readonly module: KvModule;
  readonly group: FakeGroup;
  readonly registry = new ServiceRegistry();
  readonly endpoint: KvEndpoint;
  /** Applies nothing while it is true. */
  paused = false;
  /** Applies no further than this. */
  upTo = Infinity;
  /** Hears and says nothing. */
  cut = false;
  applied = 0;
  #address: Address | undefined = undefined;
  #server: RpcServer | undefined = undefined;
  readonly #channels: Channel[] = [];
  #pumping = false;

  constructor(cluster: FakeCluster, at: number) {
    this.cluster = cluster;
    this.at = at;
    this.module = new KvModule({
      clock: cluster.clock,
      random: cluster.random,
      logger: cluster.options.logger ?? silentLogger,
      options: cluster.options.optionsOf?.(at) ?? cluster.options.options,
      nodeName: `node-${at + 1}`,
      version: "0.0.0",
    });
    this.group = new FakeGroup(this);
    for (const [service, handlers] of this.module.services()) this.registry.add(service, handlers);
    this.endpoint = localEndpoint(this.caller);
  }

  get caller(): LocalCaller {
    return {
      registry: this.registry,
      clock: this.cluster.clock,
      identity: { kind: "local", name: "test" },
      address: { kind: "abstract", name: "test" },
    };
  }

  get replica(): number {
    return this.at + 1;
  }

  get hint(): LeaderHint {
    const address = this.#address === undefined ? "" : formatAddress(this.#address);
    return { replica: this.replica, nodeId: `${this.at}`, name: this.module.nodeName, address };
  }

  attach(): void {
    this.module.attach(this.group);
  }

  /** A client of one service, without a network. */
  local<S extends DescService>(service: S): Client<S> {
    return createLocalClient(service, this.caller);
  }

  /** Serves on the cluster's network. */
  async serve(): Promise<Address> {
    const { net, clock } = this.cluster;
    this.#server = new RpcServer({ net, clock, registry: this.registry });
    const listener = await this.#server.listen({ address: this.cluster.address() });
    this.#address = listener.address;
    return listener.address;
  }

  /** The node is gone from the network; its channels stay. */
  async unserve(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.stop(0);
  }

  channel(): Channel {
    assert(this.#address !== undefined, "the node is served");
    const { net, clock, random } = this.cluster;
    const backoff = { firstMs: 20, mostMs: 200 };
    const address = this.#address;
    const channel = new Channel({ net, clock, random, address, peer: "covey", backoff });
    this.#channels.push(channel);
    return channel;
  }

  channelEndpoint(): KvEndpoint {
    return channelEndpoint(this.channel());
  }

  remote<S extends DescService>(service: S): Client<S> {
    return createClient(service, this.channel());
  }

  /** Applies what is committed, soon. */
  pump(): void {
    if (this.#pumping || this.paused || this.cut) return;
    this.#pumping = true;
    queueMicrotask(() => this.#applySome());
  }

  /** Goes on, up to this entry of the log. */
  resume(upTo = Infinity): void {
    this.paused = false;
    this.cut = false;
    this.upTo = upTo;
    this.pump();
  }

  #applySome(): void {
    this.#pumping = false;
    const { log } = this.cluster;
    const { machine } = this.module;
    const last = (): number => Math.min(this.upTo, log.length);
    while (!this.paused && !this.cut && !machine.restoring && this.applied < last()) {
      const { term, data } = log[this.applied];
      const entry = { index: this.applied + 1, term, data };
      const result = machine.applying ? machine.resume() : machine.apply(entry);
      if (result === undefined) {
        // A large one: everybody else has the thread in between.
        this.#pumping = true;
        setTimeout(() => this.#applySome(), 0);
        return;
      }
      this.applied++;
      this.group.entryApplied(entry, result);
    }
  }

  /** Is filled from another node's state, as after it fell far behind; in steps. */
  restoreFrom(source: FakeNode): { finish(): void } {
    const pieces: Uint8Array[] = [];
    const snapshot = source.module.machine.snapshot();
    for (let piece = snapshot.next(1000); piece !== undefined; piece = snapshot.next(1000)) {
      pieces.push(piece);
    }
    const sink = this.module.machine.restore();
    this.group.notify((observer) => observer.restoring?.());
    const half = pieces.splice(0, pieces.length >> 1);
    for (const piece of half) assert(sink.push(piece) === undefined, "the snapshot is whole");
    return {
      finish: () => {
        for (const piece of pieces) assert(sink.push(piece) === undefined, "it is whole");
        assert(sink.finish() === undefined, "it is whole");
        this.applied = snapshot.index;
        this.group.notify((observer) => observer.restored?.());
        this.group.progressed();
        this.pump();
      },
    };
  }

  async stop(): Promise<void> {
    this.module.stop();
    for (const channel of this.#channels) channel.close();
    await this.unserve();
  }
}

interface Waiting {
  readonly resolve: (result: KvResult) => void;
}

export class FakeGroup implements KvGroup {
  readonly clusterId = clusterId;
  readonly #node: FakeNode;
  readonly #observers = new Set<GroupObserver>();
  readonly #results = new Map<number, Waiting>();
  #barriers: { readonly index: number; readonly resolve: () => void }[] = [];
  #leaderWaiters: (() => void)[] = [];
  #led = false;
  readonly #channels = new Map<FakeNode, Channel>();
  /** How often the leader was asked to be sure of itself. */
  barriers = 0;
  proposals = 0;

  constructor(node: FakeNode) {
    this.#node = node;
  }

  get replica(): number {
    return this.#node.replica;
  }

  /** Why it does not go on. */
  stopped: CoveyError | undefined = undefined;
  hindrance: string | undefined = undefined;
  readonly roomProblem = undefined;
  readonly electionTimeoutMs = 1_000;

  /** It does not go on, for good. */
  stop(reason: string): void {
    const error = this.stopped = new CoveyError(Code.unavailable, reason, { sent: false });
    this.notify((observer) => observer.stopped?.(error));
  }

  get term(): number {
    return this.#node.cluster.term;
  }

  get committed(): number {
    return this.#node.cluster.log.length;
  }

  get applied(): number {
    return this.#node.applied;
  }

  get isLeading(): boolean {
    return this.#led;
  }

  get leader(): LeaderHint | undefined {
    return this.#node.cut ? undefined : this.#node.cluster.leader?.hint;
  }

  led(leading: boolean): void {
    if (this.#led === leading) return;
    this.#led = leading;
    this.notify((observer) => observer.led?.(leading));
  }

  leaderChanged(): void {
    for (const resolve of this.#leaderWaiters.splice(0)) resolve();
    const { leader } = this;
    this.notify((observer) => observer.leader?.(leader));
  }

  notify(tell: (observer: GroupObserver & { restoring?(): void }) => void): void {
    for (const observer of this.#observers) tell(observer);
  }

  entryApplied(entry: { index: number; term: number; data: Uint8Array }, result: KvResult): void {
    this.notify((observer) => observer.applied?.(entry, result));
    const { cluster } = this.#node;
    if (cluster.leader === this.#node && entry.index === cluster.log.length) this.led(true);
    if (cluster.leader === this.#node) {
      for (const node of cluster.nodes) node.group.#answer(entry.index, result);
    }
    this.progressed();
  }

  progressed(): void {
    const due = this.#barriers.filter(({ index }) => index <= this.#node.applied);
    this.#barriers = this.#barriers.filter(({ index }) => index > this.#node.applied);
    for (const { resolve } of due) resolve();
  }

  #answer(index: number, result: KvResult): void {
    const waiting = this.#results.get(index);
    if (waiting === undefined) return;
    this.#results.delete(index);
    const { machine } = this.#node.module;
    // What comes from another node was bytes on the way.
    const own = machine.decodeResult(machine.encodeResult(result));
    assert(own !== undefined, "results survive the way");
    waiting.resolve(own);
  }

  propose(data: Uint8Array, options: RequestOptions = {}): Promise<KvResult> {
    this.proposals++;
    return this.#within(options, async (isOver) => {
      const { cluster } = this.#node;
      if (options.leaderOnly === true && !this.#led) throw notLeading();
      await this.#leaderKnown(isOver);
      await cluster.admitted();
      if (isOver()) throw lost(false);
      if (options.leaderOnly === true && !this.#led) throw notLeading();
      const { faults } = cluster;
      if (faults.refused > 0) {
        faults.refused--;
        throw lost(false, cluster.leader?.hint);
      }
      if (faults.proposalsLost > 0) {
        faults.proposalsLost--;
        throw lost(true);
      }
      if (faults.answersLost > 0) {
        faults.answersLost--;
        cluster.append(data);
        throw lost(true);
      }
      return await new Promise<KvResult>((resolve) => {
        this.#results.set(cluster.append(data), { resolve });
      });
    });
  }

  barrier(options: RequestOptions = {}): Promise<void> {
    this.barriers++;
    return this.#within(options, async (isOver) => {
      await this.#leaderKnown(isOver);
      const { log } = this.#node.cluster;
      if (this.#node.applied >= log.length) return;
      await new Promise<void>((resolve) => this.#barriers.push({ index: log.length, resolve }));
    });
  }

  async leaderChannel(options: RequestOptions = {}): Promise<"self" | Channel> {
    await this.#within(options, (isOver) => this.#leaderKnown(isOver));
    const { leader } = this.#node.cluster;
    if (leader === this.#node) return "self";
    if (leader === undefined) throw lost(false);
    let channel = this.#channels.get(leader);
    if (channel === undefined) this.#channels.set(leader, channel = leader.channel());
    return channel;
  }

  observe(observer: GroupObserver): Subscription {
    this.#observers.add(observer);
    return { cancel: () => this.#observers.delete(observer) };
  }

  async #leaderKnown(isOver: () => boolean): Promise<void> {
    while (this.leader === undefined && !isOver()) {
      await new Promise<void>((resolve) => this.#leaderWaiters.push(resolve));
    }
  }

  /** As the real one: nothing waits for ever. */
  #within<T>(options: RequestOptions, work: (isOver: () => boolean) => Promise<T>): Promise<T> {
    const { timeoutMs = 7_000, signal } = options;
    let over = false;
    let timer: Timer | undefined;
    return new Promise<T>((resolve, reject) => {
      const end = (settle: () => void): void => {
        over = true;
        timer?.cancel();
        settle();
      };
      timer = this.#node.cluster.clock.timer(timeoutMs, () => {
        const code = this.leader === undefined ? Code.unavailable : Code.deadlineExceeded;
        const sent = this.leader !== undefined;
        end(() => reject(new CoveyError(code, `not done within ${timeoutMs} ms`, { sent })));
      }, undefined);
      signal?.addEventListener("abort", () => {
        end(() => reject(new CoveyError(Code.canceled, "canceled", { sent: true })));
      });
      work(() => over).then(
        (value) => end(() => resolve(value)),
        (error) => end(() => reject(error)),
      );
    });
  }
}

function notLeading(): CoveyError {
  return new CoveyError(Code.failedPrecondition, "this node does not lead", { sent: false });
}

function lost(sent: boolean, leader?: LeaderHint): CoveyError {
  const details = leader === undefined ? [] : [{
    typeUrl: "type.googleapis.com/covey.raft.v1.LeaderHint",
    value: toBinary(
      LeaderHintSchema,
      create(LeaderHintSchema, {
        replica: BigInt(leader.replica),
        nodeId: leader.nodeId,
        name: leader.name,
        address: leader.address,
      }),
    ),
  }];
  const message = sent ? "the leader was lost meanwhile" : "there is no leader";
  return new CoveyError(Code.unavailable, message, { sent, details });
}

/** Settles a promise that needs time to pass. */
export async function settle<T>(
  cluster: FakeCluster,
  promise: Promise<T>,
  stepMs = 10,
): Promise<T> {
  let over = false;
  promise.then(() => over = true, () => over = true);
  await turns(3);
  for (let steps = 0; !over; steps++) {
    assert(steps < 20_000, "the promise settles in the end");
    await cluster.manual.advance(stepMs);
  }
  return await promise;
}
