/** What a group is told, tells, and needs of its host. */
import type { CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Prng } from "../base/prng.ts";
import type { Clock } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import type { RaftCounters } from "./counters.ts";
import type { StoredLog } from "./core/log.ts";
import type { Message, SnapshotMeta } from "./core/types.ts";
import type { Group } from "./group.ts";
import type { GroupSnapshots, SnapshotOwner } from "./group_snapshots.ts";
import type { Machine, MachineEntry } from "../base/machine.ts";
import type { Member, Members } from "./members.ts";
import type { Peer } from "./peer.ts";
import type { RaftOptions } from "./options.ts";
import type { SnapshotStore } from "./wal/snapshot_store.ts";
import type { WriteAheadLog } from "./wal/write_ahead_log.ts";

// deno-lint-ignore no-explicit-any
export type GroupOfAny = Group<any>;

/** How long a request may take. */
export interface RequestOptions {
  /** Milliseconds; `raft.request_timeout` when absent. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /**
   * Propose here, in this node's present term of leadership, or not at all: otherwise rejected with
   * `failed_precondition`, not sent.
   */
  readonly leaderOnly?: boolean;
}

/** The replica that leads, as far as this node knows. */
export type LeaderHint = Member;

/** Is told of what happens to the machine, at once and in order. Callbacks must not throw. */
export interface GroupObserver<Result> {
  /** An entry was applied, and the next one is not yet. */
  applied?(entry: MachineEntry, result: Result): void;
  /** Everything up to this index was applied; once for several entries. */
  progressed?(index: number): void;
  /** The machine is being filled from a snapshot and must not be read until {@link restored}. */
  restoring?(): void;
  restored?(): void;
  /**
   * This node became the leader and has applied everything that earlier leaders committed, or is
   * the leader no more.
   */
  led?(leading: boolean): void;
  /** Another leader, or none. */
  leader?(leader: LeaderHint | undefined): void;
  /** Whether entries reach this replica changed; see `hindrance`. */
  hindered?(): void;
  /** The group cannot go on here. */
  stopped?(error: CoveyError): void;
}

/** What a group needs of its host. */
export interface GroupHost {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly options: RaftOptions;
  readonly counters: RaftCounters;
  readonly log: WriteAheadLog;
  readonly store: SnapshotStore;
  readonly clusterId: string;
  readonly nodeId: string;
  /** Whether new requests are taken yet. */
  readonly drain: { readonly refusal: CoveyError | undefined };
  /** Something must become durable under this ticket. */
  appended(ticket: number): void;
  /** The group has something to do, soon. */
  schedule(group: GroupOfAny): void;
  /** Proposals came, which may wait for the disk's present write to be over. */
  scheduleLazily(group: GroupOfAny): void;
  send(group: GroupOfAny, to: Member | undefined, message: Message): void;
  /** A snapshot message: the bytes go with it. */
  sendSnapshot(group: GroupOfAny, to: Member | undefined, message: Message): void;
  /** Proposes at the node that leads. */
  forward(group: number, to: Member, data: Uint8Array, options: RequestOptions): Promise<Forwarded>;
  channelTo(member: Member): Channel;
  /** Whether this node's disk is nearly full. */
  readonly lowSpace: boolean;
  /** Whether this is true of any node, as far as it is known here. */
  readonly someDiskIsLow: boolean;
  peer(nodeId: string): Peer | undefined;
  /** For how long nothing was heard of a node; Infinity while it is not connected. */
  silentMs(nodeId: string): number;
  /** Who takes part in a group changed. */
  membersChanged(): void;
  /** The log up to this snapshot, whose file is durable, is not needed any more. */
  compactLog(group: number, meta: SnapshotMeta): void;
}

/** What came of a proposal at another node. */
export type Forwarded =
  | { readonly kind: "result"; readonly bytes: Uint8Array }
  | { readonly kind: "refused"; readonly why: string; readonly retry: boolean };

export interface GroupParts<Result> {
  readonly host: GroupHost;
  readonly id: number;
  readonly name: string;
  readonly replica: number;
  readonly machine: Machine<Result>;
  readonly members: Members;
  readonly stored: StoredLog;
  readonly random: Prng;
  readonly snapshots: (owner: SnapshotOwner) => GroupSnapshots;
}
