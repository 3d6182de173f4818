/**
 * A ttrpc server: any number of listeners that serve one registry, with common limits. It works
 * alone, without the rest of a node.
 */
import { type Address, formatAddress } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import { anonymous, type Identity } from "../base/identity.ts";
import {
  type Clock,
  type ConnectionHandler,
  type Listener,
  type Net,
  NetError,
  type Peer,
  type Timer,
  type TlsOptions,
} from "../runtime/port.ts";
import { MessageDecoder } from "./codec/decode.ts";
import { MessageEncoder } from "./codec/encode.ts";
import type { CallKind } from "./core/call.ts";
import { RequestReader } from "./core/envelope.ts";
import { BufferPool } from "./core/output.ts";
import { type Route, RouteTable } from "./core/routes.ts";
import { Slab } from "./core/slab.ts";
import { RpcCounters } from "./counters.ts";
import { type RpcLimits, rpcLimitsDefault } from "./limits.ts";
import { type Link, linkHandler, unavailable } from "./link.ts";
import type { ServiceRegistry } from "./registry.ts";
import { type RoutedMethod, ServerLink, type ServerSide } from "./server_link.ts";

export interface RpcServerOptions {
  readonly net: Net;
  readonly clock: Clock;
  readonly registry: ServiceRegistry;
  readonly limits?: Partial<RpcLimits>;
  readonly counters?: RpcCounters;
  /**
   * Decides who a new peer is, before any of its bytes are read; throws or rejects to refuse it.
   * It may take its time without holding up other connections. Default: everybody is anonymous.
   */
  readonly identify?: (peer: Peer) => Identity | Promise<Identity>;
  /** Refuse stream ids that do not increase, exactly as Go does. Default false. */
  readonly strictStreamIds?: boolean;
  /** Agree to the extensions when a covey client offers them. Default true. */
  readonly extensions?: boolean;
  /** Told when a handler throws something that is not a CoveyError. */
  readonly onHandlerError?: (path: string, error: unknown) => void;
  /**
   * Told how long each received chunk held the thread, from reading its frames to the first wait of
   * its handlers, by the clock's monotonic time. The task is `rpc` and the path of the method whose
   * handler was entered last, or `rpc` alone. Called for every chunk: it is to be cheap.
   */
  readonly onTask?: (task: string, startedMs: number, endedMs: number) => void;
}

export interface ServeOptions {
  readonly address: Address;
  readonly tls?: TlsOptions;
  /** Fill the peer's unix credentials; refused where the runtime cannot. */
  readonly credentials?: boolean;
  /** Permission bits of a unix socket's file, default 0o600. */
  readonly mode?: number;
}

/** How often connections are looked at for stalls and signs of life. */
const sweepMs = 1000;
/** Buffers for output, shared by all connections of a server. */
const bufferBytes = 64 << 10;
const buffersFreeMax = 16;

export class RpcServer {
  readonly counters: RpcCounters;
  readonly limits: RpcLimits;
  readonly registry: ServiceRegistry;
  readonly #options: RpcServerOptions;
  readonly #listeners: Set<Listener> = new Set();
  readonly #links: Set<ServerLink> = new Set();
  readonly #side: ServerSide;
  readonly #stopWatching: () => void;
  #routes: RouteTable<RoutedMethod>;
  #sweep: Timer | undefined = undefined;
  /** The goodbye was said. */
  #isLeaving = false;
  #allParted: (() => void) | undefined = undefined;
  #draining: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined =
    undefined;

  constructor(options: RpcServerOptions) {
    this.#options = options;
    this.registry = options.registry;
    this.limits = { ...rpcLimitsDefault, ...options.limits };
    this.counters = options.counters ?? new RpcCounters();
    this.#routes = routesOf(options.registry);
    this.#stopWatching = options.registry.onChange(() => {
      this.#routes = routesOf(options.registry);
    });
    const identify = options.identify ?? (() => anonymous);
    this.#side = {
      clock: options.clock,
      limits: this.limits,
      counters: this.counters,
      machine: {
        limits: this.limits,
        pool: new BufferPool(bufferBytes, buffersFreeMax),
        slab: new Slab(),
        reader: new RequestReader(),
        routes: () => this.#routes,
        strictStreamIds: options.strictStreamIds ?? false,
        extensions: options.extensions ?? true,
      },
      encoder: new MessageEncoder(false),
      decoder: new MessageDecoder(),
      identify,
      opened: (link) => this.#opened(link),
      gone: (link) => this.#gone(link),
      parted: () => this.#parted(),
      handlerFailed: (path, error) => options.onHandlerError?.(path, error),
      onTask: options.onTask,
    };
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#links.size;
  }

  /**
   * Starts to accept on one more address; the answer has the real port. Rejects with
   * `permission_denied` where the system forbids it, else with `failed_precondition`.
   */
  async listen(options: ServeOptions): Promise<Listener> {
    if (this.#isDraining) throw shuttingDown();
    const listener = await this.#bind(options);
    if (this.#isDraining) {
      listener.stop();
      throw shuttingDown();
    }
    this.#listeners.add(listener);
    return listener;
  }

  async #bind(options: ServeOptions): Promise<Listener> {
    try {
      return await this.#options.net.listen<Link<never>>({
        address: options.address,
        tls: options.tls,
        credentials: options.credentials,
        mode: options.mode,
        connectionsMax: this.limits.connectionsPerListenerMax,
        handshakeMs: this.limits.handshakeMs,
        handler: linkHandler as unknown as ConnectionHandler<Link<never>>,
        state: (peer) => new ServerLink(this.#side, peer) as unknown as Link<never>,
      });
    } catch (error) {
      throw cannotListen(options.address, error);
    }
  }

  /**
   * Before the stop: no new connections, and covey clients make their next calls elsewhere. What
   * they sent until they knew is taken yet; other clients' new calls are answered `unavailable`.
   * Resolves when it has come, or when the time is over.
   */
  async announce(limitMs: number): Promise<void> {
    for (const listener of this.#listeners) listener.stop();
    this.#isLeaving = true;
    for (const link of [...this.#links]) link.announce();
    if (!this.#isParting) return;
    let limit: Timer | undefined;
    await new Promise<void>((resolve) => {
      this.#allParted = resolve;
      limit = this.#options.clock.timer(limitMs, resolve, undefined);
    });
    limit?.cancel();
  }

  get #isParting(): boolean {
    for (const link of this.#links) if (link.isParting) return true;
    return false;
  }

  #parted(): void {
    if (!this.#isParting) this.#allParted?.();
  }

  /**
   * Stops: no new connections, new calls are answered `unavailable`, calls in flight finish.
   * Resolves when all did, or after `graceMs`, when what is left is cut off.
   */
  async stop(graceMs: number): Promise<void> {
    if (this.#draining === undefined) {
      let resolve = (): void => {};
      const promise = new Promise<void>((done) => resolve = done);
      this.#draining = { promise, resolve };
      for (const listener of this.#listeners) listener.stop();
      for (const link of [...this.#links]) link.drain();
      this.#parted();
      const deadline = this.#options.clock.timer(graceMs, (server) => server.#cutOff(), this);
      if (this.#links.size === 0) resolve();
      await promise;
      deadline.cancel();
      this.#sweep?.cancel();
      this.#sweep = undefined;
      this.#stopWatching();
    }
    await this.#draining.promise;
  }

  get #isDraining(): boolean {
    return this.#draining !== undefined;
  }

  #gone(link: ServerLink): void {
    this.#links.delete(link);
    this.#parted();
    if (this.#links.size === 0) this.#draining?.resolve();
  }

  #opened(link: ServerLink): void {
    this.#links.add(link);
    if (this.#links.size > this.limits.connectionsMax) {
      this.counters.limitHits.connections++;
      this.counters.connectionsRefusedTotal++;
      link.refuse(unavailable("the server has too many connections"));
    } else if (this.#isLeaving || this.#isDraining) {
      link.drain();
    }
    this.#sweep ??= this.#options.clock.timer(sweepMs, sweepServer, this);
  }

  #cutOff(): void {
    for (const link of [...this.#links]) {
      link.refuse(unavailable("the server shut down before the call finished"));
    }
    this.#draining?.resolve();
  }

  /** The timer's work; public only for the timer. */
  sweep(): void {
    this.#sweep = undefined;
    const nowMs = this.#options.clock.monotonicMs();
    for (const link of [...this.#links]) link.sweep(nowMs);
    if (this.#links.size > 0) {
      this.#sweep = this.#options.clock.timer(sweepMs, sweepServer, this);
    }
  }
}

function shuttingDown(): CoveyError {
  return new CoveyError(Code.failedPrecondition, "the server is shutting down");
}

/** Why an address cannot be served; what is no NetError is a bug and passes through. */
function cannotListen(address: Address, error: unknown): unknown {
  if (!(error instanceof NetError)) return error;
  const code = error.kind === "denied" ? Code.permissionDenied : Code.failedPrecondition;
  const why = error.kind === "in-use"
    ? "another process listens there already; stop that one, or choose another address"
    : error.message;
  return new CoveyError(code, `cannot listen on ${formatAddress(address)}: ${why}`, {
    cause: error,
  });
}

function sweepServer(server: RpcServer): void {
  server.sweep();
}

function routesOf(registry: ServiceRegistry): RouteTable<RoutedMethod> {
  const routes: Route<RoutedMethod>[] = [];
  for (const service of registry.services()) {
    for (const descriptor of service.methods) {
      const target = {
        ...registry.method(service.typeName, descriptor.name)!,
        task: `rpc ${service.typeName}/${descriptor.name}`,
      };
      const kind = ((descriptor.methodKind === "client_streaming" ||
          descriptor.methodKind === "bidi_streaming"
        ? 1
        : 0) |
        (descriptor.methodKind === "server_streaming" ||
            descriptor.methodKind === "bidi_streaming"
          ? 2
          : 0)) as CallKind;
      routes.push({ service: service.typeName, method: descriptor.name, kind, target });
    }
  }
  return new RouteTable(routes);
}
