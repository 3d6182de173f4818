/** A cluster of real processes with clients, and what can be asked about it from outside. */
import type { Runtime } from "../../../src/runtime/port.ts";
import { formatAddress, parseAddress } from "../../../src/base/address.ts";
import { Maintenance } from "../../../src/gen/covey/kv/v1/kv_pb.ts";
import {
  type GroupStatus,
  type PeersResponse,
  Raft,
  type StatusResponse,
} from "../../../src/gen/covey/raft/v1/raft_pb.ts";
import { KvClient } from "../../../src/kv/client.ts";
import { channelEndpoint, type KvEndpoint } from "../../../src/kv/client_endpoint.ts";
import { selectRuntime } from "../../../src/start.ts";
import { Channel } from "../../../src/ttrpc/channel.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import type { Client } from "../../../src/ttrpc/service.ts";
import {
  Cluster,
  type ClusterNode,
  type ClusterOptions,
  type ConfigTree,
} from "../../support/cluster.ts";
import { agentCommand } from "./agent_command.ts";
import { Load, type LoadOptions } from "./load.ts";
import { History } from "./recorder.ts";
import { until } from "./waiting.ts";

export interface LabOptions extends Partial<Omit<ClusterOptions, "relays" | "config">> {
  /** Puts relays between the nodes. */
  readonly relaySeed?: number;
  readonly config?: ConfigTree | ((index: number) => ConfigTree);
  /** Where clients reach a node; default its address. */
  readonly reachedAt?: (node: ClusterNode) => string;
  /** Where nodes say that they are reached, when the configuration says otherwise. */
  readonly advertisedAt?: (node: ClusterNode) => string;
}

export interface ClientOptions {
  /** Nodes in the order in which they are tried; default all that there are. */
  readonly nodes?: readonly ClusterNode[];
  readonly sessions?: boolean;
  readonly timeoutMs?: number;
}

/** Time for a question to a node. */
const askMs = 1_000;
const leaderMs = 30_000;
/** More than one failure and a busy machine explain. */
const electionsMax = 4;

/** Tests of plain processes on one machine: nobody has an identity. */
const openConfig: ConfigTree = { tls: { mode: "off" } };

export class Lab {
  readonly cluster: Cluster;
  readonly history: History = new History();
  readonly #runtime: Runtime;
  readonly #options: LabOptions;
  readonly #channels: Map<string, Channel> = new Map();
  readonly #clients: KvClient[] = [];
  readonly #loads: Load[] = [];

  private constructor(cluster: Cluster, runtime: Runtime, options: LabOptions) {
    this.cluster = cluster;
    this.#runtime = runtime;
    this.#options = options;
  }

  static async open(options: LabOptions = {}): Promise<Lab> {
    const runtime = await selectRuntime();
    const { relaySeed, config, reachedAt: _reached, advertisedAt: _advertised, ...rest } = options;
    const cluster = await Cluster.prepare({
      nodes: 3,
      command: agentCommand(),
      ...rest,
      config: (index) => merged(openConfig, typeof config === "function" ? config(index) : config),
      ...(relaySeed === undefined ? {} : { relays: { runtime, seed: relaySeed } }),
    });
    return new Lab(cluster, runtime, options);
  }

  get nodes(): readonly ClusterNode[] {
    return this.cluster.nodes;
  }

  get runtime(): Runtime {
    return this.#runtime;
  }

  /** Starts all nodes that do not run; resolves when there is a leader. */
  async start(): Promise<ClusterNode> {
    await Promise.all(
      this.nodes.filter((node) => !node.isRunning).map((node) => node.start()),
    );
    return await this.leader();
  }

  /** Ends clients and processes. Nothing of the lab is left. */
  async close(): Promise<void> {
    // Calls of a load that still runs would wait for nodes that are gone.
    for (const channel of this.#channels.values()) channel.close();
    await Promise.all(this.#loads.map((load) => load.stop()));
    await Promise.allSettled(this.#clients.map((client) => client.close()));
    await this.cluster.stop();
  }

  // -------------------------------------------------------------------------------------------
  // Clients

  client(options: ClientOptions = {}): KvClient {
    const { nodes = this.nodes, sessions = true, timeoutMs = 10_000 } = options;
    const client = new KvClient({
      clock: this.#runtime.clock,
      random: this.#runtime.random,
      endpoints: nodes.map((node) => this.#endpoint(node)),
      sessions,
      timeoutMs,
    });
    this.#clients.push(client);
    return client;
  }

  /** So many clients, each with another node first, half of them without sessions. */
  clients(count: number, options: ClientOptions = {}): KvClient[] {
    const nodes = options.nodes ?? this.nodes;
    return Array.from({ length: count }, (_, at) => {
      const first = at % nodes.length;
      const turned = [...nodes.slice(first), ...nodes.slice(0, first)];
      return this.client({ sessions: at % 2 === 0, ...options, nodes: turned });
    });
  }

  /** Clients at work; they end with the lab. */
  load(options: Omit<LoadOptions, "history">): Load {
    const load = new Load({ history: this.history, ...options });
    this.#loads.push(load);
    load.start();
    return load;
  }

  /** A channel to a node of the caller's own, which ends with the lab. */
  channel(node: ClusterNode): Channel {
    const address = this.#options.reachedAt?.(node) ?? node.address;
    let channel = this.#channels.get(address);
    if (channel === undefined) {
      channel = this.openChannel(address);
      this.#channels.set(address, channel);
    }
    return channel;
  }

  /** To any address; the caller closes it. */
  openChannel(address: string): Channel {
    const { net, clock, random } = this.#runtime;
    return new Channel({
      net,
      clock,
      random,
      address: parseAddress(address),
      peer: "covey",
      dialTimeoutMs: askMs,
      backoff: { firstMs: 20, mostMs: 200 },
    });
  }

  #endpoint(node: ClusterNode): KvEndpoint {
    // Leaders are named by the address that they advertise, wherever the test reaches them.
    const advertised = this.#options.advertisedAt?.(node) ?? node.advertised;
    const address = formatAddress(parseAddress(advertised));
    return { ...channelEndpoint(this.channel(node)), address };
  }

  // -------------------------------------------------------------------------------------------
  // Questions

  raft(node: ClusterNode): Client<typeof Raft> {
    return createClient(Raft, this.channel(node));
  }

  peers(node: ClusterNode): Promise<PeersResponse> {
    return this.raft(node).peers({}, { timeoutMs: askMs });
  }

  status(node: ClusterNode): Promise<StatusResponse> {
    return this.raft(node).status({}, { timeoutMs: askMs });
  }

  /** Of the group of the key-value store, as the node sees it. */
  async group(node: ClusterNode): Promise<GroupStatus> {
    const { groups } = await this.status(node);
    const found = groups.find(({ group }) => group === 0);
    if (found === undefined) throw new Error(`${node.name} has no replica of the store's group`);
    return found;
  }

  /** The node that a majority of all replicas follows; waits until there is one. */
  leader(among: readonly ClusterNode[] = this.cluster.running): Promise<ClusterNode> {
    return until("a leader", leaderMs, async () => {
      const seen = await Promise.allSettled(among.map((node) => this.group(node)));
      return leaderOf(among, seen.map((one) => one.status === "fulfilled" ? one.value : undefined));
    });
  }

  /**
   * Terms only grow; each election that anybody won or lost makes one. None is called for while
   * nothing fails, but a machine that is busy enough looks like a failure.
   */
  async term(nodes: readonly ClusterNode[] = this.cluster.running): Promise<number> {
    const groups = await Promise.all(nodes.map((node) => this.group(node)));
    return Math.max(...groups.map(({ term }) => Number(term)));
  }

  /** How many there were since that term; more than a few are a storm. */
  async electionsSince(term: number, nodes?: readonly ClusterNode[]): Promise<number> {
    const elections = await this.term(nodes) - term;
    if (elections > electionsMax) throw new Error(`${elections} elections`);
    return elections;
  }

  /** The others of those that run. */
  async followers(): Promise<ClusterNode[]> {
    const leader = await this.leader();
    return this.cluster.running.filter((node) => node !== leader);
  }

  /** Resolves when the node has applied all that was committed anywhere at this moment. */
  async caughtUp(node: ClusterNode, limitMs = 60_000): Promise<void> {
    const { commitIndex } = await this.group(await this.leader());
    await until(`${node.name} has applied ${commitIndex}`, limitMs, async () => {
      const { appliedIndex, leader: followed } = await this.group(node);
      return appliedIndex >= commitIndex && followed !== 0n;
    });
  }

  /** Waits until all nodes that run hold the very same state, and gives its hash. */
  converged(nodes: readonly ClusterNode[] = this.cluster.running): Promise<string> {
    return until("all nodes hold the same state", 60_000, async () => {
      const hashes = await Promise.all(nodes.map(async (node) => {
        const maintenance = createClient(Maintenance, this.channel(node));
        const { hash, appliedIndex } = await maintenance.hash({}, { timeoutMs: 5 * askMs });
        return `${hash}@${appliedIndex}`;
      }));
      return hashes.every((hash) => hash === hashes[0]) && hashes[0];
    });
  }
}

/** The node that says it leads in the highest term, when a majority of the voters agrees. */
function leaderOf(
  nodes: readonly ClusterNode[],
  groups: readonly (GroupStatus | undefined)[],
): ClusterNode | undefined {
  let best: { node: ClusterNode; group: GroupStatus } | undefined;
  groups.forEach((group, at) => {
    if (group === undefined || group.leader === 0n || group.leader !== group.replica) return;
    if (best === undefined || group.term > best.group.term) best = { node: nodes[at], group };
  });
  if (best === undefined) return undefined;
  const { replica, term, voters } = best.group;
  const following = groups.filter((group) => group?.leader === replica && group.term === term);
  return following.length > voters.length / 2 ? best.node : undefined;
}

function merged(base: ConfigTree, more: ConfigTree = {}): ConfigTree {
  const all: Record<string, Record<string, unknown>> = {};
  for (const [name, section] of [...Object.entries(base), ...Object.entries(more)]) {
    all[name] = { ...all[name], ...section };
  }
  return all;
}

/** No test takes as long; Deno has no limit of its own, and what hangs should say where. */
const labMs = 110_000;

/** Runs a test with a lab that is gone afterwards; a failure says what the processes last said. */
export async function withLab<T>(
  options: LabOptions,
  body: (lab: Lab) => Promise<T>,
  limitMs: number = labMs,
): Promise<T> {
  const lab = await Lab.open(options);
  let limit: ReturnType<typeof setTimeout> | undefined;
  const tooLong = new Promise<never>((_, reject) => {
    limit = setTimeout(() => reject(new Error(`the test took longer than ${limitMs} ms`)), limitMs);
  });
  try {
    return await Promise.race([body(lab), tooLong]);
  } catch (error) {
    const said = lab.nodes.map((node) =>
      `--- ${node.name}${node.isRunning ? "" : ", ended"}\n${
        node.process?.output ?? "never started"
      }`
    );
    throw new Error(`${error instanceof Error ? error.stack : error}\n${said.join("\n")}`, {
      cause: error,
    });
  } finally {
    clearTimeout(limit);
    await lab.close();
  }
}
