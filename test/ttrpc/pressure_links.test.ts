/** When a connection's driver reads and when it does not, and what its silence means. */
import assert from "node:assert/strict";
import { outputPauseBytes } from "../../src/ttrpc/core/connection.ts";
import { ServiceRegistry } from "../../src/ttrpc/registry.ts";
import { RpcServer } from "../../src/ttrpc/server.ts";
import { EchoResponseSchema } from "../gen/covey/test/v1/test_pb.ts";
import { codeOf, pack, pattern, response } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { failure } from "./support/outcome.ts";
import { bothTest, memoryTest } from "./support/stage.ts";
import { echo, open, result } from "./support/test_frames.ts";
import { within } from "./support/within.ts";

memoryTest("a server reads no more requests than its client reads answers", async (stage) => {
  const { address, server } = await stage.serve();
  const peer = await stage.raw(address);
  peer.connection.pause();
  const size = 50_000;
  for (let index = 0; index < 400; index++) {
    peer.send(echo(1 + 2 * index, { payload: pattern(size) }));
  }
  for (let run = 0; run < 50; run++) await turns();
  const { receivedBytesTotal, sentBytesTotal, callsTotal } = server.counters;
  // What waits, what the socket holds, and one chunk that was under way.
  const most = sentBytesTotal + outputPauseBytes + 2 * (512 << 10);
  assert.ok(
    receivedBytesTotal <= most,
    `${receivedBytesTotal} bytes were read, ${sentBytesTotal} sent`,
  );
  assert.ok(callsTotal < 100, `${callsTotal} calls ran`);
  assert.equal(server.counters.limitHits.connection_queue, 0);
  peer.connection.resume();
  for (const answer of await peer.take(400)) assert.equal(codeOf(answer), 0);
});

bothTest("a client reads answers while its own requests wait for the server", async (stage) => {
  const raw = await stage.rawServer();
  const { client, channel } = stage.dial(raw.address);
  const first = client.echo({});
  const stream = client.count({})[Symbol.asyncIterator]();
  const peer = await raw.accept();
  const [one, two] = await peer.take(2);
  peer.connection.pause();
  const stuck = failure(client.echo({ payload: pattern((4 << 20) - 200) }));
  while (channel.link!.machine.output.queuedBytes <= outputPauseBytes) await turns(1);
  const answer = pack(EchoResponseSchema, { payload: pattern(70_000) });
  peer.send(
    response(one.id, { payload: answer }),
    response(two.id, { status: { code: 9, message: "" } }),
  );
  assert.equal((await within(first, () => "the answer")).payload.length, 70_000);
  assert.equal((await failure(stream.next())).code, 9);
  assert.ok(channel.link!.machine.output.queuedBytes > outputPauseBytes, "it still waits");
  peer.connection.resume();
  const third = await peer.next();
  peer.send(response(third.id, { status: { code: 5, message: "" } }));
  assert.equal((await stuck).code, 5);
});

memoryTest("silence while nobody listened says nothing about the peer", async (stage) => {
  const { address, server } = await stage.serve({
    limits: { ioStallMs: 5000 },
    handlers: { echo: () => ({ payload: pattern(60_000) }) },
  });
  const peer = await stage.raw(address);
  peer.connection.pause();
  const last = echo(101, { payload: pattern(100) });
  // The answers make the server pause in the middle of the last request.
  for (let index = 0; index < 40; index++) peer.send(echo(1 + 2 * index, {}));
  peer.send(last.subarray(0, 30));
  await stage.clock.advance(4000);
  assert.equal(server.counters.callsTotal, 40);
  peer.connection.resume();
  await peer.take(40);
  // Its time to go on with the frame begins now.
  await stage.clock.advance(4000);
  assert.equal(server.connections, 1);
  peer.send(last.subarray(30));
  assert.equal(codeOf(await peer.next()), 0);
});

bothTest("a client says where in its frames the connection ended", async (stage) => {
  for (
    const [cut, words] of [[0, /closed the connection$/], [
      15,
      /in the middle of a frame$/,
    ]] as const
  ) {
    const raw = await stage.rawServer();
    const { client } = stage.dial(raw.address);
    const call = failure(client.echo({}));
    const peer = await raw.accept();
    const { id } = await peer.next();
    peer.send(response(id, { payload: pattern(50) }).subarray(0, cut));
    await peer.flushed();
    peer.connection.close();
    const { code, rawMessage } = await call;
    assert.equal(code, 14);
    assert.match(rawMessage, words);
  }
});

memoryTest(
  "24 a connection that opens while the server stops does not hold it up",
  async (stage) => {
    const { address, server } = await stage.serve({
      handlers: { nothing: () => new Promise(() => {}) },
    });
    const busy = await stage.raw(address);
    busy.send(open(1, 0, "Nothing"));
    await turns();
    const handler = { open() {}, data() {}, drain() {}, end() {}, close() {} };
    await stage.net.connect({ address, timeoutMs: 1000, state: null, handler });
    // It is on its way: the server has not seen it yet.
    const stopped = server.stop(60_000);
    await turns();
    assert.deepEqual([server.connections, server.counters.connectionsTotal], [1, 2]);
    await stage.clock.advance(60_000);
    await within(stopped, () => "the stop");
  },
);

memoryTest("a server that stopped does not watch its registry any more", async (stage) => {
  let watchers = 0;
  class Watched extends ServiceRegistry {
    override onChange(listener: () => void): () => void {
      watchers++;
      const release = super.onChange(listener);
      return () => {
        watchers--;
        release();
      };
    }
  }
  const registry = new Watched();
  const servers = [1, 2].map(() => new RpcServer({ net: stage.net, clock: stage.clock, registry }));
  assert.equal(watchers, 2);
  for (const server of servers) await server.stop(0);
  assert.equal(watchers, 0);
});

bothTest("the offer of extensions is no metadata of the call that it rides on", async (stage) => {
  const { address } = await stage.serve({
    handlers: { echo: (_, { metadata }) => ({ metadataValues: [...metadata].flat() }) },
  });
  const peer = await stage.raw(address);
  const metadata = [
    { key: "covey-extensions", value: "1;window=65536" },
    { key: "k", value: "v" },
    { key: "covey-extensions", value: "nonsense" },
  ];
  peer.send(echo(1, {}, { metadata }));
  assert.deepEqual(result(EchoResponseSchema, await peer.next()).metadataValues, ["k", "v"]);
});
