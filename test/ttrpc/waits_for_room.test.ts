/**
 * Producers that are faster than their peer wait for room instead of failing their calls: response
 * streams and unary answers of a server whose client reads slowly, and what ends such a wait.
 */
import assert from "node:assert/strict";
import { fromBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { concatBytes } from "../../src/base/bytes.ts";
import { rpcLimitsDefault } from "../../src/ttrpc/limits.ts";
import type { ServerLink } from "../../src/ttrpc/server_link.ts";
import { CountResponseSchema, EchoRequestSchema } from "../gen/covey/test/v1/test_pb.ts";
import { close, data, type Frame, frame, pack, pattern, readResponse } from "./support/frames.ts";
import { type MemoryConnection, turns } from "./support/memory_net.ts";
import { failure } from "./support/outcome.ts";
import type { RawPeer } from "./support/raw_peer.ts";
import { memoryTest, type TestHandlers } from "./support/stage.ts";
import { count, echo, echoed, open } from "./support/test_frames.ts";
import { offer } from "./support/machines.ts";

const mebibyte = 1 << 20;
const requestId = (index: number) => 1 + 2 * index;

/** The server's end of a raw client's connection in memory. */
function linkOf(peer: RawPeer): ServerLink {
  const near = peer.connection as MemoryConnection<RawPeer>;
  return near.other.state as ServerLink;
}

/** Offers the extensions and confirms what the server answers; uses stream id 1. */
async function agree(peer: RawPeer, windowBytes: number): Promise<void> {
  peer.send(echo(1, {}, { metadata: [offer(windowBytes)] }));
  await peer.next();
  peer.send(frame(1, 5, 0));
}

/** Watches what a connection holds while it is read; each turn of the event loop once. */
class Held {
  outboxBytes = 0;
  outputBytes = 0;
  readonly #peer: RawPeer;

  constructor(peer: RawPeer) {
    this.#peer = peer;
  }

  look(): void {
    const { outboxBytes, output } = linkOf(this.#peer).machine;
    this.outboxBytes = Math.max(this.outboxBytes, outboxBytes);
    this.outputBytes = Math.max(this.outputBytes, output.queuedBytes);
  }

  /** Until so many frames came that nobody took yet, which it takes. */
  async frames(frames: number): Promise<Frame[]> {
    // The server's end opens a turn after the client's.
    await turns(2);
    while (this.#peer.untaken.length < frames && !this.#peer.closed) {
      this.look();
      await turns(1);
    }
    return this.#peer.take(frames);
  }
}

/** A stream of this call: `count` messages that no other call and no other index has. */
const streamed: Partial<TestHandlers> = {
  async *count(request, { metadata }) {
    const seed = Number(metadata.get("seed") ?? 0);
    for (let index = 0; index < request.count; index++) {
      yield { index, payload: pattern(request.bytes, seed + index) };
    }
  },
};

const seeded = (seed: number) => ({ metadata: [{ key: "seed", value: `${seed}` }] });

/** As many bytes as the request's delay says, at once or a promise later. */
function answered(later: boolean): Partial<TestHandlers> {
  return {
    echo(request) {
      const answer = { payload: pattern(request.delayMillis, request.payload[0]) };
      return later ? Promise.resolve(answer) : answer;
    },
  };
}

const bigEcho = (index: number, bytes: number, extras = {}) =>
  echo(requestId(index), { payload: new Uint8Array([index]), delayMillis: bytes }, extras);

memoryTest("40 streams of 1 MiB messages towards a client that reads", async (stage) => {
  const { address, server } = await stage.serve({ handlers: streamed });
  const peer = await stage.raw(address);
  const held = new Held(peer);
  const [streams, messages] = [40, 3];
  for (let index = 0; index < streams; index++) {
    peer.send(count(requestId(index), { count: messages, bytes: mebibyte }, seeded(index * 7)));
  }
  const seen = new Map<number, number>();
  for (const one of await held.frames(streams * (messages + 1))) {
    const index = seen.get(one.id) ?? 0;
    seen.set(one.id, index + 1);
    assert.deepEqual([one.type, one.flags], [3, index < messages ? 0 : 5]);
    if (one.flags === 5) continue;
    const message = fromBinary(CountResponseSchema, one.data);
    assert.equal(message.index, index);
    const expected = pattern(mebibyte, (one.id - 1) / 2 * 7 + index);
    assert.ok(Buffer.from(message.payload).equals(expected), `${one.id}: another's bytes`);
  }
  assert.equal(seen.size, streams);
  assert.ok(held.outboxBytes <= rpcLimitsDefault.queueBytesMax, `outbox ${held.outboxBytes}`);
  assert.ok(held.outboxBytes > mebibyte, "they did wait");
  assert.ok(held.outputBytes <= 2 * mebibyte, `output ${held.outputBytes}`);
  assert.ok(server.counters.limitHits.connection_queue > 0, "some waited outside of the queue");
  assert.deepEqual([server.counters.callsOpen, server.connections], [0, 1]);
});

for (const later of [false, true]) {
  const kind = later ? "promised" : "immediate";
  memoryTest(`64 concurrent answers of 1 MiB, ${kind}, to a client that reads`, async (stage) => {
    const { address, server } = await stage.serve({ handlers: answered(later) });
    const peer = await stage.raw(address);
    const held = new Held(peer);
    for (let index = 0; index < 64; index++) peer.send(bigEcho(index, mebibyte));
    const ids = new Set<number>();
    for (const one of await held.frames(64)) {
      ids.add(one.id);
      assert.equal(readResponse(one).status, undefined);
      const expected = pattern(mebibyte, (one.id - 1) / 2);
      assert.ok(Buffer.from(echoed(one)).equals(expected), `${one.id}: another's bytes`);
    }
    assert.equal(ids.size, 64);
    assert.ok(held.outputBytes <= rpcLimitsDefault.queueBytesMax, `${held.outputBytes}`);
    assert.ok(server.counters.limitHits.connection_queue > 0, "some did wait");
    assert.equal(server.counters.callsOpen, 0);
  });
}

memoryTest("answers of every size around the room that is left come whole", async (stage) => {
  const { address, server } = await stage.serve({
    limits: { queueBytesMax: 50_000 },
    handlers: answered(false),
  });
  // The first answer leaves a room that the second fills to a few bytes more or less.
  for (let short = -64; short <= 16; short++) {
    const peer = await stage.raw(address);
    peer.connection.pause();
    // One chunk: both answers are made before anything is written.
    peer.send(concatBytes([bigEcho(0, 20_000), bigEcho(1, 30_000 + short)]));
    await turns();
    peer.connection.resume();
    for (const one of await peer.take(2)) {
      assert.equal(readResponse(one).status, undefined, `with ${short}`);
    }
    peer.connection.abort();
  }
  assert.equal(server.counters.callsOpen, 0);
});

memoryTest("what waits is a copy: small messages share the encoder's block", async (stage) => {
  const { address, server } = await stage.serve({
    limits: { queueBytesMax: 20_000 },
    handlers: { ...streamed, ...answered(true) },
  });
  const peer = await stage.raw(address);
  peer.connection.pause();
  stage.net.faults.capacityBytes = 4096;
  for (let index = 0; index < 50; index++) {
    peer.send(count(requestId(index), { count: 5, bytes: 1500 }, seeded(index)));
    peer.send(bigEcho(100 + index, 1500));
  }
  await turns(200);
  peer.connection.resume();
  const seen = new Map<number, number>();
  for (const one of await peer.take(50 * 6 + 50)) {
    if (one.flags === 5) continue;
    const call = (one.id - 1) / 2;
    const index = seen.get(one.id) ?? 0;
    seen.set(one.id, index + 1);
    if (one.type === 2) assert.deepEqual(echoed(one), pattern(1500, call));
    else {
      const { payload } = fromBinary(CountResponseSchema, one.data);
      assert.deepEqual(payload, pattern(1500, call + index));
    }
  }
  assert.equal(seen.size, 100);
  assert.ok(server.counters.limitHits.connection_queue > 50, "most of them waited");
});

memoryTest("who waits for room is ended by its deadline, and its place is free", async (stage) => {
  const limits = { queueBytesMax: 2 * mebibyte, callsMax: 30, streamsMax: 20 };
  const { address, server } = await stage.serve({
    limits,
    handlers: { ...streamed, ...answered(true) },
  });
  const peer = await stage.raw(address);
  peer.connection.pause();
  const timed = { timeoutNano: 500_000_000n };
  for (let index = 0; index < 20; index++) {
    peer.send(count(requestId(index), { count: 5, bytes: 700_000 }, timed));
  }
  for (let index = 20; index < 30; index++) peer.send(bigEcho(index, 700_000, timed));
  await turns();
  const link = linkOf(peer);
  assert.ok(link.machine.callCount > 20, "most of them wait");
  assert.ok(link.machine.outboxBytes <= limits.queueBytesMax);
  await stage.clock.advance(600);
  assert.deepEqual([link.machine.callCount, link.machine.outboxBytes], [0, 0]);
  assert.equal(server.counters.callsOpen, 0);
  peer.connection.resume();
  // All places are free again, and the connection goes on.
  for (let index = 30; index < 50; index++) {
    peer.send(count(requestId(index), { count: 1, bytes: 100_000 }));
  }
  for (let index = 50; index < 60; index++) peer.send(bigEcho(index, 100_000));
  const last = new Map<number, Frame>();
  while (last.size < 60) {
    const one = await peer.next();
    if (one.type === 2 || one.flags === 5) last.set(one.id, one);
  }
  const codes = [...last.values()].filter((one) => one.type === 2 && one.id < requestId(30))
    .map((one) => readResponse(one).status?.code ?? 0);
  assert.ok(codes.filter((code) => code === 4).length > 20, "those that waited were told");
  for (let index = 30; index < 60; index++) {
    const one = last.get(requestId(index))!;
    assert.ok(one.flags === 5 || readResponse(one).status === undefined, `${one.id}`);
  }
});

memoryTest("who waits for room is ended by RESET, and others get the room", async (stage) => {
  const stopped = new Set<number>();
  const { address, server } = await stage.serve({
    limits: { queueBytesMax: mebibyte },
    handlers: {
      async *count({ count: seed }, { signal }) {
        signal.addEventListener("abort", () => stopped.add(seed));
        for (let index = 0; index < 4; index++) yield { index, payload: pattern(300_000, seed) };
      },
    },
  });
  const peer = await stage.raw(address);
  await agree(peer, 64 * mebibyte);
  peer.connection.pause();
  for (let index = 1; index <= 20; index++) peer.send(count(requestId(index), { count: index }));
  await turns();
  for (let index = 1; index <= 20; index += 2) peer.send(frame(requestId(index), 6, 0));
  await turns();
  assert.equal(stopped.size, 10);
  assert.equal(linkOf(peer).machine.callCount, 10);
  peer.connection.resume();
  const ended = new Set<number>();
  while (ended.size < 10) {
    const one = await peer.next();
    if (one.flags === 5) ended.add(one.id);
  }
  for (const id of ended) assert.equal((id - 1) / 2 % 2, 0);
  assert.equal(server.counters.callsOpen, 0);
});

memoryTest("a peer that never reads ends by the stall limit, with all who wait", async (stage) => {
  const signals: AbortSignal[] = [];
  const { address, server } = await stage.serve({
    limits: { ioStallMs: 3000, queueBytesMax: 2 * mebibyte },
    handlers: {
      ...answered(true),
      async *count(_, { signal }) {
        signals.push(signal);
        while (true) yield { payload: pattern(400_000) };
      },
    },
  });
  const peer = await stage.raw(address);
  peer.connection.pause();
  for (let index = 0; index < 20; index++) peer.send(count(requestId(index), {}));
  for (let index = 20; index < 40; index++) peer.send(bigEcho(index, 400_000));
  const held = new Held(peer);
  await turns();
  held.look();
  assert.ok(held.outboxBytes <= 2 * mebibyte && held.outputBytes <= 2 * mebibyte);
  await stage.clock.advance(2000);
  assert.equal(server.connections, 1);
  await stage.clock.advance(4000);
  assert.equal(server.connections, 0);
  assert.deepEqual([server.counters.connectionsBrokenTotal, server.counters.callsOpen], [1, 0]);
  assert.ok(signals.length === 20 && signals.every((one) => one.aborted));
});

memoryTest("a stop waits for what waits for room", async (stage) => {
  const { address, server } = await stage.serve({
    limits: { queueBytesMax: mebibyte },
    handlers: { ...streamed, ...answered(true) },
  });
  const peer = await stage.raw(address);
  peer.connection.pause();
  for (let index = 0; index < 10; index++) {
    peer.send(count(requestId(index), { count: 3, bytes: 200_000 }, seeded(index)));
  }
  for (let index = 10; index < 20; index++) peer.send(bigEcho(index, 200_000));
  await turns();
  let stopped = false;
  const stopping = server.stop(60_000).then(() => stopped = true);
  await turns();
  assert.equal(stopped, false);
  peer.connection.resume();
  await peer.gone();
  await stopping;
  const frames = peer.untaken;
  assert.equal(frames.filter((one) => one.flags === 5).length, 10);
  assert.equal(frames.filter((one) => one.flags === 0 && one.type === 3).length, 30);
  const answers = frames.filter((one) => one.type === 2);
  assert.deepEqual(answers.map((one) => readResponse(one).status), Array(10).fill(undefined));
});

// -- nobody waits for ever ----------------------------------------------------------------------

const endless: Partial<TestHandlers> = {
  async *count(request) {
    for (let index = 0;; index++) yield { index, payload: pattern(request.bytes) };
  },
};

memoryTest("streams that found no room get their turn beside endless ones", async (stage) => {
  const { address } = await stage.serve({ limits: { queueBytesMax: mebibyte }, handlers: endless });
  const peer = await stage.raw(address);
  const streams = 40;
  for (let index = 0; index < streams; index++) {
    peer.send(count(requestId(index), { bytes: 100_000 }));
  }
  const messages = new Map<number, number>();
  for (const one of await peer.take(streams * 12)) {
    messages.set(one.id, (messages.get(one.id) ?? 0) + 1);
  }
  assert.equal(messages.size, streams, `only ${messages.size} streams sent anything`);
  const fewest = Math.min(...messages.values());
  assert.ok(fewest >= 4, `one stream sent ${fewest} messages, on average it is 12`);
});

memoryTest("an answer that found no room gets it beside endless streams", async (stage) => {
  const { address } = await stage.serve({
    limits: { queueBytesMax: mebibyte },
    handlers: { ...endless, ...answered(true) },
  });
  const peer = await stage.raw(address);
  for (let index = 0; index < 20; index++) {
    peer.send(count(requestId(index), { bytes: 50_000 }));
  }
  for (let index = 20; index < 24; index++) peer.send(bigEcho(index, 900_000));
  const frames = await peer.take(800);
  const answers = frames.filter((one) => one.type === 2);
  assert.deepEqual(answers.map((one) => readResponse(one).status), Array(4).fill(undefined));
});

memoryTest("a stream without credit does not keep the room of one that has some", async (stage) => {
  const { address } = await stage.serve({
    // One message is more than half of the queue, where others may no longer wait.
    limits: { queueBytesMax: 500_000 },
    handlers: endless,
  });
  const peer = await stage.raw(address);
  await agree(peer, 1024);
  // The first message overdraws the window, the second waits for credit that never comes.
  peer.send(count(3, { bytes: 300_000 }));
  await peer.next();
  await turns();
  const credit = new Uint8Array([0x7f, 0xff, 0xff, 0xff]);
  peer.send(count(5, { bytes: 300_000 }), frame(5, 7, 0, credit));
  for (const one of await peer.take(20)) assert.equal(one.id, 5);
  // Its credit comes after all: it goes on beside the other.
  peer.send(frame(3, 7, 0, credit));
  const ids = (await peer.take(40)).map((one) => one.id);
  assert.ok(ids.filter((id) => id === 3).length >= 10, `${ids}`);
});

memoryTest("a client of bidi streams that reads late loses none of them", async (stage) => {
  const { address, server } = await stage.serve({ limits: { queueBytesMax: mebibyte } });
  const peer = await stage.raw(address);
  peer.connection.pause();
  for (let index = 0; index < 30; index++) {
    peer.send(open(requestId(index), 6, "Chat"));
    const payload = pattern(150_000, index);
    for (let run = 0; run < 3; run++) {
      peer.send(data(requestId(index), pack(EchoRequestSchema, { payload })));
    }
    peer.send(close(requestId(index)));
  }
  await turns();
  peer.connection.resume();
  const frames = await peer.take(30 * 4);
  assert.equal(frames.filter((one) => one.flags === 5).length, 30);
  assert.equal(server.counters.callsOpen, 0);
});

// -- a client's uploads -------------------------------------------------------------------------

memoryTest("40 uploads of 1 MiB messages to a plain server that reads slowly", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address);
  const [uploads, messages] = [40, 3];
  let returned = 0;
  async function* inputs(seed: number): AsyncGenerator<{ payload: Uint8Array }> {
    try {
      for (let index = 0; index < messages; index++) {
        yield { payload: pattern(mebibyte, seed * messages + index) };
      }
    } finally {
      returned++;
    }
  }
  const calls = Array.from(
    { length: uploads },
    (_, seed) => Array.fromAsync(client.chat(inputs(seed))),
  );
  const peer = await raw.accept();
  let [outboxBytes, outputBytes] = [0, 0];
  const ids: number[] = [];
  const got = new Map<number, number>();
  for (let ended = 0; ended < uploads;) {
    // It reads for a turn, and does something else for two.
    peer.connection.resume();
    await turns(1);
    peer.connection.pause();
    await turns(2);
    const { machine } = channel.link!;
    outboxBytes = Math.max(outboxBytes, machine.outboxBytes);
    outputBytes = Math.max(outputBytes, machine.output.queuedBytes);
    for (const one of await peer.take(peer.untaken.length)) {
      if (one.type === 1) ids.push(one.id);
      else if (one.flags === 5) {
        ended++;
        peer.send(frame(one.id, 3, 5));
      } else {
        const index = got.get(one.id) ?? 0;
        got.set(one.id, index + 1);
        const { payload } = fromBinary(EchoRequestSchema, one.data);
        const expected = pattern(mebibyte, ids.indexOf(one.id) * messages + index);
        assert.ok(Buffer.from(payload).equals(expected), `${one.id}: another's bytes`);
      }
    }
  }
  peer.connection.resume();
  await Promise.all(calls);
  assert.deepEqual([...got.values()], Array(uploads).fill(messages));
  assert.ok(outboxBytes <= rpcLimitsDefault.queueBytesMax && outputBytes <= 2 * mebibyte);
  assert.ok(channel.counters.limitHits.connection_queue > 0, "some waited outside of the queue");
  assert.deepEqual([returned, channel.counters.callsOpen], [uploads, 0]);
});

memoryTest("uploads that wait for room end by deadline, abort and close", async (stage) => {
  const raw = await stage.rawServer();
  raw.onPeer = (peer) => peer.connection.pause();
  const { client, channel } = stage.dial(raw.address, { limits: { queueBytesMax: mebibyte } });
  await channel.connect();
  let open = 0;
  async function* endless(): AsyncGenerator<{ payload: Uint8Array }> {
    open++;
    try {
      while (true) yield { payload: pattern(200_000) };
    } finally {
      open--;
    }
  }
  const abort = new AbortController();
  const calls = Array.from({ length: 30 }, (_, index) => {
    const options = index % 3 === 0
      ? { timeoutMs: 100 }
      : index % 3 === 1
      ? { signal: abort.signal }
      : {};
    return failure(Array.fromAsync(client.chat(endless(), options)));
  });
  await turns();
  const { machine } = channel.link!;
  assert.equal(open, 30);
  assert.ok(machine.outboxBytes <= mebibyte);
  await stage.clock.advance(150);
  assert.deepEqual([open, machine.callCount], [20, 20]);
  abort.abort();
  await turns();
  assert.deepEqual([open, machine.callCount], [10, 10]);
  channel.close();
  const codes = (await Promise.all(calls)).map(({ code }) => code);
  assert.deepEqual(codes, Array.from({ length: 30 }, (_, index) => [4, 1, 1][index % 3]));
  assert.deepEqual([open, channel.counters.callsOpen, machine.outboxBytes], [0, 0, 0]);
});

memoryTest("uploads that found no room get it beside endless ones", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address, { limits: { queueBytesMax: mebibyte } });
  async function* endless(): AsyncGenerator<{ payload: Uint8Array }> {
    while (true) yield { payload: pattern(100_000) };
  }
  const calls = Array.from({ length: 40 }, () => failure(Array.fromAsync(client.chat(endless()))));
  const peer = await raw.accept();
  const messages = new Map<number, number>();
  for (const one of await peer.take(40 * 12)) {
    if (one.type === 3) messages.set(one.id, (messages.get(one.id) ?? 0) + 1);
  }
  channel.close();
  await Promise.all(calls);
  assert.equal(messages.size, 40, `only ${messages.size} uploads sent anything`);
});
