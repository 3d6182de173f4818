/// <reference types="npm:bun-types@1.4.5" />
/**
 * One established or half-established socket: the state behind the port's `Connection` and what
 * Bun's callbacks find in `socket.data`.
 *
 * All sockets of a process share one handler object ({@link handler}). What differs sits in
 * `socket.data`, a {@link Slot}: the listener until a socket is accepted, the dial until it is
 * connected, the {@link BunConnection} from then on.
 *
 * Bun's plain sockets do what the port wants (tried on 1.4.5): `write` returns what the kernel
 * took and queues nothing, `close` closes both directions at once and the kernel delivers the
 * rest, `shutdown` sends the end and reading goes on, a paused socket costs no CPU even when the
 * peer is gone. A TLS socket keeps at most one batch of sealed records (256 KiB) behind `write`;
 * its `close` flushes them first, its `end` would also wait for the peer's end.
 */
import type { Address } from "../../base/address.ts";
import type {
  Connection,
  ConnectionHandler,
  NetError,
  Peer,
  PeerCertificate,
  PeerCredentials,
} from "../port.ts";
import { isTlsFailure, netError } from "./error.ts";
import { openLibc, shutBoth } from "./libc.ts";

/** What Bun's callbacks talk to. */
export interface Slot {
  opened(socket: BunSocket): void;
  handshaken(socket: BunSocket, error: Error | null): void;
  received(chunk: Uint8Array): void;
  drained(): void;
  ended(): void;
  failed(error: Error): void;
  timedOut(): void;
  closed(error: Error | undefined): void;
}

/** `fd` exists on every Bun socket, though the types do not say so: -1 once it is closed. */
export type BunSocket = Bun.Socket<Slot> & { readonly fd?: number };

/** The one handler object of all sockets. */
const callbacks: Bun.SocketHandler<Slot, "uint8array"> = {
  binaryType: "uint8array",
  open: (socket) => socket.data.opened(socket),
  // The flag in between is true even for a rogue certificate (tried): only the error tells.
  handshake: (socket, _success, error) => socket.data.handshaken(socket, error),
  data: (socket, chunk) => socket.data.received(chunk),
  drain: (socket) => socket.data.drained(),
  end: (socket) => socket.data.ended(),
  error: (socket, error) => socket.data.failed(error),
  timeout: (socket) => socket.data.timedOut(),
  close: (socket, error) => socket.data.closed(error),
};
// Bun's types let `listen` and `connect` have buffers only, though `binaryType` is honoured.
export const handler = callbacks as unknown as Bun.SocketHandler<Slot>;

/** Whoever made the connection: a listener, or the dial. */
export interface Owner<S> {
  readonly handler: ConnectionHandler<S>;
  /** The address asked for; for unix sockets it is also the peer's. */
  readonly address: Address;
  /** The TLS handshake ended well and the chain is good, or `error` says why not. */
  secured(connection: BunConnection<S>, error: Error | null): void;
  /** The socket is gone; `opened` says whether the handler ever saw the connection. */
  gone(connection: BunConnection<S>, opened: boolean, error: NetError | undefined): void;
}

const flagOpened = 1;
const flagShutdown = 2;
const flagClosed = 4;
const flagWantsDrain = 8;
const flagClosing = 16;
const flagEnded = 32;
const flagCalling = 64;

/** How long a TLS socket may take to deliver what it holds after `close`. */
const lingerMs = 10_000;

/**
 * Also its own `Peer`, so that a connection costs little beside the caller's state: 500 bytes of
 * anonymous memory with Bun's own 430 in them, 130 more for the peer's address (1.4.5, x64).
 */
export class BunConnection<S> implements Connection<S>, Peer, Slot {
  state!: S;
  #socket: BunSocket;
  readonly #owner: Owner<S>;
  #flags = 0;
  #certificate: PeerCertificate | undefined = undefined;
  #credentials: PeerCredentials | undefined = undefined;
  readonly #address: Address;
  #error: Error | undefined = undefined;
  /** The descriptor of a socket that was closed and is not done yet. */
  #lingering = -1;

  constructor(socket: BunSocket, owner: Owner<S>) {
    this.#socket = socket;
    this.#owner = owner;
    // Asked now, because Bun forgets it before it tells that the socket closed, which is when a log
    // wants to name the peer.
    this.#address = ipAddress(socket.remoteAddress, socket.remotePort, owner.address);
    socket.data = this;
  }

  // -------------------------------------------------------------------------------------------
  // Peer

  get peer(): Peer {
    return this;
  }

  get certificate(): PeerCertificate | undefined {
    return this.#certificate;
  }

  get credentials(): PeerCredentials | undefined {
    return this.#credentials;
  }

  get address(): Address {
    return this.#address;
  }

  get local(): Address {
    return ipAddress(this.#socket.localAddress, this.#socket.localPort, this.#owner.address);
  }

  // -------------------------------------------------------------------------------------------
  // Connection

  write(bytes: Uint8Array, offset = 0, length = bytes.length - offset): number {
    if (length === 0 || (this.#flags & (flagClosed | flagClosing | flagShutdown)) !== 0) return 0;
    this.#flags |= flagCalling;
    // Bun answers -1 on a socket that is gone, of which `closed` tells next.
    const taken = Math.max(this.#socket.write(bytes as Uint8Array<ArrayBuffer>, offset, length), 0);
    this.#flags &= ~flagCalling;
    if (taken < length) this.#flags |= flagWantsDrain;
    return taken;
  }

  pause(): void {
    if ((this.#flags & flagClosed) === 0) this.#socket.pause();
  }

  resume(): void {
    if ((this.#flags & flagClosed) === 0) this.#socket.resume();
  }

  shutdown(): void {
    if ((this.#flags & (flagClosed | flagClosing | flagShutdown)) !== 0) return;
    this.#flags = (this.#flags | flagShutdown | flagCalling) & ~flagWantsDrain;
    this.#socket.shutdown();
    this.#flags &= ~flagCalling;
  }

  close(): void {
    if ((this.#flags & (flagClosed | flagClosing)) !== 0) return;
    const descriptor = this.#socket.fd ?? -1;
    this.#flags = (this.#flags | flagClosing | flagCalling) & ~flagWantsDrain;
    this.#socket.close();
    this.#flags &= ~flagCalling;
    // A plain socket is closed by now, a TLS socket with records to flush is not. Bun gives such a
    // one no handle any more: neither its timeout nor `terminate` ends it when the peer never reads
    // (tried).
    if ((this.#flags & flagClosed) === 0) {
      this.#lingering = descriptor;
      setTimeout(BunConnection.#cut, lingerMs, this).unref();
    }
  }

  abort(): void {
    if ((this.#flags & flagClosed) !== 0) return;
    if (this.#lingering >= 0) return BunConnection.#cut(this);
    this.#flags = (this.#flags | flagClosing | flagCalling) & ~flagWantsDrain;
    this.#socket.terminate();
    this.#flags &= ~flagCalling;
  }

  /** Ends a socket that Bun has let go of; its descriptor is ours until `closed` is called. */
  static #cut<S>(connection: BunConnection<S>): void {
    if ((connection.#flags & flagClosed) !== 0) return;
    openLibc()?.shutdown(connection.#lingering, shutBoth);
  }

  // -------------------------------------------------------------------------------------------
  // For the owner

  /** Bun's socket, while the TLS handshake is checked. */
  get socket(): BunSocket {
    return this.#socket;
  }

  /** Gives the connection to the module above. */
  open(
    state: (peer: Peer) => S,
    certificate: PeerCertificate | undefined,
    credentials: PeerCredentials | undefined,
  ): void {
    this.#certificate = certificate;
    this.#credentials = credentials;
    this.state = state(this);
    this.#flags |= flagOpened;
    this.#owner.handler.open(this);
  }

  // -------------------------------------------------------------------------------------------
  // Slot

  opened(): void {}

  handshaken(_socket: BunSocket, error: Error | null): void {
    if ((this.#flags & (flagOpened | flagClosed)) === 0) this.#owner.secured(this, error);
  }

  received(chunk: Uint8Array): void {
    if ((this.#flags & (flagOpened | flagClosing | flagClosed)) !== flagOpened) return;
    this.#owner.handler.data(this, chunk);
  }

  drained(): void {
    // Bun also tells of room that nobody waits for.
    if ((this.#flags & (flagWantsDrain | flagClosing | flagClosed)) !== flagWantsDrain) return;
    this.#flags &= ~flagWantsDrain;
    this.#owner.handler.drain(this);
  }

  ended(): void {
    if ((this.#flags & flagOpened) === 0) return this.abort();
    if ((this.#flags & (flagEnded | flagClosing)) !== 0) return;
    this.#flags |= flagEnded;
    this.#owner.handler.end(this);
  }

  failed(error: Error): void {
    // Bun passes what a callback threw through here as well, where it would vanish.
    if (!isTlsFailure(error)) throw error;
    this.#error ??= error;
  }

  timedOut(): void {
    // Bun tells an accepted socket of 120 s of silence though nobody asked (tried on 1.4.5). Only a
    // handshake has a limit here; how long an open connection may be silent is not the seam's.
    if ((this.#flags & flagOpened) === 0) this.abort();
  }

  closed(error: Error | undefined): void {
    if ((this.#flags & flagClosed) !== 0) return;
    this.#error ??= error;
    const calling = (this.#flags & flagCalling) !== 0;
    this.#flags |= flagClosed;
    // Bun calls this within `end` and `terminate`. A caller in the middle of its own work must not
    // be called back, so the news wait for the end of that.
    if (calling) queueMicrotask(() => this.#finish());
    else this.#finish();
  }

  #finish(): void {
    const opened = (this.#flags & flagOpened) !== 0;
    const orderly = this.#error === undefined ||
      (opened && (this.#flags & flagClosing) !== 0);
    const error = orderly ? undefined : netError(this.#error, "connection");
    this.#owner.gone(this, opened, error);
    if (!opened) return;
    // When the own direction was shut down before, Bun answers the peer's end with `close` alone.
    if (orderly && (this.#flags & (flagEnded | flagClosing)) === 0) {
      this.#flags |= flagEnded;
      this.#owner.handler.end(this);
    }
    this.#owner.handler.close(this, error);
  }
}

/**
 * A numeric address; a dual-stack listener sees IPv4 peers in their IPv6 form. Where the socket has
 * none, because it is no IP socket or not open any more, the address that was asked for.
 */
function ipAddress(host: string | undefined, port: number | undefined, asked: Address): Address {
  if (asked.kind !== "tcp" || host === undefined || port === undefined) return asked;
  return { kind: "tcp", host: host.startsWith("::ffff:") ? host.slice(7) : host, port };
}
