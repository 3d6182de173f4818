/** A connection handler that writes down what happens and lets a case wait for it. */
import assert from "node:assert/strict";
import type { Address } from "../../src/base/address.ts";
import { concatBytes, encodeText } from "../../src/base/bytes.ts";
import type {
  Connection,
  ConnectionHandler,
  ConnectOptions,
  Listener,
  ListenOptions,
  NetError,
  Runtime,
  TlsOptions,
} from "../../src/runtime/port.ts";
import { within } from "./harness.ts";

/** One side of one connection, in the connection's state slot. */
export class Side {
  /** Callbacks in the order they came: `open`, `data` once a run, `drain`, `end`, `close`. */
  readonly events: string[] = [];
  readonly chunks: Uint8Array[] = [];
  received = 0;
  error: NetError | undefined = undefined;
  connection!: Connection<Side>;
  /** Bytes that wait for `drain`, with {@link send}. */
  #rest: Uint8Array | undefined;
  #drained: (() => void) | undefined;

  bytes(): Uint8Array {
    return concatBytes(this.chunks);
  }

  count(event: string): number {
    return this.events.filter((name) => name === event).length;
  }

  /** Writes all of it, waiting for `drain` where the connection takes less. */
  send(bytes: Uint8Array): Promise<void> {
    assert.equal(this.#rest, undefined, "one send at a time");
    return new Promise((resolve) => {
      this.#rest = bytes;
      this.#drained = resolve;
      this.pump();
    });
  }

  pump(): void {
    while (this.#rest !== undefined) {
      const taken = this.connection.write(this.#rest);
      assert.ok(taken >= 0 && taken <= this.#rest.length, `write took ${taken}`);
      if (taken < this.#rest.length) {
        this.#rest = this.#rest.subarray(taken);
        return;
      }
      this.#rest = undefined;
      this.#drained?.();
    }
  }
}

/** What a probe does beside writing down. */
export interface Hooks {
  open?(side: Side): void;
  data?(side: Side, chunk: Uint8Array): void;
  end?(side: Side): void;
  /** Do not keep the bytes, for cases that count megabytes. */
  discard?: boolean;
}

/** Handler, record and waiting room in one. */
export class Probe implements ConnectionHandler<Side> {
  readonly sides: Side[] = [];
  readonly #runtime: Runtime;
  readonly #hooks: Hooks;
  #waiters: (() => void)[] = [];

  constructor(runtime: Runtime, hooks: Hooks = {}) {
    this.#runtime = runtime;
    this.#hooks = hooks;
  }

  #note(connection: Connection<Side>, event: string): Side {
    const side = connection.state;
    if (event !== "data" || side.events.at(-1) !== "data") side.events.push(event);
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
    return side;
  }

  open(connection: Connection<Side>): void {
    connection.state.connection = connection;
    this.sides.push(connection.state);
    const side = this.#note(connection, "open");
    this.#hooks.open?.(side);
  }

  data(connection: Connection<Side>, chunk: Uint8Array): void {
    assert.ok(chunk.length > 0, "a chunk is never empty");
    const side = connection.state;
    side.received += chunk.length;
    if (!this.#hooks.discard) side.chunks.push(chunk.slice());
    this.#note(connection, "data");
    this.#hooks.data?.(side, chunk);
  }

  drain(connection: Connection<Side>): void {
    this.#note(connection, "drain").pump();
  }

  end(connection: Connection<Side>): void {
    const side = this.#note(connection, "end");
    this.#hooks.end?.(side);
  }

  close(connection: Connection<Side>, error?: NetError): void {
    connection.state.error = error;
    this.#note(connection, "close");
  }

  /** Waits until the condition holds; it is asked again after every callback. */
  until(what: string, condition: () => boolean, ms?: number): Promise<void> {
    const wait = async (): Promise<void> => {
      while (!condition()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    };
    return within(this.#runtime, what, wait(), ms);
  }

  /** Waits for the side with this number, in the order of their opening. */
  async side(index = 0): Promise<Side> {
    await this.until(`connection ${index} to open`, () => this.sides.length > index);
    return this.sides[index];
  }
}

/** Listener options with the values that most cases want. */
export function listenOn(
  address: Address,
  probe: Probe,
  more: Partial<ListenOptions<Side>> = {},
): ListenOptions<Side> {
  return { address, handler: probe, state: () => new Side(), connectionsMax: 100, ...more };
}

/** A free TCP port on loopback. */
export const anyTcp: Address = { kind: "tcp", host: "127.0.0.1", port: 0 };

/** Dials; what happens goes to the probe. */
export async function connectTo(
  runtime: Runtime,
  address: Address,
  probe: Probe,
  more: Partial<ConnectOptions<Side>> = {},
): Promise<Side> {
  const connection = await runtime.net.connect({
    address,
    handler: probe,
    state: new Side(),
    timeoutMs: 10_000,
    ...more,
  });
  return connection.state;
}

/** A listener, and one connection to it seen from both ends. */
export interface Pair {
  readonly listener: Listener;
  readonly server: Probe;
  readonly client: Probe;
  readonly near: Side;
  readonly far: Side;
}

/** Connects a pair; `near` dialled, `far` was accepted. */
export async function connectPair(
  runtime: Runtime,
  address: Address,
  options: {
    serverHooks?: Hooks;
    clientHooks?: Hooks;
    serverTls?: TlsOptions;
    clientTls?: TlsOptions;
  } = {},
): Promise<Pair> {
  const server = new Probe(runtime, options.serverHooks);
  const client = new Probe(runtime, options.clientHooks);
  const listener = await runtime.net.listen(
    listenOn(address, server, { tls: options.serverTls }),
  );
  const near = await connectTo(runtime, listener.address, client, { tls: options.clientTls });
  return { listener, server, client, near, far: await server.side() };
}

/** Text as bytes, short enough for a case's line. */
export const text = encodeText;
