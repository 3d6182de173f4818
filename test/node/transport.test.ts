/** A Connect-ES client over ttrpc: `connectTransport` behind Connect's own `createClient`. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Code,
  ConnectError,
  createClient,
  createContextKey,
  createContextValues,
  type Interceptor,
} from "npm:@connectrpc/connect@2.2.0";
import type { Client } from "npm:@connectrpc/connect@2.2.0";
import type { CallContext, Handlers } from "../../src/ttrpc/service.ts";
import { connectTransport } from "../../src/ttrpc/transport.ts";
import { FailRequestSchema, TestService } from "../gen/covey/test/v1/test_pb.ts";
import { testHandlers } from "../support/test_service.ts";
import { type Gate, makeGate, runtime, startQuiet } from "./support.ts";

interface Ends {
  readonly client: Client<typeof TestService>;
  /** What the server's handlers saw, in order. */
  readonly seen: CallContext[];
}

async function withClient(
  body: (ends: Ends) => Promise<void>,
  options: {
    readonly interceptors?: Interceptor[];
    readonly handlers?: Partial<Handlers<typeof TestService>>;
    readonly timeoutMs?: number;
  } = {},
): Promise<void> {
  await using node = await startQuiet({ dev: true });
  const seen: CallContext[] = [];
  const plain = testHandlers(runtime.clock);
  const note = (context: CallContext): void => {
    seen.push(context);
    context.responseMetadata.append("served-by", context.method.name);
  };
  node.rpc.serve(TestService, {
    ...plain,
    echo: (request, context) => (note(context), plain.echo(request, context)),
    count: (request, context) => (note(context), plain.count(request, context)),
    sum: (requests, context) => (note(context), plain.sum(requests, context)),
    chat: (requests, context) => (note(context), plain.chat(requests, context)),
    ...options.handlers,
  });
  const channel = node.rpc.channel(node.rpc.addresses[0], {
    peer: "covey",
    timeoutMs: options.timeoutMs,
  });
  const { interceptors } = options;
  await body({
    client: createClient(TestService, connectTransport(channel, { interceptors })),
    seen,
  });
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function connectError(work: Promise<unknown>, code: Code): Promise<ConnectError> {
  const error = await work.then(() => undefined, (thrown: unknown) => thrown);
  assert.ok(error instanceof ConnectError, String(error));
  assert.equal(error.code, code, error.message);
  return error;
}

async function* numbers(...all: bigint[]): AsyncGenerator<{ value: bigint }> {
  for (const value of all) yield { value };
}

test("transport: all four kinds", () =>
  withClient(async ({ client }) => {
    const payload = new Uint8Array([1, 2]);
    assert.deepEqual([...(await client.echo({ payload })).payload], [1, 2]);
    const counted = await collect(client.count({ count: 300 }));
    assert.deepEqual(counted.map(({ index }) => index), [...Array(300).keys()]);
    assert.equal((await client.sum(numbers(1n, 2n, 3n))).sum, 6n);
    const more = makeGate();
    async function* questions() {
      yield { payload };
      await more.promise;
      yield { payload: new Uint8Array([3]) };
    }
    const chat = client.chat(questions())[Symbol.asyncIterator]();
    assert.deepEqual([...(await chat.next()).value!.payload], [1, 2]);
    more.open();
    assert.deepEqual([...(await chat.next()).value!.payload], [3]);
    assert.equal((await chat.next()).done, true);
  }));

test("transport: headers become metadata, response metadata the trailer", () =>
  withClient(async ({ client, seen }) => {
    const headers = new Headers({ "X-One": "1" });
    headers.append("x-many", "a");
    headers.append("x-many", "b");
    const trailers: string[] = [];
    const options = {
      headers,
      onHeader: (header: Headers) => assert.deepEqual([...header], []),
      onTrailer: (trailer: Headers) => void trailers.push(trailer.get("served-by") ?? "none"),
    };
    await client.echo({}, options);
    await collect(client.count({ count: 1 }, options));
    await client.sum(numbers(), options);
    await collect(client.chat(numbers() as never, options));
    assert.deepEqual(trailers, ["Echo", "Count", "Sum", "Chat"]);
    for (const { metadata } of seen) {
      assert.deepEqual([...metadata].sort(), [["x-many", "a, b"], ["x-one", "1"]]);
    }
  }));

test("transport: an error has code, message, details and the trailer", () =>
  withClient(async ({ client }) => {
    const failed = client.fail({ code: Code.OutOfRange, message: "too far", after: 2 });
    const error = await connectError(failed, Code.OutOfRange);
    assert.equal(error.rawMessage, "too far");
    const details = error.findDetails(FailRequestSchema);
    assert.deepEqual(details.map(({ message, after }) => [message, after]), [
      ["too far", 2],
      ["too far", 2],
    ]);
    const got: number[] = [];
    const stream = client.failStream({ code: Code.Aborted, message: "half way", after: 2 });
    const broken = await connectError(
      (async () => {
        for await (const { payload } of stream) got.push(payload[0]);
      })(),
      Code.Aborted,
    );
    assert.equal(broken.rawMessage, "half way");
    assert.deepEqual(got, [0, 1]);
  }));

test("transport: a deadline of the call, the channel's, or none at all", () =>
  withClient(async ({ client, seen }) => {
    await connectError(
      client.echo({ delayMillis: 60_000 }, { timeoutMs: 40 }),
      Code.DeadlineExceeded,
    );
    const stream = collect(client.chat(hold(), { timeoutMs: 40 }));
    await connectError(stream, Code.DeadlineExceeded);
    assert.ok(seen.every(({ timeoutMs }) => timeoutMs !== undefined));
    await client.echo({});
    assert.ok(seen.at(-1)!.timeoutMs! > 10_000, "the channel's own deadline");
    // Connect: zero or less disables the default.
    await client.echo({}, { timeoutMs: 0 });
    assert.equal(seen.at(-1)!.timeoutMs, undefined);
  }, { timeoutMs: 50_000 }));

async function* hold(): AsyncGenerator<Record<string, never>> {
  await makeGate().promise;
  yield {};
}

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
  test(`transport: aborting ${kind} fails it with canceled and reaches the handler`, async () => {
    const began = makeGate();
    const stopped = makeGate<unknown>();
    await withClient(async ({ client }) => {
      const abort = new AbortController();
      const options = { signal: abort.signal };
      const call = kind === "echo"
        ? client.echo({}, options)
        : kind === "sum"
        ? client.sum(hold(), options)
        : kind === "count"
        ? collect(client.count({}, options))
        : collect(client.chat(hold(), options));
      await began.promise;
      abort.abort();
      await connectError(call, Code.Canceled);
      assert.match(String(await stopped.promise), /cancel/);
    }, { handlers: hanging(began, stopped) });
  });
}

test("transport: a call starts when it is made, not when its answers are read", async () => {
  const began = makeGate();
  await withClient(async ({ client }) => {
    const abort = new AbortController();
    const answers = client.count({}, { signal: abort.signal });
    await began.promise;
    abort.abort();
    await connectError(collect(answers), Code.Canceled);
  }, { handlers: hanging(began, makeGate<unknown>()) });
});

test("transport: Connect's interceptors wrap every kind, with headers and context values", async () => {
  const key = createContextKey("", { description: "who" });
  const steps: string[] = [];
  const interceptor = (name: string): Interceptor => (next) => async (request) => {
    steps.push(
      `${name} ${request.method.name} ${request.stream} ${request.contextValues.get(key)}`,
    );
    assert.equal(request.url, `ttrpc:///${TestService.typeName}/${request.method.name}`);
    request.header.append("by", name);
    const response = await next(request);
    response.trailer.append("seen-by", name);
    return response;
  };
  await withClient(async ({ client, seen }) => {
    const trailers: (string | null)[] = [];
    const options = {
      contextValues: createContextValues().set(key, "me"),
      onTrailer: (trailer: Headers) => void trailers.push(trailer.get("seen-by")),
    };
    await client.echo({}, options);
    await collect(client.count({ count: 1 }, options));
    await client.sum(numbers(1n), options);
    await collect(client.chat(numbers() as never, options));
    assert.deepEqual(
      steps,
      [["Echo", false], ["Count", true], ["Sum", true], ["Chat", true]].flatMap((
        [name, stream],
      ) => [
        ...[`outer ${name} ${stream} me`, `inner ${name} ${stream} me`],
      ]),
    );
    for (const { metadata } of seen) assert.equal(metadata.get("by"), "outer, inner");
    assert.deepEqual(trailers, Array(4).fill("inner, outer"));
  }, { interceptors: [interceptor("outer"), interceptor("inner")] });
});

test("transport: what cannot be reached is unavailable, what is no header is left out", async () => {
  await using caller = await startQuiet();
  const nowhere = createClient(
    TestService,
    connectTransport(caller.rpc.channel("tcp://127.0.0.1:1")),
  );
  await connectError(nowhere.echo({}), Code.Unavailable);
  await connectError(nowhere.sum(numbers(1n)), Code.Unavailable);
  await connectError(collect(nowhere.count({})), Code.Unavailable);
  await withClient(async ({ client }) => {
    let told: [string, string][] = [];
    await client.echo({}, { onTrailer: (trailer) => told = [...trailer] });
    assert.deepEqual(told, [["fine", "yes"]]);
  }, {
    handlers: {
      echo(_request, context) {
        context.responseMetadata.append("not a header", "x");
        context.responseMetadata.append("umlaut", "ä");
        context.responseMetadata.append("fine", "yes");
        return {};
      },
    },
  });
});
