/**
 * The server machine against the sharp cases of the reference (ttrpc.md, section 5). The number in
 * front of a name is the case's; output is compared byte by byte.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { concatBytes, encodeText, toHex } from "../../src/base/bytes.ts";
import { frameLengthReserved } from "../../src/ttrpc/core/frame.ts";
import { close, codeOf, data, frame, none, pattern, request } from "./support/frames.ts";
import { requestData } from "./support/frames.ts";
import { codes, error, ServerHarness } from "./support/machines.ts";

const unary = { service: "s", method: "u" };

/** Two calls, a stream with three messages and its close, and frames that are ignored. */
function busySession(): Uint8Array {
  return concatBytes([
    request(1, 0, { ...unary, payload: encodeText("one") }),
    request(3, 6, { service: "s", method: "c" }),
    data(3, encodeText("a")),
    frame(3, 0x77, 0xff, pattern(40)),
    data(3),
    request(5, 0, { ...unary, payload: pattern(700) }),
    data(3, pattern(1000)),
    close(3),
    request(7, 0, { service: "s", method: "nope" }),
  ]);
}

/** What a session did: events, messages and answers. */
function outcome(chunks: readonly Uint8Array[]): string[] {
  const server = new ServerHarness();
  server.receive(...chunks);
  const stream = server.calls.find((call) => call.route.method === "c")!;
  return [
    ...server.log.filter((line) => !line.startsWith("readable")),
    ...server.payloads.map(toHex),
    ...server.messages(stream).map(toHex),
    String(stream.flow!.ended),
    ...server.shown(),
  ];
}

test("01 server machine: split at every byte, and all in one chunk, a session is the same", () => {
  const session = busySession();
  const expected = outcome([session]);
  assert.deepEqual(expected.slice(0, 4), ["call 1 u", "call 3 c", "call 5 u", "refused 12"]);
  assert.deepEqual(outcome([...session].map((byte) => new Uint8Array([byte]))), expected);
  for (let at = 1; at < session.length; at++) {
    assert.deepEqual(outcome([session.subarray(0, at), session.subarray(at)]), expected);
  }
  for (const step of [2, 3, 9, 10, 11, 13, 512]) {
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < session.length; at += step) chunks.push(session.subarray(at, at + step));
    assert.deepEqual(outcome(chunks), expected, `${step} bytes at a time`);
  }
});

test("03 server machine: the OK of an empty message is a frame of length zero", () => {
  const server = new ServerHarness().receive(request(1, 0, unary));
  server.machine.respond(server.calls[0], none, []);
  assert.deepEqual(server.shown(), ["00000000 00000001 0200"]);
});

test("04 server machine: Data of length 0 is a message unless it says otherwise", () => {
  const server = new ServerHarness().receive(
    request(1, 6, { service: "s", method: "c" }),
    data(1),
    frame(1, 3, 4),
    data(1),
    close(1),
  );
  const [call] = server.calls;
  assert.deepEqual(server.messages(call), [none, none]);
  assert.equal(call.flow!.ended, true);
});

test("05 server machine: Request 02 and 06 bring no phantom message, Request 01 brings one", () => {
  for (const flags of [2, 6]) {
    for (const method of ["c", "b"]) {
      const server = new ServerHarness().receive(request(1, flags, { service: "s", method }));
      assert.equal(server.calls[0].flow!.ended, false);
      assert.deepEqual(server.messages(server.calls[0]), []);
    }
  }
  const server = new ServerHarness().receive(request(1, 1, { service: "s", method: "d" }));
  assert.deepEqual(server.log, ["call 1 d"]);
  assert.deepEqual(server.payloads, [none]);
});

test("05 server machine: a payload on a client-streaming request is its first message", () => {
  const init = { service: "s", method: "c", payload: encodeText("first") };
  const server = new ServerHarness().receive(request(1, 2, init), data(1, encodeText("second")));
  assert.deepEqual(server.messages(server.calls[0]).map(toHex), [
    toHex(encodeText("first")),
    toHex(encodeText("second")),
  ]);
});

test("06 server machine: Data 01 with a payload is delivered once, then the end", () => {
  const server = new ServerHarness().receive(
    request(1, 6, { service: "s", method: "b" }),
    frame(1, 3, 1, encodeText("last")),
  );
  const [call] = server.calls;
  assert.equal(call.remoteClosed, true);
  assert.deepEqual(server.messages(call), [encodeText("last")]);
  assert.equal(call.flow!.ended, true);
  assert.deepEqual(server.frames(), []);
});

test("07 server machine: a stream is closed by exactly one Data 05", () => {
  const server = new ServerHarness().receive(request(1, 1, { service: "s", method: "d" }));
  const [call] = server.calls;
  server.machine.send(call, encodeText("x"));
  server.machine.finishStream(call, []);
  server.machine.finishStream(call, []);
  server.machine.closeSend(call);
  assert.deepEqual(server.shown(), ["00000001 00000001 0300 78", "00000000 00000001 0305"]);
});

test("08 server machine: no response stream ends with an OK Response", () => {
  for (const method of ["d", "b"]) {
    const server = new ServerHarness().receive(request(1, 6, { service: "s", method }));
    server.machine.finishStream(server.calls[0], ["ignored", "without extensions"]);
    assert.deepEqual(server.shown(), ["00000000 00000001 0305"]);
    assert.equal(server.machine.callCount, 0);
  }
});

test("09 server machine: an error follows the messages that are queued before it", () => {
  const server = new ServerHarness().receive(request(1, 1, { service: "s", method: "d" }));
  const [call] = server.calls;
  // The first fills the output, so that the others wait in the stream's own queue.
  const sizes = [300 << 10, 10, 300 << 10, 20];
  for (const size of sizes) server.machine.send(call, pattern(size));
  server.machine.respondStatus(call, error(9, "enough"), []);
  const frames = server.frames();
  assert.deepEqual(frames.map((one) => [one.type, one.data.length]).slice(0, 4), [
    ...sizes.map((size) => [3, size]),
  ]);
  assert.equal(frames.length, 5);
  assert.equal(codeOf(frames[4]), 9);
});

test("11 server machine: 4 MiB passes, one byte more is answered 8, and the next call works", () => {
  const server = new ServerHarness();
  const most = 4 << 20;
  const overhead = requestData({ ...unary, payload: pattern(most - 100) }).length - (most - 100);
  const exact = request(1, 0, { ...unary, payload: pattern(most - overhead) });
  assert.equal(exact.length, most + 10);
  server.receive(exact);
  assert.equal(server.payloads[0].length, most - overhead);
  const over = request(3, 0, { ...unary, payload: pattern(most - overhead + 1) });
  for (let at = 0; at < over.length; at += 65_536) server.receive(over.subarray(at, at + 65_536));
  server.receive(request(5, 0, unary));
  assert.deepEqual(server.log, ["call 1 u", "refused 8", "call 5 u"]);
  const [refusal] = server.frames();
  assert.deepEqual([refusal.id, codeOf(refusal)], [3, 8]);
  assert.deepEqual(server.limitHits, ["message_bytes"]);
});

test("12 server machine: a length of 2^24 and more ends the connection and buffers nothing", () => {
  for (const length of [frameLengthReserved, 0x7fffffff, 0xffffffff]) {
    const server = new ServerHarness();
    server.receive(frame(1, 1, 0, none, length), request(3, 0, unary));
    assert.match(server.brokenReason!, /reserved/);
    assert.deepEqual(server.log, ["broken"]);
    assert.equal(server.machine.inFrame, false);
  }
  // One byte below it is discarded, not kept, and the connection lives.
  const server = new ServerHarness();
  const length = frameLengthReserved - 1;
  server.receive(frame(1, 1, 0, none, length));
  assert.equal(server.machine.inFrame, true);
  for (let left = length; left > 0; left -= 1 << 20) {
    server.receive(new Uint8Array(Math.min(left, 1 << 20)));
  }
  server.receive(request(3, 0, unary));
  assert.deepEqual(server.log, ["refused 8", "call 3 u"]);
});

test("13 server machine: a reply that is too large fails its own call only", () => {
  const server = new ServerHarness().receive(request(1, 0, unary), request(3, 0, unary));
  server.machine.respond(server.calls[0], new Uint8Array(4 << 20), []);
  server.machine.respond(server.calls[1], encodeText("fine"), []);
  const frames = server.frames();
  assert.deepEqual(frames.map((one) => one.id), [1, 3]);
  assert.deepEqual(codes(frames), [8, 0]);
  assert.deepEqual(server.limitHits, ["message_bytes"]);
});

test("14 server machine: even, zero and used ids are answered 3 and run no handler", () => {
  const server = new ServerHarness().receive(
    request(3, 0, unary),
    request(2, 0, unary),
    request(0, 0, unary),
    request(3, 0, unary),
    frame(4, 3, 0, encodeText("data")),
    frame(6, 0x55, 0),
  );
  assert.equal(server.calls.length, 1);
  const frames = server.frames();
  assert.deepEqual(frames.map((one) => one.id), [2, 0, 3, 4, 6]);
  assert.deepEqual(codes(frames), [3, 3, 3, 3, 3]);
  assert.equal(server.machine.callCount, 1, "the call that had the id goes on");
});

test("14 server machine: a skipped id may still come, once; in strict mode it may not", () => {
  const ids = [7, 3, 5, 1, 3, 7];
  const frames = ids.map((id) => request(id, 0, unary));
  const lenient = new ServerHarness().receive(...frames);
  assert.deepEqual(lenient.calls.map((call) => call.id), [7, 3, 5, 1]);
  assert.deepEqual(lenient.frames().map((one) => one.id), [3, 7]);
  const strict = new ServerHarness({ strict: true }).receive(...frames);
  assert.deepEqual(strict.calls.map((call) => call.id), [7]);
  assert.deepEqual(codes(strict.frames()), [3, 3, 3, 3, 3]);
});

test("16 server machine: Data on a live unary call is answered 3 and the server survives", () => {
  const server = new ServerHarness().receive(
    request(1, 0, unary),
    data(1, encodeText("stray")),
    data(1, encodeText("again")),
    request(3, 0, unary),
  );
  assert.deepEqual(server.log, ["call 1 u", "failed 1 3", "refused 3", "call 3 u"]);
  server.machine.respond(server.calls[0], encodeText("late"), []);
  const frames = server.frames();
  assert.deepEqual(frames.map((one) => [one.id, codeOf(one)]), [[1, 3], [1, 3]]);
});

test("16 server machine: after the server's end a stream's late Data is ignored until it ends", () => {
  const server = new ServerHarness().receive(request(1, 6, { service: "s", method: "b" }));
  server.machine.finishStream(server.calls[0], []);
  server.frames();
  server.receive(data(1, encodeText("late")), data(1), close(1));
  assert.deepEqual(server.frames(), []);
  // Now it has ended on both sides: what still comes is a mistake of the client.
  server.receive(data(1));
  assert.deepEqual(codes(server.frames()), [3]);
});

test("17 server machine: unknown types and flag bits are ignored", () => {
  const server = new ServerHarness();
  for (let type = 0; type < 256; type++) {
    if (type === 1 || type === 3) continue;
    server.receive(frame(1, type, 0xff, pattern(20)));
  }
  assert.deepEqual(server.log, []);
  assert.deepEqual(server.frames(), []);
  server.receive(
    request(1, 0xf8, { ...unary, payload: encodeText("x") }),
    request(3, 0xf2, { service: "s", method: "c" }),
    frame(3, 3, 0xf8, encodeText("y")),
    frame(3, 3, 0xfd),
  );
  assert.deepEqual(server.log, ["call 1 u", "call 3 c"]);
  assert.deepEqual(server.messages(server.calls[1]), [encodeText("y")]);
  assert.equal(server.calls[1].flow!.ended, true);
});

test("18 server machine: timeouts of -1, 1, 2^53+1 and the largest int64 are exact", () => {
  for (const timeoutNano of [0n, 1n, 1_500_000n, (1n << 53n) + 1n, (1n << 63n) - 1n]) {
    const server = new ServerHarness().receive(request(1, 0, { ...unary, timeoutNano }));
    const [call] = server.calls;
    const low = BigInt(call.timeoutLow >>> 0);
    assert.equal((BigInt(call.timeoutHigh) << 32n) | low, timeoutNano);
    // The clock's milliseconds have 53 bits, so the deadline is exact to its last one.
    const expectedMs = timeoutNano === 0n ? Infinity : Number(timeoutNano) / 1e6;
    assert.equal(call.deadlineMs, expectedMs);
    assert.equal(server.machine.nextTickMs, expectedMs);
  }
  for (const timeoutNano of [-1n, -(1n << 63n)]) {
    const server = new ServerHarness().receive(request(1, 0, { ...unary, timeoutNano }));
    assert.deepEqual(server.log, ["refused 4"]);
    assert.deepEqual(codes(server.frames()), [4]);
  }
});

test("18 server machine: a deadline ends the call with 4, once, at its time", () => {
  const server = new ServerHarness();
  server.nowMs = 1000;
  server.receive(request(1, 0, { ...unary, timeoutNano: 5_000_000n }));
  server.machine.tick(1004.9);
  assert.deepEqual(server.log, ["call 1 u"]);
  server.machine.tick(1005);
  server.machine.tick(2000);
  assert.deepEqual(server.log, ["call 1 u", "failed 1 4"]);
  server.machine.respond(server.calls[0], none, []);
  assert.deepEqual(codes(server.frames()), [4]);
  assert.equal(server.machine.nextTickMs, Infinity);
});

test("19 server machine: metadata arrives as sent, and invalid UTF-8 is answered 3", () => {
  const metadata = [
    { key: "Mixed-Case", value: "A" },
    { key: "k", value: "1" },
    { key: "k", value: "" },
    { key: "", value: "no key" },
    { key: "ключ", value: "значение" },
  ];
  const server = new ServerHarness().receive(request(1, 0, { ...unary, metadata }));
  assert.deepEqual(server.calls[0].metadata, metadata.flatMap((one) => [one.key, one.value]));
  const bad = [
    // Metadata value, metadata key, service name, method name.
    "0a0173120175 2a06 0a016b 1201ff",
    "0a0173120175 2a06 0a01ff 120176",
    "0a01ff 120175",
    "0a0173 1201ff",
  ];
  bad.forEach((text, index) => {
    const envelope = Uint8Array.from(
      text.replaceAll(" ", "").match(/../g)!,
      (two) => parseInt(two, 16),
    );
    server.receive(frame(3 + 2 * index, 1, 0, envelope));
  });
  server.receive(request(21, 0, unary));
  assert.deepEqual(codes(server.frames()), [3, 3, 3, 3]);
  assert.deepEqual(server.calls.map((call) => call.id), [1, 21]);
});

test("22 server machine: an end inside a header and inside a body is seen as such", () => {
  const whole = request(3, 0, { ...unary, payload: pattern(50) });
  for (let at = 1; at < whole.length; at++) {
    const server = new ServerHarness().receive(request(1, 0, unary), whole.subarray(0, at));
    assert.equal(server.machine.inFrame, true);
    server.machine.close(error(14, "gone"));
    server.machine.close(error(14, "gone"));
    assert.deepEqual(server.log, ["call 1 u", "failed 1 14"]);
    assert.equal(server.machine.callCount, 0);
    assert.equal(server.machine.output.queuedBytes, 0);
  }
});

test("24 server machine: while draining each new request gets 14, and calls in flight end well", () => {
  const server = new ServerHarness().receive(
    request(1, 0, unary),
    request(3, 6, { service: "s", method: "c" }),
  );
  server.machine.drain();
  server.receive(
    request(5, 0, unary),
    request(7, 6, { service: "s", method: "b" }),
    data(7, encodeText("x")),
    data(3, encodeText("y")),
    close(3),
  );
  server.machine.respond(server.calls[0], encodeText("one"), []);
  assert.deepEqual(server.messages(server.calls[1]), [encodeText("y")]);
  server.machine.respond(server.calls[1], encodeText("two"), []);
  const frames = server.frames();
  assert.deepEqual(frames.map((one) => [one.id, codeOf(one)]).slice(0, 2), [[5, 14], [7, 14]]);
  assert.deepEqual(frames.slice(-2).map((one) => [one.id, codeOf(one)]), [[1, 0], [3, 0]]);
});

test("25 server machine: a handler that ends while its client sends ends quietly", () => {
  for (const method of ["c", "b"]) {
    const server = new ServerHarness().receive(
      request(1, 6, { service: "s", method }),
      data(1, encodeText("a")),
    );
    const [call] = server.calls;
    if (method === "c") server.machine.respond(call, encodeText("enough"), []);
    else server.machine.finishStream(call, []);
    server.frames();
    for (let count = 0; count < 2000; count++) server.receive(data(1, pattern(1000)));
    server.receive(close(1));
    assert.deepEqual(server.frames(), []);
    assert.equal(server.brokenReason, undefined);
    assert.equal(server.machine.callCount, 0);
  }
});
