/** Calls whose answers are a stream: server streaming, and bidirectional. */
import type { Message } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import type { Channel } from "./channel.ts";
import type { ClientLink } from "./client_link.ts";
import type { ClientCall } from "./core/client.ts";
import type { MethodCodec } from "./method_codec.ts";
import { PendingCall } from "./pending_call.ts";
import { MessageReader, type ReaderOwner } from "./reader.ts";
import { Sender } from "./sender.ts";
import type { CallOptions } from "./service.ts";

/** A call whose answers are a stream. It begins when its first answer is asked for, or at once. */
export class StreamCall extends PendingCall implements AsyncIterableIterator<Message>, ReaderOwner {
  #reader: MessageReader<ClientCall> | undefined = undefined;
  #error: CoveyError | undefined = undefined;
  #hasLeft = false;
  /** Settles when there is a reader or an error; made when somebody waits for that. */
  #begun: Promise<void> | undefined = undefined;
  #tellBegun: (() => void) | undefined = undefined;
  readonly #sender: Sender | undefined;

  constructor(
    channel: Channel,
    codec: MethodCodec,
    options: CallOptions,
    inputs: AsyncIterable<unknown> | undefined,
  ) {
    super(channel, codec, options);
    this.#sender = inputs === undefined ? undefined : new Sender(channel.encoder, codec, inputs);
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
    this.#leave();
    return Promise.resolve({ done: true, value: undefined });
  }

  throw(error: unknown): Promise<IteratorResult<Message>> {
    this.#leave();
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
    this.#reader = new MessageReader(link, call, this.channel.decoder, this.codec.output, this);
    this.#wake();
    void this.#sender?.run(link, call, (status) => link.cancel(call, status));
  }

  protected override rejected(error: CoveyError): void {
    this.#sender?.stop();
    if (this.#reader !== undefined) this.#reader.fail(error);
    else if (!this.#hasLeft) this.#error = error;
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

  override streamEnded(): void {
    if (this.over) return;
    const error = this.tellMetadata(this.call.metadata);
    this.finished();
    this.#sender?.stop();
    if (error !== undefined) this.#reader!.fail(error);
  }

  /** The reader left before it saw the end. */
  left(): void {
    this.cancelWith({ code: Code.canceled, message: "the stream was left", details: [] });
  }

  #leave(): void {
    this.#hasLeft = true;
    this.#error = undefined;
    if (this.#reader !== undefined) void this.#reader.return();
    else this.left();
  }
}
