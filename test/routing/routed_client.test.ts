/** Calls of all kinds go to the member that the policy picks, and to nobody when there is none. */
import assert from "node:assert/strict";
import { CoveyError } from "../../src/base/error.ts";
import { MetricsRegistry } from "../../src/base/metrics.ts";
import { showRoutingMetrics } from "../../src/routing/metrics.ts";
import { createRoutedClient } from "../../src/routing/routed_client.ts";
import type { MemberPick, RoutedClientOptions } from "../../src/routing/options.ts";
import { Router } from "../../src/routing/router.ts";
import { createLocalClient } from "../../src/ttrpc/local_client.ts";
import { ServiceRegistry } from "../../src/ttrpc/registry.ts";
import type { ClientInterceptor } from "../../src/ttrpc/service.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { CountedAbort } from "../ttrpc/support/counted_signal.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { drain, failure, Feed } from "../ttrpc/support/outcome.ts";
import type { TestClient } from "../ttrpc/support/stage.ts";
import { callCounts, clusterTest, failureWithin } from "./support.ts";

/** One call of each kind, with what it must give. */
async function everyKind(client: TestClient): Promise<void> {
  const payload = new Uint8Array([7]);
  assert.deepEqual((await client.echo({ payload })).payload, payload);
  const counted = await drain(client.count({ count: 3, bytes: 1 }));
  assert.deepEqual(counted.messages.map(({ index }) => index), [0, 1, 2]);
  const numbers = new Feed({ value: 2n }, { value: 3n });
  numbers.end();
  assert.equal((await client.sum(numbers)).sum, 5n);
  const said = new Feed({ payload }, { payload });
  said.end();
  const answers = await drain(client.chat(said));
  assert.deepEqual([answers.messages.length, answers.error], [2, undefined]);
}

clusterTest("calls of all four kinds go around the members", async (cluster) => {
  const members = await cluster.members(4);
  cluster.view(...members);
  const { client, router } = cluster.client();
  for (let round = 0; round < 4; round++) await everyKind(client);
  assert.deepEqual(callCounts(members), [4, 4, 4, 4]);
  // Sixteen calls in turn: each kind met each member once.
  for (const { calls } of members) assert.equal(calls.length, 4);
  assert.equal(router.counters.callsTotal, 16);
  assert.equal(router.channels, 4);
  await cluster.assertGone(router);
});

clusterTest("a routed client serves as the handlers of its service", async (cluster) => {
  const members = await cluster.members(2);
  cluster.view(...members);
  const { client, router } = cluster.client();
  const proxy = await cluster.stage.serve({ handlers: client });
  const outside = cluster.stage.dial(proxy.address).client;
  await everyKind(outside);
  const answer = await outside.echo({ metadataKey: "who" }, {
    metadata: { who: "me" },
    timeoutMs: 5000,
  });
  assert.deepEqual([answer.metadataValues, answer.hasDeadline], [["me"], true]);
  assert.deepEqual(callCounts(members).reduce((sum, count) => sum + count), 5);
  await cluster.assertGone(router);
});

clusterTest("in turn goes by address, however the view lists its members", async (cluster) => {
  const members = await cluster.members(4);
  cluster.view(members[2], members[0], members[3], members[1]);
  const { client, router } = cluster.client();
  const order: number[] = [];
  for (let call = 0; call < 8; call++) {
    const before = callCounts(members);
    await client.nothing({});
    order.push(callCounts(members).findIndex((count, at) => count > before[at]));
  }
  assert.deepEqual(order, order.map((_, call) => (order[0] + call) % 4));
  assert.deepEqual(router.members.map(({ name }) => name), ["node0", "node1", "node2", "node3"]);
  await cluster.assertGone(router);
});

clusterTest("one client per service, one channel per member for all of them", async (cluster) => {
  const members = await cluster.members(3);
  cluster.view(...members);
  const router = cluster.router();
  for (let index = 0; index < 50; index++) {
    await createRoutedClient(TestService, router, { pick: "least_pending" }).nothing({});
  }
  assert.equal(cluster.channels.length, 3);
  assert.equal(cluster.views.callbacks.size, 1, "clients hold no subscription");
  await cluster.assertGone(router);
});

clusterTest("by name, by tag, nearest and by key", async (cluster) => {
  const members = await cluster.members(5);
  for (const index of [1, 3]) cluster.tags.set(members[index].address, ["ssd"]);
  for (const [index, { address }] of members.entries()) cluster.trips.set(address, 9 - index);
  cluster.view(...members);
  const router = cluster.router();
  const called = async (pick: MemberPick, times = 4): Promise<number[]> => {
    for (const { calls } of members) calls.length = 0;
    const client = createRoutedClient(TestService, router, { pick });
    for (let call = 0; call < times; call++) await client.echo({ delayMillis: 0 });
    return callCounts(members);
  };
  assert.deepEqual(await called({ name: "node2" }), [0, 0, 4, 0, 0]);
  assert.deepEqual(await called({ tag: "ssd" }), [0, 2, 0, 2, 0]);
  assert.deepEqual(await called({ tag: "ssd", then: "nearest" }), [0, 0, 0, 4, 0]);
  assert.deepEqual(await called("nearest"), [0, 0, 0, 0, 4]);
  const counts = await called({ key: () => "the same" });
  assert.deepEqual([...counts].sort(), [0, 0, 0, 0, 4]);
  assert.deepEqual(await called({ key: () => new TextEncoder().encode("the same") }), counts);
  const tagged = await called({ tag: "ssd", then: { key: () => "the same" } });
  assert.deepEqual([tagged[1] + tagged[3], tagged.includes(4)], [4, true]);
  await cluster.assertGone(router);
});

clusterTest("a key of the request sends equal requests to the same member", async (cluster) => {
  const members = await cluster.members(6);
  cluster.view(...members);
  const owner = new Map<number, number>();
  const { client, router } = cluster.client({
    pick: {
      key: ({ input, method }) => `${method.name}/${(input as unknown as { code: number }).code}`,
    },
  });
  for (let round = 0; round < 3; round++) {
    for (let code = 0; code < 20; code++) {
      const before = callCounts(members);
      await client.fail({ code, message: "" }).catch(() => {});
      const at = callCounts(members).findIndex((count, index) => count > before[index]);
      assert.equal(owner.get(code) ?? at, at);
      owner.set(code, at);
    }
  }
  assert.ok(new Set(owner.values()).size >= 4, "and others to others");
  await cluster.assertGone(router);
});

clusterTest("least pending: calls that hang push the others elsewhere", async (cluster) => {
  const members = await cluster.members(3);
  cluster.view(...members);
  const { client, router } = cluster.client({ pick: "least_pending" });
  const stop = new CountedAbort();
  const hanging = [0, 1].map(() =>
    failure(client.echo({ delayMillis: 1_000_000 }, { signal: stop.signal }))
  );
  await turns();
  const free = members.findIndex(({ calls }) => calls.length === 0);
  for (let call = 0; call < 10; call++) await client.nothing({});
  assert.equal(members[free].calls.length, 10);
  stop.abort();
  for (const hung of hanging) assert.equal((await hung).code, 1);
  assert.equal(stop.listeners, 0);
  await cluster.assertGone(router);
});

clusterTest("a stream counts as pending until it is read to its end, or left", async (cluster) => {
  const members = await cluster.members(2);
  cluster.view(...members);
  const { client, router } = cluster.client({ pick: "least_pending" });
  const stream = client.count({ count: 2, bytes: 0 })[Symbol.asyncIterator]();
  await stream.next();
  const [reading, other] = members[0].calls.length === 1 ? members : [...members].reverse();
  await client.nothing({});
  await client.nothing({});
  assert.deepEqual([reading.calls, other.calls], [["count"], ["nothing", "nothing"]]);
  await stream.next();
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
  await client.nothing({});
  assert.deepEqual(reading.calls, ["count", "nothing"], "idle again, and longer so");
  for await (const _ of client.count({ count: 5, bytes: 0 })) break;
  const feed = new Feed<Record<never, never>>();
  const left = client.chat(feed)[Symbol.asyncIterator]();
  await left.return!();
  const [a, b] = router.offering(TestService);
  assert.deepEqual([a.pending, b.pending], [0, 0]);
  await cluster.assertGone(router);
});

clusterTest(
  "a call to oneself goes to the own handlers, and counts as the nearest",
  async (cluster) => {
    const members = await cluster.members(3);
    for (const { address } of members) cluster.trips.set(address, 0.1);
    cluster.view(...members);
    const router = cluster.router({}, members[1].address);
    const client = createRoutedClient(TestService, router, { pick: "nearest" });
    await everyKind(client);
    assert.deepEqual(callCounts(members), [0, 0, 0]);
    assert.deepEqual(cluster.localCalls, ["echo", "count", "sum", "chat"]);
    assert.deepEqual([router.counters.localCallsTotal, router.channels], [4, 0]);
    const abort = new CountedAbort();
    const { signal } = abort;
    // Left while it is read, and while nothing comes.
    const feed = new Feed<Record<never, never>>({});
    const stream = client.chat(feed, { signal })[Symbol.asyncIterator]();
    await stream.next();
    const read = stream.next();
    await stream.return!();
    assert.deepEqual(await read, { done: true, value: undefined });
    assert.equal(abort.listeners, 0);
    const aborted = drain(client.chat(new Feed<Record<never, never>>(), { signal }));
    await turns();
    abort.abort();
    assert.equal((await aborted).error?.code, 1);
    assert.equal((await failure(client.nothing({}, { signal }))).code, 1);
    assert.equal(abort.listeners, 0);
    // Without a way to call itself the node is a member like any other.
    const { local: _, ...parts } = cluster.parts(members[1].address);
    const dialling = new Router(parts);
    await createRoutedClient(TestService, dialling, { pick: { name: "node1" } }).nothing({});
    assert.deepEqual(callCounts(members), [0, 1, 0]);
    dialling.close();
    await cluster.assertGone(router);
  },
);

clusterTest("what a handler of this process throws is never tried elsewhere", async (cluster) => {
  const members = await cluster.members(2);
  cluster.view(...members);
  const router = cluster.router({}, members[0].address);
  const failing = new ServiceRegistry();
  const { client } = cluster.client();
  failing.add(TestService, {
    ...client,
    nothing() {
      throw new CoveyError(14, "what it called was away", { sent: false });
    },
  });
  const parts = cluster.parts(members[0].address);
  const own = new Router({
    ...parts,
    local: (service) =>
      createLocalClient(service, {
        registry: failing,
        clock: parts.clock,
        identity: { kind: "local", name: "self" },
        address: { kind: "tcp", host: "127.0.0.1", port: 1 },
      }),
  });
  const routed = createRoutedClient(TestService, own, { pick: "nearest" });
  assert.equal((await failure(routed.nothing({}))).rawMessage, "what it called was away");
  assert.deepEqual(callCounts(members), [0, 0]);
  own.close();
  router.close();
});

clusterTest("nobody offers it: unavailable, not sent, and who the members are", async (cluster) => {
  const members = await cluster.members(3);
  const { client, router } = cluster.client();
  const empty = await failure(client.nothing({}));
  assert.equal(
    empty.message,
    "[unavailable] no member offers service covey.test.v1.TestService; members: none",
  );
  cluster.view(...members);
  for (const member of members) cluster.offer(member);
  for (const stream of [false, true]) {
    const error = stream
      ? (await drain(client.count({ count: 1 }))).error!
      : await failure(client.nothing({}));
    assert.equal(
      error.rawMessage,
      "no member offers service covey.test.v1.TestService; members: node0, node1, node2",
    );
    assert.deepEqual([error.code, error.sent], [14, false]);
  }
  cluster.offer(members[1], TestService);
  const named = createRoutedClient(TestService, router, { pick: { name: "node2" } });
  assert.equal(
    (await failure(named.nothing({}))).rawMessage,
    'no member with the name "node2" offers service covey.test.v1.TestService; ' +
      "offered by: node1; members: node0, node1, node2",
  );
  cluster.view(...await cluster.members(14), members[0]);
  assert.match(
    (await failure(named.nothing({}))).rawMessage,
    /offered by: node3, node4, .*, node12 and 4 more; members: .* and 5 more$/,
  );
  assert.equal(router.counters.unofferedTotal, 5);
  await cluster.assertGone(router);
});

clusterTest("a call waits for the first member to offer it", async (cluster) => {
  const members = await cluster.members(3);
  const { client, router } = cluster.client({ waitMs: 2000 });
  const calls = [
    client.nothing({}),
    client.sum(closedFeed({ value: 4n })),
    drain(client.count({ count: 2, bytes: 0 })),
    drain(client.chat(closedFeed({}))),
  ];
  await cluster.stage.elapse(1500);
  assert.equal(router.waiting, 4);
  cluster.offer(members[2]);
  cluster.view(members[2]);
  await turns();
  assert.equal(router.waiting, 4, "a member that does not offer it is not enough");
  cluster.offer(members[2], TestService);
  await Promise.all(calls);
  assert.deepEqual(callCounts(members), [0, 0, 4]);
  assert.deepEqual([router.waiting, router.counters.waitsTotal], [0, 4]);
  await cluster.assertGone(router);
});

clusterTest(
  "a wait ends by its time, the deadline, the signal, leaving, or the end",
  async (cluster) => {
    const { client, router } = cluster.client({ waitMs: 2000 }, { waitersMax: 3 });
    assert.equal((await failureWithin(cluster, client.nothing({}), 2000)).code, 14);
    assert.equal(
      (await failureWithin(cluster, client.nothing({}, { timeoutMs: 500 }), 500)).code,
      4,
    );
    assert.equal((await failureWithin(cluster, client.nothing({}, { timeoutMs: 0 }), 0)).code, 4);
    assert.equal((await failure(client.nothing({}, { timeoutMs: NaN }))).code, 4);
    const abort = new CountedAbort();
    const aborted = client.nothing({}, { signal: abort.signal });
    abort.abort();
    assert.equal((await failure(aborted)).code, 1);
    assert.equal((await failure(client.nothing({}, { signal: abort.signal }))).code, 1);
    const timedOut = new CountedAbort();
    const late = client.nothing({}, { signal: timedOut.signal });
    timedOut.abort(new DOMException("late", "TimeoutError"));
    assert.equal((await failure(late)).code, 4);
    assert.deepEqual([abort.listeners, timedOut.listeners], [0, 0]);
    const stream = client.count({ count: 1 })[Symbol.asyncIterator]();
    const first = stream.next();
    await stream.return!();
    assert.deepEqual(await first, { done: true, value: undefined });
    assert.deepEqual([router.waiting, cluster.stage.clock.timers], [0, 0]);

    const waiting = [1, 2, 3].map(() => failure(client.nothing({})));
    await turns();
    const refused = await failure(client.nothing({}));
    assert.deepEqual([refused.code, refused.sent], [8, false]);
    assert.equal(router.counters.waitsRefusedTotal, 1);
    router.close();
    for (const error of await Promise.all(waiting)) {
      assert.deepEqual([error.code, error.rawMessage], [1, "the node is stopping"]);
    }
    assert.equal((await failure(client.nothing({}))).code, 1);
    assert.deepEqual([router.waiting, cluster.stage.clock.timers], [0, 0]);
    await cluster.assertGone(router);
  },
);

clusterTest("the request metadata and the response's pass, and the deadline", async (cluster) => {
  const member = await cluster.member({
    handlers: {
      nothing(_request, context) {
        context.responseMetadata.append("left", `${context.timeoutMs}`);
        return {};
      },
    },
  });
  cluster.view(member);
  cluster.channelOptions = { peer: "covey" };
  const { client, router } = cluster.client({ timeoutMs: 700 });
  let left: string | undefined;
  const onResponseMetadata = (metadata: { get(key: string): string | undefined }): void => {
    left = metadata.get("left");
  };
  await client.nothing({}, { onResponseMetadata });
  assert.equal(left, "700", "the client's own, where the call names none");
  await client.nothing({}, { onResponseMetadata, timeoutMs: 300 });
  assert.equal(left, "300");
  await cluster.assertGone(router);
});

clusterTest(
  "interceptors are around the whole call, once, the first outermost",
  async (cluster) => {
    const [dead, member] = [await cluster.member({ serves: false }), await cluster.member()];
    cluster.view(dead, member);
    const order: string[] = [];
    const noted = (name: string): ClientInterceptor => (call, next) => {
      order.push(`${name} ${call.method.name}`);
      return next(call);
    };
    const { client, router } = cluster.client({ interceptors: [noted("a"), noted("b")] });
    await client.nothing({});
    await client.nothing({});
    assert.deepEqual(order, ["a Nothing", "b Nothing", "a Nothing", "b Nothing"]);
    await cluster.assertGone(router);
  },
);

clusterTest("what cannot be a client's options is refused when it is made", async (cluster) => {
  const bad: readonly RoutedClientOptions[] = [
    { pick: "fastest" as MemberPick },
    { pick: { key: "text" } as unknown as MemberPick },
    { pick: { tag: "a", then: { key: 3 } } as unknown as MemberPick },
    { waitMs: -1 },
    { waitMs: NaN },
    { waitMs: Infinity },
    { connectMs: 0 },
  ];
  const router = cluster.router();
  for (const options of bad) {
    assert.throws(
      () => createRoutedClient(TestService, router, options),
      (error: unknown) => error instanceof CoveyError && error.code === 3,
    );
  }
  assert.throws(() => cluster.router({ drainMs: -1 }));
  assert.throws(() => cluster.router({ idleMs: 0 }));
  cluster.view(...await cluster.members(2));
  for (const key of [() => 7 as never, () => undefined as never, () => failing()]) {
    const client = createRoutedClient(TestService, router, { pick: { key } });
    const error = await failure(client.nothing({}));
    assert.deepEqual([error.code, error.sent], [3, false]);
    assert.match(error.rawMessage, /^the key of the call is /);
  }
  await cluster.assertGone(router);
});

clusterTest(
  "a request that is none is the caller's error, and nobody is called",
  async (cluster) => {
    const members = await cluster.members(2);
    cluster.view(...members);
    const { client, router } = cluster.client();
    const bad = { payload: 7 } as unknown as Record<never, never>;
    assert.equal((await failure(client.echo(bad))).code, 3);
    assert.equal((await drain(client.count({ count: "x" } as never))).error?.code, 3);
    assert.equal(router.counters.retriesTotal, 0);
    const [a, b] = router.offering(TestService);
    assert.deepEqual([a.pending, b.pending], [0, 0]);
    await cluster.assertGone(router);
  },
);

clusterTest("the numbers of a router in the node's registry", async (cluster) => {
  const members = await cluster.members(2);
  cluster.view(...members);
  const router = cluster.router({ waitersMax: 0 }, members[0].address);
  const registry = new MetricsRegistry();
  showRoutingMetrics(registry, router);
  const client = createRoutedClient(TestService, router, { pick: { name: "node1" } });
  await Promise.all([client.nothing({}), createRoutedClient(TestService, router).nothing({})]);
  await createRoutedClient(TestService, router, { pick: { name: "node0" } }).nothing({});
  const nobody = { pick: { name: "nobody" } };
  await failure(createRoutedClient(TestService, router, nobody).nothing({}));
  await failure(createRoutedClient(TestService, router, { ...nobody, waitMs: 10 }).nothing({}));
  const text = registry.expose("prometheus");
  const local = cluster.localCalls.length;
  for (
    const line of [
      "covey_routing_calls_total 5",
      `covey_routing_local_calls_total ${local}`,
      "covey_routing_retries_total 0",
      "covey_routing_unoffered_total 1",
      "covey_routing_waits_total 0",
      "covey_routing_channels 1",
      "covey_routing_draining_members 0",
      'covey_limit_hit_total{limit="routing_waiters"} 1',
    ]
  ) assert.ok(text.includes(`\n${line}\n`), `${line} in ${text}`);
  await cluster.assertGone(router);
});

clusterTest("a stream is read by one reader at a time", async (cluster) => {
  cluster.view(await cluster.member());
  const { client, router } = cluster.client();
  const feed = new Feed<Record<never, never>>({});
  const stream = client.chat(feed)[Symbol.asyncIterator]();
  const reads = [stream.next(), stream.next()];
  assert.equal((await failure(reads[1])).code, 9);
  assert.equal((await reads[0]).done, false, "the first reader is not disturbed");
  feed.push({});
  assert.equal((await stream.next()).done, false, "and the stream goes on");
  await stream.return!();
  await cluster.assertGone(router);
});

function failing(): string {
  throw new Error("no such field");
}

function closedFeed<T>(...messages: readonly T[]): Feed<T> {
  const feed = new Feed<T>(...messages);
  feed.end();
  return feed;
}
