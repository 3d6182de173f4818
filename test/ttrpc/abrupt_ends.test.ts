/**
 * Ends that come early, at once, or for calls that never were: what was complete when the
 * connection ended counts, and nothing else does.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { concatBytes, encodeText } from "../../src/base/bytes.ts";
import { Prng } from "../../src/base/prng.ts";
import {
  CountResponseSchema,
  EchoResponseSchema,
  SumResponseSchema,
} from "../gen/covey/test/v1/test_pb.ts";
import { close, data, frame, pack, pattern, request, response } from "./support/frames.ts";
import { ServerHarness } from "./support/machines.ts";
import { turns } from "./support/memory_net.ts";
import { drain, Feed } from "./support/outcome.ts";
import { bothTest } from "./support/stage.ts";

function ended<T>(...messages: T[]): Feed<T> {
  const feed = new Feed(...messages);
  feed.end();
  return feed;
}

bothTest("a server that closes right behind its answer has answered, all kinds", async (stage) => {
  for (let run = 0; run < 20; run++) {
    const raw = await stage.rawServer();
    const { client, channel } = stage.dial(raw.address);
    const size = run % 2 === 0 ? 3 : 200_000;
    const calls = [
      client.echo({}).then((one) => one.payload.length),
      client.sum(ended({ value: 1n })).then((one) => Number(one.sum)),
      drain(client.count({})).then(({ messages, error }) => error ?? messages.length),
      drain(client.chat(ended({}))).then(({ messages, error }) => error ?? messages.length),
    ];
    const peer = await raw.accept();
    const frames = await peer.take(8);
    const [echo, sum, count, chat] = ["Echo", "Sum", "Count", "Chat"].map((name) =>
      frames.find((one) => one.type === 1 && new TextDecoder().decode(one.data).includes(name))!.id
    );
    const message = pack(EchoResponseSchema, { payload: pattern(size) });
    peer.send(
      data(count, pack(CountResponseSchema, { payload: pattern(size) })),
      response(echo, { payload: message }),
      response(sum, { payload: pack(SumResponseSchema, { sum: 7n }) }),
      data(chat, message),
      close(chat),
      data(count, pack(CountResponseSchema, { index: 1 })),
      close(count),
    );
    await peer.flushed();
    peer.connection.close();
    assert.deepEqual(await Promise.all(calls), [size, 7, 2, 1]);
    while (channel.counters.connectionsOpen > 0) await turns(1);
    assert.equal(channel.counters.callsOpen, 0);
  }
});

bothTest("answers to calls that are not made yet are no answers", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address);
  await channel.connect();
  const peer = await raw.accept();
  // The ids that the next calls will have.
  const forged = concatBytes([
    response(1, { payload: pack(EchoResponseSchema, { payload: encodeText("forged") }) }),
    data(3, pack(CountResponseSchema, { index: 66 })),
    close(3),
    response(5, { status: { code: 7, message: "forged" } }),
  ]);
  peer.send(forged);
  while (channel.counters.receivedBytesTotal < forged.length) await turns(1);
  const echo = client.echo({});
  const count = drain(client.count({}));
  const nothing = client.nothing({});
  assert.deepEqual((await peer.take(3)).map((one) => one.id), [1, 3, 5]);
  peer.send(
    response(1, { payload: pack(EchoResponseSchema, { payload: encodeText("real") }) }),
    // Twice, and after the end: only the first counts.
    response(1, { status: { code: 7, message: "late" } }),
    data(3, pack(CountResponseSchema, { index: 1 })),
    close(3),
    data(3, pack(CountResponseSchema, { index: 2 })),
    response(3, { status: { code: 7, message: "late" } }),
    response(5),
  );
  assert.deepEqual((await echo).payload, encodeText("real"));
  const { messages, error } = await count;
  assert.deepEqual([messages.map((one) => one.index), error], [[1], undefined]);
  await nothing;
});

bothTest("a server may speak before its client does, and end before it", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address);
  const feed = new Feed<{ payload: Uint8Array }>();
  const chat = client.chat(feed)[Symbol.asyncIterator]();
  const peer = await raw.accept();
  const { id } = await peer.next();
  peer.send(data(id, pack(EchoResponseSchema, { payload: encodeText("hello") })));
  assert.deepEqual((await chat.next()).value!.payload, encodeText("hello"));
  feed.push({ payload: pattern(3) });
  assert.equal((await peer.next()).type, 3);
  peer.send(frame(id, 3, 1, pack(EchoResponseSchema, { payload: encodeText("bye") })));
  assert.deepEqual((await chat.next()).value!.payload, encodeText("bye"));
  assert.equal((await chat.next()).done, true);
  await feed.returned;
  await turns();
  assert.deepEqual([peer.untaken, channel.counters.callsOpen], [[], 0]);
});

test("10 server machine: the last Data before a close is never lost, 100,000 runs", () => {
  const random = new Prng(12);
  const server = new ServerHarness();
  for (let run = 0; run < 100_000; run++) {
    const id = 1 + 2 * run;
    const count = random.below(4);
    const parts = [request(id, 6, { service: "s", method: random.pick(["c", "b"]) })];
    for (let index = 0; index < count; index++) parts.push(data(id, pattern(index, run)));
    // With and without the end in the last message's own frame.
    const inOwnFrame = random.chance(0.5);
    parts.push(inOwnFrame ? close(id) : frame(id, 3, 1, pattern(count, run)));
    const bytes = concatBytes(parts);
    const cut = random.below(bytes.length + 1);
    server.receive(bytes.subarray(0, cut), bytes.subarray(cut));
    const call = server.calls.pop()!;
    const messages = server.messages(call);
    if (messages.length !== count + (inOwnFrame ? 0 : 1) || !call.flow!.ended) {
      assert.fail(`run ${run} lost a message`);
    }
    for (const [index, one] of messages.entries()) {
      if (one.length !== index) assert.fail(`run ${run} mixed messages up`);
    }
    server.machine.respond(call, pattern(1), []);
    server.machine.output.consume(server.machine.output.queuedBytes);
    server.log.length = server.payloads.length = 0;
  }
  assert.equal(server.machine.callCount, 0);
});

test("10 server machine: a message and the close behind it leave in this order, 100,000 runs", () => {
  const random = new Prng(13);
  const server = new ServerHarness();
  for (let run = 0; run < 100_000; run++) {
    const id = 1 + 2 * run;
    server.receive(request(id, 1, { service: "s", method: "d" }));
    const call = server.calls.pop()!;
    const count = random.below(3);
    for (let index = 0; index < count; index++) server.machine.send(call, pattern(index));
    server.machine.finishStream(call, []);
    const kinds = server.frames().map((one) => one.type * 256 + one.flags);
    if (kinds.length !== count + 1 || kinds.at(-1) !== 0x305 || !call.over) {
      assert.fail(`run ${run} wrote ${kinds}`);
    }
    server.log.length = server.payloads.length = 0;
  }
  assert.equal(server.machine.callCount, 0);
});
