/**
 * The client's side of one connection. A call gets its stream id when its request is written, so
 * that ids increase on the wire (client.go upstream demands it of every client); until then it can
 * be given up without a trace, and the caller learns that nothing was sent.
 */
import { assert } from "../../base/assert.ts";
import { Code } from "../../base/error.ts";
import { Call, CallKind } from "./call.ts";
import { Connection } from "./connection.ts";
import type { ConnectionEvents, ConnectionLimits } from "./limits.ts";
import {
  requestBytes,
  requestMetadata,
  requestPrefix,
  type ResponseReader,
  type Status,
  writeRequest,
} from "./envelope.ts";
import {
  extensionVersion,
  formatOffer,
  helloMethod,
  helloService,
  offerKey,
} from "./extensions.ts";
import { Flag, frameHeaderBytes, FrameType, writeHeader } from "./frame.ts";
import type { BufferPool } from "./output.ts";
import { tooLarge } from "./server.ts";
import type { Slab } from "./slab.ts";

export class ClientCall extends Call {
  /** Position in the connection's output where the request begins; -1 while it waits. */
  position = -1;
  /** Response metadata that came in a frame of its own. */
  metadata: readonly string[] | undefined = undefined;
}

export interface ClientEvents extends ConnectionEvents<ClientCall> {
  /**
   * A unary or client-streaming call ended well; the message is `buffer[start, end)`, valid only
   * during the call.
   */
  result(
    call: ClientCall,
    buffer: Uint8Array,
    start: number,
    end: number,
    metadata: readonly string[] | undefined,
  ): void;
  /** The server ended a stream well. Messages that are queued can still be taken. */
  streamEnded(call: ClientCall): void;
  /** A call ended with an error status of the server. Queued messages come before it. */
  status(call: ClientCall, status: Status, metadata: readonly string[] | undefined): void;
  /** The hello was answered: calls may begin. */
  ready(): void;
  /** The server takes no more calls on this connection. */
  goaway(): void;
}

export interface ClientOptions {
  readonly limits: ConnectionLimits;
  readonly pool: BufferPool;
  readonly slab: Slab;
  readonly reader: ResponseReader;
}

/** Ids end well before the sign bit: Go's client wraps there and every later call fails. */
const streamIdMax = 0x7fffff00;

const none = new Uint8Array(0);

export class ClientConnection extends Connection<ClientCall> {
  readonly #events: ClientEvents;
  readonly #reader: ResponseReader;
  #nextId = 1;
  #helloId = 0;
  /** Calls whose request waits: no id yet, so they are in no table. */
  #waiting: Set<ClientCall> | undefined = undefined;
  #goneAway = false;

  constructor(options: ClientOptions, events: ClientEvents) {
    super(options.limits, options.pool, options.slab, events);
    this.#events = events;
    this.#reader = options.reader;
  }

  /** Ids are used up, or the server said goodbye: dial again for new calls. */
  get spent(): boolean {
    return this.#goneAway || this.#nextId > streamIdMax;
  }

  override get callCount(): number {
    return this.calls.size + (this.#waiting?.size ?? 0);
  }

  /** Offers the extensions; `ready` follows, or the connection breaks. */
  hello(): void {
    assert(this.#nextId === 1, "the hello is the connection's first call");
    const prefix = requestPrefix(helloService, helloMethod);
    const metadata = requestMetadata([offerKey, formatOffer(this.limits.streamQueueBytesMax)]);
    const length = requestBytes(prefix, 0, 0, 0, metadata);
    const data = new Uint8Array(length);
    writeRequest(data, 0, prefix, none, 0, 0, metadata);
    this.#helloId = this.#nextId;
    this.#nextId += 2;
    this.writeFrame(this.#helloId, FrameType.request, 0, data);
  }

  /**
   * Begins a call. The request of a unary or server-streaming call carries its message,
   * `payload[payloadStart, payloadEnd)`, which is copied; the others send theirs afterwards. Returns
   * the reason when the call cannot even be queued.
   */
  start(
    call: ClientCall,
    prefix: Uint8Array,
    payload: Uint8Array,
    timeoutLow: number,
    timeoutHigh: number,
    metadata: Uint8Array,
    payloadStart = 0,
    payloadEnd: number = payload.length,
  ): Status | undefined {
    const payloadBytes = payloadEnd - payloadStart;
    const length = requestBytes(prefix, payloadBytes, timeoutLow, timeoutHigh, metadata);
    if (length > this.limits.messageBytesMax) {
      this.limitHit("message_bytes");
      return tooLarge(length, this.limits.messageBytesMax);
    }
    const streams = call.kind !== CallKind.unary;
    if (this.callCount >= this.limits.callsMax) {
      this.limitHit("calls_per_connection");
      return refused("too many calls in flight on this connection");
    }
    if (streams && this.streamCount >= this.limits.streamsMax) {
      this.limitHit("streams_per_connection");
      return refused("too many streams on this connection");
    }
    if (call.deadlineMs !== Infinity) this.addDeadline(call);
    if (streams) this.makeFlow(call);
    if ((call.kind & CallKind.clientStreaming) === 0) call.localClosed = true;
    const flags = requestFlags(call.kind);
    if (!streams && this.hasRoom) {
      // The common case, without an array in between.
      this.beforeWrite(call);
      const at = this.output.reserve(frameHeaderBytes + length);
      const bytes = this.output.bytes;
      writeHeader(bytes, at, length, call.id, FrameType.request, flags);
      const from = at + frameHeaderBytes;
      writeRequest(
        bytes,
        from,
        prefix,
        payload,
        timeoutLow,
        timeoutHigh,
        metadata,
        payloadStart,
        payloadEnd,
      );
      return undefined;
    }
    if (!this.hasRoom && !this.mayQueue(length)) {
      this.limitHit("connection_queue");
      this.leave(call);
      return refused("the connection's send queue is full");
    }
    const data = new Uint8Array(length);
    writeRequest(
      data,
      0,
      prefix,
      payload,
      timeoutLow,
      timeoutHigh,
      metadata,
      payloadStart,
      payloadEnd,
    );
    this.#waiting ??= new Set();
    this.#waiting.add(call);
    this.emit(call, FrameType.request, flags, data);
    return undefined;
  }

  /** Gives a call up. Its late reply, if any, is dropped without a trace. */
  cancel(call: ClientCall, status: Status): void {
    this.abandon(call, status);
  }

  /** Whether any byte of the call's request may have reached the socket, or still may. */
  wasSent(call: ClientCall): boolean {
    if (call.position < 0) return false;
    return !this.isBroken || call.position < this.output.consumedTotal;
  }

  override close(status: Status): void {
    for (const call of [...this.#waiting ?? []]) this.fail(call, status);
    super.close(status);
  }

  // -- frames in ------------------------------------------------------------------------------

  override frame(
    streamId: number,
    type: number,
    flags: number,
    buffer: Uint8Array,
    start: number,
    end: number,
  ): void {
    if (type === FrameType.response) {
      if (streamId === this.#helloId && streamId !== 0) this.#welcome(buffer, start, end);
      else this.#response(streamId, buffer, start, end);
    } else if (type === FrameType.data) {
      this.#data(streamId, flags, buffer, start, end);
    } else if (type === FrameType.metadata) {
      const call = this.calls.get(streamId);
      if (this.agreed && call !== undefined && this.#reader.readExtensions(buffer, start, end)) {
        call.metadata = this.#reader.extensions!.metadata;
      }
    } else if (type === FrameType.goaway) {
      if (this.agreed && !this.#goneAway) {
        this.#goneAway = true;
        this.#events.goaway();
      }
    } else {
      this.extensionFrame(streamId, type, buffer, start, end);
    }
  }

  override oversized(streamId: number, _type: number, _flags: number, length: number): void {
    this.limitHit("message_bytes");
    const call = this.calls.get(streamId);
    if (call !== undefined) this.abandon(call, tooLarge(length, this.limits.messageBytesMax));
  }

  #welcome(buffer: Uint8Array, start: number, end: number): void {
    this.#helloId = 0;
    const extensions = this.#reader.read(buffer, start, end) ? this.#reader.extensions : undefined;
    if (extensions !== undefined && extensions.version === extensionVersion) {
      this.agreed = true;
      this.peerWindowBytes = extensions.windowBytes;
      // The server believes the offer only now: others may have passed it on (see offerKey).
      this.writeFrame(1, FrameType.pong, 0, none);
      // A server that drains answers every request so, and says goodbye behind it.
      if (this.#reader.status?.code === Code.unavailable) this.#goneAway = true;
    }
    this.#events.ready();
  }

  #response(id: number, buffer: Uint8Array, start: number, end: number): void {
    const call = this.calls.get(id);
    // Late: the call was cancelled or its deadline passed.
    if (call === undefined) return;
    const reader = this.#reader;
    if (!reader.read(buffer, start, end)) {
      this.abandon(call, {
        code: Code.internal,
        message: "the server's response envelope is malformed",
        details: [],
      });
      return;
    }
    const metadata = reader.extensions?.metadata;
    if (reader.status !== undefined) {
      const status = reader.status;
      this.leave(call);
      this.#events.status(call, status, metadata);
    } else if ((call.kind & CallKind.serverStreaming) === 0) {
      const { payloadStart, payloadEnd } = reader;
      this.leave(call);
      this.#events.result(call, buffer, payloadStart, payloadEnd, metadata);
    } else {
      // No server should end a stream so. A payload is one more message, as Go's clients see it.
      if (reader.payloadEnd > reader.payloadStart) {
        this.deliver(call, buffer, reader.payloadStart, reader.payloadEnd);
      }
      this.#endStream(call);
    }
  }

  #data(id: number, flags: number, buffer: Uint8Array, start: number, end: number): void {
    const call = this.calls.get(id);
    if (call === undefined) return;
    if ((call.kind & CallKind.serverStreaming) === 0) {
      this.abandon(call, {
        code: Code.internal,
        message: "the server sent Data on a call that does not stream to the client",
        details: [],
      });
      return;
    }
    if ((flags & Flag.noData) === 0) this.deliver(call, buffer, start, end);
    if ((flags & Flag.remoteClosed) !== 0) this.#endStream(call);
  }

  /** The server's end of a stream ends the call, even if this side still had to send. */
  #endStream(call: ClientCall): void {
    if (call.over) return;
    this.leave(call);
    this.#events.streamEnded(call);
    this.deliverEnd(call);
  }

  // -- out ------------------------------------------------------------------------------------

  protected override beforeWrite(call: ClientCall): void {
    if (call.id !== 0) return;
    call.id = this.#nextId;
    this.#nextId += 2;
    call.position = this.output.position;
    this.#waiting?.delete(call);
    this.enter(call);
  }

  protected override deadlinePassed(call: ClientCall): void {
    this.abandon(call, { code: Code.deadlineExceeded, message: "deadline exceeded", details: [] });
  }

  protected override abandon(call: ClientCall, status: Status): void {
    if (call.over) return;
    if (call.id !== 0 && this.agreed) this.writeFrame(call.id, FrameType.reset, 0, none);
    this.fail(call, status);
  }

  protected override leave(call: ClientCall): void {
    this.#waiting?.delete(call);
    super.leave(call);
  }
}

/** Go's server never reads these; Rust's invents an empty first message without "no data". */
function requestFlags(kind: CallKind): number {
  if ((kind & CallKind.clientStreaming) !== 0) return Flag.remoteOpen | Flag.noData;
  return kind === CallKind.serverStreaming ? Flag.remoteClosed : 0;
}

function refused(message: string): Status {
  return { code: Code.resourceExhausted, message, details: [] };
}
