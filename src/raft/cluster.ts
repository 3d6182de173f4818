/**
 * The consensus module of one node, from nothing to a running group: remembers which cluster the
 * node is part of, founds or joins one, opens what is on disk, and starts the groups.
 *
 * States: `founding` (no cluster yet; the node serves, and says what it waits for) → `running` →
 * `stopped`. A node whose data directory names a cluster starts as `running` or not at all.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Identity } from "../base/identity.ts";
import type { Logger } from "../base/log.ts";
import { identityProblem } from "../base/speaks_for.ts";
import type { Clock, Disk, Random } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import type {
  IdentifyRequest,
  IdentifyResponseSchema,
  InviteRequest,
} from "../gen/covey/raft/v1/transport_pb.ts";
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import {
  clusterIdOf,
  type ClusterRecord,
  readClusterRecord,
  refuseOrphanedLog,
  writeClusterRecord,
} from "./cluster_record.ts";
import { finishRename } from "./cluster_rename.ts";
import { RaftCounters } from "./counters.ts";
import { Founding } from "./founding.ts";
import type { Group } from "./group.ts";
import { Groups } from "./groups.ts";
import type { GroupOfAny } from "./group_types.ts";
import { foundGroup, joinGroup, reopenGroup } from "./group_start.ts";
import { RaftHost } from "./host.ts";
import type { Machine } from "../base/machine.ts";
import { fromWire, type Member, toWire } from "./members.ts";
import type { RaftOptions } from "./options.ts";
import { PatientDisk } from "./patient_disk.ts";
import { Rediscovery } from "./rediscovery.ts";
import { openStorage, type Storage, withRemedy } from "./storage.ts";
import type { LogError } from "./wal/error.ts";

/** The group of the key-value store, which also knows where the others are. */
export const rootGroup = 0;

/** How long a node that stops waits for a descriptor before it ends without closing its log. */
const descriptorWaitMs = 5000;

export interface ClusterParts<Result> {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly options: RaftOptions;
  /** The node's data directory. */
  readonly directory: string;
  readonly nodeId: string;
  readonly name: string;
  /** Where other nodes reach the mesh listener. */
  readonly address: string;
  readonly join: readonly string[];
  readonly expect: number;
  readonly channel: (address: string) => Channel;
  /** The root group's machine. */
  readonly machine: Machine<Result>;
  /** The log has failed: the process must end. */
  readonly fatal: (error: LogError) => void;
  /** The root group is there. */
  readonly started: (group: Group<Result>) => void;
  /** Who takes part in a group changed, or which groups run here. */
  readonly changed?: () => void;
  /** This cluster is the node's, or is there without it: then nobody is named as a founder. */
  readonly known?: (cluster: Pick<ClusterRecord, "clusterId" | "founders">) => void;
}

// deno-lint-ignore no-explicit-any
export class Cluster<Result = any> {
  readonly logger: Logger;
  readonly counters: RaftCounters = new RaftCounters();
  readonly #parts: ClusterParts<Result>;
  readonly #disk: PatientDisk;
  readonly #instance: bigint;
  #host: RaftHost | undefined = undefined;
  #root: Group<Result> | undefined = undefined;
  #groups: Groups | undefined = undefined;
  #rediscovery: Rediscovery | undefined = undefined;
  /** Those who wait until the node is part of a running cluster. */
  readonly #waiting = new Set<() => void>();
  #founding: Founding | undefined = undefined;
  #foundingRun: Promise<void> | undefined = undefined;
  #record: ClusterRecord | undefined = undefined;
  #failure: CoveyError | undefined = undefined;
  /** The opening of log and group that is under way, or was; whoever began it gets its error. */
  #opening: Promise<void> = Promise.resolve();
  #inviting = false;
  #stopped = false;

  constructor(parts: ClusterParts<Result>) {
    this.#disk = new PatientDisk({ ...parts, waits: () => void this.counters.descriptorWaits++ });
    this.#parts = { ...parts, disk: this.#disk };
    this.logger = parts.logger;
    const bytes = new Uint8Array(8);
    parts.random.fill(bytes);
    // 0 stands for "not known yet".
    this.#instance = new DataView(bytes.buffer).getBigUint64(0) | 1n;
  }

  /** Undefined while the node is part of no cluster. */
  get host(): RaftHost | undefined {
    return this.#host;
  }

  get root(): Group<Result> | undefined {
    return this.#root;
  }

  get record(): ClusterRecord | undefined {
    return this.#record;
  }

  /** The groups beside the root group. */
  get groups(): Groups | undefined {
    return this.#groups;
  }

  /** What keeps the node from being part of a running cluster; undefined when nothing does. */
  get problem(): string | undefined {
    if (this.#failure !== undefined) return this.#failure.rawMessage;
    if (this.#root !== undefined) return this.#root.stopped?.rawMessage;
    return this.#founding?.waitingFor ?? "the cluster is being started";
  }

  /** Rejects when what is on disk cannot be used. A cluster may be founded long after this. */
  async start(): Promise<void> {
    const { disk, directory, join, expect } = this.#parts;
    const record = await readClusterRecord(disk, directory);
    // A start that was killed may have left names in here that are not durable yet.
    if (record !== undefined) await disk.syncDirectory(directory);
    if (record?.founded === true) return await this.#open(record);
    const alone = join.length === 0 && expect <= 1;
    if (alone && record === undefined) {
      const { nodeId, name, address } = this.#parts;
      const founders = [{ replica: 1, nodeId, name, address }];
      return await this.#open({
        clusterId: clusterIdOf([nodeId]),
        replica: 1,
        founders,
        founded: false,
      });
    }
    if (record === undefined) await refuseOrphanedLog(disk, directory);
    // Without founders, this node was being added when its process ended: it is invited again.
    this.#founding = this.#newFounding(record?.founders.length === 0 ? undefined : record);
    this.#foundingRun = this.#found(this.#founding);
  }

  #newFounding(promised: ClusterRecord | undefined): Founding {
    const { clock, nodeId, name, address, join, expect, channel, disk, directory } = this.#parts;
    return new Founding({
      clock,
      logger: this.logger,
      self: { nodeId, name, address },
      join,
      expect,
      channel,
      promised,
      foreign: (clusterId) => this.#parts.known?.({ clusterId, founders: [] }),
      promise: (made) => writeClusterRecord(disk, directory, made),
    });
  }

  #newRediscovery(host: RaftHost): Rediscovery {
    const { clock, join, channel } = this.#parts;
    return new Rediscovery({ clock, logger: this.logger, host, join, channel });
  }

  async #found(founding: Founding): Promise<void> {
    try {
      const record = await founding.run();
      if (record === undefined || this.#stopped || this.#inviting) return;
      await this.#open(record);
      this.logger.info("the cluster is founded", { clusterId: record.clusterId });
    } catch (error) {
      if (this.#stopped) return;
      this.#failure = CoveyError.from(error, Code.internal);
      this.logger.error("the cluster could not be founded", { cause: error });
    } finally {
      founding.stop();
    }
  }

  async #open(record: ClusterRecord, members?: readonly Member[]): Promise<void> {
    // Nothing is opened that nobody would close.
    if (this.#stopped) {
      throw new CoveyError(Code.unavailable, "the node is shutting down", { sent: false });
    }
    const opening = this.#run(record, members);
    this.#opening = opening.then(() => {}, () => {});
    try {
      await opening;
    } catch (error) {
      throw withRemedy(error, { replica: record.replica, address: this.#parts.address });
    }
  }

  async #run(record: ClusterRecord, members?: readonly Member[]): Promise<void> {
    const { disk, directory } = this.#parts;
    const host = this.#makeHost(record);
    const storage = await this.#openStorage(record, host);
    const parts = {
      host,
      storage,
      id: rootGroup,
      name: "kv",
      replica: record.replica,
      machine: this.#parts.machine,
      logger: this.logger,
      random: host.random(),
    };
    host.begin(storage);
    try {
      const recovered = storage.groups.get(rootGroup);
      const group = recovered !== undefined
        ? await reopenGroup(parts, recovered)
        : members !== undefined
        ? await joinGroup(parts, members)
        : await foundGroup(parts, record.founders);
      if (!record.founded) {
        // The record says that there is a log: not before the name of its folder is durable.
        await disk.syncDirectory(directory);
        await writeClusterRecord(disk, directory, { ...record, founded: true });
      }
      this.#record = { ...record, founded: true };
      this.#host = host;
      this.#root = group;
      this.#groups = new Groups({ host, storage, root: group, logger: this.logger });
      host.add(group);
      this.#rediscovery = this.#newRediscovery(host);
      this.#rediscovery.start();
      this.#parts.started(group);
      this.#parts.known?.(record);
      for (const wake of [...this.#waiting]) wake();
      await leadAlone(group, this.#parts.options.requestMs);
    } catch (error) {
      await host.stop();
      throw error;
    }
  }

  async #openStorage(record: ClusterRecord, host: RaftHost): Promise<Storage> {
    const { disk, random, options, directory, nodeId } = this.#parts;
    const { clusterId, replica } = record;
    await finishRename({ disk, directory, nodeId }, record);
    return await openStorage({
      disk,
      random,
      logger: this.logger,
      directory: `${directory}/raft`,
      clusterId,
      nodeId,
      replicas: [{ group: rootGroup, replica }],
      create: !record.founded,
      options,
    }, {
      durable: (ticket) => host.durable(ticket),
      failed: (error) => host.failed(error),
      space: (state, freeBytes) => host.space(state, freeBytes),
    });
  }

  #makeHost(record: ClusterRecord): RaftHost {
    const { clock, random, options, nodeId, name, address, channel, fatal } = this.#parts;
    return new RaftHost({
      clock,
      random,
      logger: this.logger,
      options,
      facts: {
        clusterId: record.clusterId,
        nodeId,
        name,
        address,
        instance: this.#instance,
        leaseMs: options.leaseReads ? options.electionMs : 0,
      },
      counters: this.counters,
      channel,
      fatal,
      held: (group) => void this.#groups?.letGo(group),
      membersChanged: () => {
        this.#groups?.reconcile();
        this.#parts.changed?.();
      },
    });
  }

  /** Resolves once the node is part of a running cluster; rejects with `unavailable` if not in time. */
  async whenRunning(
    timeoutMs: number = this.#parts.options.requestMs,
    signal?: AbortSignal,
  ): Promise<Groups> {
    if (this.#groups !== undefined) return this.#groups;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        timer.cancel();
        signal?.removeEventListener("abort", wake);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = this.#parts.clock.timer(timeoutMs, wake, undefined);
      signal?.addEventListener("abort", wake);
      this.#waiting.add(wake);
      if (signal?.aborted) wake();
    });
    if (this.#groups !== undefined) return this.#groups;
    throw new CoveyError(
      signal?.aborted ? Code.canceled : Code.unavailable,
      `this node is part of no cluster yet: ${this.problem}`,
      { sent: false },
    );
  }

  // -------------------------------------------------------------------------------------------
  // What other nodes ask

  identify(
    request: IdentifyRequest,
    identity: Identity,
  ): MessageInitShape<typeof IdentifyResponseSchema> {
    const { asker } = request;
    if (asker !== undefined) {
      const problem = identityProblem(identity, asker.nodeId);
      if (problem !== undefined) throw problem;
      if (this.#record === undefined) this.#founding?.met(asker);
    }
    const { nodeId, name, address } = this.#parts;
    return {
      self: this.#founding?.founder ?? { nodeId, name, address },
      clusterId: this.#record?.clusterId ?? "",
      founders: this.#record?.founders.map(toWire) ??
        this.#founding?.found.map((founder) => toWire({ ...founder, replica: 0 })) ?? [],
    };
  }

  /** A leader has made this node a replica. */
  async invited(request: InviteRequest, _identity: Identity): Promise<Record<never, never>> {
    const { nodeId } = this.#parts;
    if (request.nodeId !== nodeId) {
      throw new CoveyError(
        Code.failedPrecondition,
        `this is node ${nodeId}, not ${request.nodeId}: was its data directory lost?`,
      );
    }
    const replica = Number(request.replica);
    const known = this.#record;
    if (known !== undefined) {
      if (known.clusterId === request.clusterId && request.group !== rootGroup) {
        await this.#groups?.invited(request.group, replica);
        return {};
      }
      if (known.clusterId === request.clusterId && known.replica === replica) return {};
      throw new CoveyError(
        Code.failedPrecondition,
        `this node belongs to cluster ${known.clusterId} as replica ${known.replica}: to add it, ` +
          "stop it and give it an empty data directory",
      );
    }
    const promised = this.#founding?.founder.complete === true;
    if (promised || this.#inviting || this.#founding === undefined) {
      throw new CoveyError(
        Code.failedPrecondition,
        "this node is about to found a cluster itself: check cluster.join and cluster.expect",
      );
    }
    this.#inviting = true;
    try {
      this.#founding.stop();
      await this.#foundingRun;
      const members = request.members.map(fromWire);
      const record = { clusterId: request.clusterId, replica, founders: [], founded: false };
      // Before there is a log: one without this record is an accident.
      await writeClusterRecord(this.#parts.disk, this.#parts.directory, record);
      await this.#open(record, members);
      // Of an invitation that came to nothing before.
      this.#failure = undefined;
      this.logger.info("this node was added to a cluster", {
        clusterId: request.clusterId,
        replica,
      });
      return {};
    } catch (error) {
      this.#failure = CoveyError.from(error, Code.internal);
      throw error;
    } finally {
      this.#inviting = false;
    }
  }

  /**
   * Before the stop: nothing new is taken, what is under way gets to its end, and other nodes take
   * over what is led here, as far as this time allows.
   */
  async drain(limitMs: number): Promise<void> {
    await this.#host?.drain.run(limitMs);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#disk.hurry(descriptorWaitMs);
    this.#founding?.stop();
    await this.#foundingRun;
    if (this.#host === undefined) await this.#opening;
    this.#rediscovery?.stop();
    for (const wake of [...this.#waiting]) wake();
    this.#groups?.stop();
    await this.#host?.stop();
    this.#disk.close();
  }
}

/** Who decides alone has nobody to wait for: the node is of use as soon as it runs. */
async function leadAlone(group: GroupOfAny, limitMs: number): Promise<void> {
  const { voters, votersOutgoing } = group.status().configuration;
  const isAlone = voters.length === 1 && voters[0] === group.replica && votersOutgoing.length === 0;
  if (!isAlone) return;
  group.campaign();
  await group.barrier({ timeoutMs: limitMs }).catch((error: unknown) => {
    // It goes on trying by itself; what is wrong shows in its readiness.
    if (!(error instanceof CoveyError)) throw error;
  });
}
