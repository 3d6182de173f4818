/**
 * A cluster of real processes: starts any number of `covey agent`s of a given executable with
 * temporary data, waits until each prints its ready line, kills, stops, restarts and pauses them,
 * reads their memory, CPU time and disk writes, and leaves nothing behind. For tests and for
 * benchmarks, under Bun and Deno. Keep it small: what one test alone needs belongs to that test.
 *
 * Each node listens on a loopback address of its own at a port that the system chose. No outgoing
 * connection ever takes such a port as its own end, because those come from 127.0.0.1: a node that
 * is restarted finds its address free.
 *
 * With `relays`, other nodes reach each node through a TCP relay, which makes the network as bad as
 * a test wants it (`cluster.link(from, to, …)`, `cluster.network`); clients use the direct address. Relays run in the
 * process of the test.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { formatAddress, parseAddress } from "../../src/base/address.ts";
import type { Runtime } from "../../src/runtime/port.ts";
import { RelayMesh } from "./relay_mesh.ts";
import { type ProcessUsage, type ServerExit, ServerProcess } from "./server_process.ts";
import type { LinkConditions } from "./tcp_relay.ts";

/** Sections and keys as in the configuration file. */
export type ConfigTree = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export interface ClusterOptions {
  /** Founders. */
  readonly nodes: number;
  /** What runs a node, before `agent`: `[coveyBinary]`, or `[bun, "src/main.ts"]`. */
  readonly command: readonly string[];
  /** Added to what the launcher writes, for all nodes or for each. */
  readonly config?: ConfigTree | ((index: number) => ConfigTree);
  /** Changes what is started, for instance to run it below a tracer. */
  readonly wrap?: (command: readonly string[], index: number) => readonly string[];
  /** Puts a relay in front of each node; the runtime and the seed of what the relays draw. */
  readonly relays?: { readonly runtime: Runtime; readonly seed: number };
  /** Where the nodes' data goes instead of the cluster's temporary folder. */
  readonly dataFolder?: (index: number) => string | undefined;
  readonly environment?: Readonly<Record<string, string>>;
  /** How long a node may take until it is ready. Default 30 s. */
  readonly readyMs?: number;
}

/** The line that `covey agent --json` prints. */
export interface ReadyLine {
  readonly event: "ready";
  readonly name: string;
  readonly nodeId: string;
  readonly pid: number;
  readonly listeners: Readonly<Record<string, string>>;
}

/** The compiled binary of this checkout, which `./compile.sh` makes. */
export const coveyBinary: string = fileURLToPath(new URL("../../dist/covey", import.meta.url).href);

export class Cluster {
  readonly folder: string;
  readonly nodes: ClusterNode[] = [];
  readonly #options: ClusterOptions;
  /** The first three numbers of the nodes' addresses. */
  readonly #subnet: string;
  readonly #mesh: RelayMesh | undefined;
  readonly #killAll = (): void => {
    for (const node of this.nodes) node.process?.signal("SIGKILL");
  };

  private constructor(options: ClusterOptions) {
    this.#options = options;
    this.folder = mkdtempSync(join(tmpdir(), "covey-cluster-"));
    const [high, low] = crypto.getRandomValues(new Uint8Array(2));
    // 127.0.x.x stays free for what others put on 127.0.0.1.
    this.#subnet = `127.${1 + high % 254}.${low}`;
    this.#mesh = options.relays === undefined ? undefined : new RelayMesh({
      ...options.relays,
      members: () =>
        this.nodes.map((node) => ({
          index: node.index,
          pid: node.isRunning ? node.pid : undefined,
        })),
    });
    process.once("exit", this.#killAll);
  }

  /** Starts the founders at the same time; resolves when all of them are ready. */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const cluster = await Cluster.prepare(options);
    try {
      await Promise.all(cluster.nodes.map((node) => node.start()));
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** Makes folders, addresses and relays, and starts nothing yet. */
  static async prepare(options: ClusterOptions): Promise<Cluster> {
    const cluster = new Cluster(options);
    try {
      for (let index = 0; index < options.nodes; index++) await cluster.#addNode(true);
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    for (const node of cluster.nodes) node.founders = cluster.#founders();
    return cluster;
  }

  /**
   * Prepares one more node with empty data, which waits to be added once it is started: both are
   * the caller's.
   */
  async add(config: ConfigTree = {}): Promise<ClusterNode> {
    const founders = this.#founders();
    const node = await this.#addNode(false);
    node.founders = founders;
    node.config = config;
    return node;
  }

  node(index: number): ClusterNode {
    return this.nodes[index];
  }

  /** Nodes whose process runs. */
  get running(): ClusterNode[] {
    return this.nodes.filter((node) => node.isRunning);
  }

  /**
   * Sets the conditions of what `from` sends to `to`, whoever of them dialled; the other way is
   * a link of its own. Only with `relays`.
   */
  link(from: number, to: number, conditions: Partial<LinkConditions>): void {
    this.network.link(from, to, conditions);
  }

  /** The network between the nodes, with everything that can be done to it. */
  get network(): RelayMesh {
    if (this.#mesh === undefined) throw new Error("the cluster was started without relays");
    return this.#mesh;
  }

  /** Ends every process at once, closes the relays and removes the data. */
  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.kill()));
    this.#mesh?.close();
    process.off("exit", this.#killAll);
    rmSync(this.folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #founders(): string[] {
    return this.nodes.filter((node) => node.isFounder).map((node) => node.advertised);
  }

  async #addNode(isFounder: boolean): Promise<ClusterNode> {
    const index = this.nodes.length;
    const host = `${this.#subnet}.${index + 1}`;
    const listen = `tcp://${host}:${await freePort(host)}`;
    const relay = await this.#mesh?.add(index, host, parseAddress(listen));
    const node = new ClusterNode({
      index,
      listen,
      relay: relay === undefined ? undefined : formatAddress(relay),
      isFounder,
      folder: join(this.folder, `node-${index + 1}`),
      options: this.#options,
    });
    this.nodes.push(node);
    return node;
  }
}

interface NodeParts {
  readonly index: number;
  readonly listen: string;
  readonly relay: string | undefined;
  readonly isFounder: boolean;
  readonly folder: string;
  readonly options: ClusterOptions;
}

export class ClusterNode {
  readonly index: number;
  readonly name: string;
  /** Where clients reach it: `tcp://host:port`. */
  readonly address: string;
  /** Where other nodes reach it. */
  readonly advertised: string;
  readonly dataFolder: string;
  readonly isFounder: boolean;
  /** Advertised addresses of those who found the cluster. */
  founders: readonly string[] = [];
  /** Added to the cluster's configuration for this node. */
  config: ConfigTree = {};
  /** The last one, also when it has ended. */
  process: ServerProcess | undefined = undefined;
  ready: ReadyLine | undefined = undefined;
  readonly #parts: NodeParts;

  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.index = parts.index;
    this.name = `node-${parts.index + 1}`;
    this.address = parts.listen;
    this.isFounder = parts.isFounder;
    this.advertised = parts.relay ?? parts.listen;
    this.dataFolder = parts.options.dataFolder?.(parts.index) ?? join(parts.folder, "data");
  }

  get isRunning(): boolean {
    return this.process?.isRunning === true;
  }

  /** Of the process that runs, or ran last. */
  get pid(): number {
    if (this.process === undefined) throw new Error(`${this.name} was never started`);
    return this.process.pid;
  }

  /** Starts the process; resolves with its ready line. */
  async start(): Promise<ReadyLine> {
    if (this.isRunning) throw new Error(`${this.name} runs already`);
    await this.spawn();
    return await this.untilReady();
  }

  /** Starts the process and does not wait for its ready line. */
  async spawn(): Promise<void> {
    const { folder, options, index } = this.#parts;
    mkdirSync(folder, { recursive: true });
    const file = join(folder, "covey.json");
    writeFileSync(file, JSON.stringify(this.#configuration(), null, 2));
    const command = [...options.command, "agent", "--json", "--config", file];
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("COVEY_"));
    this.process = await ServerProcess.start({
      command: options.wrap?.(command, index) ?? command,
      environment: {
        ...Object.fromEntries(inherited) as Record<string, string>,
        ...options.environment,
      },
    });
  }

  /** Waits for the ready line of the process that was spawned. */
  async untilReady(): Promise<ReadyLine> {
    const line = await this.process!.line(isReady, this.#parts.options.readyMs ?? 30_000);
    return this.ready = JSON.parse(line) as ReadyLine;
  }

  /** kill -9. Resolves when it is gone; undefined when it never ran. */
  async kill(): Promise<ServerExit | undefined> {
    return await this.process?.kill();
  }

  /** SIGTERM. Resolves when it is gone. */
  async stop(): Promise<ServerExit | undefined> {
    return await this.process?.stop();
  }

  /** Ends it, as asked, and starts it again on the same data and address. */
  async restart(how: "kill" | "stop" = "stop"): Promise<ReadyLine> {
    await (how === "kill" ? this.kill() : this.stop());
    return await this.start();
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

  #configuration(): ConfigTree {
    const { options, index } = this.#parts;
    const own: ConfigTree = {
      node: {
        name: this.name,
        data: this.dataFolder,
        listen: [this.address],
        ...(this.advertised === this.address ? {} : { advertise: this.advertised }),
      },
      cluster: {
        // A cluster of one has nobody to look for.
        join: this.isFounder && this.founders.length === 1 ? [] : this.founders,
        ...(this.isFounder ? { expect: this.founders.length } : undefined),
      },
      // Over TCP without certificates nobody is let in unless this is written out.
      tls: { mode: "off" },
      admin: { enabled: false },
    };
    const shared = typeof options.config === "function" ? options.config(index) : options.config;
    return merge(merge(own, shared ?? {}), this.config);
  }
}

function isReady(line: string): boolean {
  return line.startsWith("{") && line.includes('"event":"ready"');
}

function merge(a: ConfigTree, b: ConfigTree): ConfigTree {
  const merged: Record<string, Record<string, unknown>> = {};
  for (const [name, section] of [...Object.entries(a), ...Object.entries(b)]) {
    merged[name] = { ...merged[name], ...section };
  }
  return merged;
}

/** A port of this host on which nobody listens. */
export function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, host, () => {
      const address = server.address();
      server.close(() => {
        if (address === null || typeof address === "string") reject(new Error("no port"));
        else resolve(address.port);
      });
    });
  });
}
