/**
 * What a caller waits for: a unary call, or a stream. Both live through the same steps: wait for a
 * link, start on it, and end once, by result, status, deadline, cancellation or loss.
 */
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  isMessage,
  type Message,
  toBinary,
} from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import type { Timer } from "../runtime/port.ts";
import type { Channel, Waiter } from "./channel.ts";
import type { CallOwner, ClientLink } from "./client_link.ts";
import { CallKind } from "./core/call.ts";
import { ClientCall } from "./core/client.ts";
import { requestMetadata, requestPrefix, type Status } from "./core/envelope.ts";

import { Metadata } from "./metadata.ts";
import { MessageReader, type ReaderOwner } from "./reader.ts";
import type { CallOptions } from "./service.ts";
import { errorFromStatus } from "./status.ts";

/** Everything about a method that is the same for each of its calls. */
export class MethodCodec {
  readonly descriptor: DescMethod;
  readonly kind: CallKind;
  readonly prefix: Uint8Array;

  constructor(descriptor: DescMethod) {
    this.descriptor = descriptor;
    this.prefix = requestPrefix(descriptor.parent.typeName, descriptor.name);
    this.kind = descriptor.methodKind === "unary"
      ? CallKind.unary
      : descriptor.methodKind === "client_streaming"
      ? CallKind.clientStreaming
      : descriptor.methodKind === "server_streaming"
      ? CallKind.serverStreaming
      : CallKind.bidi;
  }

  encode(value: unknown): Uint8Array {
    const schema: DescMessage = this.descriptor.input;
    return toBinary(
      schema,
      isMessage(value) ? value : create(schema, value as Record<string, unknown>),
    );
  }
}

const none = new Uint8Array(0);
/** Connections that are tried for a call that was not sent before it fails. */
const attemptsMax = 3;
/** Nanoseconds that fit a signed 64-bit number, in milliseconds. */
const timeoutMsMax = 9_223_372_036_000;

/** The steps that unary and streaming calls share. */
abstract class PendingCall implements Waiter, CallOwner {
  protected readonly channel: Channel;
  protected readonly codec: MethodCodec;
  protected readonly options: CallOptions;
  protected call: ClientCall;
  protected link: ClientLink | undefined = undefined;
  protected over = false;
  readonly #payload: Uint8Array;
  readonly #deadlineMs: number;
  #attempts = 0;
  #waitTimer: Timer | undefined = undefined;
  #onAbort: (() => void) | undefined = undefined;

  constructor(channel: Channel, codec: MethodCodec, payload: Uint8Array, options: CallOptions) {
    this.channel = channel;
    this.codec = codec;
    this.options = options;
    this.#payload = payload;
    this.call = new ClientCall(codec.kind);
    const timeoutMs = options.timeoutMs ?? channel.timeoutMs;
    this.#deadlineMs = timeoutMs === undefined ? Infinity : channel.clock.monotonicMs() + timeoutMs;
  }

  /** Starts the call, or waits for a connection first. */
  begin(): void {
    const { signal, timeoutMs } = this.options;
    if (signal !== undefined) {
      if (signal.aborted) {
        this.#giveUp(canceled(signal), false);
        return;
      }
      this.#onAbort = () => this.#cancel(canceled(signal));
      signal.addEventListener("abort", this.#onAbort);
    }
    if (timeoutMs !== undefined && !(timeoutMs > 0)) {
      this.#giveUp(expired, false);
      return;
    }
    const link = this.channel.link;
    if (link !== undefined) this.connected(link);
    else this.#wait();
  }

  connected(link: ClientLink): void {
    if (this.over) return;
    this.#waitTimer?.cancel();
    this.#waitTimer = undefined;
    const call = this.call;
    const clock = this.channel.clock;
    let low = 0;
    let high = 0;
    if (this.#deadlineMs !== Infinity) {
      const leftMs = this.#deadlineMs - clock.monotonicMs();
      if (leftMs <= 0) {
        this.#giveUp(expired, false);
        return;
      }
      const nanos = Math.ceil((leftMs > timeoutMsMax ? timeoutMsMax : leftMs) * 1e6);
      high = Math.floor(nanos / 0x100000000);
      low = nanos >>> 0;
      call.deadlineMs = this.#deadlineMs;
    }
    call.app = this;
    this.link = link;
    const metadata = this.options.metadata === undefined
      ? none
      : encodeMetadata(this.options.metadata);
    link.counters.callsTotal++;
    link.counters.callsOpen++;
    const refusal = link.machine.start(
      call,
      this.codec.prefix,
      this.#payload,
      low,
      high,
      metadata,
    );
    if (refusal !== undefined) {
      link.counters.callsOpen--;
      link.counters.ended(refusal.code);
      this.#giveUp(refusal, false);
      return;
    }
    this.started(link);
    link.flushSoon();
  }

  unconnected(error: CoveyError): void {
    if (this.over) return;
    this.#waitTimer?.cancel();
    this.#finish();
    this.rejected(error);
  }

  failed(status: Status, sent: boolean, metadata?: readonly string[]): void {
    // What certainly did not leave this machine may be tried on another connection.
    if (!sent && status.code === Code.unavailable && ++this.#attempts < attemptsMax && !this.over) {
      this.call = new ClientCall(this.codec.kind);
      this.link = undefined;
      if (this.retryable()) {
        this.#wait();
        return;
      }
    }
    this.tellMetadata(metadata);
    this.#giveUp(status, sent);
  }

  abstract result(
    buffer: Uint8Array,
    start: number,
    end: number,
    metadata?: readonly string[],
  ): void;
  abstract readable(): void;
  abstract writable(): void;
  protected abstract started(link: ClientLink): void;
  protected abstract rejected(error: CoveyError): void;
  /** Nothing of the call has been used up that a second start would need. */
  protected abstract retryable(): boolean;

  protected tellMetadata(pairs: readonly string[] | undefined): void {
    const tell = this.options.onResponseMetadata;
    if (tell === undefined || pairs === undefined) return;
    const metadata = new Metadata();
    for (let at = 0; at < pairs.length; at += 2) metadata.append(pairs[at], pairs[at + 1]);
    tell(metadata);
  }

  /** The call ended; nothing of it is to be cancelled any more. */
  protected finished(): void {
    this.#finish();
  }

  /** The caller does not want the call any more. */
  protected cancelWith(status: Status): void {
    this.#cancel(status);
  }

  #wait(): void {
    if (this.#deadlineMs !== Infinity) {
      const leftMs = this.#deadlineMs - this.channel.clock.monotonicMs();
      this.#waitTimer = this.channel.clock.timer(leftMs > 0 ? leftMs : 0, waitTimedOut, this);
    }
    this.channel.wait(this);
  }

  /** The deadline passed while there was no connection; public only for the timer. */
  waitTimedOut(): void {
    this.channel.leave(this);
    this.#giveUp(expired, false);
  }

  #cancel(status: Status): void {
    if (this.over) return;
    if (this.link === undefined) {
      this.channel.leave(this);
      this.#giveUp(status, false);
    } else this.link.cancel(this.call, status);
  }

  #giveUp(status: Status, sent: boolean): void {
    if (this.over) return;
    this.#finish();
    this.rejected(errorFromStatus(status, sent));
  }

  #finish(): void {
    this.over = true;
    this.#waitTimer?.cancel();
    this.#waitTimer = undefined;
    if (this.#onAbort !== undefined) {
      this.options.signal!.removeEventListener("abort", this.#onAbort);
      this.#onAbort = undefined;
    }
  }
}

/** A call with one answer and, for client streaming, many requests. */
export class SingleCall extends PendingCall {
  readonly promise: Promise<Message>;
  #resolve!: (message: Message) => void;
  #reject!: (error: CoveyError) => void;
  readonly #sender: Sender | undefined;

  constructor(
    channel: Channel,
    codec: MethodCodec,
    payload: Uint8Array,
    options: CallOptions,
    inputs: AsyncIterable<unknown> | undefined,
  ) {
    super(channel, codec, payload, options);
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#sender = inputs === undefined ? undefined : new Sender(codec, inputs);
  }

  override result(
    buffer: Uint8Array,
    start: number,
    end: number,
    metadata?: readonly string[],
  ): void {
    this.finished();
    this.#sender?.stop();
    this.tellMetadata(metadata);
    try {
      this.#resolve(
        fromBinary(this.codec.descriptor.output, this.channel.slab.copy(buffer, start, end)),
      );
    } catch (error) {
      this.#reject(malformed(this.codec.descriptor.output, error));
    }
  }

  override readable(): void {}

  override writable(): void {
    this.#sender?.roomMade();
  }

  protected override started(link: ClientLink): void {
    const call = this.call;
    void this.#sender?.run(link, call, (status) => link.cancel(call, status));
  }

  protected override rejected(error: CoveyError): void {
    this.#sender?.stop();
    this.#reject(error);
  }

  protected override retryable(): boolean {
    return this.#sender === undefined || !this.#sender.hasStarted;
  }
}

/** A call whose answers are a stream. It begins when its first answer is asked for, or at once. */
export class StreamCall extends PendingCall implements AsyncIterableIterator<Message>, ReaderOwner {
  #reader: MessageReader<ClientCall> | undefined = undefined;
  #error: CoveyError | undefined = undefined;
  /** Settles when there is a reader or an error; made when somebody waits for that. */
  #begun: Promise<void> | undefined = undefined;
  #tellBegun: (() => void) | undefined = undefined;
  readonly #sender: Sender | undefined;

  constructor(
    channel: Channel,
    codec: MethodCodec,
    payload: Uint8Array,
    options: CallOptions,
    inputs: AsyncIterable<unknown> | undefined,
  ) {
    super(channel, codec, payload, options);
    this.#sender = inputs === undefined ? undefined : new Sender(codec, inputs);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Message>> {
    const reader = this.#reader;
    return reader === undefined ? this.#first() : reader.next();
  }

  /** The call has not begun: it waits for a connection, or failed before it had one. */
  async #first(): Promise<IteratorResult<Message>> {
    if (this.#error === undefined && !this.over) {
      await (this.#begun ??= new Promise<void>((resolve) => this.#tellBegun = resolve));
    }
    if (this.#reader !== undefined) return await this.#reader.next();
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) throw error;
    return { done: true, value: undefined };
  }

  /** Leaves the stream: the call is cancelled. */
  return(): Promise<IteratorResult<Message>> {
    this.left();
    return Promise.resolve({ done: true, value: undefined });
  }

  throw(error: unknown): Promise<IteratorResult<Message>> {
    this.left();
    return Promise.reject(error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  override result(): void {
    throw new CoveyError(Code.internal, "a response stream has no single result");
  }

  override readable(): void {
    this.#reader?.readable();
  }

  override writable(): void {
    this.#sender?.roomMade();
  }

  protected override started(link: ClientLink): void {
    const call = this.call;
    this.#reader = new MessageReader(
      link,
      call,
      this.codec.descriptor.output,
      this,
    );
    this.#wake();
    void this.#sender?.run(link, call, (status) => link.cancel(call, status));
  }

  protected override rejected(error: CoveyError): void {
    this.#sender?.stop();
    if (this.#reader !== undefined) this.#reader.fail(error);
    else this.#error = error;
    this.#wake();
  }

  protected override retryable(): boolean {
    // Its reader may be in use already: a stream is never started twice.
    return false;
  }

  #wake(): void {
    this.#tellBegun?.();
    this.#tellBegun = undefined;
  }

  /** The server ended the stream well. */
  ended(): void {
    if (this.over) return;
    this.tellMetadata(this.call.metadata);
    if (this.link !== undefined) {
      this.link.counters.callsOpen--;
      this.link.counters.ended(0);
    }
    this.finished();
    this.#sender?.stop();
  }

  /** The reader left before it saw the end. */
  left(): void {
    if (this.over) return;
    if (this.call.over && this.call.flow?.ended) this.ended();
    else this.cancelWith({ code: Code.canceled, message: "the stream was left", details: [] });
  }
}

/** Sends a caller's messages on a stream, as fast as it has room. */
class Sender {
  readonly #codec: MethodCodec;
  readonly #inputs: AsyncIterable<unknown>;
  #iterator: AsyncIterator<unknown> | undefined = undefined;
  #stopped = false;
  #room: (() => void) | undefined = undefined;

  constructor(codec: MethodCodec, inputs: AsyncIterable<unknown>) {
    this.#codec = codec;
    this.#inputs = inputs;
  }

  get hasStarted(): boolean {
    return this.#iterator !== undefined;
  }

  async run(link: ClientLink, call: ClientCall, cancel: (status: Status) => void): Promise<void> {
    try {
      const iterator = this.#iterator = this.#inputs[Symbol.asyncIterator]();
      while (!this.#stopped) {
        const result = await iterator.next();
        if (this.#stopped || call.over) return;
        if (result.done) {
          link.machine.closeSend(call);
          link.flushSoon();
          return;
        }
        const data = this.#codec.encode(result.value);
        if (data.length > link.machine.messageBytesMax) {
          this.stop();
          cancel({
            code: Code.resourceExhausted,
            message: `message length ${data.length} exceeds the maximum of ` +
              `${link.machine.messageBytesMax} bytes`,
            details: [],
          });
          return;
        }
        const room = link.machine.send(call, data);
        link.flushSoon();
        if (!room) await new Promise<void>((resolve) => this.#room = resolve);
      }
    } catch (error) {
      // The caller's own iterable failed: the call cannot go on, and the caller is told why.
      const cause = CoveyError.from(error, Code.unknown);
      cancel({ code: cause.code, message: cause.rawMessage, details: cause.details });
    }
  }

  roomMade(): void {
    const resolve = this.#room;
    this.#room = undefined;
    resolve?.();
  }

  /** The call is over: the caller's iterable is told. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.roomMade();
    // What the caller's iterable throws now changes nothing: its call has its outcome.
    this.#iterator?.return?.().then(undefined, () => undefined);
  }
}

const expired: Status = { code: Code.deadlineExceeded, message: "deadline exceeded", details: [] };

function canceled(signal: AbortSignal): Status {
  const reason: unknown = signal.reason;
  if (reason instanceof CoveyError) {
    return { code: reason.code, message: reason.rawMessage, details: [] };
  }
  const timedOut = reason instanceof Error && reason.name === "TimeoutError";
  return timedOut
    ? expired
    : { code: Code.canceled, message: "the call was canceled", details: [] };
}

function malformed(schema: DescMessage, cause: unknown): CoveyError {
  return new CoveyError(Code.internal, `malformed ${schema.typeName}`, { cause, sent: true });
}

function waitTimedOut(call: PendingCall): void {
  call.waitTimedOut();
}

function encodeMetadata(init: NonNullable<CallOptions["metadata"]>): Uint8Array {
  const pairs: string[] = [];
  for (const [key, value] of Metadata.from(init)) pairs.push(key, value);
  return requestMetadata(pairs);
}
