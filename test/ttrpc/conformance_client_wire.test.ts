/**
 * The sharp cases of the reference (ttrpc.md, section 5) on frames and streams, where the client's
 * driver matters: a Channel against a raw server, in memory and over the engine's sockets.
 */
import assert from "node:assert/strict";
import { fromBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { concatBytes, encodeText, toHex } from "../../src/base/bytes.ts";
import { Prng } from "../../src/base/prng.ts";
import {
  CountResponseSchema,
  EchoRequestSchema,
  EchoResponseSchema,
  SumResponseSchema,
} from "../gen/covey/test/v1/test_pb.ts";
import { close, data, frame, hex, none, pack, pattern, response, show } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import type { RawPeer } from "./support/raw_peer.ts";
import { bothTest, type Dialled, memoryTest, type Stage } from "./support/stage.ts";

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
  memoryTest(
    `02 client: short writes and odd pieces never cut frames, seed ${seed}`,
    async (stage) => {
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
      const echoes = Array.from(
        { length: 10 },
        (_, index) => client.echo({ payload: pattern(900, index) }),
      );
      for (const [index, echo] of echoes.entries()) {
        assert.deepEqual((await echo).payload, pattern(900, index));
      }
      for (const [index, sum] of sums.entries()) {
        const { messages, error } = await sum;
        assert.equal(error, undefined);
        messages.forEach((one, at) => assert.deepEqual(one.payload, pattern(400, index + at)));
        assert.equal(messages.length, 20);
      }
    },
  );
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

bothTest(
  "04 06 client: what is a message and what is not, by the reader's count",
  async (stage) => {
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
  },
);

bothTest("05 07 client: how each kind opens and closes, byte by byte", async (stage) => {
  const { client, peer } = await openPair(stage);
  const name = toHex(encodeText("covey.test.v1.TestService"));
  const head = (method: string) =>
    `0a19${name}12${toHex(encodeText(`${String.fromCharCode(method.length)}${method}`))}`;
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
