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
import type { Clock } from "../runtime/port.ts";
import type { Raft } from "../gen/covey/raft/v1/raft_pb.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { type Cluster, rootGroup } from "./cluster.ts";
import type { RequestOptions } from "./group_types.ts";
import type { Machine } from "../base/machine.ts";
import { Observer, type ObserverOptions } from "./observer.ts";
import { type RaftGroup, RemoteGroup } from "./remote_group.ts";

export type { RaftGroup } from "./remote_group.ts";

export interface GroupOptions extends RequestOptions {
  /** How many nodes keep the group, when it is made now. Default three, or as many as there are. */
  readonly replicas?: number;
}

export interface NodeRaftParts {
  readonly cluster: Cluster;
  /** The operators' requests, answered by this node. */
  readonly client: Client<typeof Raft>;
  readonly clock: Clock;
  readonly channel: (address: string) => Channel;
}

/** What an observer is told beside where to look; see {@link Observer}. */
export interface FollowOptions<Result>
  extends Omit<ObserverOptions<Result>, "clock" | "channels" | "ownsChannels" | "group"> {
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
    return new Observer({
      ...rest,
      group,
      clock: this.#parts.clock,
      channels,
      ownsChannels: true,
    });
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
    return new RemoteGroup({ cluster, machine, record, id });
  }

  /** Ends a group everywhere and forgets its data. */
  async removeGroup(name: string, options: CallOptions = {}): Promise<void> {
    await this.#client.removeGroup({ name }, options);
  }
}
