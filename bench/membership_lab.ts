/**
 * The protocol core of up to two thousand members in virtual time, for the tables: what
 * test/membership/support/core_lab.ts is for the tests, without its checks, with bytes counted in the
 * frames that nodes really send, and with members that come back after they were evicted.
 */
import { create, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import type { Prng } from "../src/base/prng.ts";
import { FrameSchema } from "../src/gen/covey/membership/v1/membership_pb.ts";
import { Configuration, type Cut } from "../src/membership/core/configuration.ts";
import { type Member, MemberRole } from "../src/membership/core/member.ts";
import type { Message } from "../src/membership/core/message.ts";
import { encodeMessage } from "../src/membership/wire.ts";
import { LabNode } from "./membership_node.ts";
import { type Clock, headerBytes, Network } from "./membership_network.ts";
import type { Profile } from "../src/membership/core/options.ts";

export interface LabOptions {
  readonly seed: number;
  readonly profile: Profile;
  /** Whether what is sent is encoded to count its bytes; probes are always counted. */
  readonly countsBytes?: boolean;
  /** Whether who was evicted asks to come back. */
  readonly rejoins?: boolean;
}

/** The model: one way, and a sync of the disk. */
export const latencyMs = 0.5;
export const jitterMs = 1;
export const syncMs = 1;

export class Lab {
  readonly profile: Profile;
  readonly network: Network;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly nodes: LabNode[] = [];
  readonly byAddress = new Map<string, LabNode>();
  readonly rejoins: boolean;
  /** Sizes of views that anybody had, by how many have them now. */
  readonly sizes = new Map<number, number>();
  /** Views of the longest life of them all, in order. */
  readonly views = new Map<number, { readonly size: number; readonly atMs: number }>();
  readonly #countsBytes: boolean;
  readonly #following = new Map<Configuration, Map<bigint, Configuration>>();

  constructor({ seed, profile, countsBytes = false, rejoins = true }: LabOptions) {
    this.profile = profile;
    this.network = new Network({ seed, latencyMs, jitterMs });
    this.clock = this.network.clock;
    this.prng = this.network.prng;
    this.#countsBytes = countsBytes;
    this.rejoins = rejoins;
  }

  get nowMs(): number {
    return this.clock.nowMs;
  }

  member(name: string): Member {
    return {
      address: `tcp://${name}:7946`,
      nodeId: name.padStart(32, "0"),
      incarnation: BigInt(this.prng.next()) << 32n | BigInt(this.prng.next()),
      name,
      role: MemberRole.core,
      metadata: new Map(),
    };
  }

  /** A cluster that is there already. */
  found(count: number): void {
    const members = Array.from({ length: count }, (_, at) => this.member(nameOf(at)));
    const { rings } = this.profile.protocol;
    const configuration = Configuration.first(1n, members, rings);
    for (const member of members) this.#add(new LabNode(this, member)).start(configuration);
  }

  join(at: number, seeds: readonly string[]): LabNode {
    const node = this.#add(new LabNode(this, this.member(nameOf(at))));
    node.join(seeds);
    return node;
  }

  #add(node: LabNode): LabNode {
    this.nodes.push(node);
    this.byAddress.set(node.address, node);
    return node;
  }

  /** Nodes in one process share configurations. */
  after(configuration: Configuration, cut: Cut): Configuration {
    let following = this.#following.get(configuration);
    if (following === undefined) {
      following = new Map();
      this.#following.set(configuration, following);
    }
    const digest = configuration.digestAfter(cut);
    let next = following.get(digest);
    if (next === undefined) {
      next = configuration.after(cut);
      following.set(digest, next);
    }
    return next;
  }

  /** A node's view is of this size now, or there is none. */
  viewed(before: Configuration | undefined, view: Configuration | undefined): void {
    if (before !== undefined) this.sizes.set(before.size, this.sizes.get(before.size)! - 1);
    if (view === undefined) return;
    this.sizes.set(view.size, (this.sizes.get(view.size) ?? 0) + 1);
    if (!this.views.has(view.epoch)) {
      this.views.set(view.epoch, { size: view.size, atMs: this.nowMs });
    }
  }

  /** So many nodes have a view of so many members. */
  have(nodes: number, size: number): boolean {
    return this.sizes.get(size) === nodes;
  }

  bytesOf(message: Message): number {
    if (!this.#countsBytes) return 0;
    return headerBytes + toBinary(FrameSchema, create(FrameSchema, encodeMessage(message))).length;
  }

  /** Of a probe or its answer. */
  probeBytes(epoch: number, sequence: number): number {
    return headerBytes + 2 + 1 + varintBytes(epoch) + 9 + 1 + varintBytes(sequence);
  }
}

function nameOf(at: number): string {
  return `n${at}`;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
}
