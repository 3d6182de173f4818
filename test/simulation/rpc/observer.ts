/**
 * Stands between a node and the seam's network: knows every connection of both sides, checks the
 * wire's rules frame by frame and the memory's bounds event by event, and marks what was reached.
 * It changes nothing: the node sees the same calls in the same order.
 */
import type {
  Connection,
  ConnectionHandler,
  ConnectOptions,
  Listener,
  ListenOptions,
  NetError,
  Runtime,
} from "../../../src/runtime/port.ts";
import type { SimConnection } from "../../../src/runtime/sim/connection.ts";
import type { SimProcess } from "../../../src/runtime/sim/process.ts";
import type { Simulation } from "../../../src/runtime/sim/simulation.ts";
import type { RpcCounters } from "../../../src/ttrpc/counters.ts";
import { checkBounds } from "./bounds.ts";
import type { LinkInside } from "./inside.ts";
import type { Ledger } from "./ledger.ts";
import type { Mark } from "./marks.ts";
import type { Whereabouts } from "./service.ts";
import { WireRules } from "./wire_rules.ts";

/** One connection of a node, as long as it is open. */
export interface Watched {
  readonly link: LinkInside;
  readonly side: "client" | "server";
  /** The peer is the one that breaks the rules on purpose. */
  readonly malformed: boolean;
  /** No fault ever met it. */
  readonly calm: boolean;
  readonly name: string;
  readonly connection: Any;
  /** By the machine's clock. */
  heardMs: number;
  paused: boolean;
}

/**
 * The other side went without a word, by power loss or by a reset that a cut swallowed, and plain
 * ttrpc has no way to ask whether it lives: only a write, or TCP's own keepalive, would notice.
 */
export function isHalfOpen({ link, connection }: Watched): boolean {
  const end = connection as unknown as SimConnection<object>;
  const gone = end.other.process.dead || end.other.phase === "ended";
  return !link.machine.extended && gone && !end.endReceived;
}

export interface ObserverParts {
  readonly simulation: Simulation;
  readonly ledger: Ledger;
  readonly runtime: Runtime;
  readonly process: SimProcess;
  /** Address of the malformed peer. */
  readonly malformedHost: string;
  /** No fault begins any more. */
  readonly isCalm: () => boolean;
}

type Any = Connection<object>;

export class Observer {
  readonly parts: ObserverParts;
  readonly open: Set<Watched> = new Set();
  readonly runtime: Runtime;
  /** Of the node that runs now, its server's and its channels'. */
  readonly counters: Set<RpcCounters> = new Set();
  readonly #byLink: WeakMap<object, Watched> = new WeakMap();
  /** Addresses that were reached before: the next dial is a redial. */
  readonly #reached: Set<string> = new Set();
  #whereabouts: Whereabouts = { link: {}, streamId: 0, malformed: false };

  constructor(parts: ObserverParts) {
    this.parts = parts;
    const { net } = parts.runtime;
    this.runtime = {
      ...parts.runtime,
      net: {
        listen: <S>(options: ListenOptions<S>): Promise<Listener> =>
          net.listen({ ...options, handler: this.#wrap(options.handler, "server") }),
        connect: <S>(options: ConnectOptions<S>): Promise<Connection<S>> => {
          const address = JSON.stringify(options.address);
          if (this.#reached.has(address)) this.mark("redial");
          const handler = this.#wrap(options.handler, "client");
          const open = handler.open;
          return net.connect({
            ...options,
            handler: {
              ...handler,
              open: (connection) => {
                this.#reached.add(address);
                open(connection);
              },
            },
          });
        },
        bindUdp: (options) => net.bindUdp(options),
        resolve: (options) => net.resolve(options),
        inspectTls: (options) => net.inspectTls(options),
      },
    };
  }

  /** Where the handler that begins at this moment was called. */
  get whereabouts(): Whereabouts {
    return this.#whereabouts;
  }

  mark(name: Mark): void {
    this.parts.simulation.mark(name);
  }

  /** Frame by frame, while the machine reads: handlers begin inside of it. */
  within({ link, malformed }: Watched, streamId: number, body: () => void): void {
    this.#whereabouts = { link, streamId, malformed };
    body();
  }

  #wrap<S>(inner: ConnectionHandler<S>, side: "client" | "server"): ConnectionHandler<S> {
    const handler = inner as unknown as ConnectionHandler<object>;
    const wrapped: ConnectionHandler<object> = {
      open: (connection) => {
        this.#watch(connection, side);
        handler.open(connection);
        this.#after(connection);
      },
      data: (connection, chunk) => {
        const watched = this.#byLink.get(connection.state)!;
        watched.heardMs = this.parts.runtime.clock.monotonicMs();
        handler.data(connection, chunk);
        this.#after(connection);
      },
      drain: (connection) => {
        handler.drain(connection);
        this.#after(connection);
      },
      end: (connection) => {
        handler.end(connection);
        this.#after(connection);
      },
      close: (connection, error?: NetError) => {
        const watched = this.#byLink.get(connection.state)!;
        if (watched.link.machine.inFrame) this.mark("half frame at close");
        handler.close(connection, error);
        this.#closed(watched);
      },
    };
    return wrapped as unknown as ConnectionHandler<S>;
  }

  #watch(connection: Any, side: "client" | "server"): void {
    const link = connection.state as unknown as LinkInside;
    const { peer } = connection;
    const host = peer.address.kind === "tcp" ? peer.address.host : "";
    const watched: Watched = {
      link,
      side,
      malformed: side === "server" && host === this.parts.malformedHost,
      calm: this.parts.isCalm(),
      name: `${side} connection of ${this.parts.process.machine.name} with ${host}`,
      heardMs: this.parts.runtime.clock.monotonicMs(),
      connection,
      paused: false,
    };
    this.#byLink.set(link, watched);
    this.counters.add(link.counters);
    this.open.add(watched);
    const pause = connection.pause.bind(connection);
    const resume = connection.resume.bind(connection);
    connection.pause = () => {
      watched.paused = true;
      this.mark(
        link.machine.wantsPause ? "reading paused by a slow reader" : "output paused reading",
      );
      pause();
    };
    connection.resume = () => {
      watched.paused = false;
      watched.heardMs = this.parts.runtime.clock.monotonicMs();
      resume();
    };
    new WireRules(this, watched);
  }

  #after(connection: Any): void {
    const watched = this.#byLink.get(connection.state)!;
    if (watched.link.machine.output.queuedBytes > 0) this.mark("output left after a write");
    checkBounds(watched, this.parts.ledger.verdict);
  }

  #closed(watched: Watched): void {
    this.open.delete(watched);
    const { verdict, executions } = this.parts.ledger;
    const { machine } = watched.link;
    verdict.check(
      machine.callCount === 0 && machine.calls.size === 0,
      "a closed connection holds no call",
      () => `${watched.name}: ${machine.callCount} calls`,
    );
    checkBounds(watched, verdict);
    for (const execution of executions) {
      if (execution.link !== watched.link || execution.signal.aborted) continue;
      verdict.violate("a handler's signal fires when its peer is gone", watched.name);
    }
  }
}
