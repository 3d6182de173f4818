/**
 * The offer of extensions where its client did not make it: a service of another implementation
 * passes the metadata that it got on with the calls that it makes, as Go's does by default. Only a
 * PONG behind the answer confirms an offer; without it a connection is plain ttrpc all its life.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  close,
  data,
  frame,
  none,
  pattern,
  readResponse,
  request,
  show,
} from "./support/frames.ts";
import { codes, error, offer, pong, ServerHarness } from "./support/machines.ts";
import { bothTest, memoryTest } from "./support/stage.ts";
import { count, echo, echoed, open } from "./support/test_frames.ts";
import { turns } from "./support/memory_net.ts";

const unary = { service: "s", method: "u" };
const metadata = [{ key: "covey-extensions", value: "1;window=1024" }];
const limits = { streamQueueBytesMax: 4096 };

/** A session of a plain client, whose first call may carry an offer, and all that it is sent. */
function session(server: ServerHarness, first: typeof metadata): string[] {
  server.receive(
    request(1, 1, { service: "s", method: "d", metadata: first }),
    request(3, 6, { service: "s", method: "c" }),
    request(5, 0, unary),
    request(7, 1, { service: "s", method: "d" }),
  );
  const [early, sum, one, late] = server.calls;
  // Far more than the offer's window, and than the own one.
  for (const call of [early, late]) {
    for (let index = 0; index < 20; index++) {
      assert.equal(server.machine.send(call, pattern(1000)), true, "nobody waits for credit");
    }
  }
  for (let index = 0; index < 5; index++) {
    server.receive(data(3, pattern(1000)));
    assert.equal(server.messages(sum).length, 1);
  }
  server.receive(frame(1, 4, 0), frame(5, 6, 0), frame(1, 7, 0, new Uint8Array(4)), close(3));
  server.machine.respondStatus(early, error(9, "enough"), ["k", "v"]);
  server.machine.respond(sum, none, ["k", "v"]);
  server.machine.respond(one, none, ["k", "v"]);
  server.machine.drain();
  server.machine.finishStream(late, ["k", "v"]);
  assert.equal(server.machine.extended, false);
  assert.equal(server.machine.callCount, 0);
  return server.frames().map((answer) => {
    // The answer to the offer is the one thing more: a field that others skip.
    if (answer.type !== 2) return show(answer);
    const { status, payload, extensions } = readResponse(answer);
    assert.deepEqual(extensions?.metadata ?? [], []);
    assert.ok(answer.id === 1 || extensions === undefined);
    return `${answer.id} ${status?.code ?? 0} ${payload.length}`;
  });
}

test("an offer that nobody confirms changes nothing, for the connection's whole life", () => {
  const plain = session(new ServerHarness({ limits }), []);
  assert.deepEqual(session(new ServerHarness({ limits }), metadata), plain);
  assert.ok(plain.length > 40);
});

test("a confirmation counts only behind the answer to an offer", () => {
  // Of nothing.
  const stranger = new ServerHarness().receive(request(1, 0, unary), pong, frame(5, 5, 0));
  stranger.machine.respond(stranger.calls[0], none, []);
  stranger.receive(pong);
  assert.deepEqual([stranger.machine.extended, stranger.shown().length], [false, 1]);
  // Of an offer that was refused.
  const refused = new ServerHarness({ extensions: false });
  refused.receive(request(1, 0, { ...unary, metadata: [offer()] }));
  refused.machine.respond(refused.calls[0], none, []);
  refused.receive(pong);
  assert.equal(refused.machine.extended, false);
  // Before the answer, and on an id that no client uses.
  const server = new ServerHarness();
  server.receive(request(1, 0, { ...unary, metadata: [offer()] }), pong);
  assert.equal(server.machine.extended, false);
  server.machine.respond(server.calls[0], none, []);
  server.receive(frame(2, 5, 0));
  assert.equal(server.machine.extended, false);
  assert.deepEqual(codes(server.frames()), [0, 3]);
  server.receive(pong);
  assert.deepEqual([server.machine.extended, server.frames()], [true, []]);
});

test("of several offers the first one holds, and it is answered once", () => {
  const server = new ServerHarness();
  server.receive(
    request(1, 0, { ...unary, metadata: [...metadata, offer(9999)] }),
    request(3, 0, { ...unary, metadata: [offer(5000)] }),
  );
  for (const call of server.calls) server.machine.respond(call, none, []);
  server.receive(request(5, 0, { ...unary, metadata: [offer(5000)] }));
  server.machine.respond(server.calls[2], none, []);
  const versions = server.frames().map((one) => readResponse(one).extensions?.version);
  assert.deepEqual(versions, [1, undefined, undefined]);
  server.receive(pong, request(7, 1, { service: "s", method: "d", metadata: [offer(5000)] }));
  assert.equal(server.calls[3].flow!.sendCredit, 1024);
  server.machine.respondStatus(server.calls[3], error(9), []);
  assert.equal(readResponse(server.frames()[0]).extensions, undefined);
});

test("an offer on a later call: streams from before it go on without credit", () => {
  const server = new ServerHarness({ limits });
  server.receive(request(1, 1, { service: "s", method: "d" }));
  server.receive(request(3, 0, { ...unary, metadata }));
  server.machine.respond(server.calls[1], none, []);
  server.receive(pong, request(5, 1, { service: "s", method: "d" }));
  const [before, , behind] = server.calls;
  for (let index = 0; index < 20; index++) assert.ok(server.machine.send(before, pattern(1000)));
  assert.ok(server.machine.send(behind, pattern(1000)));
  assert.equal(server.machine.send(behind, pattern(1000)), false);
});

test("a server that drains says goodbye when the offer is confirmed, not before", () => {
  const server = new ServerHarness();
  server.receive(request(1, 6, { service: "s", method: "b" }));
  server.receive(request(3, 0, { ...unary, metadata }));
  server.machine.respond(server.calls[1], none, []);
  server.frames();
  server.machine.drain();
  assert.deepEqual(server.shown(), []);
  server.receive(pong, pong);
  assert.deepEqual(server.shown(), ["00000000 00000001 0800"]);
});

bothTest(
  "a stream that a Go client leaves unread goes on after a passed-on offer",
  async (stage) => {
    const { address } = await stage.serve();
    const peer = await stage.raw(address);
    peer.send(echo(1, { payload: pattern(10) }, { metadata }));
    assert.equal(echoed(await peer.next()).length, 10);
    peer.send(count(3, { count: 100, bytes: 1000 }));
    const frames = await peer.take(101);
    assert.ok(frames.every((one) => one.type === 3 && one.id === 3));
    assert.equal(frames[100].flags, 5);
  },
);

memoryTest("a passed-on offer starts no pings, and a drain says nothing", async (stage) => {
  let release = (): void => {};
  const held = new Promise<Record<string, never>>((resolve) => release = () => resolve({}));
  const { address, server } = await stage.serve({
    limits: { keepaliveIntervalMs: 10_000, keepaliveTimeoutMs: 5000 },
    handlers: { nothing: () => held },
  });
  const peer = await stage.raw(address);
  peer.send(echo(1, {}, { metadata }), open(3, 0, "Nothing"));
  assert.equal((await peer.next()).id, 1);
  await stage.clock.advance(60_000);
  assert.deepEqual([peer.untaken, server.connections], [[], 1]);
  const stopped = server.stop(10_000);
  await turns();
  assert.deepEqual(peer.untaken, []);
  release();
  const last = await peer.next();
  assert.deepEqual([last.type, last.id], [2, 3]);
  await peer.gone();
  await stopped;
});
