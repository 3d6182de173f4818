/** The client: typed in and out, retries that are applied once, deadlines, limits. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { encodeText } from "../../src/base/bytes.ts";
import { Prng } from "../../src/base/prng.ts";
import { KV } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { CompactedError, leaderOf, refusalOf } from "../../src/kv/client_error.ts";
import type { KvCallOptions } from "../../src/kv/client_types.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { clusterId, FakeCluster, settle } from "./support.ts";

function clientTest(
  name: string,
  nodes: number,
  body: (cluster: FakeCluster) => Promise<void>,
): void {
  test(name, async () => {
    const cluster = new FakeCluster({ nodes });
    try {
      await body(cluster);
    } finally {
      await cluster.close();
    }
  });
}

async function versionOf(cluster: FakeCluster, key: string): Promise<bigint> {
  const { kvs } = await cluster.nodes[0].local(KV).range({ key: encodeText(key) });
  return kvs[0]?.version ?? 0n;
}

clientTest("text and bytes in, entries out", 1, async (cluster) => {
  const kv = cluster.client();
  const put = await kv.put("a", "1");
  assert.deepEqual(put.header, {
    clusterId,
    replica: 1,
    revision: 2,
    term: cluster.term,
  });
  assert.deepEqual([put.revision, put.previous], [2, undefined]);
  await kv.put(encodeText("b"), Uint8Array.of(255));
  const a = await kv.get("a");
  assert.deepEqual([a?.keyText, a?.text, a?.version, a?.lease], ["a", "1", 1, 0]);
  const b = await kv.get(encodeText("b"));
  assert.equal(b?.text, undefined, "bytes that are no text are told as such");
  assert.deepEqual(b?.value, Uint8Array.of(255));
  assert.equal(await kv.get("c"), undefined);
  assert.equal((await kv.put("a", "2", { previous: true })).previous?.text, "1");
});

clientTest("selections and range options", 1, async (cluster) => {
  const kv = cluster.client();
  for (const key of ["a", "b/1", "b/2", "c"]) await kv.put(key, key.toUpperCase());
  const keys = async (...args: Parameters<typeof kv.range>): Promise<string> =>
    (await kv.range(...args)).entries.map(({ keyText }) => keyText).join(" ");
  assert.equal(await keys({ prefix: "b/" }), "b/1 b/2");
  assert.equal(await keys({ prefix: "" }), "a b/1 b/2 c");
  assert.equal(await keys({ from: "b" }), "b/1 b/2 c");
  assert.equal(await keys({ from: "", to: "b" }), "a");
  assert.equal(await keys({ prefix: "" }, { order: "descend", limit: 2 }), "c b/2");
  assert.equal(await keys({ prefix: "" }, { sortBy: "mod", order: "descend" }), "c b/2 b/1 a");
  const counted = await kv.range({ prefix: "" }, { countOnly: true });
  assert.deepEqual([counted.count, counted.entries.length], [4, 0]);
  const limited = await kv.range({ prefix: "" }, { limit: 1, keysOnly: true });
  assert.deepEqual([limited.more, limited.entries[0].value.length], [true, 0]);
  assert.equal((await kv.range("a", { revision: 2 })).entries[0].text, "A");
  await assert.rejects(kv.range({ from: "a", to: "" }), /an interval's end is empty/);
  await assert.rejects(kv.range("a", { limit: -1 }), /limit is -1/);
  await assert.rejects(kv.range("a", { revision: 1.5 }), /revision is 1.5/);
  const deleted = await kv.delete({ prefix: "b/" }, { previous: true });
  assert.deepEqual([deleted.deleted, deleted.previous.map(({ text }) => text)], [2, [
    "B/1",
    "B/2",
  ]]);
});

clientTest("transactions, plain and step by step", 1, async (cluster) => {
  const kv = cluster.client();
  const first = await kv.transact({
    compare: [{ keys: "a", version: 0 }],
    success: [{ put: "a", value: "1" }, { range: "a" }],
    failure: [{ delete: "a" }],
  });
  assert.ok(first.succeeded);
  assert.deepEqual(first.results.map(({ kind }) => kind), ["put", "range"]);
  const second = await kv.transaction()
    .if({ keys: "a", value: "2" }, { keys: "a", is: ">", createRevision: 1 })
    .do({ put: "a", value: "3" })
    .otherwise(
      { put: "a", value: undefined, previous: true },
      { transaction: { success: [{ delete: "none" }] } },
    )
    .commit();
  assert.ok(!second.succeeded);
  const [put, nested] = second.results;
  assert.ok(put.kind === "put" && put.previous?.text === "1");
  assert.ok(nested.kind === "transaction" && nested.succeeded);
  assert.deepEqual(nested.results, [{ kind: "delete", deleted: 0, previous: [] }]);
  assert.equal((await kv.get("a"))?.version, 2);
  for (
    const compare of [
      { keys: "a", modRevision: second.revision },
      { keys: "a", lease: 0 },
      { keys: "a", is: "!=", value: "x" },
      { keys: { prefix: "" }, is: "<", version: 3 },
    ] as const
  ) assert.ok((await kv.transact({ compare: [compare] })).succeeded);
});

clientTest("compaction: typed errors", 1, async (cluster) => {
  const kv = cluster.client();
  for (let at = 0; at < 4; at++) await kv.put("a", `${at}`);
  assert.equal((await kv.compact(4)).revision, 5);
  await assert.rejects(kv.get("a", { revision: 2 }), (error) => {
    assert.ok(error instanceof CompactedError);
    return error.compactRevision === 4 && error.code === Code.outOfRange;
  });
  const future = await kv.get("a", { revision: 99 }).catch((error) => error);
  assert.ok(future instanceof CoveyError && !(future instanceof CompactedError));
  assert.equal(refusalOf(future), "future_revision");
});

clientTest("a write whose answer was lost is repeated, and applied once", 3, async (cluster) => {
  const kv = cluster.client();
  await kv.put("warm", "");
  cluster.faults.answersLost = 4;
  const put = await settle(cluster, kv.put("a", "1"));
  assert.equal(await versionOf(cluster, "a"), 1n);
  assert.equal(put.revision, 3);
  cluster.faults.proposalsLost = 4;
  await settle(cluster, kv.put("a", "2"));
  assert.equal(await versionOf(cluster, "a"), 2n);
  cluster.faults.answersLost = 2;
  const lease = await settle(cluster, kv.lease({ ttlMs: 60_000, keepAlive: false }));
  assert.deepEqual(await kv.leases(), [lease.id]);
  cluster.faults.answersLost = 1;
  const deleted = await settle(cluster, kv.delete("a"));
  assert.equal(deleted.deleted, 1, "the answer is that of the first time");
});

clientTest("without sessions, only what did nothing is repeated", 2, async (cluster) => {
  const kv = cluster.client({ sessions: false });
  cluster.faults.refused = 3;
  await settle(cluster, kv.put("a", "1"));
  cluster.faults.answersLost = 1;
  await assert.rejects(settle(cluster, kv.put("a", "2")), (error) => {
    assert.ok(error instanceof CoveyError);
    assert.equal(error.code, Code.unavailable);
    assert.notEqual(error.sent, false, "it may have happened");
    return true;
  });
  assert.equal(await versionOf(cluster, "a"), 2n);
});

clientTest(
  "an error after an unknown outcome does not claim that nothing happened",
  1,
  async (cluster) => {
    const kv = cluster.client();
    // The second one asks for the session's id beside it.
    for (const value of ["", "2"]) await kv.put("warm", value);
    cluster.faults.answersLost = 1;
    const pending = kv.put("a", "1", { timeoutMs: 500 }).catch((thrown) => thrown);
    await turns(2);
    cluster.faults.refused = 1_000;
    const error = await settle(cluster, pending);
    assert.ok(error instanceof CoveyError);
    assert.equal(error.sent, true);
    assert.equal(await versionOf(cluster, "a"), 1n);
    cluster.faults.refused = 0;
  },
);

clientTest(
  "many writes at once, with answers lost at random: each applied once",
  3,
  async (cluster) => {
    const kv = cluster.client();
    await kv.put("warm", "");
    const prng = new Prng(11);
    const writes: Promise<unknown>[] = [];
    for (let round = 0; round < 40; round++) {
      cluster.faults.answersLost = prng.below(4);
      cluster.faults.proposalsLost = prng.below(3);
      cluster.faults.refused = prng.below(3);
      for (let at = 0; at < 25; at++) writes.push(kv.put(`k${round}/${at}`, "x"));
      await turns(2);
      await cluster.manual.advance(prng.below(30));
      if (prng.chance(0.2)) cluster.elect(prng.below(3));
    }
    await settle(cluster, Promise.all(writes));
    const { entries } = await kv.range({ prefix: "k" });
    assert.equal(entries.length, 1_000);
    assert.ok(entries.every(({ version }) => version === 1));
    const { sessions } = cluster.nodes[0].module.machine.statistics();
    assert.equal(sessions, 1);
  },
);

clientTest("the window of a session is kept, whatever the store's limit", 1, async (cluster) => {
  const kv = cluster.client();
  await kv.setLimits({ sessionResultsMax: 4 });
  const writes = Array.from({ length: 300 }, (_, at) => kv.put(`k${at}`, ""));
  await settle(cluster, Promise.all(writes));
  const { entries } = await kv.range({ prefix: "k" });
  assert.equal(entries.length, 300);
  assert.ok(entries.every(({ version }) => version === 1));
});

clientTest(
  "one slow command does not make the store forget others, nor keep too many",
  1,
  async (cluster) => {
    const kv = cluster.client();
    await kv.put("warm", "");
    cluster.faults.held = true;
    const slow = kv.put("slow", "");
    await turns(2);
    cluster.faults.held = false;
    const quick = Array.from({ length: 500 }, (_, at) => kv.put(`k${at}`, ""));
    let done = 0;
    for (const one of quick) one.then(() => done++, () => undefined);
    await turns(200);
    // The window ends where the oldest is not acknowledged.
    assert.ok(done > 100 && done < 256, `${done} are done`);
    cluster.release();
    await settle(cluster, Promise.all([slow, ...quick]));
    assert.equal((await kv.range({ prefix: "k" })).count, 500);
  },
);

clientTest(
  "a session that is gone: certain writes move on, uncertain ones say so",
  1,
  async (cluster) => {
    const kv = cluster.client();
    await kv.put("a", "1");
    const [node] = cluster.nodes;
    // Others push it out.
    await cluster.client().setLimits({ sessionsMax: 1 });
    await node.local(KV).openSession({});
    await settle(cluster, kv.put("a", "2"));
    assert.equal(await versionOf(cluster, "a"), 2n);
    // It asks for the new session's id beside it.
    await settle(cluster, kv.put("b", ""));
    // Applied, then forgotten with its session, before the answer could be repeated.
    cluster.faults.answersLost = 1;
    const pending = kv.put("a", "3").catch((error) => error);
    await turns(2);
    await node.local(KV).openSession({});
    const error = await settle(cluster, pending);
    assert.ok(error instanceof CoveyError, `${error}`);
    assert.equal(refusalOf(error), "session_expired");
    assert.match(error.message, /it is unknown whether the command was applied/);
    // The next one has a session of its own.
    await settle(cluster, kv.put("a", "4"));
    assert.equal(await versionOf(cluster, "a"), 4n);
  },
);

clientTest("what a caller gave up is not applied later", 1, async (cluster) => {
  const kv = cluster.client();
  await kv.put("a", "1");
  cluster.faults.held = true;
  const error = await settle(
    cluster,
    kv.put("a", "2", { timeoutMs: 200 }).catch((thrown) => thrown),
  );
  assert.equal(error.code, Code.deadlineExceeded);
  cluster.faults.held = false;
  // This one says that nobody waits for the first any more.
  await kv.put("b", "1");
  cluster.release();
  await turns();
  assert.equal(await versionOf(cluster, "a"), 1n);
});

clientTest("reads are repeated at another node", 3, async (cluster) => {
  const kv = cluster.client();
  await kv.put("a", "1");
  cluster.nodes[0].cut = true;
  cluster.nodes[0].group.leaderChanged();
  cluster.elect(1);
  const got = await settle(cluster, kv.get("a", { timeoutMs: 8_000 }));
  assert.equal(got?.text, "1");
  // It stays with the node that answered.
  const { barriers } = cluster.nodes[0].group;
  assert.equal((await kv.get("a"))?.text, "1");
  assert.equal(cluster.nodes[0].group.barriers, barriers);
});

clientTest("deadlines and signals, while nobody leads", 2, async (cluster) => {
  const kv = cluster.client({ timeoutMs: 400 });
  cluster.elect(undefined);
  const startedMs = cluster.manual.nowMs;
  for (const call of [() => kv.get("a"), () => kv.put("a", "1"), () => kv.leases()]) {
    const error = await settle(cluster, call().catch((thrown) => thrown));
    assert.ok(error.code === Code.deadlineExceeded || error.code === Code.unavailable, `${error}`);
  }
  assert.ok(cluster.manual.nowMs - startedMs < 3 * 420);
  const controller = new AbortController();
  const calls = [kv.get("a", { signal: controller.signal, timeoutMs: 60_000 })]
    .map((call) => call.catch((thrown) => thrown));
  await turns();
  controller.abort();
  const [error] = await Promise.all(calls);
  assert.equal(error.code, Code.canceled);
  await assert.rejects(kv.put("a", "1", { signal: controller.signal }), /canceled/);
});

clientTest("the node's reason arrives before the client's time is over", 2, async (cluster) => {
  await cluster.client().put("a", "1");
  for (const endpoints of [1, 2]) {
    // Nothing is committed from here on.
    const kv = cluster.client({ nodes: endpoints === 1 ? [0] : [0, 1], timeoutMs: 1_000 });
    cluster.faults.held = true;
    const startedMs = cluster.manual.nowMs;
    const error = await settle(cluster, kv.put("a", "2").catch((thrown) => thrown));
    assert.equal(error.code, Code.deadlineExceeded);
    assert.match(error.rawMessage, /^not done within 900 ms/, "the words of the node's group");
    assert.ok(cluster.manual.nowMs - startedMs <= 1_000);
  }
});

clientTest("no time at all, and what is no time", 1, async (cluster) => {
  for (const sessions of [true, "single", false] as const) {
    const kv = cluster.client({ sessions });
    const calls: ((options: KvCallOptions) => Promise<unknown>)[] = [
      (options) => kv.get("a", options),
      (options) => kv.put("a", "1", options),
      (options) => kv.lock("door", options),
      (options) => kv.lock("door", { ...options, lease: 7 }),
    ];
    const failure = (call: Promise<unknown>): Promise<CoveyError> =>
      settle(cluster, call.then(() => assert.fail("it was done"), CoveyError.from));
    for (const call of calls) {
      const error = await failure(call({ timeoutMs: 0 }));
      assert.deepEqual(
        [error.code, error.rawMessage, error.sent],
        [Code.deadlineExceeded, "not done within 0 ms", false],
      );
    }
    for (const timeoutMs of [-5, NaN, -Infinity]) {
      for (const call of calls) {
        const error = await failure(call({ timeoutMs }));
        assert.deepEqual(
          [error.code, error.rawMessage, error.sent],
          [Code.invalidArgument, `timeoutMs is ${timeoutMs}; give milliseconds, 0 or more`, false],
        );
      }
    }
  }
});

clientTest("errors name the leader", 2, async (cluster) => {
  await cluster.nodes[0].serve();
  const kv = cluster.client({ nodes: [1] });
  cluster.faults.refused = 1_000;
  const error = await settle(
    cluster,
    kv.put("a", "1", { timeoutMs: 100 }).catch((thrown) => thrown),
  );
  const leader = leaderOf(error);
  assert.equal(leader?.name, "node-1");
  assert.match(leader?.address ?? "", /^tcp:\/\/127\.0\.0\.1:\d+$/);
  cluster.faults.refused = 0;
});

clientTest("calls in flight are bounded", 1, async (cluster) => {
  const kv = cluster.client({ callsMax: 5 });
  cluster.elect(undefined);
  const calls = Array.from({ length: 6 }, () => kv.get("a", { timeoutMs: 100 }));
  const errors = calls.map((call) => call.catch((thrown) => thrown));
  const last = await errors[5];
  assert.equal(last.code, Code.resourceExhausted);
  assert.match(last.message, /5 calls under way, its limit/);
  await settle(cluster, Promise.all(errors));
});

clientTest("a closed client", 1, async (cluster) => {
  const kv = cluster.client();
  await kv.put("a", "1");
  assert.equal(cluster.nodes[0].module.machine.statistics().sessions, 1);
  const watch = kv.watch("a");
  const next = watch.next().catch((error) => error);
  await watch.ready;
  await kv.close();
  assert.equal(cluster.nodes[0].module.machine.statistics().sessions, 0);
  assert.match((await next).message, /the client is closed/);
  await assert.rejects(kv.get("a"), /\[canceled\] the client is closed/);
  await assert.rejects(kv.put("a", "2"), /the client is closed/);
  await kv.close();
});

clientTest("the own node's client needs no network", 1, async (cluster) => {
  await using kv = cluster.nodes[0].module.client();
  await kv.put("a", "1");
  assert.equal((await kv.get("a"))?.text, "1");
});

clientTest(
  "the first write opens its session itself: one entry, applied once",
  1,
  async (cluster) => {
    const kv = cluster.client();
    const { group } = cluster.nodes[0];
    cluster.faults.answersLost = 1;
    await settle(cluster, kv.put("a", "1"));
    assert.equal(await versionOf(cluster, "a"), 1n);
    assert.equal(group.proposals, 2, "its retry, and nothing else");
    await settle(cluster, kv.put("a", "2"));
    await turns(2);
    assert.equal(group.proposals, 4, "the second one asks for the session's id beside it");
    await settle(cluster, kv.put("a", "3"));
    assert.equal(group.proposals, 5);
    assert.equal(await versionOf(cluster, "a"), 3n);
  },
);

clientTest("a session for each write: one entry each, nothing to close", 1, async (cluster) => {
  const kv = cluster.client({ sessions: "single" });
  const { group } = cluster.nodes[0];
  for (let value = 1; value <= 3; value++) {
    cluster.faults.answersLost = 1;
    await settle(cluster, kv.put("a", String(value)));
    assert.equal(await versionOf(cluster, "a"), BigInt(value));
  }
  await settle(cluster, kv.close());
  assert.equal(group.proposals, 6, "three writes, each repeated once");
});

clientTest("a command that opens its session is not repeated for ever", 1, async (cluster) => {
  const kv = cluster.client({ sessions: "single" });
  cluster.faults.answersLost = 1;
  const pending = kv.put("a", "1", { timeoutMs: 120_000 }).catch((error) => error);
  await turns(2);
  cluster.faults.refused = 1_000_000;
  const error = await settle(cluster, pending, 1_000);
  assert.ok(error instanceof CoveyError, `${error}`);
  assert.equal(error.sent, true);
  assert.match(error.message, /unknown whether the command was applied/);
  cluster.faults.refused = 0;
  assert.equal(await versionOf(cluster, "a"), 1n);
});

clientTest(
  "a store that has stopped for good: its reason at once, or another node",
  2,
  async (cluster) => {
    const [first] = cluster.nodes;
    const reason = "group kv: this node was removed";
    first.group.stop(reason);
    const alone = cluster.client({ nodes: [0] });
    const startedMs = cluster.manual.monotonicMs();
    for (
      const call of [() => alone.get("a"), () => alone.put("a", ""), () => alone.watch("a").next()]
    ) {
      const error = await call().then(() => undefined, (thrown) => thrown);
      assert.ok(error instanceof CoveyError, `${error}`);
      assert.equal(error.rawMessage, reason);
      assert.equal(error.code, Code.unavailable);
    }
    assert.equal(cluster.manual.monotonicMs(), startedMs, "nobody waited");
    assert.deepEqual((await alone.status()).errors, [`stopped: ${reason}`]);
    cluster.elect(1);
    const both = cluster.client();
    await settle(cluster, both.put("a", "1"));
    assert.equal((await settle(cluster, both.get("a")))?.version, 1);
  },
);
