/** After ten thousand calls of every kind and every fate nothing of them is left. */
import assert from "node:assert/strict";
import { Prng } from "../../src/base/prng.ts";
import { CoveyError } from "../../src/base/error.ts";
import { CountedAbort } from "./support/counted_signal.ts";
import { pattern } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, Feed } from "./support/outcome.ts";
import { bothTest, type MemoryStage, type Stage, type TestClient } from "./support/stage.ts";

const calls = 10_000;
const atOnce = 50;

/** One call with a random kind and fate. It may be abandoned: then nobody reads what comes. */
async function oneCall(
  client: TestClient,
  random: Prng,
  shared: AbortSignal,
  credited: boolean,
): Promise<void> {
  const own = new AbortController();
  const signal = random.chance(0.5) ? shared : own.signal;
  // ttrpc has no frame that cancels: without the extensions a server whose client gave up in the
  // middle of its input learns it by the deadline, or by the end of the connection.
  const timeoutMs = !credited ? random.pick([1, 50]) : random.pick([undefined, 1, 50, 60_000]);
  const options = { signal, timeoutMs };
  if (random.chance(0.2)) queueMicrotask(() => own.abort());
  if (random.chance(0.1)) setTimeout(() => own.abort(), random.below(5));
  const feed = () => {
    const one = new Feed<{ payload: Uint8Array }>();
    for (let left = random.below(4); left > 0; left--) one.push({ payload: pattern(100) });
    if (random.chance(0.8)) one.end();
    else if (random.chance(0.5)) one.fail(new CoveyError(9, "no more input"));
    else setTimeout(() => one.end(), 1);
    return one;
  };
  switch (random.below(8)) {
    case 0:
      return void await client.nothing({}, options);
    case 1:
      return void await client.echo({ payload: pattern(random.below(2000)) }, options);
    case 2:
      return void await client.fail({ code: random.below(20) }, options);
    case 3:
      return void await client.sum(feed() as AsyncIterable<Record<never, never>>, options);
    case 4: {
      // Read in part, or to the end.
      const most = random.below(6);
      for await (const { index } of client.count({ count: 5, bytes: 50 }, options)) {
        if (index === most) break;
      }
      return;
    }
    case 5:
      return void await drain(client.chat(feed(), options));
    case 6:
      return void await drain(client.failStream({ code: 5, after: random.below(3) }, options));
    default:
      // Abandoned: a stream that somebody asked for and forgot. It ends by itself.
      client.count({ count: random.below(4), bytes: 10 }, options);
  }
}

for (const peer of ["covey", "any"] as const) {
  bothTest(`${calls} mixed calls leave nothing behind, peer ${peer}`, async (stage) => {
    const { client, channel, server } = await stage.pair({}, { peer });
    await client.nothing({});
    const shared = new CountedAbort();
    const random = new Prng(peer === "any" ? 1 : 2);
    const codes = new Map<number, number>();
    const worker = async (left: number) => {
      for (; left > 0; left--) {
        try {
          await oneCall(client, random, shared.signal, peer === "covey");
        } catch (error) {
          assert.ok(error instanceof CoveyError, `${error}`);
          codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
        }
      }
    };
    const workers = Array.from({ length: atOnce }, () => worker(calls / atOnce));
    await settle(stage, Promise.all(workers));
    await idle(stage, () => server.counters.callsOpen + channel.counters.callsOpen === 0);
    const { machine } = channel.link!;
    assert.equal(machine.callCount, 0);
    assert.equal(machine.nextTickMs, Infinity);
    assert.equal(machine.output.bytes.length, 0);
    assert.equal(shared.listeners, 0);
    assert.ok(codes.size >= 5, `the calls met many fates: ${[...codes.keys()]}`);
    assert.equal(channel.counters.callsTotal, sumOf(channel.counters.callsByCode));
    assert.equal(server.counters.callsTotal, sumOf(server.counters.callsByCode));
    assert.equal(channel.counters.connectionsTotal, 1);
    channel.close();
    await idle(stage, () => server.connections + channel.counters.connectionsOpen === 0);
    const stopped = server.stop(1000);
    await stage.elapse(1);
    await stopped;
    if (stage.name === "memory") {
      const { clock, net } = stage as MemoryStage;
      assert.deepEqual([clock.timers, net.connections], [0, 0]);
    }
  });
}

function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Moves the clock of the network in memory while something runs. */
async function settle(stage: Stage, work: Promise<unknown>): Promise<void> {
  let done = false;
  const ended = work.finally(() => done = true);
  while (!done) {
    await stage.elapse(1);
    await turns(1);
  }
  await ended;
}

async function idle(stage: Stage, condition: () => boolean): Promise<void> {
  const beganMs = performance.now();
  while (!condition()) {
    assert.ok(performance.now() - beganMs < 10_000, "it becomes idle");
    await stage.elapse(1);
    await turns(1);
  }
}
