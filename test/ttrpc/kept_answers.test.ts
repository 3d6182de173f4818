/** Answers wait for a client that does not read, but not without a bound. */
import assert from "node:assert/strict";
import { codeOf } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { memoryTest } from "./support/stage.ts";
import { echo } from "./support/test_frames.ts";

const message = 64 << 10;
const calls = 200;

memoryTest("what waits for room holds at most sixteen of the largest messages", async (stage) => {
  const { address, server } = await stage.serve({
    limits: { messageBytesMax: message, queueBytesMax: 4 * message, callsMax: calls },
    handlers: { echo: () => ({ payload: new Uint8Array(message - 10) }) },
  });
  const peer = await stage.raw(address);
  peer.connection.pause();
  stage.net.faults.capacityBytes = 4096;
  peer.send(...Array.from({ length: calls }, (_, index) => echo(1 + index * 2, {})));
  await turns(200);
  // 4 in the queue and 16 that wait; the rest was refused, and its refusals are small.
  const kept = server.counters.callsOpen;
  assert.ok(kept >= 16 && kept <= 20, `${kept} wait`);
  peer.connection.resume();
  const codes = (await peer.take(calls)).map(codeOf);
  const refused = codes.filter((code) => code === 8).length;
  assert.equal(codes.filter((code) => code === 0).length, calls - refused);
  assert.equal(server.counters.callsByCode[8], refused);
  assert.ok(refused >= calls - 25, `${refused} refused`);
});

memoryTest("the handler's signal says that it finished while its answer waits", async (stage) => {
  const signals: AbortSignal[] = [];
  const { address } = await stage.serve({
    limits: { messageBytesMax: message, queueBytesMax: message },
    handlers: {
      echo(_, context) {
        signals.push(context.signal);
        return { payload: new Uint8Array(message - 10) };
      },
    },
  });
  const peer = await stage.raw(address);
  peer.connection.pause();
  stage.net.faults.capacityBytes = 4096;
  peer.send(echo(1, {}), echo(3, {}), echo(5, {}));
  await turns(50);
  assert.deepEqual(signals.map((signal) => signal.aborted), [true, true, true]);
  peer.connection.resume();
  assert.deepEqual((await peer.take(3)).map(codeOf), [0, 0, 0]);
});
