/** Streams as a caller has them: readers that leave, inputs that fail, and what stays behind. */
import assert from "node:assert/strict";
import { CoveyError } from "../../src/base/error.ts";
import { close, data, pack, pattern, readRequest, response } from "./support/frames.ts";
import { CountResponseSchema } from "../gen/covey/test/v1/test_pb.ts";
import { CountedAbort } from "./support/counted_signal.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import { bothTest, memoryTest } from "./support/stage.ts";
import { within } from "./support/within.ts";

const message = (index: number) => pack(CountResponseSchema, { index });

memoryTest("two readers before there is a connection: both get an answer", async (stage) => {
  stage.net.faults.dialsHang = true;
  const { address } = await stage.serve();
  const { client } = stage.dial(address);
  const stream = client.count({ count: 1 })[Symbol.asyncIterator]();
  const asked = Promise.allSettled([stream.next(), stream.next()]);
  await turns();
  stage.net.faults.dialsHang = false;
  const [first, second] = await within(asked, () => "both readers");
  assert.equal(first.status, "fulfilled");
  assert.equal(second.status, "rejected");
  assert.equal((await stream.next()).done, true);
});

memoryTest("two readers of a stream that cannot begin: one error, then the end", async (stage) => {
  const { client } = stage.dial({ kind: "tcp", host: "127.0.0.1", port: 1 });
  const stream = client.count({})[Symbol.asyncIterator]();
  const asked = Promise.allSettled([stream.next(), stream.next()]);
  const settled = await within(asked, () => "both readers");
  assert.deepEqual(settled.map((one) => one.status), ["rejected", "fulfilled"]);
  assert.equal((await stream.next()).done, true);
});

bothTest("leaving early cancels the call and ends the iterator", async (stage) => {
  const abort = new CountedAbort();
  let left = (): void => {};
  const { client, channel, server } = await stage.pair({
    handlers: {
      async *count() {
        try {
          for (let index = 0;; index++) yield { index };
        } finally {
          left();
        }
      },
    },
  }, { peer: "covey" });
  const ways: ((stream: AsyncIterator<unknown>) => Promise<unknown>)[] = [
    (stream) => stream.return!(),
    (stream) => assert.rejects(stream.throw!(new Error("mine")), /mine/),
    async (stream) => await (stream as unknown as AsyncDisposable)[Symbol.asyncDispose](),
  ];
  for (const leave of ways) {
    const told = new Promise<void>((resolve) => left = resolve);
    const stream = client.count({}, { signal: abort.signal })[Symbol.asyncIterator]();
    for (let index = 0; index < 5; index++) assert.equal((await stream.next()).value!.index, index);
    await leave(stream);
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
    await stream.return!();
    await within(told, () => "the handler to be told");
    assert.equal(abort.listeners, 0);
  }
  while (server.counters.callsOpen > 0) await turns(1);
  assert.equal(channel.counters.callsOpen, 0);
  await client.nothing({});
});

bothTest("leaving before the call began, and while a reader waits", async (stage) => {
  const { client, channel } = await stage.pair({
    handlers: {
      async *count() {
        await new Promise(() => {});
        yield {};
      },
    },
  });
  const early = client.count({})[Symbol.asyncIterator]();
  await early.return!();
  assert.equal((await early.next()).done, true);
  const stream = client.count({})[Symbol.asyncIterator]();
  const asked = stream.next();
  await channel.connect();
  await turns(3);
  await stream.return!();
  assert.equal((await within(asked, () => "the waiting reader")).done, true);
  assert.equal(channel.counters.callsOpen, 0);
});

bothTest("a stream that the server ended and nobody reads leaves nothing behind", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address);
  await channel.connect();
  const peer = await raw.accept();
  const abort = new CountedAbort();
  const feed = new Feed<Record<never, never>>();
  const options = { signal: abort.signal, timeoutMs: 60_000 };
  const [count, chat] = [client.count({}, options), client.chat(feed, options)];
  for (const { id } of await peer.take(2)) {
    peer.send(data(id, message(1)), data(id, message(2)), close(id));
  }
  const after = client.nothing({});
  peer.send(response((await peer.next()).id));
  await after;
  assert.equal(abort.listeners, 0, "the caller's signal is free");
  assert.equal(channel.counters.callsOpen, 0);
  assert.equal(channel.counters.callsByCode[0], 3);
  await within(feed.returned, () => "the input to be told");
  // What came before the end can still be read, whatever the signal does now.
  abort.abort();
  assert.deepEqual((await drain(count)).messages.length, 2);
  const stream = chat[Symbol.asyncIterator]();
  await stream.return!();
  assert.equal((await stream.next()).done, true);
});

bothTest("a stream that failed and nobody reads leaves nothing behind", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address);
  await channel.connect();
  const peer = await raw.accept();
  const abort = new CountedAbort();
  const stream = client.count({}, { signal: abort.signal });
  const { id } = await peer.next();
  peer.send(data(id, message(1)), response(id, { status: { code: 9, message: "no" } }));
  const after = client.nothing({});
  peer.send(response((await peer.next()).id));
  await after;
  assert.deepEqual([abort.listeners, channel.counters.callsOpen], [0, 0]);
  const { messages, error } = await drain(stream);
  assert.deepEqual([messages.length, error!.code], [1, 9]);
});

bothTest(
  "an input that throws fails its call with its error, and the server is told",
  async (stage) => {
    const ended: number[] = [];
    const { client, server } = await stage.pair({
      handlers: {
        async sum(requests, context) {
          context.signal.addEventListener("abort", () => ended.push(context.signal.reason.code));
          for await (const _ of requests);
          return {};
        },
        async *chat(requests, context) {
          context.signal.addEventListener("abort", () => ended.push(context.signal.reason.code));
          for await (const one of requests) yield { payload: one.payload };
        },
      },
    }, { peer: "covey" });
    const inputs: (() => AsyncIterable<Record<never, never>>)[] = [
      async function* () {
        yield {};
        throw new CoveyError(9, "out of input");
      },
      () => ({
        [Symbol.asyncIterator](): AsyncIterator<Record<never, never>> {
          throw new Error("no iterator");
        },
      }),
      async function* () {
        yield { value: "not a number", payload: 5 } as unknown as Record<never, never>;
      },
    ];
    const codes: number[] = [];
    for (const input of inputs) {
      codes.push((await failure(client.sum(input()))).code);
      codes.push((await drain(client.chat(input()))).error!.code);
    }
    assert.deepEqual(codes, [9, 9, 2, 2, 2, 2]);
    await client.nothing({});
    while (server.counters.callsOpen > 0) await turns(1);
    assert.ok(ended.every((code) => code === 1));
  },
);

bothTest("an input message above the limit fails its call alone, and is counted", async (stage) => {
  const { client, channel, server } = await stage.pair({
    handlers: {
      async *count() {
        yield { payload: pattern(5 << 20) };
      },
    },
  });
  const large = async function* () {
    yield { payload: pattern(5 << 20) };
  };
  assert.equal((await drain(client.chat(large()))).error!.code, 8);
  assert.equal(channel.counters.limitHits.message_bytes, 1);
  assert.equal((await drain(client.count({}))).error!.code, 8);
  assert.equal(server.counters.limitHits.message_bytes, 1);
  await client.nothing({});
});

bothTest("an input is asked for no more than the stream takes", async (stage) => {
  const raw = await stage.rawServer();
  raw.onPeer = (peer) => peer.connection.pause();
  const { client, channel } = stage.dial(raw.address);
  let asked = 0;
  const abort = new AbortController();
  const sum = failure(
    client.chat(
      (async function* () {
        for (;;) {
          asked++;
          yield { payload: pattern(100_000) };
        }
      })(),
      { signal: abort.signal },
    )[Symbol.asyncIterator]().next(),
  );
  for (let before = -1; before !== asked || asked === 0;) {
    before = asked;
    await turns(30);
  }
  assert.ok(asked > 2 && asked < 200, `${asked} messages were asked for`);
  abort.abort();
  assert.equal((await sum).code, 1);
  assert.equal(channel.counters.callsOpen, 0);
});

bothTest(
  "response metadata comes before the result, on all four kinds and with errors",
  async (stage) => {
    const { client } = await stage.pair({
      interceptors: [(call, next) => {
        call.context.responseMetadata.append("Served-By", "one");
        call.context.responseMetadata.append("served-by", "two");
        return next(call);
      }],
    }, { peer: "covey" });
    const input = () => {
      const feed = new Feed<Record<never, never>>({});
      feed.end();
      return feed;
    };
    const seen: string[] = [];
    const options = (name: string) => ({
      onResponseMetadata: (metadata: Iterable<[string, string]>) =>
        seen.push(`${name} ${[...metadata].flat()}`),
    });
    const note = (name: string) => () => void seen.push(`${name} done`);
    await client.nothing({}, options("unary")).then(note("unary"));
    await client.sum(input(), options("sum")).then(note("sum"));
    await drain(client.count({ count: 2 }, options("count"))).then(note("count"));
    await drain(client.chat(input(), options("chat"))).then(note("chat"));
    await failure(client.fail({ code: 5 }, options("fail"))).then(note("fail"));
    await drain(client.failStream({ code: 5, after: 2 }, options("stream"))).then(note("stream"));
    const names = ["unary", "sum", "count", "chat", "fail", "stream"];
    assert.deepEqual(
      seen,
      names.flatMap((name) => [`${name} served-by,one,served-by,two`, `${name} done`]),
    );
  },
);

bothTest("a metadata callback that throws fails its own call only", async (stage) => {
  const { client, channel } = await stage.pair({
    interceptors: [(call, next) => {
      call.context.responseMetadata.append("k", "v");
      return next(call);
    }],
  }, { peer: "covey" });
  await client.nothing({});
  const onResponseMetadata = () => {
    throw new Error("from the callback");
  };
  const calls = [
    client.nothing({}, { onResponseMetadata }),
    client.fail({ code: 5 }, { onResponseMetadata }),
    drain(client.count({ count: 1 }, { onResponseMetadata })),
    drain(client.failStream({ code: 5 }, { onResponseMetadata })),
    client.nothing({}),
  ];
  const settled = await within(Promise.allSettled(calls), () => "every call");
  assert.equal(settled[4].status, "fulfilled");
  const codes = settled.slice(0, 4).map((one) =>
    one.status === "rejected" ? one.reason.code : (one.value as { error?: CoveyError }).error?.code
  );
  assert.deepEqual(codes, [2, 5, 2, 5]);
  assert.equal(channel.counters.callsOpen, 0);
  assert.equal(channel.counters.connectionsTotal, 1);
});

bothTest("requests carry metadata and timeout on all four kinds", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address, { timeoutMs: 60_000 });
  const options = { metadata: { k: "v" } };
  const ends = [
    client.nothing({}, options).catch(() => {}),
    client.sum(new Feed(), options).catch(() => {}),
    drain(client.count({}, options)),
    drain(client.chat(new Feed(), options)),
  ];
  const peer = await raw.accept();
  for (const one of await peer.take(4)) {
    const { metadata, timeoutNano } = readRequest(one);
    assert.deepEqual(metadata.map((kv) => [kv.key, kv.value]), [["k", "v"]]);
    assert.ok(timeoutNano > 0n && timeoutNano <= 60_000_000_000n);
  }
  channel.close();
  await Promise.all(ends);
});
