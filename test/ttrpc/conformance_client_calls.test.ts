/**
 * The sharp cases of the reference (ttrpc.md, section 5) on limits, ids and ends, where the
 * client's driver matters: a Channel against a raw server, in memory and over real sockets.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText } from "../../src/base/bytes.ts";
import { Prng } from "../../src/base/prng.ts";
import { EchoResponseSchema } from "../gen/covey/test/v1/test_pb.ts";
import {
  close,
  data,
  frame,
  hex,
  none,
  pack,
  pattern,
  readRequest,
  response,
} from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import type { RawPeer } from "./support/raw_peer.ts";
import { bothTest, type Dialled, MemoryStage, memoryTest, type Stage } from "./support/stage.ts";

const message = (text: string) => pack(EchoResponseSchema, { payload: encodeText(text) });

/** A channel and the raw server that it talks to. */
async function openPair(stage: Stage, init = {}): Promise<Dialled & { peer: RawPeer }> {
  const raw = await stage.rawServer();
  const dialled = stage.dial(raw.address, init);
  await dialled.channel.connect();
  return { ...dialled, peer: await raw.accept() };
}

bothTest(
  "11 13 client: 4 MiB passes, one byte more fails that call with 8 alone",
  async (stage) => {
    const { client, channel } = await stage.pair({
      handlers: { echo: (one) => ({ payload: new Uint8Array(one.delayMillis) }) },
    });
    const most = 4 << 20;
    // What stands around the payload in an echo's request and response.
    const around = 1 + 25 + 1 + 1 + 4 + 1 + 1 + 4 + 1 + 4;
    await client.echo({ payload: new Uint8Array(most - around) });
    const local = await failure(client.echo({ payload: new Uint8Array(most - around + 1) }));
    assert.deepEqual([local.code, local.sent], [8, false]);
    const [large, fine] = await Promise.allSettled([
      client.echo({ delayMillis: most - 10 }),
      client.echo({ delayMillis: 10 }),
    ]);
    assert.equal(large.status, "fulfilled");
    const remote = await failure(client.echo({ delayMillis: most - 9 }));
    assert.deepEqual([remote.code, remote.sent, fine.status], [8, true, "fulfilled"]);
    await client.nothing({});
    assert.equal(channel.counters.limitHits.message_bytes, 1);
  },
);

bothTest(
  "12 client: a length of 2^24 closes the connection and fails what is pending",
  async (stage) => {
    const { client, peer, channel } = await openPair(stage);
    const call = failure(client.nothing({}));
    const stream = drain(client.count({}));
    await peer.take(2);
    peer.send(frame(1, 2, 0, none, 1 << 24));
    const error = await call;
    assert.deepEqual([error.code, error.sent], [14, true]);
    assert.equal((await stream).error!.code, 14);
    assert.equal(channel.counters.connectionsBrokenTotal, 1);
    await peer.gone();
  },
);

bothTest("13 client: an oversized answer fails its own call only", async (stage) => {
  const { client, peer } = await openPair(stage, { limits: { messageBytesMax: 5000 } });
  const [one, two] = [client.echo({}), client.echo({})];
  const failed = failure(one);
  const [a, b] = await peer.take(2);
  peer.send(
    response(a.id, { payload: pack(EchoResponseSchema, { payload: pattern(5000) }) }),
    response(b.id, { payload: message("x") }),
  );
  assert.deepEqual([(await failed).code, (await failed).sent], [8, true]);
  assert.equal((await two).payload.length, 1);
});

bothTest(
  "15 client: the ids of 1,000 calls at once strictly increase on the wire",
  async (stage) => {
    const { client, peer } = await openPair(stage);
    const random = new Prng(15);
    const ends: Promise<unknown>[] = [];
    for (let index = 0; index < 1000; index++) {
      const controller = new AbortController();
      const options = { signal: controller.signal };
      const kind = random.below(index < 200 ? 4 : 1);
      const call: Promise<unknown> = kind === 0
        ? client.echo({ payload: pattern(random.below(600)) }, options)
        : kind === 1
        ? drain(client.count({}, options))
        : kind === 2
        ? client.sum(new Feed(), options)
        : drain(client.chat(new Feed(), options));
      ends.push(call.catch(() => "failed"));
      if (random.chance(0.1)) controller.abort();
      if (random.chance(0.05)) await turns(1);
    }
    let last = -1;
    for (let seen = 0; seen < 700;) {
      const one = await peer.next();
      if (one.type !== 1) continue;
      assert.ok(one.id > last && one.id % 2 === 1, `${one.id} came after ${last}`);
      last = one.id;
      seen++;
    }
    peer.connection.abort();
    await Promise.all(ends);
  },
);

bothTest("16 client: nothing is sent on a call after the server ended it", async (stage) => {
  const { client, peer } = await openPair(stage);
  for (
    const answer of [
      (id: number) => response(id, { payload: none }),
      (id: number) => response(id, { status: { code: 9, message: "no" } }),
    ]
  ) {
    const feed = new Feed({ value: 1n });
    const sum = client.sum(feed);
    const ended = sum.then(() => 0, (error) => error.code);
    const [{ id }] = await peer.take(2);
    peer.send(answer(id));
    await ended;
    feed.push({ value: 2n });
    feed.end();
    await feed.returned;
    const next = client.nothing({});
    const request = await peer.next();
    assert.equal(readRequest(request).method, "Nothing", "no Data came in between");
    peer.send(response(request.id));
    await next;
  }
});

bothTest("16 client: Data on a live unary call, and after an end, is survived", async (stage) => {
  const { client, peer } = await openPair(stage);
  const failed = failure(client.nothing({}));
  const { id } = await peer.next();
  peer.send(data(id, message("x")), response(id), close(id));
  assert.equal((await failed).code, 13);
  const stream = drain(client.count({}));
  const two = await peer.next();
  peer.send(close(two.id), data(two.id), response(two.id), close(two.id));
  assert.deepEqual(await stream, { messages: [], error: undefined });
  const after = client.nothing({});
  peer.send(response((await peer.next()).id));
  await after;
});

memoryTest("18 client: timeouts go out exactly and far ones never fire early", async (stage) => {
  const { client, peer } = await openPair(stage);
  const cases: readonly (readonly [number, bigint])[] = [
    [0.000001, 1n],
    [0.0000001, 1n],
    [1, 1_000_000n],
    [2 ** 31, 2_147_483_648_000_000n],
    [9_007_199_254, 9_007_199_254_000_000n],
    [1e300, 9_223_372_036_000_000_000n],
    [Number.MAX_SAFE_INTEGER, 9_223_372_036_000_000_000n],
  ];
  const ends: Promise<unknown>[] = [];
  for (const [timeoutMs, nanos] of cases) {
    ends.push(client.nothing({}, { timeoutMs }).catch((error) => error.code));
    const { timeoutNano } = readRequest(await peer.next());
    const slack = nanos > 1n ? 2000n : 0n;
    assert.ok(timeoutNano <= nanos + slack && timeoutNano >= nanos - slack, `${timeoutNano}`);
  }
  assert.deepEqual(await Promise.all(ends.slice(0, 0)), []);
  await stage.clock.jump(1);
  assert.deepEqual(await Promise.all(ends.slice(0, 3)), [4, 4, 4]);
  await stage.clock.jump(2 ** 31 - 2);
  const left = await Promise.race([ends[3], turns().then(() => "pending")]);
  assert.equal(left, "pending");
  await stage.clock.jump(2);
  assert.equal(await ends[3], 4);
  for (const timeoutMs of [0, -1, NaN]) {
    const error = await failure(client.nothing({}, { timeoutMs }));
    assert.deepEqual([error.code, error.sent], [4, false], `${timeoutMs}`);
  }
});

bothTest("19 client: metadata goes out in lower case, in order, on all kinds", async (stage) => {
  const { client, peer } = await openPair(stage);
  const options = { metadata: { "Mixed-Case": ["A", ""], plain: "b" } };
  const ends = [
    client.nothing({}, options),
    client.sum(new Feed(), options),
    drain(client.count({}, options)),
    drain(client.chat(new Feed(), options)),
  ].map((end) => end.catch(() => undefined));
  for (const one of await peer.take(4)) {
    assert.deepEqual(readRequest(one).metadata.map((kv) => [kv.key, kv.value]), [
      ["mixed-case", "A"],
      ["mixed-case", ""],
      ["plain", "b"],
    ]);
  }
  peer.connection.close();
  await Promise.all(ends);
});

bothTest("19 client: an answer with invalid UTF-8 fails its call alone", async (stage) => {
  const { client, peer } = await openPair(stage);
  const [bad, good] = [failure(client.nothing({})), client.nothing({})];
  const [a, b] = await peer.take(2);
  peer.send(frame(a.id, 2, 0, hex("0a05 0801 1201ff")), response(b.id));
  assert.equal((await bad).code, 13);
  await good;
});

test("22 client: an end at any byte fails each pending call once, the connection once", async () => {
  const whole = response(1, { payload: message("x".repeat(30)) });
  for (let at = 0; at < whole.length; at += 2) {
    const stage = new MemoryStage();
    const { client, peer, channel } = await openPair(stage);
    let ends = 0;
    const calls = [client.nothing({}), client.sum(new Feed())].map((one) =>
      failure(one.finally(() => ends++))
    );
    const streams = [drain(client.count({})), drain(client.chat(new Feed()))];
    await peer.take(4);
    peer.send(whole.subarray(0, at));
    await turns();
    if (at % 4 === 0) peer.connection.close();
    else peer.connection.abort();
    for (const call of calls) {
      const error = await call;
      assert.deepEqual([error.code, error.sent], [14, true]);
    }
    for (const stream of streams) assert.equal((await stream).error!.code, 14);
    await turns();
    assert.equal(ends, 2);
    assert.equal(channel.counters.callsOpen, 0);
    assert.equal(channel.counters.connectionsOpen, 0);
    // Less than a frame's header does not show that the peer serves.
    assert.equal(channel.state, at < 10 ? "backoff" : "idle");
    await stage.close();
  }
});

bothTest("23 client: late replies to cancelled calls are dropped", async (stage) => {
  const { client, peer, channel } = await openPair(stage);
  for (let run = 0; run < 50; run++) {
    const controller = new AbortController();
    const { signal } = controller;
    const call = run % 2 === 0
      ? failure(client.nothing({}, { signal }))
      : drain(client.count({}, { signal })).then((one) => one.error!);
    const { id } = await peer.next();
    controller.abort();
    assert.deepEqual([(await call).code, (await call).sent], [1, true]);
    peer.send(data(id, message("late")), response(id, { payload: message("late") }), close(id));
  }
  const last = client.nothing({});
  peer.send(response((await peer.next()).id));
  await last;
  assert.equal(channel.counters.callsOpen, 0);
  assert.equal(channel.link!.machine.callCount, 0);
  assert.deepEqual(peer.untaken, [], "a peer without extensions is told nothing");
});

bothTest(
  "25 client: the server's end stops the sender and tells the caller's iterable",
  async (stage) => {
    const { client, peer } = await openPair(stage);
    const feed = new Feed<{ payload: Uint8Array }>();
    const chat = drain(client.chat(feed));
    const { id } = await peer.next();
    peer.connection.pause();
    for (let index = 0; index < 100; index++) feed.push({ payload: pattern(50_000) });
    await turns();
    peer.send(data(id, message("enough")), close(id));
    const { messages, error } = await chat;
    assert.equal(error, undefined);
    assert.equal(messages.length, 1);
    await feed.returned;
    const { taken } = feed;
    assert.ok(taken < 100, "back-pressure held it");
    peer.connection.resume();
    await turns();
    assert.equal(feed.taken, taken);
  },
);
