/** A generated client is a valid handler: `serve(S, client)` is a proxy, for all four kinds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code } from "../../src/base/error.ts";
import type { Node } from "../../src/node.ts";
import type { Metadata } from "../../src/ttrpc/metadata.ts";
import type { CallContext, Client, Handlers } from "../../src/ttrpc/service.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { testHandlers } from "../support/test_service.ts";
import { failure, type Gate, makeGate, runtime, startQuiet } from "./support.ts";

interface Chain {
  readonly front: Node;
  readonly client: Client<typeof TestService>;
  /** What the back's handlers saw, in order. */
  readonly seen: CallContext[];
}

/** A back that serves, a front that passes on, and a client of the front. */
async function withChain(
  handlers: (seen: CallContext[]) => Partial<Handlers<typeof TestService>>,
  body: (chain: Chain) => Promise<void>,
): Promise<void> {
  await using back = await startQuiet({ dev: true });
  await using front = await startQuiet({ dev: true });
  await using caller = await startQuiet();
  const seen: CallContext[] = [];
  back.rpc.serve(TestService, { ...testHandlers(runtime.clock), ...handlers(seen) });
  const peer = "covey";
  front.rpc.serve(TestService, front.rpc.client(TestService, back.rpc.addresses[0], { peer }));
  const client = caller.rpc.client(TestService, front.rpc.addresses[0], { peer });
  await body({ front, client, seen });
}

async function* values(...numbers: bigint[]): AsyncGenerator<{ value: bigint }> {
  for (const value of numbers) yield { value };
}

async function* never(): AsyncGenerator<Record<string, never>> {
  await makeGate().promise;
  yield {};
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

test("proxy: all four kinds pass through", () =>
  withChain(() => ({}), async ({ client }) => {
    const payload = new Uint8Array([1, 2, 3]);
    assert.deepEqual([...(await client.echo({ payload })).payload], [1, 2, 3]);
    const counted = await collect(client.count({ count: 500, bytes: 10 }));
    assert.deepEqual(counted.map(({ index }) => index), [...Array(500).keys()]);
    assert.equal((await client.sum(values(1n, 2n, 2n ** 62n))).sum, 2n ** 62n + 3n);
    const sent = makeGate();
    async function* questions() {
      yield { payload };
      await sent.promise;
      yield { payload: new Uint8Array([9]) };
    }
    const chat = client.chat(questions())[Symbol.asyncIterator]();
    assert.deepEqual([...(await chat.next()).value!.payload], [1, 2, 3]);
    sent.open();
    assert.deepEqual([...(await chat.next()).value!.payload], [9]);
    assert.equal((await chat.next()).done, true);
  }));

test("proxy: metadata, deadline and response metadata pass through every kind", () =>
  withChain((seen) => {
    const note = (context: CallContext): void => {
      seen.push(context);
      context.responseMetadata.append("served-by", "back");
      context.responseMetadata.append("served-by", context.method.name);
    };
    const plain = testHandlers(runtime.clock);
    return {
      echo: (request, context) => (note(context), plain.echo(request, context)),
      count: (request, context) => (note(context), plain.count(request, context)),
      sum: (requests, context) => (note(context), plain.sum(requests, context)),
      chat: (requests, context) => (note(context), plain.chat(requests, context)),
    };
  }, async ({ client, seen }) => {
    const told: (readonly [string, string])[][] = [];
    const options = {
      metadata: { "x-one": "1", "x-many": ["a", "b"] },
      timeoutMs: 50_000,
      onResponseMetadata: (metadata: Metadata) => void told.push([...metadata]),
    };
    await client.echo({}, options);
    await collect(client.count({ count: 2 }, options));
    await client.sum(values(1n), options);
    await collect(client.chat(values() as never, options));
    assert.deepEqual(seen.map(({ method }) => method.name), ["Echo", "Count", "Sum", "Chat"]);
    for (const { metadata, timeoutMs } of seen) {
      assert.deepEqual([...metadata], [["x-one", "1"], ["x-many", "a"], ["x-many", "b"]]);
      assert.ok(
        timeoutMs !== undefined && timeoutMs > 10_000 && timeoutMs <= 50_000,
        `${timeoutMs}`,
      );
    }
    assert.deepEqual(
      told,
      ["Echo", "Count", "Sum", "Chat"].map((name) => [["served-by", "back"], ["served-by", name]]),
    );
    await client.echo({});
    assert.equal(seen.at(-1)!.timeoutMs, undefined);
  }));

test("proxy: a deadline that passes at the back is the caller's deadline", () =>
  withChain(() => ({}), async ({ client }) => {
    const late = client.echo({ delayMillis: 60_000 }, { timeoutMs: 60 });
    await failure(late, Code.deadlineExceeded, /^deadline exceeded$/);
  }));

test("proxy: an error keeps its code, its message and its details", () =>
  withChain(() => ({}), async ({ client }) => {
    const failed = client.fail({ code: Code.dataLoss, message: "lost", after: 2 });
    const error = await failure(failed, Code.dataLoss, /^lost$/);
    assert.deepEqual(
      error.details.map(({ typeUrl }) => typeUrl),
      Array(2).fill("type.googleapis.com/covey.test.v1.FailRequest"),
    );
    const stream = client.failStream({ code: Code.aborted, message: "half way", after: 3 });
    const got: number[] = [];
    await failure(
      async () => {
        for await (const { payload } of stream) got.push(payload[0]);
      },
      Code.aborted,
      /^half way$/,
    );
    assert.deepEqual(got, [0, 1, 2]);
  }));

/** Handlers of every kind that never end, and tell when they begin and why they are to stop. */
function hanging(began: Gate, stopped: Gate<unknown>): Partial<Handlers<typeof TestService>> {
  const hang = (context: CallContext): Promise<never> => {
    context.signal.addEventListener("abort", () => stopped.open(context.signal.reason));
    began.open();
    return makeGate<never>().promise;
  };
  return {
    echo: (_request, context) => hang(context),
    async *count(_request, context) {
      yield await hang(context);
    },
    sum: (_requests, context) => hang(context),
    async *chat(_requests, context) {
      yield await hang(context);
    },
  };
}

for (const kind of ["echo", "count", "sum", "chat"] as const) {
  test(`proxy: cancelling ${kind} reaches the handler behind it`, async () => {
    const began = makeGate();
    const stopped = makeGate<unknown>();
    await withChain(() => hanging(began, stopped), async ({ client }) => {
      const abort = new AbortController();
      const options = { signal: abort.signal };
      const call = kind === "echo"
        ? client.echo({}, options)
        : kind === "sum"
        ? client.sum(never(), options)
        : kind === "count"
        ? collect(client.count({}, options))
        : collect(client.chat(never(), options));
      await began.promise;
      abort.abort();
      await failure(call, Code.canceled, /./);
      const reason = await stopped.promise;
      assert.match(String(reason), /cancel/);
    });
  });
}

test("proxy: a caller that vanishes cancels what runs behind the proxy", async () => {
  const began = makeGate();
  const stopped = makeGate<unknown>();
  await withChain(() => hanging(began, stopped), async ({ front }) => {
    const caller = await startQuiet();
    const call = caller.rpc.client(TestService, front.rpc.addresses[0]).echo({});
    const gone = failure(call, Code.canceled, /./);
    await began.promise;
    await caller.stop();
    await gone;
    assert.match(String(await stopped.promise), /cancel|closed/);
  });
});

test("proxy: a back that is not there is unavailable at the front", async () => {
  await using front = await startQuiet({ dev: true });
  front.rpc.serve(TestService, front.rpc.client(TestService, "tcp://127.0.0.1:1"));
  await using caller = await startQuiet();
  const client = caller.rpc.client(TestService, front.rpc.addresses[0]);
  await failure(client.nothing({}), Code.unavailable, /^cannot reach tcp:\/\/127\.0\.0\.1:1/);
  await failure(client.sum(values(1n)), Code.unavailable, /./);
  await failure(() => collect(client.count({ count: 1 })), Code.unavailable, /./);
});
