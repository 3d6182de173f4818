/**
 * What is between the members of the benchmark: time, links that keep the order and send again what
 * was lost, as TCP does, and how many bytes went over them. Virtual time, one seed, no processor cost.
 */
import { Prng } from "../src/base/prng.ts";
import { Heap, type Timed } from "../test/membership/support/heap.ts";

/** A frame's header in ttrpc. */
export const headerBytes = 10;
/** Most that one segment carries of what waits behind a lost one. */
const segmentBytes = 1_400;
/** How long it takes until a segment is sent again, at first and at most. */
const resendMs = 200;
const resendMsMax = 5_000;
/** The first one of a connection, of which no round trip is known yet (RFC 6298, section 2.1). */
export const connectResendMs = 1_000;
/** A link on which nothing passes for so long is given up, and so is a call or a dial. */
const deadMs = 15_000;

interface Event extends Timed {
  readonly run: () => void;
}

/** Virtual time, and what happens when. */
export class Clock {
  readonly #heap = new Heap<Event>();
  #order = 0;
  nowMs = 0;
  events = 0;

  at(delayMs: number, run: () => void): void {
    this.#heap.push({ atMs: this.nowMs + delayMs, order: this.#order++, run });
  }

  /** Runs what is due within this time, or until it is so, which is asked after every event. */
  run(forMs: number, isSo: () => boolean = () => false): boolean {
    const untilMs = this.nowMs + forMs;
    for (;;) {
      if (isSo()) return true;
      const next = this.#heap.first;
      if (next === undefined || next.atMs > untilMs) break;
      this.#heap.pop();
      this.nowMs = next.atMs;
      this.events++;
      next.run();
    }
    this.nowMs = untilMs;
    return false;
  }
}

/** Bytes of one process, by whole seconds of virtual time. */
export class Traffic {
  readonly #sent: number[] = [];
  readonly #received: number[] = [];

  sends(nowMs: number, bytes: number): void {
    add(this.#sent, nowMs, bytes);
  }

  receives(nowMs: number, bytes: number): void {
    add(this.#received, nowMs, bytes);
  }

  sentIn(second: number): number {
    return this.#sent[second] ?? 0;
  }

  receivedIn(second: number): number {
    return this.#received[second] ?? 0;
  }
}

function add(seconds: number[], nowMs: number, bytes: number): void {
  const second = Math.floor(nowMs / 1_000);
  while (seconds.length <= second) seconds.push(0);
  seconds[second] += bytes;
}

/** One end: what fails at its own interface. */
export interface End {
  readonly address: string;
  readonly isRunning: boolean;
  /** Probability that a segment that it sends, or that is sent to it, is lost; 1 for all of them. */
  readonly egressLoss: number;
  readonly ingressLoss: number;
  readonly traffic: Traffic;
  /** The link to this one is gone. */
  unlinked(address: string, link: Link): void;
}

interface Parcel {
  readonly bytes: number;
  readonly run: () => void;
}

/** One direction of a link. */
class Half {
  readonly #link: Link;
  readonly #from: End;
  readonly #to: End;
  /** Nothing arrives before what was sent before it. */
  #clearMs = 0;
  #waiting: Parcel[] = [];
  #isBlocked = false;
  #blockedMs = 0;
  #resendMs = resendMs;

  constructor(link: Link, from: End, to: End) {
    this.#link = link;
    this.#from = from;
    this.#to = to;
  }

  send(parcel: Parcel): void {
    const { network } = this.#link;
    network.messages++;
    this.#from.traffic.sends(network.clock.nowMs, parcel.bytes);
    if (this.#isBlocked) this.#waiting.push(parcel);
    else if (network.isLost(this.#from, this.#to)) this.#block(parcel);
    else this.#pass(parcel);
  }

  #block(parcel: Parcel): void {
    const { clock } = this.#link.network;
    this.#isBlocked = true;
    this.#blockedMs = clock.nowMs;
    this.#resendMs = resendMs;
    this.#waiting.push(parcel);
    clock.at(this.#resendMs, this.#resend);
  }

  readonly #resend = (): void => {
    if (!this.#link.isOpen) return;
    const { network } = this.#link;
    const { clock } = network;
    if (!network.isLost(this.#from, this.#to)) return this.#unblock();
    if (clock.nowMs - this.#blockedMs > deadMs) return this.#link.reset();
    this.#resendMs = Math.min(2 * this.#resendMs, resendMsMax);
    clock.at(this.#resendMs, this.#resend);
  };

  /** What waited follows in segments, each of which can be lost again. */
  #unblock(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#isBlocked = false;
    let bytes = 0;
    for (const [at, parcel] of waiting.entries()) {
      bytes += parcel.bytes;
      if (bytes > segmentBytes && at > 0) {
        bytes = parcel.bytes;
        if (this.#link.network.isLost(this.#from, this.#to)) {
          this.#block(parcel);
          this.#waiting.push(...waiting.slice(at + 1));
          return;
        }
      }
      this.#pass(parcel);
    }
  }

  #pass({ bytes, run }: Parcel): void {
    const { clock } = this.#link.network;
    const atMs = Math.max(clock.nowMs + this.#link.network.latency(), this.#clearMs);
    this.#clearMs = atMs;
    clock.at(atMs - clock.nowMs, () => {
      if (!this.#link.isOpen || !this.#to.isRunning) return;
      this.#to.traffic.receives(clock.nowMs, bytes);
      run();
    });
  }
}

export class Link {
  readonly network: Network;
  readonly #ends: readonly [End, End];
  readonly #halves: readonly [Half, Half];
  isOpen = true;

  constructor(network: Network, a: End, b: End) {
    this.network = network;
    this.#ends = [a, b];
    this.#halves = [new Half(this, a, b), new Half(this, b, a)];
  }

  /** `run` happens when it arrives. */
  send(from: End, bytes: number, run: () => void): void {
    this.#halves[from === this.#ends[0] ? 0 : 1].send({ bytes, run });
  }

  /** Both ends are told; what is on its way is gone. */
  reset(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    const [a, b] = this.#ends;
    const { network } = this;
    network.clock.at(network.latency(), () => a.unlinked(b.address, this));
    network.clock.at(network.latency(), () => b.unlinked(a.address, this));
  }
}

export interface NetworkOptions {
  readonly seed: number;
  /** One way: at least so much, and up to so much more. */
  readonly latencyMs: number;
  readonly jitterMs: number;
}

export class Network {
  readonly clock = new Clock();
  readonly prng: Prng;
  messages = 0;
  readonly #latencyMs: number;
  readonly #jitterMs: number;

  constructor({ seed, latencyMs, jitterMs }: NetworkOptions) {
    this.prng = new Prng(seed);
    this.#latencyMs = latencyMs;
    this.#jitterMs = jitterMs;
  }

  latency(): number {
    return this.#latencyMs + this.prng.fraction() * this.#jitterMs;
  }

  isLost(from: End, to: End): boolean {
    const { egressLoss } = from;
    const { ingressLoss } = to;
    if (egressLoss === 0 && ingressLoss === 0) return false;
    return this.prng.chance(1 - (1 - egressLoss) * (1 - ingressLoss));
  }

  /** How long something takes that is sent again until it is there; undefined when it never is. */
  delivery(from: End, to: End, firstMs = resendMs): number | undefined {
    let waitedMs = 0;
    for (let waitMs = firstMs; this.isLost(from, to); waitMs = Math.min(2 * waitMs, resendMsMax)) {
      waitedMs += waitMs;
      if (waitedMs > deadMs) return undefined;
    }
    return waitedMs + this.latency();
  }

  /** A call outside of the links: the answer's way is drawn when there is one. */
  carry(from: End, to: End, run: () => void): void {
    const delayMs = this.delivery(from, to);
    if (delayMs !== undefined) this.clock.at(delayMs, run);
  }
}
