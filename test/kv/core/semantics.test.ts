/** What clients of etcd v3 rely on, case by case. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import type { Command, Compare, Operation, PutCommand } from "../../../src/kv/core/command.ts";
import type { RangeRequest } from "../../../src/kv/core/command.ts";
import type { FailureReason, KvResult, RangeResult } from "../../../src/kv/core/result.ts";
import { Harness, leaseKeys } from "./support.ts";
import { commandVersion, Kind, withSession } from "../../../src/kv/core/command_codec.ts";
import { inInterval, prefixEnd } from "../../../src/kv/core/bytes.ts";
import { latin, text } from "./twin.ts";
import { plainRange, RangeScan } from "../../../src/kv/core/range.ts";

let store = new Harness();
beforeEach(() => {
  store = new Harness();
});

const put = (key: string, value: string, more: Partial<PutCommand> = {}): PutCommand => ({
  kind: "put",
  key: latin(key),
  value: latin(value),
  lease: 0,
  previous: false,
  ignoreValue: false,
  ignoreLease: false,
  ...more,
});
const remove = (key: string, end = "") =>
  ({ kind: "deleteRange", key: latin(key), end: latin(end), previous: false }) as const;
const range = (key: string, end = "", more: Partial<RangeRequest> = {}): RangeRequest => ({
  ...plainRange,
  key: latin(key),
  end: latin(end),
  ...more,
});
const compare = (key: string, more: Partial<Compare>): Compare => ({
  target: 0,
  operator: 0,
  key: latin(key),
  end: latin(""),
  number: 0,
  value: latin(""),
  ...more,
});
const transaction = (
  compares: Compare[],
  success: Operation[],
  failure: Operation[] = [],
): Command => ({ kind: "transaction", compares, success, failure });

function read(key: string, end = "", more: Partial<RangeRequest> = {}): RangeResult {
  const result = store.machine.range(range(key, end, more));
  assert.ok(result.kind === "range", JSON.stringify(result));
  return result;
}

function refused(result: KvResult, reason: FailureReason): void {
  assert.equal(result.kind === "failure" ? result.reason : result.kind, reason);
}

/** "key=value@version" of what was found. */
function names(result: RangeResult): string[] {
  return result.entries.map((one) => `${text(one.key)}=${text(one.value)}@${one.version}`);
}

test("a new store is at revision 1 and the first put makes revision 2", () => {
  assert.equal(store.machine.revision, 1);
  assert.deepEqual(store.apply(put("a", "1")), { kind: "put", revision: 2, previous: undefined });
  const [entry] = read("a").entries;
  assert.equal(entry.createRevision, 2);
  assert.equal(entry.modRevision, 2);
  assert.equal(entry.version, 1);
});

test("a put over a deleted key begins again with version 1 and a new create revision", () => {
  store.apply(put("a", "1"));
  store.apply(put("a", "2"));
  assert.deepEqual(names(read("a")), ["a=2@2"]);
  store.apply(remove("a"));
  store.apply(put("a", "3"));
  const [entry] = read("a").entries;
  assert.equal(entry.version, 1);
  assert.equal(entry.createRevision, 5);
});

test("deleting what is not there makes no revision", () => {
  const result = store.apply(remove("a", "\0"));
  assert.deepEqual(result, { kind: "deleteRange", revision: 1, deleted: 0, previous: [] });
});

test("an end of one zero byte means every key from the key on", () => {
  for (const key of ["a", "b", "\xff\xff"]) store.apply(put(key, ""));
  assert.deepEqual(names(read("b", "\0")), ["b=@1", "\xff\xff=@1"]);
  assert.equal(read("\0", "\0").count, 3);
});

test("an end before or at the key is an empty interval, no error", () => {
  store.apply(put("a", ""));
  store.apply(put("b", ""));
  assert.equal(read("b", "a").count, 0);
  assert.equal(read("b", "b").count, 0);
});

test("a key is not its longer neighbour: a zero byte at the end is the very next key", () => {
  store.apply(put("a", "1"));
  store.apply(put("a\0", "2"));
  assert.deepEqual(names(read("a")), ["a=1@1"]);
  assert.deepEqual(names(read("a", "a\0")), ["a=1@1"]);
  assert.deepEqual(names(read("a", "a\0\0")), ["a=1@1", "a\0=2@1"]);
});

test("a prefix ends at its successor, and one of 255s has none", () => {
  assert.equal(text(prefixEnd(latin("ab"))), "ac");
  assert.equal(text(prefixEnd(latin("a\xff"))), "b");
  assert.equal(text(prefixEnd(latin("\xff\xff"))), "\0");
  assert.equal(text(prefixEnd(latin(""))), "\0");
  assert.ok(inInterval(latin("\xff\xff\x01"), latin("\xff\xff"), prefixEnd(latin("\xff\xff"))));
});

test("count is the whole interval, more says that the limit left some out", () => {
  for (const key of ["a", "b", "c"]) store.apply(put(key, ""));
  const two = read("a", "\0", { limit: 2 });
  assert.deepEqual([two.entries.length, two.count, two.more], [2, 3, true]);
  const three = read("a", "\0", { limit: 3 });
  assert.deepEqual([three.entries.length, three.count, three.more], [3, 3, false]);
  const none = read("a", "\0", { countOnly: true, limit: 1 });
  assert.deepEqual([none.entries.length, none.count, none.more], [0, 3, false]);
});

test("keys only leaves the values out, and sorting by value still sees them", () => {
  store.apply(put("a", "2"));
  store.apply(put("b", "1"));
  const result = read("a", "\0", { keysOnly: true, sortTarget: 4, sortOrder: 1 });
  assert.deepEqual(names(result), ["b=@1", "a=@1"]);
});

test("a target without an order sorts ascending; the limit is taken after sorting", () => {
  store.apply(put("a", "x"));
  store.apply(put("b", "x"));
  store.apply(put("a", "x"));
  assert.deepEqual(names(read("a", "\0", { sortTarget: 3, limit: 1 })), ["b=x@1"]);
  assert.deepEqual(names(read("a", "\0", { sortTarget: 3, sortOrder: 2, limit: 1 })), ["a=x@2"]);
});

test("revision bounds narrow what is returned, not the count", () => {
  for (const key of ["a", "b", "c"]) store.apply(put(key, ""));
  const result = read("a", "\0", { modMin: 3, createMax: 3 });
  assert.deepEqual(names(result), ["b=@1"]);
  assert.equal(result.count, 3);
});

test("a scan that is taken in slices shows one revision, or says that it is compacted", () => {
  const key = (at: number): string => `k${String(at).padStart(5, "0")}`;
  for (let at = 0; at < 2_000; at += 2) store.apply(put(key(at), ""));
  for (const request of [range("k", "l", { countOnly: true }), range("k", "l", { limit: 5 })]) {
    const scan = store.machine.scan(request);
    assert.ok(scan instanceof RangeScan);
    let result = scan.step(1);
    for (let at = 1_999; result === undefined; at -= 2) {
      store.apply(put(key(at), ""));
      store.apply(remove(key(at - 1)));
      result = scan.step(1);
    }
    assert.ok(typeof result === "object");
    assert.equal(result.count, 1_000);
  }
  const scan = store.machine.scan(range("k", "l"));
  assert.ok(scan instanceof RangeScan);
  scan.step(1);
  store.apply(put("k", ""));
  store.apply({ kind: "compact", revision: store.machine.revision });
  assert.equal(scan.step(1), "compacted");
});

test("an older revision is read as it was", () => {
  store.apply(put("a", "1"));
  store.apply(put("a", "2"));
  store.apply(remove("a"));
  assert.deepEqual(names(read("a", "", { revision: 2 })), ["a=1@1"]);
  assert.deepEqual(names(read("a", "", { revision: 3 })), ["a=2@2"]);
  assert.deepEqual(names(read("a", "", { revision: 4 })), []);
  assert.equal(read("a", "", { revision: 2 }).revision, 4);
});

test("the compacted revision itself can still be read, one before it cannot", () => {
  store.apply(put("a", "1"));
  store.apply(put("a", "2"));
  store.apply(put("a", "3"));
  store.apply({ kind: "compact", revision: 3 });
  assert.deepEqual(names(read("a", "", { revision: 3 })), ["a=2@2"]);
  refused(store.machine.range(range("a", "", { revision: 2 })), "compacted");
  refused(store.machine.range(range("a", "", { revision: 5 })), "future_revision");
});

test("compacting twice at a revision, or ahead of the newest, is refused", () => {
  store.apply(put("a", "1"));
  refused(store.apply({ kind: "compact", revision: 3 }), "future_revision");
  assert.equal(store.apply({ kind: "compact", revision: 2 }).kind, "compact");
  refused(store.apply({ kind: "compact", revision: 2 }), "compacted");
  refused(store.apply({ kind: "compact", revision: 0 }), "compacted");
});

test("put gives the previous value when asked, and nothing for a new key", () => {
  const first = store.apply(put("a", "1", { previous: true }));
  assert.ok(first.kind === "put" && first.previous === undefined);
  const second = store.apply(put("a", "2", { previous: true }));
  assert.ok(second.kind === "put" && text(second.previous?.value ?? latin("")) === "1");
});

test("ignore value keeps the value, ignore lease the lease; both need the key", () => {
  store.apply({ kind: "leaseGrant", id: 7, ttlMs: 5_000 });
  refused(store.apply(put("a", "", { ignoreValue: true })), "key_not_found");
  refused(store.apply(put("a", "", { ignoreLease: true })), "key_not_found");
  store.apply(put("a", "1", { lease: 7 }));
  store.apply(put("a", "2", { ignoreLease: true }));
  assert.equal(read("a").entries[0].lease, 7);
  store.apply(put("a", "", { ignoreValue: true }));
  assert.deepEqual(names(read("a")), ["a=2@3"]);
  assert.equal(read("a").entries[0].lease, 0);
  refused(store.apply(put("a", "x", { ignoreValue: true })), "value_provided");
  refused(store.apply(put("a", "", { ignoreLease: true, lease: 7 })), "lease_provided");
});

test("an empty key, a long key and a large request are refused", () => {
  refused(store.apply(put("", "1")), "key_empty");
  refused(store.apply(remove("", "\0")), "key_empty");
  refused(store.machine.range(range("", "\0")), "key_empty");
  refused(store.apply(transaction([compare("", {})], [])), "key_empty");
  refused(store.apply(put("k".repeat(4_097), "")), "key_too_large");
  assert.equal(store.apply(put("k".repeat(4_096), "")).kind, "put");
  refused(store.apply(put("a", "v".repeat(1_600_000))), "request_too_large");
  assert.equal(store.machine.revision, 2);
});

test("a put with an unknown lease fails and changes nothing", () => {
  refused(store.apply(put("a", "1", { lease: 9 })), "lease_not_found");
  refused(
    store.apply(transaction([], [put("b", ""), put("a", "", { lease: 9 })])),
    "lease_not_found",
  );
  assert.equal(store.machine.revision, 1);
  assert.equal(read("a", "\0").count, 0);
});

test("a transaction is one revision with its changes in order", () => {
  store.apply(put("z", ""));
  store.apply(transaction([], [put("b", "1"), remove("z"), put("a", "1")]));
  assert.equal(store.machine.revision, 3);
  const events = store.machine.eventsOf(3);
  assert.deepEqual(events.map((one) => `${one.type} ${text(one.entry.key)}`), [
    "put b",
    "delete z",
    "put a",
  ]);
});

test("a transaction that changes nothing makes no revision", () => {
  store.apply(put("a", ""));
  const result = store.apply(transaction([], [range("a"), remove("b")]));
  assert.ok(result.kind === "transaction" && result.revision === 2 && result.succeeded);
});

test("a missing key compares as zeros, and its value as nothing at all", () => {
  const run = (more: Partial<Compare>): boolean => {
    const result = store.apply(transaction([compare("no", more)], []));
    assert.ok(result.kind === "transaction");
    return result.succeeded;
  };
  assert.ok(run({ target: 0, number: 0 }));
  assert.ok(run({ target: 1, number: 0 }));
  assert.ok(run({ target: 2, operator: 2, number: 1 }));
  assert.ok(run({ target: 4, number: 0 }));
  assert.ok(!run({ target: 2, operator: 1, number: 0 }));
  for (const operator of [0, 1, 2, 3] as const) assert.ok(!run({ target: 3, operator }));
});

test("every operator on every target", () => {
  store.apply({ kind: "leaseGrant", id: 5, ttlMs: 5_000 });
  store.apply(put("a", "m"));
  store.apply(put("a", "m", { lease: 5 }));
  const actual = [2, 2, 3, 0, 5];
  for (const target of [0, 1, 2, 3, 4] as const) {
    for (const operator of [0, 1, 2, 3] as const) {
      for (const difference of [-1, 0, 1]) {
        const value = latin(String.fromCharCode("m".charCodeAt(0) + difference));
        const number = target === 3 ? 0 : actual[target] + difference;
        const result = store.apply(
          transaction([compare("a", { target, operator, number, value })], []),
        );
        const expected = [difference === 0, difference < 0, difference > 0, difference !== 0];
        assert.ok(result.kind === "transaction");
        assert.equal(result.succeeded, expected[operator], `${target} ${operator} ${difference}`);
      }
    }
  }
});

test("a compare with an end holds when every key of the interval passes", () => {
  store.apply(put("a/1", ""));
  store.apply(put("a/2", ""));
  store.apply(put("a/2", ""));
  const holds = (operator: 0 | 1, number: number, key = "a/"): boolean => {
    const result = store.apply(
      transaction([compare(key, { end: prefixEnd(latin(key)), operator, number })], []),
    );
    return result.kind === "transaction" && result.succeeded;
  };
  assert.ok(holds(1, 0));
  assert.ok(!holds(0, 1));
  assert.ok(holds(0, 0, "none/"), "an empty interval compares as zeros");
});

test("ranges of a transaction see what it wrote before them", () => {
  store.apply(put("a", "old"));
  const result = store.apply(
    transaction([], [range("a"), put("a", "new"), range("a"), range("a", "", { revision: 2 })]),
  );
  assert.ok(result.kind === "transaction");
  const seen = result.results.map((one) => one.kind === "range" ? names(one)[0] : "");
  assert.deepEqual(seen, ["a=old@1", "", "a=new@2", "a=old@1"]);
  assert.deepEqual(result.results.map((one) => one.revision), [2, 3, 3, 3]);
});

test("nested compares look at the state before the transaction", () => {
  const nested: Operation = {
    kind: "transaction",
    compares: [compare("a", { operator: 1, number: 0 })],
    success: [put("seen", "")],
    failure: [put("unseen", "")],
  };
  store.apply(transaction([], [put("a", ""), nested]));
  assert.deepEqual(names(read("s", "z")), ["unseen=@1"]);
});

test("one key twice in a transaction is refused, in two branches it is not", () => {
  const nested = (success: Operation[], failure: Operation[] = []): Operation => ({
    kind: "transaction",
    compares: [],
    success,
    failure,
  });
  refused(store.apply(transaction([], [put("a", "1"), put("a", "2")])), "duplicate_key");
  refused(store.apply(transaction([], [put("b", "1"), remove("a", "c")])), "duplicate_key");
  refused(store.apply(transaction([], [remove("a", "c"), put("b", "1")])), "duplicate_key");
  refused(store.apply(transaction([], [put("a", ""), nested([put("a", "")])])), "duplicate_key");
  refused(store.apply(transaction([], [], [put("a", "1"), put("a", "2")])), "duplicate_key");
  assert.equal(store.machine.revision, 1);
  const allowed = transaction([], [put("a", "1"), remove("b"), remove("b", "d")], [put("a", "2")]);
  assert.equal(store.apply(allowed).kind, "transaction");
  const branches = transaction([], [nested([put("x", "1")], [put("x", "2")])]);
  assert.equal(store.apply(branches).kind, "transaction");
});

test("operations are counted over both branches and all nested transactions", () => {
  const puts = (from: number, to: number): Operation[] =>
    Array.from({ length: to - from }, (_, at) => put(`k${from + at}`, ""));
  assert.equal(store.apply(transaction([], puts(0, 128))).kind, "transaction");
  refused(store.apply(transaction([], puts(0, 129))), "too_many_operations");
  refused(store.apply(transaction([], puts(0, 64), puts(0, 65))), "too_many_operations");
  const nested: Operation = {
    kind: "transaction",
    compares: [],
    success: puts(0, 64),
    failure: [],
  };
  refused(store.apply(transaction([], [...puts(64, 128), nested])), "too_many_operations");
  const compares = Array.from({ length: 129 }, () => compare("a", {}));
  refused(store.apply(transaction(compares, [])), "too_many_operations");
});

test("a range of a transaction at a compacted or future revision refuses all of it", () => {
  for (let at = 0; at < 3; at++) store.apply(put("a", ""));
  store.apply({ kind: "compact", revision: 3 });
  refused(
    store.apply(transaction([], [put("b", ""), range("a", "", { revision: 2 })])),
    "compacted",
  );
  refused(
    store.apply(transaction([], [put("b", ""), range("a", "", { revision: 9 })])),
    "future_revision",
  );
  assert.equal(store.machine.revision, 4);
});

test("a revoked lease takes its keys in one revision, in their order", () => {
  store.apply({ kind: "leaseGrant", id: 5, ttlMs: 5_000 });
  for (const key of ["c", "a", "b"]) store.apply(put(key, "", { lease: 5 }));
  store.apply(put("b", ""));
  assert.deepEqual(leaseKeys(store.machine, 5).map(text), ["a", "c"]);
  const result = store.apply({ kind: "leaseRevoke", id: 5 });
  assert.deepEqual(result, { kind: "leaseRevoke", revision: 6, deleted: 2 });
  const events = store.machine.eventsOf(6);
  assert.deepEqual(events.map((one) => text(one.entry.key)), ["a", "c"]);
  assert.deepEqual(names(read("a", "\0")), ["b=@2"]);
  refused(store.apply({ kind: "leaseRevoke", id: 5 }), "lease_not_found");
});

test("a key that is put again under another lease leaves the first one", () => {
  for (const id of [5, 6]) store.apply({ kind: "leaseGrant", id, ttlMs: 5_000 });
  store.apply(put("a", "", { lease: 5 }));
  store.apply(put("a", "", { lease: 6 }));
  store.apply({ kind: "leaseRevoke", id: 5 });
  assert.equal(read("a").count, 1);
  store.apply({ kind: "leaseExpire", ids: [6] });
  assert.equal(read("a").count, 0);
});

test("expiry passes over leases that are gone, and takes all keys in one revision", () => {
  for (const id of [5, 6]) store.apply({ kind: "leaseGrant", id, ttlMs: 5_000 });
  store.apply(put("b", "", { lease: 5 }));
  store.apply(put("a", "", { lease: 6 }));
  const result = store.apply({ kind: "leaseExpire", ids: [4, 6, 5, 6] });
  assert.deepEqual(result, { kind: "leaseRevoke", revision: 4, deleted: 2 });
  assert.deepEqual(store.machine.leases(), []);
});

test("granting: ids, times to live and their limits", () => {
  refused(store.apply({ kind: "leaseGrant", id: 1, ttlMs: 0 }), "lease_ttl_invalid");
  refused(store.apply({ kind: "leaseGrant", id: 1, ttlMs: 9e12 + 1 }), "lease_ttl_invalid");
  const short = store.apply({ kind: "leaseGrant", id: 4, ttlMs: 1 });
  assert.deepEqual(short, { kind: "leaseGrant", revision: 1, id: 4, ttlMs: 1_000 });
  refused(store.apply({ kind: "leaseGrant", id: 4, ttlMs: 1 }), "lease_exists");
  store.apply({ kind: "leaseGrant", id: store.index + 2, ttlMs: 1 });
  const chosen = store.apply({ kind: "leaseGrant", id: 0, ttlMs: 1 });
  assert.ok(chosen.kind === "leaseGrant" && chosen.id === store.index + 1, "the next free one");
  store.apply({ kind: "configure", limits: { leasesMax: 3 } });
  refused(store.apply({ kind: "leaseGrant", id: 0, ttlMs: 1 }), "too_many_leases");
});

test("a checkpoint is kept, never above the time to live", () => {
  store.apply({ kind: "leaseGrant", id: 4, ttlMs: 10_000 });
  const leases = [{ id: 4, remainingMs: 3_000 }, { id: 5, remainingMs: 1 }];
  store.apply({ kind: "leaseCheckpoint", leases });
  assert.deepEqual(store.machine.lease(4), { id: 4, ttlMs: 10_000, remainingMs: 3_000 });
  store.apply({ kind: "leaseCheckpoint", leases: [{ id: 4, remainingMs: 30_000 }] });
  assert.equal(store.machine.lease(4)?.remainingMs, 10_000);
  assert.equal(store.machine.lease(5), undefined);
});

test("above the quota puts and grants fail; deletes, compaction and reads go on", () => {
  store.apply(put("a", "x".repeat(100)));
  store.apply({ kind: "configure", limits: { databaseBytesMax: 300 } });
  refused(store.apply(put("a", "y".repeat(100))), "no_space");
  refused(store.apply(transaction([], [put("b", "y".repeat(100))])), "no_space");
  assert.equal(store.apply(put("a", "y".repeat(60))).kind, "put");
  assert.equal(read("a").count, 1);
  assert.equal(store.apply(remove("a")).kind, "deleteRange");
  assert.ok(store.machine.statistics().bytes > 300);
  refused(store.apply({ kind: "leaseGrant", id: 1, ttlMs: 1 }), "no_space");
  assert.equal(store.apply(transaction([], [remove("zz"), range("a")])).kind, "transaction");
  store.apply({ kind: "compact", revision: store.machine.revision });
  assert.equal(store.machine.statistics().bytes, 0);
  assert.equal(store.apply(put("a", "y".repeat(100))).kind, "put");
});

test("a watch from the compacted revision is served, without what was before it", () => {
  store.apply(put("a", "1"));
  store.apply(put("a", "2"));
  store.apply(remove("a"));
  store.apply(put("a", "3"));
  store.apply({ kind: "compact", revision: 4 });
  while (store.machine.work(10));
  const page = (revision: number) =>
    store.machine.events({
      key: latin("a"),
      end: latin(""),
      from: { revision, sub: 0 },
      previous: true,
      eventsMax: 100,
      bytesMax: 1_000,
      changesMax: 100,
    });
  assert.deepEqual(page(3), { kind: "compacted", compactRevision: 4 });
  const served = page(4);
  assert.ok(served.kind === "events" && served.caughtUp);
  assert.deepEqual(served.events.map((one) => one.type), ["delete", "put"]);
  assert.ok(served.events.every((one) => one.previous === undefined));
  assert.deepEqual(served.next, { revision: 6, sub: 0 });
  const later = page(9);
  assert.ok(later.kind === "events" && later.caughtUp && later.next.revision === 9);
});

test("a page of a watch may end within a revision and goes on there", () => {
  store.apply(transaction([], ["a", "b", "c"].map((key) => put(key, ""))));
  const request = {
    key: latin("\0"),
    end: latin("\0"),
    previous: false,
    eventsMax: 2,
    bytesMax: 1_000,
    changesMax: 100,
  };
  const first = store.machine.events({ ...request, from: { revision: 2, sub: 0 } });
  assert.ok(first.kind === "events" && !first.caughtUp);
  assert.deepEqual(first.next, { revision: 2, sub: 2 });
  const second = store.machine.events({ ...request, from: first.next });
  assert.ok(second.kind === "events" && second.caughtUp);
  assert.deepEqual(second.events.map((one) => text(one.entry.key)), ["c"]);
  const deletes = store.machine.events({
    ...request,
    from: { revision: 2, sub: 0 },
    withoutPuts: true,
  });
  assert.ok(deletes.kind === "events" && deletes.events.length === 0 && deletes.caughtUp);
});

test("a new leader's empty entry is applied and answers nothing", () => {
  assert.deepEqual(store.bytes(new Uint8Array(0)), { kind: "done", revision: 1 });
  assert.equal(store.machine.appliedIndex, 1);
});

test("a command of a version or a kind that this build does not know is told before it is tried", () => {
  const { machine } = store;
  for (const kind of Object.values(Kind)) {
    for (const version of [1, commandVersion]) {
      assert.ok(machine.supports(Uint8Array.of(version, kind)));
      assert.ok(machine.supports(Uint8Array.of(version, kind | withSession, 9)));
    }
  }
  const newest = Math.max(...Object.values(Kind));
  for (
    const bytes of [[commandVersion + 1], [commandVersion + 1, 1], [255, 0], [9, 1], [
      1,
      newest + 1,
    ], [2, withSession | (newest + 1)]]
  ) {
    assert.equal(machine.supports(Uint8Array.from(bytes)), false, `${bytes}`);
  }
  // What is no command is refused in its place, everywhere alike.
  for (const bytes of [[], [0], [1], [1, 1]]) assert.ok(machine.supports(Uint8Array.from(bytes)));
});
