/** Members that leave get no new calls; those under way go on for a while, and then end. */
import assert from "node:assert/strict";
import { Prng } from "../../src/base/prng.ts";
import { createRoutedClient } from "../../src/routing/routed_client.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { drain, failure, Feed } from "../ttrpc/support/outcome.ts";
import { callCounts, clusterTest } from "./support.ts";

clusterTest(
  "calls under way at a leaver go on, and then its channel is closed",
  async (cluster) => {
    const members = await cluster.members(2);
    cluster.view(...members);
    const { client, router } = cluster.client({ pick: { name: "node0" } });
    const call = client.echo({ delayMillis: 5000 });
    const feed = new Feed<Record<never, never>>({});
    const stream = client.chat(feed)[Symbol.asyncIterator]();
    await stream.next();
    cluster.view(members[1]);
    assert.deepEqual([router.channels, router.draining], [1, 1]);
    assert.match((await failure(client.nothing({}))).rawMessage, /no member with the name "node0"/);
    feed.push({});
    assert.equal((await stream.next()).done, false, "the stream is not disturbed");
    await cluster.stage.elapse(5000);
    await call;
    assert.deepEqual([router.channels, router.draining], [1, 1], "the stream still goes on");
    feed.end();
    assert.equal((await stream.next()).done, true);
    assert.deepEqual([router.channels, router.draining], [0, 0]);
    assert.equal(cluster.channels[0].state, "closed");
    assert.equal(router.counters.cutTotal, 0);
    await cluster.assertGone(router);
  },
);

clusterTest("an idle leaver's channel is closed at once", async (cluster) => {
  const members = await cluster.members(3);
  cluster.view(...members);
  const { client, router } = cluster.client();
  for (let call = 0; call < 6; call++) await client.nothing({});
  assert.equal(router.channels, 3);
  cluster.view(members[2]);
  assert.deepEqual([router.channels, router.draining], [1, 0]);
  await turns();
  assert.equal(cluster.stage.net.connections, 2, "both ends of one");
  await cluster.assertGone(router);
});

clusterTest(
  "what is not done when the time to drain is over fails with unavailable",
  async (cluster) => {
    const members = await cluster.members(2);
    cluster.view(...members);
    const { client, router } = cluster.client({ pick: { name: "node0" } }, { drainMs: 8000 });
    const single = failure(client.echo({ delayMillis: 1_000_000 }));
    const upload = failure(client.sum(new Feed<Record<never, never>>({})));
    const stream = drain(client.chat(new Feed<Record<never, never>>({})));
    const unread = client.count({ count: 1, bytes: 1 })[Symbol.asyncIterator]();
    await turns();
    cluster.view(members[1]);
    await cluster.stage.elapse(7999);
    assert.equal(router.draining, 1);
    await cluster.stage.elapse(1);
    const text = `node0 (${members[0].address}) has left the cluster, and the call was not done ` +
      "within 8000 ms";
    const { messages, error } = await stream;
    assert.equal(messages.length, 1, "what had come is given out first");
    for (const one of [await single, await upload, error!]) {
      assert.deepEqual([one.code, one.rawMessage, one.sent], [14, text, true]);
    }
    assert.deepEqual([router.channels, router.draining, router.counters.cutTotal], [0, 0, 4]);
    assert.equal((await unread.next()).done, false, "what had come can still be read");
    await unread.return!();
    assert.deepEqual(members[1].calls, [], "none of them was made again");
    await cluster.assertGone(router);
  },
);

clusterTest("what waits unsent for a leaver is done by another one", async (cluster) => {
  const members = await cluster.members(2);
  cluster.view(members[0]);
  cluster.silent.add(members[0].address);
  cluster.channelOptions = { dialTimeoutMs: 600_000 };
  const { client, router } = cluster.client({}, { drainMs: 2000 });
  const calls = [client.nothing({}), drain(client.count({ count: 2, bytes: 0 }))];
  await turns();
  cluster.view(members[1]);
  await cluster.stage.elapse(1999);
  assert.deepEqual(members[1].calls, []);
  await cluster.stage.elapse(1);
  await Promise.all(calls);
  assert.deepEqual([...members[1].calls].sort(), ["count", "nothing"]);
  await cluster.assertGone(router);
});

clusterTest("a node that rejoins keeps its calls, and its channel", async (cluster) => {
  const [member, other] = await cluster.members(2);
  cluster.view(member, other);
  const { client, router } = cluster.client({ pick: { name: "node0" } }, { drainMs: 2000 });
  const call = client.echo({ delayMillis: 10_000 });
  await turns();
  cluster.view(other);
  await cluster.stage.elapse(1500);
  cluster.view({ ...member, name: "node0" }, other);
  await client.nothing({});
  await cluster.stage.elapse(8500);
  await call;
  assert.equal(cluster.channels.length, 1);
  assert.deepEqual([router.draining, router.counters.cutTotal], [0, 0]);
  // It leaves once more, and again has all the time there is.
  const later = failure(client.echo({ delayMillis: 10_000 }));
  await turns();
  cluster.view(other);
  await cluster.stage.elapse(1999);
  assert.equal(router.draining, 1);
  await cluster.stage.elapse(1);
  assert.equal((await later).code, 14);
  await cluster.assertGone(router);
});

clusterTest("another node at the same address gets a channel of its own", async (cluster) => {
  const member = await cluster.member();
  cluster.view(member);
  const { client, router } = cluster.client();
  const call = client.echo({ delayMillis: 1000 });
  await turns();
  cluster.view({ ...member, nodeId: "0".repeat(32), name: "successor" });
  await client.nothing({});
  assert.deepEqual([cluster.channels.length, router.draining], [2, 1]);
  await cluster.stage.elapse(1000);
  await call;
  assert.deepEqual(cluster.channels.map(({ state }) => state), ["closed", "ready"]);
  await cluster.assertGone(router);
});

clusterTest("a node that comes back at another address is called there", async (cluster) => {
  const [before, after] = await cluster.members(2);
  cluster.view(before);
  const { client, router } = cluster.client();
  await client.nothing({});
  cluster.view({ ...after, nodeId: before.nodeId, name: before.name });
  await client.nothing({});
  assert.deepEqual(callCounts([before, after]), [1, 1]);
  assert.deepEqual(cluster.channels.map(({ state }) => state), ["closed", "ready"]);
  await cluster.assertGone(router);
});

clusterTest(
  "a member that only withdraws the service keeps its calls without a limit",
  async (cluster) => {
    const members = await cluster.members(2);
    cluster.view(...members);
    const { client, router } = cluster.client({ pick: "least_pending" }, { drainMs: 100 });
    const calls = [client.echo({ delayMillis: 60_000 }), client.echo({ delayMillis: 60_000 })];
    await turns();
    cluster.offer(members[0]);
    for (let call = 0; call < 5; call++) await client.nothing({});
    assert.deepEqual(callCounts(members), [1, 6]);
    await cluster.stage.elapse(60_000);
    await Promise.all(calls);
    cluster.offer(members[0], TestService);
    await client.nothing({});
    assert.deepEqual(callCounts(members), [2, 6]);
    await cluster.assertGone(router);
  },
);

clusterTest(
  "a channel that nobody used for long is closed, and made again when needed",
  async (cluster) => {
    const members = await cluster.members(2);
    cluster.view(...members);
    const { client, router } = cluster.client({ pick: { tag: "a" } }, { idleMs: 10_000 });
    for (const { address } of members) cluster.tags.set(address, ["a"]);
    cluster.offers.tell();
    await Promise.all([client.nothing({}), client.nothing({})]);
    await cluster.stage.elapse(9000);
    await Promise.all([client.nothing({}), client.nothing({})]);
    await cluster.stage.elapse(9999);
    assert.deepEqual([router.channels, cluster.channels.length], [2, 2], "used a while ago");
    const busy = createRoutedClient(TestService, router, { pick: { name: "node1" } });
    const long = busy.echo({ delayMillis: 60_000 });
    await cluster.stage.elapse(19_999);
    assert.equal(router.channels, 1, "the one with a call under way stays");
    await cluster.stage.elapse(45_000);
    await long;
    await cluster.stage.elapse(20_000);
    assert.equal(router.channels, 0);
    await turns();
    assert.deepEqual([cluster.stage.net.connections, cluster.stage.clock.timers], [0, 0]);
    await Promise.all([client.nothing({}), client.nothing({})]);
    assert.deepEqual([router.channels, cluster.channels.length], [2, 4]);
    await cluster.assertGone(router);
  },
);

clusterTest("a router that closes ends everything, with calls under way", async (cluster) => {
  const members = await cluster.members(3);
  cluster.view(...members);
  const { client, router } = cluster.client();
  const calls = members.map(() => failure(client.echo({ delayMillis: 1000 })));
  await turns();
  cluster.view(members[0]);
  router.close();
  for (const call of calls) assert.equal((await call).code, 1);
  assert.equal((await failure(client.nothing({}))).rawMessage, "the node is stopping");
  // The servers look after their connections for a moment longer.
  await cluster.stage.elapse(2000);
  assert.equal(cluster.stage.clock.timers, 0, "no timer is left");
  cluster.view(...members);
  assert.deepEqual(router.members, []);
  await cluster.assertGone(router);
});

clusterTest(
  "whatever the views are, a new call goes to a member of the newest alone",
  async (cluster) => {
    const random = new Prng(31);
    const members = await cluster.members(8);
    cluster.view(...members);
    const router = cluster.router({ drainMs: 50 });
    const clients = (["round_robin", "least_pending", "nearest", { key: () => "k" }] as const)
      .map((pick) => createRoutedClient(TestService, router, { pick, waitMs: 10_000 }));
    const hanging: Promise<unknown>[] = [];
    for (let step = 0; step < 400; step++) {
      const current = new Set(members.filter(() => random.chance(0.5)));
      // Members in any order: the router sorts them.
      cluster.view(...[...current].sort(() => random.chance(0.5) ? 1 : -1));
      for (const { address } of members) cluster.trips.set(address, random.below(9));
      const arrived = (): number[] =>
        members.map(({ calls }) => calls.filter((name) => name === "nothing").length);
      const before = arrived();
      const calls = clients.flatMap((client) => [client.nothing({}), client.nothing({})]);
      if (current.size > 0) await Promise.all(calls);
      for (const [at, count] of arrived().entries()) {
        if (!current.has(members[at])) assert.equal(count, before[at], `step ${step}, node${at}`);
      }
      // Calls of before may still be under way at those that left.
      hanging.push(random.pick(clients).echo({ delayMillis: random.below(2000) }).catch(() => {}));
      await turns(random.below(4));
      if (current.size === 0) {
        assert.ok(router.waiting >= calls.length, "they wait for anybody");
        cluster.view(...members);
        await Promise.all(calls);
      }
      if (random.chance(0.3)) await cluster.stage.elapse(random.below(300));
    }
    cluster.view(...members);
    await cluster.stage.elapse(3000);
    await Promise.all(hanging);
    assert.deepEqual([router.draining, router.waiting], [0, 0]);
    assert.ok(router.counters.cutTotal > 10, "some calls were cut");
    await cluster.assertGone(router);
  },
);
