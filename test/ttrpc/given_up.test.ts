/** What a server still holds for calls that their client gave up, as docs/reference/ttrpc.md says. */
import assert from "node:assert/strict";
import { turns } from "./support/memory_net.ts";
import { drain, failure, Feed } from "./support/outcome.ts";
import { type MemoryStage, memoryTest } from "./support/stage.ts";

/** A server whose `nothing` and `sum` end when the test says so, with room for one call. */
async function stubborn(stage: MemoryStage, peer: "any" | "covey") {
  const releases: (() => void)[] = [];
  let aborted = 0;
  const wait = (signal: AbortSignal) => {
    signal.addEventListener("abort", () => aborted++);
    return new Promise<Record<string, never>>((resolve) => releases.push(() => resolve({})));
  };
  const pair = await stage.pair({
    // The covey client's offer is a call as well, but one that is over before the next begins.
    limits: { callsMax: 1 },
    handlers: {
      nothing: (_, { signal }) => wait(signal),
      sum: async (inputs, { signal }) => {
        signal.addEventListener("abort", () => aborted++);
        let sum = 0n;
        for await (const { value } of inputs) sum += value;
        return { sum };
      },
    },
  }, { peer, limits: { callsMax: 10 } });
  return {
    ...pair,
    release: () => releases.shift()!(),
    aborted: () => aborted,
    open: () => pair.server.counters.callsOpen,
  };
}

for (const peer of ["any", "covey"] as const) {
  const plain = peer === "any";
  const keeps = plain ? "keeps" : "gives back";
  const stays = plain ? "stays open" : "ends";

  memoryTest(
    `given up without a deadline a call ${keeps} its place (peer: ${peer})`,
    async (stage) => {
      const { client, open, aborted, release } = await stubborn(stage, peer);
      const controller = new AbortController();
      const given = failure(client.nothing({}, { signal: controller.signal }));
      await turns();
      controller.abort();
      assert.equal((await given).code, 1);
      await stage.clock.advance(600_000);
      assert.deepEqual([open(), aborted()], plain ? [1, 0] : [0, 1]);
      const next = client.echo({});
      if (plain) assert.equal((await failure(next)).code, 8);
      else await next;
      release();
      await turns();
      assert.equal(open(), 0);
      await client.echo({});
    },
  );

  memoryTest(`given up without a deadline an upload ${stays} (peer: ${peer})`, async (stage) => {
    const { client, channel, open, aborted } = await stubborn(stage, peer);
    const controller = new AbortController();
    const given = failure(client.sum(new Feed({ value: 1n }), { signal: controller.signal }));
    await turns();
    controller.abort();
    assert.equal((await given).code, 1);
    await stage.clock.advance(600_000);
    assert.deepEqual([open(), aborted()], plain ? [1, 0] : [0, 1]);
    // The end of the connection ends it in any case.
    channel.close();
    await turns();
    assert.deepEqual([open(), aborted()], [0, 1]);
  });

  memoryTest(
    `a deadline gives the place back whatever the handler does (peer: ${peer})`,
    async (stage) => {
      const { client, open, aborted } = await stubborn(stage, peer);
      const timeoutMs = 1000;
      for (const kind of ["unary", "upload"]) {
        const controller = new AbortController();
        const options = { timeoutMs, signal: controller.signal };
        const given = failure(
          kind === "unary" ? client.nothing({}, options) : client.sum(new Feed(), options),
        );
        await turns();
        const before = aborted();
        controller.abort();
        assert.equal((await given).code, 1);
        await turns();
        assert.deepEqual([open(), aborted() - before], plain ? [1, 0] : [0, 1]);
        await stage.clock.advance(timeoutMs + 1);
        assert.deepEqual([open(), aborted() - before], [0, 1], kind);
        await client.echo({});
      }
    },
  );
}

memoryTest("the channel's own deadline is one too", async (stage) => {
  const { address, open } = await stubborn(stage, "any");
  const { client } = stage.dial(address, { timeoutMs: 1000 });
  const call = drain(client.chat(new Feed()));
  await turns();
  assert.equal(open(), 1);
  await stage.clock.advance(1001);
  assert.equal((await call).error!.code, 4);
  assert.equal(open(), 0);
});
