/** The Watch service, answer by answer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { encodeText } from "../../src/base/bytes.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Watch } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import type { KvClient } from "../../src/kv/client.ts";
import type { KvModuleOptions } from "../../src/kv/options.ts";
import { Requests } from "../../src/kv/client_requests.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { key, prefix, RawWatch, show } from "./raw_watch.ts";
import { clusterId, FakeCluster } from "./support.ts";

interface Scene {
  readonly cluster: FakeCluster;
  readonly kv: KvClient;
  readonly watch: RawWatch;
  open(metadata?: Readonly<Record<string, string>>): RawWatch;
}

function watchTest(
  name: string,
  body: (scene: Scene) => Promise<void>,
  options: KvModuleOptions = {},
): void {
  test(name, async () => {
    const cluster = new FakeCluster({ options });
    const opened: RawWatch[] = [];
    const open = (metadata?: Readonly<Record<string, string>>): RawWatch => {
      const watch = new RawWatch(cluster.nodes[0].local(Watch), metadata);
      opened.push(watch);
      return watch;
    };
    try {
      await body({ cluster, kv: cluster.client(), watch: open(), open });
    } finally {
      for (const watch of opened) watch.leave().catch(() => undefined);
      await cluster.close();
    }
  });
}

watchTest("a watch is created, told what happens, and nothing else", async ({ kv, watch }) => {
  await kv.put("a", "0");
  const created = await watch.created(key("a"));
  assert.equal(created.watchId, 1n);
  assert.equal(created.canceled, false);
  assert.equal(created.header?.revision, 2n);
  assert.equal(created.header?.clusterId, clusterId);
  await kv.put("b", "x");
  await kv.put("a", "1");
  const told = await watch.next();
  assert.deepEqual(told.events.map(show), ["put a=1@4"]);
  assert.equal(told.header?.revision, 4n);
  const [{ kv: entry }] = told.events;
  assert.deepEqual([entry?.createRevision, entry?.modRevision, entry?.version], [2n, 4n, 2n]);
  await kv.delete("a");
  assert.deepEqual((await watch.next()).events.map(show), ["delete a@5"]);
});

watchTest("intervals: a prefix, from a key on, everything", async ({ kv, watch }) => {
  await watch.created({ ...prefix("p/"), watchId: 1n });
  await watch.created({ key: encodeText("q"), rangeEnd: Uint8Array.of(0), watchId: 2n });
  await watch.created({ key: new Uint8Array(0), rangeEnd: Uint8Array.of(0), watchId: 3n });
  await kv.put("p/1", "");
  await kv.put("zz", "");
  const told: string[] = [];
  while (told.length < 4) {
    const { watchId, events } = await watch.next();
    for (const event of events) told.push(`${watchId}: ${show(event)}`);
  }
  const expected = ["1: put p/1=@2", "2: put zz=@3", "3: put p/1=@2", "3: put zz=@3"];
  assert.deepEqual(told.sort(), expected);
});

watchTest("filters and previous values", async ({ kv, watch }) => {
  await watch.created({ ...key("a"), watchId: 1n, filters: [0], prevKv: true });
  await watch.created({ ...key("a"), watchId: 2n, filters: [1], prevKv: true });
  await watch.created({ ...key("a"), watchId: 3n, filters: [0, 1] });
  await kv.put("a", "1");
  await kv.put("a", "2");
  await kv.delete("a");
  await kv.put("a", "3");
  const told = new Map<bigint, string[]>([[1n, []], [2n, []]]);
  while ([...told.values()].flat().length < 4) {
    const { watchId, events } = await watch.next();
    told.get(watchId)!.push(...events.map(show));
  }
  assert.deepEqual(told.get(1n), ["delete a@4 <2@3"]);
  assert.deepEqual(told.get(2n), ["put a=1@2", "put a=2@3 <1@2", "put a=3@5"]);
});

watchTest("from a revision of the past, then live", async ({ cluster, kv, watch }) => {
  for (let at = 0; at < 5; at++) await kv.put("a", `${at}`);
  await watch.created({ ...key("a"), startRevision: 3n });
  const told: string[] = [];
  const take = async (count: number): Promise<void> => {
    while (told.length < count) {
      const next = watch.next();
      await cluster.manual.advance(5);
      told.push(...(await next).events.map(show));
    }
  };
  await take(4);
  await kv.put("a", "5");
  await take(5);
  assert.deepEqual(told, ["put a=1@3", "put a=2@4", "put a=3@5", "put a=4@6", "put a=5@7"]);
});

watchTest("from a revision of the future", async ({ kv, watch }) => {
  const created = await watch.created({ ...key("a"), startRevision: 4n });
  assert.equal(created.canceled, false);
  for (let at = 2; at <= 5; at++) await kv.put("a", `${at}`);
  const first = await watch.next();
  assert.equal(show(first.events[0]), "put a=4@4");
});

watchTest("a compacted revision ends the watch and says where to begin", async (scene) => {
  const { cluster, kv, watch } = scene;
  for (let at = 0; at < 5; at++) await kv.put("a", `${at}`);
  await kv.compact(4);
  await watch.created({ ...key("a"), startRevision: 3n });
  const ended = await watch.next();
  assert.equal(ended.canceled, true);
  assert.equal(ended.compactRevision, 4n);
  assert.match(ended.cancelReason, /compacted: begin with 4 or later/);
  // The compacted revision itself is still there.
  await watch.created({ ...key("a"), startRevision: 4n, watchId: 9n });
  const next = watch.next();
  await cluster.manual.advance(5);
  assert.equal(show((await next).events[0]), "put a=2@4");
});

watchTest("a transaction's changes are told together", async ({ kv, watch }) => {
  await watch.created(prefix("t/"));
  const puts = [1, 2, 3].map((at) => ({ put: `t/${at}`, value: "x" }));
  await kv.transact({ success: puts });
  const { events } = await watch.next();
  assert.deepEqual(events.map(show), ["put t/1=x@2", "put t/2=x@2", "put t/3=x@2"]);
});

watchTest("canceling", async ({ kv, watch }) => {
  await watch.created({ ...key("a"), watchId: 7n });
  await watch.created({ ...key("a"), watchId: 8n });
  watch.cancel(7);
  const canceled = await watch.next();
  assert.deepEqual([canceled.watchId, canceled.canceled, canceled.created], [7n, true, false]);
  await kv.put("a", "1");
  assert.equal((await watch.next()).watchId, 8n);
  // As in etcd: no answer about one that is not there.
  watch.cancel(7);
  watch.cancel(99);
  // The number is free again.
  assert.equal((await watch.created({ ...key("b"), watchId: 7n })).canceled, false);
});

watchTest("ids that the node chooses pass over those of the client", async ({ watch }) => {
  await watch.created({ ...key("a"), watchId: 2n });
  const ids = [];
  for (let at = 0; at < 3; at++) ids.push((await watch.created(key("a"))).watchId);
  assert.deepEqual(ids, [1n, 3n, 4n]);
});

watchTest("what cannot be watched is refused, and the stream goes on", async ({ kv, watch }) => {
  const refused = async (
    create: Parameters<RawWatch["create"]>[0],
    reason: RegExp,
  ): Promise<void> => {
    const answer = await watch.created(create);
    assert.equal(answer.canceled, true);
    assert.equal(answer.watchId, -1n, "no watch that there is has ended");
    assert.match(answer.cancelReason, reason);
  };
  await watch.created({ ...key("a"), watchId: 5n });
  await refused({ ...key("a"), watchId: 5n }, /has a watch 5 already/);
  await refused({ ...key("a"), watchId: -1n }, /watch_id is -1/);
  await refused({ ...key("a"), startRevision: -3n }, /start_revision is -3/);
  await refused({ ...key("a"), startRevision: 1n << 60n }, /start_revision is/);
  await refused({ ...key("a"), filters: [7 as unknown as 0] }, /no filter 7/);
  await refused({ key: encodeText("b"), rangeEnd: encodeText("a") }, /no key lies in the range/);
  await refused({ key: encodeText("b"), rangeEnd: encodeText("b") }, /no key lies in the range/);
  watch.empty();
  await kv.put("a", "1");
  assert.equal((await watch.next()).watchId, 5n);
});

watchTest("limits on watches, of a stream and in all", async ({ cluster, watch, open }) => {
  for (let at = 0; at < 3; at++) assert.equal((await watch.created(key("a"))).canceled, false);
  const fourth = await watch.created(key("a"));
  assert.equal(fourth.canceled, true);
  assert.match(fourth.cancelReason, /as many watches as one may have \(3\): open another/);
  const other = open();
  assert.equal((await other.created(key("a"))).canceled, false);
  const sixth = await other.created(key("a"));
  assert.match(sixth.cancelReason, /as many watches as it may \(4\): ask another one/);
  assert.equal(cluster.nodes[0].module.hub.counters.limitHits, 2);
  // A stream that ends makes room.
  watch.finish();
  assert.deepEqual(await watch.take(), { done: true, value: undefined });
  await cluster.manual.advance(10);
  assert.equal((await other.created(key("a"))).canceled, false);
}, { watchesPerStreamMax: 3, watchesMax: 4 });

watchTest("a notice of progress on request", async ({ kv, watch }) => {
  await watch.created(key("a"));
  for (let at = 0; at < 3; at++) await kv.put("other", "");
  watch.askProgress();
  const notice = await watch.next();
  assert.equal(notice.watchId, -1n);
  assert.deepEqual([notice.header?.revision, notice.events.length], [4n, 0]);
});

watchTest("progress waits for those that are behind", async ({ cluster, kv, watch }) => {
  for (let at = 0; at < 5; at++) await kv.put("a", "");
  await watch.created({ ...key("a"), startRevision: 2n });
  watch.askProgress();
  const answers = [];
  while (answers.at(-1)?.watchId !== -1n) {
    const next = watch.next();
    await cluster.manual.advance(5);
    answers.push(await next);
  }
  assert.equal(answers.flatMap(({ events }) => events).length, 5);
});

watchTest("notices of progress by the clock, for watches that are quiet", async (scene) => {
  const { cluster, kv, watch } = scene;
  await watch.created({ ...key("a"), progressNotify: true, watchId: 1n });
  await watch.created({ ...key("b"), watchId: 2n });
  await kv.put("a", "1");
  assert.equal((await watch.next()).events.length, 1);
  await kv.put("c", "");
  // It was told something in the first interval.
  await cluster.manual.advance(1_000);
  const next = watch.next();
  await cluster.manual.advance(1_000);
  const notice = await next;
  assert.deepEqual([notice.watchId, notice.header?.revision], [1n, 3n]);
  watch.cancel(1);
  assert.equal((await watch.next()).canceled, true);
  await cluster.manual.advance(10);
  assert.equal(cluster.manual.timers, 0, "without such watches there is no timer");
}, { progressIntervalMs: 1_000 });

watchTest("a large revision: whole for one, in fragments for the other", async (scene) => {
  const { cluster, kv, watch } = scene;
  await watch.created({ ...prefix("k"), watchId: 1n });
  await watch.created({ ...prefix("k"), watchId: 2n, fragment: true });
  const puts = Array.from({ length: 100 }, (_, at) => ({
    put: `k${at}`,
    value: new Uint8Array(2_000),
  }));
  await kv.transact({ success: puts });
  const sizes = new Map<bigint, number[]>([[1n, []], [2n, []]]);
  const flags: boolean[] = [];
  while (flags.at(-1) !== false || sizes.get(1n)!.length === 0) {
    const next = watch.next();
    await cluster.manual.advance(2);
    const { watchId, events, fragment } = await next;
    sizes.get(watchId)!.push(events.length);
    if (watchId === 2n) flags.push(fragment);
  }
  assert.deepEqual(sizes.get(1n), [100]);
  assert.ok(sizes.get(2n)!.length > 2);
  assert.equal(sizes.get(2n)!.reduce((sum, count) => sum + count), 100);
  assert.ok(flags.slice(0, -1).every((flag) => flag));
});

watchTest("a revision larger than the queue, to a client that waits", async (scene) => {
  const { cluster, kv, watch } = scene;
  await watch.created({ ...prefix("k"), fragment: true });
  const next = watch.next();
  const puts = Array.from({ length: 50 }, (_, at) => ({ put: `k${at}`, value: "x" }));
  await kv.transact({ success: puts });
  await cluster.manual.advance(5);
  let answer = await next;
  let events = answer.events.length;
  while (answer.fragment) {
    const following = watch.next();
    await cluster.manual.advance(5);
    answer = await following;
    events += answer.events.length;
  }
  assert.equal(events, 50);
}, { watchQueueBytesMax: 300 });

watchTest("a revision that fits no message ends who wants it whole", async (scene) => {
  const { cluster, kv, watch } = scene;
  await watch.created({ ...prefix("k"), watchId: 1n });
  await watch.created({ ...prefix("k"), watchId: 2n, fragment: true });
  const puts = Array.from({ length: 100 }, (_, at) => ({
    put: `k${at}`,
    value: new Uint8Array(1_000),
  }));
  await kv.transact({ success: puts });
  let events = 0;
  let reason = "";
  while (events < 100 || reason === "") {
    const next = watch.next();
    await cluster.manual.advance(2);
    const answer = await next;
    if (answer.canceled) {
      assert.equal(answer.watchId, 1n);
      reason = answer.cancelReason;
    } else {
      assert.equal(answer.watchId, 2n);
      events += answer.events.length;
    }
  }
  assert.match(reason, /revision 2 are more than may wait for one message: watch with fragment/);
}, { messageBytesMax: 80_000 });

watchTest("an event that fits no message ends the watch and says how to go on", async (scene) => {
  const { kv, watch } = scene;
  await kv.put("k", new Uint8Array(30_000));
  await watch.created({ ...key("k"), watchId: 1n, prevKv: true, fragment: true });
  await watch.created({ ...key("k"), watchId: 2n });
  await kv.put("k", new Uint8Array(30_000));
  const answers = [await watch.next(), await watch.next()];
  const ended = answers.find(({ canceled }) => canceled);
  assert.equal(ended?.watchId, 1n);
  assert.match(ended?.cancelReason ?? "", /revision 3 is larger than a message.*without prev_kv/);
  assert.equal(answers.find(({ canceled }) => !canceled)?.events.length, 1);
}, { messageBytesMax: 50_000 });

watchTest("the end of the requests ends the stream", async ({ cluster, watch }) => {
  await watch.created(key("a"));
  watch.finish();
  assert.deepEqual(await watch.take(), { done: true, value: undefined });
  await cluster.manual.advance(10);
  const { watches, streams } = cluster.nodes[0].module.hub.counters;
  assert.deepEqual([watches, streams], [0, 0]);
});

watchTest("a node that shuts down says so", async ({ cluster, watch }) => {
  await watch.created(key("a"));
  const next = watch.take();
  cluster.nodes[0].module.stop();
  await assert.rejects(next, /shutting down: ask another one/);
});

watchTest("without a leader for long, who asked for one is sent away", async (scene) => {
  const { cluster, watch, open } = scene;
  const strict = open({ hasleader: "true" });
  await strict.created(key("a"));
  await watch.created(key("a"));
  const told = strict.take();
  told.catch(() => undefined);
  cluster.elect(undefined);
  await cluster.manual.advance(1_900);
  cluster.elect(0);
  await cluster.manual.advance(3_000);
  cluster.elect(undefined);
  await cluster.manual.advance(2_100);
  await assert.rejects(told, (error) => {
    assert.ok(error instanceof CoveyError);
    assert.match(error.message, /\[unavailable\] this node knows of no leader/);
    return true;
  });
  await assert.rejects(open({ hasleader: "true" }).take(), /knows of no leader/);
  cluster.elect(0);
  await turns();
  await open({ hasleader: "true" }).created(key("a"));
  await scene.kv.put("a", "1");
  assert.equal((await watch.next()).events.length, 1);
}, { leaderlessMs: 2_000 });

test("a fault of the node's own in a watch is logged, and told as one", async () => {
  const logged: string[] = [];
  const logger = { ...silentLogger, error: (message: string) => void logged.push(message) };
  const cluster = new FakeCluster({ logger });
  const { module } = cluster.nodes[0];
  module.hub.attach = () => {
    throw new TypeError("a slip of the pen");
  };
  const requests = new Requests<{ request: { case: "createRequest"; value: object } }>();
  requests.push({ request: { case: "createRequest", value: key("a") } });
  const read = async (): Promise<void> => {
    for await (const _answer of cluster.nodes[0].local(Watch).watch(requests));
  };
  const error = await read().then(() => undefined, (thrown) => thrown);
  assert.ok(error instanceof CoveyError, `${error}`);
  assert.equal(error.code, Code.internal);
  assert.deepEqual(logged, ["a request of a watch failed"]);
  requests.end();
  await cluster.close();
});
