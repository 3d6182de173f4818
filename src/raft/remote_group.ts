/** A program's group on other nodes: proposals go there, wherever that is by now. */
import { Code, CoveyError } from "../base/error.ts";
import { Raft } from "../gen/covey/raft/v1/raft_pb.ts";
import type { Subscription } from "../runtime/port.ts";
import { createClient } from "../ttrpc/client.ts";
import type { Cluster } from "./cluster.ts";
import type { Group } from "./group.ts";
import type { GroupObserver, LeaderHint, RequestOptions } from "./group_types.ts";
import type { RaftHost } from "./host.ts";
import type { Machine } from "../base/machine.ts";
import { encodeMachineData, fromWire, type GroupRecord, type Member } from "./members.ts";
import { shuttingDown, tooLate } from "./proposals.ts";

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

/** Between two rounds of asking who keeps the group. */
const retryMs = 100;
/** For a node to say who keeps the group. */
const askMs = 1_000;

export interface RemoteGroupParts<Result> {
  readonly cluster: Cluster;
  readonly machine: Machine<Result>;
  readonly record: GroupRecord;
  readonly id: number;
}

export class RemoteGroup<Result> implements RaftGroup<Result> {
  readonly id: number;
  readonly name: string;
  readonly #cluster: Cluster;
  readonly #machine: Machine<Result>;
  /** Who keeps the group, as far as it is known here: at first its founders. */
  #members: readonly Member[];
  #leader: Member | undefined = undefined;
  /** Where the last proposal was taken. */
  #at = 0;

  constructor({ cluster, machine, record, id }: RemoteGroupParts<Result>) {
    this.#cluster = cluster;
    this.#machine = machine;
    this.#members = record.founders;
    this.id = id;
    this.name = record.name;
  }

  /** The replica of this node, should it have been added to the group since. */
  get #here(): Group<Result> | undefined {
    const group = this.#cluster.host?.group(this.id) as Group<Result> | undefined;
    return group?.stopped === undefined ? group : undefined;
  }

  /** It was removed, as far as this node has applied the root group's log. */
  get #isGone(): boolean {
    const members = this.#cluster.root?.members;
    return members !== undefined && this.id < members.nextGroup &&
      members.group(this.id) === undefined;
  }

  get replica(): number {
    return this.#here?.replica ?? 0;
  }

  get isLeading(): boolean {
    return this.#here?.isLeading ?? false;
  }

  get leader(): LeaderHint | undefined {
    return this.#here?.leader ?? this.#leader;
  }

  async propose(data: Uint8Array, options: RequestOptions = {}): Promise<Result> {
    const here = this.#here;
    if (here !== undefined) return await here.propose(data, options);
    const { host } = this.#cluster;
    if (host === undefined) throw shuttingDown();
    const { clock } = host;
    const deadlineMs = clock.monotonicMs() + (options.timeoutMs ?? host.options.requestMs);
    const encoded = encodeMachineData(data);
    for (let tried = 0, rounds = 0;;) {
      if (this.#isGone) {
        throw new CoveyError(Code.notFound, `group ${this.name} was removed`, { sent: false });
      }
      const timeoutMs = deadlineMs - clock.monotonicMs();
      if (timeoutMs <= 0) throw tooLate(false);
      const member = this.#members[this.#at % this.#members.length];
      const left = { timeoutMs, signal: options.signal };
      const forwarded = await host.forward(this.id, member, encoded, left);
      if (forwarded.kind === "result") {
        this.#leader = member;
        const result = this.#machine.decodeResult(forwarded.bytes);
        if (result !== undefined) return result;
        throw new CoveyError(Code.internal, "the leader's answer cannot be read: update this node");
      }
      if (!forwarded.retry) {
        throw new CoveyError(Code.resourceExhausted, forwarded.why, { sent: false });
      }
      this.#at++;
      if (++tried < this.#members.length) continue;
      tried = 0;
      // Who is named as the leader may be leaving: nobody is asked again and again without a pause.
      if (rounds++ > 0) {
        await new Promise<void>((resolve) => clock.timer(retryMs, () => resolve(), undefined));
      }
      await this.#look(host, Math.min(askMs, timeoutMs), options.signal);
    }
  }

  /** Asks the nodes that kept the group, then all others of the cluster, who keeps it now. */
  async #look(host: RaftHost, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const asked = new Set<string>([host.nodeId]);
    for (const member of [...this.#members, ...this.#cluster.root?.members.all ?? []]) {
      if (asked.has(member.nodeId)) continue;
      asked.add(member.nodeId);
      try {
        const client = createClient(Raft, host.channelTo(member));
        const { peers, leader } = await client.peers({ group: this.id }, { timeoutMs, signal });
        // A replica of this node that is stopped takes nothing.
        const others = peers.map(fromWire).filter(({ nodeId }) => nodeId !== host.nodeId);
        if (leader === 0n || others.length === 0) continue;
        this.#members = others;
        this.#leader = this.#members.find(({ replica }) => replica === Number(leader));
        this.#at = this.#leader === undefined ? 0 : this.#members.indexOf(this.#leader);
        return;
      } catch (error) {
        // It is down, or keeps nothing of the group: another one may know.
        if (!(error instanceof CoveyError) || signal?.aborted) throw error;
      }
    }
  }

  async barrier(options?: RequestOptions): Promise<void> {
    const here = this.#here;
    if (here === undefined) throw this.#elsewhere();
    await here.barrier(options);
  }

  observe(observer: GroupObserver<Result>): Subscription {
    const here = this.#here;
    if (here === undefined) throw this.#elsewhere();
    return here.observe(observer);
  }

  #elsewhere(): CoveyError {
    const names = this.#members.map(({ name }) => name).join(", ");
    return new CoveyError(
      Code.failedPrecondition,
      `group ${this.name} is kept by ${names}, and not by this node`,
    );
  }
}
