/** Dialling: bounds, the time limit and the caller's signal. */
import { type Address, formatAddress } from "../../base/address.ts";
import {
  type Connection,
  type ConnectionHandler,
  type ConnectOptions,
  dialsMax,
  dialsPerAddressMax,
  NetError,
} from "../port.ts";
import type { BufferPool } from "./buffers.ts";
import { DenoConnection, type Owner } from "./connection.ts";
import { netError } from "./error.ts";
import type { NetContext } from "./net.ts";
import { netFlag } from "./permission.ts";

/** The path of a unix socket as Deno takes it: abstract names begin with a zero byte. */
export function nativeUnixPath(address: Address): string {
  if (address.kind === "abstract") return `\0${address.name}`;
  return address.kind === "unix" ? address.path : "";
}

/** Counts dials in flight; see the port for the bounds. */
export class DialCounter {
  readonly #perAddress = new Map<string, number>();
  #total = 0;

  begin(name: string): void {
    const here = this.#perAddress.get(name) ?? 0;
    if (here >= dialsPerAddressMax || this.#total >= dialsMax) {
      const reached = here >= dialsPerAddressMax ? `${here} dials to it` : `${this.#total} dials`;
      throw new NetError("limit", `dial ${name}: ${reached} are in flight already`);
    }
    this.#perAddress.set(name, here + 1);
    this.#total++;
  }

  end(name: string): void {
    const left = this.#perAddress.get(name)! - 1;
    if (left === 0) this.#perAddress.delete(name);
    else this.#perAddress.set(name, left);
    this.#total--;
  }
}

/**
 * The time limit and the caller's signal of one dial, which may have several steps. `run` settles
 * with either, whatever the step does.
 */
export class DialLimit {
  readonly name: string;
  readonly #controller = new AbortController();
  readonly #caller: AbortSignal | undefined;
  readonly #timer: ReturnType<typeof setTimeout>;
  #reject: ((error: NetError) => void) | undefined = undefined;
  #error: NetError | undefined = undefined;

  constructor(name: string, timeoutMs: number, caller: AbortSignal | undefined) {
    this.name = name;
    this.#caller = caller;
    const timedOut = (): void =>
      this.#end(new NetError("timeout", `dial ${name}: no answer in ${timeoutMs} ms`));
    this.#timer = setTimeout(timedOut, Math.min(Math.max(Math.ceil(timeoutMs), 0), 2 ** 31 - 1));
    caller?.addEventListener("abort", this.#aborted);
    if (caller?.aborted) this.#aborted();
  }

  readonly #aborted = (): void =>
    this.#end(new NetError("aborted", `dial ${this.name}: aborted`, this.#caller?.reason));

  #end(error: NetError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#reject?.(error);
    this.#controller.abort(error);
  }

  /** Aborted when the dial must end. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Settles like `work`, or with the limit's error as soon as that is reached. */
  run<T>(work: Promise<T>): Promise<T> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      work.then(resolve, reject);
    });
  }

  release(): void {
    clearTimeout(this.#timer);
    this.#caller?.removeEventListener("abort", this.#aborted);
    this.#reject = undefined;
  }
}

/** Dials a plain connection, without a call to the handler yet. */
export async function dialNative(
  context: NetContext,
  address: Address,
  limit: DialLimit,
): Promise<Deno.Conn> {
  const doing = `dial ${limit.name}`;
  if (address.kind === "vsock") {
    throw new NetError("unsupported", `${doing}: Deno has vsock behind an unstable flag only`);
  }
  const dialled = connectNative(context, address, limit.signal);
  try {
    const native = await limit.run(dialled);
    // The limit may have been reached since.
    limit.signal.throwIfAborted();
    return native;
  } catch (error) {
    // A connection that came to be after all is nobody's.
    dialled.then((native) => native.close(), () => {});
    throw netError(error, doing, netFlag(address));
  }
}

async function connectNative(
  context: NetContext,
  address: Address,
  signal: AbortSignal,
): Promise<Deno.Conn> {
  await context.releases();
  signal.throwIfAborted();
  return address.kind === "tcp"
    ? await Deno.connect({ hostname: address.host, port: address.port, signal })
    : await Deno.connect({ transport: "unix", path: nativeUnixPath(address) });
}

/** Runs one dial within its limits: the bound on dials in flight, the time, the caller's signal. */
export async function limited<S, T>(
  context: NetContext,
  options: ConnectOptions<S>,
  dial: (limit: DialLimit) => Promise<T>,
): Promise<T> {
  const name = formatAddress(options.address);
  context.dials.begin(name);
  const limit = new DialLimit(name, options.timeoutMs, options.signal);
  try {
    return await dial(limit);
  } finally {
    limit.release();
    context.dials.end(name);
  }
}

/** Dials a plain connection and opens it; see the port. */
export function connectPlain<S>(
  context: NetContext,
  options: ConnectOptions<S>,
): Promise<Connection<S>> {
  return limited(context, options, async (limit) => {
    const native = await dialNative(context, options.address, limit);
    return openDialled(context, options.address, native, options.handler, options.state);
  });
}

/** Gives a dialled connection to its handler. */
export function openDialled<S>(
  context: NetContext,
  address: Address,
  native: Deno.Conn,
  handler: ConnectionHandler<S>,
  state: S,
): DenoConnection<S> {
  context.countDescriptor();
  const connection = new DenoConnection<S>(native, new DialOwner(context, address, handler));
  connection.open(state);
  return connection;
}

class DialOwner<S> implements Owner<S> {
  readonly address: Address;
  readonly handler: ConnectionHandler<S>;
  readonly pool: BufferPool;
  readonly #context: NetContext;

  constructor(context: NetContext, address: Address, handler: ConnectionHandler<S>) {
    this.#context = context;
    this.pool = context.pool;
    this.address = address;
    this.handler = handler;
  }

  gone(): void {}

  released(): void {
    this.#context.giveDescriptor();
  }
}
