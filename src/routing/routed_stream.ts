/**
 * A routed call whose answers are a stream: server streaming, and bidirectional. Like a plain one it
 * begins at once and is read by one reader at a time.
 *
 * It counts as under way at its member until its end was read, it failed, or it was left.
 */
import type { Message } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import type { Peer } from "./peer.ts";
import type { RoutedCall } from "./routed_call.ts";

export class RoutedStream implements AsyncIterableIterator<Message> {
  readonly #call: RoutedCall;
  /** Settles, always well, when there is a stream or an error. */
  #begun: Promise<void>;
  #peer: Peer | undefined = undefined;
  #inner: AsyncIterator<Message> | undefined = undefined;
  #error: CoveyError | undefined = undefined;
  #isReading = false;
  #isOver = false;
  /** An answer came: whoever asked knows that the call ran. */
  #hasAnswer = false;

  constructor(call: RoutedCall) {
    this.#call = call;
    this.#begun = this.#begin();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Message>> {
    if (this.#isReading) {
      const message = "a stream is read by one reader at a time";
      throw new CoveyError(Code.failedPrecondition, message);
    }
    this.#isReading = true;
    try {
      return await this.#read();
    } finally {
      this.#isReading = false;
    }
  }

  /** Leaves the stream: the call is canceled. */
  async return(): Promise<IteratorResult<Message>> {
    await this.#leave();
    return { done: true, value: undefined };
  }

  async throw(error: unknown): Promise<IteratorResult<Message>> {
    await this.#leave();
    throw error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  async #read(): Promise<IteratorResult<Message>> {
    for (;;) {
      if (this.#inner === undefined && !this.#isOver) await this.#begun;
      const error = this.#error;
      this.#error = undefined;
      if (error !== undefined) throw error;
      if (this.#isOver) return { done: true, value: undefined };
      try {
        const result = await this.#inner!.next();
        if (result.done) this.#end();
        else this.#hasAnswer = true;
        return result;
      } catch (thrown) {
        this.#retry(thrown);
      }
    }
  }

  /** Begins anew elsewhere, or throws. */
  #retry(thrown: unknown): void {
    const peer = this.#peer;
    const wasLeft = this.#isOver;
    this.#end();
    // It was left while it was read, and that is why it failed.
    if (peer === undefined || wasLeft) return;
    if (this.#hasAnswer) throw peer.explained(CoveyError.from(thrown), this.#call.options);
    this.#call.failed(peer, thrown);
    this.#isOver = false;
    this.#begun = this.#begin();
  }

  async #begin(): Promise<void> {
    while (!this.#isOver) {
      let peer: Peer;
      try {
        const next = this.#call.next();
        peer = next instanceof Promise ? await next : next;
      } catch (error) {
        this.#fail(error);
        return;
      }
      if (this.#isOver) {
        peer.end();
        return;
      }
      try {
        this.#peer = peer;
        const stream = this.#call.start(peer) as AsyncIterable<Message>;
        this.#inner = stream[Symbol.asyncIterator]();
        return;
      } catch (thrown) {
        this.#peer = undefined;
        peer.end();
        try {
          this.#call.failed(peer, thrown);
        } catch (error) {
          this.#fail(error);
          return;
        }
      }
    }
  }

  #fail(error: unknown): void {
    if (!this.#isOver) this.#error = CoveyError.from(error);
    this.#isOver = true;
  }

  async #leave(): Promise<void> {
    const inner = this.#inner;
    this.#end();
    this.#error = undefined;
    this.#call.stop();
    await inner?.return?.();
  }

  /** The member has one call less. */
  #end(): void {
    this.#isOver = true;
    this.#inner = undefined;
    this.#peer?.end();
    this.#peer = undefined;
    this.#call.streamEnded();
  }
}
