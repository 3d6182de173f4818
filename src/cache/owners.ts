/** Which members own which keys in the present view, and how they are reached. */
import { Cache } from "../gen/covey/cache/v1/cache_pb.ts";
import type { CacheCluster, CacheMember } from "./cluster.ts";
import type { Channel } from "../ttrpc/channel.ts";
import type { Client } from "../ttrpc/service.ts";
import type { Clock } from "../runtime/port.ts";
import { createClient } from "../ttrpc/client.ts";
import type { GetRequest } from "../gen/covey/cache/v1/cache_pb.ts";
import type { Hash } from "./core/murmur.ts";
import { Rendezvous } from "./core/rendezvous.ts";

export interface OwnersOptions {
  readonly clock: Clock;
  /** Undefined: there are no others. */
  readonly cluster: CacheCluster | undefined;
  /** How members are called, by the address of the view. */
  readonly channel: (address: string) => Channel;
  readonly ownerBackoffMs: number;
}

/** The own place in the tables. */
const self: CacheMember = { nodeId: "", address: "" };

/** What a request of a member to a member says. */
export type AskRequest = Pick<
  GetRequest,
  "namespace" | "key" | "noForward" | "epoch" | "digest"
>;

export class Owners {
  readonly #options: OwnersOptions;
  readonly #self: CacheMember;
  readonly #tables: Map<string, Rendezvous<CacheMember>> = new Map();
  readonly #clients: Map<string, Client<typeof Cache>> = new Map();
  /** Until when members that did not answer are passed over, by node id. */
  readonly #suspects: Map<string, number> = new Map();
  #epoch = 0;
  /** The low half. */
  #digest = 0;

  constructor(options: OwnersOptions) {
    this.#options = options;
    this.#self = { ...self, nodeId: options.cluster?.nodeId ?? "" };
    this.changed();
  }

  /** The view, or what members offer, has changed. */
  changed(): void {
    this.#tables.clear();
    const { cluster } = this.#options;
    if (cluster === undefined) return;
    const { epoch, digest, members } = cluster.current;
    this.#epoch = epoch >>> 0;
    this.#digest = Number(BigInt.asUintN(32, digest));
    const addresses = new Set(members.map(({ address }) => address));
    for (const address of this.#clients.keys()) {
      if (!addresses.has(address)) this.#clients.delete(address);
    }
    const ids = new Set(members.map(({ nodeId }) => nodeId));
    for (const id of this.#suspects.keys()) if (!ids.has(id)) this.#suspects.delete(id);
  }

  /** What this node offers has changed. */
  offerChanged(namespace: string): void {
    this.#tables.delete(namespace);
  }

  /** Everybody else in the view, whatever they offer. */
  get others(): readonly CacheMember[] {
    const { cluster } = this.#options;
    return cluster === undefined
      ? []
      : cluster.current.members.filter(({ nodeId }) => nodeId !== cluster.nodeId);
  }

  /** Those who have a source for a namespace; this node among them if it has one itself. */
  table(namespace: string, here: boolean): Rendezvous<CacheMember> {
    let table = this.#tables.get(namespace);
    if (table === undefined) {
      const { cluster } = this.#options;
      const offering = this.others.filter((one) => cluster!.namespacesOf(one).includes(namespace));
      table = new Rendezvous(here ? [...offering, this.#self] : offering);
      this.#tables.set(namespace, table);
    }
    return table;
  }

  isSelf(member: CacheMember): boolean {
    return member === this.#self;
  }

  /** The best of a table who is not this node and was not tried; those that answer come first. */
  other(
    table: Rendezvous<CacheMember>,
    hash: Hash,
    tried: ReadonlySet<string>,
  ): CacheMember | undefined {
    const ranked = table.ranked(hash, table.members.length)
      .filter((one) => !this.isSelf(one) && !tried.has(one.nodeId));
    return ranked.find((one) => !this.isSuspect(one)) ?? ranked[0];
  }

  /** It did not answer: for a while nobody waits for it. */
  suspect(member: CacheMember): void {
    const { clock, ownerBackoffMs } = this.#options;
    this.#suspects.set(member.nodeId, clock.monotonicMs() + ownerBackoffMs);
  }

  isSuspect({ nodeId }: CacheMember): boolean {
    if (this.#suspects.size === 0) return false;
    const untilMs = this.#suspects.get(nodeId);
    if (untilMs === undefined) return false;
    if (untilMs > this.#options.clock.monotonicMs()) return true;
    this.#suspects.delete(nodeId);
    return false;
  }

  client({ address }: CacheMember): Client<typeof Cache> {
    let client = this.#clients.get(address);
    if (client === undefined) {
      client = createClient(Cache, this.#options.channel(address));
      this.#clients.set(address, client);
    }
    return client;
  }

  request(namespace: string, key: string): AskRequest {
    return { namespace, key, noForward: true, epoch: this.#epoch, digest: this.#digest };
  }

  /** Whether a member's request was made in another configuration. */
  isOther({ epoch, digest }: GetRequest): boolean {
    return digest !== this.#digest || epoch !== this.#epoch;
  }
}
