/**
 * Frames of the extensions from peers that agreed to none, on ids that are in use: to them they are
 * types that nobody knows, and a peer that agreed may still get them wrong.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText } from "../../src/base/bytes.ts";
import { close, data, frame, none, pattern, request, response } from "./support/frames.ts";
import { ClientHarness, ServerHarness } from "./support/machines.ts";
import { drain } from "./support/outcome.ts";
import { bothTest } from "./support/stage.ts";

const window = new Uint8Array([0, 1, 0, 0]);
/** Field 3 of `Extensions`: k=v. */
const metadata = new Uint8Array([0x1a, 6, 0x0a, 1, 0x6b, 0x12, 1, 0x76]);

test("17 server machine: types that nobody knows change nothing for calls in flight", () => {
  const server = new ServerHarness();
  ["u", "c", "d", "b"].forEach((method, index) =>
    server.receive(request(1 + 2 * index, 6, { service: "s", method }))
  );
  const before = server.log.slice();
  for (let type = 0; type < 256; type++) {
    if (type === 1 || type === 3) continue;
    for (const id of [1, 3, 5, 7]) {
      server.receive(
        ...[none, window, metadata, pattern(20)].map((one) => frame(id, type, 0xff, one)),
      );
    }
  }
  assert.deepEqual([server.log, server.frames(), server.machine.callCount], [before, [], 4]);
  assert.deepEqual([server.machine.extended, server.machine.pingSentMs], [false, -Infinity]);
});

test("17 client machine: types that nobody knows change nothing for calls in flight", () => {
  const client = new ClientHarness();
  const calls = ["u", "c", "d", "b"].map((method) => client.begin(method));
  client.frames();
  for (let type = 0; type < 256; type++) {
    if (type === 2 || type === 3) continue;
    for (const { id } of calls) {
      client.receive(
        ...[none, window, metadata, pattern(20)].map((one) => frame(id, type, 0xff, one)),
      );
    }
  }
  assert.deepEqual([client.log, client.frames(), client.machine.callCount], [[], [], 4]);
  assert.equal(client.machine.spent, false);
  assert.ok(calls.every((call) => call.metadata === undefined && !call.over));
});

bothTest(
  "a peer that agreed to nothing cannot send response metadata or say goodbye",
  async (stage) => {
    const raw = await stage.rawServer();
    const { client, channel } = stage.dial(raw.address);
    let told = 0;
    const stream = drain(client.count({}, { onResponseMetadata: () => told++ }));
    const peer = await raw.accept();
    const { id } = await peer.next();
    peer.send(frame(1, 8, 0), frame(1, 4, 0), frame(id, 9, 0, metadata), close(id));
    assert.equal((await stream).error, undefined);
    const next = client.nothing({}, { onResponseMetadata: () => told++ });
    const request = await peer.next();
    assert.deepEqual([request.type, request.id], [1, id + 2], "no pong, and the same connection");
    peer.send(response(request.id));
    await next;
    assert.deepEqual([told, channel.counters.connectionsTotal, channel.extended], [0, 1, false]);
  },
);

test("a client agrees to the version that it offered, and to no other", () => {
  for (const version of [0, 2, 99, 0xffffffff]) {
    const client = new ClientHarness();
    client.machine.hello();
    client.receive(response(1, { extensions: { version, windowBytes: 65_536 } }));
    assert.deepEqual([client.log, client.machine.extended], [["ready"], false], `${version}`);
  }
});

test("a window of any other length than four bytes grants nothing", () => {
  const server = new ServerHarness().agree(1024);
  server.receive(request(3, 1, { service: "s", method: "d" }));
  server.frames();
  const [call] = server.calls;
  server.machine.send(call, pattern(2000));
  assert.equal(server.machine.send(call, encodeText("waits")), false);
  assert.equal(server.frames().length, 1);
  for (const length of [0, 1, 3, 5, 8]) {
    server.receive(frame(3, 7, 0, new Uint8Array(length).fill(1)));
  }
  assert.deepEqual(server.frames(), []);
  server.receive(frame(3, 7, 0, new Uint8Array([0, 0, 8, 0])));
  assert.deepEqual(server.frames().map((one) => one.data), [encodeText("waits")]);
  // Credit for calls that are none, or that need none, is nobody's.
  server.receive(frame(1, 7, 0, window), frame(99, 7, 0, window), data(99));
  assert.equal(server.brokenReason, undefined);
});
