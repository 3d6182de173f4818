/** After ten thousand views, with calls of every kind and fate in between, nothing is left. */
import assert from "node:assert/strict";
import { CoveyError } from "../../src/base/error.ts";
import { Prng } from "../../src/base/prng.ts";
import { createRoutedClient } from "../../src/routing/routed_client.ts";
import type { MemberPick } from "../../src/routing/options.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { CountedAbort } from "../ttrpc/support/counted_signal.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { drain, Feed } from "../ttrpc/support/outcome.ts";
import type { TestClient } from "../ttrpc/support/stage.ts";
import { clusterTest } from "./support.ts";

const views = 10_000;
const picks: readonly MemberPick[] = [
  "round_robin",
  "least_pending",
  "nearest",
  { key: () => "k" },
  { tag: "a" },
  { name: "node3" },
];

/** One call of a random kind and fate. A stream is read to its end, or left. */
async function oneCall(client: TestClient, random: Prng, shared: AbortSignal): Promise<void> {
  const own = new AbortController();
  const signal = random.chance(0.5) ? shared : own.signal;
  const timeoutMs = random.pick([undefined, 20, 1000]);
  const options = { signal, timeoutMs };
  if (random.chance(0.2)) queueMicrotask(() => own.abort());
  const feed = (): Feed<Record<never, never>> => {
    const one = new Feed<Record<never, never>>({});
    if (random.chance(0.8)) one.end();
    else own.abort();
    return one;
  };
  switch (random.below(6)) {
    case 0:
      return void await client.nothing({}, options);
    case 1:
      return void await client.echo({ delayMillis: random.below(3) * 500 }, options);
    case 2:
      return void await client.sum(feed(), { ...options, signal: own.signal });
    case 3: {
      const most = random.below(6);
      for await (const { index } of client.count({ count: 4, bytes: 1 }, options)) {
        if (index === most) break;
      }
      return;
    }
    case 4:
      return void await drain(client.chat(feed(), { ...options, signal: own.signal }));
    default: {
      // Left before anything came.
      const stream = client.count({ count: 3, bytes: 1 }, options)[Symbol.asyncIterator]();
      await stream.return!();
    }
  }
}

clusterTest(`${views} views leave no channel, listener, timer or call behind`, async (cluster) => {
  const random = new Prng(41);
  const members = await cluster.members(12, { tags: ["a"] });
  members.push(...await cluster.members(2, { serves: false }));
  const router = cluster.router({ drainMs: 300, idleMs: 2000 }, members[5].address);
  const shared = new CountedAbort();
  const fates = new Map<number, number>();
  const calls = new Set<Promise<void>>();
  let most = 0;
  for (let view = 0; view < views; view++) {
    const current = members.filter(() => random.chance(0.6));
    cluster.view(...current);
    if (random.chance(0.05)) {
      cluster.offer(random.pick(members), ...(random.chance(0.8) ? [TestService] : []));
    }
    if (random.chance(0.3)) {
      const client = createRoutedClient(TestService, router, {
        pick: random.pick(picks),
        waitMs: random.pick([0, 100]),
        connectMs: 50,
      });
      const call = oneCall(client, random, shared.signal).then(
        () => void fates.set(0, (fates.get(0) ?? 0) + 1),
        (error: unknown) => {
          assert.ok(error instanceof CoveyError, `${error}`);
          fates.set(error.code, (fates.get(error.code) ?? 0) + 1);
        },
      ).finally(() => calls.delete(call));
      calls.add(call);
    }
    most = Math.max(most, router.channels);
    if (random.chance(0.2)) await turns(2);
    if (random.chance(0.02)) await cluster.stage.elapse(random.below(200));
  }
  assert.ok(most > 3 && most <= 3 * members.length, `channels at once: ${most}`);
  assert.deepEqual([cluster.views.callbacks.size, cluster.offers.callbacks.size], [1, 1]);
  await cluster.stage.elapse(2000);
  await Promise.all(calls);
  assert.deepEqual([shared.listeners, router.waiting, router.draining], [0, 0, 0]);
  const [one] = members;
  cluster.view(one);
  assert.deepEqual(router.offering(TestService).map(({ pending }) => pending), [0]);
  assert.ok(fates.size >= 4 && fates.get(0)! > 1000, `${[...fates]}`);
  await cluster.stage.elapse(5000);
  assert.equal(router.channels, 0, "what is idle was closed");
  assert.ok(cluster.channels.length > 300, `made and closed: ${cluster.channels.length}`);
  await cluster.assertGone(router);
  await cluster.stage.elapse(1000);
  assert.equal(cluster.stage.net.connections, 0);
});
