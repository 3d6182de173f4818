/** Accepting: limits, unix socket files and the release of the address at `stop`. */
import { type Address, formatAddress } from "../../base/address.ts";
import { freeName } from "../free_name.ts";
import {
  type ConnectionHandler,
  type Listener,
  type ListenOptions,
  NetError,
  type Peer,
} from "../port.ts";
import type { BufferPool } from "./buffers.ts";
import { DenoConnection, type Owner } from "./connection.ts";
import { nativeUnixPath } from "./dial.ts";
import { netError } from "./error.ts";
import type { NetContext } from "./net.ts";
import { isGranted, netFlag } from "./permission.ts";

/** How long to wait after an accept that failed, mostly for want of descriptors. */
const acceptPauseMs = 100;

type NativeListener = Deno.Listener<Deno.Conn, Deno.Addr>;

/** Starts to accept plain connections; see the port. */
export async function listenPlain<S>(
  context: NetContext,
  options: ListenOptions<S>,
): Promise<DenoListener<S>> {
  const { address } = options;
  const doing = `listen on ${formatAddress(address)}`;
  if (address.kind === "vsock") {
    throw new NetError("unsupported", `${doing}: Deno has vsock behind an unstable flag only`);
  }
  if (options.credentials) {
    throw new NetError("unsupported", `${doing}: Deno does not tell a peer's credentials`);
  }
  await context.releases();
  try {
    if (address.kind === "unix") await clearStale(address.path);
    return new DenoListener(context, options, bind(options));
  } catch (error) {
    throw netError(error, doing, netFlag(address));
  }
}

function bind<S>({ address, mode = 0o600 }: ListenOptions<S>): NativeListener {
  if (address.kind === "tcp") {
    return Deno.listen({ hostname: address.host, port: address.port });
  }
  const path = nativeUnixPath(address);
  if (address.kind !== "unix") return Deno.listen({ transport: "unix", path });
  // The umask closes the moment between bind and chmod to others, where it may be had. It belongs to
  // the whole process: a folder that another thread makes meanwhile must stay its owner's.
  const mask = isGranted({ name: "sys", kind: "umask" as "hostname" })
    ? Deno.umask(0o077 & ~mode)
    : undefined;
  let native: NativeListener;
  try {
    native = Deno.listen({ transport: "unix", path });
  } finally {
    if (mask !== undefined) Deno.umask(mask);
  }
  try {
    Deno.chmodSync(path, mode);
  } catch (error) {
    native.close();
    throw error;
  }
  return native;
}

/** A listener for plain connections; under TLS, the one below. */
export class DenoListener<S> implements Listener, Owner<S> {
  readonly address: Address;
  readonly handler: ConnectionHandler<S>;
  readonly pool: BufferPool;
  connections = 0;
  refused = 0;
  readonly handshakesFailed = 0;
  readonly #context: NetContext;
  readonly #native: NativeListener;
  readonly #connectionsMax: number;
  readonly #state: (peer: Peer) => S;
  /** Inode of the socket file, so that `stop` never removes somebody else's. */
  readonly #inode: number | null;
  readonly #accepting: Promise<void>;
  #stopped = false;

  constructor(context: NetContext, options: ListenOptions<S>, native: NativeListener) {
    this.#context = context;
    this.pool = context.pool;
    this.handler = options.handler;
    this.#native = native;
    this.#connectionsMax = options.connectionsMax;
    this.#state = options.state;
    this.address = options.address.kind === "tcp"
      ? { ...options.address, port: (native.addr as Deno.NetAddr).port }
      : options.address;
    this.#inode = inodeOf(this.address);
    this.#accepting = this.#accept();
  }

  async #accept(): Promise<void> {
    while (!this.#stopped) {
      let native: Deno.Conn;
      try {
        native = await this.#native.accept();
      } catch {
        // Either this listener stopped, or descriptors ran out: then the kernel keeps the peers
        // waiting, and accepting goes on when some came free.
        if (this.#stopped) return;
        await new Promise((resolve) => setTimeout(resolve, acceptPauseMs));
        continue;
      }
      this.#admit(native);
    }
  }

  #admit(native: Deno.Conn): void {
    if (this.#stopped) return native.close();
    if (this.connections >= this.#connectionsMax || !this.#context.takeDescriptor()) {
      this.refused++;
      return native.close();
    }
    this.connections++;
    const connection = new DenoConnection<S>(native, this);
    connection.open(this.#state(connection));
  }

  renewTls(): void {
    throw new NetError("invalid", `${formatAddress(this.address)} listens without TLS`);
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#context.releasing(this.#release());
  }

  /**
   * Deno unlinks whatever bears the name when it lets go of the socket, which is a turn after the
   * pending accept was rejected (tried on 2.9.5). So our own file goes at once, and a successor's
   * steps aside meanwhile.
   */
  async #release(): Promise<void> {
    const { address } = this;
    let aside: string | undefined;
    try {
      if (address.kind === "unix") aside = clearPath(address.path, this.#inode);
    } finally {
      this.#native.close();
    }
    await this.#accepting;
    if (aside !== undefined && address.kind === "unix") Deno.renameSync(aside, address.path);
  }

  gone(): void {
    this.connections--;
  }

  released(): void {
    this.#context.giveDescriptor();
  }
}

/** Inode of a unix socket's file; null for other addresses and when there is none. */
function inodeOf(address: Address): number | null {
  if (address.kind !== "unix") return null;
  try {
    return Deno.lstatSync(address.path).ino;
  } catch {
    return null;
  }
}

/** Removes our own socket file; somebody else's is moved to the name that is returned. */
function clearPath(path: string, own: number | null): string | undefined {
  const inode = inodeOf({ kind: "unix", path });
  if (inode === null) return undefined;
  if (inode === own) {
    Deno.removeSync(path);
    return undefined;
  }
  const aside = freeName(path, (name) => inodeOf({ kind: "unix", path: name }) !== null);
  Deno.renameSync(path, aside);
  return aside;
}

/** Removes a unix socket file that nobody answers on any more. */
async function clearStale(path: string): Promise<void> {
  const before = inodeOf({ kind: "unix", path });
  // Only a socket is ours to remove; the bind will say "in use" of anything else.
  if (before === null || !Deno.lstatSync(path).isSocket) return;
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    // Somebody may have taken it over meanwhile: then it is theirs.
    const refused = error instanceof Deno.errors.ConnectionRefused;
    if (refused && inodeOf({ kind: "unix", path }) === before) Deno.removeSync(path);
    return;
  }
  throw new NetError("in-use", `listen on unix:${path}: somebody answers on it`);
}
