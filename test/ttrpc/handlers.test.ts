/** What a handler sees: its signal, its deadline, its reader; and what its mistakes do. */
import assert from "node:assert/strict";
import { CoveyError } from "../../src/base/error.ts";
import type { CallContext } from "../../src/ttrpc/service.ts";
import { close, codeOf, data, pattern, readResponse } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import { bothTest, memoryTest } from "./support/stage.ts";
import { echo, open } from "./support/test_frames.ts";
import { within } from "./support/within.ts";

/** Resolves with the reason of a call's signal. */
function aborted(context: CallContext): Promise<Error> {
  return new Promise((resolve) => {
    const { signal } = context;
    if (signal.aborted) resolve(signal.reason);
    else signal.addEventListener("abort", () => resolve(signal.reason));
  });
}

/** Keeps the context of every call, and never answers. */
function silent(contexts: CallContext[]) {
  return {
    nothing(_: unknown, context: CallContext) {
      contexts.push(context);
      return new Promise<Record<never, never>>(() => {});
    },
    async *count(_: unknown, context: CallContext) {
      contexts.push(context);
      yield {};
      await new Promise(() => {});
    },
    async sum(_: unknown, context: CallContext) {
      contexts.push(context);
      return await new Promise<Record<never, never>>(() => {});
    },
    async *chat(requests: AsyncIterable<unknown>, context: CallContext) {
      contexts.push(context);
      for await (const _ of requests) yield {};
    },
  };
}

for (const peer of ["covey", "any"] as const) {
  bothTest(`the signal fires when the peer is gone, all kinds, peer ${peer}`, async (stage) => {
    const contexts: CallContext[] = [];
    const { client, channel, server } = await stage.pair({ handlers: silent(contexts) }, { peer });
    const ends = [
      failure(client.nothing({})),
      failure(client.sum(new Feed())),
      drain(client.count({})),
      drain(client.chat(new Feed())),
    ];
    while (contexts.length < 4) await turns(1);
    const reasons = contexts.map(aborted);
    channel.close();
    for (const reason of await within(Promise.all(reasons), () => "the signals")) {
      assert.ok(reason instanceof CoveyError && reason.code === 14);
    }
    await Promise.all(ends);
    assert.equal(server.counters.callsOpen, 0);
  });
}

bothTest("the signal fires when a covey client gives a call up, all kinds", async (stage) => {
  const contexts: CallContext[] = [];
  const { client, server } = await stage.pair({ handlers: silent(contexts) }, { peer: "covey" });
  const controller = new AbortController();
  const options = { signal: controller.signal };
  const ends = [
    failure(client.nothing({}, options)),
    failure(client.sum(new Feed(), options)),
    drain(client.count({}, options)).then((one) => one.error!),
    drain(client.chat(new Feed(), options)).then((one) => one.error!),
  ];
  while (contexts.length < 4) await turns(1);
  const reasons = contexts.map(aborted);
  controller.abort();
  for (const reason of await within(Promise.all(reasons), () => "the signals")) {
    assert.ok(reason instanceof CoveyError && reason.code === 1);
  }
  for (const end of await Promise.all(ends)) assert.equal(end.code, 1);
  assert.equal(server.counters.callsOpen, 0);
  assert.equal(server.connections, 1);
});

memoryTest(
  "the signal fires at the deadline, which the handler can read, all kinds",
  async (stage) => {
    const contexts: CallContext[] = [];
    const { client } = await stage.pair({ handlers: silent(contexts) });
    const options = { timeoutMs: 100 };
    const ends = [
      failure(client.nothing({}, options)),
      failure(client.sum(new Feed(), options)),
      drain(client.count({}, options)).then((one) => one.error!),
      drain(client.chat(new Feed(), options)).then((one) => one.error!),
    ];
    await turns();
    assert.deepEqual(contexts.map((one) => Math.round(one.timeoutMs!)), [100, 100, 100, 100]);
    await stage.clock.advance(60);
    assert.deepEqual(contexts.map((one) => Math.round(one.timeoutMs!)), [40, 40, 40, 40]);
    assert.ok(contexts.every((one) => !one.signal.aborted));
    await stage.clock.advance(41);
    for (const context of contexts) assert.equal((await aborted(context) as CoveyError).code, 4);
    for (const end of ends) assert.equal((await end).code, 4);
    assert.deepEqual(contexts.map((one) => one.timeoutMs), [0, 0, 0, 0]);
  },
);

bothTest("the signal fires when the call has finished, all kinds", async (stage) => {
  const contexts: CallContext[] = [];
  const { client } = await stage.pair({
    interceptors: [(call, next) => {
      contexts.push(call.context);
      // Asked for before, like a handler that listens.
      assert.equal(call.context.signal.aborted, false);
      return next(call);
    }],
  });
  const feed = () => {
    const one = new Feed<Record<never, never>>({});
    one.end();
    return one;
  };
  await client.nothing({});
  await client.sum(feed());
  await drain(client.count({ count: 3 }));
  await drain(client.chat(feed()));
  await failure(client.fail({ code: 5 }));
  await drain(client.failStream({ code: 5 }));
  assert.equal(contexts.length, 6);
  const names = (await Promise.all(contexts.map(aborted))).map((reason) => reason.name);
  assert.deepEqual(names, new Array(6).fill("AbortError"));
});

bothTest(
  "a handler that throws becomes a status; what it sent before comes first",
  async (stage) => {
    const thrown: unknown[] = [];
    const { client } = await stage.pair({
      onHandlerError: (path, error) => thrown.push(path, (error as Error).message),
      handlers: {
        nothing: () => {
          throw new Error("at once");
        },
        echo: () => Promise.reject(new TypeError("later")),
        async *count() {
          yield { index: 1 };
          yield { index: 2 };
          throw new CoveyError(9, "in the middle", {
            details: [{ typeUrl: "t", value: pattern(3) }],
          });
        },
        async sum(requests) {
          for await (const _ of requests) throw new Error("while reading");
          return {};
        },
        async *chat(requests) {
          for await (const one of requests) {
            yield { payload: one.payload };
            throw new CoveyError(7, "not you");
          }
        },
      },
    });
    assert.equal((await failure(client.nothing({}))).code, 2);
    assert.equal((await failure(client.echo({}))).rawMessage, "later");
    const count = await drain(client.count({}));
    assert.deepEqual(count.messages.map((one) => one.index), [1, 2]);
    assert.deepEqual([count.error!.code, count.error!.rawMessage], [9, "in the middle"]);
    assert.deepEqual(count.error!.details, [{ typeUrl: "t", value: pattern(3) }]);
    const feed = new Feed({});
    assert.equal((await failure(client.sum(feed))).rawMessage, "while reading");
    await feed.returned;
    const chat = await drain(client.chat(new Feed({ payload: pattern(4) })));
    assert.deepEqual([chat.messages.length, chat.error!.code], [1, 7]);
    // Errors of covey's own class are answers; the others are somebody's bug and are told.
    assert.deepEqual(thrown, [
      "covey.test.v1.TestService/Nothing",
      "at once",
      "covey.test.v1.TestService/Echo",
      "later",
      "covey.test.v1.TestService/Sum",
      "while reading",
    ]);
  },
);

bothTest("what a handler cannot give is its own error, not the connection's", async (stage) => {
  const { client, server } = await stage.pair({
    handlers: {
      // deno-lint-ignore no-explicit-any -- wrong on purpose
      nothing: () => undefined as any,
      // deno-lint-ignore no-explicit-any -- wrong on purpose
      echo: () => ({ payload: "text" } as any),
      // deno-lint-ignore no-explicit-any -- wrong on purpose
      count: () => ({} as any),
      // deno-lint-ignore no-explicit-any -- wrong on purpose
      async *failStream(): any {
        yield { payload: 5 };
      },
    },
  });
  const answers = [
    await client.nothing({}).then(() => 0, (error) => error.code),
    (await failure(client.echo({}))).code,
    (await drain(client.count({}))).error!.code,
    (await drain(client.failStream({}))).error!.code,
  ];
  assert.deepEqual(answers.slice(1), [2, 2, 2]);
  await client.fail({ code: 5 }).catch((error) => assert.equal(error.code, 5));
  assert.equal(server.connections, 1);
  assert.equal(server.counters.callsOpen, 0);
});

bothTest("a streaming handler is told to clean up, however its call ends", async (stage) => {
  const cleaned: string[] = [];
  let clean: (() => void)[] = [];
  const note = (text: string) => {
    cleaned.push(text);
    clean.forEach((one) => one());
    clean = [];
  };
  const { client } = await stage.pair({
    handlers: {
      async *count(request) {
        try {
          for (let index = 0; request.count === 0 || index < request.count; index++) {
            if (request.bytes === 7) yield { payload: "not bytes" as unknown as Uint8Array };
            if (request.bytes === 8) yield { payload: pattern(5 << 20) };
            yield { index };
          }
        } finally {
          note(`${request.bytes}`);
        }
      },
    },
  }, { peer: "covey" });
  const after = async (act: () => Promise<unknown>) => {
    const done = new Promise<void>((resolve) => clean.push(resolve));
    await act();
    await within(done, () => `the clean-up (${cleaned})`);
  };
  await after(() => drain(client.count({ count: 2, bytes: 1 })));
  await after(async () => {
    for await (const one of client.count({ bytes: 2 })) if (one.index === 3) break;
  });
  await after(async () => {
    const { signal, abort } = controllerOf();
    const stream = drain(client.count({ bytes: 3 }, { signal }));
    await turns(2);
    abort();
    await stream;
  });
  await after(() => drain(client.count({ count: 1, bytes: 7 })));
  await after(() => drain(client.count({ count: 1, bytes: 8 })));
  assert.deepEqual(cleaned, ["1", "2", "3", "7", "8"]);
});

function controllerOf() {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

bothTest("iterators that misbehave when told to stop harm nobody", async (stage) => {
  const rude = (kind: "throw" | "nothing"): AsyncIterable<Record<never, never>> => ({
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.resolve({ done: false, value: {} }),
      return: () => {
        if (kind === "throw") throw new Error("from return");
        return undefined as unknown as Promise<IteratorResult<Record<never, never>>>;
      },
    }),
  });
  for (const kind of ["throw", "nothing"] as const) {
    const { client, server } = await stage.pair({
      handlers: {
        count: () => rude(kind),
        sum: () => Promise.reject(new CoveyError(9, "enough")),
      },
    }, { peer: "covey" });
    for await (const _ of client.count({})) break;
    assert.equal((await failure(client.sum(rude(kind)))).code, 9);
    const { signal, abort } = controllerOf();
    const chat = drain(client.chat(rude(kind), { signal }));
    await turns(2);
    abort();
    assert.equal((await chat).error!.code, 1);
    await client.echo({});
    while (server.counters.callsOpen > 0) await turns(1);
  }
});

bothTest("malformed messages end their call with 13, whoever reads and when", async (stage) => {
  const seen: string[] = [];
  const { address } = await stage.serve({
    handlers: {
      async sum(requests, context) {
        // One message is there before the reader asks, the other comes while it waits.
        if (context.metadata.get("late") !== undefined) await turns(3);
        try {
          for await (const _ of requests) seen.push("message");
          seen.push("end");
        } catch (error) {
          seen.push(`error ${(error as CoveyError).code}`);
          throw error;
        }
        return {};
      },
    },
  });
  const peer = await stage.raw(address);
  const bad = new Uint8Array([0x08]);
  peer.send(open(1, 6, "Sum"));
  await turns();
  peer.send(data(1), data(1, bad), close(1));
  assert.equal(codeOf(await peer.next()), 13);
  const metadata = [{ key: "late", value: "" }];
  peer.send(open(3, 6, "Sum", { metadata }), data(3), data(3, bad), close(3));
  assert.equal(codeOf(await peer.next()), 13);
  assert.deepEqual(seen, ["message", "error 13", "message", "error 13"]);
  peer.send(open(5, 0, "Echo", { payload: bad }), echo(7, {}));
  const [refusal, fine] = await peer.take(2);
  assert.deepEqual([codeOf(refusal), codeOf(fine)], [13, 0]);
  assert.match(readResponse(refusal).status!.message, /EchoRequest/);
});

bothTest("a stream has one reader at a time, and a second one is told", async (stage) => {
  const results: unknown[] = [];
  const { client } = await stage.pair({
    handlers: {
      async sum(requests) {
        const iterator = requests[Symbol.asyncIterator]();
        const [first, second] = await Promise.allSettled([iterator.next(), iterator.next()]);
        results.push(first.status, second.status);
        return {};
      },
    },
  });
  const feed = new Feed<Record<never, never>>();
  const sum = client.sum(feed);
  await turns(4);
  feed.push({});
  await sum;
  assert.deepEqual(results, ["fulfilled", "rejected"]);
});

memoryTest(
  "a handler that reads after its call is over gets the reason, then the end",
  async (stage) => {
    const seen: unknown[] = [];
    let finished = (): void => {};
    const done = new Promise<void>((resolve) => finished = resolve);
    const { client } = await stage.pair({
      handlers: {
        async sum(requests, context) {
          await aborted(context);
          const iterator = requests[Symbol.asyncIterator]();
          seen.push((await iterator.next()).value.value);
          seen.push((await failure(iterator.next())).code);
          seen.push((await iterator.next()).done);
          finished();
          return {};
        },
      },
    }, { peer: "covey" });
    const { signal, abort } = controllerOf();
    const sum = failure(client.sum(new Feed({ value: 7n }), { signal }));
    await turns();
    abort();
    await done;
    assert.equal((await sum).code, 1);
    assert.deepEqual(seen, [7n, 1, true]);
  },
);
