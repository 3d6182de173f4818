/**
 * Follows the agreed view for all routed clients of a node: who offers a service, one channel for
 * each member that is called, and what becomes of the channels of those that leave.
 *
 * Clients hold no subscription and no channel of their own, so that one which is forgotten without
 * a word leaves nothing behind.
 */
import type { DescService } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import { Prng } from "../base/prng.ts";
import type { Subscription, Timer } from "../runtime/port.ts";
import { byAddress } from "./core/candidate.ts";
import type { RoutedMember, RouterParts } from "./members.ts";
import { checkTime, type RouterOptions, routerOptionsDefault } from "./options.ts";
import { Peer, type PeerOwner } from "./peer.ts";

/** What a router counts; whoever shows the numbers reads them. */
export class RoutingCounters {
  /** Calls that were made. */
  callsTotal = 0;
  /** Of these, to this node itself. */
  localCallsTotal = 0;
  /** Times that a call went to another member, because it was certainly not sent to the one before. */
  retriesTotal = 0;
  /** Calls that failed because no member offered what they asked for. */
  unofferedTotal = 0;
  /** Calls that waited for a first member to offer it. */
  waitsTotal = 0;
  /** Calls that failed because too many waited already. */
  waitsRefusedTotal = 0;
  /** Calls canceled because their member had left, and its time to drain was over. */
  cutTotal = 0;
}

interface Offered {
  readonly version: number;
  readonly peers: readonly Peer[];
}

export class Router implements PeerOwner {
  readonly parts: RouterParts;
  readonly counters: RoutingCounters = new RoutingCounters();
  readonly drainMs: number;
  readonly #idleMs: number;
  readonly #waitersMax: number;
  readonly #prng: Prng;
  readonly #subscriptions: readonly Subscription[];
  /** Members of the view, by what stays the same when they rejoin. */
  #peers: Map<string, Peer> = new Map();
  /** Those that left while calls were under way. */
  readonly #leaving: Map<string, Peer> = new Map();
  /** Those with a channel. */
  readonly #open: Set<Peer> = new Set();
  /** By the service's name: who offers it. */
  readonly #offered: Map<string, Offered> = new Map();
  readonly #waiters: Set<() => void> = new Set();
  #sweep: Timer | undefined = undefined;
  #version = 0;
  #isClosed = false;

  constructor(parts: RouterParts, options: RouterOptions = {}) {
    const { drainMs, idleMs, waitersMax } = { ...routerOptionsDefault, ...options };
    this.parts = parts;
    this.drainMs = checkTime("drainMs", drainMs, 0);
    this.#idleMs = checkTime("idleMs", idleMs, 1);
    this.#waitersMax = waitersMax;
    const seed = new Uint8Array(4);
    parts.random.fill(seed);
    this.#prng = new Prng(new DataView(seed.buffer).getUint32(0));
    this.#follow();
    this.#subscriptions = [
      parts.views.changed(() => this.#follow()),
      parts.offers.changed(() => this.#changed()),
    ];
  }

  /** Goes up whenever other members may offer other services. */
  get version(): number {
    return this.#version;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Channels that are open. */
  get channels(): number {
    return this.#open.size;
  }

  /** Members that left and still have calls under way. */
  get draining(): number {
    return this.#leaving.size;
  }

  /** Calls that wait for a member. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /** Members of the view, ascending by address. */
  get members(): readonly RoutedMember[] {
    return [...this.#peers.values()].sort(byAddress).map(({ member }) => member);
  }

  /** A generator for one client. */
  forkRandom(): Prng {
    return this.#prng.fork();
  }

  /** Who offers the service, ascending by address. */
  offering(service: DescService): readonly Peer[] {
    const name = service.typeName;
    const known = this.#offered.get(name);
    if (known?.version === this.#version) return known.peers;
    const { offers } = this.parts;
    const peers = [...this.#peers.values()]
      .filter(({ member }) => offers.servicesOf(member).includes(name)).sort(byAddress);
    this.#offered.set(name, { version: this.#version, peers });
    return peers;
  }

  /** Calls back, once, when other members may offer other services, or the router is closed. */
  wait(waiter: () => void): void {
    if (this.#waiters.size >= this.#waitersMax) {
      this.counters.waitsRefusedTotal++;
      const message = `${this.#waitersMax} calls wait for a member already, the limit`;
      throw new CoveyError(Code.resourceExhausted, message, { sent: false });
    }
    this.#waiters.add(waiter);
  }

  leave(waiter: () => void): void {
    this.#waiters.delete(waiter);
  }

  /** Closes every channel: calls in flight fail with `canceled`, and so does every later one. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const subscription of this.#subscriptions) subscription.cancel();
    this.#peers = new Map();
    for (const peer of [...this.#open]) peer.close();
    this.#leaving.clear();
    this.#changed();
    this.#offered.clear();
  }

  opened(peer: Peer): void {
    this.#open.add(peer);
    this.#sweep ??= this.parts.clock.timer(this.#idleMs, sweepRouter, this);
  }

  closed(peer: Peer): void {
    this.#open.delete(peer);
    const key = keyOf(peer.member);
    if (this.#leaving.get(key) === peer) this.#leaving.delete(key);
    if (this.#open.size > 0) return;
    this.#sweep?.cancel();
    this.#sweep = undefined;
  }

  cut(calls: number): void {
    this.counters.cutTotal += calls;
  }

  /** Closes what was not used for long; public only for the timer. */
  sweep(): void {
    this.#sweep = undefined;
    const latestMs = this.parts.clock.monotonicMs() - this.#idleMs;
    let nextMs = Infinity;
    for (const peer of [...this.#open]) {
      if (peer.isIdle && peer.usedMs <= latestMs) peer.close();
      else nextMs = Math.min(nextMs, peer.isIdle ? peer.usedMs - latestMs : this.#idleMs);
    }
    if (nextMs < Infinity) this.#sweep = this.parts.clock.timer(nextMs, sweepRouter, this);
  }

  /** Takes over the current view. */
  #follow(): void {
    const before = this.#peers;
    const after = new Map<string, Peer>();
    for (const member of this.parts.views.current.members) {
      const key = keyOf(member);
      const peer = before.get(key) ?? this.#leaving.get(key) ?? new Peer(this, member);
      this.#leaving.delete(key);
      peer.returned(member);
      after.set(key, peer);
    }
    this.#peers = after;
    for (const [key, peer] of before) {
      if (after.has(key)) continue;
      this.#leaving.set(key, peer);
      // Without calls under way it is closed at once, and taken out again.
      peer.left();
    }
    this.#changed();
  }

  #changed(): void {
    this.#version++;
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter();
  }
}

/** A node that rejoins at its address is the same peer; another node at the address is not. */
function keyOf({ nodeId, address }: RoutedMember): string {
  return `${nodeId} ${address}`;
}

function sweepRouter(router: Router): void {
  router.sweep();
}
