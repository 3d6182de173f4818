/**
 * What the key-value services need of the Raft group that replicates their machine. The consensus
 * module's groups have this shape; `node.ts` hands one over, and tests make their own.
 */
import type { CoveyError } from "../base/error.ts";
import type { Channel } from "../ttrpc/channel.ts";
import type { Subscription } from "../runtime/port.ts";
import type { KvResult } from "./core/result.ts";
import type { MachineEntry } from "../base/machine.ts";

/** How long a request may take. */
export interface RequestOptions {
  /** Milliseconds; the group's own limit when absent, so that nothing waits for ever. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /**
   * Propose here, in this node's present term of leadership, or not at all: it is neither forwarded
   * nor kept for another leader, but rejected with `failed_precondition`, `sent: false`. For what
   * only the leader may decide.
   */
  readonly leaderOnly?: boolean;
}

/** The replica that leads, as far as this node knows. */
export interface LeaderHint {
  readonly replica: number;
  readonly nodeId: string;
  readonly name: string;
  /** Where its mesh listener is reached. */
  readonly address: string;
}

/** Is told of what happens to the machine, at once and in order. Callbacks must not throw. */
export interface GroupObserver {
  /** An entry was applied, and the next one is not yet: this is the moment to read its events. */
  applied?(entry: MachineEntry, result: KvResult): void;
  /** The machine was filled from a snapshot: what was known of its state is void. */
  restored?(): void;
  /** It is being filled, and must not be read until then. */
  restoring?(): void;
  /**
   * This node became the leader and has applied everything that earlier leaders committed, or is
   * the leader no more.
   */
  led?(leading: boolean): void;
  /** Another leader, or none. */
  leader?(leader: LeaderHint | undefined): void;
  /** {@link KvGroup.hindrance} is another one. */
  hindered?(): void;
  /** The group cannot go on here; others may. */
  stopped?(error: CoveyError): void;
}

export interface KvGroup {
  /** 128 bits in lower-case hexadecimal. */
  readonly clusterId: string;
  /** This node's replica; 0 when it hosts none. */
  readonly replica: number;
  readonly term: number;
  /** The commit index, and how far the machine here is. */
  readonly committed: number;
  readonly applied: number;
  /** This node leads, and its machine holds everything that was committed before its term. */
  readonly isLeading: boolean;
  readonly leader: LeaderHint | undefined;
  /** Why the group does not go on here until the node is started again; undefined while it does. */
  readonly stopped: CoveyError | undefined;
  /** Why entries do not reach this replica, which can hear its leader; undefined while they do. */
  readonly hindrance: string | undefined;
  /** Whose disks keep the leader here from committing anything; undefined when none do. */
  readonly roomProblem: string | undefined;
  readonly electionTimeoutMs: number;

  /**
   * Proposes a command from any node and resolves with its result once it is applied on the leader.
   * Waits for a leader when there is none. The bytes must not change afterwards. Rejects with a
   * CoveyError:
   * - `unavailable`, `sent: false`: no leader within the time; nothing was proposed.
   * - `unavailable`, `sent: true`: the leader was lost meanwhile; it may have happened.
   * - `deadline_exceeded`, with `sent` likewise.
   * - `unimplemented`, `sent: false`: the leader is of an older build and does not know the command.
   * - `resource_exhausted`: too much waits, or the disk is nearly full; nothing was proposed.
   * - `canceled`: by the signal; it may have happened.
   */
  propose(data: Uint8Array, options?: RequestOptions): Promise<KvResult>;
  /**
   * Resolves when the machine here has applied everything that was acknowledged anywhere before
   * the call; a read of it is then linearizable. Rejects like `propose`.
   */
  barrier(options?: RequestOptions): Promise<void>;
  /**
   * Who leads: `self`, or a channel to the node that does, for calls that only the leader can
   * answer. Waits for a leader.
   */
  leaderChannel(options?: RequestOptions): Promise<"self" | Channel>;
  observe(observer: GroupObserver): Subscription;
}
