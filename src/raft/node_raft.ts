/**
 * `node.raft`: the operators' requests as functions, and groups for machines of a program's own.
 *
 * ```ts
 * const group = await node.raft.group("counter", new CounterMachine(), { replicas: 3 });
 * const result = await group.propose(bytes);           // applied on a majority's log, once
 * await group.barrier();                               // now the machine here is up to date
 * group.observe({ applied: (entry, result) => … });    // every committed entry, in order
 * ```
 */
import type { CallOptions, Client } from "../ttrpc/service.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Clock, Subscription } from "../runtime/port.ts";
import type { Raft } from "../gen/covey/raft/v1/raft_pb.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { type Cluster, rootGroup } from "./cluster.ts";
import type { GroupObserver, LeaderHint, RequestOptions } from "./group_types.ts";
import type { Machine } from "./machine.ts";
import { encodeMachineData, type GroupRecord } from "./members.ts";
import { Observer, type ObserverOptions } from "./observer.ts";
import { tooLate } from "./proposals.ts";

export interface GroupOptions extends RequestOptions {
  /** How many nodes keep the group, when it is made now. Default three, or as many as there are. */
  readonly replicas?: number;
}

/** A group as a program sees it. */
export interface RaftGroup<Result> {
  readonly id: number;
  readonly name: string;
  /** Of this node; 0 when the group is placed on other nodes only. */
  readonly replica: number;
  readonly isLeading: boolean;
  readonly leader: LeaderHint | undefined;
  /** Resolves with the command's result once it is applied on the leader; see `KvGroup.propose`. */
  propose(data: Uint8Array, options?: RequestOptions): Promise<Result>;
  /**
   * Resolves when the machine here has everything that was acknowledged before the call.
   * `failed_precondition` where the group has no replica.
   */
  barrier(options?: RequestOptions): Promise<void>;
  /** Every entry as it is applied to the machine here, in order. */
  observe(observer: GroupObserver<Result>): Subscription;
}

/** Between two nodes that are asked who leads. */
const retryMs = 100;

export interface NodeRaftParts {
  readonly cluster: Cluster;
  /** The operators' requests, answered by this node. */
  readonly client: Client<typeof Raft>;
  readonly clock: Clock;
  readonly channel: (address: string) => Channel;
}

/** What an observer is told beside where to look; see {@link Observer}. */
export interface FollowOptions<Result>
  extends Omit<ObserverOptions<Result>, "clock" | "channels" | "group"> {
  /** Mesh addresses of nodes that have a replica, in the order in which they are tried. */
  readonly addresses: readonly string[];
  /** 0, the default, is the key-value store's. */
  readonly group?: number;
}

export class NodeRaft {
  readonly #parts: NodeRaftParts;
  readonly #cluster: Cluster;
  readonly #client: Client<typeof Raft>;

  constructor(parts: NodeRaftParts) {
    this.#parts = parts;
    this.#cluster = parts.cluster;
    this.#client = parts.client;
  }

  /**
   * Follows a group that this node is no member of: the machine gets every committed entry, in
   * order, from the first on or behind a snapshot. Ends when it is stopped.
   */
  follow<Result>(options: FollowOptions<Result>): Observer<Result> {
    const { addresses, group = rootGroup, ...rest } = options;
    if (addresses.length === 0) {
      throw new CoveyError(Code.invalidArgument, "addresses: name a node to follow");
    }
    const channels = addresses.map((address) => this.#parts.channel(address));
    return new Observer({ ...rest, group, clock: this.#parts.clock, channels });
  }

  /** The requests of `covey.raft.v1.Raft`, made of this node. */
  get operator(): Client<typeof Raft> {
    return this.#client;
  }

  /** 32 hexadecimal digits; undefined while the node is part of no cluster. */
  get clusterId(): string | undefined {
    return this.#cluster.record?.clusterId;
  }

  /**
   * A group of this name, made if there is none, driving the machine where this node is one of its
   * replicas. Every node that may be chosen has to call this with a machine of the same kind: a
   * replica without its machine does not run. One machine per name and node, until the node stops.
   */
  async group<Result>(
    name: string,
    machine: Machine<Result>,
    options: GroupOptions = {},
  ): Promise<RaftGroup<Result>> {
    const cluster = this.#cluster;
    const { replicas = 0, timeoutMs, signal } = options;
    const groups = await cluster.whenRunning(timeoutMs, signal);
    groups.register(name, machine as Machine<unknown>);
    const call: CallOptions = { timeoutMs, signal };
    let id: number;
    try {
      ({ id } = await this.#client.createGroup({ name, replicas }, call));
      const running = await groups.running<Result>(name, signal ?? new AbortController().signal);
      if (running !== undefined) return running;
    } catch (error) {
      groups.unregister(name);
      throw error;
    }
    const record = groups.record(name);
    if (record === undefined) throw new CoveyError(Code.notFound, `group ${name} was removed`);
    return new RemoteGroup(cluster, machine, record, id);
  }

  /** Ends a group everywhere and forgets its data. */
  async removeGroup(name: string, options: CallOptions = {}): Promise<void> {
    await this.#client.removeGroup({ name }, options);
  }
}

/** A group that is placed on other nodes: proposals go there. */
class RemoteGroup<Result> implements RaftGroup<Result> {
  readonly id: number;
  readonly name: string;
  readonly replica = 0;
  readonly isLeading = false;
  readonly #cluster: Cluster;
  readonly #machine: Machine<Result>;
  readonly #record: GroupRecord;
  /** Where the last proposal was taken. */
  #at = 0;

  constructor(cluster: Cluster, machine: Machine<Result>, record: GroupRecord, id: number) {
    this.#cluster = cluster;
    this.#machine = machine;
    this.#record = record;
    this.id = id;
    this.name = record.name;
  }

  get leader(): LeaderHint | undefined {
    return undefined;
  }

  async propose(data: Uint8Array, options: RequestOptions = {}): Promise<Result> {
    const { host } = this.#cluster;
    if (host === undefined) throw new CoveyError(Code.unavailable, "the node is shutting down");
    const { clock } = host;
    const deadlineMs = clock.monotonicMs() + (options.timeoutMs ?? host.options.requestMs);
    const encoded = encodeMachineData(data);
    const { founders } = this.#record;
    for (let tried = 0;; tried++) {
      const timeoutMs = deadlineMs - clock.monotonicMs();
      if (timeoutMs <= 0) throw tooLate(false);
      const member = founders[this.#at % founders.length];
      const left = { timeoutMs, signal: options.signal };
      const forwarded = await host.forward(this.id, member, encoded, left);
      if (forwarded.kind === "result") {
        const result = this.#machine.decodeResult(forwarded.bytes);
        if (result !== undefined) return result;
        throw new CoveyError(Code.internal, "the leader's answer cannot be read: update this node");
      }
      if (!forwarded.retry) {
        throw new CoveyError(Code.resourceExhausted, forwarded.why, { sent: false });
      }
      this.#at++;
      if (tried % founders.length === founders.length - 1) {
        await new Promise<void>((resolve) => clock.timer(retryMs, () => resolve(), undefined));
      }
    }
  }

  barrier(): Promise<void> {
    return Promise.reject(this.#elsewhere());
  }

  observe(): Subscription {
    throw this.#elsewhere();
  }

  #elsewhere(): CoveyError {
    const names = this.#record.founders.map(({ name }) => name).join(", ");
    return new CoveyError(
      Code.failedPrecondition,
      `group ${this.name} is kept by ${names}, and not by this node`,
    );
  }
}
