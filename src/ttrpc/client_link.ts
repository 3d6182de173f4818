/** One dialled connection of a channel: the machine's calls and the objects that wait for them. */
import { Code } from "../base/error.ts";
import type { Clock, Connection } from "../runtime/port.ts";
import { type ClientCall, ClientConnection, type ClientEvents } from "./core/client.ts";
import type { ClientOptions } from "./core/client.ts";
import type { LimitName } from "./core/limits.ts";
import type { Status } from "./core/envelope.ts";
import type { RpcCounters } from "./counters.ts";
import type { RpcLimits } from "./limits.ts";
import { Link } from "./link.ts";

/** Who waits for a call's outcome. Exactly one of result, streamEnded and failed comes, once. */
export interface CallOwner {
  /** The one message of a unary or client-streaming call. */
  result(buffer: Uint8Array, start: number, end: number, metadata?: readonly string[]): void;
  /** Streams: the server ended the call well; messages may still wait to be read. */
  streamEnded(): void;
  /** The call ended with an error: the server's, or one that was made up here. */
  failed(status: Status, sent: boolean, metadata?: readonly string[]): void;
  /** Streams: a message or the end is there. */
  readable(): void;
  /** Streams: there is room to send. */
  writable(): void;
}

/** What a link needs of its channel. */
export interface ClientSide {
  readonly clock: Clock;
  readonly limits: RpcLimits;
  readonly counters: RpcCounters;
  readonly machine: ClientOptions;
  /** Offer the extensions. */
  readonly offers: boolean;
  /** The link may be used. */
  ready(link: ClientLink): void;
  /** No new calls on this link. */
  retire(link: ClientLink): void;
  /** The link is closed; its calls have failed. */
  lost(link: ClientLink): void;
}

export class ClientLink extends Link<ClientCall> implements ClientEvents {
  override readonly machine: ClientConnection;
  readonly #channel: ClientSide;

  constructor(channel: ClientSide) {
    super(channel.clock, channel.limits, channel.counters, false);
    this.#channel = channel;
    this.machine = new ClientConnection(channel.machine, this);
  }

  override opened(socket: Connection<Link<ClientCall>>): void {
    super.opened(socket);
    if (this.#channel.offers) {
      this.machine.hello();
      this.flush();
    } else this.#channel.ready(this);
  }

  /** Ends a call that nobody waits for any more; the peer is told if it can be. */
  cancel(call: ClientCall, status: Status): void {
    this.machine.cancel(call, status);
    this.flushSoon();
  }

  // -- ClientEvents ---------------------------------------------------------------------------

  result(
    call: ClientCall,
    buffer: Uint8Array,
    start: number,
    end: number,
    metadata: readonly string[] | undefined,
  ): void {
    this.counters.callsOpen--;
    this.counters.ended(0);
    (call.app as CallOwner).result(buffer, start, end, metadata);
  }

  streamEnded(call: ClientCall): void {
    this.counters.callsOpen--;
    this.counters.ended(0);
    (call.app as CallOwner).streamEnded();
  }

  status(call: ClientCall, status: Status, metadata: readonly string[] | undefined): void {
    this.counters.callsOpen--;
    this.counters.ended(status.code);
    (call.app as CallOwner).failed(status, true, metadata);
  }

  failed(call: ClientCall, status: Status): void {
    this.counters.callsOpen--;
    this.counters.ended(status.code);
    (call.app as CallOwner).failed(status, this.machine.wasSent(call));
  }

  readable(call: ClientCall): void {
    (call.app as CallOwner).readable();
  }

  writable(call: ClientCall): void {
    (call.app as CallOwner).writable();
  }

  ready(): void {
    this.#channel.ready(this);
  }

  goaway(): void {
    this.#channel.retire(this);
  }

  broken(reason: string): void {
    this.shatter({ code: Code.unavailable, message: reason, details: [] });
  }

  limitHit(limit: LimitName): void {
    this.counters.limitHits[limit]++;
  }

  protected override gone(): void {
    this.#channel.lost(this);
  }
}
