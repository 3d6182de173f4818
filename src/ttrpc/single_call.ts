/** Calls with one answer: unary, and client streaming. */
import type { DescMessage, Message } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import type { Channel } from "./channel.ts";
import { undecodable } from "./codec/decode.ts";
import type { ClientLink } from "./client_link.ts";
import type { MethodCodec } from "./method_codec.ts";
import { PendingCall } from "./pending_call.ts";
import { Sender } from "./sender.ts";
import type { CallOptions } from "./service.ts";

/** A call with one answer and, for client streaming, many requests. */
export class SingleCall extends PendingCall {
  readonly promise: Promise<Message>;
  #resolve!: (message: Message) => void;
  #reject!: (error: CoveyError) => void;
  readonly #sender: Sender | undefined;

  constructor(
    channel: Channel,
    codec: MethodCodec,
    options: CallOptions,
    inputs: AsyncIterable<unknown> | undefined,
  ) {
    super(channel, codec, options);
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#sender = inputs === undefined ? undefined : new Sender(channel.encoder, codec, inputs);
  }

  override result(
    buffer: Uint8Array,
    start: number,
    end: number,
    metadata?: readonly string[],
  ): void {
    this.finished();
    this.#sender?.stop();
    const error = this.tellMetadata(metadata);
    if (error !== undefined) {
      this.#reject(error);
      return;
    }
    const { decoder, slab } = this.channel;
    try {
      this.#resolve(decoder.decode(this.codec.output, buffer, start, end, slab));
    } catch (error) {
      this.#reject(malformed(this.codec.descriptor.output, error));
    }
  }

  override streamEnded(): void {
    throw new CoveyError(Code.internal, "a single result is no stream");
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

function malformed(schema: DescMessage, cause: unknown): CoveyError {
  return new CoveyError(Code.internal, undecodable(schema.typeName, cause), { cause, sent: true });
}
