/**
 * A managed connection to one address: dials when a call needs it, dials again after a loss with
 * jittered back-off, and retries by itself only what certainly was not sent.
 *
 * A call that finds no connection waits for the dial under way. When that fails the call fails
 * with `unavailable`, not sent, and until the back-off is over so does every further call at once,
 * unless the channel waits for readiness. The call's deadline covers all of it.
 */
import type { Address } from "../base/address.ts";
import { formatAddress } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Clock, ConnectionHandler, Net, Random, Timer, TlsOptions } from "../runtime/port.ts";
import { NetError } from "../runtime/port.ts";
import { Backoff, backoffDefault, type BackoffOptions } from "./backoff.ts";
import { ClientLink, type ClientSide } from "./client_link.ts";
import { ResponseReader } from "./core/envelope.ts";
import { BufferPool } from "./core/output.ts";
import { Slab } from "./core/slab.ts";
import { RpcCounters } from "./counters.ts";
import { type RpcLimits, rpcLimitsDefault } from "./limits.ts";
import { type Link, linkHandler, unavailable } from "./link.ts";

export interface ChannelOptions {
  readonly net: Net;
  readonly clock: Clock;
  readonly random: Random;
  readonly address: Address;
  readonly tls?: TlsOptions;
  readonly limits?: Partial<RpcLimits>;
  readonly counters?: RpcCounters;
  /**
   * `covey` offers the extensions on every connection (cancellation that reaches the server,
   * credits, pings, response metadata); a peer that does not know them answers as always.
   * `any`, the default, sends not one byte that ttrpc does not have.
   */
  readonly peer?: "covey" | "any";
  /** Dialling, TLS included. Default 5 s. */
  readonly dialTimeoutMs?: number;
  readonly backoff?: BackoffOptions;
  /** Calls wait through failed dials until their deadline instead of failing at once. */
  readonly waitForReady?: boolean;
  /** Deadline of calls that name none; default none. */
  readonly timeoutMs?: number;
  /** Called once, when the channel is closed: whoever keeps a list of channels forgets this one. */
  readonly onClose?: () => void;
}

/** What waits for a connection. */
export interface Waiter {
  /** A link that takes calls. */
  connected(link: ClientLink): void;
  /** There is none, and none is being made. */
  unconnected(error: CoveyError): void;
}

export type ChannelState = "idle" | "connecting" | "ready" | "backoff" | "closed";

const sweepMs = 1000;
const bufferBytes = 64 << 10;
const buffersFreeMax = 2;

export class Channel {
  readonly counters: RpcCounters;
  readonly limits: RpcLimits;
  /** Deadline of calls that name none, in milliseconds. */
  readonly timeoutMs: number | undefined;
  readonly clock: Clock;
  /** For copies of small messages. */
  readonly slab: Slab = new Slab();
  readonly #options: ChannelOptions;
  readonly #side: ClientSide;
  readonly #backoff: Backoff;
  readonly #waiters: Set<Waiter> = new Set();
  /** Every open link; only one of them takes new calls. */
  readonly #links: Set<ClientLink> = new Set();
  #link: ClientLink | undefined = undefined;
  /** The link that is being made: dialled, or waiting for the answer to its offer. */
  #dialing: ClientLink | undefined = undefined;
  #state: ChannelState = "idle";
  #lastError: CoveyError | undefined = undefined;
  #retry: Timer | undefined = undefined;
  #sweep: Timer | undefined = undefined;
  #hello: Timer | undefined = undefined;
  readonly #abort: AbortController = new AbortController();

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.limits = { ...rpcLimitsDefault, ...options.limits };
    this.counters = options.counters ?? new RpcCounters();
    this.timeoutMs = options.timeoutMs;
    this.#backoff = new Backoff(options.backoff ?? backoffDefault, options.random);
    this.#side = {
      clock: options.clock,
      limits: this.limits,
      counters: this.counters,
      machine: {
        limits: this.limits,
        pool: new BufferPool(bufferBytes, buffersFreeMax),
        slab: this.slab,
        reader: new ResponseReader(),
      },
      offers: options.peer === "covey",
      ready: (link) => this.#ready(link),
      retire: (link) => this.#retire(link),
      lost: (link) => this.#lost(link),
    };
  }

  get state(): ChannelState {
    return this.#state;
  }

  get address(): Address {
    return this.#options.address;
  }

  /** Whether the peer agreed to the extensions; undefined while there is no connection. */
  get extended(): boolean | undefined {
    return this.#link?.machine.extended;
  }

  /** The link that takes calls now, if there is one. */
  get link(): ClientLink | undefined {
    const link = this.#link;
    if (link === undefined || (link.isOpen && !link.machine.spent)) return link;
    this.#retire(link);
    return undefined;
  }

  /** Connects now; for those who want to know before the first call. */
  connect(timeoutMs?: number): Promise<void> {
    if (this.link !== undefined) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        connected: () => {
          timer?.cancel();
          resolve();
        },
        unconnected: (error) => {
          timer?.cancel();
          reject(error);
        },
      };
      const timer = timeoutMs === undefined ? undefined : this.clock.timer(timeoutMs, () => {
        this.leave(waiter);
        reject(new CoveyError(Code.deadlineExceeded, "not connected in time", { sent: false }));
      }, undefined);
      this.wait(waiter);
    });
  }

  /** Calls back with a link, now or later, or with the reason why there is none. */
  wait(waiter: Waiter): void {
    const link = this.link;
    if (link !== undefined) {
      waiter.connected(link);
    } else if (this.#state === "closed") {
      waiter.unconnected(new CoveyError(Code.canceled, "the channel is closed", { sent: false }));
    } else if (this.#state === "backoff" && !this.#options.waitForReady) {
      waiter.unconnected(this.#lastError!);
    } else {
      this.#waiters.add(waiter);
      if (this.#state === "idle") void this.#dial();
    }
  }

  /** The waiter does not wait any more. */
  leave(waiter: Waiter): void {
    this.#waiters.delete(waiter);
  }

  /** Closes every connection; calls in flight fail with `canceled`. */
  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#retry?.cancel();
    this.#sweep?.cancel();
    this.#hello?.cancel();
    this.#dialing = undefined;
    this.#abort.abort();
    for (const link of [...this.#links]) {
      link.shut({ code: Code.canceled, message: "the channel was closed", details: [] });
    }
    this.#link = undefined;
    this.#fail(new CoveyError(Code.canceled, "the channel was closed", { sent: false }));
    this.#options.onClose?.();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #dial(): Promise<void> {
    this.#state = "connecting";
    const { net, address, tls, dialTimeoutMs = 5000 } = this.#options;
    const link = this.#dialing = new ClientLink(this.#side);
    try {
      await net.connect<Link<never>>({
        address,
        tls,
        timeoutMs: dialTimeoutMs,
        signal: this.#abort.signal,
        state: link as unknown as Link<never>,
        handler: {
          ...linkHandler as unknown as ConnectionHandler<Link<never>>,
          open: (connection) => {
            this.#links.add(link);
            connection.state.opened(connection);
          },
        },
      });
    } catch (error) {
      if (this.#dialing === link) this.#dialFailed(error);
      return;
    }
    if (this.#dialing === link) {
      // The offer is out; a peer that never answers it must not hold the calls for ever.
      this.#hello = this.clock.timer(dialTimeoutMs, helloTimedOut, link);
    }
  }

  #dialFailed(error: unknown): void {
    this.#dialing = undefined;
    const why = error instanceof NetError ? error.message : String(error);
    this.#lastError = new CoveyError(
      error instanceof NetError && error.kind === "tls" ? Code.unauthenticated : Code.unavailable,
      `cannot reach ${formatAddress(this.#options.address)}: ${why}`,
      { cause: error, sent: false },
    );
    this.#backOff();
  }

  #backOff(): void {
    this.#state = "backoff";
    this.#retry = this.clock.timer(this.#backoff.nextMs(), retryDial, this);
    if (!this.#options.waitForReady) this.#fail(this.#lastError!);
  }

  /** The back-off is over; public only for the timer. */
  retry(): void {
    this.#retry = undefined;
    if (this.#state !== "backoff") return;
    this.#state = "idle";
    if (this.#waiters.size > 0) void this.#dial();
  }

  #ready(link: ClientLink): void {
    this.#hello?.cancel();
    this.#hello = undefined;
    if (link.machine.spent) {
      this.#dialFailed(new NetError("refused", "the peer is shutting down"));
      link.shut(unavailable("the peer is shutting down"));
      return;
    }
    this.#backoff.reset();
    this.#state = "ready";
    this.#dialing = undefined;
    this.#link = link;
    this.#sweep ??= this.clock.timer(sweepMs, sweepChannel, this);
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    // What one of them starts may end the link, or the channel, before the next one's turn.
    for (const waiter of waiters) this.wait(waiter);
  }

  /** New calls go elsewhere; those in flight finish here. */
  #retire(link: ClientLink): void {
    if (this.#link !== link) return;
    this.#link = undefined;
    if (this.#state === "ready") this.#state = "idle";
    if (link.machine.callCount === 0) link.shut(unavailable("the connection was replaced"));
  }

  #lost(link: ClientLink): void {
    this.#links.delete(link);
    if (this.#link === link) {
      this.#link = undefined;
      if (this.#state === "ready") this.#state = "idle";
    } else if (this.#dialing === link) {
      // It was lost before it was ready: that is a failed dial.
      this.#hello?.cancel();
      this.#hello = undefined;
      this.#dialFailed(new NetError("reset", "the peer closed the connection"));
    }
  }

  #fail(error: CoveyError): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.unconnected(error);
  }

  /** The timer's work; public only for the timer. */
  sweep(): void {
    this.#sweep = undefined;
    const nowMs = this.clock.monotonicMs();
    for (const link of [...this.#links]) {
      link.sweep(nowMs);
      const isOld = link !== this.#link && link !== this.#dialing;
      if (isOld && link.machine.callCount === 0) {
        link.shut(unavailable("the connection was replaced"));
      }
    }
    if (this.#links.size > 0) this.#sweep = this.clock.timer(sweepMs, sweepChannel, this);
  }
}

function retryDial(channel: Channel): void {
  channel.retry();
}

function sweepChannel(channel: Channel): void {
  channel.sweep();
}

function helloTimedOut(link: ClientLink): void {
  link.shut(unavailable("the peer did not answer the first call"));
}
