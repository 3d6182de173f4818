/**
 * The server's side of one connection: what each frame of a client means, and what it is answered.
 * Where Go's and Rust's servers differ this follows Go's (server.go and services.go upstream).
 *
 * States of a call: `open` after a Request; the client's side ends with a Data frame that carries
 * RC; the server's side ends with Response, or with Data 05 on a stream. The server's end ends the
 * call: a client that goes on sending after it is ignored until it ends too.
 */
import { assert } from "../../base/assert.ts";
import { decodeText } from "../../base/bytes.ts";
import { Code } from "../../base/error.ts";
import { Call, CallKind } from "./call.ts";
import { Connection } from "./connection.ts";
import { type ConnectionEvents, type ConnectionLimits, exhausted } from "./limits.ts";
import {
  encodeExtensions,
  encodeMetadataFrame,
  encodeStatus,
  okResponseBytes,
  type RequestReader,
  type Status,
  writeOkResponse,
} from "./envelope.ts";
import { extensionVersion, offerKey, parseOffer } from "./extensions.ts";
import { Flag, frameHeaderBytes, FrameType, writeHeader } from "./frame.ts";
import type { BufferPool } from "./output.ts";
import type { Route, RouteTable } from "./routes.ts";
import type { Slab } from "./slab.ts";
import { StreamIds } from "./stream_ids.ts";

export class ServerCall<T> extends Call {
  readonly route: Route<T>;
  /** Keys and values in turn; undefined when the request had none. */
  readonly metadata: string[] | undefined;
  /** Halves of the request's timeout in nanoseconds, exactly as received; zero for none. */
  readonly timeoutLow: number;
  readonly timeoutHigh: number;
  /** The client has ended its side. */
  remoteClosed: boolean;

  constructor(id: number, route: Route<T>, reader: RequestReader, remoteClosed: boolean) {
    super(route.kind);
    this.id = id;
    this.route = route;
    this.metadata = reader.metadata;
    this.timeoutLow = reader.timeoutLow;
    this.timeoutHigh = reader.timeoutHigh;
    this.remoteClosed = remoteClosed;
  }
}

/** What a call's client is told: 0 for OK. */
export type Outcome = 0 | Code;

export interface ServerEvents<T> extends ConnectionEvents<ServerCall<T>> {
  /**
   * A call began. For unary and server-streaming calls the request message is
   * `buffer[start, end)`, valid only during the call; for the others messages come later.
   */
  call(call: ServerCall<T>, buffer: Uint8Array, start: number, end: number): void;
  /** A request was refused without a handler; for the counters. */
  refused(code: Code): void;
}

export interface ServerOptions<T> {
  readonly limits: ConnectionLimits;
  readonly pool: BufferPool;
  readonly slab: Slab;
  readonly reader: RequestReader;
  readonly routes: () => RouteTable<T>;
  /** Refuse ids that do not increase, as Go does. */
  readonly strictStreamIds: boolean;
  /** Agree to extensions that a client offers. */
  readonly extensions: boolean;
}

/** What waits for room on a connection may hold as much as this many of the largest messages. */
const keptMessagesMax = 16;

/** Calls that the server ended while the client was still sending; more are answered 3 again. */
const lingeringMax = 1024;

const none = new Uint8Array(0);
const noPairs: readonly string[] = [];

export class ServerConnection<T> extends Connection<ServerCall<T>> {
  readonly #events: ServerEvents<T>;
  readonly #reader: RequestReader;
  readonly #routes: () => RouteTable<T>;
  readonly #ids: StreamIds;
  readonly #mayExtend: boolean;
  /** The window of an offer that its client has not confirmed yet: until then it is plain ttrpc. */
  #offeredWindowBytes: number | undefined = undefined;
  /** An offer was accepted; the next response says so. */
  #owesAgreement = false;
  /** Ids whose client may still send although the call is over. */
  #lingering: Set<number> | undefined = undefined;
  /** The client is to make its next calls elsewhere. */
  #announced = false;
  #draining = false;

  constructor(options: ServerOptions<T>, events: ServerEvents<T>) {
    super(options.limits, options.pool, options.slab, events);
    this.#events = events;
    this.#reader = options.reader;
    this.#routes = options.routes;
    this.#ids = new StreamIds(options.strictStreamIds);
    this.#mayExtend = options.extensions;
  }

  /** A covey client is told to make its next calls elsewhere; those that come are taken yet. */
  announce(): void {
    if (this.#announced) return;
    this.#announced = true;
    if (this.agreed) this.writeFrame(1, FrameType.goaway, 0, none);
  }

  /** From now on new requests are answered `unavailable`; a covey client is told so. */
  drain(): void {
    this.#draining = true;
    this.announce();
  }

  /**
   * Ends a unary or client-streaming call with its result, `payload[payloadStart, payloadEnd)`. An
   * envelope above the limit becomes `resource_exhausted` on this call alone. Returns the code that
   * the client is told; undefined when there is no room for the answer now: the handler has run, so
   * its answer waits, as it would in Go's server, and is given here again when `writable` comes. Only
   * when what waits holds sixteen of the largest messages does it end with `resource_exhausted`.
   */
  respond(
    call: ServerCall<T>,
    payload: Uint8Array,
    metadata: readonly string[],
    payloadStart = 0,
    payloadEnd: number = payload.length,
  ): Outcome | undefined {
    if (call.over) return 0;
    const length = okResponseBytes(payloadEnd - payloadStart);
    const extensions = this.#responseExtensions(metadata);
    const whole = length + extensions.length;
    if (whole > this.limits.messageBytesMax) {
      this.#respondTooLarge(call, whole);
      return Code.resourceExhausted;
    }
    if (!this.admit(this.room, call, whole)) {
      if (this.room!.bytes <= this.limits.messageBytesMax * keptMessagesMax) return undefined;
      this.room!.leave(call);
      this.respondStatus(call, exhausted("too many answers wait for the client to read"), metadata);
      return Code.resourceExhausted;
    }
    this.#owesAgreement = false;
    const at = this.output.reserve(frameHeaderBytes + whole);
    writeHeader(this.output.bytes, at, whole, call.id, FrameType.response, 0);
    writeOkResponse(
      this.output.bytes,
      at + frameHeaderBytes,
      payload,
      payloadStart,
      payloadEnd,
    );
    if (extensions.length > 0) this.output.bytes.set(extensions, at + frameHeaderBytes + length);
    this.#finish(call);
    return 0;
  }

  /** An answer needs room in the output itself, which is empty when there is none for it. */
  protected override fits(call: ServerCall<T>, bytes: number): boolean {
    if ((call.kind & CallKind.serverStreaming) !== 0) return super.fits(call, bytes);
    const queued = this.output.queuedBytes;
    return queued === 0 || bytes <= this.limits.queueBytesMax - queued;
  }

  /** Ends a call of any kind with an error, after what a stream has queued. */
  respondStatus(call: ServerCall<T>, status: Status, metadata: readonly string[]): void {
    if (call.over) return;
    let data = encodeStatus(status);
    let extensions = this.#responseExtensions(metadata);
    const most = this.limits.messageBytesMax;
    if (data.length + extensions.length > most) {
      this.limitHit("message_bytes");
      extensions = this.#responseExtensions([]);
      if (data.length + extensions.length > most) {
        data = encodeStatus({ code: status.code, message: "(message too long)", details: [] });
      }
    }
    this.#owesAgreement = false;
    if (extensions.length > 0) {
      const both = new Uint8Array(data.length + extensions.length);
      both.set(data);
      both.set(extensions, data.length);
      data = both;
    }
    call.localClosed = true;
    if (call.flow === undefined) {
      this.writeFrame(call.id, FrameType.response, 0, data);
      this.#finish(call);
    } else {
      this.emit(call, FrameType.response, 0, data);
    }
  }

  /**
   * Ends a response stream: Data 05, never an OK Response, which clients take for a message. Returns
   * what the client is told, as `respond` does.
   */
  finishStream(call: ServerCall<T>, metadata: readonly string[]): Outcome {
    if (call.over || call.localClosed) return 0;
    if (this.agreed && metadata.length > 0) {
      const data = encodeMetadataFrame(metadata);
      if (data.length > this.limits.messageBytesMax) {
        this.#respondTooLarge(call, data.length);
        return Code.resourceExhausted;
      }
      this.emit(call, FrameType.metadata, 0, data);
    }
    this.closeSend(call);
    return 0;
  }

  #respondTooLarge(call: ServerCall<T>, length: number): void {
    this.limitHit("message_bytes");
    this.respondStatus(call, tooLarge(length, this.limits.messageBytesMax), []);
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
    if ((streamId & 1) === 0) {
      this.#refuse(
        streamId,
        Code.invalidArgument,
        "StreamID must be odd for client initiated streams",
      );
    } else if (type === FrameType.request) {
      this.#request(streamId, flags, buffer, start, end);
    } else if (type === FrameType.data) {
      this.#data(streamId, flags, buffer, start, end);
    } else if (type === FrameType.reset) {
      if (this.agreed) this.#reset(streamId);
    } else if (type === FrameType.pong && !this.agreed) {
      this.#confirmed();
    } else {
      this.extensionFrame(streamId, type, buffer, start, end);
    }
  }

  override oversized(streamId: number, type: number, _flags: number, length: number): void {
    this.limitHit("message_bytes");
    if ((streamId & 1) === 0) {
      this.frame(streamId, type, 0, none, 0, 0);
      return;
    }
    const status = tooLarge(length, this.limits.messageBytesMax);
    const call = this.calls.get(streamId);
    if (call !== undefined) this.abandon(call, status);
    else if (type === FrameType.request && !this.#ids.use(streamId)) {
      this.#refuse(streamId, Code.invalidArgument, "StreamID cannot be re-used and must increment");
    } else if (!this.#lingering?.has(streamId)) {
      this.#refuse(streamId, status.code as Code, status.message);
    }
  }

  #request(id: number, flags: number, buffer: Uint8Array, start: number, end: number): void {
    if (!this.#ids.use(id)) {
      this.#refuse(id, Code.invalidArgument, "StreamID cannot be re-used and must increment");
      return;
    }
    const reader = this.#reader;
    if (!reader.read(buffer, start, end)) {
      if (reader.hasTooManyPairs) {
        this.limitHit("message_bytes");
        this.#refuse(id, Code.resourceExhausted, "too many pairs of metadata");
        return;
      }
      this.#refuse(id, Code.invalidArgument, "malformed request envelope");
      return;
    }
    if (reader.metadata !== undefined && this.#mayExtend) this.#considerOffer(reader.metadata);
    if (this.#draining) {
      this.#refuse(id, Code.unavailable, "the server is shutting down");
      return;
    }
    const route = this.#routes().find(
      buffer,
      reader.serviceStart,
      reader.serviceEnd,
      reader.methodStart,
      reader.methodEnd,
    );
    if (route === undefined) {
      this.#unknownRoute(id, buffer);
      return;
    }
    if (this.calls.size >= this.limits.callsMax) {
      this.limitHit("calls_per_connection");
      this.#refuse(id, Code.resourceExhausted, "too many calls on this connection");
      return;
    }
    const streams = route.kind !== CallKind.unary;
    if (streams && this.streamCount >= this.limits.streamsMax) {
      this.limitHit("streams_per_connection");
      this.#refuse(id, Code.resourceExhausted, "too many streams on this connection");
      return;
    }
    if (reader.timeoutHigh < 0) {
      this.#refuse(id, Code.deadlineExceeded, "the deadline had passed when the request arrived");
      return;
    }
    const clientStreams = (route.kind & CallKind.clientStreaming) !== 0;
    const call = new ServerCall(id, route, reader, !clientStreams);
    this.enter(call);
    if (streams) {
      const flow = this.makeFlow(call);
      // A reader that has not begun is given the time that a slow one is given between two
      // messages: handlers look something up before they read, interceptors ask whether they may.
      if (!this.agreed) flow.lastTakeMs = this.nowMs;
    }
    if ((reader.timeoutLow | reader.timeoutHigh) !== 0) {
      call.deadlineMs = this.nowMs + timeoutMillis(reader.timeoutLow, reader.timeoutHigh);
      this.addDeadline(call);
    }
    const { payloadStart, payloadEnd } = reader;
    this.#events.call(call, buffer, payloadStart, payloadEnd);
    if (clientStreams && !call.over) {
      // Go's server takes a payload on the request for the first message; an empty one is none.
      if (payloadEnd > payloadStart && (flags & Flag.noData) === 0) {
        this.deliver(call, buffer, payloadStart, payloadEnd);
      }
      if (!call.over && (flags & Flag.remoteClosed) !== 0) {
        call.remoteClosed = true;
        this.deliverEnd(call);
      }
    }
  }

  #unknownRoute(id: number, buffer: Uint8Array): void {
    const reader = this.#reader;
    const service = decodeText(buffer.subarray(reader.serviceStart, reader.serviceEnd));
    const method = decodeText(buffer.subarray(reader.methodStart, reader.methodEnd));
    assert(service !== undefined && method !== undefined, "the reader checked both names");
    // Go's words: the golden transcripts hold them.
    const message = this.#routes().hasService(service) ? `method ${method}` : `service ${service}`;
    this.#refuse(id, Code.unimplemented, message);
  }

  #data(id: number, flags: number, buffer: Uint8Array, start: number, end: number): void {
    const call = this.calls.get(id);
    const closes = (flags & Flag.remoteClosed) !== 0;
    if (call === undefined) {
      // A client that still sends into a call that the server ended is let finish quietly.
      if (!this.#lingering?.has(id)) {
        this.#refuse(id, Code.invalidArgument, "Data on a stream that is not open");
      } else if (closes) this.#lingering.delete(id);
      return;
    }
    if (call.remoteClosed) {
      // A second close says nothing new, nor does one behind the one message of a response stream:
      // Go lets both pass while the stream lives.
      const streams = call.kind !== CallKind.unary;
      if (streams && (flags & Flag.noData) !== 0 && end === start) return;
      this.abandon(call, {
        code: Code.invalidArgument,
        message: (call.kind & CallKind.clientStreaming) === 0
          ? "Data on a call whose client does not stream"
          : "Data after the client ended the stream",
        details: [],
      });
      return;
    }
    // Data 04 says "no message inside"; a length of 0 without it is an empty message.
    if ((flags & Flag.noData) === 0) this.deliver(call, buffer, start, end);
    if (closes && !call.over) {
      call.remoteClosed = true;
      this.deliverEnd(call);
    }
  }

  #reset(id: number): void {
    this.#lingering?.delete(id);
    const call = this.calls.get(id);
    if (call === undefined) return;
    this.fail(call, { code: Code.canceled, message: "the client canceled the call", details: [] });
  }

  #considerOffer(metadata: readonly string[]): void {
    for (let at = 0; at < metadata.length; at += 2) {
      if (metadata[at] !== offerKey || this.agreed) continue;
      // The first one holds, as it does once it is confirmed.
      if (this.#offeredWindowBytes !== undefined) continue;
      this.#offeredWindowBytes = parseOffer(metadata[at + 1]);
      this.#owesAgreement = this.#offeredWindowBytes !== undefined;
    }
  }

  /** The client read the answer to its offer: the offer is its own. */
  #confirmed(): void {
    // Nobody who offered nothing, or was not answered yet, has anything to confirm.
    if (this.#offeredWindowBytes === undefined || this.#owesAgreement) return;
    this.agreed = true;
    this.peerWindowBytes = this.#offeredWindowBytes;
    this.#offeredWindowBytes = undefined;
    if (this.#announced) this.writeFrame(1, FrameType.goaway, 0, none);
  }

  /** Field 100 of a response: the agreement that is owed, and metadata for a covey client. */
  #responseExtensions(metadata: readonly string[]): Uint8Array {
    const pairs = this.agreed ? metadata : noPairs;
    if (!this.#owesAgreement && pairs.length === 0) return none;
    const version = this.#owesAgreement ? extensionVersion : 0;
    const windowBytes = this.#owesAgreement ? this.limits.streamQueueBytesMax : 0;
    return encodeExtensions({ version, windowBytes, metadata: pairs });
  }

  /** Answers an id that has no call. */
  #refuse(id: number, code: Code, message: string): void {
    this.#events.refused(code);
    const status = encodeStatus({ code, message, details: [] });
    const extensions = this.#responseExtensions([]);
    this.#owesAgreement = false;
    const data = new Uint8Array(status.length + extensions.length);
    data.set(status);
    data.set(extensions, status.length);
    this.writeFrame(id, FrameType.response, 0, data);
  }

  // -- ends -----------------------------------------------------------------------------------

  protected override deadlinePassed(call: ServerCall<T>): void {
    this.abandon(call, { code: Code.deadlineExceeded, message: "deadline exceeded", details: [] });
  }

  /** Answers now, past everything that is queued, and stops the handler. */
  protected override abandon(call: ServerCall<T>, status: Status): void {
    if (call.over) return;
    this.writeFrame(call.id, FrameType.response, 0, encodeStatus(status));
    this.#linger(call);
    this.fail(call, status);
  }

  protected override afterLastWrite(call: ServerCall<T>, _type: number): void {
    this.#finish(call);
  }

  #finish(call: ServerCall<T>): void {
    this.#linger(call);
    this.leave(call);
  }

  #linger(call: ServerCall<T>): void {
    if (call.remoteClosed) return;
    const lingering = this.#lingering ??= new Set();
    lingering.add(call.id);
    if (lingering.size <= lingeringMax) return;
    for (const oldest of lingering) {
      lingering.delete(oldest);
      break;
    }
  }
}

/** Milliseconds of a nanosecond count given in halves; always finite. */
export function timeoutMillis(low: number, high: number): number {
  return ((high >>> 0) * 0x100000000 + (low >>> 0)) / 1e6;
}

export function tooLarge(length: number, most: number): Status {
  return exhausted(`message length ${length} exceeds the maximum of ${most} bytes`);
}
