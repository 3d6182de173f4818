/** The client's watch: every event once, whatever happens to nodes and streams. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { Prng } from "../../src/base/prng.ts";
import { CompactedError } from "../../src/kv/client_error.ts";
import type { KvClient } from "../../src/kv/client.ts";
import { Watch } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import type { KvWatch, KvWatchEvent } from "../../src/kv/client_types.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { key, RawWatch, show as showRaw } from "./raw_watch.ts";
import { FakeCluster, settle } from "./support.ts";

function show(event: KvWatchEvent): string {
  if (event.type === "progress") return `progress@${event.revision}`;
  const { type, entry, revision } = event;
  return `${type} ${entry.keyText}${type === "put" ? `=${entry.text}` : ""}@${revision}`;
}

async function take(cluster: FakeCluster, watch: KvWatch, count: number): Promise<string[]> {
  const told: string[] = [];
  while (told.length < count) {
    const { value, done } = await settle(cluster, watch.next(), 1);
    assert.ok(!done);
    told.push(show(value));
  }
  return told;
}

test("events one by one, live and from the past", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.client();
  const live = kv.watch({ prefix: "k" }, { previous: true });
  await live.ready;
  assert.equal(live.revision, 1);
  await kv.put("k1", "a");
  await kv.put("other", "");
  await kv.put("k1", "b");
  await kv.delete("k1");
  const expected = ["put k1=a@2", "put k1=b@4", "delete k1@5"];
  assert.deepEqual(await take(cluster, live, 3), expected);
  const past = kv.watch({ prefix: "k" }, { from: 2 });
  assert.deepEqual(await take(cluster, past, 3), expected);
  const puts = kv.watch({ prefix: "k" }, { from: 2, withoutDeletes: true });
  assert.deepEqual(await take(cluster, puts, 2), expected.slice(0, 2));
  const deletes = kv.watch({ prefix: "k" }, { from: 2, withoutPuts: true });
  assert.deepEqual(await take(cluster, deletes, 1), expected.slice(2));
  for (const watch of [live, past, puts, deletes]) watch.close();
  assert.deepEqual(await live.next(), { done: true, value: undefined });
  await cluster.close();
});

test("closing, leaving the loop, and a signal end it", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.client();
  const { counters } = cluster.nodes[0].module.hub;
  const watch = kv.watch("a");
  await watch.ready;
  const pending = watch.next();
  watch.close();
  assert.deepEqual(await pending, { done: true, value: undefined });
  {
    await using left = kv.watch("a");
    await left.ready;
    await kv.put("a", "1");
    for await (const event of left) {
      assert.equal(show(event), "put a=1@2");
      break;
    }
  }
  const controller = new AbortController();
  const aborted = kv.watch("a", { signal: controller.signal });
  await aborted.ready;
  const next = aborted.next();
  controller.abort();
  await assert.rejects(
    next,
    (error) => error instanceof CoveyError && error.code === Code.canceled,
  );
  await cluster.manual.advance(20);
  assert.deepEqual([counters.watches, counters.streams], [0, 0]);
  await cluster.close();
});

test("a node that goes away: another one goes on right behind", async () => {
  const cluster = new FakeCluster({ nodes: 3 });
  const kv = cluster.client();
  const watch = kv.watch({ prefix: "k" });
  await watch.ready;
  await kv.put("k", "1");
  assert.deepEqual(await take(cluster, watch, 1), ["put k=1@2"]);
  cluster.nodes[0].module.stop();
  cluster.elect(1);
  const other = cluster.client({ nodes: [1, 2] });
  await settle(cluster, other.put("k", "2"));
  await settle(cluster, other.put("k", "3"));
  const told = await take(cluster, watch, 2);
  assert.deepEqual(told.map((text) => text.split("@")[0]), ["put k=2", "put k=3"]);
  assert.equal(cluster.nodes[1].module.hub.counters.watches, 1);
  watch.close();
  await cluster.close();
});

test("a node that is behind is waited for, not believed", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const kv = cluster.client();
  const watch = kv.watch("k");
  await watch.ready;
  cluster.nodes[1].paused = true;
  await kv.put("k", "1");
  await kv.put("k", "2");
  assert.equal((await take(cluster, watch, 2)).length, 2);
  cluster.nodes[0].module.stop();
  await cluster.manual.advance(100);
  const next = watch.next();
  cluster.nodes[1].resume();
  cluster.elect(1);
  const other = cluster.client({ nodes: [1] });
  await settle(cluster, other.put("k", "3"));
  const { value } = await settle(cluster, next);
  assert.match(show(value as KvWatchEvent), /^put k=3/);
  watch.close();
  await cluster.close();
});

test("compacted away: a typed error, with where to begin", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.client();
  for (let at = 0; at < 5; at++) await kv.put("a", `${at}`);
  await kv.compact(4);
  const watch = kv.watch("a", { from: 2 });
  const error = await watch.next().catch((thrown) => thrown);
  assert.ok(error instanceof CompactedError);
  assert.equal(error.compactRevision, 4);
  assert.deepEqual(await watch.next(), { done: true, value: undefined });
  await cluster.close();
});

test("a watch that is refused says why", async () => {
  const cluster = new FakeCluster({ options: { watchesMax: 1 } });
  const kv = cluster.client();
  const first = kv.watch("a");
  await first.ready;
  const second = kv.watch("a");
  await assert.rejects(second.ready, /the node refused the watch: this node serves as many/);
  await assert.rejects(second.next(), /serves as many watches as it may \(1\)/);
  await cluster.close();
});

test("progress, where it is asked for", async () => {
  const cluster = new FakeCluster({ options: { progressIntervalMs: 1_000 } });
  const kv = cluster.client();
  const watch = kv.watch("a", { progress: true });
  await watch.ready;
  for (let at = 0; at < 3; at++) await kv.put("other", "");
  const next = watch.next();
  await cluster.manual.advance(2_100);
  assert.deepEqual((await next).value, { type: "progress", revision: 4 });
  assert.equal(watch.revision, 4);
  watch.close();
  await cluster.close();
});

test("a consumer that takes its time loses nothing", async () => {
  const cluster = new FakeCluster({ options: { watchQueueBytesMax: 3_000 } });
  const kv = cluster.client();
  const watch = kv.watch({ prefix: "k" });
  await watch.ready;
  for (let at = 0; at < 300; at++) await kv.put("k", `${at}`);
  const told = await take(cluster, watch, 300);
  assert.deepEqual(
    told.map((text) => text.split("@")[0]),
    Array.from({ length: 300 }, (_, at) => `put k=${at}`),
  );
  watch.close();
  await cluster.close();
});

test("a stream that is lost within a revision: the rest of it comes, and nothing twice", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const kv = cluster.client();
  for (const taken of [1, 10, 60]) {
    const watch = kv.watch({ prefix: `k${taken}/` });
    await settle(cluster, watch.ready);
    const puts = Array.from({ length: 100 }, (_, at) => ({
      put: `k${taken}/${String(at).padStart(2, "0")}`,
      value: new Uint8Array(2_000),
    }));
    await settle(cluster, kv.transact({ success: puts }));
    const told: string[] = [];
    const next = async (): Promise<void> => {
      const { value } = await settle(cluster, watch.next(), 1);
      if (value.type !== "progress") told.push(value.entry.keyText);
    };
    while (told.length < taken) await next();
    const error = new CoveyError(Code.unavailable, "the connection was lost");
    for (const { module } of cluster.nodes) module.hub.endWhere(() => true, error);
    while (told.length < 100) await next();
    assert.deepEqual(told, puts.map(({ put }) => put));
    await settle(cluster, kv.put(`k${taken}/last`, ""));
    await next();
    assert.equal(told.at(-1), `k${taken}/last`);
    watch.close();
  }
  await cluster.close();
});

test("random losses, restores, large revisions: every event once and in order", async () => {
  let losses = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const prng = new Prng(seed);
    const cluster = new FakeCluster({
      nodes: 3,
      options: { watchQueueBytesMax: prng.pick([500, 20_000]), messageBytesMax: 200_000 },
    });
    const writer = cluster.client({ nodes: [0] });
    const reader = cluster.client({ nodes: [1, 2] });
    const watch = reader.watch({ prefix: "k" }, { previous: prng.chance(0.5) });
    await settle(cluster, watch.ready);
    const told: string[] = [];
    let broken: unknown;
    const reading = (async () => {
      for await (const event of watch) told.push(show(event));
    })().catch((error) => broken = error);
    const expected: string[] = [];
    for (let step = 0; step < 120; step++) {
      const choice = prng.below(10);
      if (choice < 6) {
        const { revision } = await writer.put(`k${prng.below(5)}`, `${step}`);
        expected.push(`@${revision}`);
      } else if (choice < 8) {
        const success = Array.from({ length: prng.between(2, 60) }, (_, at) => ({
          put: `k/${at}`,
          value: new Uint8Array(prng.below(1_500)),
        }));
        const { revision } = await writer.transact({ success });
        for (const _ of success) expected.push(`@${revision}`);
      } else if (choice === 8) {
        // Whoever serves the watch ends all of its streams.
        const error = new CoveyError(Code.unavailable, "the connection was lost");
        for (const node of cluster.nodes.slice(1)) {
          node.module.hub.endWhere(() => {
            losses++;
            return true;
          }, error);
        }
      } else {
        const node = prng.pick(cluster.nodes.slice(1));
        node.restoreFrom(cluster.nodes[0]).finish();
      }
      await cluster.manual.advance(prng.below(40));
    }
    for (let rounds = 0; told.length < expected.length && rounds < 2_000; rounds++) {
      await cluster.manual.advance(20);
      assert.equal(broken, undefined, `seed ${seed}: ${broken}`);
    }
    assert.deepEqual(told.map((text) => text.slice(text.indexOf("@"))), expected, `seed ${seed}`);
    watch.close();
    await reading;
    await cluster.close();
  }
  assert.ok(losses > 50, `${losses} losses`);
  await turns();
});

/** What the watch can no longer be told: everything there was. */
async function forget(cluster: FakeCluster, kv: KvClient): Promise<number> {
  for (let at = 0; at < 3; at++) await settle(cluster, kv.put("other", `${at}`));
  const { revision } = await settle(cluster, kv.put("other", "last"));
  await settle(cluster, kv.compact(revision));
  return revision;
}

test("a quiet watch is told how far it is before a compaction, and goes on behind that", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const kv = cluster.client();
  await kv.put("k", "0");
  const watch = kv.watch("k", { from: 2 });
  assert.deepEqual(await take(cluster, watch, 1), ["put k=0@2"]);
  const next = watch.next();
  const compacted = await forget(cluster, kv);
  await cluster.manual.advance(20);
  assert.equal(watch.revision, compacted);
  const error = new CoveyError(Code.unavailable, "the connection was lost");
  for (const { module } of cluster.nodes) module.hub.endWhere(() => true, error);
  const { revision } = await settle(cluster, kv.put("k", "1"));
  assert.equal(show((await settle(cluster, next)).value as KvWatchEvent), `put k=1@${revision}`);
  watch.close();
  await cluster.close();
});

test("a quiet watch that came back is told how far it is, where half of history is behind it", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const kv = cluster.client();
  const watch = kv.watch("k");
  await watch.ready;
  const next = watch.next();
  for (let at = 0; at < 10; at++) await settle(cluster, kv.put("other", `${at}`));
  assert.equal(watch.revision, 1, "nothing was compacted: it was not told");
  const cut = (): void => {
    const error = new CoveyError(Code.unavailable, "the connection was lost");
    for (const { module } of cluster.nodes) module.hub.endWhere(() => true, error);
  };
  cut();
  await cluster.manual.advance(500);
  assert.equal(watch.revision, 11, "the node that it found told it");
  // It is away while everything is compacted that it was told of.
  cut();
  await settle(cluster, kv.compact(11));
  const { revision } = await settle(cluster, kv.put("k", "1"));
  assert.equal(show((await settle(cluster, next)).value as KvWatchEvent), `put k=1@${revision}`);
  watch.close();
  await cluster.close();
});

test("watches that asked for no progress, or know enough, are not told at a compaction", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.client();
  const raw = new RawWatch(cluster.nodes[0].local(Watch));
  await raw.created({ ...key("k"), watchId: 1n });
  await raw.created({ ...key("k"), watchId: 2n, progressNotify: true });
  for (let at = 0; at < 10; at++) await settle(cluster, kv.put("other", `${at}`));
  await settle(cluster, kv.compact(6));
  const { watchId, header, events } = await settle(cluster, raw.next());
  assert.deepEqual([watchId, header?.revision, events], [2n, 11n, []]);
  await settle(cluster, kv.compact(7));
  await cluster.manual.advance(20);
  await settle(cluster, kv.put("k", "1"));
  for (const id of [1n, 2n]) {
    const { watchId, events } = await settle(cluster, raw.next());
    assert.deepEqual([watchId, events.map((event) => showRaw(event))], [id, ["put k=1@12"]]);
  }
  await raw.leave();
  await cluster.close();
});
