/**
 * A managed connection to one address: dials when a call needs it, dials again after a loss with
 * jittered back-off, and retries by itself only what certainly was not sent.
 *
 * A call that finds no connection waits for the dial under way. When that fails the call fails
 * with `unavailable`, not sent, and until the back-off is over so does every further call at once,
 * unless the channel waits for readiness. The call's deadline covers all of it.
 *
 * An open socket proves nothing: a proxy without a server behind it accepts and closes. As in gRPC
 * (connection-backoff.md), the back-off starts anew only once the peer has shown that it serves. A
 * connection that ends before that is a failed attempt; one that served is replaced at once.
 */
import type { Address } from "../base/address.ts";
import { formatAddress } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import type {
  Clock,
  Connection,
  ConnectionHandler,
  Net,
  Random,
  Timer,
  TlsOptions,
} from "../runtime/port.ts";
import { NetError } from "../runtime/port.ts";
import { Backoff, backoffDefault, type BackoffOptions } from "./backoff.ts";
import { ClientLink, type ClientSide } from "./client_link.ts";
import { MessageDecoder } from "./codec/decode.ts";
import { MessageEncoder } from "./codec/encode.ts";
import { ResponseReader } from "./core/envelope.ts";
import { frameHeaderBytes } from "./core/frame.ts";
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
  /**
   * Calls wait through failed dials until their deadline instead of failing at once. A dial that
   * is not permitted fails them all the same.
   */
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
  readonly encoder: MessageEncoder = new MessageEncoder(true);
  readonly decoder: MessageDecoder = new MessageDecoder();
  readonly #options: ChannelOptions;
  readonly #side: ClientSide;
  readonly #handler: ConnectionHandler<Link<never>>;
  readonly #backoff: Backoff;
  readonly #waiters: Set<Waiter> = new Set();
  /** Every open link; only one of them takes new calls. */
  readonly #links: Set<ClientLink> = new Set();
  #link: ClientLink | undefined = undefined;
  /** The link that is being made: dialled, or waiting for the answer to its offer. */
  #dialing: ClientLink | undefined = undefined;
  /** The link that takes calls, while its peer has not shown yet that it serves. */
  #unproven: ClientLink | undefined = undefined;
  /** What the peer of that link has sent so far. */
  #unprovenBytes = 0;
  /** When the link that takes calls became ready. */
  #readyMs = 0;
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
    this.#handler = {
      ...linkHandler as unknown as ConnectionHandler<Link<never>>,
      open: (connection) => this.#opened(connection),
      data: (connection, chunk) => {
        connection.state.received(chunk);
        if (this.#unproven !== undefined) this.#heard(connection.state, chunk.length);
      },
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
    if (link.isOpen) this.#retire(link);
    else this.#dropped();
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
    } else if (this.#state === "backoff" && this.#failsAtOnce) {
      waiter.unconnected(this.#lastError!);
    } else if (this.#waiters.size >= this.limits.callsMax) {
      // No connection would take more of them.
      this.counters.limitHits.calls_per_connection++;
      const message = "too many calls wait for a connection";
      waiter.unconnected(new CoveyError(Code.resourceExhausted, message, { sent: false }));
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
    this.#unproven = undefined;
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
        handler: this.#handler,
      });
    } catch (error) {
      if (this.#dialing === link) this.#dialFailed(error);
      return;
    }
    if (this.#dialing === link) {
      // The offer is out; a peer that never answers it must not hold the calls for ever.
      this.#hello = this.clock.timer(dialTimeoutMs, helloTimedOut, this);
    }
  }

  #opened(connection: Connection<Link<never>>): void {
    const link = connection.state as unknown as ClientLink;
    if (this.#dialing !== link) {
      // The channel was closed in the meantime.
      connection.abort();
      return;
    }
    this.#links.add(link);
    connection.state.opened(connection);
  }

  /** The offer got no answer in time; public only for the timer. */
  helloTimedOut(): void {
    this.#hello = undefined;
    const link = this.#dialing;
    if (link === undefined) return;
    const message = "the peer did not answer the first call";
    this.#dialFailed(new NetError("timeout", message));
    link.shut(unavailable(message));
  }

  #dialFailed(error: unknown): void {
    this.#dialing = undefined;
    this.#lastError = this.#unreachable(error);
    this.#backOff(this.#backoff.nextMs());
  }

  #unreachable(error: unknown): CoveyError {
    const kind = error instanceof NetError ? error.kind : undefined;
    const code = kind === "denied"
      ? Code.permissionDenied
      : kind === "tls"
      ? Code.unauthenticated
      : Code.unavailable;
    const why = error instanceof NetError ? error.message : String(error);
    const message = `cannot reach ${formatAddress(this.#options.address)}: ${why}`;
    return new CoveyError(code, message, { cause: error, sent: false });
  }

  /** Whether calls fail during the back-off; what is not permitted does not get better. */
  get #failsAtOnce(): boolean {
    return !this.#options.waitForReady || this.#lastError!.code === Code.permissionDenied;
  }

  #backOff(waitMs: number): void {
    this.#state = "backoff";
    this.#retry = this.clock.timer(waitMs, retryDial, this);
    if (this.#failsAtOnce) this.#fail(this.#lastError!);
  }

  /** The back-off is over; public only for the timer. */
  retry(): void {
    this.#retry = undefined;
    if (this.#state !== "backoff") return;
    this.#state = "idle";
    if (this.#waiters.size > 0) void this.#dial();
  }

  #ready(link: ClientLink): void {
    if (this.#dialing !== link) return;
    this.#hello?.cancel();
    this.#hello = undefined;
    if (link.machine.spent) {
      this.#dialFailed(new NetError("refused", "the peer is shutting down"));
      link.shut(unavailable("the peer is shutting down"));
      return;
    }
    this.#state = "ready";
    this.#dialing = undefined;
    this.#link = link;
    this.#readyMs = this.clock.monotonicMs();
    // An answered offer is proof; of a plain peer nothing was heard yet.
    if (this.#side.offers) this.#backoff.reset();
    else {
      this.#unproven = link;
      this.#unprovenBytes = 0;
    }
    this.#sweep ??= this.clock.timer(sweepMs, sweepChannel, this);
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    // What one of them starts may end the link, or the channel, before the next one's turn.
    for (const waiter of waiters) this.wait(waiter);
  }

  /** A peer serves when it sent a frame's header that did not break the connection. */
  #heard(link: unknown, bytes: number): void {
    if (this.#unproven !== link || !this.#unproven!.isOpen) return;
    this.#unprovenBytes += bytes;
    if (this.#unprovenBytes < frameHeaderBytes) return;
    this.#unproven = undefined;
    this.#backoff.reset();
  }

  /** The connection of the link that took calls ended, or is about to. */
  #dropped(): void {
    const proven = this.#unproven === undefined;
    this.#unproven = undefined;
    this.#link = undefined;
    if (this.#state !== "ready") return;
    this.#state = "idle";
    if (proven) return;
    // The times between dials are what has to grow: what the connection lasted counts.
    const lastedMs = this.clock.monotonicMs() - this.#readyMs;
    if (lastedMs >= this.#backoff.mostMs) return;
    this.#lastError = this.#unreachable(
      new NetError("reset", "the peer closed the connection before it answered"),
    );
    const waitMs = this.#backoff.nextMs() - lastedMs;
    if (waitMs > 0) this.#backOff(waitMs);
  }

  /** New calls go elsewhere; those in flight finish here. */
  #retire(link: ClientLink): void {
    if (this.#link !== link) return;
    this.#link = undefined;
    this.#unproven = undefined;
    if (this.#state === "ready") this.#state = "idle";
    if (link.machine.callCount === 0) link.shut(unavailable("the connection was replaced"));
  }

  #lost(link: ClientLink): void {
    this.#links.delete(link);
    if (this.#link === link) {
      this.#dropped();
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
    // What a link's end told its callers may have closed the channel.
    if (this.#state === "closed") return;
    if (this.#links.size > 0) this.#sweep = this.clock.timer(sweepMs, sweepChannel, this);
  }
}

function retryDial(channel: Channel): void {
  channel.retry();
}

function sweepChannel(channel: Channel): void {
  channel.sweep();
}

function helloTimedOut(channel: Channel): void {
  channel.helloTimedOut();
}
