/** How calls end, as values. */
import assert from "node:assert/strict";
import { CoveyError } from "../../../src/base/error.ts";
import { within } from "./within.ts";

/** The error of a call that must fail. */
export async function failure(promise: Promise<unknown>): Promise<CoveyError> {
  let value: unknown;
  try {
    value = await within(promise, () => "a call to fail");
  } catch (error) {
    assert.ok(error instanceof CoveyError, `not a CoveyError: ${error}`);
    return error;
  }
  assert.fail(`the call did not fail but gave ${JSON.stringify(value, textOf)}`);
}

function textOf(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}n` : value;
}

/** All messages of a stream, and the error that ended it, if one did. */
export async function drain<T>(
  stream: AsyncIterable<T>,
): Promise<{ messages: T[]; error: CoveyError | undefined }> {
  const messages: T[] = [];
  try {
    await within(
      (async () => {
        for await (const message of stream) messages.push(message);
      })(),
      () => `the end of a stream (${messages.length} messages came)`,
    );
  } catch (error) {
    assert.ok(error instanceof CoveyError, `not a CoveyError: ${error}`);
    return { messages, error };
  }
  return { messages, error: undefined };
}

/** An input that is fed from outside, and tells when its reader left. */
export class Feed<T> implements AsyncIterableIterator<T> {
  readonly returned: Promise<void>;
  /** Messages that were taken. */
  taken = 0;
  #queue: (T | "end" | Error)[] = [];
  #waiter: (() => void) | undefined = undefined;
  #tellReturned!: () => void;

  constructor(...messages: readonly T[]) {
    this.#queue.push(...messages);
    this.returned = new Promise((resolve) => this.#tellReturned = resolve);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  push(...messages: readonly T[]): void {
    this.#queue.push(...messages);
    this.#waiter?.();
  }

  end(): void {
    this.#queue.push("end");
    this.#waiter?.();
  }

  fail(error: Error): void {
    this.#queue.push(error);
    this.#waiter?.();
  }

  async next(): Promise<IteratorResult<T>> {
    while (this.#queue.length === 0) {
      await new Promise<void>((resolve) => this.#waiter = resolve);
    }
    const first = this.#queue.shift()!;
    if (first === "end") return { done: true, value: undefined };
    if (first instanceof Error) throw first;
    this.taken++;
    return { done: false, value: first };
  }

  return(): Promise<IteratorResult<T>> {
    this.#tellReturned();
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }
}
