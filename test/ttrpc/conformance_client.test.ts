/**
 * The client machine against the sharp cases of the reference (ttrpc.md, section 5). The number in
 * front of a name is the case's; output is compared byte by byte.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../src/base/prng.ts";
import { concatBytes, encodeText, toHex } from "../../src/base/bytes.ts";
import { frameLengthReserved } from "../../src/ttrpc/core/frame.ts";
import { close, data, frame, hex, none, pattern, readRequest } from "./support/frames.ts";
import { response, responseData } from "./support/frames.ts";
import { ClientHarness, error, takeOutput } from "./support/machines.ts";

function outcome(chunks: readonly Uint8Array[]): string[] {
  const client = new ClientHarness();
  const calls = ["u", "d", "u", "c", "u"].map((method) => client.begin(method));
  client.frames();
  client.receive(...chunks);
  return [
    ...client.log.filter((line) => !line.startsWith("readable")),
    ...[...client.results.values()].map(toHex),
    ...client.messages(calls[1]).map(toHex),
    String(calls[1].flow!.ended),
    String(client.machine.callCount),
  ];
}

test("01 client machine: split at every byte, and all in one chunk, a session is the same", () => {
  const session = concatBytes([
    response(1, { payload: encodeText("one") }),
    data(3, encodeText("a")),
    frame(99, 0x77, 0xff, pattern(40)),
    data(3),
    response(5, { status: { code: 5, message: "none" } }),
    data(3, pattern(900)),
    close(3),
    response(7, { payload: pattern(700) }),
  ]);
  const expected = outcome([session]);
  assert.deepEqual(expected.slice(0, 4), ["result 1", "status 5 5", "ended 3", "result 7"]);
  assert.deepEqual(outcome([...session].map((byte) => new Uint8Array([byte]))), expected);
  for (let at = 1; at < session.length; at++) {
    assert.deepEqual(outcome([session.subarray(0, at), session.subarray(at)]), expected);
  }
});

test("03 client machine: a Response of length zero and 0a00 are both the OK of an empty message", () => {
  for (const answer of [none, hex("0a00"), hex("1200"), hex("0a001200")]) {
    const client = new ClientHarness();
    const call = client.begin("u");
    client.receive(frame(1, 2, 0, answer));
    assert.deepEqual(client.log, ["result 1"]);
    assert.deepEqual(client.results.get(call), none);
  }
});

test("04 client machine: Data of length 0 is a message unless it says otherwise", () => {
  const client = new ClientHarness();
  const call = client.begin("d");
  client.receive(data(1), frame(1, 3, 4), data(1), close(1));
  assert.deepEqual(client.messages(call), [none, none]);
  assert.equal(call.flow!.ended, true);
  assert.equal(client.machine.callCount, 0);
});

test("05 client machine: the request's flags are 00, 01 and 06 by kind", () => {
  const client = new ClientHarness();
  for (const method of ["u", "d", "c", "b"]) client.begin(method);
  const envelopes = ["0a0173 120175", "0a0173 120164", "0a0173 120163", "0a0173 120162"];
  const flags = ["00", "01", "06", "06"];
  assert.deepEqual(
    client.shown(),
    envelopes.map((envelope, index) =>
      `00000006 0000000${index * 2 + 1} 01${flags[index]} ${envelope.replaceAll(" ", "")}`
    ),
  );
});

test("06 client machine: Data 01 with a payload is delivered once, then the end", () => {
  const client = new ClientHarness();
  const call = client.begin("b");
  client.receive(frame(1, 3, 1, encodeText("last")), data(1, encodeText("late")));
  assert.deepEqual(client.messages(call), [encodeText("last")]);
  assert.equal(call.flow!.ended, true);
  assert.equal(call.over, true);
});

test("07 client machine: the half-close is exactly Data 05, and a second one sends nothing", () => {
  for (const method of ["c", "b"]) {
    const client = new ClientHarness();
    const call = client.begin(method);
    client.machine.send(call, encodeText("x"));
    client.frames();
    client.machine.closeSend(call);
    client.machine.closeSend(call);
    assert.deepEqual(client.shown(), ["00000000 00000001 0305"]);
  }
});

test("08 client machine: a stream that ends with an OK Response ends, its payload a message", () => {
  for (const [payload, expected] of [[none, []], [encodeText("x"), ["78"]]] as const) {
    const client = new ClientHarness();
    const call = client.begin("d");
    client.receive(data(1, encodeText("a")), response(1, { payload }));
    assert.deepEqual(client.messages(call).map(toHex), ["61", ...expected]);
    assert.equal(call.flow!.ended, true);
    assert.equal(client.machine.callCount, 0);
  }
});

test("09 client machine: messages that came before an error stay readable after it", () => {
  const client = new ClientHarness();
  const call = client.begin("d");
  client.receive(
    data(1, encodeText("a")),
    data(1, encodeText("b")),
    response(1, { status: { code: 9, message: "enough" } }),
  );
  assert.deepEqual(client.log, ["status 1 9"]);
  assert.equal(client.statuses.get(call)!.message, "enough");
  assert.deepEqual(client.messages(call).map(toHex), ["61", "62"]);
  assert.equal(call.flow!.ended, false, "an error is no end");
});

test("10 client machine: the last Data before a close is never lost, 100,000 runs", () => {
  const random = new Prng(10);
  const client = new ClientHarness();
  for (let run = 0; run < 100_000; run++) {
    const call = client.begin("d");
    takeOutput(client.machine);
    const count = random.below(4);
    const parts: Uint8Array[] = [];
    for (let index = 0; index < count; index++) parts.push(data(call.id, pattern(index, run)));
    // With and without the end in the last message's own frame.
    if (random.chance(0.5)) parts.push(close(call.id));
    else parts.push(frame(call.id, 3, 1, pattern(count, run)));
    const expected = parts.length - (parts.at(-1)![9] === 5 ? 1 : 0);
    const bytes = concatBytes(parts);
    const cut = random.below(bytes.length + 1);
    if (random.chance(0.5)) call.flow!.wantsMessage = true;
    client.receive(bytes.subarray(0, cut), bytes.subarray(cut));
    const messages = client.messages(call);
    if (messages.length !== expected || !call.flow!.ended) assert.fail(`run ${run} lost a message`);
    for (let index = 0; index < count; index++) {
      if (messages[index].length !== index) assert.fail(`run ${run} mixed messages up`);
    }
    client.log.length = 0;
  }
  assert.equal(client.machine.callCount, 0);
});

test("10 client machine: a message and the close behind it leave in this order, 100,000 runs", () => {
  const random = new Prng(11);
  const client = new ClientHarness();
  for (let run = 0; run < 100_000; run++) {
    const call = client.begin("c");
    const count = random.below(3);
    for (let index = 0; index < count; index++) client.machine.send(call, pattern(index));
    client.machine.closeSend(call);
    const frames = client.frames();
    const kinds = frames.map((one) => one.type * 256 + one.flags);
    if (kinds.length !== count + 2 || kinds[0] !== 0x106 || kinds.at(-1) !== 0x305) {
      assert.fail(`run ${run} wrote ${kinds}`);
    }
    client.receive(response(call.id));
    client.results.clear();
    client.log.length = 0;
  }
});

test("11 client machine: 4 MiB passes both ways, one byte more fails that call with 8", () => {
  const client = new ClientHarness();
  const most = 4 << 20;
  const head = 6;
  const ways = 1 + 4;
  const fits = client.begin("u", { payload: pattern(most - head - ways) });
  const [sent] = client.frames();
  assert.equal(sent.data.length, most);
  const refused = client.begin("u", { payload: pattern(most - head - ways + 1) });
  assert.equal(client.failures.get(refused)!.code, 8);
  assert.equal(client.sent.get(refused), false);
  assert.deepEqual(client.frames(), []);
  const exact = responseData({ payload: pattern(most - ways) });
  assert.equal(exact.length, most);
  client.receive(frame(fits.id, 2, 0, exact));
  assert.equal(client.results.get(fits)!.length, most - ways);
  const next = client.begin("u");
  const other = client.begin("u");
  client.receive(frame(next.id, 2, 0, responseData({ payload: pattern(most - ways + 1) })));
  client.receive(response(other.id));
  assert.equal(client.failures.get(next)!.code, 8);
  assert.ok(client.results.has(other));
  assert.deepEqual(client.limitHits, ["message_bytes", "message_bytes"]);
});

test("12 client machine: a length of 2^24 and more ends the connection and buffers nothing", () => {
  for (const length of [frameLengthReserved, 0xffffffff]) {
    const client = new ClientHarness();
    const call = client.begin("u");
    client.receive(frame(1, 2, 0, none, length), response(1));
    assert.match(client.brokenReason!, /reserved/);
    client.machine.close(error(14, client.brokenReason!));
    assert.deepEqual(client.log, ["broken", "failed 1 14"]);
    assert.equal(client.failures.size, 1);
    assert.equal(call.over, true);
  }
});

test("13 client machine: an oversized message fails its own stream only", () => {
  const client = new ClientHarness({ limits: { messageBytesMax: 1000 } });
  const [one, two] = [client.begin("d"), client.begin("d")];
  client.receive(data(one.id, pattern(1001)), data(two.id, pattern(1000)), close(two.id));
  assert.equal(client.failures.get(one)!.code, 8);
  assert.equal(client.messages(two).length, 1);
  assert.equal(two.flow!.ended, true);
});

test("14 client machine: answers to ids that it never used are ignored", () => {
  const client = new ClientHarness();
  const call = client.begin("u");
  for (const id of [0, 2, 3, 99, 0xffffffff]) {
    client.receive(response(id), data(id, encodeText("x")), close(id));
  }
  assert.deepEqual(client.log, []);
  client.receive(response(call.id));
  assert.deepEqual(client.log, ["result 1"]);
});

test("15 client machine: the ids of 1,000 concurrent calls strictly increase on the wire", () => {
  const random = new Prng(15);
  const client = new ClientHarness({ limits: { streamsMax: 1000 } });
  const ids: number[] = [];
  let bytes: Uint8Array = none;
  for (let index = 0; index < 1000; index++) {
    const call = client.begin(random.pick(["u", "d", "c", "b"]), {
      payload: pattern(random.pick([0, 10, 5000])),
    });
    // Streams may have messages that wait behind their requests.
    if ((call.kind & 1) !== 0 && random.chance(0.5)) {
      for (let left = random.below(3); left > 0; left--) client.machine.send(call, pattern(2000));
    }
    // Some are given up while they wait; the socket takes odd pieces in between.
    if (random.chance(0.1)) client.machine.cancel(call, error(1));
    if (random.chance(0.3)) {
      bytes = concatBytes([bytes, takeOutput(client.machine, random.below(3000))]);
    }
  }
  bytes = concatBytes([bytes, takeOutput(client.machine)]);
  for (let at = 0; at < bytes.length;) {
    const view = new DataView(bytes.buffer, at);
    if (view.getUint8(8) === 1) ids.push(view.getUint32(4));
    at += 10 + view.getUint32(0);
  }
  assert.ok(ids.length > 850 && ids.length <= 1000);
  ids.forEach((id, index) => assert.equal(id, 1 + 2 * index));
});

test("16 client machine: Data on a live unary call fails it alone; after the end it is ignored", () => {
  const client = new ClientHarness();
  const [one, two] = [client.begin("u"), client.begin("u")];
  client.receive(data(one.id, encodeText("x")), response(one.id), response(two.id));
  assert.equal(client.failures.get(one)!.code, 13);
  assert.deepEqual(client.log, ["failed 1 13", "result 3"]);
  const stream = client.begin("d");
  client.receive(close(stream.id), data(stream.id, encodeText("x")), close(stream.id));
  assert.deepEqual(client.messages(stream), []);
  assert.equal(client.brokenReason, undefined);
});

test("17 client machine: unknown types and flag bits are ignored", () => {
  const client = new ClientHarness();
  const call = client.begin("u");
  const stream = client.begin("d");
  client.frames();
  for (let type = 0; type < 256; type++) {
    if (type === 2 || type === 3) continue;
    client.receive(frame(1, type, 0xff, pattern(20)), frame(3, type, 0, none));
  }
  assert.deepEqual(client.log, []);
  assert.deepEqual(client.frames(), []);
  client.receive(
    frame(call.id, 2, 0xff, none),
    frame(stream.id, 3, 0xf8, encodeText("x")),
    frame(stream.id, 3, 0xfd),
  );
  assert.deepEqual(client.log, ["result 1", "ended 3"]);
  assert.deepEqual(client.messages(stream), [encodeText("x")]);
  assert.equal(stream.flow!.ended, true);
});

test("18 client machine: timeouts go out exactly", () => {
  for (const nanos of [-1n, 1n, (1n << 53n) + 1n, (1n << 63n) - 1n, -(1n << 63n)]) {
    const client = new ClientHarness();
    client.begin("u", { timeoutNanos: nanos });
    assert.equal(readRequest(client.frames()[0]).timeoutNano, nanos);
  }
});

test("19 client machine: metadata goes out pair by pair; a bad answer fails its call alone", () => {
  const client = new ClientHarness();
  const pairs = ["k", "1", "k", "", "", "v", "k", "2"];
  const one = client.begin("u", { metadata: pairs });
  const two = client.begin("u");
  const [sent] = client.frames();
  assert.deepEqual(readRequest(sent).metadata.flatMap((kv) => [kv.key, kv.value]), pairs);
  // A status whose message is no UTF-8, and an envelope that is cut.
  client.receive(frame(one.id, 2, 0, hex("0a05 0801 1201ff")));
  client.receive(frame(two.id, 2, 0, hex("0a05 080c 1209")));
  assert.equal(client.failures.get(one)!.code, 13);
  assert.equal(client.failures.get(two)!.code, 13);
  const three = client.begin("u");
  client.receive(response(three.id));
  assert.ok(client.results.has(three));
});

test("22 client machine: an end inside a header or a body fails each pending call once", () => {
  const whole = response(1, { payload: pattern(60) });
  for (let at = 0; at < whole.length; at++) {
    const client = new ClientHarness();
    for (const method of ["u", "d", "c", "b"]) client.begin(method);
    client.frames();
    client.receive(whole.subarray(0, at));
    assert.equal(client.machine.inFrame, at > 0);
    client.machine.close(error(14, "gone"));
    client.machine.close(error(14, "gone"));
    assert.deepEqual(client.log, ["failed 1 14", "failed 3 14", "failed 5 14", "failed 7 14"]);
    assert.deepEqual([...client.sent.values()], [true, true, true, true]);
  }
});

test("23 client machine: late replies to cancelled calls are dropped and nothing is kept", () => {
  const client = new ClientHarness();
  for (let run = 0; run < 10_000; run++) {
    const method = ["u", "d", "c", "b"][run % 4];
    const call = client.begin(method, { timeoutNanos: 1n, deadlineMs: 1e6 + run });
    takeOutput(client.machine);
    client.machine.cancel(call, error(1));
    client.receive(data(call.id, encodeText("late")), response(call.id), close(call.id));
    assert.equal(client.failures.get(call)!.code, 1);
    client.failures.clear();
    client.sent.clear();
  }
  assert.equal(client.machine.callCount, 0);
  assert.equal(client.machine.nextTickMs, Infinity);
  assert.equal(client.machine.output.bytes.length, 0, "an empty output holds no buffer");
  assert.equal(client.results.size + client.statuses.size, 0);
});

test("25 client machine: the server's end ends the call, and this side stops quietly", () => {
  const answers: readonly ((id: number) => Uint8Array)[] = [
    (id) => response(id, { payload: encodeText("enough") }),
    (id) => response(id, { status: { code: 9, message: "no more" } }),
    close,
  ];
  for (const answer of answers) {
    for (const method of ["c", "b"]) {
      if (method === "c" && answer === close) continue;
      const client = new ClientHarness();
      const call = client.begin(method);
      // One message is on its way, others wait for the socket.
      for (let index = 0; index < 5; index++) client.machine.send(call, pattern(200 << 10));
      client.receive(answer(call.id));
      assert.equal(call.over, true);
      client.machine.closeSend(call);
      const frames = client.frames();
      assert.ok(frames.every((one) => one.flags !== 5));
      assert.ok(frames.length < 5, "what waited is not sent any more");
      assert.equal(client.machine.callCount, 0);
    }
  }
});
