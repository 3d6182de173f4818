/** Only what was certainly not sent goes on to another member, within the call's one deadline. */
import assert from "node:assert/strict";
import { CoveyError } from "../../src/base/error.ts";
import { Prng } from "../../src/base/prng.ts";
import { createRoutedClient } from "../../src/routing/routed_client.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { CountedAbort } from "../ttrpc/support/counted_signal.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { drain, failure, Feed } from "../ttrpc/support/outcome.ts";
import type { TestClient } from "../ttrpc/support/stage.ts";
import { callCounts, clusterTest, failureWithin, type TestCluster } from "./support.ts";

/** Makes one call of each kind; gives how each ended, 0 for well. */
function everyKind(client: TestClient): Promise<number[]> {
  const feed = (): Feed<Record<never, never>> => {
    const one = new Feed<Record<never, never>>({});
    one.end();
    return one;
  };
  const code = (promise: Promise<unknown>): Promise<number> =>
    promise.then(() => 0, (error: CoveyError) => error.code);
  const ended = (stream: AsyncIterable<unknown>): Promise<number> =>
    drain(stream).then(({ error }) => error?.code ?? 0);
  return Promise.all([
    code(client.nothing({})),
    code(client.sum(feed())),
    ended(client.count({ count: 2, bytes: 0 })),
    ended(client.chat(feed())),
  ]);
}

for (const pick of ["round_robin", "least_pending", "nearest"] as const) {
  clusterTest(`members that nobody answers at are passed over, ${pick}`, async (cluster) => {
    const dead = await cluster.members(3, { serves: false });
    for (const { address } of dead) cluster.trips.set(address, 0.1);
    const member = await cluster.member();
    cluster.view(...dead, member);
    const { client, router } = cluster.client({ pick });
    for (let round = 0; round < 5; round++) {
      assert.deepEqual(await everyKind(client), [0, 0, 0, 0]);
    }
    assert.equal(member.calls.length, 20);
    // Then they are known to be down, and nobody is asked that would fail at once.
    const { retriesTotal } = router.counters;
    for (let round = 0; round < 5; round++) await everyKind(client);
    assert.equal(router.counters.retriesTotal, retriesTotal);
    assert.deepEqual(router.offering(TestService).map(({ pending }) => pending), [0, 0, 0, 0]);
    await cluster.assertGone(router);
  });
}

clusterTest(
  "by key: while the owner is away its keys go to the second, and come back",
  async (cluster) => {
    const members = await cluster.members(4);
    const away = await cluster.member({ serves: false });
    cluster.view(...members, away);
    const { client, router } = cluster.client({ pick: { key: ({ input }) => `${keyIn(input)}` } });
    const owners = async (): Promise<number[]> => {
      const owners: number[] = [];
      for (let code = 0; code < 30; code++) {
        const before = callCounts(members);
        await client.fail({ code, message: "" }).catch(() => {});
        owners.push(callCounts(members).findIndex((count, at) => count > before[at]));
      }
      return owners;
    };
    const first = await owners();
    assert.deepEqual(await owners(), first, "the same second for the same key");
    cluster.view(...members);
    assert.deepEqual(await owners(), first, "and it is the owner when the first one has left");
    assert.ok(!first.includes(-1));
    await cluster.assertGone(router);
  },
);

clusterTest(
  "each member is asked once, then the call fails with all that were tried",
  async (cluster) => {
    const dead = await cluster.members(3, { serves: false });
    cluster.view(...dead);
    const { client, router } = cluster.client();
    const error = await failure(client.nothing({}));
    assert.deepEqual([error.code, error.sent], [14, false]);
    assert.match(
      error.rawMessage,
      /^cannot reach tcp:.*: refused \(tried node\d, node\d, node\d\)$/,
    );
    assert.equal(new Set(error.rawMessage.match(/node\d/g)).size, 3);
    assert.equal(cluster.stage.net.dials, 3);
    assert.deepEqual(await everyKind(client), [14, 14, 14, 14]);
    assert.equal(cluster.stage.net.dials, 3, "during the back-off nobody is dialled again");
    cluster.view(dead[0]);
    assert.doesNotMatch((await failure(client.nothing({}))).rawMessage, /tried/);
    await cluster.assertGone(router);
  },
);

clusterTest("a call that may have been sent is never made again", async (cluster) => {
  const members = await cluster.members(3, {
    handlers: { nothing: () => new Promise(() => {}) },
  });
  cluster.view(...members);
  // A connection that breaks before its peer has served is a failed dial, with a pause behind it.
  cluster.channelOptions = { peer: "covey" };
  const { client, router } = cluster.client();
  for (let round = 0; round < 6; round++) {
    const before = callCounts(members);
    const call = failure(client.nothing({}));
    await turns();
    const at = callCounts(members).findIndex((count, index) => count > before[index]);
    // The connection breaks under the call.
    cluster.channels.find(({ address }) =>
      `tcp://127.0.0.1:${(address as { port: number }).port}` === members[at].address
    )!.link!.shut({ code: 14, message: "broken", details: [] });
    const error = await call;
    assert.deepEqual([error.code, error.sent], [14, true]);
    assert.equal(callCounts(members).reduce((sum, count) => sum + count), round + 1);
  }
  assert.equal(router.counters.retriesTotal, 0);
  await cluster.assertGone(router);
});

clusterTest("what a member's handler answers is the answer, whatever its code", async (cluster) => {
  const members = await cluster.members(3);
  cluster.view(...members);
  const { client, router } = cluster.client();
  for (let code = 1; code <= 16; code++) {
    assert.equal((await failure(client.fail({ code }))).code, code);
    assert.equal((await drain(client.failStream({ code }))).error?.code, code);
    const answered = await drain(client.failStream({ code, after: 2 }));
    assert.deepEqual([answered.messages.length, answered.error?.code], [2, code]);
  }
  assert.equal(callCounts(members).reduce((sum, count) => sum + count), 48);
  assert.equal(router.counters.retriesTotal, 0);
  await cluster.assertGone(router);
});

clusterTest("a member that shuts down refuses, and another one does it", async (cluster) => {
  const members = await cluster.members(2);
  cluster.view(...members);
  cluster.channelOptions = { peer: "covey" };
  const { client, router } = cluster.client();
  await everyKind(client);
  const stopped = members[0].server!.stop(0);
  await cluster.stage.elapse(10);
  await stopped;
  for (let round = 0; round < 3; round++) assert.deepEqual(await everyKind(client), [0, 0, 0, 0]);
  await cluster.assertGone(router);
});

clusterTest(
  "a member that is silent is left after connectMs while there are others",
  async (cluster) => {
    const members = await cluster.members(2);
    cluster.view(...members);
    cluster.silent.add(members[0].address);
    const { client, router } = cluster.client({ pick: { tag: "none" }, connectMs: 300 });
    for (const { address } of members) cluster.tags.set(address, ["none"]);
    cluster.offers.tell();
    let done = 0;
    const calls = Array.from({ length: 4 }, () => client.nothing({}).then(() => done++));
    await cluster.stage.elapse(299);
    assert.equal(done, 2, "those that began with the other one");
    await cluster.stage.elapse(1);
    await Promise.all(calls);
    assert.equal(members[1].calls.length, 4);
    await cluster.assertGone(router);
  },
);

clusterTest("who is slow to connect is asked when all others failed", async (cluster) => {
  const slow = await cluster.member();
  const dead = await cluster.member({ serves: false });
  cluster.view(slow, dead);
  cluster.silent.add(slow.address);
  cluster.trips.set(slow.address, 1);
  const { client, router } = cluster.client({ pick: "nearest", connectMs: 300 });
  const call = client.nothing({}, { timeoutMs: 60_000 });
  const stream = drain(client.count({ count: 3, bytes: 0 }));
  await cluster.stage.elapse(1000);
  cluster.silent.clear();
  // The dial under way goes on until its own time is over.
  const ended = Promise.all([failure(call), stream]);
  await cluster.stage.elapse(4000);
  const [error, { error: streamError }] = await ended;
  assert.match(error.rawMessage, /timeout \(tried node1, node0\)/);
  assert.equal(streamError?.code, 14);
  await cluster.stage.elapse(1000);
  await client.nothing({});
  assert.deepEqual(slow.calls, ["nothing"]);
  await cluster.assertGone(router);
});

clusterTest("waits for connections leave no timer and no waiter behind", async (cluster) => {
  const members = await cluster.members(3);
  cluster.view(...members);
  for (const [index, { address }] of members.entries()) cluster.trips.set(address, index + 1);
  cluster.silent.add(members[0].address);
  cluster.channelOptions = { dialTimeoutMs: 600_000, limits: { callsMax: 3 } };
  const { client, router } = cluster.client({ pick: "nearest", connectMs: 300 });
  for (let round = 1; round <= 10; round++) {
    const call = client.nothing({});
    await cluster.stage.elapse(300);
    await call;
    // One each of the dial, the other channel, its server and the router.
    assert.equal(cluster.stage.clock.timers, 4);
  }
  assert.deepEqual(callCounts(members), [0, 10, 0]);
  const [silent] = cluster.channels;
  assert.equal(silent.counters.limitHits.calls_per_connection, 0);
  await cluster.assertGone(router);
});

clusterTest("one deadline covers every try", async (cluster) => {
  const members = await cluster.members(5);
  cluster.view(...members);
  for (const { address } of members) cluster.silent.add(address);
  const { client, router } = cluster.client({ connectMs: 400 });
  const startMs = cluster.stage.clock.nowMs;
  let endedMs = 0;
  const calls = [
    failure(client.nothing({}, { timeoutMs: 1000 })),
    drain(client.count({}, { timeoutMs: 1000 })).then(({ error }) => error!),
    failure(
      createRoutedClient(TestService, router, { connectMs: 400, timeoutMs: 1000 }).nothing({}),
    ),
  ].map((call) => call.finally(() => endedMs = cluster.stage.clock.nowMs));
  await cluster.stage.elapse(1000);
  for (const error of await Promise.all(calls)) {
    assert.deepEqual([error.code, error.sent], [4, false]);
  }
  assert.equal(endedMs - startMs, 1000);
  await cluster.assertGone(router);
});

clusterTest("the channels' own deadline covers every try, too", async (cluster) => {
  const members = await cluster.members(3);
  cluster.view(...members);
  for (const { address } of members) cluster.silent.add(address);
  cluster.channelOptions = { timeoutMs: 1000 };
  const { client, router } = cluster.client({ connectMs: 400 });
  const error = await failureWithin(cluster, client.nothing({}), 1000);
  assert.equal(error.code, 4);
  await cluster.assertGone(router);
});

clusterTest("one deadline covers dials that fail late, whoever named it", async (cluster) => {
  const members = await cluster.members(5);
  cluster.view(...members);
  for (const { address } of members) cluster.silent.add(address);
  for (const [ofCall, ofChannel] of [[1000, undefined], [undefined, 1000]]) {
    cluster.channelOptions = { dialTimeoutMs: 300, timeoutMs: ofChannel };
    const { client, router } = cluster.client({ connectMs: 400 });
    const startMs = cluster.stage.clock.nowMs;
    let endedMs = 0;
    const call = failure(client.nothing({}, { timeoutMs: ofCall }))
      .finally(() => endedMs = cluster.stage.clock.nowMs);
    await cluster.stage.elapse(2000);
    assert.equal((await call).code, 4);
    assert.equal(endedMs - startMs, 1000);
    router.close();
  }
});

clusterTest("a later try has what the first one left of the time", async (cluster) => {
  const [silent, slow] = await cluster.members(2);
  cluster.silent.add(silent.address);
  for (const [ofCall, ofChannel] of [[1000, undefined], [undefined, 1000]]) {
    cluster.channelOptions = { dialTimeoutMs: 600, timeoutMs: ofChannel };
    cluster.view(silent);
    const { client, router } = cluster.client();
    let endedMs = 0;
    const startMs = cluster.stage.clock.nowMs;
    const call = failure(client.echo({ delayMillis: 1_000_000 }, { timeoutMs: ofCall }))
      .finally(() => endedMs = cluster.stage.clock.nowMs);
    await cluster.stage.elapse(300);
    cluster.view(silent, slow);
    await cluster.stage.elapse(2000);
    assert.equal((await call).code, 4);
    assert.equal(endedMs - startMs, 1000);
    router.close();
  }
  assert.deepEqual(callCounts([silent, slow]), [0, 2]);
});

clusterTest("an error that does not say whether it was sent ends the call", async (cluster) => {
  const members = await cluster.members(3, {
    handlers: {
      nothing(_request, context) {
        context.responseMetadata.append("a", "b");
        return {};
      },
    },
  });
  cluster.view(...members);
  cluster.channelOptions = { peer: "covey" };
  const { client, router } = cluster.client();
  const onResponseMetadata = (): void => {
    throw new CoveyError(14, "the caller's own mistake");
  };
  for (let round = 1; round <= 3; round++) {
    const error = await failure(client.nothing({}, { onResponseMetadata }));
    assert.deepEqual([error.rawMessage, error.sent], ["the caller's own mistake", undefined]);
    assert.equal(callCounts(members).reduce((sum, count) => sum + count), round);
  }
  await cluster.assertGone(router);
});

clusterTest("a signal ends a call wherever it is", async (cluster) => {
  const members = await cluster.members(3);
  cluster.view(...members);
  for (const { address } of members) cluster.silent.add(address);
  cluster.channelOptions = { dialTimeoutMs: 600_000 };
  const { client, router } = cluster.client({ connectMs: 400 });
  // In the first wait for a connection, in the second, and when the last one has all the time.
  for (const afterMs of [0, 300, 500, 900, 2000]) {
    for (const isStream of [false, true]) {
      const abort = new CountedAbort();
      const { signal } = abort;
      const call = isStream
        ? drain(client.count({}, { signal })).then(({ error }) => error!)
        : failure(client.nothing({}, { signal }));
      await cluster.stage.elapse(afterMs);
      abort.abort();
      const error = await call;
      assert.deepEqual([error.code, abort.listeners], [1, 0], `after ${afterMs} ms`);
      assert.equal(error.rawMessage, "the call was canceled");
    }
  }
  assert.deepEqual(router.offering(TestService).map(({ pending }) => pending), [0, 0, 0]);
  await cluster.assertGone(router);
});

clusterTest("a stream that is left while it looks for a member is over", async (cluster) => {
  const members = await cluster.members(2);
  cluster.view(...members);
  for (const { address } of members) cluster.silent.add(address);
  const { client, router } = cluster.client({ connectMs: 400 });
  for (const afterMs of [0, 300, 500, 900]) {
    const stream = client.count({ count: 1 })[Symbol.asyncIterator]();
    const read = stream.next();
    await cluster.stage.elapse(afterMs);
    await stream.return!();
    assert.deepEqual(await read, { done: true, value: undefined }, `after ${afterMs} ms`);
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
  }
  cluster.silent.clear();
  await cluster.stage.elapse(20_000);
  assert.deepEqual(callCounts(members), [0, 0]);
  assert.deepEqual(router.offering(TestService).map(({ pending }) => pending), [0, 0]);
  await cluster.assertGone(router);
});

clusterTest("input that was asked for is not asked for again elsewhere", async (cluster) => {
  const members = await cluster.members(2);
  cluster.view(...members);
  const { client, router } = cluster.client();
  let iterators = 0;
  const inputs: AsyncIterable<Record<never, never>> = {
    [Symbol.asyncIterator]: () => {
      iterators++;
      return new Feed<Record<never, never>>({});
    },
  };
  cluster.channelOptions = { peer: "covey" };
  await Promise.all([client.nothing({}), client.nothing({})]);
  const call = failure(client.sum(inputs));
  // Before anything of it is written.
  for (const { link } of cluster.channels) {
    link!.shut({ code: 14, message: "broken", details: [] });
  }
  const error = await call;
  assert.deepEqual([error.code, error.sent], [14, false]);
  assert.equal(iterators, 1);
  assert.equal(router.counters.retriesTotal, 0);
  await cluster.assertGone(router);
});

clusterTest("a member to which no channel can be made is passed over", async (cluster) => {
  const members = await cluster.members(2);
  cluster.view(...members);
  cluster.unusable.add(members[0].address);
  const { client, router } = cluster.client();
  for (let round = 0; round < 4; round++) assert.deepEqual(await everyKind(client), [0, 0, 0, 0]);
  cluster.view(members[0]);
  const error = await failure(client.nothing({}));
  assert.deepEqual([error.code, error.sent, error.rawMessage], [9, false, "no certificates"]);
  assert.equal((await drain(client.count({}))).error?.code, 9);
  assert.deepEqual(router.offering(TestService).map(({ pending }) => pending), [0]);
  await cluster.assertGone(router);
});

clusterTest("a member that comes while a call is being tried gets it", async (cluster) => {
  const dead = await cluster.members(2, { serves: false });
  const late = await cluster.member();
  for (const { address } of dead) cluster.silent.add(address);
  cluster.view(...dead);
  const { client, router } = cluster.client({ connectMs: 400 });
  const calls = everyKind(client);
  await cluster.stage.elapse(500);
  cluster.view(...dead, late);
  await cluster.stage.elapse(5000);
  assert.deepEqual(await calls, [0, 0, 0, 0]);
  await cluster.assertGone(router);
});

clusterTest(
  "whatever members do, each call runs once or not at all, and says which",
  async (cluster) => {
    const random = new Prng(21);
    const runs = new Map<number, number>();
    const init = {
      handlers: {
        fail(request: { after: number }) {
          runs.set(request.after, (runs.get(request.after) ?? 0) + 1);
          return {};
        },
      },
    };
    const members = await cluster.members(6, init);
    const dead = await cluster.members(2, { serves: false });
    cluster.view(...members, ...dead);
    const { client, router } = cluster.client({ connectMs: 50 });
    const outcomes: (boolean | undefined)[] = [];
    const calls: Promise<void>[] = [];
    for (let call = 0; call < 1500; call++) {
      calls.push(
        client.fail({ after: call }, { timeoutMs: 5000 }).then(
          () => void (outcomes[call] = true),
          (error: CoveyError) => void (outcomes[call] = error.sent),
        ),
      );
      if (random.chance(0.1)) breakOne(cluster, random);
      if (random.chance(0.05)) silence(cluster, members, random);
      if (random.chance(0.05)) cluster.view(...members.filter(() => random.chance(0.7)), ...dead);
      if (random.chance(0.2)) await turns(1 + random.below(3));
      if (random.chance(0.1)) await cluster.stage.elapse(100);
    }
    await cluster.stage.elapse(6000);
    await Promise.all(calls);
    let unsent = 0;
    for (const [call, sent] of outcomes.entries()) {
      const times = runs.get(call) ?? 0;
      assert.ok(sent !== undefined, "every outcome says whether it was sent");
      assert.ok(sent ? times <= 1 : times === 0, `call ${call}: sent ${sent}, ran ${times} times`);
      if (!sent) unsent++;
    }
    const { retriesTotal } = router.counters;
    assert.ok(
      runs.size > 700 && unsent > 0 && retriesTotal > 50,
      `${[runs.size, unsent, retriesTotal]}`,
    );
    await cluster.assertGone(router);
  },
);

function breakOne(cluster: TestCluster, random: Prng): void {
  const open = cluster.channels.filter(({ link }) => link !== undefined);
  if (open.length === 0) return;
  random.pick(open).link!.shut({ code: 14, message: "broken", details: [] });
}

function silence(
  cluster: TestCluster,
  members: readonly { readonly address: string }[],
  random: Prng,
): void {
  cluster.silent.clear();
  for (const { address } of members) if (random.chance(0.3)) cluster.silent.add(address);
}

function keyIn(input: unknown): number {
  return (input as { readonly code: number }).code;
}
