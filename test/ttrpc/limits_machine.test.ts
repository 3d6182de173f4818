/** Every bound of one connection, with the counter that tells when it was reached. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText } from "../../src/base/bytes.ts";
import { messageOverheadBytes } from "../../src/ttrpc/core/call.ts";
import { outputHighWater } from "../../src/ttrpc/core/frame_output.ts";
import { close, codeOf, data, frame, none, pattern, request, response } from "./support/frames.ts";
import { ClientHarness, codes, error, ServerHarness, takeOutput } from "./support/machines.ts";

const unary = { service: "s", method: "u" };
const clientStream = { service: "s", method: "c" };

test("calls per connection: one more is refused with 8, and room comes back", () => {
  const server = new ServerHarness({ limits: { callsMax: 2 } });
  server.receive(request(1, 0, unary), request(3, 6, clientStream), request(5, 0, unary));
  assert.equal(server.calls.length, 2);
  assert.deepEqual(server.limitHits, ["calls_per_connection"]);
  server.machine.respond(server.calls[0], none, []);
  server.receive(request(7, 0, unary));
  assert.deepEqual(codes(server.frames()), [8, 0]);
  assert.equal(server.calls.length, 3);

  const client = new ClientHarness({ limits: { callsMax: 2 } });
  const [one] = [client.begin("u"), client.begin("u")];
  const refused = client.begin("u");
  assert.equal(client.failures.get(refused)!.code, 8);
  assert.deepEqual(client.limitHits, ["calls_per_connection"]);
  client.receive(response(one.id));
  client.begin("u");
  assert.equal(client.failures.size, 1);
});

test("streams per connection: one more is refused with 8, unary calls are not", () => {
  const server = new ServerHarness({ limits: { streamsMax: 1 } });
  server.receive(request(1, 6, clientStream), request(3, 6, clientStream), request(5, 0, unary));
  assert.deepEqual(server.calls.map((call) => call.id), [1, 5]);
  assert.deepEqual(server.limitHits, ["streams_per_connection"]);
  server.machine.respond(server.calls[0], none, []);
  server.receive(request(7, 6, clientStream));
  assert.equal(server.calls.length, 3);

  const client = new ClientHarness({ limits: { streamsMax: 1 } });
  const first = client.begin("b");
  assert.equal(client.failures.get(client.begin("d"))!.code, 8);
  client.begin("u");
  client.machine.cancel(first, error(1));
  client.begin("d");
  assert.equal(client.failures.size, 2);
  assert.deepEqual(client.limitHits, ["streams_per_connection"]);
});

test("streams per connection: those that wait to be written count too", () => {
  const client = new ClientHarness({ limits: { streamsMax: 3 } });
  client.begin("u", { payload: pattern(outputHighWater) });
  const streams = ["c", "d", "b", "c", "d"].map((method) => client.begin(method));
  assert.deepEqual(streams.map((call) => client.failures.get(call)?.code), [
    undefined,
    undefined,
    undefined,
    8,
    8,
  ]);
  const opened = client.frames().filter((one) => one.type === 1).length;
  assert.equal(opened, 4);
  for (const call of streams) client.machine.cancel(call, error(1));
  for (let index = 0; index < 3; index++) client.begin("b");
  assert.equal(client.failures.size, 5, "every stream that ended gave its place back");
});

test("message bytes, in: the call fails and the connection goes on", () => {
  const server = new ServerHarness({ limits: { messageBytesMax: 100 } });
  server.receive(
    request(1, 6, clientStream),
    data(1, pattern(101)),
    request(3, 0, { ...unary, payload: pattern(101) }),
    request(5, 0, unary),
  );
  assert.deepEqual(server.log, ["call 1 c", "failed 1 8", "refused 8", "call 5 u"]);
  assert.deepEqual(server.limitHits, ["message_bytes", "message_bytes"]);
});

test("message bytes, out: a result or metadata that makes the frame too large becomes 8", () => {
  const limits = { messageBytesMax: 1000 };
  const long = ["k", "v".repeat(500)];
  const agreed = new ServerHarness({ limits }).agree();
  agreed.receive(...[3, 5, 7, 9].map((id) => request(id, 0, unary)));
  agreed.receive(request(11, 1, { service: "s", method: "d" }));
  const [large, both, metadata, failure, stream] = agreed.calls;
  agreed.frames();
  agreed.machine.respond(large, pattern(1000), []);
  agreed.machine.respond(both, pattern(600), long);
  agreed.machine.respond(metadata, none, ["k", "v".repeat(20_000_000)]);
  agreed.machine.respondStatus(failure, error(5, "x".repeat(600)), long);
  agreed.machine.finishStream(stream, ["k", "v".repeat(2000)]);
  const frames = agreed.frames();
  assert.ok(frames.every((one) => one.data.length <= 1000), "no frame is above the limit");
  assert.deepEqual(frames.filter((one) => one.type === 2).map((one) => [one.id, codeOf(one)]), [
    [3, 8],
    [5, 8],
    [7, 8],
    [9, 5],
    [11, 8],
  ]);
  assert.equal(agreed.machine.callCount, 0);
  assert.ok(
    agreed.limitHits.length >= 4 && agreed.limitHits.every((hit) => hit === "message_bytes"),
  );
});

test("stream queue, without credits: an unread stream fails with 8, alone", () => {
  const limits = { streamQueueBytesMax: 10_000, streamQueueMessagesMax: 50 };
  for (const [size, count] of [[1000, 12], [0, 60]]) {
    const server = new ServerHarness({ limits });
    server.receive(request(1, 6, clientStream), request(3, 6, clientStream));
    server.nowMs = 1000;
    for (let index = 0; index < count; index++) {
      server.receive(data(1, pattern(size)), data(3, pattern(size)));
      server.messages(server.calls[1]);
    }
    assert.deepEqual(server.failures.map((one) => [one.call.id, one.status.code]), [[1, 8]]);
    assert.deepEqual(server.limitHits, ["stream_queue"]);
    assert.equal(server.machine.callCount, 1);
    assert.equal(server.machine.wantsPause, false);
  }
});

test("stream queue, without credits: a slow but active reader is bounded and not failed", () => {
  const limits = { streamQueueBytesMax: 10_000, streamStallMs: 100 };
  const server = new ServerHarness({ limits });
  server.receive(request(1, 6, clientStream), data(1, pattern(500, 0)));
  const [call] = server.calls;
  // It has taken one message, so it is known to read.
  server.machine.take(call, server.nowMs);
  let taken = 1;
  let most = 0;
  for (let sent = 1; sent < 500; server.nowMs += 10) {
    // The driver reads only while the machine does not ask it to pause.
    while (!server.machine.wantsPause && sent < 500) server.receive(data(1, pattern(500, sent++)));
    most = Math.max(most, call.flow!.inboxBytes);
    server.machine.tick(server.nowMs);
    assert.equal(server.machine.take(call, server.nowMs)![0], pattern(1, taken++)[0]);
  }
  assert.equal(server.failures.length, 0);
  assert.ok(most <= 10_000 + 3 * (500 + messageOverheadBytes), `${most} bytes were queued`);
});

test("stream queue, without credits: a reader that stops is failed when its time is up", () => {
  const limits = { streamQueueBytesMax: 10_000, streamStallMs: 100 };
  const server = new ServerHarness({ limits });
  server.receive(request(1, 6, clientStream), data(1, pattern(500)));
  const [call] = server.calls;
  server.nowMs = 50;
  server.machine.take(call, 50);
  while (!server.machine.wantsPause) server.receive(data(1, pattern(500)));
  assert.equal(server.machine.nextTickMs, 150);
  server.machine.tick(149);
  assert.equal(server.machine.wantsPause, true);
  server.machine.tick(150);
  assert.equal(server.machine.wantsPause, false);
  assert.deepEqual(server.failures.map((one) => one.status.code), [8]);
  assert.equal(server.machine.nextTickMs, Infinity);
});

test("connection queue, in: the fullest stream is failed, not the one that comes last", () => {
  const limits = { streamQueueBytesMax: 1 << 20, queueBytesMax: 100_000 };
  const server = new ServerHarness({ limits });
  server.receive(...[1, 3, 5].map((id) => request(id, 6, clientStream)));
  for (let index = 0; index < 9; index++) server.receive(data(3, pattern(10_000)));
  server.receive(data(1, pattern(9000)), data(5, pattern(9000)));
  assert.deepEqual(server.failures.map((one) => [one.call.id, one.status.code]), [[3, 8]]);
  assert.deepEqual(server.limitHits, ["connection_queue"]);
  assert.equal(server.messages(server.calls[2]).length, 1);
});

test("connection queue, out: a client refuses new calls and does not keep their bytes", () => {
  const limits = { queueBytesMax: 1 << 20, queueMessagesMax: 1000 };
  const client = new ClientHarness({ limits });
  client.begin("u", { payload: pattern(outputHighWater) });
  let accepted = 0;
  while (client.failures.size < 5) {
    const call = client.begin("u", { payload: pattern(100_000) });
    if (!client.failures.has(call)) accepted++;
  }
  assert.equal(accepted, 10);
  assert.deepEqual(new Set(client.limitHits), new Set(["connection_queue"]));
  assert.ok([...client.failures.values()].every((status) => status.code === 8));
  assert.equal(client.machine.callCount, 11);
  client.frames();
  client.begin("u", { payload: pattern(100_000) });
  assert.equal(client.failures.size, 5, "there is room again");
});

test("connection queue, out: many small calls are bounded by their number", () => {
  const client = new ClientHarness({ limits: { queueMessagesMax: 20, callsMax: 10_000 } });
  client.begin("u", { payload: pattern(outputHighWater) });
  for (let index = 0; index < 100; index++) client.begin("u");
  assert.equal(client.failures.size, 80);
});

test("connection queue, out: streams whose peer does not read hold no more than the limit", () => {
  const limits = { queueBytesMax: 1 << 20 };
  const server = new ServerHarness({ limits });
  const client = new ClientHarness({ limits });
  const ids = Array.from({ length: 64 }, (_, index) => 1 + 2 * index);
  server.receive(...ids.map((id) => request(id, 1, { service: "s", method: "d" })));
  const calls = ids.map(() => client.begin("c"));
  let served = 0;
  let sent = 0;
  for (const call of server.calls) {
    while (!call.over && server.machine.send(call, pattern(100_000)));
    served += call.flow!.outboxBytes;
  }
  for (const call of calls) {
    while (!call.over && client.machine.send(call, pattern(100_000)));
    sent += call.flow!.outboxBytes;
  }
  for (
    const [bytes, { failures, limitHits, machine }] of [[served, server], [sent, client]] as const
  ) {
    assert.ok(bytes <= 1 << 20, `${bytes} bytes wait`);
    const count = failures instanceof Map ? failures.size : failures.length;
    assert.ok(count > 40 && count < 64, `${count} streams failed`);
    assert.deepEqual(new Set(limitHits), new Set(["connection_queue"]));
    assert.ok(machine.output.queuedBytes < outputHighWater + 200_000);
  }
});

test("connection queue, out: a small limit makes the output short, and breaks nothing", () => {
  const limits = { queueBytesMax: 50_000, messageBytesMax: 10_000 };
  const server = new ServerHarness({ limits });
  const client = new ClientHarness({ limits });
  server.receive(request(1, 1, { service: "s", method: "d" }));
  const call = client.begin("c");
  for (let left = 50; left > 0; left--) {
    if (!server.machine.send(server.calls[0], pattern(10_000))) break;
  }
  for (let left = 50; left > 0; left--) if (!client.machine.send(call, pattern(10_000))) break;
  for (const { machine, brokenReason, limitHits } of [server, client]) {
    assert.ok(machine.output.queuedBytes < 70_000, `${machine.output.queuedBytes} bytes wait`);
    assert.deepEqual([brokenReason, limitHits], [undefined, []]);
  }
  // One whole message fits, however small the limit.
  const tiny = new ServerHarness({ limits: { queueBytesMax: 1000, messageBytesMax: 10_000 } });
  tiny.receive(request(1, 1, { service: "s", method: "d" }));
  tiny.machine.send(tiny.calls[0], pattern(10_000));
  assert.deepEqual([tiny.brokenReason, tiny.frames().length], [undefined, 1]);
});

test("connection queue, out: a client that never reads its answers is cut off", () => {
  const server = new ServerHarness({ limits: { queueBytesMax: 100_000 } });
  server.onCall = (call) => server.machine.respond(call, pattern(5000), []);
  let id = 1;
  for (; server.brokenReason === undefined; id += 2) {
    assert.ok(id < 100_000, "it ends");
    server.receive(request(id, 0, unary));
    assert.ok(server.machine.output.queuedBytes <= 210_000);
  }
  assert.ok(server.limitHits.includes("connection_queue"));
  // Refusals and pongs are bounded by the same limit.
  const flooded = new ServerHarness({ limits: { queueBytesMax: 100_000 } });
  for (let count = 0; flooded.brokenReason === undefined; count++) {
    assert.ok(count < 100_000, "it ends");
    flooded.receive(frame(2, 1, 0));
  }
});

test("what an unread stream holds in memory is in proportion to what it is charged", () => {
  const server = new ServerHarness({ limits: { streamQueueBytesMax: 1 << 20 } }).agree(1 << 20, 99);
  server.receive(request(1, 6, clientStream), request(3, 6, clientStream));
  const [unread, read] = server.calls;
  const kept: Uint8Array[] = [];
  for (let index = 0; index < 2000; index++) {
    server.receive(data(1, encodeText("x")));
    // What another stream reads at once must not leave its memory with the unread one.
    for (let other = 0; other < 8; other++) server.receive(data(3, pattern(1000)));
    server.messages(read);
  }
  const charged = unread.flow!.inboxBytes;
  for (let one = server.machine.take(unread, 0); one; one = server.machine.take(unread, 0)) {
    kept.push(one);
  }
  assert.equal(kept.length, 2000);
  const buffers = new Set(kept.map((one) => one.buffer));
  let held = 0;
  for (const buffer of buffers) held += buffer.byteLength;
  assert.ok(held <= 4 * charged, `${held} bytes held for ${charged} that are charged`);
});

test("ended calls give back every byte of the connection's queues", () => {
  const limits = { queueBytesMax: 300_000, streamQueueBytesMax: 200_000 };
  const server = new ServerHarness({ limits });
  for (let run = 0; run < 200; run++) {
    const id = 1 + 2 * run;
    server.receive(request(id, 6, { service: "s", method: "b" }));
    const call = server.calls[run];
    server.receive(data(id, pattern(50_000)), data(id, pattern(50_000)));
    if (run % 4 === 0) server.messages(call);
    if (run % 4 === 1) server.machine.dropInbox(call);
    if (run % 4 === 2) server.receive(close(id));
    while (!call.over && server.machine.send(call, pattern(100_000)));
    if (run % 2 === 0) server.machine.finishStream(call, []);
    else server.machine.respondStatus(call, error(1), []);
    takeOutput(server.machine);
    if (run % 3 === 0) server.messages(call);
  }
  assert.deepEqual(server.limitHits, []);
  assert.equal(server.machine.callCount, 0);
});
