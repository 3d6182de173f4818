/**
 * Peers that are slow on purpose: bytes that trickle, frames that are announced and never come,
 * and deadlines so far away that no timer of the engine can hold them.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FrameDecoder, type FrameSink, messageBytesDefault } from "../../src/ttrpc/core/frame.ts";
import { codeOf, frame, none, pattern } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { memoryTest, socketTest } from "./support/stage.ts";
import { echo, echoed, open } from "./support/test_frames.ts";

memoryTest(
  "a frame that comes byte by byte, one a second, is served; nobody waits for it",
  async (stage) => {
    const { address, server } = await stage.serve({ limits: { ioStallMs: 60_000 } });
    const { client } = stage.dial(address);
    const slow = await stage.raw(address);
    const bytes = echo(1, { payload: pattern(200) });
    assert.ok(bytes.length > 200, "it takes longer than a silence may");
    for (const byte of bytes.subarray(0, -1)) {
      slow.send(new Uint8Array([byte]));
      assert.equal((await client.echo({ payload: pattern(3) })).payload.length, 3);
      assert.deepEqual([slow.frames.length, server.connections], [0, 2]);
      await stage.clock.advance(1000);
    }
    slow.send(bytes.subarray(-1));
    assert.deepEqual(echoed(await slow.next()), pattern(200));
  },
);

memoryTest(
  "one byte an hour: its calls end, its connection too, others notice nothing",
  async (stage) => {
    const reasons: unknown[] = [];
    const { address, server } = await stage.serve({
      handlers: {
        nothing: (_, { signal }) =>
          new Promise((resolve) =>
            signal.addEventListener("abort", () => {
              reasons.push((signal.reason as { code: number }).code);
              resolve({});
            })
          ),
      },
    });
    const { client } = stage.dial(address);
    await client.echo({});
    const parts = [
      echo(3, { payload: pattern(100) }),
      frame(3, 1, 0, none, messageBytesDefault),
      frame(3, 3, 0, none, messageBytesDefault + 1),
      frame(2, 77, 0xff, none, 5),
    ];
    const slow = [];
    for (const [index, part] of parts.entries()) {
      const peer = await stage.raw(address);
      peer.send(open(1, 0, "Nothing"));
      // Inside the header, right behind it, and inside the body.
      peer.send(part.subarray(0, [3, 10, 10, 10][index]));
      slow.push(peer);
    }
    await stage.clock.advance(1000);
    assert.equal(server.connections, 5);
    for (let hour = 0; hour < 3; hour++) {
      for (const peer of slow) if (!peer.closed && !peer.ended) peer.send(new Uint8Array(1));
      await stage.clock.advance(3_600_000);
      await client.echo({ payload: pattern(10) });
    }
    assert.deepEqual([server.connections, server.counters.connectionsBrokenTotal], [1, 4]);
    assert.deepEqual(reasons, [14, 14, 14, 14]);
    assert.ok(slow.every((peer) => peer.closed || peer.ended));
    assert.equal(server.counters.callsOpen, 0);
  },
);

/** The sizes of the byte arrays that are made while something runs. */
function arraysOf(run: () => void): number[] {
  const sizes: number[] = [];
  const real = globalThis.Uint8Array;
  globalThis.Uint8Array = new Proxy(real, {
    construct(target, parts, newTarget) {
      const made: Uint8Array = Reflect.construct(target, parts, newTarget);
      if (typeof parts[0] === "number") sizes.push(made.length);
      return made;
    },
  });
  try {
    run();
  } finally {
    globalThis.Uint8Array = real;
  }
  return sizes;
}

test("12 a declared length costs nothing: memory grows with the bytes that came", () => {
  const delivered: number[] = [];
  const sink: FrameSink = {
    frame: (_id, _type, _flags, _buffer, start, end) => delivered.push(end - start),
    oversized: () => assert.fail("it is not above the limit"),
    broken: () => assert.fail("it is followed"),
  };
  const decoder = new FrameDecoder(sink, messageBytesDefault);
  const announced = frame(1, 1, 0, none, messageBytesDefault);
  const first = arraysOf(() => {
    for (const byte of announced) decoder.push(new Uint8Array([byte]));
    decoder.push(new Uint8Array(1000));
  });
  const total = first.filter((size) => size > 1000).reduce((sum, size) => sum + size, 0);
  assert.ok(total <= 8192, `${total} bytes were made for ${announced.length + 1000} that came`);
  // The rest of it, in pieces: never more than about twice of what is there.
  let came = 1000;
  while (came < messageBytesDefault) {
    const piece = Math.min(30_000, messageBytesDefault - came);
    came += piece;
    for (const size of arraysOf(() => decoder.push(pieces.subarray(0, piece)))) {
      assert.ok(size <= 2 * (came + announced.length), `${size} bytes for ${came} that came`);
    }
  }
  assert.deepEqual(delivered, [messageBytesDefault]);
  assert.equal(decoder.inFrame, false);
  // An announcement above the limit is thrown away and costs nothing at all.
  const sizes = arraysOf(() =>
    new FrameDecoder({ ...sink, oversized: () => {} }, messageBytesDefault)
      .push(frame(1, 1, 0, none, messageBytesDefault + 1))
  );
  assert.ok(sizes.every((size) => size <= announced.length), `${sizes}`);
});

const pieces = new Uint8Array(30_000);

socketTest("18 far deadlines on the engine's own clock never fire early", async (stage) => {
  const { client, address, server } = await stage.pair();
  const calls = [2 ** 31 - 1, 2 ** 31, 2 ** 32 + 50, Number.MAX_SAFE_INTEGER, 1e300].map((
    timeoutMs,
  ) => client.echo({ delayMillis: 60 }, { timeoutMs }));
  const peer = await stage.raw(address);
  const nanos = [1n << 31n, (1n << 31n) * 1_000_000n, (1n << 53n) + 1n, (1n << 63n) - 1n];
  peer.send(
    ...nanos.map((timeoutNano, index) => echo(1 + 2 * index, { delayMillis: 60 }, { timeoutNano })),
  );
  for (const call of calls) assert.equal((await call).hasDeadline, true);
  for (const answer of await peer.take(nanos.length)) assert.equal(codeOf(answer), 0);
  // They went away with their calls.
  assert.equal(server.counters.callsOpen, 0);
  peer.send(echo(21, { delayMillis: 10_000 }, { timeoutNano: 20_000_000n }));
  assert.equal(codeOf(await peer.next()), 4, "a near one still fires");
  await turns();
  assert.deepEqual(peer.untaken, []);
});
