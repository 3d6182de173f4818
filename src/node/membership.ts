/**
 * Who takes part in the cluster: the membership module, and how it comes to know its cluster. Loaded
 * only where the configuration enables it.
 *
 * Where consensus runs, the cluster is the one that its founders agreed on, and they are the first
 * view; a node that finds the cluster founded without it asks its members to be let in. Without
 * consensus a node joins the cluster of whoever it finds at `cluster.join`, or is alone.
 */
import type { DescService } from "npm:@bufbuild/protobuf@2.17.0";
import type { Logger } from "../base/log.ts";
import type { MetricsRegistry } from "../base/metrics.ts";
import type { CacheModule } from "../cache/cache_module.ts";
import type { Config } from "../config/types.ts";
import { Membership } from "../gen/covey/membership/v1/membership_pb.ts";
import { Members as MembersService } from "../gen/covey/membership/v1/members_pb.ts";
import type { Discovery } from "../discovery/discovery.ts";
import { type Member, MemberRole } from "../membership/core/member.ts";
import { lan, lossy, lowLatency, type Profile } from "../membership/core/options.ts";
import { Members } from "../membership/members.ts";
import { operatorHandlers } from "../membership/operator.ts";
import { membershipHandlers } from "../membership/service.ts";
import { clusterIdOf } from "../raft/cluster_record.ts";
import type { RoutedClientOptions } from "../routing/options.ts";
import type { Runtime } from "../runtime/port.ts";
import type { LocalCaller } from "../ttrpc/local_client.ts";
import type { ServiceRegistry } from "../ttrpc/registry.ts";
import type { Client } from "../ttrpc/service.ts";
import { discoverMembers } from "./member_discovery.ts";
import { MemberDns } from "./member_dns.ts";
import { linesOf, sayFacts, tagsKey } from "./member_facts.ts";
import { MemberRouting } from "./member_routing.ts";
import { MembershipAdmin } from "./membership_admin.ts";
import { showMembershipMetrics } from "./membership_metrics.ts";
import { NodeMembers } from "./node_members.ts";
import type { NodeRpc } from "./rpc.ts";

/** Dialling another node: short, because a failed probe says the same. */
const dialMs = 2_000;
const backoff = { firstMs: 50, mostMs: 1_000 };

const profiles: Readonly<Record<Config["membership"]["profile"], Profile>> = {
  lan,
  low_latency: lowLatency,
  lossy,
};

/** What is known of the cluster that consensus founds. */
export interface FoundedCluster {
  readonly clusterId: string;
  /** Empty where this node was added later. */
  readonly founders: readonly {
    readonly nodeId: string;
    readonly name: string;
    readonly address: string;
  }[];
}

export interface MembershipParts {
  readonly runtime: Runtime;
  readonly config: Config;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly registry: ServiceRegistry;
  readonly rpc: NodeRpc;
  readonly nodeId: string;
  readonly name: string;
  readonly directory: string | undefined;
  /** Where other nodes reach the mesh listener. */
  readonly address: string;
  /** For calls to this node's own services. */
  readonly caller: LocalCaller;
}

export class NodeMembership {
  readonly members: Members;
  /** What programs see of it. */
  readonly shown: NodeMembers;
  readonly admin: MembershipAdmin;
  readonly #parts: MembershipParts;
  #hasStarted = false;
  readonly #routing: MemberRouting;
  readonly #dns: MemberDns | undefined;
  #discovery: Discovery | undefined = undefined;
  #cache: CacheModule | undefined = undefined;
  /** Ends what this node says of itself. */
  #silence: () => void = () => {};

  constructor(parts: MembershipParts) {
    this.#parts = parts;
    const { runtime, config, logger, registry, rpc, directory, nodeId, name, address } = parts;
    const { profile, role, two_members: twoMembers } = config.membership;
    const chosen = profiles[profile];
    this.members = new Members({
      clock: runtime.clock,
      random: runtime.random,
      logger: logger.child("membership"),
      storage: directory === undefined ? undefined : { disk: runtime.disk, directory },
      nodeId,
      name,
      address,
      role: role === "leaf" ? MemberRole.leaf : MemberRole.core,
      metadata: new Map(),
      profile: { ...chosen, protocol: { ...chosen.protocol, twoMembers } },
      seeds: config.cluster.join,
      channel: (to) => rpc.channel(to, { peer: "covey", dialTimeoutMs: dialMs, backoff }),
      probed: (of, tripMs) => this.#routing.probed(of, tripMs),
      changed: () => this.admin.changed(),
    });
    const { metrics } = parts;
    this.#routing = new MemberRouting({
      runtime,
      metrics,
      members: this.members,
      rpc,
      caller: parts.caller,
      address,
    });
    const { listen } = config.dns;
    const dnsParts = { runtime, logger: logger.child("dns"), metrics, members: this.members };
    this.#dns = listen === undefined
      ? undefined
      : new MemberDns({ ...dnsParts, dns: config.dns }, listen);
    this.shown = new NodeMembers(this.members);
    this.admin = new MembershipAdmin(this.members);
    showMembershipMetrics(parts.metrics, this.members, this.admin.counters);
    registry.add(Membership, membershipHandlers(this.members));
    registry.add(MembersService, operatorHandlers(this.members));
  }

  /** A client that finds members by what they offer. */
  client<S extends DescService>(service: S, options?: RoutedClientOptions): Client<S> {
    return this.#routing.client(service, options);
  }

  /** Undefined where the configuration has it off, and before the start. */
  get cache(): CacheModule | undefined {
    return this.#cache;
  }

  /** Labels that a member has said it has. */
  tagsOf(member: Member): readonly string[] {
    return linesOf(this.members.factsOf(member).get(tagsKey));
  }

  /** Goes on as the member that it was, or waits to hear of its cluster. */
  async start(): Promise<void> {
    await this.members.start();
    this.#hasStarted = true;
    const { config, nodeId, name, address, registry, runtime, metrics, logger } = this.#parts;
    await this.#dns?.start();
    if (config.cache.enabled) {
      const { makeCache } = await import("./member_cache.ts");
      const { members } = this;
      this.#cache = makeCache({ ...this.#parts, logger: logger.child("cache"), members });
    }
    const { discovery } = config;
    if (discovery.lan || discovery.seeds.length > 0) {
      const { members } = this;
      const parts = { runtime, logger: logger.child("discovery"), metrics, members, address };
      this.#discovery = discoverMembers({ ...parts, discovery });
    }
    this.#silence = sayFacts(this.members, registry, config.node.tags);
    if (config.raft.enabled) return;
    if (config.cluster.join.length > 0 || this.#discovery !== undefined) {
      return this.members.join("");
    }
    this.members.found({ clusterId: clusterIdOf([nodeId]), founders: [{ nodeId, name, address }] });
  }

  /** Consensus knows its cluster: once for each time that this becomes known. */
  founded({ clusterId, founders }: FoundedCluster): void {
    if (!this.#hasStarted) return;
    const isFounder = founders.some(({ nodeId }) => nodeId === this.#parts.nodeId);
    if (isFounder) this.members.found({ clusterId, founders });
    else this.members.join(clusterId);
  }

  async stop(): Promise<void> {
    this.#silence();
    this.#discovery?.stop();
    this.#dns?.stop();
    this.#cache?.stop();
    this.#routing.close();
    await this.members.stop();
  }
}
