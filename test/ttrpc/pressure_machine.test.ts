/** How the machines share a busy connection: turns, doubts and pauses, each at its edge. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { concatBytes, encodeText } from "../../src/base/bytes.ts";
import { messageOverheadBytes } from "../../src/ttrpc/core/call.ts";
import { outputHighWater } from "../../src/ttrpc/core/frame_output.ts";
import { data, pattern, request } from "./support/frames.ts";
import { ClientHarness, ServerHarness } from "./support/machines.ts";

const clientStream = { service: "s", method: "c" };

test("a message that comes when there is room does not overtake those that wait", () => {
  const server = new ServerHarness();
  server.receive(
    request(1, 1, { service: "s", method: "d" }),
    request(3, 1, { service: "s", method: "d" }),
  );
  const [one, two] = server.calls;
  server.machine.send(one, pattern(outputHighWater));
  server.machine.send(one, encodeText("first"));
  // The socket took everything, and the machine has not been told yet.
  server.machine.output.consume(server.machine.output.queuedBytes);
  assert.equal(server.machine.send(two, encodeText("second")), false);
  server.machine.drained();
  assert.deepEqual(server.frames().map((each) => each.data), [
    encodeText("first"),
    encodeText("second"),
  ]);

  const client = new ClientHarness();
  client.begin("u", { payload: pattern(outputHighWater) });
  client.begin("u", { payload: encodeText("first") });
  client.machine.output.consume(client.machine.output.queuedBytes);
  client.begin("u", { payload: encodeText("second") });
  client.machine.drained();
  assert.deepEqual(client.frames().map((each) => each.id), [3, 5]);
});

test("what comes for a reader that has left is not kept", () => {
  const server = new ServerHarness({ limits: { streamQueueBytesMax: 10_000 } });
  server.receive(request(1, 6, clientStream), data(1, pattern(5000)));
  const [call] = server.calls;
  server.machine.dropInbox(call);
  for (let index = 0; index < 100; index++) server.receive(data(1, pattern(5000)));
  assert.deepEqual([call.flow!.inbox.length, call.flow!.inboxBytes, server.machine.inboxBytes], [
    0,
    0,
    0,
  ]);
  assert.deepEqual([server.failures, server.limitHits, server.machine.wantsPause], [[], [], false]);
});

test("one chunk may bring more than a stream may hold: its reader had no turn yet", () => {
  const limits = { streamQueueBytesMax: 10_000, streamQueueMessagesMax: 50 };
  for (const [size, count] of [[1000, 40], [0, 200]]) {
    const server = new ServerHarness({ limits });
    server.nowMs = 1000;
    server.receive(request(1, 6, clientStream));
    const [call] = server.calls;
    const burst = concatBytes(Array.from({ length: count }, () => data(1, pattern(size))));
    for (let round = 0; round < 5; round++) {
      server.receive(burst);
      assert.deepEqual([server.failures.length, server.machine.wantsPause], [0, false]);
      assert.equal(server.messages(call).length, count);
      // The next chunk finds the inbox short again, and the doubt is forgotten.
      server.nowMs += 1000;
      server.receive(data(1));
      assert.equal(server.messages(call).length, 1);
    }
    assert.deepEqual(server.limitHits, []);
    // Without a turn in between it is failed, by the second chunk and not by the first.
    server.nowMs += 1000;
    server.receive(burst);
    assert.equal(server.failures.length, 0);
    server.receive(data(1));
    assert.deepEqual(server.failures.map((one) => one.status.code), [8]);
  }
});

test("a pause for a slow reader ends when half of its inbox is empty, not before and not later", () => {
  const size = 1000 - messageOverheadBytes;
  const limits = { streamQueueBytesMax: 10_000, streamStallMs: 100 };
  const server = new ServerHarness({ limits });
  server.receive(request(1, 6, clientStream), data(1, pattern(size)));
  const [call] = server.calls;
  server.machine.take(call, server.nowMs);
  while (!server.machine.wantsPause) server.receive(data(1, pattern(size)));
  assert.ok(call.flow!.inboxBytes > limits.streamQueueBytesMax);
  while (server.machine.wantsPause) {
    assert.ok(call.flow!.inboxBytes * 2 > limits.streamQueueBytesMax, "it pauses while it is full");
    server.nowMs += 10;
    server.machine.take(call, server.nowMs);
  }
  assert.equal(call.flow!.inboxBytes, limits.streamQueueBytesMax / 2);
  assert.equal(server.failures.length, 0);
});
