/** The sending half of a call whose client streams. */
import { Code, CoveyError } from "../base/error.ts";
import type { MessageEncoder } from "./codec/encode.ts";
import type { ClientLink } from "./client_link.ts";
import type { ClientCall } from "./core/client.ts";
import type { Status } from "./core/envelope.ts";
import type { MethodCodec } from "./method_codec.ts";
import { dismiss } from "./reader.ts";

/** Sends a caller's messages on a stream, as fast as it has room. */
export class Sender {
  readonly #encoder: MessageEncoder;
  readonly #codec: MethodCodec;
  readonly #inputs: AsyncIterable<unknown>;
  #iterator: AsyncIterator<unknown> | undefined = undefined;
  #stopped = false;
  #room: (() => void) | undefined = undefined;

  constructor(encoder: MessageEncoder, codec: MethodCodec, inputs: AsyncIterable<unknown>) {
    this.#encoder = encoder;
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
        const encoder = this.#encoder;
        encoder.encode(this.#codec.input, result.value);
        const length = encoder.end - encoder.start;
        if (length > link.machine.messageBytesMax) {
          link.limitHit("message_bytes");
          this.stop();
          cancel({
            code: Code.resourceExhausted,
            message: `message length ${length} exceeds the maximum of ` +
              `${link.machine.messageBytesMax} bytes`,
            details: [],
          });
          return;
        }
        const { bytes, start, end } = encoder;
        while (!link.machine.accepts(call, length)) {
          await new Promise<void>((resolve) => this.#room = resolve);
          if (this.#stopped || call.over) return;
        }
        // The flush may make the room at once: whoever waits for it waits before.
        const waits = link.machine.send(call, bytes, start, end)
          ? undefined
          : new Promise<void>((resolve) => this.#room = resolve);
        link.flushSoon();
        if (waits !== undefined) await waits;
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
    void dismiss(this.#iterator);
  }
}
