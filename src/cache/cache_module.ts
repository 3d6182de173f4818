/**
 * The shared cache of one node: its memory, its namespaces, and the service by which members ask
 * each other.
 */
import { Alarm } from "./alarm.ts";
import { Cache } from "../gen/covey/cache/v1/cache_pb.ts";
import { CacheCounters } from "./counters.ts";
import type { CacheCluster } from "./cluster.ts";
import { cacheHandlers } from "./cache_service.ts";
import { CacheNamespace, type NamespaceOptions, type NamespaceParts } from "./namespace.ts";
import { type CacheOptions, type CacheSettings, settingsOf } from "./options.ts";
import type { Channel } from "../ttrpc/channel.ts";
import type { Clock, Random, Subscription } from "../runtime/port.ts";
import type { Crowd } from "./flight.ts";
import type { DescService } from "npm:@bufbuild/protobuf@2.17.0";
import { FillSlots } from "./fill_slots.ts";
import type { Handlers } from "../ttrpc/service.ts";
import type { Logger } from "../base/log.ts";
import { Owners } from "./owners.ts";
import { Prng } from "../base/prng.ts";
import { refused } from "./refusal.ts";
import { Store } from "./store.ts";

export interface CacheModuleParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly options?: CacheOptions;
  /** Without one, this node owns every key. */
  readonly cluster?: CacheCluster;
  /** How a member is called, by the address that the view has of it. */
  readonly channel: (address: string) => Channel;
  /** Told the namespaces for which this node has a source, whenever they change: others need it. */
  readonly onOffered?: (namespaces: readonly string[]) => void;
}

const nameCharactersMax = 64;
const namePattern = /^[a-z0-9][a-z0-9._-]*$/;

export class CacheModule implements NamespaceParts {
  readonly clock: Clock;
  readonly settings: CacheSettings;
  readonly counters: CacheCounters = new CacheCounters();
  readonly crowd: Crowd = { waiting: 0 };
  readonly alarm: Alarm;
  readonly owners: Owners;
  readonly random: Prng;
  readonly slots: FillSlots;
  readonly store: Store;
  readonly logger: Logger;
  readonly #onOffered: ((namespaces: readonly string[]) => void) | undefined;
  readonly #namespaces: Map<string, CacheNamespace> = new Map();
  readonly #following: Subscription | undefined;
  #stopped = false;

  constructor(parts: CacheModuleParts) {
    const { clock, cluster, channel } = parts;
    this.clock = clock;
    this.logger = parts.logger;
    this.settings = settingsOf(parts.options ?? {});
    this.alarm = new Alarm(clock);
    this.slots = new FillSlots(this.settings.fillsMax);
    this.store = new Store(this.settings, clock, this.counters);
    const { ownerBackoffMs } = this.settings;
    this.owners = new Owners({ clock, cluster, channel, ownerBackoffMs });
    const seed = new Uint8Array(4);
    parts.random.fill(seed);
    this.random = new Prng(new DataView(seed.buffer).getUint32(0));
    this.#onOffered = parts.onOffered;
    this.#following = cluster?.changed(() => {
      this.owners.changed();
      for (const namespace of [...this.#namespaces.values()]) namespace.moved();
    });
  }

  /** The node shuts down. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** The namespaces that are known here, by name. */
  get namespaces(): readonly CacheNamespace[] {
    return [...this.#namespaces.values()].sort((a, b) => a.name < b.name ? -1 : 1);
  }

  /** Those for which this node has a source. */
  get offered(): readonly string[] {
    return this.namespaces.filter(({ hasSource }) => hasSource).map(({ name }) => name);
  }

  /**
   * Begins to use a namespace, and to offer it where there is a source. `invalid_argument` for a
   * name that is none, `already_exists` for one that is used, `resource_exhausted` for one too many.
   */
  open(name: string, options: NamespaceOptions = {}): CacheNamespace {
    if (this.#stopped) throw refused("stopping", "the node is shutting down");
    if (name.length > nameCharactersMax || !namePattern.test(name)) {
      throw refused(
        "namespace_invalid",
        `${JSON.stringify(name)} is no cache namespace: up to ${nameCharactersMax} of a-z, 0-9, ` +
          "dot, underscore and hyphen, a letter or digit first",
      );
    }
    if (this.#namespaces.has(name)) {
      throw refused("namespace_taken", `cache namespace ${name} is used already: close it first`);
    }
    if (this.#namespaces.size >= this.settings.namespacesMax) {
      throw refused(
        "too_many_namespaces",
        `there are ${this.settings.namespacesMax} cache namespaces already: close one`,
      );
    }
    const namespace = new CacheNamespace(this, name, options);
    this.#namespaces.set(name, namespace);
    this.#offers(namespace);
    return namespace;
  }

  namespace(name: string): CacheNamespace | undefined {
    return this.#namespaces.get(name);
  }

  /** What this node serves. */
  services(): readonly (readonly [service: DescService, handlers: Handlers<DescService>])[] {
    return [[Cache, cacheHandlers(this) as unknown as Handlers<DescService>]];
  }

  /** A namespace closes itself. */
  closed(namespace: CacheNamespace): void {
    this.#namespaces.delete(namespace.name);
    this.#offers(namespace);
  }

  /** Everybody who waits is refused; what is in memory is still answered. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#following?.cancel();
    const error = refused("stopping", "the node is shutting down: ask another one");
    this.slots.stop();
    for (const flight of this.alarm.watched()) flight.stop(error);
    this.alarm.stop();
    this.store.stop();
  }

  #offers(namespace: CacheNamespace): void {
    this.owners.offerChanged(namespace.name);
    this.#onOffered?.(this.offered);
  }
}
