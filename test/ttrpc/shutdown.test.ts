/** Case 24 of the reference (ttrpc.md, section 5), and the promises around a graceful stop. */
import assert from "node:assert/strict";
import { Prng } from "../../src/base/prng.ts";
import { close, codeOf, data, pattern } from "./support/frames.ts";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import { bothTest, memoryTest } from "./support/stage.ts";
import { count, echo, open, sumMessage } from "./support/test_frames.ts";
import { within } from "./support/within.ts";

/** Handlers that answer when they are told to. */
class Holding {
  readonly #release: (() => void)[] = [];

  hold = (): Promise<Record<never, never>> =>
    new Promise((resolve) => this.#release.push(() => resolve({})));

  get held(): number {
    return this.#release.length;
  }

  release(): void {
    for (const one of this.#release.splice(0)) one();
  }
}

for (const peer of ["covey", "any"] as const) {
  bothTest(
    `24 what is in flight finishes, what comes late is told, peer ${peer}`,
    async (stage) => {
      const holding = new Holding();
      const { client, channel, server, address } = await stage.pair(
        { handlers: { nothing: holding.hold } },
        { peer },
      );
      const running = [client.nothing({}), client.nothing({})];
      const feed = new Feed({ value: 1n });
      const sum = client.sum(feed);
      const chat = new Feed({ payload: pattern(1) });
      const chatting = drain(client.chat(chat));
      while (holding.held < 2 || server.counters.callsOpen < 4) await turns(1);
      const stopped = server.stop(10_000);
      // The listener is gone, the connection is not.
      const other = stage.dial(address);
      assert.equal((await failure(other.client.echo({}))).sent, false);
      // The goodbye is on its way.
      while (peer === "covey" && channel.state === "ready") await turns(1);
      const late = await failure(client.echo({}, { timeoutMs: 5000 }));
      assert.equal(late.code, 14);
      // A covey client knows that it must not even try here.
      assert.equal(late.sent, peer === "any");
      feed.push({ value: 2n });
      feed.end();
      assert.equal((await sum).sum, 3n);
      chat.push({ payload: pattern(2) });
      chat.end();
      assert.equal((await chatting).messages.length, 2);
      holding.release();
      await Promise.all(running);
      await within(stopped, () => "the server to stop");
      assert.deepEqual([server.connections, server.counters.callsOpen], [0, 0]);
      while (channel.counters.connectionsOpen > 0) await turns(1);
    },
  );
}

bothTest("24 a stop is cut off by its deadline, and every call is told", async (stage) => {
  const signals: AbortSignal[] = [];
  const { client, server } = await stage.pair({
    handlers: {
      nothing(_, context) {
        signals.push(context.signal);
        return new Promise(() => {});
      },
      async *count(_, context) {
        signals.push(context.signal);
        yield {};
        await new Promise(() => {});
      },
    },
  });
  const calls = [
    failure(client.nothing({})),
    drain(client.count({})).then((one) => one.error!),
    failure(client.sum(new Feed())),
    drain(client.chat(new Feed())).then((one) => one.error!),
  ];
  while (server.counters.callsOpen < 4) await turns(1);
  const stopped = server.stop(50);
  await turns(5);
  assert.equal(server.counters.callsOpen, 4);
  await stage.elapse(51);
  await within(stopped, () => "the server to stop");
  for (const call of calls) assert.deepEqual([(await call).code, (await call).sent], [14, true]);
  assert.ok(signals.every((signal) => signal.aborted));
  while (server.connections > 0) await turns(1);
  assert.equal(server.counters.callsOpen, 0);
});

bothTest("24 stopping twice, while it is idle, and what cannot be done after it", async (stage) => {
  const { server, client } = await stage.pair();
  await client.nothing({});
  await within(Promise.all([server.stop(10_000), server.stop(0)]), () => "both stops");
  await within(server.stop(0), () => "a third stop");
  await assert.rejects(server.listen({ address: stage.address() }), /shutting down/);
  assert.equal(server.connections, 0);
});

/** Requests that race a stop: each one has an answer, or its connection ended. */
for (let seed = 1; seed <= 10; seed++) {
  bothTest(
    `24 requests that race a stop are never met with silence, seed ${seed}`,
    async (stage) => {
      const random = new Prng(seed);
      const holding = new Holding();
      const { server, address } = await stage.serve({ handlers: { nothing: holding.hold } });
      const clients = Array.from(
        { length: 4 },
        (_, index) => stage.dial(address, { peer: index % 2 === 0 ? "covey" : "any" }),
      );
      for (const { client } of clients) {
        await client.echo({});
      }
      const outcomes: Promise<string>[] = [];
      const start = () => {
        const { client } = random.pick(clients);
        const kind = random.below(5);
        const call: Promise<unknown> = kind === 0
          ? client.nothing({})
          : kind === 1
          ? client.echo({ payload: pattern(random.below(50_000)) })
          : kind === 2
          ? client.sum(ended({ value: 1n }, { value: 2n }))
          : kind === 3
          ? drain(client.count({ count: 20, bytes: 500 })).then(orThrow)
          : drain(client.chat(ended({ payload: pattern(10) }))).then(orThrow);
        outcomes.push(call.then(() => "ok", (error) => `${error.code}`));
      };
      for (let index = 0; index < 40; index++) start();
      await turns(random.below(6));
      const stopped = server.stop(60_000);
      for (let index = 0; index < 40; index++) {
        start();
        if (random.chance(0.2)) await turns(1);
        if (random.chance(0.1)) holding.release();
      }
      for (let wait = 0; wait < 200 && holding.held + server.connections > 0; wait++) {
        holding.release();
        await turns(2);
      }
      const ends = await within(Promise.all(outcomes), () => "every racing call");
      await within(stopped, () => "the server to stop");
      assert.equal(ends.length, 80);
      assert.ok(ends.every((end) => end === "ok" || end === "14"), `${new Set(ends)}`);
    },
  );
}

function ended<T>(...messages: T[]): Feed<T> {
  const feed = new Feed(...messages);
  feed.end();
  return feed;
}

function orThrow(outcome: { error: Error | undefined }): void {
  if (outcome.error !== undefined) throw outcome.error;
}

memoryTest(
  "24 a listener that is being made while the server stops does not stay",
  async (stage) => {
    const { server } = await stage.serve();
    const address = stage.address();
    const listening = server.listen({ address });
    const stopped = server.stop(0);
    await assert.rejects(listening, /shutting down/);
    await stopped;
    await assert.rejects(stage.raw(address), /refused/);
  },
);

memoryTest("24 on the wire: answers, refusals and goaway, then the end", async (stage) => {
  const holding = new Holding();
  const { server, address } = await stage.serve({ handlers: { nothing: holding.hold } });
  const plain = await stage.raw(address);
  const covey = await stage.raw(address);
  await covey.sayHello();
  covey.send(open(3, 0, "Nothing"));
  plain.send(open(1, 0, "Nothing"), open(3, 6, "Sum"), count(5, { count: 1 }));
  await turns();
  assert.deepEqual((await plain.take(2)).map((one) => one.id), [5, 5]);
  const stopped = server.stop(10_000);
  await turns();
  assert.deepEqual(covey.untaken.map((one) => one.type), [8]);
  assert.deepEqual(plain.untaken, [], "it learns nothing that ttrpc does not have");
  plain.send(echo(7, {}), data(3, sumMessage(5n)), close(3), open(9, 6, "Chat"));
  await turns();
  const answers = await plain.take(3);
  assert.deepEqual(answers.map((one) => [one.id, codeOf(one)]), [[7, 14], [9, 14], [3, 0]]);
  holding.release();
  assert.equal(codeOf(await plain.next()), 0);
  await plain.gone();
  await covey.gone();
  await stopped;
});

memoryTest(
  "24 a client that does not read its last answers is cut off in the end",
  async (stage) => {
    const { server, address } = await stage.serve();
    const peer = await stage.raw(address);
    peer.connection.pause();
    peer.send(count(1, { count: 50, bytes: 50_000 }));
    await turns();
    const stopped = server.stop(5000);
    await stage.clock.advance(4000);
    assert.equal(server.connections, 1);
    await stage.clock.advance(1000);
    await within(stopped, () => "the server to stop");
    assert.equal(server.connections, 0);
    assert.equal(stage.clock.timers, 0);
  },
);
