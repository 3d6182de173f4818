/** What the Connect edge does to bodies and results on their way. */
import { Code as ConnectCode, ConnectError } from "npm:@connectrpc/connect@2.2.0";
import { Code } from "../base/error.ts";
import type { Clock } from "../runtime/port.ts";
import { orAborted } from "./abort.ts";
import { HttpError } from "./error.ts";

/** The body once all of it is there. */
export async function readWhole(
  body: AsyncIterable<Uint8Array>,
  bytesMax: number,
): Promise<AsyncIterable<Uint8Array>> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      throw tooLarge(`the messages of this call are larger than ${bytesMax} bytes together`);
    }
    chunks.push(chunk);
  }
  return concat(chunks);
}

function tooLarge(message: string): HttpError {
  return new HttpError(413, Code.resourceExhausted, message, {
    hint: "send less, raise admin.body_bytes_max, or call by ttrpc",
  });
}

/**
 * The same bytes; fails beyond a number of them, and says so to `exceeded` too, because Connect
 * makes an error of its own of what a body throws. Not a generator: one that waits for bytes would
 * not pass a `throw` on.
 */
export function atMost(
  body: AsyncIterable<Uint8Array>,
  bytesMax: number,
  exceeded: (error: HttpError) => void,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const inner = body[Symbol.asyncIterator]();
      let bytes = 0;
      return {
        async next() {
          const result = await inner.next();
          if (result.done === true) return result;
          bytes += result.value.length;
          if (bytes <= bytesMax) return result;
          const error = tooLarge(`the body is larger than ${bytesMax} bytes`);
          exceeded(error);
          // Not awaited: what else comes is of no interest.
          inner.throw?.(error)?.catch(() => {});
          throw error;
        },
        async throw(reason) {
          return await inner.throw?.(reason) ?? { done: true, value: undefined };
        },
      };
    },
  };
}

async function* concat(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

/**
 * The same bytes; `finished` runs at their end, failure or cancellation. Not a generator: one that
 * was never started would not run its `finally`.
 */
export function withEnd(
  body: AsyncIterable<Uint8Array>,
  finished: () => void,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const inner = body[Symbol.asyncIterator]();
      return {
        async next() {
          try {
            const result = await inner.next();
            if (result.done === true) finished();
            return result;
          } catch (error) {
            finished();
            throw error;
          }
        },
        async throw(reason) {
          finished();
          return await inner.throw?.(reason) ?? { done: true, value: undefined };
        },
      };
    },
  };
}

/** The same bytes; fails when their end does not come in time. */
export function withinTime(
  body: AsyncIterable<Uint8Array>,
  clock: Clock,
  timeoutMs: number,
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const inner = body[Symbol.asyncIterator]();
      const late = new AbortController();
      const timer = clock.timer(timeoutMs, (controller) => {
        controller.abort(
          new ConnectError(
            `the request did not arrive within ${timeoutMs} ms`,
            ConnectCode.DeadlineExceeded,
          ),
        );
      }, late);
      return {
        async next() {
          try {
            const result = await orAborted(inner.next(), late.signal);
            if (result.done === true) timer.cancel();
            return result;
          } catch (error) {
            timer.cancel();
            // Not awaited: a read that hangs would never answer.
            inner.throw?.(error)?.catch(() => {});
            throw error;
          }
        },
        async throw(reason) {
          timer.cancel();
          return await inner.throw?.(reason) ?? { done: true, value: undefined };
        },
      };
    },
  };
}
