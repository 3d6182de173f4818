/**
 * The messages of a stream as an async iterator. Messages that are there are decoded when they are
 * asked for; an unread stream therefore costs its bytes and nothing else.
 */
import type { Message } from "npm:@bufbuild/protobuf@2.17.0";
import { assert } from "../base/assert.ts";
import { Code, CoveyError } from "../base/error.ts";
import { type MessageDecoder, undecodable } from "./codec/decode.ts";
import type { MessagePlan } from "./codec/plan.ts";
import type { Call } from "./core/call.ts";
import type { Link } from "./link.ts";

/** Told when the reader leaves before the end. */
export interface ReaderOwner {
  left(): void;
}

export class MessageReader<C extends Call> implements AsyncIterableIterator<Message> {
  readonly #link: Link<C>;
  readonly #call: C;
  readonly #decoder: MessageDecoder;
  readonly #plan: MessagePlan;
  readonly #owner: ReaderOwner;
  #resolve: ((result: IteratorResult<Message>) => void) | undefined = undefined;
  #reject: ((error: CoveyError) => void) | undefined = undefined;
  /** How the stream ended otherwise than well; given out once, after the queued messages. */
  #error: CoveyError | undefined = undefined;
  #done = false;

  constructor(
    link: Link<C>,
    call: C,
    decoder: MessageDecoder,
    plan: MessagePlan,
    owner: ReaderOwner,
  ) {
    this.#link = link;
    this.#call = call;
    this.#decoder = decoder;
    this.#plan = plan;
    this.#owner = owner;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Message>> {
    if (this.#resolve !== undefined) {
      return Promise.reject(
        new CoveyError(Code.failedPrecondition, "a stream is read by one reader at a time"),
      );
    }
    if (this.#done) return Promise.resolve({ done: true, value: undefined });
    const ready = this.#takeReady();
    if (ready !== undefined) return Promise.resolve(ready);
    if (this.#error !== undefined) return Promise.reject(this.#takeError());
    this.#call.flow!.wantsMessage = true;
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Leaves before the end: the rest is dropped, and a client's call is cancelled. */
  return(): Promise<IteratorResult<Message>> {
    this.#leave();
    return Promise.resolve({ done: true, value: undefined });
  }

  throw(error: unknown): Promise<IteratorResult<Message>> {
    this.#leave();
    return Promise.reject(error);
  }

  /** The machine says that a message or the end is there. */
  readable(): void {
    const resolve = this.#resolve;
    if (resolve === undefined) return;
    const reject = this.#reject!;
    try {
      const ready = this.#takeReady();
      assert(ready !== undefined, "a readable stream has a message or its end");
      this.#resolve = undefined;
      this.#reject = undefined;
      resolve(ready);
    } catch (error) {
      this.#resolve = undefined;
      this.#reject = undefined;
      reject(CoveyError.from(error));
    }
  }

  /** The stream failed; messages that are queued are still given out before the error. */
  fail(error: CoveyError): void {
    if (this.#done) return;
    this.#error = error;
    const reject = this.#reject;
    if (reject === undefined) return;
    this.#resolve = undefined;
    this.#reject = undefined;
    reject(this.#takeError());
  }

  #leave(): void {
    if (this.#done) return;
    this.#done = true;
    this.#link.machine.dropInbox(this.#call);
    this.#resolve?.({ done: true, value: undefined });
    this.#resolve = undefined;
    this.#reject = undefined;
    this.#owner.left();
    this.#link.resumed();
  }

  #takeReady(): IteratorResult<Message> | undefined {
    const flow = this.#call.flow!;
    const bytes = this.#link.take(this.#call);
    if (bytes !== undefined) {
      try {
        return { done: false, value: this.#decoder.decodeOwned(this.#plan, bytes) };
      } catch (error) {
        // Not `#leave`: a reader that waits must get this error, not a clean end.
        this.#done = true;
        this.#link.machine.dropInbox(this.#call);
        this.#owner.left();
        throw new CoveyError(Code.internal, undecodable(this.#plan.typeName, error), {
          cause: error,
        });
      }
    }
    if (!flow.ended || this.#error !== undefined) return undefined;
    this.#done = true;
    return { done: true, value: undefined };
  }

  #takeError(): CoveyError {
    this.#done = true;
    return this.#error!;
  }
}

/** Tells an iterator that nobody asks it any more, where nobody waits for what it makes of that. */
export async function dismiss(iterator: AsyncIterator<unknown> | undefined): Promise<void> {
  try {
    await iterator?.return?.();
  } catch {
    // The call has its outcome; what somebody's iterator throws now changes nothing.
  }
}
