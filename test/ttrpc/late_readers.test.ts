/**
 * Uploads whose handler does something else before its first read. From a peer without credits
 * such a reader has the time that a slow one has between two messages: `streamStallMs`.
 */
import assert from "node:assert/strict";
import { EchoRequestSchema, SumResponseSchema } from "../gen/covey/test/v1/test_pb.ts";
import { close, codeOf, data, pack, pattern } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { failure } from "./support/outcome.ts";
import { type MemoryStage, memoryTest, type TestHandlers } from "./support/stage.ts";
import { echo, open, result, sumMessage } from "./support/test_frames.ts";

const stallMs = 250;
const message = pattern(64 << 10);
const messages = 60;

/** Waits on the stage's clock before it reads, and counts what it gets. */
function late(stage: MemoryStage, waitMs: number, got: number[]): Partial<TestHandlers> {
  return {
    async *chat(requests) {
      await new Promise<void>((resolve) => stage.clock.timer(waitMs, resolve, undefined));
      for await (const { payload } of requests) {
        assert.ok(Buffer.from(payload).equals(message));
        got.push(payload.length);
      }
      yield { payload: new Uint8Array([got.length]) };
    },
  };
}

async function* upload(): AsyncGenerator<{ payload: Uint8Array }> {
  for (let index = 0; index < messages; index++) yield { payload: message };
}

for (const peer of ["any", "covey"] as const) {
  memoryTest(`an upload waits for a reader that begins late, peer ${peer}`, async (stage) => {
    const got: number[] = [];
    const handlers = late(stage, stallMs - 50, got);
    const { client, channel, server } = await stage.pair({ handlers }, { peer });
    await channel.connect();
    assert.equal(channel.link!.machine.extended, peer === "covey");
    const answers = Array.fromAsync(client.chat(upload()));
    await stage.clock.advance(stallMs - 51);
    assert.equal(got.length, 0);
    await stage.clock.advance(2);
    assert.equal((await answers).length, 1);
    assert.equal(got.length, messages);
    assert.equal(server.counters.limitHits.stream_queue, 0);
  });
}

memoryTest("several uploads at once wait for their readers", async (stage) => {
  const counts: number[][] = [];
  const { client } = await stage.pair({
    handlers: {
      chat(requests, context) {
        const got: number[] = [];
        counts.push(got);
        return late(stage, stallMs / 2, got).chat!(requests, context);
      },
    },
  });
  const calls = Array.from({ length: 4 }, () => Array.fromAsync(client.chat(upload())));
  // A connection that waits for one of them reads nothing of the others: each wait is its own.
  for (let run = 0; run < 8; run++) await stage.clock.advance(stallMs / 2);
  await Promise.all(calls);
  assert.deepEqual(counts.map((got) => got.length), Array(4).fill(messages));
});

memoryTest("a reader that never begins fails alone, after its time", async (stage) => {
  let signal: AbortSignal | undefined;
  const { address, server } = await stage.serve({
    handlers: {
      // deno-lint-ignore require-yield
      async *chat(_, context) {
        signal = context.signal;
        await new Promise(() => {});
      },
    },
  });
  const peer = await stage.raw(address);
  peer.send(open(1, 6, "Sum"), data(1, sumMessage(1n)));
  peer.send(open(3, 6, "Chat"));
  for (let index = 0; index < messages; index++) {
    peer.send(data(3, pack(EchoRequestSchema, { payload: message })));
  }
  peer.send(echo(5, {}), data(1, sumMessage(2n)), close(1));
  await stage.clock.advance(stallMs - 10);
  assert.deepEqual(peer.untaken, [], "the connection waits for the reader");
  assert.equal(signal!.aborted, false);
  await stage.clock.advance(20);
  const frames = new Map((await peer.take(3)).map((one) => [one.id, one]));
  assert.deepEqual([3, 5, 1].map((id) => codeOf(frames.get(id)!)), [8, 0, 0]);
  assert.equal(result(SumResponseSchema, frames.get(1)!).sum, 3n);
  assert.equal(signal!.aborted, true);
  assert.equal(server.counters.limitHits.stream_queue, 1);
  assert.equal(server.connections, 1);
});

memoryTest("the time of a reader begins with its call, not with its messages", async (stage) => {
  const { address } = await stage.serve({
    handlers: {
      // deno-lint-ignore require-yield
      async *chat() {
        await new Promise(() => {});
      },
    },
  });
  const peer = await stage.raw(address);
  peer.send(open(1, 6, "Chat"));
  await stage.clock.advance(stallMs + 10);
  for (let index = 0; index < messages; index++) {
    peer.send(data(1, pack(EchoRequestSchema, { payload: message })));
  }
  // Its time is over: neighbours wait for nothing.
  peer.send(echo(3, {}));
  await turns(200);
  assert.deepEqual(peer.untaken.map((one) => [one.id, codeOf(one)]), [[1, 8], [3, 0]]);
});

memoryTest("a reader that left before it began holds nobody up", async (stage) => {
  const { client, channel } = await stage.pair({
    handlers: {
      async *chat(requests) {
        await (requests as AsyncIterableIterator<unknown>).return!();
        yield {};
        await new Promise(() => {});
      },
    },
  });
  const stream = client.chat(upload())[Symbol.asyncIterator]();
  assert.equal((await stream.next()).done, false);
  await client.echo({});
  channel.close();
  assert.equal((await failure(stream.next())).code, 1);
});
