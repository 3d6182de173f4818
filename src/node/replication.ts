/**
 * What a node replicates: the consensus module and, on it, the key-value store. Loaded only where
 * the configuration enables it.
 */
import type { Address } from "../base/address.ts";
import type { JsonObject } from "../base/log_json.ts";
import type { Logger } from "../base/log.ts";
import type { MetricsRegistry } from "../base/metrics.ts";
import type { Config } from "../config/types.ts";
import { RaftService } from "../gen/api/v1/raft_go_pb.ts";
import { Raft } from "../gen/covey/raft/v1/raft_pb.ts";
import { Transport } from "../gen/covey/raft/v1/transport_pb.ts";
import type { KvClient } from "../kv/client.ts";
import type { KvResult } from "../kv/core/result.ts";
import { defaultLimits } from "../kv/core/limits.ts";
import { KvModule } from "../kv/kv_module.ts";
import { showKvMetrics } from "../kv/metrics.ts";
import type { KvModuleOptions } from "../kv/options.ts";
import { raftHandlers } from "../kv/raft_go.ts";
import { Cluster } from "../raft/cluster.ts";
import { MemoryDisk } from "../raft/memory_disk.ts";
import { Operator } from "../raft/operator.ts";
import type { RaftOptions } from "../raft/options.ts";
import { NodeRaft } from "../raft/node_raft.ts";
import { TransportService } from "../raft/transport_service.ts";
import { entryBytesMax } from "../raft/wal/record_format.ts";
import type { Runtime } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { createLocalClient, type LocalCaller } from "../ttrpc/local_client.ts";
import type { ServiceRegistry } from "../ttrpc/registry.ts";
import { version } from "../version.ts";
import { raftGoMembers } from "./raft_go_members.ts";
import { showRaftMetrics } from "./raft_metrics.ts";
import { ReplicationAdmin } from "./replication_admin.ts";
import { advertised } from "./advertised.ts";
import type { NodeAutopilot } from "./autopilot.ts";
import type { FoundedCluster, NodeMembership } from "./membership.ts";
import type { NodeRpc } from "./rpc.ts";

/** Room in a message, or in a record of the log, for what is around a command. */
const envelopeBytes = 4096;
/** Dialling another node: short, because Raft tries again by itself. */
const dialMs = 2_000;
const backoff = { firstMs: 50, mostMs: 1_000 };

export interface ReplicationParts {
  readonly runtime: Runtime;
  readonly config: Config;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly registry: ServiceRegistry;
  readonly rpc: NodeRpc;
  readonly nodeId: string;
  readonly name: string;
  /** The data directory; undefined when everything is in memory. */
  readonly directory: string | undefined;
  /** Of the mesh listener, as bound. */
  readonly listening: readonly Address[];
  /** Which cluster this node is in, or could join. */
  readonly known: (cluster: FoundedCluster) => void;
}

export class Replication {
  readonly #parts: ReplicationParts;
  readonly cluster: Cluster<KvResult>;
  /** What programs get as `node.raft`. */
  readonly raft: NodeRaft;
  /** The store's machine belongs to the root group, whether its services are served or not. */
  readonly kv: KvModule;
  /** What the admin endpoint is told. */
  readonly admin: ReplicationAdmin;
  #autopilot: NodeAutopilot | undefined = undefined;
  #client: KvClient | undefined = undefined;
  #stopping: Promise<void> | undefined = undefined;
  #quiet: Promise<void> = Promise.resolve();
  #isDiskBusy = false;

  constructor(parts: ReplicationParts) {
    this.#parts = parts;
    const { runtime, config, logger, rpc, directory, nodeId, name } = parts;
    const raftLogger = logger.child("raft");
    const channel = (address: string): Channel =>
      rpc.channel(address, { peer: "covey", dialTimeoutMs: dialMs, backoff });
    this.kv = new KvModule({
      clock: runtime.clock,
      random: runtime.random,
      logger: logger.child("kv"),
      nodeName: name,
      version,
      options: kvOptions(config),
      waitingFor: () => this.cluster.problem,
    });
    this.cluster = new Cluster({
      disk: directory === undefined ? new MemoryDisk() : runtime.disk,
      clock: runtime.clock,
      random: runtime.random,
      logger: raftLogger,
      options: raftOptions(config),
      directory: directory ?? "/memory",
      nodeId,
      name,
      address: advertised(config, parts.listening),
      join: config.cluster.join,
      expect: config.cluster.expect,
      channel: (address) => rpc.channel(address, { peer: "covey", dialTimeoutMs: dialMs, backoff }),
      machine: this.kv.machine,
      fatal: (error) => {
        raftLogger.error("the log cannot be written: the process ends", { cause: error });
        // On an event of its own: nobody awaits the writing that failed.
        runtime.clock.timer(0, () => runtime.host.exit(1), undefined);
      },
      started: (group) => {
        this.kv.attach(group);
        this.#autopilot?.attach(group);
      },
      changed: () => this.admin.changed(),
      known: parts.known,
    });
    this.admin = new ReplicationAdmin(this.cluster, config.kv.enabled ? this.kv : undefined);
    showRaftMetrics(parts.metrics, this.cluster, this.admin.leaderChanges);
    if (config.kv.enabled) showKvMetrics(parts.metrics, this.kv);
    parts.registry.add(Transport, new TransportService(this.cluster).handlers());
    parts.registry.add(Raft, new Operator(this.cluster, runtime.clock).handlers());
    const client = createLocalClient(Raft, this.#caller);
    parts.registry.add(RaftService, raftHandlers(raftGoMembers(config.cluster.join, client)));
    if (config.kv.enabled) {
      for (const [service, handlers] of this.kv.services()) parts.registry.add(service, handlers);
    }
    this.raft = new NodeRaft({
      cluster: this.cluster,
      client,
      clock: runtime.clock,
      channel,
    });
  }

  /** Calls of the node's own program. */
  get #caller(): LocalCaller {
    const { registry, runtime, listening } = this.#parts;
    return {
      registry,
      clock: runtime.clock,
      identity: { kind: "local", name: "node" },
      address: listening[0],
    };
  }

  /** By module. */
  status(): Record<string, JsonObject> {
    const autopilot = this.#autopilot?.status();
    if (autopilot === undefined) return this.admin.status();
    return { ...this.admin.status(), autopilot: { ...autopilot } as unknown as JsonObject };
  }

  /** The replicas follow the agreed view, where the configuration wants that. Before the start. */
  async follow(membership: NodeMembership): Promise<void> {
    const { runtime, config, logger, metrics, rpc } = this.#parts;
    if (config.autopilot.mode === "off") return;
    const { NodeAutopilot } = await import("./autopilot.ts");
    this.#autopilot = new NodeAutopilot({
      runtime,
      config: config.autopilot,
      logger,
      metrics,
      members: membership.members,
      tagsOf: (member) => membership.tagsOf(member),
      cluster: this.cluster,
      raft: this.raft,
      channel: (to) => rpc.channel(to, { peer: "covey", dialTimeoutMs: dialMs, backoff }),
    });
  }

  /** Rejects with a CoveyError that says what is wrong with the data directory. */
  async start(): Promise<void> {
    await this.cluster.start();
  }

  /** Before the stop; see {@link Cluster.drain}. */
  async drain(limitMs: number): Promise<void> {
    await this.#autopilot?.stop();
    await this.cluster.drain(limitMs);
  }

  /** What programs get as `node.kv`. */
  get client(): KvClient {
    return this.#client ??= this.kv.client();
  }

  /**
   * Resolves when this module is closed; the disk gets `raft.disk_stall_timeout` for what it is busy
   * with. What a node answered is durable before, so that nothing is lost by waiting no longer.
   */
  stop(): Promise<void> {
    return this.#stopping ??= this.#stop();
  }

  /** Resolves, after a stop, when the disk has nothing to do any more; never rejects. */
  get quiet(): Promise<void> {
    return this.#quiet;
  }

  /** Whether the stop has ended and the disk is busy all the same. */
  get isDiskBusy(): boolean {
    return this.#isDiskBusy;
  }

  async #stop(): Promise<void> {
    this.kv.stop();
    void this.#autopilot?.stop();
    const { runtime: { clock }, config, logger } = this.#parts;
    const limitMs = config.raft.disk_stall_timeout;
    const ended = this.cluster.stop();
    this.#quiet = ended.catch((cause: unknown) => {
      if (this.#isDiskBusy) logger.error("the log was not closed", { cause });
    }).finally(() => {
      this.#isDiskBusy = false;
    });
    const stalled = Promise.withResolvers<void>();
    const timer = clock.timer(limitMs, () => {
      this.#isDiskBusy = true;
      logger.warning("the disk does not answer: stopped without waiting for it", { limitMs });
      stalled.resolve();
    }, undefined);
    try {
      await Promise.race([ended, stalled.promise]);
    } finally {
      timer.cancel();
    }
  }
}

function kvOptions({ kv, rpc }: Config): KvModuleOptions {
  return {
    // What nobody has configured is the cluster's to decide (Maintenance.SetLimits).
    limits: {
      databaseBytesMax: unlessDefault(kv.quota_bytes, defaultLimits.databaseBytesMax),
      requestBytesMax: unlessDefault(kv.request_bytes_max, defaultLimits.requestBytesMax),
    },
    compaction: { revisions: kv.compaction_revisions, historyBytes: kv.compaction_bytes },
    messageBytesMax: rpc.message_bytes_max,
    watchesMax: kv.watches_max,
    watchQueueBytesMax: kv.watch_queue_bytes_max,
    progressIntervalMs: kv.progress_interval,
  };
}

function unlessDefault(value: number, usual: number): number | undefined {
  return value === usual ? undefined : value;
}

export function raftOptions({ raft, rpc }: Config): RaftOptions {
  return {
    heartbeatMs: raft.heartbeat_interval,
    electionMs: raft.election_timeout,
    diskStallMs: raft.disk_stall_timeout,
    segmentBytes: raft.segment_bytes,
    lowWaterBytes: raft.low_water_bytes,
    snapshotLogBytes: raft.snapshot_log_bytes,
    catchUpBytes: raft.catch_up_bytes,
    appendBytesMax: raft.append_bytes_max,
    inflightBytesMax: raft.inflight_bytes_max,
    inflightMessagesMax: raft.inflight_messages_max,
    uncommittedBytesMax: raft.uncommitted_bytes_max,
    commandBytesMax: Math.min(rpc.message_bytes_max, entryBytesMax) - envelopeBytes,
    proposalsMax: raft.proposals_max,
    requestMs: raft.request_timeout,
    leaseReads: raft.lease_reads,
  };
}
