/**
 * A call that its client gave up leaves its place, but its handler may run on: how many of those a
 * connection may have is bounded too.
 */
import assert from "node:assert/strict";
import { codeOf, type Frame, frame, readResponse } from "./support/frames.ts";
import { offer } from "./support/machines.ts";
import { turns } from "./support/memory_net.ts";
import type { RawPeer } from "./support/raw_peer.ts";
import { type MemoryStage, memoryTest, type TestHandlers } from "./support/stage.ts";
import { count, echo, open } from "./support/test_frames.ts";

const callsMax = 10;
const runningMax = 20;

/** Handlers that run until they are told how to end, deaf to their signals. */
class Deaf {
  entered = 0;
  readonly ends: ((how: "answer" | "throw") => void)[] = [];

  #run(): Promise<void> {
    this.entered++;
    return new Promise((resolve, reject) =>
      this.ends.push((how) => how === "answer" ? resolve() : reject(new Error("late")))
    );
  }

  handlers(): Partial<TestHandlers> {
    const run = () => this.#run();
    const once = async () => {
      await run();
      return {};
    };
    const stream = async function* () {
      await run();
      yield {};
    };
    return { echo: once, sum: once, count: stream, chat: stream };
  }

  /** Ends so many of the oldest handlers. */
  async end(handlers: number, how: "answer" | "throw"): Promise<void> {
    for (const end of this.ends.splice(0, handlers)) end(how);
    await turns();
  }
}

const kinds: Readonly<Record<string, (id: number, extras: object) => Uint8Array>> = {
  unary: (id, extras) => echo(id, {}, extras),
  "client streaming": (id, extras) => open(id, 6, "Sum", extras),
  "server streaming": (id, extras) => count(id, {}, extras),
  bidi: (id, extras) => open(id, 6, "Chat", extras),
};

const soon = { timeoutNano: 1_000_000n };

/** Ten calls at a time, each given up by its deadline, until none of them is entered. */
async function fill(
  stage: MemoryStage,
  peer: RawPeer,
  request: (id: number, extras: object) => Uint8Array,
  firstId: number,
): Promise<Frame[]> {
  const answers: Frame[] = [];
  for (let batch = 0; batch < 5; batch++) {
    for (let index = 0; index < callsMax; index++) {
      peer.send(request(firstId + 2 * (batch * callsMax + index), soon));
    }
    await stage.clock.advance(5);
    answers.push(...await peer.take(callsMax));
  }
  return answers;
}

for (const [kind, request] of Object.entries(kinds)) {
  for (const how of ["answer", "throw"] as const) {
    memoryTest(`given up ${kind} calls run ${runningMax} handlers, ends: ${how}`, async (stage) => {
      const deaf = new Deaf();
      const { address, server } = await stage.serve({
        limits: { callsMax },
        handlers: deaf.handlers(),
      });
      const peer = await stage.raw(address);
      const answers = await fill(stage, peer, request, 1);
      assert.equal(deaf.entered, runningMax);
      const codes = answers.map(codeOf);
      assert.deepEqual(codes.slice(0, runningMax), Array(runningMax).fill(4));
      assert.deepEqual(codes.slice(runningMax), Array(30).fill(8));
      assert.match(readResponse(answers[49]).status!.message, /handlers of calls .* given up/);
      const { counters } = server;
      assert.equal(counters.limitHits.calls_per_connection, 30);
      assert.deepEqual([counters.callsOpen, counters.callsTotal], [0, 50]);

      // Another connection has places of its own.
      const other = await stage.raw(address);
      other.send(request(1, soon));
      await stage.clock.advance(5);
      assert.equal(codeOf(await other.next()), 4);
      assert.equal(deaf.entered, runningMax + 1);

      // Places come back one by one, as handlers end.
      await deaf.end(3, how);
      for (let index = 0; index < 5; index++) peer.send(request(201 + 2 * index, soon));
      await stage.clock.advance(5);
      const again = new Map((await peer.take(5)).map((one) => [one.id, codeOf(one)]));
      assert.deepEqual([201, 203, 205, 207, 209].map((id) => again.get(id)), [4, 4, 4, 8, 8]);
      assert.equal(deaf.entered, runningMax + 1 + 3);

      // And all of them, for calls that are answered in time.
      await deaf.end(100, how);
      for (let index = 0; index < callsMax; index++) peer.send(request(301 + 2 * index, {}));
      await turns();
      assert.equal(deaf.entered, runningMax + 4 + callsMax);
      await deaf.end(callsMax, "answer");
      assert.equal(counters.callsOpen, 0);
      assert.equal(counters.limitHits.calls_per_connection, 32);
    });
  }

  memoryTest(`${kind} calls that RESET ends are bounded alike`, async (stage) => {
    const deaf = new Deaf();
    const { address } = await stage.serve({ limits: { callsMax }, handlers: deaf.handlers() });
    const peer = await stage.raw(address);
    peer.send(open(1, 0, "Nothing", { metadata: [offer()] }));
    await peer.next();
    peer.send(frame(1, 5, 0));
    for (let index = 0; index < 500; index++) {
      peer.send(request(3 + 2 * index, {}), frame(3 + 2 * index, 6, 0));
    }
    await turns();
    assert.equal(deaf.entered, runningMax);
    const answers = peer.untaken;
    assert.deepEqual(new Set(answers.map(codeOf)), new Set([8]));
    assert.equal(answers.length, 480);
    await deaf.end(runningMax, "answer");
    peer.send(request(2001, soon));
    await turns();
    assert.equal(deaf.entered, runningMax + 1);
  });
}

memoryTest("handlers that throw or answer at once take no place for good", async (stage) => {
  let entered = 0;
  const { address, server } = await stage.serve({
    limits: { callsMax },
    handlers: {
      echo: ({ delayMillis }) => {
        entered++;
        if (delayMillis === 1) throw new Error("at once");
        if (delayMillis === 2) return Promise.reject(new Error("a promise later"));
        return {};
      },
      count: ({ count }) => {
        entered++;
        if (count === 1) throw new Error("no stream");
        if (count === 2) {
          return {
            [Symbol.asyncIterator]: () => {
              throw new Error("no iterator");
            },
          };
        }
        return (async function* () {})();
      },
    },
  });
  const peer = await stage.raw(address);
  let id = 1;
  for (let round = 0; round < 30; round++) {
    for (let way = 0; way < 3; way++) {
      peer.send(echo(id, { delayMillis: way }), count(id + 2, { count: way }));
      id += 4;
      await peer.take(2);
    }
  }
  assert.equal(entered, 180);
  assert.equal(server.counters.limitHits.calls_per_connection, 0);
});

memoryTest("a generator that cleans up slowly still runs", async (stage) => {
  let entered = 0;
  let cleaning = 0;
  const { address } = await stage.serve({
    limits: { callsMax },
    handlers: {
      async *count() {
        entered++;
        try {
          while (true) yield { payload: new Uint8Array(100_000) };
        } finally {
          cleaning++;
          await new Promise(() => {});
        }
      },
    },
  });
  const peer = await stage.raw(address);
  peer.connection.pause();
  for (let batch = 0; batch < 5; batch++) {
    for (let index = 0; index < callsMax; index++) {
      peer.send(count(1 + 2 * (batch * callsMax + index), {}, soon));
    }
    await stage.clock.advance(5);
  }
  assert.equal(entered, runningMax, `${cleaning} of them clean up`);
});
