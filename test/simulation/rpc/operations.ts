/** One operation of a client: begins the call, reads what comes, and checks every byte of it. */
import { Code, CoveyError } from "../../../src/base/error.ts";
import { Health } from "../../../src/gen/grpc/health/v1/health_pb.ts";
import type { Runtime } from "../../../src/runtime/port.ts";
import type { Channel } from "../../../src/ttrpc/channel.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import type { CallOptions } from "../../../src/ttrpc/service.ts";
import { TestService } from "../../gen/covey/test/v1/test_pb.ts";
import type { Mark } from "./marks.ts";
import { describe, isPattern, type Ledger, type Operation, pattern } from "./ledger.ts";
import { sleep } from "../sleep.ts";
import { operationKey, valueOf } from "./service.ts";

export interface OperationParts {
  readonly runtime: Runtime;
  readonly ledger: Ledger;
  readonly channel: Channel;
  readonly operation: Operation;
  readonly mark: (name: Mark) => void;
}

/** The longest that a reader dawdles at a time; it then looks whether it should hurry. */
const dawdleMs = 25;
/** From the deadline, or the cancellation, to the outcome. */
export const outcomeSlackMs = 2 * dawdleMs + 10;
/** Unary calls of one flood. */
const floodCalls = 24;

/** Runs one operation to its end. */
export async function perform(parts: OperationParts): Promise<void> {
  const { runtime, ledger, operation, channel, mark } = parts;
  const { verdict } = ledger;
  const abort = new AbortController();
  const { timeoutMs, cancelAfterMs } = operation;
  const expect = (invariant: string) => {
    operation.hurry = true;
    runtime.clock.timer(outcomeSlackMs, () => {
      verdict.check(operation.ended, invariant, () => describe(operation));
    }, undefined);
  };
  const timers = [
    ...timeoutMs === undefined ? [] : [
      runtime.clock.timer(timeoutMs, () => expect("a call ends by its deadline"), undefined),
    ],
    ...cancelAfterMs === undefined ? [] : [
      runtime.clock.timer(cancelAfterMs, () => {
        operation.canceled = true;
        abort.abort();
        expect("a canceled call ends at once");
      }, undefined),
    ],
  ];
  let error: unknown;
  try {
    await bodies[operation.kind](parts, {
      timeoutMs,
      signal: abort.signal,
      metadata: { [operationKey]: String(operation.id) },
    });
  } catch (thrown) {
    error = thrown;
  }
  for (const timer of timers) timer.cancel();
  ledger.end(operation, error, runtime.clock.monotonicMs());
  if (!(error instanceof CoveyError)) return;
  if (error.code === Code.canceled && operation.canceled) {
    mark(error.sent === false ? "cancel before sending" : "cancel after sending");
  }
  if (error.code === Code.deadlineExceeded && error.sent === false && channel.link === undefined) {
    mark("deadline while waiting for a connection");
  }
  if (error.code === Code.resourceExhausted && error.sent === false) {
    if (error.rawMessage.includes("exceeds the maximum")) mark("oversized refused unsent");
  }
  if (error.rawMessage === "the server is shutting down" && error.sent) {
    mark("refused while draining");
  }
}

type Body = (parts: OperationParts, options: CallOptions) => Promise<void>;

const bodies: Readonly<Record<Operation["kind"], Body>> = {
  echo,
  throw: echo,
  nothing: async ({ channel }, options) => {
    await createClient(TestService, channel).nothing({}, options);
  },
  async fail({ channel, ledger, operation }, options) {
    const message = `failure ${operation.id}`;
    try {
      await createClient(TestService, channel).fail({ code: operation.code, message }, options);
      ledger.verdict.violate("a result is right", `no error for ${describe(operation)}`);
    } catch (error) {
      checkFailure(ledger, operation, error);
      throw error;
    }
  },
  async count(parts, options) {
    const { operation } = parts;
    const { count, bytes } = operation;
    const stream = createClient(TestService, parts.channel).count({ count, bytes }, options);
    await readStream(
      parts,
      stream,
      count,
      (message, index) =>
        message.index === index && message.payload.length === bytes &&
        isPattern(message.payload, operation.id, index),
    );
  },
  async failStream(parts, options) {
    const { operation, ledger } = parts;
    const { count, code } = operation;
    const message = `failure ${operation.id}`;
    const stream = createClient(TestService, parts.channel)
      .failStream({ after: count, code, message }, options);
    let read = 0;
    try {
      await readStream(parts, stream, count, (answer, index) => {
        read++;
        return isPattern(answer.payload, operation.id, index);
      });
      const mayEnd = operation.note === "left";
      ledger.verdict.check(mayEnd, "a result is right", () => `no error: ${describe(operation)}`);
    } catch (error) {
      if (checkFailure(ledger, operation, error)) {
        if (read > 0) parts.mark("stream failed after messages");
        ledger.verdict.check(
          read === count,
          "messages come before the error behind them",
          () => `${read} messages of ${describe(operation)}`,
        );
      }
      throw error;
    }
  },
  async sum({ channel, ledger, operation, runtime }, options) {
    const { count, handling } = operation;
    let total = 0n;
    for (let index = 0; index < count; index++) total += valueOf(operation.id, index);
    const answer = await createClient(TestService, channel).sum(
      produce(runtime, operation, (index) => ({ value: valueOf(operation.id, index) })),
      options,
    );
    if (handling === "deaf" || handling === "hasty") return;
    ledger.verdict.check(
      answer.sum === total && answer.count === count,
      "a result is right",
      () => `sum ${answer.sum} of ${answer.count}, not ${total}: ${describe(operation)}`,
    );
  },
  async chat(parts, options) {
    const { operation, runtime } = parts;
    const { count, bytes, id, handling } = operation;
    const requests = produce(
      runtime,
      operation,
      (index) => ({ payload: pattern(id, index, bytes) }),
    );
    const stream = createClient(TestService, parts.channel).chat(requests, options);
    const expected = handling === "deaf" ? 0 : handling === "hasty" ? Math.min(count, 3) : count;
    await readStream(
      parts,
      stream,
      expected,
      (answer, index) => answer.payload.length === bytes && isPattern(answer.payload, id, index),
    );
  },
  async flood({ channel, operation, ledger }, options) {
    // Only the first is the operation itself; the others are there to fill queues.
    const client = createClient(TestService, channel);
    const payload = pattern(operation.id, 0, Math.max(operation.bytes, 1000) * 8);
    const others = Array.from(
      { length: floodCalls },
      () =>
        client.echo({ payload }, { ...options, metadata: { [operationKey]: "raw" } }).then(
          (answer) =>
            ledger.verdict.check(
              isPattern(answer.payload, operation.id, 0),
              "no byte of one call in another",
              () => describe(operation),
            ),
          () => undefined,
        ),
    );
    await Promise.all([client.nothing({}, options), ...others]);
  },
  async watch({ channel, operation, runtime }, options) {
    const stream = createClient(Health, channel).watch({ service: "" }, options);
    const { value } = await stream[Symbol.asyncIterator]().next();
    if (value === undefined) return;
    await dawdle(runtime, operation, operation.bytes);
    await stream[Symbol.asyncIterator]().return?.();
  },
  async badMetadata({ channel }, options) {
    const metadata = { wrong: 5 as unknown as string };
    await createClient(TestService, channel).nothing({}, { ...options, metadata });
  },
  async badInput({ channel, operation, runtime }, options) {
    const requests = produce(runtime, operation, (index) => {
      if (index === 1) throw new Error("the caller's own iterable failed");
      return { value: valueOf(operation.id, index) };
    });
    await createClient(TestService, channel).sum(requests, options);
  },
};

async function echo({ channel, ledger, operation }: OperationParts, options: CallOptions) {
  const payload = pattern(operation.id, 0, operation.bytes);
  const answer = await createClient(TestService, channel)
    .echo({ payload, metadataKey: operationKey }, options);
  const right = answer.payload.length === payload.length &&
    isPattern(answer.payload, operation.id, 0) && answer.metadataValues.length === 1 &&
    answer.metadataValues[0] === String(operation.id) && operation.kind === "echo";
  ledger.verdict.check(right, "a result is right", () => describe(operation));
}

/** Whether the error is the one that the handler was asked for. */
function checkFailure(ledger: Ledger, operation: Operation, error: unknown): boolean {
  if (!(error instanceof CoveyError) || error.code !== operation.code) return false;
  const own = error.rawMessage === `failure ${operation.id}`;
  if (own) {
    ledger.verdict.check(error.sent === true, "a result is right", () => describe(operation));
  }
  return own;
}

/** A client's messages, with the plan's pauses between them. */
async function* produce<T>(
  runtime: Runtime,
  operation: Operation,
  make: (index: number) => T,
): AsyncGenerator<T> {
  for (let index = 0; index < operation.count; index++) {
    if (operation.gapMs > 0) await sleep(runtime, operation.gapMs);
    yield make(index);
  }
}

/** Waits in small pieces, until it should hurry. */
async function dawdle(runtime: Runtime, operation: Operation, ms: number): Promise<void> {
  for (let left = ms; left > 0 && !operation.hurry; left -= dawdleMs) {
    await sleep(runtime, left < dawdleMs ? left : dawdleMs);
  }
}

/** Reads a stream the way the plan says; a stream that ends well must be complete. */
async function readStream<T>(
  { runtime, operation, ledger, mark }: OperationParts,
  stream: AsyncIterable<T>,
  expected: number,
  isRight: (message: T, index: number) => boolean,
): Promise<void> {
  const { reading } = operation;
  if (reading === "late" || reading === "never") {
    await dawdle(runtime, operation, reading === "late" ? 300 : 2000);
  }
  const iterator = stream[Symbol.asyncIterator]();
  let index = 0;
  for (;;) {
    if (reading === "never" || (reading === "early" && index * 2 >= expected)) {
      mark("stream left early");
      await iterator.return?.();
      operation.note = "left";
      return;
    }
    const next = await iterator.next();
    if (next.done) break;
    ledger.verdict.check(
      index < expected && isRight(next.value, index),
      "a stream is complete, in order and its own",
      () => `message ${index} of ${describe(operation)}`,
    );
    index++;
    if (reading === "slow") await dawdle(runtime, operation, 20);
  }
  ledger.verdict.check(
    index === expected,
    "a stream is complete, in order and its own",
    () => `ended after ${index} of ${expected} messages: ${describe(operation)}`,
  );
}
