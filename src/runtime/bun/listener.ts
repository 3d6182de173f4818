/// <reference types="npm:bun-types@1.4.5" />
/** Accepting: limits, unix socket files, peer credentials and renewal of certificates. */
import fs from "node:fs";
import process from "node:process";
import { type Address, formatAddress } from "../../base/address.ts";
import { freeName } from "../free_name.ts";
import {
  type Clock,
  type ConnectionHandler,
  handshakeMsDefault,
  keepAliveMs,
  type Listener,
  type ListenOptions,
  NetError,
  type Timer,
  type TlsOptions,
} from "../port.ts";
import { BunConnection, type BunSocket, handler, type Owner, type Slot } from "./connection.ts";
import { type CredentialsReader, loadCredentialsReader } from "./credentials.ts";
import { unixName } from "./dial.ts";
import { codeOf, netError, ownError } from "./error.ts";
import { duplicate, openLibc } from "./libc.ts";
import { serverTls, verifiedCertificate } from "./tls.ts";

/** What listeners share. */
export interface ListenContext {
  readonly clock: Clock;
  /**
   * Above this descriptor number a new socket is closed again. The kernel hands out the lowest
   * free number, so a number near the limit means that all below are taken, by whatever. At the
   * limit itself Bun's accept would spin on EMFILE at 100 % CPU without a callback (tried).
   */
  readonly descriptorMax: number;
}

/** Starts to accept; see the port. */
export async function listen<S>(
  context: ListenContext,
  options: ListenOptions<S>,
): Promise<Listener> {
  const name = formatAddress(options.address);
  const address = options.address;
  if (address.kind === "vsock") {
    throw new NetError("unsupported", `listen on ${name}: Bun has no vsock`);
  }
  if (options.credentials && address.kind === "tcp") {
    throw new NetError("unsupported", `listen on ${name}: TCP has no peer credentials`);
  }
  const reader = options.credentials ? loadCredentialsReader() : undefined;
  if (address.kind === "unix") await clearStale(address.path);
  return new BunListener(context, options, reader);
}

class BunListener<S> implements Listener, Slot, Owner<S> {
  readonly address: Address;
  readonly handler: ConnectionHandler<S>;
  connections = 0;
  refused = 0;
  handshakesFailed = 0;
  readonly #context: ListenContext;
  readonly #options: ListenOptions<S>;
  readonly #reader: CredentialsReader | undefined;
  #tls: TlsOptions | undefined;
  #server: Bun.SocketListener<Slot> | undefined;
  /** Inode of the socket file, so that `stop` never removes somebody else's. */
  #inode = 0n;
  /** Accepted sockets whose handshake is under way, and what cuts it; they count as well. */
  readonly #handshakes = new Map<BunConnection<S>, Timer>();

  constructor(
    context: ListenContext,
    options: ListenOptions<S>,
    reader: CredentialsReader | undefined,
  ) {
    this.#context = context;
    this.#options = options;
    this.#reader = reader;
    this.#tls = options.tls;
    this.handler = options.handler;
    this.#server = this.#bind(options.address);
    this.address = options.address.kind === "tcp"
      ? { ...options.address, port: (this.#server as Bun.TCPSocketListener<Slot>).port }
      : options.address;
  }

  #bind(address: Address): Bun.SocketListener<Slot> {
    const common = this.#common(this.#tls);
    try {
      if (address.kind === "tcp") {
        return Bun.listen<Slot>({ ...common, hostname: address.host, port: address.port });
      }
      if (address.kind === "unix") return this.#bindFile(address.path, common);
      return Bun.listen<Slot>({ ...common, unix: unixName(address) });
    } catch (error) {
      const failure = ownError(netError(error, `listen on ${formatAddress(address)}`));
      // Bun has no code for a host name that cannot be looked up.
      if (codeOf(error) !== "") throw failure;
      throw new NetError("invalid", failure.message, error);
    }
  }

  #bindFile(path: string, common: Bun.SocketOptions<Slot>): Bun.SocketListener<Slot> {
    const mode = this.#options.mode ?? 0o600;
    // The umask closes the moment between bind and chmod to others. It belongs to the whole process:
    // a folder that another thread makes meanwhile must stay its owner's.
    const mask = process.umask(0o077 & ~mode);
    let server: Bun.SocketListener<Slot>;
    try {
      server = Bun.listen<Slot>({ ...common, unix: path });
    } finally {
      process.umask(mask);
    }
    try {
      fs.chmodSync(path, mode);
      this.#inode = fs.statSync(path, { bigint: true }).ino;
    } catch (error) {
      server.stop(true);
      throw error;
    }
    return server;
  }

  #common(tls: TlsOptions | undefined): Bun.SocketOptions<Slot> & { tls?: Bun.TLSOptions } {
    return {
      socket: handler,
      data: this,
      allowHalfOpen: true,
      tls: tls === undefined ? undefined : serverTls(tls),
    };
  }

  renewTls(tls: TlsOptions): void {
    const before = this.#server;
    if (before === undefined) return;
    const name = formatAddress(this.address);
    if (this.#tls === undefined) throw new NetError("invalid", `${name} listens without TLS`);
    // Bun's reload ignores new certificates (tried). Closing the socket and listening anew would
    // reset the dials that wait in its backlog (tried), so a second descriptor keeps it open.
    const { fd } = before as unknown as { fd?: number };
    const copy = fd === undefined ? -1 : openLibc()?.fcntl(fd, duplicate, 0) ?? -1;
    if (copy < 0) return this.#listenAnew(before, tls);
    try {
      const options = { ...this.#common(tls), fd: copy };
      // `listen` takes a descriptor as `connect` does, though its types do not say so.
      this.#server = Bun.listen<Slot>(options as unknown as Bun.UnixSocketOptions<Slot>);
    } catch (error) {
      fs.closeSync(copy);
      throw ownError(netError(error, `renew TLS of ${name}`));
    }
    this.#tls = tls;
    this.#close(before);
  }

  /** Renewal where the C library is out of reach. */
  #listenAnew(server: Bun.SocketListener<Slot>, tls: TlsOptions): void {
    const before = this.#tls;
    this.#close(server);
    this.#removeFile();
    try {
      this.#tls = tls;
      this.#server = this.#bind(this.address);
    } catch (error) {
      this.#tls = before;
      this.#server = this.#bind(this.address);
      throw error;
    }
  }

  stop(): void {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    this.#close(server);
    this.#removeFile();
  }

  /** Closes a listening socket and leaves the file that bears its name. */
  #close(server: Bun.SocketListener<Slot>): void {
    if (this.address.kind !== "unix") return server.stop(false);
    // Bun removes whatever bears the name (tried), also a successor's socket. It steps aside.
    const { path } = this.address;
    const aside = freeName(path, isThere);
    const there = renamed(path, aside);
    server.stop(false);
    if (there) renamed(aside, path);
  }

  #removeFile(): void {
    if (this.address.kind !== "unix") return;
    const { path } = this.address;
    const inode = fs.lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
    if (inode === this.#inode) fs.rmSync(path, { force: true });
  }

  // -------------------------------------------------------------------------------------------
  // Slot, for a socket that was just accepted

  opened(socket: BunSocket): void {
    const full = this.connections + this.#handshakes.size >= this.#options.connectionsMax;
    if (full || (socket.fd ?? 0) > this.#context.descriptorMax || this.#server === undefined) {
      if (this.#server !== undefined) this.refused++;
      if (this.#tls === undefined) socket.end();
      else socket.terminate();
      return;
    }
    const connection = new BunConnection<S>(socket, this);
    if (this.address.kind === "tcp") socket.setKeepAlive(true, keepAliveMs);
    if (this.#tls !== undefined) {
      // Bun's own timeouts go in steps of 4 s.
      const timer = this.#context.clock.timer(
        this.#options.handshakeMs ?? handshakeMsDefault,
        cut<S>,
        connection,
      );
      this.#handshakes.set(connection, timer);
      return;
    }
    this.connections++;
    const credentials = this.#reader?.(socket.fd ?? -1);
    connection.open(this.#options.state, undefined, credentials);
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
    let certificate: BunConnection<S>["certificate"];
    try {
      certificate = verifiedCertificate(connection.socket, error, this.#tls!, undefined);
    } catch {
      // Counted in `gone`; whoever cannot show a good certificate gets no explanation.
      return connection.abort();
    }
    this.#handshakeOver(connection);
    this.connections++;
    const credentials = this.#reader?.(connection.socket.fd ?? -1);
    connection.open(this.#options.state, certificate, credentials);
  }

  #handshakeOver(connection: BunConnection<S>): void {
    this.#handshakes.get(connection)?.cancel();
    this.#handshakes.delete(connection);
  }

  gone(connection: BunConnection<S>, opened: boolean): void {
    if (opened) {
      this.connections--;
    } else {
      this.#handshakeOver(connection);
      this.handshakesFailed++;
    }
  }
}

function cut<S>(connection: BunConnection<S>): void {
  connection.abort();
}

/** Renames where possible, and tells whether it was. */
function renamed(from: string, to: string): boolean {
  try {
    fs.renameSync(from, to);
    return true;
  } catch {
    // It is gone, or the folder is not ours to change any more; either way it cannot be kept.
    return false;
  }
}

function isThere(path: string): boolean {
  return fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Removes a unix socket file that nobody answers on any more. */
async function clearStale(path: string): Promise<void> {
  let stat;
  try {
    stat = fs.lstatSync(path);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return;
    throw netError(error, `listen on unix:${path}`);
  }
  // Only a socket is ours to remove; the bind will say "in use" of anything else.
  if (!stat.isSocket()) return;
  try {
    const socket = await Bun.connect({ unix: path, socket: { data() {} } });
    socket.end();
    throw new NetError("in-use", `listen on unix:${path}: somebody answers on it`);
  } catch (error) {
    const kind = netError(error, `listen on unix:${path}`).kind;
    if (kind === "in-use") throw error;
    if (kind !== "refused") return;
  }
  // Somebody may have taken it over meanwhile: then it is theirs.
  if (fs.lstatSync(path, { throwIfNoEntry: false })?.ino !== stat.ino) return;
  fs.rmSync(path, { force: true });
}

/** The last descriptor number that sockets may have: some stay free for files and children. */
export function descriptorMaxFor(descriptorsMax: number): number {
  return descriptorsMax - Math.min(spareDescriptors, Math.floor(descriptorsMax / 4));
}

const spareDescriptors = 64;

/** The process's limit of open descriptors; Bun raises the soft limit to the hard one at start. */
export function readDescriptorsMax(): number {
  try {
    const line = /^Max open files\s+(\d+|unlimited)/m.exec(
      fs.readFileSync("/proc/self/limits", "utf8"),
    );
    if (line !== null && line[1] !== "unlimited") return Number(line[1]);
  } catch {
    // No /proc: a system whose default is known to be low.
  }
  return process.platform === "darwin" ? 10_240 : 1024;
}
