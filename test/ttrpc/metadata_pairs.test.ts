/** Each pair of a request's metadata costs far more memory than bytes, so their number is bounded. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { codeOf, readResponse, request } from "./support/frames.ts";
import { codes, error, offer, ServerHarness } from "./support/machines.ts";
import { bothTest, memoryTest } from "./support/stage.ts";
import { count, echo, echoed, open } from "./support/test_frames.ts";

const pairsMax = 1024;
const pairs = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ key: `k${index % 7}`, value: `${index}` }));

bothTest("1,024 pairs of metadata pass, one more is answered 8", async (stage) => {
  let entered = 0;
  const { address, server } = await stage.serve({
    handlers: {
      echo: (_, { metadata }) => {
        entered++;
        return { payload: new TextEncoder().encode(`${[...metadata].length}`) };
      },
      // deno-lint-ignore require-yield
      async *count() {
        entered++;
      },
      sum: () => {
        entered++;
        return Promise.resolve({});
      },
    },
  });
  const peer = await stage.raw(address);
  peer.send(echo(1, {}, { metadata: pairs(pairsMax) }));
  assert.equal(new TextDecoder().decode(echoed(await peer.next())), "1024");
  peer.send(count(3, {}, { metadata: pairs(pairsMax) }));
  assert.equal((await peer.next()).flags, 5);

  const refused = [
    echo(5, {}, { metadata: pairs(pairsMax + 1) }),
    count(7, {}, { metadata: pairs(pairsMax + 1) }),
    open(9, 6, "Sum", { metadata: pairs(50_000) }),
  ];
  for (const [index, bytes] of refused.entries()) {
    peer.send(bytes);
    const answer = await peer.next();
    assert.equal(answer.id, 5 + 2 * index);
    const { status } = readResponse(answer);
    assert.deepEqual([status!.code, status!.message], [8, "too many pairs of metadata"]);
  }
  assert.equal(entered, 2, "no handler ran for them");
  assert.equal(server.counters.limitHits.message_bytes, 3);

  // The connection goes on, what was refused leaves nothing behind, and the ids are used up.
  peer.send(echo(11, {}, { metadata: pairs(1) }));
  assert.equal(new TextDecoder().decode(echoed(await peer.next())), "1");
  peer.send(echo(13, {}));
  assert.equal(new TextDecoder().decode(echoed(await peer.next())), "0");
  peer.send(echo(5, {}));
  assert.equal(codeOf(await peer.next()), 3);
  assert.deepEqual([server.connections, server.counters.callsOpen], [1, 0]);
});

memoryTest("covey's client: 1,024 pairs pass, one more fails that call alone", async (stage) => {
  const { client } = await stage.pair({
    handlers: {
      echo: (_, { metadata }) => ({ metadataValues: metadata.getAll("k") }),
    },
  });
  const values = (count: number) => Array.from({ length: count }, (_, index) => `${index}`);
  const call = (count: number) => client.echo({}, { metadata: { k: values(count) } });
  assert.deepEqual((await call(pairsMax)).metadataValues, values(pairsMax));
  await assert.rejects(call(pairsMax + 1), { code: 8, sent: true });
  assert.deepEqual((await call(2)).metadataValues, values(2));
});

test("a request that was refused for its pairs ends no other call", () => {
  const server = new ServerHarness();
  const target = { service: "s", method: "u" };
  server.receive(request(1, 0, target));
  server.receive(request(3, 0, { ...target, metadata: pairs(pairsMax + 1) }));
  // An offer behind too many pairs is not looked at.
  server.receive(request(5, 0, { ...target, metadata: [...pairs(pairsMax), offer()] }));
  server.receive(request(7, 0, target));
  assert.deepEqual(codes(server.frames()), [8, 8]);
  assert.deepEqual(server.log, ["call 1 u", "refused 8", "refused 8", "call 7 u"]);
  assert.equal(server.machine.extended, false);
  server.machine.respondStatus(server.calls[0], error(5), []);
  server.machine.respondStatus(server.calls[1], error(6), []);
  assert.deepEqual(codes(server.frames()), [5, 6]);
});
