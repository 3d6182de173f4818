/**
 * One accepted connection of a server: identifies the peer, then hands the machine's calls to the
 * registry's handlers and their results back to the machine.
 */
import type { Message } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import { anonymous, type Identity } from "../base/identity.ts";
import type { Clock, Connection, Peer, Timer } from "../runtime/port.ts";
import { type MessageDecoder, undecodable } from "./codec/decode.ts";
import type { MessageEncoder } from "./codec/encode.ts";
import { CallKind } from "./core/call.ts";
import type { LimitName } from "./core/limits.ts";
import type { Status } from "./core/envelope.ts";
import { type ServerCall, ServerConnection, type ServerEvents } from "./core/server.ts";
import type { ServerOptions } from "./core/server.ts";
import { copyOf } from "./core/wire.ts";
import { Link, unavailable } from "./link.ts";
import { MessageReader, type ReaderOwner } from "./reader.ts";
import type { ServedMethod } from "./registry.ts";
import { ServerContext } from "./server_context.ts";
import type { RpcCounters } from "./counters.ts";
import type { RpcLimits } from "./limits.ts";
import { statusFromError } from "./status.ts";

/** A method as the server routes to it. */
export interface RoutedMethod extends ServedMethod {
  /** What its work on the thread is called: `rpc covey.node.v1.Node/Info`. */
  readonly task: string;
}

type CallOf = ServerCall<RoutedMethod>;

/** The task of a chunk that entered no handler: frames of calls that run already, for instance. */
const noHandler = "rpc";

/** Handlers that may run on a connection for each call that may be open. */
const runningPerCall = 2;

/** What a link needs of its server. */
export interface ServerSide {
  readonly clock: Clock;
  readonly limits: RpcLimits;
  readonly counters: RpcCounters;
  readonly machine: ServerOptions<RoutedMethod>;
  readonly encoder: MessageEncoder;
  readonly decoder: MessageDecoder;
  identify(peer: Peer): Identity | Promise<Identity>;
  opened(link: ServerLink): void;
  gone(link: ServerLink): void;
  /** A client that was told to go elsewhere knows it. */
  parted(): void;
  /** A handler threw something that is not a CoveyError. */
  handlerFailed(path: string, error: unknown): void;
  /** Told how long each chunk took; where it is missing, nobody looks at the clock. */
  readonly onTask: ((task: string, startedMs: number, endedMs: number) => void) | undefined;
}

export class ServerLink extends Link<CallOf> implements ServerEvents<RoutedMethod> {
  override readonly machine: ServerConnection<RoutedMethod>;
  readonly peer: Peer;
  readonly #server: ServerSide;
  identity: Identity = anonymous;
  /** Runs while the peer is being identified. */
  #handshake: Timer | undefined = undefined;
  #early: Uint8Array[] | undefined = undefined;
  #draining = false;
  /** So many answers tell that the goodbye was read; Infinity when none was said. */
  #pongsWanted = Infinity;
  /** Handlers that have not come back, those whose call is over included. */
  #running = 0;
  /** Of the method whose handler was entered last. */
  #task: string = noHandler;

  constructor(server: ServerSide, peer: Peer) {
    super(server.clock, server.limits, server.counters, true);
    this.#server = server;
    this.peer = peer;
    this.machine = new ServerConnection(server.machine, this);
  }

  /** Whether anything is under way: calls, or answers that the socket has not taken. */
  get busy(): boolean {
    return this.machine.callCount > 0 || this.machine.output.queuedBytes > 0;
  }

  override opened(socket: Connection<Link<CallOf>>): void {
    super.opened(socket);
    this.#server.opened(this);
    // The server may have had no room for it.
    if (!this.isOpen) return;
    let identity: Identity | Promise<Identity>;
    try {
      identity = this.#server.identify(this.peer);
    } catch (error) {
      this.#refuse(error);
      return;
    }
    if (!(identity instanceof Promise)) {
      this.identity = identity;
      return;
    }
    // Nobody else waits for this: the connection alone is held until its peer is known.
    this.hold(true);
    this.#handshake = this.clock.timer(this.limits.handshakeMs, handshakeTimedOut, this);
    identity.then(
      (known) => this.#identified(known),
      (error) => this.#refuse(error),
    );
  }

  /** A pause may let one more chunk through: it waits until the peer is known. */
  override received(chunk: Uint8Array): void {
    if (this.#handshake === undefined) this.#read(chunk);
    else (this.#early ??= []).push(chunk.slice());
    if (this.machine.pongs < this.#pongsWanted) return;
    this.drain();
    this.#server.parted();
  }

  /** The clock is asked once before and once after, however many calls the chunk begins. */
  #read(chunk: Uint8Array): void {
    const { onTask } = this.#server;
    if (onTask === undefined) {
      super.received(chunk);
      return;
    }
    const startedMs = this.clock.monotonicMs();
    this.#task = noHandler;
    super.received(chunk);
    onTask(this.#task, startedMs, this.clock.monotonicMs());
  }

  #identified(identity: Identity): void {
    this.#handshake?.cancel();
    this.#handshake = undefined;
    this.identity = identity;
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const chunk of early) if (this.isOpen) this.#read(chunk);
    this.hold(false);
  }

  /**
   * Tells a covey client to make its next calls elsewhere, and asks for a sign that it knows. Others
   * cannot be told but by a refusal.
   */
  announce(): void {
    if (!this.machine.extended) return this.drain();
    this.machine.announce();
    this.machine.ping(this.clock.monotonicMs());
    this.#pongsWanted = this.machine.pings;
    this.flush();
  }

  /** A goodbye was said, and what a covey client sent before it knew may still come. */
  get isParting(): boolean {
    return this.#pongsWanted < Infinity;
  }

  /** Refuses new calls, tells a covey client, lets what runs finish, and closes after it. */
  drain(): void {
    this.#draining = true;
    this.#pongsWanted = Infinity;
    this.machine.drain();
    this.flush();
  }

  protected override flushed(): void {
    if (this.#draining && !this.busy) this.shut(unavailable("the server is shutting down"));
  }

  /** A server closes idle connections where its configuration says so. */
  override sweep(nowMs: number): void {
    super.sweep(nowMs);
    const { idleMs } = this.limits;
    if (idleMs > 0 && !this.busy && nowMs - this.machine.heardMs > idleMs) {
      this.shut(unavailable("idle for too long"));
    }
  }

  /** Ends now; a handshake that hangs is one reason. */
  refuse(status: Status): void {
    this.shatter(status);
  }

  // -- ServerEvents ---------------------------------------------------------------------------

  call(call: CallOf, buffer: Uint8Array, start: number, end: number): void {
    this.counters.callsTotal++;
    this.counters.callsOpen++;
    const method = call.route.target;
    this.#task = method.task;
    const context = new ServerContext(this, call);
    call.app = context;
    // A call that its client gave up is over, its handler is not: without a bound of its own a
    // client could start handlers without end (CVE-2023-44487 is the same of HTTP/2).
    if (this.#running >= this.limits.callsMax * runningPerCall) {
      this.limitHit("calls_per_connection");
      const message = "too many handlers of calls that were given up still run";
      this.#end(call, context, { code: Code.resourceExhausted, message, details: [] });
      return;
    }
    let input: Message | AsyncIterable<Message>;
    if ((call.kind & CallKind.clientStreaming) === 0) {
      try {
        const { decoder, machine } = this.#server;
        input = decoder.decode(method.input, buffer, start, end, machine.slab);
      } catch (error) {
        // Go answers `internal` here; what exactly is malformed is the client's to know.
        const message = undecodable(method.input.typeName, error);
        this.#end(call, context, { code: Code.internal, message, details: [] });
        return;
      }
    } else {
      const reader = new MessageReader(
        this,
        call,
        this.#server.decoder,
        method.input,
        unconcerned,
      );
      context.reader = reader;
      input = reader;
    }
    let result: unknown;
    try {
      result = method.handle({ context, input });
    } catch (error) {
      this.#fail(call, context, error);
      return;
    }
    if ((call.kind & CallKind.serverStreaming) !== 0) {
      this.#running++;
      void this.#pump(call, context, result as AsyncIterable<Message>);
    } else if (result instanceof Promise) {
      this.#running++;
      result.then(
        (value) => {
          this.#running--;
          this.#respond(call, context, value);
        },
        (error) => {
          this.#running--;
          this.#fail(call, context, error);
        },
      );
    } else {
      this.#respond(call, context, result);
    }
  }

  refused(code: Code): void {
    this.counters.callsTotal++;
    this.counters.ended(code);
  }

  readable(call: CallOf): void {
    (call.app as ServerContext).reader!.readable();
  }

  writable(call: CallOf): void {
    (call.app as ServerContext).roomMade();
  }

  failed(call: CallOf, status: Status): void {
    const context = call.app as ServerContext;
    this.#ended(context, status.code);
    context.stop(status);
    this.flushSoon();
  }

  broken(reason: string): void {
    this.shatter({ code: Code.internal, message: reason, details: [] });
  }

  limitHit(limit: LimitName): void {
    this.counters.limitHits[limit]++;
  }

  protected override gone(): void {
    this.#handshake?.cancel();
    this.#server.gone(this);
  }

  // -- results --------------------------------------------------------------------------------

  #respond(call: CallOf, context: ServerContext, value: unknown): void {
    if (call.over) return;
    const { encoder } = this.#server;
    try {
      encoder.encode(call.route.target.output, value);
    } catch (error) {
      this.#fail(call, context, error);
      return;
    }
    const { bytes, start, end } = encoder;
    this.#answer(call, context, bytes, start, end);
  }

  /** Sends a result, or keeps it until the output has room for it. */
  #answer(
    call: CallOf,
    context: ServerContext,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): void {
    if (call.over) return;
    const outcome = this.machine.respond(call, bytes, context.responsePairs(), start, end);
    if (outcome === undefined) {
      // The encoder's block is for the next message; what waits a second time is its own already.
      const own = bytes === this.#server.encoder.bytes ? copyOf(bytes, start, end) : bytes;
      // The handler has finished, whatever its answer waits for.
      context.finish();
      void context.room().then(() => this.#answer(call, context, own, 0, own.length));
      return;
    }
    this.#ended(context, outcome);
    context.finish();
    this.flushSoon();
  }

  #fail(call: CallOf, context: ServerContext, error: unknown): void {
    if (call.over) return;
    const known = CoveyError.from(error);
    if (known !== error) {
      this.#server.handlerFailed(`${call.route.service}/${call.route.method}`, error);
    }
    this.#end(call, context, statusFromError(known));
  }

  #end(call: CallOf, context: ServerContext, status: Status): void {
    this.machine.respondStatus(call, status, context.responsePairs());
    this.#ended(context, status.code);
    context.finish();
    this.flushSoon();
  }

  #ended(context: ServerContext, code: number): void {
    if (!context.markEnded()) return;
    this.counters.callsOpen--;
    this.counters.ended(code);
  }

  /** Sends what a streaming handler yields, waiting when the stream has no room. */
  async #pump(
    call: CallOf,
    context: ServerContext,
    results: AsyncIterable<Message>,
  ): Promise<void> {
    const plan = call.route.target.output;
    const { encoder } = this.#server;
    try {
      const iterator = results[Symbol.asyncIterator]();
      context.producer = iterator;
      while (true) {
        const result = await iterator.next();
        if (call.over) return;
        if (result.done) break;
        encoder.encode(plan, result.value);
        const length = encoder.end - encoder.start;
        if (length > this.limits.messageBytesMax) {
          this.limitHit("message_bytes");
          throw new CoveyError(
            Code.resourceExhausted,
            `message length ${length} exceeds the maximum of ${this.limits.messageBytesMax} bytes`,
          );
        }
        let { bytes, start, end } = encoder;
        while (!this.machine.accepts(call, length)) {
          // The encoder's block is for the next message.
          if (bytes === encoder.bytes) {
            bytes = copyOf(bytes, start, end);
            start = 0;
            end = length;
          }
          await context.room();
          if (call.over) return;
        }
        // The flush may make the room at once: whoever waits for it waits before.
        const waits = this.machine.send(call, bytes, start, end) ? undefined : context.room();
        this.flushSoon();
        if (waits !== undefined) await waits;
        if (call.over) return;
      }
      const outcome = this.machine.finishStream(call, context.responsePairs());
      this.#ended(context, outcome);
      context.finish();
      this.flushSoon();
    } catch (error) {
      context.stopProducer();
      this.#fail(call, context, error);
    } finally {
      // A generator that cleans up still runs.
      if (context.dismissed !== undefined) await context.dismissed;
      this.#running--;
    }
  }

  #refuse(error: unknown): void {
    this.#handshake?.cancel();
    if (this.socket === undefined) return;
    this.counters.connectionsRefusedTotal++;
    const status = statusFromError(error);
    this.refuse({ ...status, message: `the peer was refused: ${status.message}` });
  }
}

/** A handler may leave its requests unread; what it answers is what counts. */
const unconcerned: ReaderOwner = { left: () => {} };

function handshakeTimedOut(link: ServerLink): void {
  link.counters.connectionsRefusedTotal++;
  link.refuse(unavailable("identifying the peer took too long"));
}
