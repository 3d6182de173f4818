/**
 * The sharp cases of the reference (ttrpc.md, section 5) where the client's driver matters: a
 * Channel against a raw server, in memory and over the engine's sockets.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { concatBytes, encodeText, toHex } from "../../src/base/bytes.ts";
import { Prng } from "../../src/base/prng.ts";
import {
  CountResponseSchema,
  EchoRequestSchema,
  EchoResponseSchema,
  SumResponseSchema,
} from "../gen/covey/test/v1/test_pb.ts";
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
  show,
} from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import type { RawPeer } from "./support/raw_peer.ts";
import { bothTest, type Dialled, memoryTest, MemoryStage, type Stage } from "./support/stage.ts";

const message = (text: string) => pack(EchoResponseSchema, { payload: encodeText(text) });

/** A channel and the raw server that it talks to. */
async function openPair(stage: Stage, init = {}): Promise<Dialled & { peer: RawPeer }> {
  const raw = await stage.rawServer();
  const dialled = stage.dial(raw.address, init);
  await dialled.channel.connect();
  return { ...dialled, peer: await raw.accept() };
}

bothTest("01 client: answers in single bytes, then the same in one write", async (stage) => {
  const { client, peer } = await openPair(stage);
  for (const slowly of [true, false]) {
    const first = client.echo({ payload: encodeText("a") });
    const stream = drain(client.count({ count: 2 }));
    const second = client.nothing({});
    const [a, b, c] = await peer.take(3);
    const answers = concatBytes([
      data(b.id, pack(CountResponseSchema, { index: 1 })),
      response(a.id, { payload: message("x") }),
      data(b.id),
      close(b.id),
      response(c.id),
    ]);
    for (const part of slowly ? [...answers].map((byte) => new Uint8Array([byte])) : [answers]) {
      peer.send(part);
      await peer.flushed();
      if (slowly) await turns(1);
    }
    assert.equal((await first).payload.length, 1);
    assert.deepEqual((await stream).messages.map((one) => one.index), [1, 0]);
    await second;
  }
});

for (let seed = 1; seed <= 12; seed++) {
  memoryTest(`02 client: short writes and odd pieces never cut frames, seed ${seed}`, async (stage) => {
    Object.assign(stage.net.faults, {
      random: new Prng(seed),
      capacityBytes: 997,
      writeBytesMax: 350,
      chunkBytesMax: 700,
    });
    const { client } = await stage.pair();
    const sums = Array.from({ length: 4 }, (_, index) => {
      const chat = client.chat((async function* () {
        for (let at = 0; at < 20; at++) yield { payload: pattern(400, index + at) };
      })());
      return drain(chat);
    });
    const echoes = Array.from({ length: 10 }, (_, index) =>
      client.echo({ payload: pattern(900, index) }));
    for (const [index, echo] of echoes.entries()) {
      assert.deepEqual((await echo).payload, pattern(900, index));
    }
    for (const [index, sum] of sums.entries()) {
      const { messages, error } = await sum;
      assert.equal(error, undefined);
      messages.forEach((one, at) => assert.deepEqual(one.payload, pattern(400, index + at)));
      assert.equal(messages.length, 20);
    }
  });
}

bothTest("02 client: large messages to a peer that reads in bursts never mix", async (stage) => {
  const { client, peer } = await openPair(stage);
  peer.connection.pause();
  const inputs = () =>
    (async function* () {
      for (let at = 0; at < 10; at++) yield { payload: pattern(90_000, at) };
    })();
  const chats = Array.from({ length: 5 }, () => drain(client.chat(inputs())));
  await turns();
  peer.connection.resume();
  const counts = new Map<number, number>();
  for (let left = 5 * 12; left > 0; left--) {
    const one = await peer.next();
    const count = counts.get(one.id) ?? 0;
    counts.set(one.id, count + 1);
    if (count === 0) assert.deepEqual([one.type, one.flags], [1, 6]);
    else if (count === 11) assert.deepEqual([one.flags, one.data.length], [5, 0]);
    else {
      const { payload } = fromBinary(EchoRequestSchema, one.data);
      assert.deepEqual(payload, pattern(90_000, count - 1));
    }
  }
  for (const id of counts.keys()) peer.send(close(id));
  for (const chat of chats) assert.deepEqual(await chat, { messages: [], error: undefined });
});

bothTest("03 client: a Response of length zero and 0a00 are an empty message", async (stage) => {
  const { client, peer } = await openPair(stage);
  for (const answer of [none, hex("0a00")]) {
    const call = client.nothing({});
    peer.send(frame((await peer.next()).id, 2, 0, answer));
    assert.equal((await call).$typeName, "covey.test.v1.NothingResponse");
  }
});

bothTest("04 06 client: what is a message and what is not, by the reader's count", async (stage) => {
  const { client, peer } = await openPair(stage);
  const one = pack(CountResponseSchema, { index: 7 });
  const sessions: readonly (readonly [(id: number) => Uint8Array[], number[]])[] = [
    [(id) => [data(id), data(id, one), close(id)], [0, 7]],
    [(id) => [frame(id, 3, 4), close(id)], []],
    [(id) => [frame(id, 3, 1, one)], [7]],
    [(id) => [data(id, one), frame(id, 3, 1)], [7, 0]],
    [(id) => [data(id, one), response(id)], [7]],
    [(id) => [response(id, { payload: one })], [7]],
  ];
  for (const [frames, expected] of sessions) {
    const stream = drain(client.count({}));
    peer.send(...frames((await peer.next()).id));
    const { messages, error } = await stream;
    assert.equal(error, undefined);
    assert.deepEqual(messages.map((each) => each.index), expected);
  }
});

bothTest("05 07 client: how each kind opens and closes, byte by byte", async (stage) => {
  const { client, peer } = await openPair(stage);
  const name = toHex(encodeText("covey.test.v1.TestService"));
  const head = (method: string) => `0a19${name}12${toHex(encodeText(`${String.fromCharCode(method.length)}${method}`))}`;
  const others = [failure(client.nothing({})), drain(client.count({}))];
  const feed = new Feed<{ value: bigint }>({ value: 1n }, {} as { value: bigint });
  const sum = client.sum(feed);
  const opened = await peer.take(5);
  assert.deepEqual(opened.map((one) => show(one).slice(9)), [
    `00000001 0100 ${head("Nothing")}`,
    `00000003 0101 ${head("Count")}`,
    `00000005 0106 ${head("Sum")}`,
    "00000005 0300 0801",
    "00000005 0300",
  ]);
  feed.end();
  assert.equal(show(await peer.next()), "00000000 00000005 0305");
  peer.send(response(5, { payload: pack(SumResponseSchema, { count: 2 }) }));
  assert.equal((await sum).count, 2);
  await turns();
  assert.deepEqual(peer.untaken, [], "nothing follows the close");
  peer.connection.close();
  await Promise.all(others);
});

bothTest("09 client: messages that came before an error are read before it", async (stage) => {
  const { client, peer } = await openPair(stage);
  const stream = client.failStream({});
  const { id } = await peer.next();
  peer.send(
    data(id, message("a")),
    data(id, message("b")),
    response(id, { status: { code: 9, message: "enough" } }),
  );
  // Everything is there before the first is asked for.
  const other = client.nothing({});
  peer.send(response((await peer.next()).id));
  await other;
  const { messages, error } = await drain(stream);
  assert.deepEqual(messages.map((one) => toHex(one.payload)), ["61", "62"]);
  assert.deepEqual([error!.code, error!.rawMessage, error!.sent], [9, "enough", true]);
});

bothTest("10 client: the last message and the close are never lost, 500 streams", async (stage) => {
  const { client } = await stage.pair();
  for (let run = 0; run < 500; run++) {
    const { messages, error } = await drain(client.count({ count: run % 4, bytes: run % 50 }));
    assert.equal(error, undefined);
    assert.equal(messages.length, run % 4);
  }
});

bothTest("11 13 client: 4 MiB passes, one byte more fails that call with 8 alone", async (stage) => {
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
});

bothTest("12 client: a length of 2^24 closes the connection and fails what is pending", async (stage) => {
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
});

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

bothTest("15 client: the ids of 1,000 calls at once strictly increase on the wire", async (stage) => {
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
});

bothTest("16 client: nothing is sent on a call after the server ended it", async (stage) => {
  const { client, peer } = await openPair(stage);
  for (const answer of [
    (id: number) => response(id, { payload: none }),
    (id: number) => response(id, { status: { code: 9, message: "no" } }),
  ]) {
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
    const streams = [client.count({}), client.chat(new Feed())].map(drain);
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
    assert.equal(channel.state, "idle");
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

bothTest("25 client: the server's end stops the sender and tells the caller's iterable", async (stage) => {
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
});
