/**
 * Nodes with caches on a network in memory, with sources and views that the test moves. Time stands
 * still until it is advanced.
 */
import assert from "node:assert/strict";
import { formatAddress, parseAddress } from "../../src/base/address.ts";
import { CoveyError } from "../../src/base/error.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Prng } from "../../src/base/prng.ts";
import { CacheModule } from "../../src/cache/cache_module.ts";
import type { CacheCluster, CacheMember, CacheView } from "../../src/cache/cluster.ts";
import type { Filler } from "../../src/cache/fill.ts";
import type { CacheNamespace, NamespaceOptions } from "../../src/cache/namespace.ts";
import type { CacheOptions } from "../../src/cache/options.ts";
import { cacheReasonOf } from "../../src/cache/refusal.ts";
import { Cache } from "../../src/gen/covey/cache/v1/cache_pb.ts";
import type { Subscription } from "../../src/runtime/port.ts";
import { Channel } from "../../src/ttrpc/channel.ts";
import { createClient } from "../../src/ttrpc/client.ts";
import { ServiceRegistry } from "../../src/ttrpc/registry.ts";
import { RpcServer } from "../../src/ttrpc/server.ts";
import type { Client } from "../../src/ttrpc/service.ts";
import { ManualClock, MemoryNet, turns } from "../ttrpc/support/memory_net.ts";

export { ManualClock, turns };

/** One run of a source that the test ends. */
export interface Run {
  readonly node: LabNode | undefined;
  readonly key: string;
  readonly signal: AbortSignal;
  resolve(value: Uint8Array): void;
  reject(error: unknown): void;
}

/** A source whose runs wait for the test. */
export function heldSource(runs: Run[], node?: LabNode): Filler {
  return (key, signal) =>
    new Promise((resolve, reject) => runs.push({ node, key, signal, resolve, reject }));
}

/** The one value that a key has. */
export function valueOf(key: string): Uint8Array {
  return new TextEncoder().encode(`value of ${key}`);
}

/** A module alone. */
export function loneCache(options: CacheOptions = {}, clock = new ManualClock()): CacheModule {
  return new CacheModule({
    clock,
    random: new Prng(1),
    logger: silentLogger,
    options,
    channel: () => assert.fail("a node alone asks nobody"),
  });
}

/** What a test holds back until it opens it. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => open = resolve);
  return { opened, open };
}

/** What came of a promise, once it has come; "waits" until then. */
export interface Outcome {
  state: "waits" | "value" | "error";
  value?: Uint8Array;
  error?: CoveyError;
  /** The reason in the error, or its code. */
  reason?: string | number;
}

export function outcomeOf(promise: Promise<Uint8Array>): Outcome {
  const outcome: Outcome = { state: "waits" };
  promise.then((value) => {
    outcome.state = "value";
    outcome.value = value;
  }, (error) => {
    assert.ok(error instanceof CoveyError, `${error}`);
    outcome.state = "error";
    outcome.error = error;
    outcome.reason = cacheReasonOf(error) ?? error.code;
  });
  return outcome;
}

/** By node id, the namespaces that it says it offers. */
type Offers = ReadonlyMap<string, readonly string[]>;

class LabCluster implements CacheCluster {
  readonly nodeId: string;
  current: CacheView = { epoch: 0, digest: 0n, members: [] };
  readonly #offers: Offers;
  readonly #callbacks: Set<() => void> = new Set();

  constructor(nodeId: string, offers: Offers) {
    this.nodeId = nodeId;
    this.#offers = offers;
  }

  namespacesOf(member: CacheMember): readonly string[] {
    return this.#offers.get(member.nodeId) ?? [];
  }

  changed(callback: () => void): Subscription {
    this.#callbacks.add(callback);
    return { cancel: () => this.#callbacks.delete(callback) };
  }

  tell(view?: CacheView): void {
    if (view !== undefined) this.current = view;
    for (const callback of [...this.#callbacks]) callback();
  }
}

export class LabNode implements CacheMember {
  readonly nodeId: string;
  readonly address: string;
  readonly cluster: LabCluster;
  readonly lab: CacheLab;
  module!: CacheModule;
  /** Takes calls and answers none. */
  isFrozen = false;
  isDown = false;
  /** What calls of a method wait for before they are served. */
  readonly held: Map<string, Promise<void>> = new Map();
  #server!: RpcServer;
  readonly #channels: Map<string, Channel> = new Map();

  constructor(lab: CacheLab, index: number) {
    this.lab = lab;
    this.nodeId = index.toString(16).padStart(32, "0");
    this.address = `tcp://127.0.0.1:${31_000 + index}`;
    this.cluster = new LabCluster(this.nodeId, lab.offers);
  }

  async start(): Promise<void> {
    const { clock, net, options } = this.lab;
    this.isDown = false;
    this.module = new CacheModule({
      clock,
      random: this.lab.random.fork(),
      logger: silentLogger,
      options,
      cluster: this.cluster,
      channel: (address) => this.#channel(address),
      onOffered: (names) => {
        this.lab.offers.set(this.nodeId, names);
        for (const node of this.lab.nodes) node.cluster.tell();
      },
    });
    const registry = new ServiceRegistry([
      (call, next) => this.#intercept(call.context.method.name, () => next(call)),
    ]);
    for (const [service, handlers] of this.module.services()) registry.add(service, handlers);
    this.#server = new RpcServer({ net, clock, registry });
    await this.#server.listen({ address: parseAddress(this.address) });
  }

  /** As a killed process: its connections end, and nobody listens any more. */
  async crash(): Promise<void> {
    if (this.isDown) return;
    this.isDown = true;
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
    const stopping = this.#server.stop(0);
    await this.lab.clock.advance(1);
    await stopping;
    this.module.stop();
  }

  open(name: string, options: NamespaceOptions): CacheNamespace {
    return this.module.open(name, options);
  }

  #channel(address: string): Channel {
    let channel = this.#channels.get(address);
    if (channel === undefined) {
      const { clock, net, random } = this.lab;
      channel = new Channel({ net, clock, random, address: parseAddress(address), peer: "covey" });
      this.#channels.set(address, channel);
    }
    return channel;
  }

  #intercept(method: string, next: () => unknown): unknown {
    if (this.isFrozen) return new Promise(() => {});
    const held = this.held.get(method);
    if (held !== undefined) return held.then(next);
    const result = next();
    if (!(result instanceof Promise)) return result;
    return result.then((value) => this.isFrozen ? new Promise(() => {}) : value);
  }
}

export class CacheLab {
  readonly clock: ManualClock = new ManualClock();
  readonly net: MemoryNet = new MemoryNet(this.clock);
  readonly random: Prng;
  readonly options: CacheOptions;
  /** By node id; what members say that they offer. */
  readonly offers: Map<string, readonly string[]> = new Map();
  readonly nodes: LabNode[] = [];
  readonly #clients: Channel[] = [];
  #epoch = 0;

  constructor(options: CacheOptions = {}, seed = 1) {
    this.options = options;
    this.random = new Prng(seed);
  }

  /** Nodes in one view. */
  static async start(count: number, options: CacheOptions = {}, seed = 1): Promise<CacheLab> {
    const lab = new CacheLab(options, seed);
    for (let index = 1; index <= count; index++) {
      const node = new LabNode(lab, index);
      await node.start();
      lab.nodes.push(node);
    }
    lab.install(lab.nodes);
    return lab;
  }

  /** A view of these members, at these nodes. */
  install(members: readonly LabNode[], at: readonly LabNode[] = this.nodes): CacheView {
    const epoch = ++this.#epoch;
    const view: CacheView = {
      epoch,
      digest: BigInt(epoch) * 0x9e3779b97f4a7c15n & 0xffffffffffffffffn,
      members: members.map(({ nodeId, address }) => ({ nodeId, address })),
    };
    for (const node of at) node.cluster.tell(view);
    return view;
  }

  /** The node that owns a key in the view of another one. */
  ownerOf(namespace: string, key: string, at: LabNode = this.nodes[0]): LabNode {
    const [owner] = this.rankOf(namespace, key, at);
    return owner;
  }

  /** The node that owns a key, and who comes after it. */
  rankOf(namespace: string, key: string, at: LabNode = this.nodes[0]): LabNode[] {
    const seen = at.module.namespace(namespace)!.rank(key);
    return seen.map((nodeId) => this.nodes.find((node) => node.nodeId === nodeId)!);
  }

  /** A key that a node owns, of many. */
  keyOf(namespace: string, owner: LabNode, from = 0): string {
    for (let number = from;; number++) {
      const key = `key ${number}`;
      if (this.ownerOf(namespace, key) === owner) return key;
    }
  }

  /** A client that is no member. */
  client(node: LabNode): Client<typeof Cache> {
    const { clock, net, random } = this;
    const address = parseAddress(node.address);
    assert.equal(formatAddress(address), node.address);
    const channel = new Channel({ net, clock, random, address, peer: "covey" });
    this.#clients.push(channel);
    return createClient(Cache, channel);
  }

  async close(): Promise<void> {
    for (const channel of this.#clients) channel.close();
    for (const node of this.nodes) await node.crash();
  }
}

/** Runs a test on a lab and clears it away. */
export async function withLab(
  count: number,
  options: CacheOptions,
  body: (lab: CacheLab) => Promise<void>,
): Promise<void> {
  const lab = await CacheLab.start(count, options);
  try {
    await body(lab);
  } finally {
    await lab.close();
  }
}
