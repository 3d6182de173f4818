/**
 * The composition root: builds a node's parts from a configuration and a runtime, starts them in
 * order and stops them in the reverse order. The same file runs in the binary, in a program that
 * imports covey, and on the simulator.
 *
 * States: starting → ready → draining → stopped. Order of the start: data directory (locked,
 * identity read), TLS material, listeners, admin, consensus and what it replicates, ready: what an
 * operator may have to correct comes before what takes its time and concerns other nodes. A step
 * that fails undoes those before it.
 */
import type { DescService } from "npm:@bufbuild/protobuf@2.17.0";
import type { Admin } from "./admin/admin.ts";
import type { ConfigSetting, NodeStatus } from "./admin/parts.ts";
import type { AdminApp } from "./admin/schema.ts";
import { type Address, formatAddress, parseAddress } from "./base/address.ts";
import { Code, CoveyError } from "./base/error.ts";
import { anonymous } from "./base/identity.ts";
import type { Logger } from "./base/log.ts";
import { MetricsRegistry } from "./base/metrics.ts";
import type { CacheModule } from "./cache/cache_module.ts";
import type { Config } from "./config/types.ts";
import { Node as NodeService } from "./gen/covey/node/v1/node_pb.ts";
import { Health } from "./gen/grpc/health/v1/health_pb.ts";
import { createLog, type Log } from "./log.ts";
import { adminServices } from "./node/admin_services.ts";
import { type DataDirectory, makeNodeId, openDataDirectory } from "./node/data_directory.ts";
import { CertificateWatch } from "./node/certificate_watch.ts";
import { HealthState } from "./node/health.ts";
import { infoHandlers, type NodeFacts } from "./node/info.ts";
import { cannotListen } from "./node/listen_error.ts";
import { absoluteAddress, absolutePath } from "./node/path.ts";
import { MemoryKeeper } from "./node/memory_keeper.ts";
import { LoopMonitor } from "./node/loop_monitor.ts";
import { advertised } from "./node/advertised.ts";
import type { NodeMembership } from "./node/membership.ts";
import type { NodeMembers } from "./node/node_members.ts";
import type { Replication } from "./node/replication.ts";
import { NodeRpc } from "./node/rpc.ts";
import { showRpcMetrics } from "./node/rpc_metrics.ts";
import { rpcLimits } from "./node/rpc_limits.ts";
import { readTls } from "./node/tls_files.ts";
import type { KvClient } from "./kv/client.ts";
import type { NodeRaft } from "./raft/node_raft.ts";
import type { RoutedClientOptions } from "./routing/options.ts";
import type { Listener, Runtime, TlsOptions } from "./runtime/port.ts";
import { accessInterceptor, type AccessPolicy, authorize } from "./security/access.ts";
import { identify } from "./security/identify.ts";
import { RpcCounters } from "./ttrpc/counters.ts";
import { ServiceRegistry } from "./ttrpc/registry.ts";
import { RpcServer } from "./ttrpc/server.ts";
import type { Client } from "./ttrpc/service.ts";
import { version } from "./version.ts";

/** What a node is made of. */
export interface NodeParts {
  readonly runtime: Runtime;
  readonly config: Config;
  /** The configuration for people, with origins. Default: none to show. */
  readonly settings?: () => readonly ConfigSetting[];
  /** Lines for people at the start, from the configuration. */
  readonly warnings?: readonly string[];
  /** Whoever reaches a loopback listener may do everything: `--dev`. */
  readonly dev?: boolean;
  /** Compose the admin endpoint where the configuration enables it. Default true. */
  readonly admin?: boolean;
  /** Where the log goes. Default: standard error, in the configured format. */
  readonly log?: Log;
}

/** For clients to notice that this node stops. */
const partingMs = 1_000;

export type NodeState = "starting" | "ready" | "draining" | "stopped";

/** A running node. */
export class Node implements AsyncDisposable {
  readonly runtime: Runtime;
  readonly config: Config;
  readonly name: string;
  readonly nodeId: string;
  readonly log: Log;
  readonly metrics: MetricsRegistry;
  /** Services and clients. */
  readonly rpc: NodeRpc;
  readonly #parts: NodeParts;
  readonly #logger: Logger;
  readonly #directory: DataDirectory | undefined;
  readonly #policy: AccessPolicy;
  readonly #registry: ServiceRegistry;
  readonly #health: HealthState;
  readonly #loop: LoopMonitor;
  readonly #memory: MemoryKeeper;
  readonly #certificate: CertificateWatch | undefined;
  readonly #server: RpcServer;
  readonly #facts: NodeFacts;
  readonly #tls: TlsOptions | undefined;
  readonly #listeners: Map<string, Listener> = new Map();
  #admin: Admin | undefined = undefined;
  #replication: Replication | undefined = undefined;
  #membership: NodeMembership | undefined = undefined;
  #state: NodeState = "starting";
  #stopped: Promise<void> | undefined = undefined;

  private constructor(
    parts: NodeParts,
    log: Log,
    directory: DataDirectory | undefined,
    tls: TlsOptions | undefined,
  ) {
    const { runtime, config } = parts;
    this.#parts = parts;
    this.runtime = runtime;
    this.config = config;
    this.log = log;
    this.#logger = log.logger.child("node");
    this.#directory = directory;
    this.#tls = tls;
    this.name = nameOf(parts);
    this.nodeId = directory?.nodeId ?? makeNodeId(runtime.random);
    // Without TLS nobody can prove anything; "off" written out says that everybody is trusted.
    this.#policy = { anonymousMayAll: (parts.dev ?? false) || config.tls.mode === "off" };
    this.metrics = new MetricsRegistry();
    const clientCounters = new RpcCounters();
    const traffic = (): number => {
      const { receivedBytesTotal, sentBytesTotal } = this.#server.counters;
      return receivedBytesTotal + sentBytesTotal + clientCounters.receivedBytesTotal;
    };
    this.#loop = new LoopMonitor(runtime.clock, log.logger.child("loop"), this.metrics, traffic);
    this.#registry = new ServiceRegistry([accessInterceptor(this.#policy)]);
    this.#health = new HealthState(this.#registry);
    this.#facts = {
      name: this.name,
      nodeId: this.nodeId,
      version,
      startedMs: runtime.clock.monotonicMs(),
    };
    this.#registry.add(Health, this.#health.handlers());
    this.#registry.add(NodeService, infoHandlers(runtime, this.#facts, this.#registry));
    const limits = rpcLimits(config);
    const rpcLogger = log.logger.child("rpc");
    this.#server = new RpcServer({
      net: runtime.net,
      clock: runtime.clock,
      registry: this.#registry,
      limits,
      identify,
      onHandlerError: (path, cause) => rpcLogger.error("a handler failed", { path, cause }),
      onTask: (task, startedMs, endedMs) => this.#loop.ran(task, startedMs, endedMs),
    });
    this.#memory = new MemoryKeeper({
      clock: runtime.clock,
      host: runtime.host,
      traffic,
    });
    const validity = tls && runtime.net.inspectTls(tls).validity;
    this.#certificate = validity &&
      new CertificateWatch(runtime.clock, this.#logger, this.metrics, validity);
    this.rpc = new NodeRpc({
      runtime,
      server: this.#server,
      limits,
      counters: clientCounters,
      tls,
    });
    showRpcMetrics(
      this.metrics,
      this.#server.counters,
      clientCounters,
      () => [...this.#listeners.values()],
    );
  }

  /** Builds and starts a node; rejects with a CoveyError that says what is wrong. */
  static async start(parts: NodeParts): Promise<Node> {
    const { runtime, config } = parts;
    const log = parts.log ?? await createLog(runtime, {
      level: config.log.level,
      format: config.log.format,
      node: nameOf(parts),
    });
    const directory = config.node.memory_only ? undefined : await openDataDirectory(
      runtime.disk,
      runtime.random,
      absolutePath(runtime.host, config.node.data, "node.data"),
    );
    let node: Node;
    try {
      node = new Node(parts, log, directory, await readTls(runtime, config));
    } catch (error) {
      await directory?.release();
      throw error;
    }
    try {
      await node.#start();
    } catch (error) {
      await node.#release();
      throw error;
    }
    return node;
  }

  get state(): NodeState {
    return this.#state;
  }

  /**
   * The admin endpoint as a Hono app, to be mounted in a server of the program's own.
   * `failed_precondition` when `admin.enabled` is false.
   */
  get admin(): AdminApp {
    if (this.#admin === undefined) {
      throw new CoveyError(
        Code.failedPrecondition,
        "the admin endpoint is off: set admin.enabled = true",
      );
    }
    return this.#admin.app;
  }

  /** Consensus: `failed_precondition` when `raft.enabled` is false. */
  get raft(): NodeRaft {
    if (this.#replication !== undefined) return this.#replication.raft;
    throw new CoveyError(Code.failedPrecondition, "consensus is off: set raft.enabled = true");
  }

  /** The key-value store: `failed_precondition` when `kv.enabled` is false. */
  get kv(): KvClient {
    if (this.#replication !== undefined && this.config.kv.enabled) return this.#replication.client;
    throw new CoveyError(
      Code.failedPrecondition,
      "the key-value store is off: set raft.enabled = true and kv.enabled = true",
    );
  }

  /**
   * A client of a service, whoever among the members offers it: each call goes to one of them.
   * `failed_precondition` when `membership.enabled` is false.
   */
  client<S extends DescService>(service: S, options?: RoutedClientOptions): Client<S> {
    if (this.#membership !== undefined) return this.#membership.client(service, options);
    throw membershipOff();
  }

  /** Who takes part in the cluster: `failed_precondition` when `membership.enabled` is false. */
  get members(): NodeMembers {
    if (this.#membership !== undefined) return this.#membership.shown;
    throw membershipOff();
  }

  /** The shared cache: `failed_precondition` when `membership.enabled` or `cache.enabled` is false. */
  get cache(): CacheModule {
    const cache = this.#membership?.cache;
    if (cache !== undefined) return cache;
    const why = "the cache is off: set membership.enabled = true and cache.enabled = true";
    throw new CoveyError(Code.failedPrecondition, why);
  }

  /** Every bound address by its name: `mesh`, `mesh.1`, `local`, `admin`. */
  get listeners(): Readonly<Record<string, string>> {
    const bound: Record<string, string> = {};
    for (const [name, listener] of this.#listeners) bound[name] = formatAddress(listener.address);
    const admin = this.#admin?.address;
    if (admin !== undefined) bound.admin = formatAddress(admin).replace("tcp:", "http:");
    return bound;
  }

  /**
   * Stops: health says so, calls in flight finish within `rpc.drain_timeout`, other nodes take over
   * what this one leads, listeners and files are closed. Calling it again waits for the same stop.
   */
  stop(): Promise<void> {
    return this.#stopped ??= this.#stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #start(): Promise<void> {
    const { config } = this;
    for (const warning of this.#parts.warnings ?? []) this.#logger.warning(warning);
    this.#certificate?.start();
    const addresses: Address[] = [];
    for (let at = 0; at < config.node.listen.length; at++) {
      const written = parseAddress(config.node.listen[at]);
      const address = absoluteAddress(this.runtime.host, written, "node.listen");
      const listener = await this.#listen(address, "node.listen");
      this.#listeners.set(at === 0 ? "mesh" : `mesh.${at}`, listener);
      addresses.push(listener.address);
    }
    this.rpc.bound(addresses);
    if (this.#directory !== undefined) {
      const address = parseAddress(`unix:${this.#directory.socket}`);
      this.#listeners.set("local", await this.#listen(address, "the local socket"));
    }
    if (config.membership.enabled) await this.#makeMembership(addresses);
    if (config.raft.enabled) await this.#makeReplication(addresses);
    if (config.admin.enabled && this.#parts.admin !== false) await this.#startAdmin();
    await this.#membership?.start();
    await this.#replication?.start();
    // What a start takes delays nobody: the heartbeat begins with the service.
    this.#loop.start();
    this.#memory.start();
    this.#state = "ready";
    this.#health.serving = true;
    this.#logger.info("ready", { nodeId: this.nodeId, version, ...this.listeners });
  }

  async #listen(address: Address, what: string): Promise<Listener> {
    const tls = address.kind === "tcp" ? this.#tls : undefined;
    try {
      return await this.#server.listen({
        address,
        tls,
        credentials: address.kind === "unix" && this.config.rpc.peer_credentials,
      });
    } catch (error) {
      throw await this.#cannotListen(address, what, error, tls !== undefined);
    }
  }

  async #makeMembership(listening: readonly Address[]): Promise<void> {
    const { NodeMembership } = await import("./node/membership.ts");
    const { runtime, config, log, rpc, name, nodeId } = this;
    this.#membership = new NodeMembership({
      runtime,
      config,
      logger: log.logger,
      metrics: this.metrics,
      registry: this.#registry,
      rpc,
      nodeId,
      name,
      directory: this.#directory?.path,
      address: advertised(config, listening),
      caller: {
        registry: this.#registry,
        clock: runtime.clock,
        identity: { kind: "local", name: "node" },
        address: listening[0],
      },
    });
  }

  async #makeReplication(listening: readonly Address[]): Promise<void> {
    const { Replication } = await import("./node/replication.ts");
    const { runtime, config, log, rpc, name, nodeId } = this;
    this.#replication = new Replication({
      runtime,
      config,
      logger: log.logger,
      metrics: this.metrics,
      registry: this.#registry,
      rpc,
      nodeId,
      name,
      directory: this.#directory?.path,
      listening,
      known: (cluster) => this.#membership?.founded(cluster),
    });
    if (config.kv.enabled) this.#health.follow(this.#replication.kv.health);
    if (this.#membership !== undefined) await this.#replication.follow(this.#membership);
  }

  async #startAdmin(): Promise<void> {
    const { createAdmin } = await import("./admin/admin.ts");
    const { config, runtime } = this;
    const listen = parseAddress(config.admin.listen);
    this.#admin = createAdmin({
      runtime,
      nodeName: this.name,
      version,
      listen,
      allowedHosts: config.admin.allowed_hosts,
      limits: {
        bodyBytesMax: config.admin.body_bytes_max,
        eventClientsMax: config.admin.event_clients_max,
      },
      logger: this.log.logger.child("admin"),
      log: this.log,
      metrics: this.metrics,
      config: this.#parts.settings ?? (() => []),
      status: () => this.status(),
      checks: () => [
        {
          name: "rpc",
          check: () => this.#state === "ready" ? undefined : `the node is ${this.#state}`,
        },
        ...(this.#replication?.admin.checks() ?? []),
        ...(this.#membership?.admin.checks() ?? []),
      ],
      services: adminServices(this.#registry),
      // The endpoint's own listener serves loopback only, where this machine's processes are. Of a
      // request that came through a program's server nothing is known: the program may say it.
      identify: (_request, context) =>
        context === undefined ? anonymous : { kind: "local", name: "admin endpoint" },
      authorize: (identity, action, resource) =>
        authorize(this.#policy, identity, action, resource),
    });
    const admin = this.#admin;
    for (const module of [this.#replication, this.#membership]) {
      module?.admin.openTopics((name, help) => admin.topic(name, help));
    }
    try {
      await this.#admin.start();
    } catch (error) {
      throw await this.#cannotListen(listen, "admin.listen", error, false);
    }
  }

  #cannotListen(address: Address, what: string, error: unknown, tls: boolean): Promise<unknown> {
    const own = [...this.#listeners.values()].map((listener) => listener.address);
    return cannotListen(this.runtime.disk, { address, what, tls, own }, error);
  }

  /** What the node says about itself. */
  status(): NodeStatus {
    const { runtime } = this;
    const counters = this.#server.counters;
    return {
      name: this.name,
      nodeId: this.nodeId,
      version,
      runtime: {
        name: runtime.name,
        version: runtime.version,
        architecture: runtime.host.architecture,
      },
      pid: runtime.host.pid,
      uptimeMs: Math.round(runtime.clock.monotonicMs() - this.#facts.startedMs),
      memory: runtime.host.memory(),
      listeners: this.listeners,
      modules: {
        rpc: {
          state: this.#state,
          connections: counters.connectionsOpen,
          calls: counters.callsOpen,
          services: this.#registry.services().map((service) => service.typeName),
        },
        ...this.#replication?.status(),
        ...this.#membership?.admin.status(),
      },
    };
  }

  async #stop(): Promise<void> {
    this.#state = "draining";
    this.#logger.info("draining", { calls: this.#server.counters.callsOpen });
    this.#health.serving = false;
    this.#health.close();
    const graceMs = this.config.rpc.drain_timeout;
    const untilMs = this.runtime.clock.monotonicMs() + graceMs;
    const parted = this.#server.announce(Math.min(partingMs, graceMs));
    // While the others can still be reached: their answers are what calls in flight wait for.
    await this.#replication?.drain(graceMs);
    // Ends the streams between nodes, for which the server would otherwise wait.
    await this.#membership?.stop();
    await this.#replication?.stop();
    await parted;
    const leftMs = Math.max(1, untilMs - this.runtime.clock.monotonicMs());
    await Promise.all([this.#server.stop(leftMs), this.#admin?.stop(leftMs)]);
    await this.#release();
    this.#logger.info("stopped");
  }

  async #release(): Promise<void> {
    this.#loop.stop();
    this.#memory.stop();
    this.#certificate?.stop();
    await this.#membership?.stop();
    await this.#replication?.stop();
    this.rpc.close();
    await this.#server.stop(0);
    await this.#admin?.stop(0);
    // A write that a stalled disk holds up may still come through: nobody else may begin before.
    if (this.#replication?.isDiskBusy === true) void this.#releaseLater(this.#replication.quiet);
    else await this.#directory?.release();
    this.#state = "stopped";
  }

  async #releaseLater(quiet: Promise<void>): Promise<void> {
    await quiet;
    try {
      await this.#directory?.release();
    } catch (cause) {
      this.#logger.error("the data directory was not released", { cause });
    }
  }
}

function membershipOff(): CoveyError {
  const why = "membership is off: set membership.enabled = true";
  return new CoveyError(Code.failedPrecondition, why);
}

function nameOf(parts: NodeParts): string {
  return parts.config.node.name || parts.runtime.host.hostname;
}
