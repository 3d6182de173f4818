/** A call counts as what its client was told, also where the machine changed the handler's result. */
import assert from "node:assert/strict";
import { codeOf } from "./support/frames.ts";
import { bothTest } from "./support/stage.ts";
import { count, echo } from "./support/test_frames.ts";

const most = 4096;
const exhausted = 8;

bothTest(
  "a result above the message limit counts as resource_exhausted, not as ok",
  async (stage) => {
    const { address, server } = await stage.serve({
      limits: { messageBytesMax: most },
      handlers: { echo: () => ({ payload: new Uint8Array(most + 1) }) },
    });
    const peer = await stage.raw(address);
    peer.send(echo(1, {}));
    assert.equal(codeOf(await peer.next()), exhausted);
    const { callsByCode, callsOpen } = server.counters;
    assert.deepEqual([callsByCode[0], callsByCode[exhausted], callsOpen], [0, 1, 0]);
  },
);

bothTest(
  "a stream that ends well counts as ok, one with a message too long does not",
  async (stage) => {
    const { address, server } = await stage.serve({
      limits: { messageBytesMax: most },
      handlers: {
        async *count(request) {
          yield { payload: new Uint8Array(request.bytes) };
        },
      },
    });
    const peer = await stage.raw(address);
    peer.send(count(1, { bytes: 1 }));
    await peer.take(2);
    peer.send(count(3, { bytes: most + 1 }));
    assert.equal(codeOf(await peer.next()), exhausted);
    const { callsByCode, callsOpen } = server.counters;
    assert.deepEqual([callsByCode[0], callsByCode[exhausted], callsOpen], [1, 1, 0]);
  },
);
