/**
 * The message limit to the byte where conformance case 11 does not look: messages of streams, both
 * ways on both sides, and limits other than 4 MiB.
 */
import assert from "node:assert/strict";
import { fromBinary } from "npm:@bufbuild/protobuf@2.17.0";
import {
  CountResponseSchema,
  EchoRequestSchema,
  EchoResponseSchema,
} from "../gen/covey/test/v1/test_pb.ts";
import { close, codeOf, data, frame, pack, readResponse, response } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import { bothTest } from "./support/stage.ts";
import { count, echo, open } from "./support/test_frames.ts";

const most = 4 << 20;
/** Tag and length around a bytes field of this size. */
const around = 1 + 4;

bothTest(
  "11 server: a stream's message of 4 MiB passes in, one byte more ends it with 8",
  async (stage) => {
    const sizes: number[] = [];
    const { address, server } = await stage.serve({
      handlers: {
        async *chat(requests) {
          for await (const one of requests) {
            sizes.push(one.payload.length);
            yield {};
          }
        },
      },
    });
    const peer = await stage.raw(address);
    const exact = pack(EchoRequestSchema, { payload: new Uint8Array(most - around) });
    assert.equal(exact.length, most);
    peer.send(open(1, 6, "Chat"), data(1, exact));
    assert.deepEqual([(await peer.next()).type, sizes], [3, [most - around]]);
    peer.send(data(1, new Uint8Array(most + 1)), echo(3, {}));
    const [refusal, next] = await peer.take(2);
    assert.deepEqual([refusal.id, codeOf(refusal), next.id, codeOf(next)], [1, 8, 3, 0]);
    // The stream is over: what its client still had on the way is let pass.
    peer.send(data(1), close(1), echo(5, {}));
    assert.equal((await peer.next()).id, 5);
    assert.deepEqual([server.counters.limitHits.message_bytes, server.counters.callsOpen], [1, 0]);
  },
);

bothTest(
  "11 server: a stream's message of 4 MiB passes out, one byte more ends it with 8",
  async (stage) => {
    const { address, server } = await stage.serve({
      handlers: {
        async *count(request) {
          yield { payload: new Uint8Array(request.bytes) };
          yield { index: 1 };
        },
      },
    });
    const peer = await stage.raw(address);
    peer.send(count(1, { bytes: most - around }));
    const sent = await peer.take(3);
    assert.deepEqual(sent.map((one) => [one.flags, one.data.length]), [[0, most], [0, 2], [5, 0]]);
    peer.send(count(3, { bytes: most - around + 1 }));
    const refusal = await peer.next();
    assert.deepEqual([refusal.id, refusal.type, codeOf(refusal)], [3, 2, 8]);
    assert.match(readResponse(refusal).status!.message, /4194305/);
    assert.equal(server.counters.limitHits.message_bytes, 1);
  },
);

bothTest(
  "11 client: a stream's message of 4 MiB passes both ways, one byte more fails it",
  async (stage) => {
    const raw = await stage.rawServer();
    const { client, channel } = stage.dial(raw.address);
    const feed = new Feed<{ payload: Uint8Array }>({ payload: new Uint8Array(most - around) });
    const chat = client.chat(feed)[Symbol.asyncIterator]();
    const peer = await raw.accept();
    const [{ id }, message] = await peer.take(2);
    assert.equal(message.data.length, most);
    assert.equal(fromBinary(EchoRequestSchema, message.data).payload.length, most - around);
    peer.send(data(id, pack(EchoResponseSchema, { payload: new Uint8Array(most - around) })));
    assert.equal((await chat.next()).value!.payload.length, most - around);
    feed.push({ payload: new Uint8Array(most - around + 1) });
    assert.equal((await failure(chat.next())).code, 8);
    await feed.returned;
    const stream = drain(client.count({}));
    // Nothing of the message that was too long is on the wire.
    const next = await peer.next();
    assert.equal(next.type, 1);
    peer.send(
      data(next.id, pack(CountResponseSchema, { payload: new Uint8Array(most - around) })),
      frame(next.id, 3, 0, new Uint8Array(most + 1)),
      close(next.id),
    );
    const { messages, error } = await stream;
    assert.deepEqual([messages.length, error!.code, error!.sent], [1, 8, true]);
    const after = client.nothing({});
    peer.send(response((await peer.next()).id));
    await after;
    assert.equal(channel.counters.limitHits.message_bytes, 2);
    assert.equal(channel.counters.connectionsTotal, 1);
  },
);

for (const messageBytesMax of [1024, 8 << 20, (1 << 24) - 1]) {
  bothTest(
    `11 a limit of ${messageBytesMax} bytes by agreement: exact both ways`,
    async (stage) => {
      const limits = { messageBytesMax };
      const { client, server, channel } = await stage.pair({
        limits,
        handlers: { echo: (request) => ({ payload: new Uint8Array(request.delayMillis) }) },
      }, { limits });
      const lengthBytes = (length: number) =>
        length < 128 ? 1 : length < 16_384 ? 2 : length < 1 << 21 ? 3 : 4;
      /** The payload whose envelope, with so many bytes around it, has exactly the limit's length. */
      const fitting = (names: number): number => {
        for (let size = messageBytesMax;; size--) {
          const inner = 1 + lengthBytes(size) + size;
          if (names + 1 + lengthBytes(inner) + inner <= messageBytesMax) return size;
        }
      };
      const request = fitting(2 + 25 + 2 + 4);
      await client.echo({ payload: new Uint8Array(request) });
      const local = await failure(client.echo({ payload: new Uint8Array(request + 1) }));
      assert.deepEqual([local.code, local.sent], [8, false]);
      const reply = fitting(0);
      assert.equal((await client.echo({ delayMillis: reply })).payload.length, reply);
      const remote = await failure(client.echo({ delayMillis: reply + 1 }));
      assert.deepEqual([remote.code, remote.sent], [8, true]);
      await client.nothing({});
      assert.deepEqual(
        [server.counters.limitHits.message_bytes, channel.counters.limitHits.message_bytes],
        [1, 1],
      );
      assert.equal(server.connections, 1);
    },
  );
}

bothTest(
  "11 sides that do not agree on the limit: the smaller one fails the call alone",
  async (stage) => {
    const handlers = {
      echo: (one: { delayMillis: number }) => ({ payload: new Uint8Array(one.delayMillis) }),
    };
    const { client, address, server } = await stage.pair(
      { limits: { messageBytesMax: 8 << 20 }, handlers },
      { limits: { messageBytesMax: 1 << 20 } },
    );
    const reply = await failure(client.echo({ delayMillis: 2 << 20 }));
    assert.deepEqual([reply.code, reply.sent], [8, true]);
    await client.nothing({});
    const { client: generous } = stage.dial(address, { limits: { messageBytesMax: 15 << 20 } });
    const request = await failure(generous.echo({ payload: new Uint8Array(9 << 20) }));
    assert.deepEqual([request.code, request.sent], [8, true]);
    await generous.nothing({});
    while (server.counters.callsOpen > 0) await turns(1);
    assert.equal(server.connections, 2);
  },
);
