/// <reference types="npm:bun-types@1.4.5" />
/**
 * One dial. Bun's connect can be neither cancelled nor timed out (tried on 1.4.5: the descriptor
 * stays until the kernel gives up), so the promise is settled by our own timer and signal, a
 * socket that opens late is closed, and the dial counts as in flight until Bun is done with it.
 *
 * Where there is no route, EHOSTUNREACH and ENETUNREACH, Bun says ECONNREFUSED (seen with strace).
 */
import { type Address, formatAddress } from "../../base/address.ts";
import { messageOf } from "../error.ts";
import {
  type Clock,
  type Connection,
  type ConnectionHandler,
  type ConnectOptions,
  dialsMax,
  dialsPerAddressMax,
  keepAliveMs,
  NetError,
  type Timer,
} from "../port.ts";
import { BunConnection, type BunSocket, handler, type Owner, type Slot } from "./connection.ts";
import { netError, ownError } from "./error.ts";
import { clientTls, verifiedCertificate } from "./tls.ts";

/** Counts dials in flight, per address and in all. */
export class DialLimits {
  #total = 0;
  readonly #byAddress = new Map<string, number>();

  /** Takes a place, or says why there is none. */
  take(address: string): string | undefined {
    if (this.#total >= dialsMax) return `${dialsMax} dials are in flight`;
    const count = this.#byAddress.get(address) ?? 0;
    if (count >= dialsPerAddressMax) return `${dialsPerAddressMax} dials to it are in flight`;
    this.#total++;
    this.#byAddress.set(address, count + 1);
    return undefined;
  }

  release(address: string): void {
    this.#total--;
    const count = (this.#byAddress.get(address) ?? 1) - 1;
    if (count === 0) this.#byAddress.delete(address);
    else this.#byAddress.set(address, count);
  }
}

/** What dials share. */
export interface DialContext {
  readonly clock: Clock;
  readonly limits: DialLimits;
  /** Above this descriptor number a new socket is closed again. */
  readonly descriptorMax: number;
}

/** Dials; see the port. */
export function dial<S>(context: DialContext, options: ConnectOptions<S>): Promise<Connection<S>> {
  return new Promise((resolve, reject) => {
    new Dial(context, options, resolve, reject).start();
  });
}

class Dial<S> implements Slot, Owner<S> {
  readonly handler: ConnectionHandler<S>;
  readonly address: Address;
  readonly #context: DialContext;
  readonly #name: string;
  // Dropped once settled, because the connection holds on to its dial.
  #options: ConnectOptions<S> | undefined;
  #resolve: ((connection: Connection<S>) => void) | undefined;
  #reject: ((error: NetError) => void) | undefined;
  #timer: Timer | undefined = undefined;
  #securing: BunSocket | undefined = undefined;
  #inFlight = false;

  constructor(
    context: DialContext,
    options: ConnectOptions<S>,
    resolve: (connection: Connection<S>) => void,
    reject: (error: NetError) => void,
  ) {
    this.handler = options.handler;
    this.address = options.address;
    this.#context = context;
    this.#name = formatAddress(options.address);
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    const options = this.#options!;
    const address = options.address;
    if (options.signal?.aborted) return this.#fail("aborted", "aborted", options.signal.reason);
    if (address.kind === "vsock") return this.#fail("unsupported", "Bun has no vsock");
    const full = this.#context.limits.take(this.#name);
    if (full !== undefined) return this.#fail("limit", full);
    this.#inFlight = true;
    this.#timer = this.#context.clock.timer(options.timeoutMs, Dial.#expired, this);
    options.signal?.addEventListener("abort", this);
    try {
      const tls = options.tls === undefined ? undefined : clientTls(options.tls, address);
      const common = { socket: handler, data: this, allowHalfOpen: true, tls };
      const pending = address.kind === "tcp"
        ? Bun.connect<Slot>({ ...common, hostname: address.host, port: address.port })
        : Bun.connect<Slot>({ ...common, unix: unixName(address) });
      pending.then(undefined, (error) => this.#refused(error));
    } catch (error) {
      this.#refused(error);
    }
  }

  static #expired<S>(dial: Dial<S>): void {
    dial.#timer = undefined;
    dial.#fail("timeout", "no connection in time");
  }

  /** The abort signal's listener is the dial itself, which needs no closure. */
  handleEvent(): void {
    this.#fail("aborted", "aborted", this.#options?.signal?.reason);
  }

  #release(): void {
    if (!this.#inFlight) return;
    this.#inFlight = false;
    this.#context.limits.release(this.#name);
  }

  #refused(error: unknown): void {
    this.#release();
    this.#settle()?.(ownError(netError(error, `dial ${this.#name}`)));
  }

  #fail(kind: NetError["kind"], why: string, cause?: unknown): void {
    this.#settle()?.(new NetError(kind, `dial ${this.#name}: ${why}`, cause));
    // Only a socket in its TLS handshake is at hand here; a pending connect is out of reach.
    this.#securing?.terminate();
  }

  /** Ends the waiting; gives the function to reject with, once. */
  #settle(): ((error: NetError) => void) | undefined {
    const reject = this.#reject;
    this.#reject = undefined;
    this.#resolve = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#options?.signal?.removeEventListener("abort", this);
    this.#options = undefined;
    return reject;
  }

  // -------------------------------------------------------------------------------------------
  // Slot, until the connection takes over

  opened(socket: BunSocket): void {
    const options = this.#options;
    if (options === undefined) {
      socket.terminate();
      return this.#release();
    }
    if ((socket.fd ?? 0) > this.#context.descriptorMax) {
      this.#fail("limit", "too few descriptors are left");
      socket.terminate();
      return this.#release();
    }
    const connection = new BunConnection<S>(socket, this);
    if (this.address.kind === "tcp") socket.setKeepAlive(true, keepAliveMs);
    if (options.tls === undefined) this.#establish(connection, undefined);
    else this.#securing = socket;
  }

  handshaken(): void {}
  received(): void {}
  drained(): void {}
  ended(): void {}
  failed(): void {}
  timedOut(): void {}
  closed(): void {}

  // -------------------------------------------------------------------------------------------
  // Owner

  secured(connection: BunConnection<S>, error: Error | null): void {
    const options = this.#options;
    if (options?.tls === undefined) return;
    try {
      const certificate = verifiedCertificate(connection.socket, error, options.tls, this.address);
      this.#establish(connection, certificate);
    } catch (refusal) {
      this.#fail("tls", messageOf(refusal), refusal);
    }
  }

  #establish(
    connection: BunConnection<S>,
    certificate: BunConnection<S>["certificate"],
  ): void {
    const state = this.#options!.state;
    const resolve = this.#resolve;
    this.#release();
    this.#settle();
    this.#securing = undefined;
    try {
      connection.open(() => state, certificate, undefined);
    } finally {
      resolve?.(connection);
    }
  }

  gone(_connection: BunConnection<S>, opened: boolean, error: NetError | undefined): void {
    if (opened) return;
    this.#release();
    this.#securing = undefined;
    const why = error === undefined ? "closed during the TLS handshake" : error.message;
    this.#fail("tls", why, error);
  }
}

/** Bun's form of a unix address: an abstract name follows a zero byte. */
export function unixName(address: Address): string {
  if (address.kind === "unix") return address.path;
  if (address.kind === "abstract") return `\0${address.name}`;
  throw new NetError("unsupported", `${formatAddress(address)} is no unix address`);
}
