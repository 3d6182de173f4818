/** What two covey peers agree on, and that nobody else ever sees a byte of it; on the machines. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText } from "../../src/base/bytes.ts";
import { messageOverheadBytes } from "../../src/ttrpc/core/call.ts";
import { formatOffer, parseOffer } from "../../src/ttrpc/core/extensions.ts";
import {
  close,
  data,
  type Frame,
  frame,
  none,
  parseFrames,
  pattern,
  readResponse,
  request,
  response,
  show,
} from "./support/frames.ts";
import {
  ClientHarness,
  codes,
  error,
  offer,
  ServerHarness,
  takeOutput,
} from "./support/machines.ts";

const unary = { service: "s", method: "u" };

/** A server that agreed with a client whose streams may hold `windowBytes`. */
function agreedServer(windowBytes = 1 << 20, limits = {}): ServerHarness {
  return new ServerHarness({ limits }).agree(windowBytes);
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** A session of a client that uses all that it can. */
function clientSession(client: ClientHarness): Frame[] {
  const frames: Frame[] = [];
  const calls = ["u", "c", "d", "b", "u"].map((method) => client.begin(method, { payload: none }));
  const [one, sum, count, chat, canceled] = calls;
  frames.push(...client.frames());
  client.machine.send(sum, encodeText("a"));
  client.machine.closeSend(sum);
  client.machine.send(chat, encodeText("b"));
  client.receive(data(count.id, pattern(3000)), data(count.id, pattern(3000)));
  client.messages(count);
  client.receive(data(count.id, pattern(3000)), close(count.id));
  client.messages(count);
  client.receive(data(chat.id, encodeText("c")));
  client.messages(chat);
  client.machine.cancel(chat, error(1));
  client.machine.cancel(canceled, error(1));
  client.receive(frame(1, 4, 0), frame(1, 8, 0), frame(sum.id, 9, 0, none));
  client.receive(response(one.id), response(sum.id), response(canceled.id));
  client.machine.tick(1e9);
  frames.push(...client.frames());
  return frames;
}

test("against a peer that agreed to nothing a client sends not one byte more", () => {
  const limits = { streamQueueBytesMax: 4096 };
  const plain = clientSession(new ClientHarness({ limits }));
  assert.ok(plain.every((one) => one.type === 1 || one.type === 3));
  // A peer that answers the hello without agreeing is no different after it.
  const asked = new ClientHarness({ limits });
  asked.machine.hello();
  assert.equal(asked.frames().length, 1);
  asked.receive(response(1, { status: { code: 12, message: "service grpc.health.v1.Health" } }));
  assert.deepEqual(asked.log, ["ready"]);
  assert.equal(asked.machine.extended, false);
  const shifted = clientSession(asked).map((one) => show({ ...one, id: one.id - 2 }));
  assert.deepEqual(shifted, plain.map(show));
  // And it is not agreement that makes the difference only in name.
  const agreed = new ClientHarness({ limits }).agree();
  const extended = clientSession(agreed).map((one) => one.type);
  assert.deepEqual([...new Set(extended)].sort(), [1, 3, 5, 6, 7]);
});

/** A session that makes a server use all that it can. */
function serverSession(
  server: ServerHarness,
  firstId: number,
  metadata: readonly string[],
): Frame[] {
  const id = (index: number) => firstId + 2 * index;
  server.receive(
    request(id(0), 0, unary),
    request(id(1), 6, { service: "s", method: "c" }),
    request(id(2), 1, { service: "s", method: "d" }),
    request(id(3), 6, { service: "s", method: "b" }),
    request(id(4), 0, { service: "s", method: "nope" }),
    data(id(1), pattern(3000)),
    frame(id(3), 6, 0),
    frame(id(2), 7, 0, u32(1000)),
    frame(1, 4, 0),
  );
  const [one, sum, count, chat] = server.calls;
  server.messages(sum);
  server.machine.respond(one, encodeText("x"), metadata);
  server.machine.send(count, encodeText("y"));
  server.machine.finishStream(count, metadata);
  if (!chat.over) server.machine.respondStatus(chat, error(9, "enough"), metadata);
  server.machine.respond(sum, none, metadata);
  server.machine.drain();
  server.receive(request(id(5), 0, unary));
  return server.frames();
}

test("to a client that offered nothing a server answers not one byte more", () => {
  const limits = { streamQueueBytesMax: 4096 };
  const plain = serverSession(new ServerHarness({ limits }), 1, []);
  const wordy = serverSession(new ServerHarness({ limits }), 1, ["k", "v"]);
  assert.deepEqual(wordy.map(show), plain.map(show));
  assert.ok(plain.every((one) => one.type === 2 || one.type === 3));
  // An offer that is refused by configuration, or that nobody can read, changes nothing either.
  for (
    const value of ["0;window=4096", "1;window=10", "1;window=4294967296", "", "1;window=", "x"]
  ) {
    const server = new ServerHarness({ limits });
    server.receive(request(1, 0, { ...unary, metadata: [{ key: "covey-extensions", value }] }));
    server.machine.respond(server.calls.shift()!, none, ["k", "v"]);
    assert.deepEqual(server.shown(), ["00000000 00000001 0200"], value);
    const frames = serverSession(server, 3, ["k", "v"]).map((one) =>
      show({ ...one, id: one.id - 2 })
    );
    assert.deepEqual(frames, plain.map(show));
  }
  const server = new ServerHarness({ limits, extensions: false });
  server.receive(request(1, 0, { ...unary, metadata: [offer()] }));
  server.machine.respond(server.calls.shift()!, none, ["k", "v"]);
  assert.deepEqual(server.shown(), ["00000000 00000001 0200"]);
  const frames = serverSession(server, 3, ["k", "v"]).map((one) =>
    show({ ...one, id: one.id - 2 })
  );
  assert.deepEqual(frames, plain.map(show));
});

test("offers are read strictly", () => {
  assert.equal(parseOffer(formatOffer(1 << 20)), 1 << 20);
  assert.equal(parseOffer("2;window=4096"), 4096, "a later version includes this one");
  for (const bad of ["1;window=1023", "1;window=4294967296", " 1;window=4096", "1;window=-4096"]) {
    assert.equal(parseOffer(bad), undefined, bad);
  }
});

test("the agreement stands in the first response after the offer, and only there", () => {
  const server = new ServerHarness({ limits: { streamQueueBytesMax: 8192 } });
  server.receive(
    request(1, 0, { ...unary, metadata: [offer()] }),
    request(3, 0, { ...unary, metadata: [offer()] }),
  );
  server.machine.respondStatus(server.calls[0], error(12, "no"), []);
  server.machine.respond(server.calls[1], none, []);
  const [first, second] = server.frames().map(readResponse);
  assert.deepEqual(
    [first.extensions!.version, first.extensions!.windowBytes, first.status!.code],
    [1, 8192, 12],
  );
  assert.equal(second.extensions, undefined);
});

test("the handshake, byte by byte between the two machines", () => {
  const client = new ClientHarness();
  const server = new ServerHarness();
  client.machine.hello();
  server.receive(takeOutput(client.machine));
  assert.deepEqual([server.machine.extended, client.machine.extended], [false, false]);
  client.receive(takeOutput(server.machine));
  assert.deepEqual([server.machine.extended, client.machine.extended], [false, true]);
  const call = client.begin("d");
  const bytes = takeOutput(client.machine);
  assert.deepEqual(parseFrames(bytes).map((one) => [one.type, one.id]), [[5, 1], [1, 3]]);
  assert.equal(show(parseFrames(bytes)[0]), "00000000 00000001 0500");
  // In one chunk or in pieces: what comes behind the confirmation has credit on both sides.
  for (let at = 0; at < bytes.length; at++) server.receive(bytes.subarray(at, at + 1));
  assert.equal(server.machine.extended, true);
  assert.equal(server.calls[0].flow!.sendCredit, 1 << 20);
  assert.equal(call.id, server.calls[0].id);
});

test("a client waits for the hello's answer and takes its window", () => {
  const client = new ClientHarness();
  client.machine.hello();
  client.receive(response(1, { extensions: { version: 1, windowBytes: 100 } }));
  assert.deepEqual(client.log, ["ready"]);
  assert.equal(client.machine.extended, true);
  assert.equal(client.shown()[1], "00000000 00000001 0500", "the confirmation");
  const call = client.begin("c");
  client.frames();
  // The last message may overdraw the credit; the next one waits.
  assert.equal(client.machine.send(call, pattern(90)), true);
  assert.equal(client.machine.send(call, pattern(10)), false);
  client.machine.closeSend(call);
  assert.deepEqual(client.frames().map((one) => one.data.length), [90]);
  client.receive(frame(call.id, 7, 0, u32(50)));
  assert.deepEqual(client.frames().map((one) => [one.data.length, one.flags]), [[10, 0], [0, 5]]);
  assert.deepEqual(client.log, ["ready", `writable ${call.id}`]);
});

test("credit: an unread stream holds at most its window and one message, and others go on", () => {
  const windowBytes = 8192;
  const server = agreedServer(windowBytes, { streamQueueBytesMax: windowBytes });
  const client = new ClientHarness({ limits: { streamQueueBytesMax: windowBytes } }).agree();
  server.receive(
    request(3, 1, { service: "s", method: "d" }),
    request(5, 1, { service: "s", method: "d" }),
  );
  client.begin("u");
  const [unread, read] = [client.begin("d"), client.begin("d")].map((call) => call);
  // The machines' ids are the same: 3 is the hello's successor on both sides.
  client.frames();
  assert.deepEqual([unread.id, read.id], [5, 7]);
  server.receive(request(7, 1, { service: "s", method: "d" }));
  const [, unreadCall, readCall] = server.calls;
  let sent = 0;
  while (server.machine.send(unreadCall, pattern(100))) sent++;
  client.receive(takeOutput(server.machine));
  assert.equal(client.machine.output.queuedBytes, 0, "nothing was read, nothing is granted");
  assert.ok(unread.flow!.inboxBytes <= windowBytes + 100 + messageOverheadBytes);
  assert.equal(unread.flow!.inbox.length, sent);
  // The other stream gets ten windows through meanwhile.
  for (let index = 0; index < 10 * windowBytes / 132; index++) {
    assert.ok(server.machine.send(readCall, pattern(100, index)), "credit comes in time");
    client.receive(takeOutput(server.machine));
    assert.equal(client.messages(read).length, 1);
    server.receive(takeOutput(client.machine));
  }
  // Read at last, the first one goes on.
  client.messages(unread);
  server.receive(takeOutput(client.machine));
  assert.ok(server.log.includes(`writable ${unreadCall.id}`));
  assert.deepEqual(client.failures.size + server.failures.length, 0);
});

test("credit: a peer that overdraws is failed, alone", () => {
  const limits = { streamQueueBytesMax: 4096, messageBytesMax: 1000 };
  const server = agreedServer(1 << 20, limits);
  server.receive(
    request(3, 6, { service: "s", method: "c" }),
    request(5, 6, { service: "s", method: "c" }),
  );
  for (let index = 0; index < 20; index++) server.receive(data(3, pattern(900)));
  assert.deepEqual(server.failures.map((one) => [one.call.id, one.status.code]), [[3, 8]]);
  assert.deepEqual(server.limitHits, ["stream_queue"]);
  assert.deepEqual(codes(server.frames()), [8]);
  assert.equal(server.machine.callCount, 1);
});

test("reset reaches the server's call, which sends nothing more", () => {
  const server = agreedServer();
  server.receive(request(3, 1, { service: "s", method: "d" }), request(5, 0, unary));
  server.machine.send(server.calls[0], pattern(10));
  server.frames();
  server.receive(frame(3, 6, 0), frame(5, 6, 0), frame(7, 6, 0));
  assert.deepEqual(server.log, ["call 3 d", "call 5 u", "failed 3 1", "failed 5 1"]);
  server.machine.respond(server.calls[1], pattern(10), []);
  assert.deepEqual(server.frames(), []);
  assert.equal(server.machine.callCount, 0);
});

test("a cancelled call is reset only when its request is on the wire", () => {
  const client = new ClientHarness().agree();
  const written = client.begin("u");
  // A large request fills the output, so that the next one has no id yet.
  client.begin("u", { payload: pattern(300 << 10) });
  const waiting = client.begin("u");
  client.machine.cancel(waiting, error(1));
  client.machine.cancel(written, error(1));
  assert.equal(waiting.id, 0);
  const frames = client.frames();
  assert.deepEqual(frames.map((one) => [one.type, one.id]), [[1, 3], [1, 5], [6, 3]]);
});

test("a ping is answered, and the answer ends the waiting", () => {
  const server = agreedServer();
  server.receive(frame(1, 4, 0, encodeText("ignored")));
  assert.deepEqual(server.shown(), ["00000000 00000001 0500"]);
  const client = new ClientHarness().agree();
  client.machine.ping(5);
  assert.equal(client.machine.pingSentMs, 5);
  // The first one is still unanswered, and late by its own time.
  client.machine.ping(9);
  assert.equal(client.machine.pingSentMs, 5);
  client.receive(frame(1, 5, 0));
  assert.equal(client.machine.pingSentMs, -Infinity);
});

test("goaway is told once, and calls in flight go on", () => {
  const client = new ClientHarness().agree();
  const call = client.begin("u");
  assert.equal(client.machine.spent, false);
  client.receive(frame(1, 8, 0), frame(1, 8, 0));
  assert.equal(client.machine.spent, true);
  client.receive(response(call.id));
  assert.deepEqual(client.log, ["ready", "goaway", `result ${call.id}`]);
  // Before the agreement it is a frame that nobody knows.
  const early = new ClientHarness();
  early.machine.hello();
  early.receive(frame(1, 8, 0), response(1, { extensions: { version: 1, windowBytes: 65536 } }));
  assert.deepEqual([early.log, early.machine.spent], [["ready"], false]);
  const server = agreedServer();
  server.machine.drain();
  server.machine.drain();
  assert.deepEqual(server.shown(), ["00000000 00000001 0800"]);
});

test("a hello that a draining server answers ends the client's use of the connection", () => {
  const server = new ServerHarness();
  server.machine.drain();
  const client = new ClientHarness();
  client.machine.hello();
  server.receive(takeOutput(client.machine));
  client.receive(takeOutput(server.machine));
  assert.deepEqual([client.log, client.machine.spent], [["ready"], true]);
  server.receive(takeOutput(client.machine));
  assert.deepEqual(server.shown(), ["00000000 00000001 0800"]);
  // From anybody else the same answer says nothing about the connection.
  const plain = new ClientHarness();
  plain.machine.hello();
  plain.receive(response(1, { status: { code: 14, message: "not well" } }));
  assert.deepEqual([plain.log, plain.machine.spent, plain.shown().length], [["ready"], false, 1]);
});

test("response metadata travels with all four kinds, and with errors", () => {
  const pairs = ["k", "1", "k", "", "Ключ", "v"];
  for (
    const [method, outcome] of ["u", "c", "d", "b"].flatMap((one) =>
      [[one, "ok"], [one, "error"]] as const
    )
  ) {
    const server = agreedServer();
    const client = new ClientHarness().agree();
    const call = client.begin(method);
    server.receive(takeOutput(client.machine));
    const [served] = server.calls;
    const streams = method === "d" || method === "b";
    if (outcome === "error") server.machine.respondStatus(served, error(5, "no"), pairs);
    else if (streams) server.machine.finishStream(served, pairs);
    else server.machine.respond(served, none, pairs);
    client.receive(takeOutput(server.machine));
    const received = call.metadata ?? client.metadata.get(call);
    assert.deepEqual(received, pairs, `${method} ${outcome}`);
    assert.equal(call.over, true);
  }
});
