/** A group of the consensus module as autopilot looks after it. */
import type { Raft } from "../gen/covey/raft/v1/raft_pb.ts";
import type { Subscription } from "../runtime/port.ts";
import type { CallOptions, Client } from "../ttrpc/service.ts";
import type { Group, Replica } from "./core/types.ts";
import type { ManagedGroup, VotersChange } from "./managed_group.ts";

/** How the consensus module numbers what becomes of a replica. */
const addVoter = 0;
const remove = 1;
const addLearner = 2;
/** Simple where one voter changes; else jointly, and the joint configuration is left by itself. */
const automatically = 0;

/** What is used of a group of `src/raft`. */
export interface RaftGroupLike {
  readonly id: number;
  readonly replica: number;
  readonly isLeading: boolean;
  readonly members: { get(replica: number): RaftMemberLike | undefined };
  status(): RaftStatusLike;
  change(
    change: {
      readonly transition: 0;
      readonly changes: readonly { readonly type: 0 | 1 | 2; readonly replica: number }[];
      readonly context: Uint8Array;
    },
    options?: CallOptions,
  ): Promise<void>;
  observe(observer: { led?(leading: boolean): void }): Subscription;
}

export interface RaftMemberLike {
  readonly nodeId: string;
  readonly name: string;
  readonly address: string;
}

export interface RaftStatusLike {
  readonly transferee: number;
  readonly lastIndex: number;
  readonly committed: number;
  readonly hasHeard: boolean;
  readonly configuration: {
    readonly voters: readonly number[];
    readonly votersOutgoing: readonly number[];
    readonly learners: readonly number[];
    readonly learnersNext: readonly number[];
  };
  readonly members: readonly {
    readonly id: number;
    readonly match: number;
    readonly state: string;
    readonly recentActive: boolean;
  }[];
}

export interface RaftManagedParts {
  readonly group: RaftGroupLike;
  /** The operators' requests, answered by this node. */
  readonly operator: Client<typeof Raft>;
  /** Whether a node's disk has room, as far as this node knows. */
  readonly hasRoom: (nodeId: string) => boolean;
}

export class RaftManagedGroup implements ManagedGroup {
  readonly #parts: RaftManagedParts;

  constructor(parts: RaftManagedParts) {
    this.#parts = parts;
  }

  picture(): Group | undefined {
    const { group, hasRoom } = this.#parts;
    if (!group.isLeading) return undefined;
    const { configuration, members, lastIndex, committed, hasHeard, transferee } = group.status();
    const { voters, votersOutgoing } = configuration;
    const replicas = members.map(({ id, match, state, recentActive }): Replica => {
      const isSelf = id === group.replica;
      const { nodeId, name, address } = group.members.get(id) ??
        { nodeId: "", name: `replica ${id}`, address: "" };
      return {
        id,
        nodeId,
        name,
        address,
        isVoter: voters.includes(id) || votersOutgoing.includes(id),
        match: isSelf ? lastIndex : match,
        inContact: isSelf || recentActive,
        inSnapshot: state === "snapshot",
        hasRoom: hasRoom(nodeId),
      };
    });
    return {
      self: group.replica,
      lastIndex,
      committed,
      hasHeard,
      isBusy: votersOutgoing.length > 0 || transferee !== 0,
      replicas,
    };
  }

  async addLearner(
    { address, nodeId }: { readonly address: string; readonly nodeId: string },
    options: CallOptions,
  ): Promise<void> {
    const { group, operator } = this.#parts;
    await operator.add({ group: group.id, address, nodeId, learner: true }, options);
  }

  async change(
    { promote, demote, remove: removed }: VotersChange,
    options: CallOptions,
  ): Promise<void> {
    await this.#parts.group.change({
      transition: automatically,
      changes: [
        ...promote.map((replica) => ({ type: addVoter, replica }) as const),
        ...demote.map((replica) => ({ type: addLearner, replica }) as const),
        ...removed.map((replica) => ({ type: remove, replica }) as const),
      ],
      context: new Uint8Array(0),
    }, options);
  }

  async transfer(to: number, options: CallOptions): Promise<void> {
    const { group, operator } = this.#parts;
    await operator.transfer({ group: group.id, replica: BigInt(to) }, options);
  }

  led(callback: (leads: boolean) => void): Subscription {
    const { group } = this.#parts;
    const subscription = group.observe({ led: callback });
    if (group.isLeading) callback(true);
    return subscription;
  }
}
