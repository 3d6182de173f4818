/**
 * DNS over TCP, RFC 7766: each message has its length in two bytes before it. Questions are answered
 * in the order in which they come. A client that does not read its answers is not read from, and one
 * that takes too long for either loses its connection.
 */
import type { Clock, Connection, ConnectionHandler, Timer } from "../runtime/port.ts";
import type { DnsCounters } from "./counters.ts";
import { type DnsOptions, tcpInputBytesMax, tcpQuestionBytesMax } from "./options.ts";

/** What a connection needs of the server. */
export interface TcpParts {
  readonly clock: Clock;
  readonly counters: DnsCounters;
  readonly options: DnsOptions;
  /** Undefined for what is not answered at all. */
  answer(question: Uint8Array): Uint8Array | undefined;
  opened(client: TcpClient): void;
  /** Told once, when the connection is gone. */
  closed(client: TcpClient): void;
}

const nothing = new Uint8Array(0);
/** Questions that are answered before others have their turn: an answer may name 256 members. */
const questionsPerTurnMax = 4;

/** The state slot of one connection. */
export class TcpClient {
  readonly #parts: TcpParts;
  #connection: Connection<TcpClient> | undefined;
  /** What came and is not answered yet. */
  #input: Uint8Array = nothing;
  /** The rest of an answer that the kernel did not take. */
  #output: Uint8Array = nothing;
  #questions = 0;
  #ended = false;
  #paused = false;
  #progressMs = 0;
  #timer: Timer | undefined;
  /** Questions are at hand that wait for the next turn. */
  #turn: Timer | undefined;

  constructor(parts: TcpParts) {
    this.#parts = parts;
  }

  open(connection: Connection<TcpClient>): void {
    this.#connection = connection;
    this.#parts.opened(this);
    this.#progressMs = this.#parts.clock.monotonicMs();
    this.#watch(this.#parts.options.tcpIdleMs);
  }

  data(chunk: Uint8Array): void {
    if (this.#input.length + chunk.length > tcpInputBytesMax) return this.cut();
    const joined = new Uint8Array(this.#input.length + chunk.length);
    joined.set(this.#input);
    joined.set(chunk, this.#input.length);
    this.#input = joined;
    this.#work();
  }

  drained(): void {
    this.#flush();
    this.#work();
  }

  /** The client has no more questions; those that it asked are still answered. */
  ended(): void {
    this.#ended = true;
    this.#work();
  }

  closed(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#turn?.cancel();
    this.#connection = undefined;
    this.#input = nothing;
    this.#output = nothing;
    this.#parts.closed(this);
  }

  /** The server stops. */
  stop(): void {
    this.#connection?.abort();
  }

  /** Ends a connection for what it did. */
  cut(): void {
    this.#parts.counters.tcpClosed++;
    this.#connection?.abort();
  }

  #work(): void {
    const connection = this.#connection;
    if (connection === undefined || this.#turn !== undefined) return;
    let left = questionsPerTurnMax;
    const { answer, options } = this.#parts;
    const { tcpQuestionsMax } = options;
    while (this.#output.length === 0 && this.#input.length >= 2) {
      if (this.#questions >= tcpQuestionsMax) {
        this.#parts.counters.tcpClosed++;
        return connection.close();
      }
      const length = this.#input[0] << 8 | this.#input[1];
      if (length > tcpQuestionBytesMax) return this.cut();
      if (this.#input.length < 2 + length) break;
      if (left-- === 0) return this.#workLater();
      const bytes = answer(this.#input.subarray(2, 2 + length));
      // Nobody who speaks the protocol sends what has no answer: the framing is lost.
      if (bytes === undefined) return this.cut();
      this.#input = this.#input.slice(2 + length);
      this.#output = framed(bytes);
      this.#questions++;
      this.#flush();
    }
    const isBusy = this.#output.length > 0;
    if (!isBusy && this.#ended) return connection.close();
    if (isBusy === this.#paused) return;
    this.#paused = isBusy;
    if (isBusy) connection.pause();
    else connection.resume();
  }

  #workLater(): void {
    this.#turn = this.#parts.clock.timer(0, (client: TcpClient) => {
      client.#turn = undefined;
      client.#work();
    }, this as TcpClient);
  }

  #flush(): void {
    if (this.#output.length === 0 || this.#connection === undefined) return;
    const taken = this.#connection.write(this.#output);
    if (taken > 0) this.#progressMs = this.#parts.clock.monotonicMs();
    this.#output = taken === this.#output.length ? nothing : this.#output.subarray(taken);
  }

  /** One timer for all that may take too long: it is looked at when it is due, not at each step. */
  #watch(delayMs: number): void {
    this.#timer = this.#parts.clock.timer(delayMs, TcpClient.#due, this);
  }

  static #due(client: TcpClient): void {
    const { clock, options } = client.#parts;
    const restMs = client.#progressMs + options.tcpIdleMs - clock.monotonicMs();
    if (restMs > 0) return client.#watch(restMs);
    client.#timer = undefined;
    client.cut();
  }
}

function framed(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(2 + message.length);
  bytes[0] = message.length >> 8;
  bytes[1] = message.length & 255;
  bytes.set(message, 2);
  return bytes;
}

/** One handler for all connections. */
export const tcpHandler: ConnectionHandler<TcpClient> = {
  open: (connection) => connection.state.open(connection),
  data: (connection, chunk) => connection.state.data(chunk),
  drain: (connection) => connection.state.drained(),
  end: (connection) => connection.state.ended(),
  close: (connection) => connection.state.closed(),
};
