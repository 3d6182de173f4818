/** What one command may look at and answer, case by case. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { equalBytes } from "../../../src/base/bytes.ts";
import { Prng } from "../../../src/base/prng.ts";
import { inInterval } from "../../../src/kv/core/bytes.ts";
import type { Compare, Operation, PutCommand, RangeRequest } from "../../../src/kv/core/command.ts";
import type { DeleteRangeCommand, TransactionCommand } from "../../../src/kv/core/command.ts";
import { defaultLimits } from "../../../src/kv/core/limits.ts";
import { shapeProblem } from "../../../src/kv/core/transaction.ts";
import { encodeCommand } from "../../../src/kv/core/command_codec.ts";
import { digest, Harness, piecesOf, restored } from "./support.ts";
import type { KvLimits } from "../../../src/kv/core/limits.ts";
import type { KvResult } from "../../../src/kv/core/result.ts";
import { latin } from "./twin.ts";
import { plainRange } from "../../../src/kv/core/range.ts";
import { resultBytes } from "../../../src/kv/core/sessions.ts";

let store = new Harness();
beforeEach(() => {
  store = new Harness();
});

const everything = { key: latin("a"), end: latin("\0") };
const put = (key: string, value = "", previous = false): PutCommand => ({
  kind: "put",
  key: latin(key),
  value: latin(value),
  lease: 0,
  previous,
  ignoreValue: false,
  ignoreLease: false,
});
const range = (more: Partial<RangeRequest> = {}): RangeRequest => ({
  ...plainRange,
  ...everything,
  ...more,
});
const remove = (previous = false) => ({ kind: "deleteRange", ...everything, previous }) as const;
const every = (number: number): Compare => ({
  target: 0,
  operator: 1,
  ...everything,
  number,
  value: latin(""),
});

function run(success: Operation[], compares: Compare[] = [], failure: Operation[] = []): KvResult {
  return store.apply({ kind: "transaction", compares, success, failure });
}

function limit(limits: Partial<KvLimits>): void {
  assert.equal(store.apply({ kind: "configure", limits }).kind, "done");
}

function fill(count: number, valueBytes = 0): void {
  for (let at = 0; at < count; at++) {
    const key = `k${String(at).padStart(5, "0")}`;
    const result = run([put(key, "v".repeat(valueBytes))]);
    assert.equal(result.kind, "transaction");
  }
}

/** It is refused so, and the state is what it was. */
function refused(act: () => KvResult, reason: string): void {
  const { index } = store;
  const revision = store.machine.revision, before = store.machine.range(range());
  const result = act();
  assert.equal(result.kind === "failure" ? result.reason : result.kind, reason);
  assert.equal(store.machine.revision, revision);
  assert.deepEqual(store.machine.range(range()), before);
  assert.equal(store.index, index + 1);
}

const tooLarge = "result_too_large";
const tooMany = "too_many_keys";

test("by default many wide ranges of one transaction are refused, and no single value is", () => {
  fill(30, 150_000);
  refused(() => run([put("z"), range()]), tooLarge);
  refused(
    () => run([put("z"), ...Array.from({ length: 3 }, () => range({ limit: 10 }))]),
    tooLarge,
  );
  assert.equal(run([put("z"), range({ limit: 20 })]).kind, "transaction");
  assert.equal(run([put("z"), range({ keysOnly: true })]).kind, "transaction");
  refused(() => store.apply(remove(true)), tooLarge);
  refused(() => run([remove(true)]), tooLarge);
  assert.equal(run([remove()]).kind, "transaction");
});

test("a result may be as large as the limit to the byte", () => {
  fill(10, 100);
  /** What it answers on a copy. */
  const bytesOf = (act: () => KvResult): number => {
    const real = store;
    store = new Harness();
    store.machine = restored(piecesOf(real.machine));
    store.index = real.index;
    const result = act();
    store = real;
    return resultBytes(result);
  };
  const wanted = (act: () => KvResult): void => {
    const bytes = bytesOf(act);
    limit({ resultBytesMax: bytes - 1 });
    refused(act, tooLarge);
    limit({ resultBytesMax: bytes });
    assert.equal(resultBytes(act()), bytes);
    limit({ resultBytesMax: 1_000_000 });
  };
  wanted(() => run([range(), range({ limit: 3 }), put("z"), range({ keysOnly: true })]));
  wanted(() => run([put("k00000", "", true), put("k00001", "x", true)]));
  wanted(() => run([range({ sortTarget: 3, sortOrder: 2, limit: 4 }), put("y")]));
  wanted(() => store.apply(put("k00002", "x", true)));
  wanted(() => store.apply(remove(true)));
});

test("what a transaction puts counts in its later ranges, what it deletes makes room for others", () => {
  fill(3);
  limit({ resultBytesMax: 2_000 });
  const large = put("p", "v".repeat(1_000));
  refused(() => run([large, range(), range()]), tooLarge);
  assert.equal(run([large, range()]).kind, "transaction");
  refused(() => run([large, range()]), tooLarge);
  assert.equal(
    run([large, range({ countOnly: true }), range({ key: latin("q") })]).kind,
    "transaction",
  );
  // The first key is gone by then, so that a limit of one gives the next.
  fill(1);
  assert.equal(run([put("b", "v".repeat(900))]).kind, "transaction");
  const first = { kind: "deleteRange", key: latin("a"), end: latin("b"), previous: false } as const;
  assert.equal(run([put("a", "")]).kind, "transaction");
  const ranges = Array.from({ length: 3 }, () => range({ limit: 1, end: latin("c") }));
  assert.equal(run([put("x"), ...ranges]).kind, "transaction");
  refused(() => run([first, ...ranges]), tooLarge);
});

test("keys are counted that are looked at one by one, over compares, ranges and deletes", () => {
  fill(1_000);
  limit({ scanKeysMax: 1_000 });
  assert.equal(run([put("z")], [every(0)]).kind, "transaction");
  refused(() => run([put("y")], [every(0)]), tooMany);
  // The first key decides.
  assert.equal(run([], [every(9)], [put("z")]).kind, "transaction");
  refused(() => run([remove()]), tooMany);
  refused(() => run([put("z"), range()]), tooMany);
  const none = { countOnly: true };
  const counts = Array.from({ length: 100 }, () => range(none));
  assert.equal(run([put("z"), ...counts]).kind, "transaction");
  assert.equal(run([put("z"), range({ limit: 900 })]).kind, "transaction");
  refused(() => run([put("z"), range({ limit: 900 }), range({ limit: 900 })]), tooMany);
  refused(() => run([put("z"), range({ ...none, sortTarget: 1 })]), tooMany);
  refused(() => run([put("z"), range({ ...none, modMin: 1 })]), tooMany);
  const { revision } = store.machine;
  refused(() => run([put("z"), range({ ...none, revision })]), tooMany);
  refused(() => run([put("z"), range({ ...none, revision: 2 }), range({ limit: 1 })]), tooMany);
  // A command of its own works in slices.
  const deleted = store.apply(remove());
  assert.ok(deleted.kind === "deleteRange" && deleted.deleted === 1_001);
});

test("deleted keys count nowhere, whether a replica still holds them or not", () => {
  fill(2_000);
  assert.equal(store.apply(remove()).kind, "deleteRange");
  assert.equal(run([put("z")]).kind, "transaction");
  store.apply({ kind: "compact", revision: store.machine.revision });
  limit({ scanKeysMax: 1 });
  const other = restored(piecesOf(store.machine));
  const held = store.machine;
  const commands = (): KvResult[] => [
    run([put("z"), range()], [every(0)]),
    run([put("z"), range({ countOnly: true, sortTarget: 1 })]),
    run([put("z"), range({ revision: held.compactRevision })]),
    run([remove()]),
  ];
  const { index } = store;
  const first = commands();
  while (held.work(1_000));
  store.machine = other;
  store.index = index;
  assert.deepEqual(commands(), first);
  assert.equal(digest(held), digest(other));
  assert.deepEqual(first.map((one) => one.kind === "failure" ? one.reason : one.kind), [
    tooMany,
    "transaction",
    tooMany,
    "transaction",
  ]);
});

test("a transaction at its bound of keys is applied in slices, unseen before it is whole", () => {
  const store = new Harness();
  store.apply({ kind: "configure", limits: { scanKeysMax: 100_000 } });
  const keys = 9_000;
  for (let at = 0; at < keys; at += 100) {
    const success = Array.from({ length: 100 }, (_, one): Operation => ({
      ...put(`k${at + one}`, "x".repeat(100)),
    }));
    store.apply({ kind: "transaction", compares: [], success, failure: [] });
  }
  const { machine } = store;
  const all = { ...plainRange, key: latin("k"), end: latin("l") };
  const nested: Operation = { kind: "transaction", compares: [], success: [all], failure: [] };
  const success: Operation[] = [
    put("k", "new"),
    { ...all, countOnly: true },
    { kind: "deleteRange", key: latin("k1"), end: latin("l"), previous: false },
    nested,
  ];
  const data = encodeCommand({ kind: "transaction", compares: [], success, failure: [] });
  const revision = machine.revision;
  let result = machine.apply({ index: ++store.index, term: 1, data });
  // What was given is not needed any more.
  data.fill(0);
  let slices = 1;
  for (; result === undefined; slices++) {
    assert.equal(machine.revision, revision);
    const seen = machine.range({ ...all, countOnly: true });
    assert.ok(seen.kind === "range" && seen.count === keys);
    result = machine.resume();
  }
  assert.ok(slices >= 4, `${slices} slices`);
  assert.ok(result.kind === "transaction" && result.revision === revision + 1);
  const [, counted, deleted, inner] = result.results;
  assert.ok(counted.kind === "range" && counted.count === keys + 1);
  assert.ok(deleted.kind === "deleteRange" && deleted.deleted === keys - 1);
  assert.ok(inner.kind === "transaction" && inner.results[0].kind === "range");
  assert.deepEqual(inner.results[0].entries.map(({ key }) => key), [latin("k"), latin("k0")]);
});

/** What a transaction puts and deletes, by the operation that does: the rule as it is written. */
function changesTwice(operations: readonly Operation[]): boolean {
  const written = operations.map(writtenBy);
  return operations.some((one) => one.kind === "transaction" && isRefused(one)) ||
    written.some((own, at) =>
      written.some((other, place) =>
        place !== at &&
        own.puts.some((key) =>
          other.puts.some((second) => equalBytes(key, second)) ||
          other.deletes.some((each) => inInterval(key, each.key, each.end))
        )
      )
    );
}

function isRefused({ success, failure }: TransactionCommand): boolean {
  return changesTwice(success) || changesTwice(failure);
}

function writtenBy(operation: Operation): { puts: Uint8Array[]; deletes: DeleteRangeCommand[] } {
  if (operation.kind === "put") return { puts: [operation.key], deletes: [] };
  if (operation.kind === "deleteRange") return { puts: [], deletes: [operation] };
  if (operation.kind === "range") return { puts: [], deletes: [] };
  const all = [...operation.success, ...operation.failure].map(writtenBy);
  return { puts: all.flatMap(({ puts }) => puts), deletes: all.flatMap(({ deletes }) => deletes) };
}

test("which transactions change a key twice is what looking at every pair finds", () => {
  const prng = new Prng(7);
  const keys = ["a", "a\0", "b", "c", "d", "\xff"];
  const some = (depth: number): Operation[] =>
    Array.from({ length: prng.below(4) }, () => operation(depth));
  const transaction = (depth: number): TransactionCommand => ({
    kind: "transaction",
    compares: [],
    success: some(depth),
    failure: some(depth),
  });
  const operation = (depth: number): Operation => {
    if (depth > 0 && prng.chance(0.4)) return transaction(depth - 1);
    if (prng.chance(0.6)) return put(prng.pick(keys));
    const end = latin(prng.pick(["", "\0", ...keys]));
    return { kind: "deleteRange", key: latin(prng.pick(keys)), end, previous: false };
  };
  const seen = [0, 0];
  for (let round = 0; round < 3_000; round++) {
    const one = transaction(2);
    const problem = shapeProblem(one, defaultLimits);
    const expected = isRefused(one) ? "duplicate_key" : undefined;
    assert.equal(problem, expected, JSON.stringify(one));
    seen[expected === undefined ? 0 : 1]++;
  }
  assert.ok(seen.every((count) => count > 300), `${seen}`);
});

test("where an operator allows them, ten thousand puts in one transaction are compared with few", () => {
  const operations = 10_000;
  const success = Array.from({ length: operations }, (_, at) => put(`k/${at * 7 % operations}`));
  let looks = 0;
  // Every comparison of two keys begins with a look at how long they are.
  for (const { key } of success) {
    const { length } = key;
    Object.defineProperty(key, "length", {
      get: () => {
        looks++;
        return length;
      },
    });
  }
  const whole: TransactionCommand = { kind: "transaction", compares: [], success, failure: [] };
  assert.equal(shapeProblem(whole, { ...defaultLimits, operationsMax: operations }), undefined);
  assert.ok(looks < 2_000_000, `${looks} looks`);
});
