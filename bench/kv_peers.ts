/**
 * Clusters of three as the benchmarks see them, the same for both peers: covey's compiled agents and
 * etcd's servers, on this machine, with real syncs, each as it comes but for addresses and folders.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { formatAddress, parseAddress } from "../src/base/address.ts";
import { Raft } from "../src/gen/covey/raft/v1/raft_pb.ts";
import type { Runtime } from "../src/runtime/port.ts";
import { createClient } from "../src/ttrpc/client.ts";
import { Cluster, type ClusterNode, type ConfigTree, freePort } from "../test/support/cluster.ts";
import { RelayMesh } from "../test/support/relay_mesh.ts";
import type { LinkConditions } from "../test/support/tcp_relay.ts";
import { type ProcessUsage, ServerProcess } from "../test/support/server_process.ts";
import { LoadProcess } from "./kv_commands.ts";
import {
  coveyChannel,
  coveyDial,
  type Dial,
  EtcdMessages,
  EtcdStore,
  type MemberStatus,
  patiently,
  type StoreName,
} from "./kv_store.ts";

export interface BenchNode {
  readonly index: number;
  /** For clients: `tcp://host:port`. */
  readonly address: string;
  readonly pid: number;
  readonly isRunning: boolean;
  /** Starts the process and does not wait for it. */
  spawn(): Promise<void>;
  /** kill -9. */
  kill(): Promise<unknown>;
  /** SIGTERM. */
  stop(): Promise<unknown>;
  pause(): void;
  resume(): void;
  usage(): ProcessUsage;
}

export interface StartOptions {
  /** Forget superseded revisions; etcd does so only when told. */
  readonly compaction?: boolean;
  /** Nodes reach each other through relays, which draw from this seed. */
  readonly relaySeed?: number;
  /** What every link between nodes is like from the beginning on; only with relays. */
  readonly network?: Partial<LinkConditions>;
  /** Changes what is started. */
  readonly wrap?: (command: readonly string[], index: number) => readonly string[];
  /** Where the nodes' data goes instead of a temporary folder. */
  readonly dataFolder?: (index: number) => string;
  /** Only for covey. */
  readonly config?: ConfigTree;
}

/** Three nodes that have a leader. */
export abstract class BenchCluster {
  abstract readonly peer: StoreName;
  abstract readonly nodes: readonly BenchNode[];
  abstract readonly dial: Dial;
  /** Only when it was started with relays. */
  abstract readonly network: RelayMesh;
  /** Starts one more node with empty data and makes it a member. */
  abstract grow(): Promise<BenchNode>;
  /** Takes a member out of the cluster for ever; its process goes on, or not. */
  abstract remove(node: BenchNode): Promise<void>;
  abstract stop(): Promise<void>;

  /** What a node says of itself; undefined when it does not answer within a second. */
  async status(node: BenchNode, timeoutMs = 1000): Promise<MemberStatus | undefined> {
    const store = this.dial(node.address);
    try {
      return await store.status(timeoutMs);
    } catch {
      // It is down, or has not found the others yet.
      return undefined;
    } finally {
      store.close();
    }
  }

  /** The node that says that it leads. */
  async leader(limitMs = 20_000): Promise<BenchNode> {
    const untilMs = performance.now() + limitMs;
    for (;;) {
      for (const node of this.nodes) {
        if (!node.isRunning) continue;
        const status = await this.status(node);
        if (status !== undefined && status.leader !== 0n && status.leader === status.member) {
          return node;
        }
      }
      if (performance.now() > untilMs) throw new Error(`${this.peer}: no leader in ${limitMs} ms`);
      await sleep(20);
    }
  }

  /** The highest term that a running node tells. */
  async term(): Promise<number> {
    const running = this.nodes.filter((node) => node.isRunning);
    const statuses = await Promise.all(running.map((node) => this.status(node, 5000)));
    return Math.max(...statuses.map((status) => status?.term ?? 0));
  }

  /** Resolves when the node has what the leader had when this was called. */
  async caughtUp(node: BenchNode, limitMs = 120_000): Promise<void> {
    const untilMs = performance.now() + limitMs;
    const wanted = (await this.status(await this.leader()))?.index ?? 0;
    for (;;) {
      const status = await this.status(node);
      if (status !== undefined && status.index >= wanted) return;
      if (performance.now() > untilMs) {
        throw new Error(`${this.peer}: node ${node.index + 1} has not caught up in ${limitMs} ms`);
      }
      await sleep(20);
    }
  }

  /** Resolves when the node answers a linearizable read. */
  async serves(node: BenchNode, limitMs = 60_000): Promise<void> {
    const store = this.dial(node.address);
    const untilMs = performance.now() + limitMs;
    try {
      for (;;) {
        try {
          await store.range(new Uint8Array([1]), { limit: 1 }, 1000);
          return;
        } catch (error) {
          if (performance.now() > untilMs || !node.isRunning) throw error;
        }
        await sleep(2);
      }
    } finally {
      store.close();
    }
  }
}

/** Starts clusters of one peer. */
export interface Peer {
  readonly name: StoreName;
  /** A process that loads its clusters. */
  load(): LoadProcess;
  start(options?: StartOptions): Promise<BenchCluster>;
}

// ---------------------------------------------------------------------------------------------

export class CoveyPeer implements Peer {
  readonly name = "covey";
  readonly #runtime: Runtime;
  readonly #command: readonly string[];

  /** `command` runs a node, before `agent`. */
  constructor(runtime: Runtime, command: readonly string[]) {
    this.#runtime = runtime;
    this.#command = command;
  }

  load(): LoadProcess {
    return new LoadProcess(this.name, "");
  }

  async start(options: StartOptions = {}): Promise<CoveyCluster> {
    const { relaySeed, network, wrap, dataFolder, config } = options;
    const cluster = await Cluster.prepare({
      nodes: 3,
      command: this.#command,
      wrap,
      dataFolder,
      config,
      relays: relaySeed === undefined ? undefined : { runtime: this.#runtime, seed: relaySeed },
    });
    const bench = new CoveyCluster(cluster, this.#runtime);
    try {
      if (network !== undefined) cluster.network.linkAll(network);
      await Promise.all(cluster.nodes.map((node) => node.start()));
      await bench.leader();
      return bench;
    } catch (error) {
      await bench.stop();
      throw error;
    }
  }
}

export class CoveyCluster extends BenchCluster {
  override readonly peer = "covey";
  override readonly dial: Dial;
  readonly cluster: Cluster;
  readonly #runtime: Runtime;

  constructor(cluster: Cluster, runtime: Runtime) {
    super();
    this.cluster = cluster;
    this.#runtime = runtime;
    this.dial = coveyDial(runtime);
  }

  override get nodes(): readonly ClusterNode[] {
    return this.cluster.nodes;
  }

  override get network(): RelayMesh {
    return this.cluster.network;
  }

  override async grow(): Promise<ClusterNode> {
    const node = await this.cluster.add();
    await node.start();
    await this.#raft(
      await this.leader(),
      (raft) => raft.add({ address: node.advertised }, { timeoutMs: 120_000 }),
    );
    return node;
  }

  /** Makes a node take a snapshot; resolves with its size in bytes. */
  async snapshot(node: BenchNode): Promise<number> {
    const taken = await this.#raft(node, (raft) => raft.snapshot({}, { timeoutMs: 120_000 }));
    return Number(taken.bytes);
  }

  override async remove(node: BenchNode): Promise<void> {
    const member = (await this.status(node))?.member ?? 0n;
    await this.#raft(
      await this.leader(),
      (raft) => raft.remove({ replica: member }, { timeoutMs: 30_000 }),
    );
  }

  override async stop(): Promise<void> {
    await this.cluster.stop();
  }

  async #raft<T>(
    node: BenchNode,
    work: (client: ReturnType<typeof createClient<typeof Raft>>) => Promise<T>,
  ): Promise<T> {
    const channel = coveyChannel(this.#runtime, node.address);
    try {
      return await work(createClient(Raft, channel));
    } finally {
      channel.close();
    }
  }
}

// ---------------------------------------------------------------------------------------------

export class EtcdPeer implements Peer {
  readonly name = "etcd";
  readonly version: string;
  readonly #descriptorFile: string;
  readonly #runtime: Runtime;
  readonly #messages: EtcdMessages;

  private constructor(runtime: Runtime, version: string, descriptorFile: string) {
    this.#runtime = runtime;
    this.version = version;
    this.#descriptorFile = descriptorFile;
    this.#messages = new EtcdMessages(descriptorFile);
  }

  /** The reason why it cannot take part, as text. `folder` gets the descriptors of its messages. */
  static find(runtime: Runtime, folder: string): EtcdPeer | string {
    const asked = spawnSync("etcd", ["--version"], { encoding: "utf8" });
    if (asked.status !== 0) return "etcd is not installed (Debian: etcd-server)";
    const version = /etcd Version: (\S+)/.exec(asked.stdout)?.[1] ?? "unknown";
    const root = fileURLToPath(new URL("..", import.meta.url).href);
    const descriptors = join(folder, "etcd.binpb");
    const built = spawnSync(
      join(root, "node_modules/.bin/buf"),
      ["build", join(root, "bench/etcd"), "-o", descriptors],
      { encoding: "utf8" },
    );
    if (built.status !== 0) return `buf cannot build bench/etcd: ${built.stderr}`;
    return new EtcdPeer(runtime, version, descriptors);
  }

  load(): LoadProcess {
    return new LoadProcess(this.name, this.#descriptorFile);
  }

  async start(options: StartOptions = {}): Promise<EtcdCluster> {
    const cluster = new EtcdCluster(this.#runtime, this.#messages, options);
    try {
      for (let index = 0; index < 3; index++) await cluster.prepare("new");
      if (options.network !== undefined) cluster.network.linkAll(options.network);
      await Promise.all(cluster.nodes.map((node) => node.spawn()));
      await cluster.leader();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }
}

export class EtcdCluster extends BenchCluster {
  override readonly peer = "etcd";
  override readonly nodes: EtcdNode[] = [];
  override readonly dial: Dial;
  readonly #messages: EtcdMessages;
  readonly #options: StartOptions;
  readonly #folder: string = mkdtempSync(join(tmpdir(), "covey-etcd-"));
  readonly #mesh: RelayMesh | undefined;
  readonly #killAll = (): void => {
    for (const node of this.nodes) node.process?.signal("SIGKILL");
  };

  constructor(runtime: Runtime, messages: EtcdMessages, options: StartOptions) {
    super();
    this.#messages = messages;
    this.#options = options;
    this.dial = (address) => new EtcdStore(messages, address);
    this.#mesh = options.relaySeed === undefined ? undefined : new RelayMesh({
      runtime,
      seed: options.relaySeed,
      members: () =>
        this.nodes.map((node) => ({
          index: node.index,
          pid: node.isRunning ? node.pid : undefined,
        })),
    });
    process.once("exit", this.#killAll);
  }

  override get network(): RelayMesh {
    if (this.#mesh === undefined) throw new Error("the cluster was started without relays");
    return this.#mesh;
  }

  /** Makes addresses and folders of one more node. */
  async prepare(state: "new" | "existing"): Promise<EtcdNode> {
    const index = this.nodes.length;
    // Beside covey's, whose numbers are drawn, both are never up at the same time.
    const host = `127.0.1.${index + 1}`;
    const peer = `tcp://${host}:${await freePort(host)}`;
    const client = `tcp://${host}:${await freePort(host)}`;
    const relay = await this.#mesh?.add(index, host, parseAddress(peer));
    const node = new EtcdNode({
      index,
      state,
      address: client,
      listenPeer: peer,
      advertised: relay === undefined ? peer : formatAddress(relay),
      data: this.#options.dataFolder?.(index) ?? join(this.#folder, `node-${index + 1}`),
      cluster: () => this.nodes,
      options: this.#options,
    });
    this.nodes.push(node);
    return node;
  }

  override async grow(): Promise<EtcdNode> {
    const leader = await this.leader();
    const node = await this.prepare("existing");
    const store = new EtcdStore(this.#messages, leader.address);
    try {
      const url = node.advertised.replace("tcp:", "http:");
      // It refuses until all members were connected for five seconds.
      await patiently(() => store.addMember(url, 10_000), 20_000);
    } finally {
      store.close();
    }
    await node.spawn();
    return node;
  }

  override async remove(node: BenchNode): Promise<void> {
    const member = (await this.status(node))?.member ?? 0n;
    const store = new EtcdStore(this.#messages, (await this.leader()).address);
    try {
      await store.removeMember(member, 30_000);
    } finally {
      store.close();
    }
  }

  override async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()));
    this.#mesh?.close();
    process.off("exit", this.#killAll);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

interface EtcdParts {
  readonly index: number;
  readonly state: "new" | "existing";
  readonly address: string;
  readonly listenPeer: string;
  readonly advertised: string;
  readonly data: string;
  readonly cluster: () => readonly EtcdNode[];
  readonly options: StartOptions;
}

export class EtcdNode implements BenchNode {
  readonly index: number;
  readonly address: string;
  readonly advertised: string;
  process: ServerProcess | undefined = undefined;
  readonly #parts: EtcdParts;

  constructor(parts: EtcdParts) {
    this.#parts = parts;
    this.index = parts.index;
    this.address = parts.address;
    this.advertised = parts.advertised;
  }

  get pid(): number {
    return this.process!.pid;
  }

  get isRunning(): boolean {
    return this.process?.isRunning === true;
  }

  async spawn(): Promise<void> {
    const { index, state, listenPeer, data, cluster, options } = this.#parts;
    const url = (address: string): string => address.replace("tcp:", "http:");
    const members = cluster().map((node) => `${nameOf(node.index)}=${url(node.advertised)}`);
    const command = [
      "etcd",
      ...["--name", nameOf(index), "--data-dir", data, "--logger", "zap", "--log-level", "error"],
      ...["--listen-client-urls", url(this.address), "--advertise-client-urls", url(this.address)],
      ...["--listen-peer-urls", url(listenPeer)],
      ...["--initial-advertise-peer-urls", url(this.advertised)],
      ...["--initial-cluster", members.join(","), "--initial-cluster-state", state],
      // It looks at revisions only each five minutes, at times as often as the retention asks.
      ...(options.compaction === true
        ? ["--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1m"]
        : []),
    ];
    this.process = await ServerProcess.start({
      command: options.wrap?.(command, index) ?? command,
    });
  }

  async kill(): Promise<unknown> {
    return await this.process?.kill();
  }

  async stop(): Promise<unknown> {
    return await this.process?.stop();
  }

  pause(): void {
    this.process?.pause();
  }

  resume(): void {
    this.process?.resume();
  }

  usage(): ProcessUsage {
    return this.process!.usage();
  }
}

function nameOf(index: number): string {
  return `etcd-${index + 1}`;
}
