/** Bad input of every kind: a code, a sentence, a reason, and a store that is as it was. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, codeName, CoveyError } from "../../src/base/error.ts";
import { encodeText } from "../../src/base/bytes.ts";
import { KV, Lease, Maintenance, Watch } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { CompactedError, didNothing, refusalOf, typedError } from "../../src/kv/client_error.ts";
import { withUnknownOutcome } from "../../src/kv/client_error.ts";
import { refused } from "../../src/kv/refusal.ts";
import { KvModule } from "../../src/kv/kv_module.ts";
import { silentLogger } from "../../src/base/log.ts";
import { createLocalClient, type LocalCaller } from "../../src/ttrpc/local_client.ts";
import { ServiceRegistry } from "../../src/ttrpc/registry.ts";
import { digest } from "./core/support.ts";
import { FakeCluster, FakeNode } from "./support.ts";
import { Prng } from "../../src/base/prng.ts";
import { ManualClock, turns } from "../ttrpc/support/memory_net.ts";

const bytes = encodeText;

/** Answers so and changes nothing. */
async function refuses(
  cluster: FakeCluster,
  call: Promise<unknown>,
  expected: { code: Code; reason?: string; message: RegExp; undone?: boolean },
): Promise<CoveyError> {
  const { machine } = cluster.nodes[0].module;
  const before = machine.revision;
  const error = await call.then(() => undefined, (thrown) => thrown);
  assert.ok(error instanceof CoveyError, `it was not refused: ${error}`);
  assert.equal(codeName(error.code), codeName(expected.code), error.message);
  assert.match(error.rawMessage, expected.message);
  assert.equal(refusalOf(error), expected.reason);
  assert.equal(didNothing(error), expected.undone ?? true, "whether it says that nothing was done");
  assert.equal(machine.revision, before);
  return error;
}

test("requests that no store would take never become entries of the log", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.nodes[0].local(KV);
  const lease = cluster.nodes[0].local(Lease);
  const entries = cluster.log.length;
  const { invalidArgument } = Code;
  const put = { key: bytes("a") };
  const bad = (call: Promise<unknown>, message: RegExp, reason?: string) =>
    refuses(cluster, call, { code: invalidArgument, message, reason });
  const call = (make: () => Promise<unknown>): Promise<unknown> => Promise.resolve().then(make);

  await bad(call(() => kv.put({})), /the key is empty/, "key_empty");
  await bad(
    call(() => kv.put({ ...put, value: bytes("x"), ignoreValue: true })),
    /a value is given/,
    "value_provided",
  );
  await bad(
    call(() => kv.put({ ...put, lease: 1n, ignoreLease: true })),
    /a lease is given/,
    "lease_provided",
  );
  await bad(call(() => kv.put({ ...put, lease: -1n })), /lease is -1: it must be from 0 to 2\^53/);
  await bad(call(() => kv.put({ ...put, lease: 1n << 60n })), /lease is 1152921504606846976/);
  await bad(call(() => kv.deleteRange({})), /the key is empty/, "key_empty");
  await bad(
    call(() => kv.range({ key: bytes("a"), minModRevision: -1n })),
    /min_mod_revision is -1/,
  );
  await bad(call(() => kv.range({ key: bytes("a"), sortOrder: 9 as 0 })), /sort_order is 9/);
  await bad(call(() => kv.range({ key: bytes("a"), sortTarget: 9 as 0 })), /sort_target is 9/);
  await bad(call(() => kv.range({})), /the key is empty/, "key_empty");
  await bad(call(() => kv.compact({ revision: -1n })), /revision is -1/);
  await bad(call(() => kv.compact({})), /revision is 0: name the newest one to be forgotten/);
  await bad(call(() => kv.closeSession({ id: 1n << 63n })), /id is 9223372036854775808/);
  await bad(call(() => lease.leaseGrant({ ttl: -5n })), /ttl is -5/);
  await bad(call(() => lease.leaseGrant({ ttl: 5n, id: -5n })), /id is -5/);

  const session = { id: 5n, sequence: 1n, acknowledged: 0n };
  await bad(call(() => kv.put({ ...put, session: { ...session, id: 0n } })), /session.id is 0/);
  await bad(call(() => kv.put({ ...put, session: { ...session, sequence: 0n } })), /sequence is 0/);
  await bad(
    call(() => kv.put({ ...put, session: { ...session, acknowledged: 1n } })),
    /acknowledged must be below/,
  );
  assert.equal(cluster.log.length, entries);
  await cluster.close();
});

test("a negative limit is none, as the largest is, and a negative revision the newest, as in etcd", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.nodes[0].local(KV);
  for (const key of ["a", "b", "c"]) await kv.put({ key: bytes(key), value: bytes("1") });
  const all = { key: bytes("a"), rangeEnd: bytes("z") };
  const expected = (await kv.range(all)).kvs;
  assert.equal(expected.length, 3);
  for (const serializable of [false, true]) {
    const { kvs, more } = await kv.range({ ...all, serializable, limit: -1n, revision: -7n });
    assert.deepEqual([kvs, more], [expected, false]);
  }
  // So is the largest number that a client has: no store holds more keys than can be counted.
  const most = await kv.range({ ...all, limit: 2n ** 63n - 1n });
  assert.deepEqual([most.kvs, most.more], [expected, false]);
  const lease = cluster.nodes[0].local(Lease);
  for (const ttl of [2n ** 63n - 1n, 9_007_199_254_741n, 9_000_000_001n]) {
    await assert.rejects(lease.leaseGrant({ ttl }), /\[out_of_range\] /, `${ttl}`);
  }
  await assert.rejects(lease.leaseGrant({ ttl: -1n }), /\[invalid_argument\] ttl is -1/);
  await cluster.close();
});

test("that a session is full says nothing about what was sent before", () => {
  const { machine } = new FakeCluster().nodes[0].module;
  const outcome = (reason: "session_full" | "no_space") => {
    const failure = { kind: "failure", revision: 1, reason, compactRevision: 0 } as const;
    const error = refused(failure, machine.limits);
    assert.equal(didNothing(error), true);
    return didNothing(withUnknownOutcome(error));
  };
  // A refusal that is kept under the command's number is the command's outcome.
  assert.equal(outcome("no_space"), true);
  assert.equal(outcome("session_full"), false);
});

test("transactions that are none", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.nodes[0].local(KV);
  const entries = cluster.log.length;
  const code = Code.invalidArgument;
  const put = (key: string) => ({
    request: { case: "requestPut" as const, value: { key: bytes(key) } },
  });
  const remove = (key: string, end = "") => ({
    request: {
      case: "requestDeleteRange" as const,
      value: { key: bytes(key), rangeEnd: bytes(end) },
    },
  });
  const bad = (request: Parameters<typeof kv.txn>[0], message: RegExp, reason?: string) =>
    refuses(cluster, Promise.resolve().then(() => kv.txn(request)), { code, message, reason });
  await bad(
    { success: [{ request: { case: undefined } }] },
    /operation of the transaction is empty/,
  );
  await bad({ success: [put("a"), put("a")] }, /changes one key twice/, "duplicate_key");
  await bad({ success: [put("b"), remove("a", "c")] }, /changes one key twice/, "duplicate_key");
  await bad({ failure: [put("")] }, /the key is empty/, "key_empty");
  const many = Array.from({ length: 129 }, (_, at) => put(`k${at}`));
  await bad(
    { success: many },
    /more operations than the limit: split it \(128\)/,
    "too_many_operations",
  );
  await bad(
    { compare: [{ key: new Uint8Array(0) }], success: [put("a")] },
    /the key is empty/,
    "key_empty",
  );
  await bad(
    { compare: [{ key: bytes("a"), target: 9 as 0 }], success: [put("a")] },
    /compare.target is 9/,
  );
  await bad(
    { compare: [{ key: bytes("a"), result: 9 as 0 }], success: [put("a")] },
    /compare.result is 9/,
  );
  await bad({
    compare: [{ key: bytes("a"), target: 0, targetUnion: { case: "value", value: bytes("x") } }],
    success: [put("a")],
  }, /a compare of version is given a value/);
  const inner = { session: { id: 1n, sequence: 1n }, key: bytes("a") };
  await bad(
    { success: [{ request: { case: "requestPut", value: inner } }] },
    /a session belongs to the transaction as a whole/,
  );
  assert.equal(cluster.log.length, entries);
  await cluster.close();
});

test("what only the store can refuse", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.nodes[0].local(KV);
  const lease = cluster.nodes[0].local(Lease);
  const { outOfRange, notFound, alreadyExists, invalidArgument, failedPrecondition } = Code;
  const put = { key: bytes("a") };
  for (let at = 0; at < 4; at++) await kv.put(put);
  await kv.compact({ revision: 4n });
  const granted = await lease.leaseGrant({ ttl: 60n, id: 77n });
  assert.equal(granted.id, 77n);
  const refused = (
    call: Promise<unknown>,
    code: Code,
    reason: string,
    message: RegExp,
    undone = true,
  ) => refuses(cluster, call, { code, reason, message, undone });

  await refused(
    kv.put({ ...put, lease: 5n }),
    notFound,
    "lease_not_found",
    /does not exist or has expired/,
  );
  await refused(
    kv.put({ key: bytes("none"), ignoreValue: true }),
    invalidArgument,
    "key_not_found",
    /does not exist/,
  );
  const error = await refused(
    kv.range({ ...put, revision: 2n }),
    outOfRange,
    "compacted",
    /begin with a later one \(the oldest is 4\)/,
  );
  const typed = typedError(error);
  assert.ok(typed instanceof CompactedError && typed.compactRevision === 4);
  await refused(kv.range({ ...put, revision: 99n }), outOfRange, "future_revision", /newest is 5/);
  await refused(kv.compact({ revision: 4n }), outOfRange, "compacted", /oldest is 4/);
  await refused(kv.compact({ revision: 99n }), outOfRange, "future_revision", /newest is 5/);
  await refused(lease.leaseGrant({ ttl: 0n }), outOfRange, "lease_ttl_invalid", /above 0/);
  await refused(
    lease.leaseGrant({ ttl: BigInt(Number.MAX_SAFE_INTEGER) }),
    outOfRange,
    "lease_ttl_invalid",
    /within the limit \(9000000000 s\)/,
  );
  await refused(
    lease.leaseGrant({ ttl: 5n, id: 77n }),
    alreadyExists,
    "lease_exists",
    /of this id/,
  );
  await refused(lease.leaseRevoke({ id: 78n }), notFound, "lease_not_found", /does not exist/);
  const session = { id: 999n, sequence: 1n, acknowledged: 0n };
  await refused(kv.put({ ...put, session }), invalidArgument, "session_unknown", /ever opened/);
  const { id } = await kv.openSession({});
  await kv.put({ ...put, session: { id, sequence: 5n, acknowledged: 4n } });
  await refused(
    kv.put({ ...put, session: { id, sequence: 3n, acknowledged: 0n } }),
    failedPrecondition,
    "session_stale",
    /was acknowledged already/,
    false,
  );
  // A number that was another command's.
  const reused = await kv.compact({
    revision: 5n,
    session: { id, sequence: 5n, acknowledged: 4n },
  }).catch((thrown) => thrown);
  assert.match(reused.message, /\[failed_precondition\].*was a put, not a compact/);
  await kv.closeSession({ id });
  await refused(
    kv.put({ ...put, session: { id, sequence: 6n, acknowledged: 5n } }),
    failedPrecondition,
    "session_expired",
    /it is unknown whether the command was applied/,
    false,
  );
  await cluster.close();
});

test("sizes and quotas", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.nodes[0].local(KV);
  const lease = cluster.nodes[0].local(Lease);
  const maintenance = cluster.nodes[0].local(Maintenance);
  const { invalidArgument, resourceExhausted } = Code;
  const refused = (call: Promise<unknown>, code: Code, reason: string, message: RegExp) =>
    refuses(cluster, call, { code, reason, message });
  const entries = cluster.log.length;
  await refused(
    kv.put({ key: new Uint8Array(5_000) }),
    invalidArgument,
    "key_too_large",
    /longer than the limit \(4096 bytes\)/,
  );
  await refused(
    kv.put({ key: bytes("a"), value: new Uint8Array(1_600_000) }),
    invalidArgument,
    "request_too_large",
    /send less at a time \(1572864 bytes\)/,
  );
  assert.equal(cluster.log.length, entries, "neither became an entry");
  await kv.put({ key: bytes("a"), value: new Uint8Array(5_000) });
  await maintenance.setLimits({ databaseBytesMax: 6_000n, leasesMax: 1n, sessionResultsMax: 1n });
  await refused(
    kv.put({ key: bytes("b"), value: new Uint8Array(2_000) }),
    resourceExhausted,
    "no_space",
    /delete keys and compact, or raise kv's quota \(6000 bytes\)/,
  );
  // Reads and deletes go on, and make room.
  assert.equal((await kv.range({ key: bytes("a") })).count, 1n);
  await lease.leaseGrant({ ttl: 60n });
  await refused(
    lease.leaseGrant({ ttl: 60n }),
    resourceExhausted,
    "too_many_leases",
    /revoke some \(1\)/,
  );
  const { id } = await kv.openSession({});
  await kv.deleteRange({ key: bytes("x"), session: { id, sequence: 1n, acknowledged: 0n } });
  await refused(
    kv.deleteRange({ key: bytes("x"), session: { id, sequence: 2n, acknowledged: 0n } }),
    resourceExhausted,
    "session_full",
    /acknowledge some \(1\)/,
  );
  const { header } = await kv.deleteRange({ key: bytes("a") });
  await kv.compact({ revision: header!.revision });
  await kv.put({ key: bytes("b"), value: new Uint8Array(2_000) });
  await cluster.close();
});

test("a result that was too large to be kept is told as such", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.nodes[0].local(KV);
  for (let at = 0; at < 20; at++) {
    await kv.put({ key: bytes(`k${at}`), value: new Uint8Array(5_000) });
  }
  const { id } = await kv.openSession({});
  const request = {
    key: bytes("k"),
    rangeEnd: bytes("l"),
    prevKv: true,
    session: { id, sequence: 1n, acknowledged: 0n },
  };
  assert.equal((await kv.deleteRange(request)).deleted, 20n);
  await refuses(cluster, kv.deleteRange(request), {
    code: Code.alreadyExists,
    reason: "result_dropped",
    message: /was applied before/,
    undone: false,
  });
  await cluster.close();
});

test("what one command looks at and answers is bounded before anything is changed", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.nodes[0].local(KV);
  for (let at = 0; at < 20; at++) {
    await kv.put({ key: bytes(`k${at}`), value: new Uint8Array(1_000) });
  }
  const maintenance = cluster.nodes[0].local(Maintenance);
  await maintenance.setLimits({ resultBytesMax: 10_000n, scanKeysMax: 15n });
  const all = { key: bytes("k"), rangeEnd: bytes("l") };
  const put = { request: { case: "requestPut" as const, value: { key: bytes("p") } } };
  const range = (more: { limit?: bigint; keysOnly?: boolean; countOnly?: boolean }) => ({
    request: { case: "requestRange" as const, value: { ...all, ...more } },
  });
  const code = Code.resourceExhausted;
  const tooLarge = {
    code,
    reason: "result_too_large",
    message: /give limits to the ranges, ask for keys_only or count_only.* \(10000 bytes\)/,
  };
  await refuses(cluster, kv.txn({ success: [put, range({ limit: 10n })] }), tooLarge);
  await refuses(cluster, kv.deleteRange({ ...all, prevKv: true }), tooLarge);
  const tooMany = { code, reason: "too_many_keys", message: /narrow its compares.* \(15\)/ };
  await refuses(cluster, kv.txn({ success: [put, range({ keysOnly: true })] }), tooMany);
  await refuses(
    cluster,
    kv.txn({ success: [{ request: { case: "requestDeleteRange", value: all } }] }),
    tooMany,
  );
  await refuses(cluster, kv.txn({ compare: [{ ...all, result: 3 }], success: [put] }), tooMany);
  const answer = await kv.txn({
    success: [put, range({ limit: 15n, keysOnly: true }), range({ countOnly: true })],
  });
  const counts = answer.responses.map(({ response }) =>
    response.case === "responseRange" ? [response.value.kvs.length, response.value.count] : []
  );
  assert.deepEqual(counts, [[], [15, 20n], [0, 20n]]);
  // Without the log it is read in slices, and only a message bounds it.
  assert.equal((await kv.txn({ success: [range({})] })).responses.length, 1);
  assert.equal((await kv.deleteRange(all)).deleted, 20n);
  await cluster.close();
});

test("answers that fit no message say what to do", async () => {
  const cluster = new FakeCluster({ options: { messageBytesMax: 20_000 } });
  const kv = cluster.nodes[0].local(KV);
  for (let at = 0; at < 30; at++) {
    await kv.put({ key: bytes(`k${at}`), value: new Uint8Array(1_000) });
  }
  const all = { key: bytes("k"), rangeEnd: bytes("l") };
  const code = Code.resourceExhausted;
  await refuses(cluster, kv.range(all), {
    code,
    message: /larger than a message may be \(19744 bytes\): use limit/,
    undone: false,
  });
  assert.equal((await kv.range({ ...all, limit: 15n })).kvs.length, 15);
  assert.equal((await kv.range({ ...all, keysOnly: true })).kvs.length, 30);
  const range = { request: { case: "requestRange" as const, value: { ...all, limit: 15n } } };
  await refuses(cluster, kv.txn({ success: [range, range] }), {
    code,
    message: /use limit/,
    undone: false,
  });
  // A write that happened is not told as one that did not.
  const { machine } = cluster.nodes[0].module;
  const before = machine.revision;
  const error = await kv.deleteRange({ ...all, prevKv: true }).catch((thrown) => thrown);
  assert.match(error.message, /\[resource_exhausted\] applied at revision 32, but its answer/);
  assert.equal(machine.revision, before + 1);
  await cluster.close();
});

test("a follower that does not know of a higher limit yet asks before it refuses", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const [leader, follower] = cluster.nodes;
  follower.paused = true;
  await leader.local(Maintenance).setLimits({ keyBytesMax: 10_000n });
  const pending = follower.local(KV).put({ key: new Uint8Array(8_000).fill(1) });
  await turns();
  follower.resume();
  assert.equal((await pending).header?.revision, 2n);
  const request = { key: new Uint8Array(20_000).fill(1) };
  await refuses(cluster, follower.local(KV).put(request), {
    code: Code.invalidArgument,
    reason: "key_too_large",
    message: /10000 bytes/,
  });
  await cluster.close();
});

test("a node without a group says so to every call, and why", async () => {
  const clock = new ManualClock();
  let why: string | undefined = "found a, no answer from b";
  const module = new KvModule({
    clock,
    random: new Prng(1),
    logger: silentLogger,
    nodeName: "a",
    version: "0.0.0",
    waitingFor: () => why,
  });
  const registry = new ServiceRegistry();
  const streams = new Set(["Watch", "LeaseKeepAlive", "Observe", "Snapshot"]);
  const input = {
    key: bytes("a"),
    name: bytes("a"),
    revision: 1n,
    serializable: true,
    ttl: 5n,
    keyBytesMax: 10n,
    lease: 7n,
    leader: { name: bytes("a"), key: bytes("a/1"), rev: 5n, lease: 7n },
    success: [{
      request: { case: "requestRange", value: { key: bytes("a"), serializable: true } },
    }],
  };
  for (const [service, handlers] of module.services()) registry.add(service, handlers);
  const caller: LocalCaller = {
    registry,
    clock,
    identity: { kind: "local", name: "test" },
    address: { kind: "abstract", name: "test" },
  };
  let calls = 0;
  for (const [service] of module.services()) {
    // deno-lint-ignore no-explicit-any
    const client = createLocalClient(service, caller) as any;
    for (const { localName, name, methodKind } of service.methods) {
      assert.equal(methodKind !== "unary", streams.has(name), name);
      const call = async (): Promise<void> => {
        if (methodKind === "unary") return await client[localName](input);
        const requests = async function* () {
          yield name === "LeaseKeepAlive" ? { id: -1n } : { request: { case: undefined } };
        };
        const answers = client[localName](methodKind === "bidi_streaming" ? requests() : input);
        for await (const _ of answers) { /* The first one is one too many. */ }
      };
      const error = await call().then(() => undefined, (thrown) => thrown);
      assert.equal(error?.code, Code.unavailable, `${name}: ${error}`);
      assert.match(error.rawMessage, /there is no store yet: found a, no answer from b/);
      calls++;
    }
  }
  assert.ok(calls > 20, `${calls}`);
  why = undefined;
  await assert.rejects(
    createLocalClient(KV, caller).range({ key: bytes("a"), serializable: true }),
    /the node is starting: try again/,
  );
  module.stop();
});

test("a node that is starting, taking over a snapshot, or shutting down", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const [leader, follower] = cluster.nodes;
  await leader.local(KV).put({ key: bytes("a"), value: bytes("1") });
  const restoring = follower.restoreFrom(leader);
  const kv = follower.local(KV);
  await assert.rejects(
    kv.range({ key: bytes("a"), serializable: true }),
    /\[unavailable\] this node is taking over a snapshot.*ask another node/,
  );
  await assert.rejects(
    kv.txn({
      success: [{
        request: { case: "requestRange", value: { key: bytes("a"), serializable: true } },
      }],
    }),
    /taking over a snapshot/,
  );
  restoring.finish();
  assert.equal((await kv.range({ key: bytes("a"), serializable: true })).count, 1n);
  follower.module.stop();
  await assert.rejects(kv.range({ key: bytes("a") }), /\[unavailable\] the node is shutting down/);
  await assert.rejects(kv.put({ key: bytes("a") }), /shutting down/);
  await cluster.close();
});

test("what was under way when the node began to shut down is told as it came out", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.nodes[0].local(KV);
  const pending = kv.put({ key: bytes("a"), value: bytes("1") });
  await Promise.resolve();
  cluster.nodes[0].module.stop();
  assert.equal((await pending).header?.revision, 2n);
  await cluster.close();
});

test("without a leader nothing hangs past its deadline", async () => {
  const cluster = new FakeCluster();
  cluster.elect(undefined);
  const kv = cluster.nodes[0].local(KV);
  const lease = cluster.nodes[0].local(Lease);
  const calls = [
    kv.put({ key: bytes("a") }, { timeoutMs: 300 }),
    kv.range({ key: bytes("a") }, { timeoutMs: 300 }),
    kv.txn({ compare: [{ key: bytes("a") }] }, { timeoutMs: 300 }),
    lease.leaseGrant({ ttl: 5n }, { timeoutMs: 300 }),
    lease.leaseLeases({}, { timeoutMs: 300 }),
    lease.leaseTimeToLive({ id: 1n }, { timeoutMs: 300 }),
  ].map((call) => call.then(() => undefined, (error) => error));
  await cluster.manual.advance(301);
  for (const error of await Promise.all(calls)) {
    assert.ok(error instanceof CoveyError);
    assert.ok(error.code === Code.unavailable || error.code === Code.deadlineExceeded);
  }
  await cluster.close();
});

test("bytes that are no command, and random bytes, harm nothing", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  await cluster.nodes[0].local(KV).put({ key: bytes("a"), value: bytes("1") });
  await turns();
  const before = digest(cluster.nodes[0].module.machine).length;
  const prng = new Prng(5);
  for (let count = 0; count < 300; count++) {
    const data = new Uint8Array(prng.between(1, 40));
    prng.fill(data);
    data[0] = 1;
    cluster.append(data);
  }
  await turns();
  assert.equal(digest(cluster.nodes[0].module.machine).length, before);
  const [first, second] = cluster.nodes.map(({ module }) => digest(module.machine));
  assert.equal(first, second);
  await cluster.close();
});

test("a node that has not applied again what it knew as committed shows nothing of long ago", async () => {
  const cluster = new FakeCluster({ nodes: 1 });
  const [first] = cluster.nodes;
  for (const value of ["1", "2", "3"]) {
    await first.local(KV).put({ key: bytes("a"), value: bytes(value) });
  }
  const started = new FakeNode(cluster, 1);
  started.attach();
  started.resume(2);
  await turns();
  const kv = started.local(KV);
  const range = { key: bytes("a"), serializable: true };
  await assert.rejects(kv.range(range), /\[unavailable\] the node is reading its log again/);
  await assert.rejects(
    kv.txn({ success: [{ request: { case: "requestRange", value: range } }] }),
    /reading its log again/,
  );
  const watch = started.local(Watch).watch((async function* () {})());
  await assert.rejects(watch[Symbol.asyncIterator]().next(), /reading its log again/);
  started.resume();
  await turns();
  assert.equal((await kv.range(range)).kvs[0].version, 3n);
  await started.stop();
  await cluster.close();
});
