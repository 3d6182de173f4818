/** What a server says about the time that its chunks take. */
import assert from "node:assert/strict";
import { concatBytes } from "../../src/base/bytes.ts";
import type { Clock } from "../../src/runtime/port.ts";
import { close, frame, request } from "./support/frames.ts";
import { memoryTest } from "./support/stage.ts";

const service = "covey.test.v1.TestService";

memoryTest("a chunk is one task, named by the handler that it entered last", async (stage) => {
  const tasks: [task: string, tookMs: number][] = [];
  const { address } = await stage.serve({
    handlers: {
      nothing() {
        stage.clock.nowMs += 40;
        return {};
      },
    },
    onTask: (task, startedMs, endedMs) => tasks.push([task, endedMs - startedMs]),
  });
  const peer = await stage.raw(address);
  peer.send(concatBytes([
    request(1, 0, { service, method: "Echo" }),
    request(3, 0, { service, method: "Nothing" }),
    request(5, 0, { service, method: "Nothing" }),
    request(7, 0, { service, method: "None" }),
  ]));
  await peer.take(4);
  peer.send(request(9, 2, { service, method: "Sum" }));
  await stage.clock.advance(0);
  peer.send(close(9));
  await peer.next();
  peer.send(frame(11, 0x77, 0, new Uint8Array(3)));
  await stage.clock.advance(0);
  assert.deepEqual(tasks, [
    [`rpc ${service}/Nothing`, 80],
    [`rpc ${service}/Sum`, 0],
    ["rpc", 0],
    ["rpc", 0],
  ]);
});

memoryTest("the clock is asked twice a chunk, and only for who wants to know", async (stage) => {
  let reads = 0;
  const clock: Clock = {
    monotonicMs: () => {
      reads++;
      return stage.clock.monotonicMs();
    },
    wallMs: () => stage.clock.wallMs(),
    timer: (delayMs, callback, argument) => stage.clock.timer(delayMs, callback, argument),
  };
  const perChunk = async (calls: number, onTask?: () => void): Promise<number> => {
    const { address } = await stage.serve({ clock, onTask });
    const peer = await stage.raw(address);
    await stage.clock.advance(0);
    const ids = Array.from({ length: calls }, (_, at) => 2 * at + 1);
    reads = 0;
    peer.send(concatBytes(ids.map((id) => request(id, 0, { service, method: "Nothing" }))));
    await peer.take(calls);
    return reads;
  };
  const unobserved = await perChunk(1);
  assert.equal(await perChunk(20), unobserved);
  assert.equal(await perChunk(1, () => {}), unobserved + 2);
  assert.equal(await perChunk(20, () => {}), unobserved + 2);
});
