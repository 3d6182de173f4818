/**
 * The key-value store of one node: its copy of the machine, and the services that read it and send
 * commands through the group that replicates it.
 */
import type { DescService } from "npm:@bufbuild/protobuf@2.17.0";
import { assert } from "../base/assert.ts";
import { Code, CoveyError } from "../base/error.ts";
import { Commands } from "./commands.ts";
import { Election, KV, Lease, Lock, Maintenance, Watch } from "../gen/covey/kv/v1/kv_pb.ts";
import { electionHandlers, lockHandlers } from "./election_service.ts";
import type { Clock, Random, Subscription, Timer } from "../runtime/port.ts";
import type { GroupObserver, KvGroup, LeaderHint } from "./group.ts";
import type { Handlers } from "../ttrpc/service.ts";
import { Headers } from "./response.ts";
import { KvClient, type KvClientOptions } from "./client.ts";
import { KvCounters } from "./counters.ts";
import { kvHandlers } from "./kv_service.ts";
import { KeyValueService } from "../gen/api/v1/raft_go_pb.ts";
import { keyValueHandlers } from "./raft_go.ts";
import { KvMachine } from "./core/kv_machine.ts";
import type { KvStatistics } from "./core/statistics.ts";
import { type KvModuleOptions, type KvSettings, settingsOf } from "./options.ts";
import type { KvParts } from "./kv_parts.ts";
import { type HubCounters, WatchHub } from "./watch_hub.ts";
import { LeaseForwarder } from "./lease_forwarder.ts";
import { leaseHandlers } from "./lease_service.ts";
import { LeaseKeeper } from "./lease_keeper.ts";
import { localEndpoint } from "./client_endpoint.ts";
import type { Logger } from "../base/log.ts";
import type { MachineEntry } from "../base/machine.ts";
import { maintenanceHandlers } from "./maintenance_service.ts";
import type { KvResult } from "./core/result.ts";
import type { LocalCaller } from "../ttrpc/local_client.ts";
import { Reads } from "./reads.ts";
import { ServiceRegistry } from "../ttrpc/registry.ts";
import { Slices } from "./slices.ts";
import { Snapshots } from "./snapshots.ts";
import { StoreHealth } from "./store_health.ts";
import { stoppedHere, unavailable } from "./refusal.ts";
import { Upkeep } from "./upkeep.ts";
import { leaderless, watchHandlers } from "./watch_service.ts";

export interface KvModuleParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly options?: KvModuleOptions;
  /** For people. */
  readonly nodeName: string;
  readonly version: string;
  /** Why there is no group yet, for people. */
  readonly waitingFor?: () => string | undefined;
}

/** A service with what serves it. */
export type ServedService = readonly [service: DescService, handlers: Handlers<DescService>];

function served<S extends DescService>(service: S, handlers: Handlers<S>): ServedService {
  return [service, handlers as unknown as Handlers<DescService>];
}

export interface KvModuleStatistics extends KvStatistics {
  readonly counters: KvCounters;
  readonly watching: HubCounters;
  readonly leading: boolean;
  readonly restoring: boolean;
}

export class KvModule implements KvParts, GroupObserver {
  readonly machine: KvMachine = new KvMachine();
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: KvSettings;
  readonly version: string;
  readonly nodeName: string;
  readonly counters: KvCounters = new KvCounters();
  readonly slices: Slices;
  readonly headers: Headers;
  readonly commands: Commands;
  readonly reads: Reads;
  readonly hub: WatchHub;
  readonly leases: LeaseKeeper;
  readonly forwarder: LeaseForwarder = new LeaseForwarder();
  readonly health: StoreHealth;
  readonly #random: Random;
  readonly #waitingFor: (() => string | undefined) | undefined;
  readonly #upkeep: Upkeep;
  readonly #snapshots: Snapshots;
  readonly #services: readonly ServedService[];
  /** Committed before the start, as far as this node's log says. */
  #replayTo = 0;
  #group: KvGroup | undefined = undefined;
  #observing: Subscription | undefined = undefined;
  #leaderless: Timer | undefined = undefined;
  #isLeaderless = false;
  readonly #stop = new AbortController();

  constructor(parts: KvModuleParts) {
    this.clock = parts.clock;
    this.#random = parts.random;
    this.#waitingFor = parts.waitingFor;
    this.logger = parts.logger;
    this.settings = settingsOf(parts.options ?? {});
    this.nodeName = parts.nodeName;
    this.version = parts.version;
    this.slices = new Slices(parts.clock);
    this.headers = new Headers(this);
    this.commands = new Commands(this);
    this.reads = new Reads(this);
    this.leases = new LeaseKeeper(this);
    this.hub = new WatchHub({
      machine: this.machine,
      logger: parts.logger,
      clock: parts.clock,
      slices: this.slices,
      settings: this.settings,
      header: (revision) => this.headers.of(revision),
    });
    this.health = new StoreHealth(this.machine, parts.clock);
    this.#upkeep = new Upkeep(this);
    this.#snapshots = new Snapshots(this);
    this.#services = [
      served(KV, kvHandlers(this)),
      served(Watch, watchHandlers(this)),
      served(Lease, leaseHandlers(this)),
      served(Election, electionHandlers(this)),
      served(Lock, lockHandlers(this)),
      served(Maintenance, maintenanceHandlers(this, this.#snapshots)),
      served(KeyValueService, keyValueHandlers(this)),
    ];
  }

  get group(): KvGroup {
    this.assertRunning();
    return this.attached;
  }

  get attached(): KvGroup {
    assert(this.#group !== undefined, "only what has a group answers");
    return this.#group;
  }

  get isLeaderless(): boolean {
    return this.#isLeaderless;
  }

  get stopping(): AbortSignal {
    return this.#stop.signal;
  }

  assertServing(): void {
    this.stopping.throwIfAborted();
    if (this.#group === undefined) {
      const why = this.#waitingFor?.();
      throw unavailable(
        why === undefined ? "the node is starting: try again" : `there is no store yet: ${why}`,
      );
    }
  }

  assertReplayed(): void {
    this.assertServing();
    if (this.attached.applied >= this.#replayTo) return;
    throw unavailable("the node is reading its log again: try again, or ask another one");
  }

  assertRunning(): void {
    this.assertServing();
    const { stopped } = this.attached;
    if (stopped !== undefined) throw stoppedHere(stopped);
  }

  /** Begins to follow the group that replicates the machine. To be called once. */
  attach(group: KvGroup): void {
    if (this.#group !== undefined) {
      throw new CoveyError(Code.internal, "a key-value module has one group");
    }
    this.#group = group;
    this.#replayTo = group.committed;
    this.health.attach(group);
    this.#observing = group.observe(this);
    this.restored();
    this.leader(group.leader);
    if (group.isLeading) this.led(true);
  }

  /** What this node serves; raft-go's own included. */
  services(): readonly ServedService[] {
    return this.#services;
  }

  /** A client of this node's own services, without a network. */
  client(options: Partial<Omit<KvClientOptions, "endpoints">> = {}): KvClient {
    const registry = new ServiceRegistry();
    for (const [service, handlers] of this.services()) registry.add(service, handlers);
    const { clock, nodeName } = this;
    const caller: LocalCaller = {
      registry,
      clock,
      identity: { kind: "local", name: nodeName },
      address: { kind: "abstract", name: nodeName },
    };
    const endpoints = [localEndpoint(caller)];
    return new KvClient({ clock, random: this.#random, ...options, endpoints });
  }

  statistics(): KvModuleStatistics {
    return {
      ...this.machine.statistics(),
      counters: this.counters,
      watching: this.hub.counters,
      leading: this.#group !== undefined && this.leases.leading,
      restoring: this.machine.restoring,
    };
  }

  /** Ends every watch and everything that waits: they would hold up the drain for ever. */
  stop(): void {
    if (this.stopping.aborted) return;
    const error = unavailable("the node is shutting down: ask another one");
    this.#stop.abort(error);
    this.#observing?.cancel();
    this.#leaderless?.cancel();
    this.health.stop();
    this.leases.stop();
    this.#upkeep.stop();
    this.forwarder.stop();
    this.#snapshots.stop(error);
    this.hub.stop(error);
  }

  // -- GroupObserver --------------------------------------------------------------------------

  applied(entry: MachineEntry, result: KvResult): void {
    this.hub.applied();
    if (result.kind === "compact") this.hub.compacted();
    this.health.applied(result);
    this.leases.applied(entry, result);
    this.#upkeep.applied(result);
    this.#snapshots.idle();
  }

  restored(): void {
    if (this.machine.restoring) return;
    this.hub.restored();
    this.#upkeep.restored();
    this.#snapshots.idle();
    this.health.changed();
  }

  restoring(): void {
    this.health.changed();
  }

  hindered(): void {
    this.health.changed();
  }

  led(leading: boolean): void {
    this.leases.led(leading);
    this.#upkeep.led(leading);
  }

  leader(leader: LeaderHint | undefined): void {
    this.health.leader(leader);
    if (leader !== undefined) {
      this.#isLeaderless = false;
      this.#leaderless?.cancel();
      this.#leaderless = undefined;
    } else if (!this.#isLeaderless && !this.stopping.aborted) {
      // Further terms without a leader give no more time.
      this.#leaderless ??= this.clock.timer(
        this.settings.leaderlessMs,
        leaderlessForLong,
        this,
      );
    }
  }

  /** Public only for the timer. */
  leaderlessForLong(): void {
    this.#leaderless = undefined;
    this.#isLeaderless = true;
    this.hub.endWhere((stream) => stream.requiresLeader, leaderless());
    // Who waits for a lock would not see it given up: another node does.
    this.hub.endWaits(leaderless());
  }

  /** Nothing is applied here any more: whoever follows does so elsewhere. */
  stopped(error: CoveyError): void {
    this.health.changed();
    const reason = stoppedHere(error);
    this.hub.endWhere(() => true, reason);
    this.hub.endWaits(reason);
  }
}

function leaderlessForLong(module: KvModule): void {
  module.leaderlessForLong();
}
