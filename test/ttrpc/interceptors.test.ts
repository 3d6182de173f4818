/** Interceptors on both sides, and `serve(S, client)`: a client that is a handler. */
import assert from "node:assert/strict";
import type { Message } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../../src/base/error.ts";
import type { ClientInterceptor, ServerInterceptor } from "../../src/ttrpc/service.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { pattern } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import { bothTest, memoryTest, type Stage, type TestClient } from "./support/stage.ts";
import { ServiceRegistry } from "../../src/ttrpc/registry.ts";
import { RpcServer } from "../../src/ttrpc/server.ts";
import { createClient } from "../../src/ttrpc/client.ts";
import { within } from "./support/within.ts";

function fed<T>(...messages: T[]): Feed<T> {
  const feed = new Feed(...messages);
  feed.end();
  return feed;
}

/** One call of each kind; gives what came back in a form to compare. */
async function callAll(client: TestClient, options = {}): Promise<unknown[]> {
  const { payload } = await client.echo({ payload: pattern(3) }, options);
  const { sum, count } = await client.sum(fed({ value: 2n }, { value: 3n }), options);
  const counted = await drain(client.count({ count: 3 }, options));
  const chat = await drain(client.chat(fed({ payload: pattern(1) }), options));
  return [
    payload.length,
    sum,
    count,
    counted.messages.map((one) => one.index),
    chat.messages.map((one) => one.payload.length),
  ];
}

const expected = [3, 5n, 2, [0, 1, 2], [1]];

bothTest(
  "interceptors run around every kind, the first one outermost, on both sides",
  async (stage) => {
    const log: string[] = [];
    const server = (name: string): ServerInterceptor => (call, next) => {
      log.push(`${name} ${call.context.method.name}`);
      return next(call);
    };
    const client = (name: string): ClientInterceptor => (call, next) => {
      log.push(`${name} ${call.method.name}`);
      return next(call);
    };
    const { client: made } = await stage.pair(
      { interceptors: [server("s1"), server("s2")] },
      { interceptors: [client("c1"), client("c2")] },
    );
    assert.deepEqual(await callAll(made), expected);
    const methods = ["Echo", "Sum", "Count", "Chat"];
    assert.deepEqual(
      log,
      methods.flatMap((one) => ["c1", "c2", "s1", "s2"].map((i) => `${i} ${one}`)),
    );
  },
);

bothTest(
  "a server's interceptor refuses by throwing, on every kind, and no handler runs",
  async (stage) => {
    let handled = 0;
    const { client, server } = await stage.pair({
      interceptors: [() => {
        throw new CoveyError(Code.permissionDenied, "not you");
      }],
      handlers: {
        echo() {
          handled++;
          return {};
        },
      },
    });
    const errors = [
      await failure(client.echo({})),
      await failure(client.sum(new Feed())),
      (await drain(client.count({}))).error!,
      (await drain(client.chat(new Feed()))).error!,
    ];
    assert.deepEqual(errors.map((error) => error.code), [7, 7, 7, 7]);
    assert.equal(handled, 0);
    assert.equal(server.counters.callsByCode[7], 4);
    assert.equal(server.counters.callsOpen, 0);
  },
);

bothTest(
  "a server's interceptor changes requests and results, also within streams",
  async (stage) => {
    const { client } = await stage.pair({
      interceptors: [(call, next) => {
        const result = next(call);
        if (call.context.method.name === "Count") {
          return (async function* () {
            for await (const one of result as AsyncIterable<{ index: number } & Message>) {
              yield { ...one, index: one.index * 10 };
            }
          })();
        }
        if (call.context.method.name !== "Sum") return result;
        return Promise.resolve(result).then((sum) => ({ ...sum as Message, sum: 99n }));
      }],
    });
    assert.equal((await client.sum(fed({ value: 1n }))).sum, 99n);
    const { messages } = await drain(client.count({ count: 3 }));
    assert.deepEqual(messages.map((one) => one.index), [0, 10, 20]);
  },
);

bothTest("a client's interceptor adds metadata, retries, and answers by itself", async (stage) => {
  let attempts = 0;
  const { client } = await stage.pair({
    handlers: {
      echo(_, context) {
        if (++attempts < 3) throw new CoveyError(Code.unavailable, "not yet");
        return { metadataValues: context.metadata.getAll("token") };
      },
    },
  }, {
    interceptors: [
      async function retry(call, next): Promise<Message> {
        if (call.method.name !== "Echo") return await (next(call) as Promise<Message>);
        for (;;) {
          try {
            return await (next(call) as Promise<Message>);
          } catch (error) {
            if ((error as CoveyError).code !== Code.unavailable) throw error;
          }
        }
      },
      (call, next) => {
        call.options = { ...call.options, metadata: { token: "t" } };
        return next(call);
      },
    ],
  });
  assert.deepEqual((await client.echo({})).metadataValues, ["t"]);
  assert.equal(attempts, 3);
});

/** A server at the end, and a proxy in front of it that is only its client. */
async function openProxy(
  stage: Stage,
  serve: Parameters<Stage["serve"]>[0] = {},
): Promise<{ client: TestClient; front: RpcServer; back: RpcServer; middle: TestClient }> {
  const { server: back, address } = await stage.serve(serve);
  const { client: middle } = stage.dial(address, { peer: "covey" });
  const registry = new ServiceRegistry();
  registry.add(TestService, middle);
  const front = new RpcServer({ net: stage.net, clock: stage.clock, registry });
  const listener = await front.listen({ address: stage.address() });
  const { channel } = stage.dial(listener.address, { peer: "covey" });
  return { client: createClient(TestService, channel), front, back, middle };
}

bothTest("a client is a handler: all kinds pass through a proxy", async (stage) => {
  const { client, front, back } = await openProxy(stage);
  assert.deepEqual(await callAll(client), expected);
  assert.deepEqual(await callAll(client), expected);
  while (front.counters.callsOpen + back.counters.callsOpen > 0) await turns(1);
  await stop(stage, front);
});

async function stop(stage: Stage, server: RpcServer): Promise<void> {
  const stopping = server.stop(0);
  await turns(2);
  await stage.elapse(1);
  await within(stopping, () => "the proxy's stop");
}

bothTest(
  "metadata, deadline and response metadata pass through a proxy, all kinds",
  async (stage) => {
    const seen: [string, string | undefined, boolean][] = [];
    const { client, front } = await openProxy(stage, {
      interceptors: [(call, next) => {
        const { context } = call;
        const left = context.timeoutMs;
        seen.push([context.method.name, context.metadata.get("k"), left! > 0 && left! <= 5000]);
        assert.equal(context.metadata.get("covey-extensions"), undefined);
        context.responseMetadata.append("served", context.method.name);
        return next(call);
      }],
    });
    const told: string[] = [];
    await callAll(client, {
      metadata: { k: "v" },
      timeoutMs: 5000,
      onResponseMetadata: (metadata: { get(key: string): string }) =>
        told.push(metadata.get("served")),
    });
    const methods = ["Echo", "Sum", "Count", "Chat"];
    assert.deepEqual(seen, methods.map((name) => [name, "v", true]));
    assert.deepEqual(told, methods);
    await stop(stage, front);
  },
);

bothTest(
  "errors with their details pass through a proxy, after what came before",
  async (stage) => {
    const details = [{ typeUrl: "type.googleapis.com/x", value: pattern(5) }];
    const { client, front } = await openProxy(stage, {
      handlers: {
        echo: () => Promise.reject(new CoveyError(9, "no", { details })),
        async *count() {
          yield { index: 4 };
          throw new CoveyError(9, "no", { details });
        },
      },
    });
    const one = await failure(client.echo({}));
    assert.deepEqual([one.code, one.rawMessage, one.details], [9, "no", details]);
    const two = await drain(client.count({}));
    assert.deepEqual(two.messages.map((each) => each.index), [4]);
    assert.deepEqual([two.error!.code, two.error!.rawMessage, two.error!.details], [
      9,
      "no",
      details,
    ]);
    await stop(stage, front);
  },
);

bothTest("a cancelled call is cancelled behind the proxy too, all kinds", async (stage) => {
  const reasons: number[] = [];
  const { client, front, back } = await openProxy(stage, {
    interceptors: [(call, next) => {
      const { signal } = call.context;
      signal.addEventListener("abort", () => reasons.push((signal.reason as CoveyError).code));
      return next(call);
    }],
    handlers: {
      echo: () => new Promise(() => {}),
      async *count() {
        yield {};
        await new Promise(() => {});
      },
    },
  });
  const controller = new AbortController();
  const options = { signal: controller.signal };
  const calls = [
    failure(client.echo({}, options)),
    failure(client.sum(new Feed({}), options)),
    drain(client.count({}, options)).then((one) => one.error!),
    drain(client.chat(new Feed({}), options)).then((one) => one.error!),
  ];
  while (back.counters.callsOpen < 4) await turns(1);
  controller.abort();
  for (const call of calls) assert.equal((await call).code, 1);
  while (front.counters.callsOpen + back.counters.callsOpen > 0) await turns(1);
  assert.deepEqual(reasons, [1, 1, 1, 1]);
  await stop(stage, front);
});

memoryTest("a deadline that passes behind a proxy passes everywhere", async (stage) => {
  const { client, front, back } = await openProxy(stage, {
    handlers: { echo: () => new Promise(() => {}) },
  });
  const call = failure(client.echo({}, { timeoutMs: 100 }));
  await turns();
  assert.equal(back.counters.callsOpen, 1);
  await stage.clock.advance(101);
  assert.equal((await call).code, 4);
  assert.equal(back.counters.callsOpen + front.counters.callsOpen, 0);
  // By its own timer, or by the reset of whoever was first.
  for (const { counters } of [front, back]) {
    assert.equal(counters.callsByCode[1] + counters.callsByCode[4], 1);
  }
  await stop(stage, front);
});

bothTest("a proxy holds no more of a stream than its windows", async (stage) => {
  let made = 0;
  const { client, front } = await openProxy(stage, {
    handlers: {
      async *count() {
        for (let index = 0;; index++) {
          made++;
          yield { index, payload: pattern(10_000) };
        }
      },
    },
  });
  const stream = client.count({})[Symbol.asyncIterator]();
  await stream.next();
  for (let before = -1; before !== made;) {
    before = made;
    await turns(20);
  }
  assert.ok(made * 10_000 < 4 << 20, `${made} messages were made`);
  const until = made + 100;
  for (let index = 1; index < until; index++) {
    assert.equal((await stream.next()).value!.index, index);
  }
  await stream.return!();
  await stop(stage, front);
});
