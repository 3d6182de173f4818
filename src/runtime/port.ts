/**
 * The seam: every effect of covey goes through these interfaces and through nothing else.
 *
 * Three implementations stand behind them, `bun.ts`, `deno.ts` and `sim/`, and one compliance
 * suite (`test/compliance/`) runs on all three. Whatever is promised here is a case there.
 *
 * Sockets are callback style: one handler object per listener or dial, one `state` slot per
 * connection, no closure, promise or stream per socket. A process that holds ten thousand devices
 * pays for exactly what the kernel and the runtime need.
 */
import type { Address } from "../base/address.ts";
import type { PeerCertificate, TlsInspection } from "../base/certificate.ts";
import type { NameKind, NameRecords, ResolveOptions } from "../base/name_lookup.ts";
export type { NameKind, NameRecords, PeerCertificate, ResolveOptions };

/** Everything a node may do to the world. */
export interface Runtime {
  readonly name: "bun" | "deno" | "sim";
  /** The engine's version, "1.4.5". */
  readonly version: string;
  readonly features: Features;
  readonly net: Net;
  readonly http: Http;
  readonly clock: Clock;
  readonly random: Random;
  readonly disk: Disk;
  readonly host: Host;
}

/** What a runtime cannot do is refused at start, naming the setting that asked for it. */
export interface Features {
  /** `Peer.credentials` is filled for unix sockets that ask for it. */
  readonly peerCredentials: boolean;
  readonly vsock: boolean;
  /** Abstract unix sockets, `unix://@name`. */
  readonly abstractSockets: boolean;
}

// ---------------------------------------------------------------------------------------------
// Net

/** Byte streams over TCP and unix sockets, and datagrams. */
export interface Net {
  /**
   * Starts to accept. Rejects with a {@link NetError}: `in-use`, `denied`, `not-found` (no such
   * folder), `invalid`, `unsupported`. A unix path that is left over from a dead process is taken
   * over; one that somebody still answers on is `in-use`.
   */
  listen<S>(options: ListenOptions<S>): Promise<Listener>;
  /**
   * Dials. Resolves after `handler.open` has run; rejects with a {@link NetError}: `refused`,
   * `timeout`, `not-found`, `aborted`, `tls`, `unreachable` (Bun calls it `refused`), `limit`,
   * `denied`. After a rejection no callback follows. Dials in flight are bounded, per address and in all
   * ({@link dialsPerAddressMax}, {@link dialsMax}): one too many is `limit`.
   */
  connect<S>(options: ConnectOptions<S>): Promise<Connection<S>>;
  bindUdp(options: UdpOptions): Promise<UdpSocket>;
  /** Looks a name up. Rejects with a {@link NetError}; {@link ResolveOptions} says of which kinds. */
  resolve<K extends NameKind>(options: ResolveOptions<K>): Promise<NameRecords[K]>;
  /** What a node's own TLS material is worth; opens nothing and never throws. */
  inspectTls(options: TlsOptions): TlsInspection;
}

/** Dials in flight before `connect` answers `limit`: to one address, and in all. */
export const dialsPerAddressMax = 64;
export const dialsMax = 1024;

/** Silence after which the kernel asks a TCP peer for a sign of life; Deno leaves it to the system. */
export const keepAliveMs = 60_000;
/** How long an accepted peer may take for its TLS handshake, unless the listener says otherwise. */
export const handshakeMsDefault = 10_000;

/**
 * One established connection. For the modules above, it exists only once the peer is verified:
 * `open` fires after the TLS handshake and after `verifyPeer` agreed.
 */
export interface Connection<S> {
  /** The module's own per-connection object. */
  state: S;
  readonly peer: Peer;
  /**
   * Hands bytes to the kernel and says how many it took, from 0 to `length`. Nothing is queued
   * behind the caller's back beyond one bounded system buffer, so the rest is the caller's to keep
   * until `drain`. The array may be reused as soon as this returns. After the connection closed,
   * or after `shutdown`, it takes 0 bytes and no `drain` follows.
   */
  write(bytes: Uint8Array, offset?: number, length?: number): number;
  /** Stops `data` callbacks, possibly after one more, and lets the peer's window fill. */
  pause(): void;
  resume(): void;
  /** Half-close: after the bytes that were taken, the peer sees the end. Reading goes on. */
  shutdown(): void;
  /** Closes both directions; bytes that were taken are still delivered. */
  close(): void;
  /** Closes at once; bytes under way may be lost, and the peer may see a reset. */
  abort(): void;
}

/** The callbacks of all connections of one listener or one dial. They must not throw. */
export interface ConnectionHandler<S> {
  /** First callback. For a dial it runs before `connect` resolves. */
  open(connection: Connection<S>): void;
  /** `chunk` is only valid during the call: the runtime reuses its memory. Never empty. */
  data(connection: Connection<S>, chunk: Uint8Array): void;
  /** After a `write` that took less than offered, the kernel has room again. */
  drain(connection: Connection<S>): void;
  /** The peer half-closed: no `data` follows. The own direction stays open until closed. */
  end(connection: Connection<S>): void;
  /** Last callback, exactly once after `open`. `error` is absent for an orderly end. */
  close(connection: Connection<S>, error?: NetError): void;
}

/** Who is on the other side, as far as the transport can vouch for it. */
export interface Peer {
  /** The remote address; for unix sockets the address that was listened on or dialled. */
  readonly address: Address;
  /** The local end. */
  readonly local: Address;
  /** Present when TLS verified the peer's certificate. */
  readonly certificate?: PeerCertificate;
  /** SO_PEERCRED of a unix peer, when the listener asked for it. */
  readonly credentials?: PeerCredentials;
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** PEM text; on the sim, what `sim.identity()` made. */
export interface TlsOptions {
  readonly certificate: string;
  readonly key: string;
  /** The authorities that the peer's certificate must chain to. Both sides verify, always. */
  readonly authorities: string;
  /** Dial only: the name that the peer's certificate must carry. Default: the dialled host. */
  readonly serverName?: string;
  /** Called once a chain is verified, before `open`. Text is the reason to refuse the peer. */
  readonly verifyPeer?: (certificate: PeerCertificate) => string | undefined;
}

export interface ListenOptions<S> {
  readonly address: Address;
  readonly handler: ConnectionHandler<S>;
  /** Makes the state slot of a new connection. */
  readonly state: (peer: Peer) => S;
  readonly tls?: TlsOptions;
  /** Connections of this listener; one more is accepted and closed at once, and counted. */
  readonly connectionsMax: number;
  /** Fill `Peer.credentials`; only where {@link Features.peerCredentials}. */
  readonly credentials?: boolean;
  /** Permission bits of a unix socket's file, default 0o600. */
  readonly mode?: number;
  /** With TLS: a handshake that takes longer is cut. Default {@link handshakeMsDefault}. */
  readonly handshakeMs?: number;
}

export interface Listener {
  /** The bound address, with the real port where 0 was asked for. */
  readonly address: Address;
  /** Open connections. */
  readonly connections: number;
  /** Connections closed because `connectionsMax` or the descriptor limit was reached. */
  readonly refused: number;
  /** TLS handshakes that did not end in a verified peer. */
  readonly handshakesFailed: number;
  /** Takes new TLS material for connections to come; those that exist stay. */
  renewTls(tls: TlsOptions): void;
  /** Stops accepting. Connections that exist go on. The unix path is removed. */
  stop(): void;
}

export interface ConnectOptions<S> {
  readonly address: Address;
  readonly handler: ConnectionHandler<S>;
  readonly state: S;
  readonly tls?: TlsOptions;
  /** Covers name lookup, connection and TLS handshake. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export type NetErrorKind =
  | "refused"
  | "timeout"
  | "reset"
  | "in-use"
  | "not-found"
  | "unreachable"
  | "denied"
  | "tls"
  | "aborted"
  | "limit"
  | "invalid"
  | "unsupported"
  | "other";

/** What goes wrong on a socket. The kind is the contract, the message is for people. */
export class NetError extends Error {
  override name = "NetError";
  readonly kind: NetErrorKind;
  constructor(kind: NetErrorKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}

export interface UdpOptions {
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** Join this group. Sockets of several processes may then share the port. */
  readonly multicast?: {
    readonly group: string;
    /** Address of the interface to use; default: the system's choice. */
    readonly interface?: string;
    /** Hops; default 1, which stays on the local network. */
    readonly ttl?: number;
    /** Whether this host's own sockets get what is sent; default true. */
    readonly loopback?: boolean;
  };
  readonly handler: UdpHandler;
}

export interface UdpHandler {
  /** `datagram` is only valid during the call. */
  message(socket: UdpSocket, datagram: Uint8Array, host: string, port: number): void;
  /** A send or receive failed; the socket goes on. */
  error(socket: UdpSocket, error: NetError): void;
}

export interface UdpSocket {
  readonly host: string;
  readonly port: number;
  /** Best effort: a datagram that cannot be sent now is dropped. */
  send(datagram: Uint8Array, host: string, port: number): void;
  close(): void;
}

// ---------------------------------------------------------------------------------------------
// Http

/** HTTP for the admin endpoint and for clients of HTTP services. In memory on the sim. */
export interface Http {
  /** Rejects with {@link NetError} like `listen`. */
  serve(options: HttpServeOptions): Promise<HttpServer>;
  fetch(request: Request): Promise<Response>;
  /** Resolves when open; rejects with {@link NetError} `refused`, `timeout` or `other`. */
  webSocket(url: string, handler: WebSocketHandler, timeoutMs: number): Promise<WebSocketPeer>;
}

export interface HttpServeOptions {
  readonly host: string;
  readonly port: number;
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** Largest request body in bytes; a larger one is answered 413. */
  readonly bodyBytesMax: number;
  /** Must not reject. */
  readonly fetch: (request: Request, context: HttpContext) => Response | Promise<Response>;
}

/** What one request can be asked beside itself. */
export interface HttpContext {
  /** Address of the client, without a port. */
  readonly remoteHost: string;
  /** Makes it a WebSocket: `fetch` returns the answer as it is. Undefined if none was asked for. */
  upgrade(handler: WebSocketHandler): Response | undefined;
}

export interface HttpServer {
  readonly host: string;
  readonly port: number;
  /** Stops accepting; resolves when requests in flight are answered or `graceMs` is over. */
  stop(graceMs: number): Promise<void>;
}

export interface WebSocketPeer {
  /**
   * Sends one message and returns the bytes that now wait in the runtime's buffer. A caller that
   * sees it grow must stop until it shrinks: {@link WebSocketHandler.drain} or a later send tells.
   */
  send(message: string | Uint8Array): number;
  /** Bytes that wait to be sent. */
  readonly bufferedBytes: number;
  close(code?: number, reason?: string): void;
}

export interface WebSocketHandler {
  open(peer: WebSocketPeer): void;
  message(peer: WebSocketPeer, message: string | Uint8Array): void;
  /** The runtime's buffer has room again, where the runtime tells; never required. */
  drain?(peer: WebSocketPeer): void;
  close(peer: WebSocketPeer, code: number, reason: string): void;
}

// ---------------------------------------------------------------------------------------------
// Clock, random

export interface Clock {
  /** Milliseconds, with a fraction, from an arbitrary start; never goes back. */
  monotonicMs(): number;
  /** Milliseconds since 1970; may jump. */
  wallMs(): number;
  /**
   * Calls `callback(argument)` once, not before `delayMs` have passed. Delays above 2^31-1 ms are
   * honoured. One timer needs no closure: the argument is the state.
   */
  timer<A>(delayMs: number, callback: (argument: A) => void, argument: A): Timer;
}

export interface Timer {
  /** After this the callback will not run. Cancelling twice, or late, does nothing. */
  cancel(): void;
}

export interface Random {
  /** Fills with bytes of cryptographic quality (seeded on the sim). */
  fill(target: Uint8Array): void;
}

// ---------------------------------------------------------------------------------------------
// Disk

/** Files. Paths are absolute or relative to the working directory. Failures are DiskErrors. */
export interface Disk {
  open(path: string, options: OpenOptions): Promise<DiskFile>;
  /** The whole file; `too-large` above `bytesMax`. */
  readFile(path: string, bytesMax: number): Promise<Uint8Array>;
  /** A crash leaves the old or the new content: temporary file, sync, rename, directory sync. */
  replaceFile(path: string, bytes: Uint8Array, mode?: number): Promise<void>;
  /** Atomic; durable only after `syncDirectory` of the folder. Replaces what is at `to`. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; `not-found` when there is none. */
  remove(path: string): Promise<void>;
  /** Removes a folder and all that is in it. */
  removeTree(path: string): Promise<void>;
  /** Names in a folder, sorted, without `.` and `..`. */
  list(path: string): Promise<string[]>;
  /** Creates the folder and its parents; no error when it exists. */
  makeDirectory(path: string, mode?: number): Promise<void>;
  stat(path: string): Promise<DiskStat>;
  /** Makes creations, renames and removals in this folder durable. */
  syncDirectory(path: string): Promise<void>;
  /**
   * Takes the exclusive lock on a file (created when missing) that the kernel releases when the
   * process ends, however it ends: flock(2). `busy` when somebody holds it.
   */
  lock(path: string): Promise<DiskLock>;
  /** Bytes that this process may still write on the file system of `path`. */
  freeBytes(path: string): Promise<number>;
}

export interface OpenOptions {
  readonly read?: boolean;
  readonly write?: boolean;
  /** Create when missing. */
  readonly create?: boolean;
  /** With `create`: fail with `exists` when it is there. */
  readonly exclusive?: boolean;
  readonly truncate?: boolean;
  /** O_DSYNC: a write resolves when its bytes are durable. What a failed one left is unknown. */
  readonly durable?: boolean;
  /** Permission bits of a new file, default 0o600. */
  readonly mode?: number;
}

export interface DiskFile {
  /** Reads up to `target.length` bytes at `position`; fewer only at the end of the file. */
  read(target: Uint8Array, position: number): Promise<number>;
  /** Writes all bytes at `position`, durable after `sync`. The array must not change meanwhile. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Writes all bytes at the end of the file. Same rules as `write`. */
  append(bytes: Uint8Array): Promise<void>;
  /** Length in bytes. */
  size(): Promise<number>;
  truncate(size: number): Promise<void>;
  /** fdatasync(2) off the event loop: on success everything written before the call is durable. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface DiskStat {
  readonly kind: "file" | "directory" | "other";
  readonly sizeBytes: number;
  /** Permission bits, 0o600 and the like. */
  readonly mode: number;
}

export interface DiskLock {
  release(): Promise<void>;
}

export type DiskErrorKind =
  | "not-found"
  | "exists"
  | "denied"
  | "full"
  | "busy"
  | "too-large"
  | "not-a-directory"
  | "is-a-directory"
  | "limit"
  | "io";

/**
 * What goes wrong on a disk. With `limit` there was no descriptor to open with, and nothing changed.
 * `io` covers every failure that has no name of its own.
 */
export class DiskError extends Error {
  override name = "DiskError";
  readonly kind: DiskErrorKind;
  readonly path: string;
  constructor(kind: DiskErrorKind, path: string, message: string, cause?: unknown) {
    super(`${path}: ${message}`, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.path = path;
  }
}

// ---------------------------------------------------------------------------------------------
// Host

export type SignalName = "SIGTERM" | "SIGINT" | "SIGHUP";

/** The process and the machine around it. */
export interface Host {
  /** Command line arguments after the program's own name. */
  readonly args: readonly string[];
  readonly pid: number;
  readonly hostname: string;
  /** "x64" or "arm64". */
  readonly architecture: string;
  /** The file that runs now: an engine, or the compiled binary. */
  readonly executable: string;
  /** The working directory when read, absolute. */
  readonly directory: string;
  environment(name: string): string | undefined;
  /** Names of variables that begin with `prefix`; needs the permission to list them on Deno. */
  environmentNames(prefix: string): string[];
  onSignal(name: SignalName, callback: () => void): Subscription;
  memory(): MemoryUsage;
  /** Much was dropped: the engine may collect it beside the rest; `all`: what is old, too. */
  collectGarbage(all?: boolean): void;
  /** The process's limit of open descriptors, read once. */
  readonly descriptorsMax: number;
  /** Whether standard output or error is a terminal. */
  isTerminal(stream: "stdin" | "stdout" | "stderr"): boolean;
  /** Standard output; resolves when written. Rejects with NetError `reset` on a broken pipe. */
  stdout(text: string | Uint8Array): Promise<void>;
  /** Calls once the pipe has no reader any more; absent where the engine has no event for it. */
  readonly onStdoutClosed?: (listener: () => void) => Subscription;
  /** Standard error, for notes and logs: written before this returns, failures ignored. */
  stderr(text: string): void;
  /** Standard input in pieces, until its end. */
  stdin(): AsyncIterable<Uint8Array>;
  spawn(options: SpawnOptions): Promise<Child>;
  /** Ends the process now. On the sim it ends the node. */
  exit(code: number): never;
}

export interface Subscription {
  cancel(): void;
}

export interface MemoryUsage {
  readonly rssBytes: number;
  readonly heapUsedBytes: number;
  readonly heapTotalBytes: number;
}

export interface SpawnOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment of the child; default: this process's. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly directory?: string;
  /** Called with what the child prints; `chunk` is only valid during the call. */
  readonly stdout?: (chunk: Uint8Array) => void;
  readonly stderr?: (chunk: Uint8Array) => void;
  /** Keep a pipe to the child's standard input for `write`; otherwise it is empty. */
  readonly stdin?: boolean;
}

export interface Child {
  readonly pid: number;
  write(bytes: Uint8Array): Promise<void>;
  closeStdin(): void;
  kill(signal: SignalName | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void;
  /** Resolves after the child ended and all of its output was handed over. */
  readonly exit: Promise<ChildExit>;
}

export interface ChildExit {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly signal: string | null;
}
