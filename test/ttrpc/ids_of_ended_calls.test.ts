/** Ids after their calls: what is still let pass, what is refused, and that it is all bounded. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText } from "../../src/base/bytes.ts";
import { close, codeOf, data, frame, hex, none, request } from "./support/frames.ts";
import { codes, ServerHarness } from "./support/machines.ts";

const bidi = { service: "s", method: "b" };
const unary = { service: "s", method: "u" };
/** What a server remembers of clients that have not ended yet. */
const remembered = 1024;

/** A server that ended so many streams whose clients have not. */
function afterStreams(count: number): ServerHarness {
  const server = new ServerHarness();
  for (let index = 0; index < count; index++) {
    server.receive(request(1 + 2 * index, 6, bidi));
    server.machine.finishStream(server.calls[index], []);
  }
  server.frames();
  return server;
}

test("late Data: the latest thousand streams are let pass, older ones are refused", () => {
  const server = afterStreams(remembered + 100);
  for (let index = 0; index < remembered + 100; index++) server.receive(data(1 + 2 * index));
  const refused = server.frames();
  assert.deepEqual(
    refused.map((one) => one.id),
    Array.from({ length: 100 }, (_, at) => 1 + 2 * at),
  );
  assert.deepEqual(new Set(codes(refused)), new Set([3]));
});

test("late Data above the message limit is let pass like any other", () => {
  const server = afterStreams(1);
  server.receive(frame(1, 3, 0, none, (4 << 20) + 1), new Uint8Array((4 << 20) + 1), data(1));
  assert.deepEqual(server.frames(), []);
  server.receive(close(1), frame(1, 3, 0, none, (4 << 20) + 1), new Uint8Array((4 << 20) + 1));
  assert.deepEqual(codes(server.frames()), [8], "its client had ended it");
});

test("an id is used up by a request that cannot be read or served, as in Go", () => {
  const refusals = [
    frame(1, 1, 0, hex("0a0501")),
    frame(1, 1, 0, hex("0a01ff")),
    request(1, 0, { service: "nope", method: "u" }),
    request(1, 0, { ...unary, timeoutNano: -1n }),
  ];
  for (const refusal of refusals) {
    const server = new ServerHarness().receive(refusal, request(1, 0, unary), request(3, 0, unary));
    assert.deepEqual(server.calls.map((call) => call.id), [3]);
    const answers = server.frames();
    assert.deepEqual(answers.map((one) => one.id), [1, 1]);
    assert.equal(codeOf(answers[1]), 3);
  }
});

test("an id in use is not taken over: the second request is refused, the first call goes on", () => {
  for (const method of ["u", "c", "d", "b"]) {
    const server = new ServerHarness().receive(request(1, 6, { service: "s", method }));
    const [call] = server.calls;
    for (const again of ["u", "c", "d", "b"]) {
      server.receive(request(1, 0, { service: "s", method: again, payload: encodeText("x") }));
    }
    assert.deepEqual(codes(server.frames()), [3, 3, 3, 3]);
    assert.deepEqual([server.calls.length, call.over, server.machine.callCount], [1, false, 1]);
    if (method === "c" || method === "b") assert.deepEqual(server.messages(call), []);
  }
});
