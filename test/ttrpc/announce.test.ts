/** Before its stop a server says goodbye, and takes what was sent by those who had not heard it. */
import assert from "node:assert/strict";
import { frame } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { memoryTest } from "./support/stage.ts";
import { echo } from "./support/test_frames.ts";

const goaway = 8;
const ping = 4;
const pong = 5;

memoryTest(
  "a goodbye: what was on its way is answered, and then nothing more comes",
  async (stage) => {
    const { server, address } = await stage.serve();
    const covey = await stage.raw(address);
    const plain = await stage.raw(address);
    await covey.sayHello();
    await turns();
    let isParted = false;
    const parted = server.announce(5_000).then(() => isParted = true);
    await turns();
    assert.deepEqual((await covey.take(2)).map(({ type }) => type), [goaway, ping]);
    await assert.rejects(stage.raw(address), /refused/);
    // It was sent before the goodbye was read, and is no refusal.
    covey.send(echo(3, {}));
    await turns();
    assert.equal((await covey.next()).id, 3);
    // Who cannot be told finds the connection closed.
    await plain.gone();
    await stage.clock.advance(100);
    assert.equal(isParted, false, "more may be on its way");
    covey.send(frame(1, pong, 0));
    await turns();
    await stage.clock.advance(10);
    await parted;
    await server.stop(1_000);
    await covey.gone();
  },
);

memoryTest("the answer to an older ping does not say that the goodbye was read", async (stage) => {
  const { server, address } = await stage.serve({
    limits: { keepaliveIntervalMs: 1_000, keepaliveTimeoutMs: 60_000 },
  });
  const covey = await stage.raw(address);
  await covey.sayHello();
  await stage.clock.advance(2_500);
  assert.equal((await covey.next()).type, ping);
  let isParted = false;
  const parted = server.announce(5_000).then(() => isParted = true);
  await turns();
  assert.deepEqual((await covey.take(2)).map(({ type }) => type), [goaway, ping]);
  covey.send(frame(1, pong, 0));
  await turns();
  await stage.clock.advance(100);
  assert.equal(isParted, false);
  covey.send(frame(1, pong, 0));
  await turns();
  await stage.clock.advance(10);
  await parted;
  await server.stop(1_000);
});

memoryTest("a goodbye that nobody answers takes no longer than it may", async (stage) => {
  const { server, address } = await stage.serve();
  const covey = await stage.raw(address);
  await covey.sayHello();
  await turns();
  let isParted = false;
  const parted = server.announce(1_000).then(() => isParted = true);
  await stage.clock.advance(900);
  assert.equal(isParted, false);
  await stage.clock.advance(200);
  await parted;
  await server.stop(1_000);
});
