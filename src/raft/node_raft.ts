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
import type { Subscription } from "../runtime/port.ts";
import type { Raft } from "../gen/covey/raft/v1/raft_pb.ts";
import type { Cluster } from "./cluster.ts";
import type { GroupObserver, LeaderHint, RequestOptions } from "./group_types.ts";
import type { Machine } from "./machine.ts";
import { encodeMachineData, type GroupRecord } from "./members.ts";
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

export class NodeRaft {
  readonly #cluster: Cluster;
  readonly #client: Client<typeof Raft>;

  constructor(cluster: Cluster, client: Client<typeof Raft>) {
    this.#cluster = cluster;
    this.#client = client;
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
    const { groups } = cluster;
    if (groups === undefined) {
      throw new CoveyError(
        Code.unavailable,
        `this node is part of no cluster yet: ${cluster.problem}`,
        { sent: false },
      );
    }
    groups.register(name, machine as Machine<unknown>);
    const call: CallOptions = { timeoutMs, signal };
    const { id } = await this.#client.createGroup({ name, replicas }, call);
    const running = await groups.running<Result>(name, signal ?? new AbortController().signal);
    if (running !== undefined) return running;
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
