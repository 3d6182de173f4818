/** The KV service: what each request answers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { decodeText, encodeText } from "../../src/base/bytes.ts";
import {
  Compare_Result as Is,
  Compare_Target as Target,
  type CompareSchema,
  type KeyValue,
  KV,
  RangeRequest_SortOrder as Order,
  RangeRequest_SortTarget as SortBy,
  type TxnRequestSchema,
} from "../../src/gen/covey/kv/v1/kv_pb.ts";
import type { Client } from "../../src/ttrpc/service.ts";
import { encodeCommand } from "../../src/kv/core/command_codec.ts";
import { prefixEnd } from "../../src/kv/core/bytes.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { clusterId, FakeCluster, settle } from "./support.ts";

const bytes = encodeText;

function show(entries: readonly KeyValue[]): string[] {
  return entries.map(({ key, value }) => `${decodeText(key)}=${decodeText(value)}`);
}

function kvTest(
  name: string,
  body: (kv: Client<typeof KV>, cluster: FakeCluster) => Promise<void>,
): void {
  test(name, async () => {
    const cluster = new FakeCluster({ nodes: 2 });
    try {
      await body(cluster.nodes[0].local(KV), cluster);
    } finally {
      await cluster.close();
    }
  });
}

kvTest("put: revisions, headers, what was there before", async (kv, cluster) => {
  const first = await kv.put({ key: bytes("a"), value: bytes("1"), prevKv: true });
  assert.equal(first.prevKv, undefined);
  assert.deepEqual({ ...first.header, $typeName: undefined }, {
    $typeName: undefined,
    clusterId,
    memberId: 1n,
    revision: 2n,
    raftTerm: BigInt(cluster.term),
  });
  const second = await kv.put({ key: bytes("a"), value: bytes("2"), prevKv: true });
  assert.deepEqual([second.header?.revision, second.prevKv?.version], [3n, 1n]);
  assert.equal(decodeText(second.prevKv!.value), "1");
  const { kvs: [entry] } = await kv.range({ key: bytes("a") });
  const { createRevision, modRevision, version, lease } = entry;
  assert.deepEqual([createRevision, modRevision, version, lease], [2n, 3n, 2n, 0n]);
});

kvTest("put keeps the value or the lease that is there", async (kv, cluster) => {
  const client = cluster.client();
  const lease = await client.lease({ ttlMs: 60_000, keepAlive: false });
  await kv.put({ key: bytes("a"), value: bytes("1"), lease: BigInt(lease.id) });
  await kv.put({ key: bytes("a"), value: bytes("2"), ignoreLease: true });
  await kv.put({ key: bytes("a"), ignoreValue: true, lease: BigInt(lease.id) });
  const { kvs: [entry] } = await kv.range({ key: bytes("a") });
  assert.deepEqual([decodeText(entry.value), entry.lease], ["2", BigInt(lease.id)]);
});

kvTest("range: keys, prefixes, everything, limits, counts", async (kv) => {
  for (const key of ["a", "b", "ba", "bb", "c"]) {
    await kv.put({ key: bytes(key), value: bytes("v") });
  }
  const all = { key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) };
  assert.equal((await kv.range(all)).count, 5n);
  const prefix = await kv.range({ key: bytes("b"), rangeEnd: prefixEnd(bytes("b")) });
  assert.deepEqual(show(prefix.kvs), ["b=v", "ba=v", "bb=v"]);
  const limited = await kv.range({ ...all, limit: 2n });
  assert.deepEqual([show(limited.kvs), limited.more, limited.count], [["a=v", "b=v"], true, 5n]);
  const counted = await kv.range({ ...all, countOnly: true });
  assert.deepEqual([counted.kvs.length, counted.more, counted.count], [0, false, 5n]);
  const keys = await kv.range({ key: bytes("bb"), rangeEnd: Uint8Array.of(0), keysOnly: true });
  assert.deepEqual(show(keys.kvs), ["bb=", "c="]);
  const none = await kv.range({ key: bytes("x") });
  assert.deepEqual([none.kvs.length, none.count, none.header?.revision], [0, 0n, 6n]);
});

kvTest("range: sorted, bounded by revisions, as of a revision", async (kv) => {
  for (const [key, value] of [["a", "3"], ["b", "1"], ["c", "2"], ["a", "0"]]) {
    await kv.put({ key: bytes(key), value: bytes(value) });
  }
  const all = { key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) };
  const sorted = async (sortTarget: SortBy, sortOrder: Order): Promise<string> =>
    show((await kv.range({ ...all, sortTarget, sortOrder })).kvs).join(" ");
  assert.equal(await sorted(SortBy.VALUE, Order.NONE), "a=0 b=1 c=2");
  assert.equal(await sorted(SortBy.VALUE, Order.DESCEND), "c=2 b=1 a=0");
  assert.equal(await sorted(SortBy.MOD, Order.ASCEND), "b=1 c=2 a=0");
  assert.equal(await sorted(SortBy.CREATE, Order.DESCEND), "c=2 b=1 a=0");
  assert.equal(await sorted(SortBy.VERSION, Order.DESCEND), "a=0 b=1 c=2");
  assert.equal(await sorted(SortBy.KEY, Order.DESCEND), "c=2 b=1 a=0");
  const bounded = await kv.range({ ...all, minModRevision: 4n, maxCreateRevision: 3n });
  assert.deepEqual(show(bounded.kvs), ["a=0"]);
  const past = await kv.range({ ...all, revision: 3n });
  assert.deepEqual([show(past.kvs), past.header?.revision], [["a=3", "b=1"], 5n]);
});

kvTest(
  "range: linearizable waits for the leader's state, serializable does not",
  async (_, cluster) => {
    const [leader, follower] = cluster.nodes;
    follower.paused = true;
    await leader.local(KV).put({ key: bytes("a"), value: bytes("1") });
    const kv = follower.local(KV);
    const old = await kv.range({ key: bytes("a"), serializable: true });
    assert.deepEqual([old.count, old.header?.revision, old.header?.memberId], [0n, 1n, 2n]);
    const barriers = follower.group.barriers;
    const pending = kv.range({ key: bytes("a") });
    await turns();
    follower.resume();
    assert.deepEqual(show((await pending).kvs), ["a=1"]);
    assert.equal(follower.group.barriers, barriers + 1);
  },
);

kvTest("deleteRange: one key, a prefix, with what was there", async (kv) => {
  for (const key of ["a", "b/1", "b/2"]) await kv.put({ key: bytes(key), value: bytes("v") });
  const one = await kv.deleteRange({ key: bytes("a") });
  assert.deepEqual([one.deleted, one.prevKvs.length, one.header?.revision], [1n, 0, 5n]);
  const prefix = { key: bytes("b/"), rangeEnd: prefixEnd(bytes("b/")), prevKv: true };
  const many = await kv.deleteRange(prefix);
  assert.deepEqual([many.deleted, show(many.prevKvs)], [2n, ["b/1=v", "b/2=v"]]);
  const none = await kv.deleteRange(prefix);
  assert.deepEqual([none.deleted, none.header?.revision], [0n, 6n]);
});

type CompareInit = Exclude<MessageInitShape<typeof CompareSchema>, { $typeName: string }>;
type TxnInit = MessageInitShape<typeof TxnRequestSchema>;

kvTest("txn: every target and every operator", async (kv) => {
  await kv.put({ key: bytes("a"), value: bytes("5") });
  await kv.put({ key: bytes("a"), value: bytes("5") });
  const holds = async (compare: CompareInit): Promise<boolean> =>
    (await kv.txn({ compare: [{ key: bytes("a"), ...compare }] })).succeeded;
  const version = (value: bigint) => ({ case: "version", value }) as const;
  for (
    const [result, below, same, above] of [
      [Is.EQUAL, false, true, false],
      [Is.NOT_EQUAL, true, false, true],
      [Is.GREATER, true, false, false],
      [Is.LESS, false, false, true],
    ] as const
  ) {
    const found = [];
    for (const value of [1n, 2n, 3n]) {
      found.push(await holds({ target: Target.VERSION, result, targetUnion: version(value) }));
    }
    assert.deepEqual(found, [below, same, above]);
  }
  const equal = (compare: CompareInit) => holds({ result: Is.EQUAL, ...compare });
  const { CREATE, MOD, VALUE, LEASE } = Target;
  assert.ok(await equal({ target: CREATE, targetUnion: { case: "createRevision", value: 2n } }));
  assert.ok(await equal({ target: MOD, targetUnion: { case: "modRevision", value: 3n } }));
  assert.ok(await equal({ target: VALUE, targetUnion: { case: "value", value: bytes("5") } }));
  assert.ok(await equal({ target: LEASE, targetUnion: { case: "lease", value: 0n } }));
  // Without a number it is compared with 0.
  assert.ok(await equal({ key: bytes("none"), target: CREATE }));
  assert.ok(!await equal({ target: CREATE }));
  const everything = { key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0) };
  assert.ok(await equal({ ...everything, target: Target.VERSION, targetUnion: version(2n) }));
});

kvTest("txn: branches, nested ones, one revision, all that each answers", async (kv) => {
  await kv.put({ key: bytes("a"), value: bytes("1") });
  const put = (key: string, value: string) => ({
    request: {
      case: "requestPut" as const,
      value: { key: bytes(key), value: bytes(value), prevKv: true },
    },
  });
  const get = (key: string) => ({
    request: { case: "requestRange" as const, value: { key: bytes(key) } },
  });
  const remove = (key: string) => ({
    request: { case: "requestDeleteRange" as const, value: { key: bytes(key) } },
  });
  const nested: TxnInit = {
    compare: [{ key: bytes("missing"), target: Target.CREATE, result: Is.GREATER }],
    success: [put("no", "")],
    failure: [put("b", "2"), get("b")],
  };
  const done = await kv.txn({
    success: [put("a", "2"), get("a"), {
      request: { case: "requestTxn", value: nested },
    }, remove("c")],
    failure: [put("no", "")],
  });
  assert.ok(done.succeeded);
  assert.equal(done.header?.revision, 3n);
  const [putA, getA, inner, removed] = done.responses.map(({ response }) => response);
  assert.ok(putA.case === "responsePut" && decodeText(putA.value.prevKv!.value) === "1");
  assert.ok(getA.case === "responseRange");
  assert.deepEqual(show(getA.value.kvs), ["a=2"]);
  assert.ok(inner.case === "responseTxn" && !inner.value.succeeded);
  const [, getB] = inner.value.responses.map(({ response }) => response);
  assert.ok(getB.case === "responseRange");
  assert.deepEqual(show(getB.value.kvs), ["b=2"]);
  assert.ok(removed.case === "responseDeleteRange" && removed.value.deleted === 0n);
  assert.equal((await kv.range({ key: bytes("no") })).count, 0n);
});

kvTest("txn: what only reads needs no entry of the log", async (kv, cluster) => {
  await kv.put({ key: bytes("a"), value: bytes("1") });
  const entries = cluster.log.length;
  const request: TxnInit = {
    compare: [{
      key: bytes("a"),
      target: Target.VERSION,
      targetUnion: { case: "version", value: 1n },
    }],
    success: [
      { request: { case: "requestRange", value: { key: bytes("a"), serializable: true } } },
      {
        request: {
          case: "requestTxn",
          value: {
            failure: [{ request: { case: "requestPut", value: { key: bytes("x") } } }],
          },
        },
      },
    ],
  };
  // The nested one may write: it goes through the log.
  assert.ok((await kv.txn(request)).succeeded);
  assert.equal(cluster.log.length, entries + 1);
  const { group } = cluster.nodes[0];
  const { barriers } = group;
  const reading = { ...request, success: [request.success![0]] };
  const answer = await kv.txn(reading);
  assert.ok(answer.succeeded);
  assert.ok(answer.responses[0].response.case === "responseRange");
  assert.deepEqual(show(answer.responses[0].response.value.kvs), ["a=1"]);
  assert.equal(answer.header?.revision, 2n);
  assert.equal(group.barriers, barriers, "serializable ranges ask nobody");
  await kv.txn({
    success: [{ request: { case: "requestRange", value: { key: bytes("a") } } }],
  });
  assert.equal(group.barriers, barriers + 1);
  assert.equal(cluster.log.length, entries + 1);
});

kvTest("compact: older revisions are gone, the compacted one is not", async (kv) => {
  for (let at = 0; at < 5; at++) await kv.put({ key: bytes("a"), value: bytes(`${at}`) });
  const { header } = await kv.compact({ revision: 4n });
  assert.equal(header?.revision, 6n);
  const at4 = await kv.range({ key: bytes("a"), revision: 4n });
  assert.deepEqual(show(at4.kvs), ["a=2"]);
  await assert.rejects(kv.range({ key: bytes("a"), revision: 3n }), /the oldest is 4/);
});

kvTest("sessions: a repeated command is answered from what was kept", async (kv, cluster) => {
  const { id } = await kv.openSession({});
  const session = { id, sequence: 1n, acknowledged: 0n };
  const request = { key: bytes("a"), value: bytes("1"), prevKv: true, session };
  const first = await kv.put(request);
  // On another node as well.
  const again = await cluster.nodes[1].local(KV).put(request);
  assert.equal(again.header?.revision, first.header?.revision);
  assert.equal((await kv.range({ key: bytes("a") })).kvs[0].version, 1n);
  const txn = {
    success: [{ request: { case: "requestPut" as const, value: { key: bytes("b") } } }],
    session: { id, sequence: 2n, acknowledged: 1n },
  };
  await kv.txn(txn);
  await kv.txn(txn);
  assert.equal((await kv.range({ key: bytes("b") })).kvs[0].version, 1n);
  await kv.closeSession({ id });
  await assert.rejects(
    kv.put({ ...request, session: { ...session, sequence: 3n } }),
    /session is gone/,
  );
});

kvTest("large ranges leave the thread to others", async (kv, cluster) => {
  const client = cluster.client();
  for (let at = 0; at < 100; at++) {
    const success = Array.from(
      { length: 120 },
      (_, index) => ({ put: `k/${at}/${index}`, value: "v" }),
    );
    await client.transact({ success });
  }
  const { counters } = cluster.nodes[0].module;
  const { manual } = cluster;
  // Every look at the clock takes a millisecond here: a slice is a few steps.
  const { monotonicMs } = manual;
  manual.monotonicMs = () => manual.nowMs++;
  const all = { key: bytes("k"), rangeEnd: bytes("l"), sortTarget: SortBy.VALUE };
  const answer = await settle(cluster, kv.range(all));
  assert.equal(answer.kvs.length, 12_000);
  assert.equal(counters.slicedRanges, 1);
  manual.monotonicMs = monotonicMs;
});

kvTest(
  "a transaction that only reads does not look into an entry that is half applied",
  async (kv, cluster) => {
    const client = cluster.client();
    for (let at = 0; at < 60; at++) {
      const success = Array.from(
        { length: 120 },
        (_, index) => ({ put: `k/${at}/${index}`, value: "v" }),
      );
      await client.transact({ success });
    }
    const { machine } = cluster.nodes[0].module;
    const interval = { key: bytes("k"), end: bytes("l") };
    cluster.append(encodeCommand({ kind: "deleteRange", ...interval, previous: false }));
    while (!machine.applying) await Promise.resolve();
    const first = { key: bytes("k/0/0"), target: Target.CREATE, result: Is.GREATER };
    const range = {
      request: {
        case: "requestRange" as const,
        value: { key: bytes("k/59/1"), serializable: true },
      },
    };
    const answer = await kv.txn({ compare: [first], success: [range], failure: [range] });
    const [{ response }] = answer.responses;
    assert.ok(response.case === "responseRange");
    assert.equal(response.value.count, answer.succeeded ? 1n : 0n, "both were there, or neither");
  },
);

kvTest(
  "a transaction that only reads and begins anew does not look into an entry either",
  async (kv, cluster) => {
    const client = cluster.client();
    for (let at = 0; at < 60; at++) {
      const success = Array.from(
        { length: 120 },
        (_, index) => ({ put: `k/${at}/${index}`, value: "v" }),
      );
      await client.transact({ success });
    }
    const { manual } = cluster;
    const { monotonicMs } = manual;
    manual.monotonicMs = () => manual.nowMs++;
    const { machine } = cluster.nodes[0].module;
    const interval = { key: bytes("k"), end: bytes("l") };
    const first = { key: bytes("k/0/0"), target: Target.CREATE, result: Is.GREATER };
    const value = { key: bytes("k"), rangeEnd: bytes("l") };
    const range = { request: { case: "requestRange" as const, value } };
    const reading = kv.txn({ compare: [first], success: [range], failure: [range] });
    await turns(2);
    // A compaction overtakes it, and a large entry is half applied when it looks again.
    await client.put("x", "");
    await client.compact(machine.revision);
    cluster.append(encodeCommand({ kind: "deleteRange", ...interval, previous: false }));
    while (!machine.applying) await Promise.resolve();
    const answer = await settle(cluster, reading);
    manual.monotonicMs = monotonicMs;
    const [{ response }] = answer.responses;
    assert.ok(response.case === "responseRange");
    assert.equal(response.value.count, answer.succeeded ? 7_200n : 0n, "all, or none");
  },
);

kvTest("a read of now that a compaction overtakes begins anew", async (kv, cluster) => {
  const client = cluster.client();
  for (let at = 0; at < 20; at++) {
    const success = Array.from(
      { length: 120 },
      (_, index) => ({ put: `k/${at}/${index}`, value: "v" }),
    );
    await client.transact({ success });
  }
  const { manual } = cluster;
  const { monotonicMs } = manual;
  manual.monotonicMs = () => manual.nowMs++;
  const all = { key: bytes("k"), rangeEnd: bytes("l") };
  const reading = kv.range(all);
  const past = kv.range({ ...all, revision: BigInt(cluster.nodes[0].module.machine.revision) });
  past.catch(() => undefined);
  await turns(2);
  await client.put("k/x", "");
  await client.compact(cluster.nodes[0].module.machine.revision);
  const answer = await settle(cluster, reading);
  assert.equal(answer.count, 2_401n);
  await assert.rejects(settle(cluster, past), /compacted/);
  manual.monotonicMs = monotonicMs;
});
