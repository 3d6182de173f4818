/**
 * Follows a group without being a member of it: any number of observers, each at any replica, cost
 * the leader nothing. What an observer has is committed and may be old; it goes on where it was
 * after a loss of the node that it follows, at that one or another.
 *
 * The stream's snapshot holds the group's own state in front of the machine's, as on disk
 * (group_snapshots.ts).
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Clock, Timer } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import { type FollowResponse, Transport } from "../gen/covey/raft/v1/transport_pb.ts";
import { Applier } from "./applier.ts";
import type { LogIndex, Term } from "./core/types.ts";
import type { Machine, MachineEntry, SnapshotSink } from "../base/machine.ts";
import { Members } from "./members.ts";
import { splitSnapshotHead } from "./group_snapshots.ts";
import { decodeEntries } from "./wire.ts";

/** Between two attempts to reach a node. */
const retryMs = 500;
/** For the question who it is. */
const identifyMs = 5_000;

export interface ObserverOptions<Result> {
  readonly clock: Clock;
  readonly group: number;
  /** Driven by the stream; it may hold what an earlier observer applied. */
  readonly machine: Machine<Result>;
  /** The cluster to follow, 32 hexadecimal digits; default: that of the first node that answers. */
  readonly clusterId?: string;
  /** Nodes that have a replica, in the order in which they are tried. */
  readonly channels: readonly Channel[];
  /** The channels are closed with the observer; otherwise they stay their owner's. */
  readonly ownsChannels?: boolean;
  /** Every entry, once, in order. */
  readonly applied?: (entry: MachineEntry, result: Result) => void;
  /** The machine was filled from a snapshot instead of entry by entry. */
  readonly restored?: (index: number) => void;
  /** A node was lost; another attempt follows. */
  readonly lost?: (error: CoveyError) => void;
}

export class Observer<Result> {
  readonly #options: ObserverOptions<Result>;
  readonly #members = new Members();
  readonly #controller = new AbortController();
  readonly #applier: Applier<Result>;
  #snapshot: { sink: SnapshotSink | undefined; early: Uint8Array[] } | undefined = undefined;
  /** A snapshot broke off: the machine is empty, and begins anew. */
  #isEmptied = false;
  /** Another cluster's entries would not go on where this one's ended. */
  #clusterId: string;
  #failure: CoveyError | undefined = undefined;
  #progress: (() => void) | undefined = undefined;
  #timer: Timer | undefined = undefined;

  constructor(options: ObserverOptions<Result>) {
    this.#options = options;
    this.#clusterId = options.clusterId ?? "";
    const index = options.machine.appliedIndex as LogIndex;
    this.#applier = new Applier(options.machine, options.clock, index, {
      applied: ({ index, term }, data, result) =>
        this.#tell(() => options.applied?.({ index, term, data }, result)),
      configured: () => {},
      commanded: (command) => this.#members.apply(command),
      progressed: () => this.#progress?.(),
      stuck: (entry, why) => {
        this.#failure = new CoveyError(Code.failedPrecondition, `entry ${entry.index}: ${why}`);
        this.#progress?.();
      },
    });
  }

  /** Everything up to this entry is in the machine. */
  get appliedIndex(): number {
    return this.#applier.index;
  }

  /**
   * Follows until {@link stop}; rejects when this build cannot apply an entry, or when a callback
   * throws.
   */
  async run(): Promise<void> {
    const { channels } = this.#options;
    for (let at = 0; !this.#controller.signal.aborted; at++) {
      try {
        await this.#follow(channels[at % channels.length]);
      } catch (error) {
        if (this.#failure !== undefined) {
          this.#close();
          throw this.#failure;
        }
        if (this.#controller.signal.aborted) return;
        this.#options.lost?.(CoveyError.from(error));
      }
      await this.#pause();
    }
  }

  stop(): void {
    this.#controller.abort();
    this.#applier.stop();
    this.#timer?.cancel();
    this.#progress?.();
    this.#close();
  }

  #close(): void {
    if (this.#options.ownsChannels !== true) return;
    for (const channel of this.#options.channels) channel.close();
  }

  async #follow(channel: Channel): Promise<void> {
    this.#snapshot = undefined;
    const { group } = this.#options;
    const client = createClient(Transport, channel);
    const { signal } = this.#controller;
    if (this.#clusterId === "") {
      const { clusterId } = await client.identify({}, { signal, timeoutMs: identifyMs });
      if (clusterId === "") throw new CoveyError(Code.unavailable, "the node is in no cluster yet");
      this.#clusterId = clusterId;
    }
    const stream = client.follow(
      {
        clusterId: this.#clusterId,
        group,
        fromIndex: this.#isEmptied ? 1n : BigInt(this.#applier.index + 1),
      },
      { signal },
    );
    for await (const answer of stream) {
      if (answer.snapshot !== undefined) this.#restore(answer.snapshot);
      else await this.#apply(answer);
      if (this.#failure !== undefined) throw this.#failure;
    }
  }

  async #apply({ index, entries }: FollowResponse): Promise<void> {
    if (entries.length === 0) return;
    const before = Number(index) - 1 as LogIndex;
    if (this.#isEmptied || before !== this.#applier.index) {
      throw new CoveyError(Code.dataLoss, "the stream left an entry out");
    }
    this.#applier.add(decodeEntries(entries, before, 0 as Term));
    this.#applier.run();
    const last = before + entries.length;
    while (
      this.#applier.index < last && this.#failure === undefined && !this.#controller.signal.aborted
    ) {
      await new Promise<void>((resolve) => this.#progress = resolve);
    }
    this.#progress = undefined;
  }

  #restore(piece: NonNullable<FollowResponse["snapshot"]>): void {
    if (this.#snapshot === undefined) {
      this.#applier.hold();
      this.#isEmptied = true;
      this.#snapshot = { sink: undefined, early: [] };
    }
    const { early } = this.#snapshot;
    if (this.#snapshot.sink === undefined) {
      early.push(piece.data);
      const split = splitSnapshotHead(early);
      if (split === undefined) return;
      this.#members.decode(split.state);
      this.#snapshot.sink = this.#options.machine.restore();
      this.#push(split.machine);
    } else this.#push(piece.data);
    if (!piece.last) return;
    const problem = this.#snapshot.sink.finish();
    if (problem !== undefined) this.#refuse(problem);
    this.#snapshot = undefined;
    const index = this.#options.machine.appliedIndex as LogIndex;
    this.#applier.release(index);
    this.#isEmptied = false;
    this.#tell(() => this.#options.restored?.(index));
  }

  /** An error of the program's own, which a timer of the applier must not throw. */
  #tell(callback: () => void): void {
    try {
      callback();
    } catch (cause) {
      this.#failure = CoveyError.from(cause, Code.internal);
      this.#applier.stop();
      this.#progress?.();
    }
  }

  #push(bytes: Uint8Array): void {
    const problem = bytes.length === 0 ? undefined : this.#snapshot?.sink?.push(bytes);
    if (problem !== undefined) this.#refuse(problem);
  }

  #refuse(problem: string): never {
    this.#failure = new CoveyError(Code.dataLoss, `the snapshot cannot be restored: ${problem}`);
    throw this.#failure;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#progress = resolve;
      this.#timer = this.#options.clock.timer(retryMs, () => resolve(), undefined);
      if (this.#controller.signal.aborted) resolve();
    });
  }
}
