/** Very many watches, and readers that do not read. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText } from "../../src/base/bytes.ts";
import { Watch, type WatchResponse } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import type { Change } from "../../src/kv/core/changes.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { key, prefix, RawWatch } from "./raw_watch.ts";
import { FakeCluster } from "./support.ts";
import { Watcher } from "../../src/kv/watcher.ts";

const watches = 10_000;

/** The next answer; time moves only where it takes some. */
async function nextOf(cluster: FakeCluster, watch: RawWatch): Promise<WatchResponse> {
  const next = watch.next();
  let isThere = false;
  next.then(() => isThere = true, () => isThere = true);
  await turns(1);
  while (!isThere) await cluster.manual.advance(1);
  return await next;
}

test("10,000 watches on distinct keys: a put reaches its own and costs no more", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.client();
  const watch = new RawWatch(cluster.nodes[0].local(Watch));
  for (let at = 0; at < watches; at++) {
    watch.create({ ...key(`key/${at}`), watchId: BigInt(at + 1) });
  }
  let created = 0;
  while (created < watches) {
    if ((await nextOf(cluster, watch)).created) created++;
  }
  assert.equal(cluster.nodes[0].module.hub.counters.watches, watches);
  // Whoever is asked about a change is asked here.
  let asked = 0;
  const { changed } = Watcher.prototype;
  Watcher.prototype.changed = function (this: Watcher, change: Change): void {
    asked++;
    changed.call(this, change);
  };
  try {
    for (const at of [0, 17, 9_999]) {
      await kv.put(`key/${at}`, "x");
      const { watchId, events } = await nextOf(cluster, watch);
      assert.deepEqual([watchId, events.length], [BigInt(at + 1), 1]);
    }
    for (let at = 0; at < 100; at++) await kv.put(`other/${at}`, "x");
    assert.equal(asked, 3);
  } finally {
    Watcher.prototype.changed = changed;
  }
  watch.finish();
  await watch.take();
  await cluster.manual.advance(200);
  assert.equal(cluster.nodes[0].module.hub.counters.watches, 0);
  await cluster.close();
});

test("10,000 watches of one prefix: all are told, in turns", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.client();
  const watch = new RawWatch(cluster.nodes[0].local(Watch));
  for (let at = 0; at < watches; at++) watch.create({ ...prefix("p/"), watchId: BigInt(at + 1) });
  let created = 0;
  while (created < watches) {
    if ((await nextOf(cluster, watch)).created) created++;
  }
  await kv.put("p/1", "x");
  await kv.put("p/2", "x");
  const told = new Map<bigint, number>();
  let events = 0;
  while (events < 2 * watches) {
    const answer = await nextOf(cluster, watch);
    events += answer.events.length;
    told.set(answer.watchId, (told.get(answer.watchId) ?? 0) + answer.events.length);
  }
  assert.equal(told.size, watches);
  assert.ok([...told.values()].every((count) => count === 2));
  await cluster.close();
});

test("10,000 watches from the past are told it by one walk through history", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.client();
  for (let at = 0; at < 2_000; at++) await kv.put(`key/${at % 50}`, "");
  const watch = new RawWatch(cluster.nodes[0].local(Watch));
  for (let at = 0; at < watches; at++) {
    watch.create({ ...key(`key/${at}`), startRevision: 2n, watchId: BigInt(at + 1) });
  }
  const { machine } = cluster.nodes[0].module;
  let walked = 0;
  const changes = machine.changes.bind(machine);
  machine.changes = (request) =>
    changes({
      ...request,
      visit: (change) => {
        walked++;
        return request.visit(change);
      },
    });
  let events = 0;
  while (events < 2_000) {
    events += (await nextOf(cluster, watch)).events.length;
  }
  // They do not all arrive at once: each group that does is one walk.
  assert.ok(walked < 200 * 2_000, `${walked} changes were looked at`);
  await kv.put("key/9999", "live");
  for (;;) {
    const answer = await nextOf(cluster, watch);
    if (answer.events.length === 0) continue;
    assert.equal(answer.watchId, 10_000n);
    break;
  }
  await cluster.close();
});

test("a reader that does not read costs its queue, and is told everything when it does", async () => {
  const queue = 10_000;
  const cluster = new FakeCluster({ options: { watchQueueBytesMax: queue } });
  const kv = cluster.client();
  const slow = new RawWatch(cluster.nodes[0].local(Watch));
  const quick = new RawWatch(cluster.nodes[0].local(Watch));
  await slow.created(prefix("k"));
  await quick.created(prefix("k"));
  const { counters } = cluster.nodes[0].module.hub;
  let told = 0;
  for (let at = 0; at < 1_000; at++) {
    await kv.put(`k${at % 10}`, new Uint8Array(100));
    told += (await nextOf(cluster, quick)).events.length;
  }
  assert.equal(told, 1_000);
  assert.equal(counters.streamsSlow, 1);
  assert.equal(counters.slowTotal, 1);
  const { queuedBytes } = cluster.nodes[0].module.hub;
  assert.ok(queuedBytes < queue + 500, `${queuedBytes} bytes wait for 1,000 events of 100`);
  const revisions: number[] = [];
  while (revisions.length < 1_000) {
    const { events } = await nextOf(cluster, slow);
    for (const { kv: entry } of events) revisions.push(Number(entry?.modRevision));
  }
  // The first took the session.
  const [first] = revisions;
  assert.deepEqual(revisions, Array.from({ length: 1_000 }, (_, at) => first + at));
  assert.equal(counters.streamsSlow, 0);
  await kv.put("k", "live");
  assert.equal((await slow.next()).events.length, 1);
  await cluster.close();
});

test("a reader that stays behind a compaction is told that", async () => {
  const cluster = new FakeCluster({ options: { watchQueueBytesMax: 2_000 } });
  const kv = cluster.client();
  const slow = new RawWatch(cluster.nodes[0].local(Watch));
  await slow.created({ ...prefix("k"), watchId: 1n });
  await slow.created({ ...prefix("other"), watchId: 2n });
  for (let at = 0; at < 100; at++) await kv.put(`k${at}`, new Uint8Array(100));
  const { machine, hub } = cluster.nodes[0].module;
  await kv.compact(machine.revision);
  const ended = new Map<bigint, number>();
  let events = 0;
  while (ended.size < 2) {
    const answer = await nextOf(cluster, slow);
    events += answer.events.length;
    if (answer.canceled) ended.set(answer.watchId, Number(answer.compactRevision));
  }
  assert.ok(events > 0 && events < 100);
  assert.deepEqual([...ended.values()], [machine.compactRevision, machine.compactRevision]);
  assert.equal(hub.counters.compactedTotal, 2);
  await cluster.close();
});

test("an entry that changes very much is told in turns, and nobody is left out", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.client();
  for (let at = 0; at < 100; at++) {
    const success = Array.from({ length: 120 }, (_, index) => ({
      put: `k/${at}/${index}`,
      value: "x",
    }));
    await kv.transact({ success });
  }
  const streams = [0, 1].map(() => new RawWatch(cluster.nodes[0].local(Watch)));
  await streams[0].created({ ...prefix("k/"), fragment: true });
  await streams[1].created({ ...prefix("k/7"), fragment: true });
  const deleted = kv.delete({ prefix: "k/" });
  // What comes right behind it must not overtake it.
  await turns();
  const last = kv.put("k/7", "last");
  const told = [0, 0];
  const lasts: string[] = [];
  for (const [at, stream] of streams.entries()) {
    for (let revision = 0; lasts.length <= at;) {
      const { events } = await nextOf(cluster, stream);
      for (const { type, kv: entry } of events) {
        assert.ok(Number(entry!.modRevision) >= revision);
        revision = Number(entry!.modRevision);
        if (type === 1) told[at]++;
        else lasts.push(new TextDecoder().decode(entry!.key));
      }
    }
  }
  assert.equal((await deleted).deleted, 12_000);
  assert.equal((await last).revision, (await deleted).revision + 1);
  assert.deepEqual(told, [12_000, 11 * 120]);
  assert.deepEqual(lasts, ["k/7", "k/7"]);
  await cluster.close();
});

test("answers nobody takes hold up the requests of that stream alone", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.client();
  const idle = new RawWatch(cluster.nodes[0].local(Watch));
  for (let at = 0; at < 5_000; at++) {
    idle.create({ key: encodeText("b"), rangeEnd: encodeText("a") });
  }
  await cluster.manual.advance(10);
  const other = new RawWatch(cluster.nodes[0].local(Watch));
  await other.created(key("a"));
  await kv.put("a", "1");
  assert.equal((await other.next()).events.length, 1);
  // They are answered when they are taken.
  for (let at = 0; at < 5_000; at++) {
    assert.equal((await nextOf(cluster, idle)).canceled, true);
  }
  await cluster.close();
});
