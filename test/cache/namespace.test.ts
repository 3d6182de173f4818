/** One node's cache: single flight, errors, cancellation, times to live, limits. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { MetricsRegistry } from "../../src/base/metrics.ts";
import { showCacheMetrics } from "../../src/cache/metrics.ts";
import { cacheReasonOf } from "../../src/cache/refusal.ts";
import {
  heldSource,
  loneCache,
  ManualClock,
  outcomeOf,
  type Run,
  turns,
  valueOf,
} from "./support.ts";

/** The reason, or the code, of what a call throws. */
function reasonOf(call: () => unknown): string | number | undefined {
  try {
    call();
  } catch (error) {
    assert.ok(error instanceof CoveyError, `${error}`);
    return cacheReasonOf(error) ?? error.code;
  }
  return undefined;
}

test("a value is filled once for all who ask at a time, and then kept", async () => {
  const runs: Run[] = [];
  const cache = loneCache();
  const images = cache.open("images", { fill: heldSource(runs) });
  assert.equal(images.peek("a"), undefined);
  const outcomes = Array.from({ length: 1000 }, () => outcomeOf(images.get("a")));
  const other = outcomeOf(images.get("b"));
  await turns(1);
  assert.deepEqual(runs.map(({ key }) => key), ["a", "b"]);
  assert.equal(cache.crowd.waiting, 1001);
  runs[0].resolve(valueOf("a"));
  await turns(1);
  assert.ok(outcomes.every(({ value }) => value !== undefined && value.length === 10));
  assert.equal(other.state, "waits");
  assert.deepEqual(await images.get("a"), valueOf("a"));
  assert.deepEqual(images.peek("a"), valueOf("a"));
  assert.equal(runs.length, 2);
  assert.deepEqual(
    [cache.counters.hits, cache.counters.misses, cache.counters.filled, cache.crowd.waiting],
    [2, 1001, 1, 1],
  );
  cache.stop();
});

test("an error is shared by those who wait, and not kept", async () => {
  const runs: Run[] = [];
  const cache = loneCache();
  const images = cache.open("images", { fill: heldSource(runs) });
  const outcomes = [1, 2, 3].map(() => outcomeOf(images.get("a")));
  const cause = new CoveyError(Code.notFound, "no such image");
  runs[0].reject(cause);
  await turns(1);
  for (const { error, reason } of outcomes) {
    assert.equal(reason, "fill_failed");
    assert.equal(error!.code, Code.notFound);
    assert.equal(error!.rawMessage, "the source of images failed: no such image");
    assert.equal(error!.cause, cause);
  }
  const next = outcomeOf(images.get("a"));
  runs[1].resolve(valueOf("a"));
  await turns(1);
  assert.equal(next.state, "value");
  assert.deepEqual([cache.counters.fillErrors, cache.counters.filled], [1, 1]);
  cache.stop();
});

test("an error may be kept for a while", async () => {
  const clock = new ManualClock();
  const runs: Run[] = [];
  const cache = loneCache({ ttlJitter: 0 }, clock);
  const images = cache.open("images", { fill: heldSource(runs), errorTtlMs: 500 });
  const first = outcomeOf(images.get("a"));
  runs[0].reject(new Error("x".repeat(5000)));
  await turns(1);
  assert.equal(first.error!.code, Code.unknown);
  assert.ok(first.error!.rawMessage.length < 1100, "what everybody is told is bounded");
  await clock.advance(499);
  const second = outcomeOf(images.get("a"));
  await turns(1);
  assert.equal(second.reason, "fill_failed");
  assert.equal(second.error!.cause, undefined, "what is kept holds nothing of the source");
  assert.equal(images.peek("a"), undefined);
  await clock.advance(1);
  const third = outcomeOf(images.get("a"));
  assert.equal(runs.length, 2);
  runs[1].resolve(valueOf("a"));
  await turns(1);
  assert.equal(third.state, "value");
  cache.stop();
});

test("whatever a source does, its key is not stuck", async () => {
  const cache = loneCache();
  const gives: Record<string, () => unknown> = {
    "throws at once": () => {
      throw new TypeError("at once");
    },
    "gives a string": () => "text",
    "gives nothing": () => undefined,
    "gives null": () => null,
    "gives a promise of nothing": () => Promise.resolve(),
    "gives an object without a value": () => ({ ttlMs: 5 }),
    "gives a negative time": () => ({ value: new Uint8Array(1), ttlMs: -1 }),
    "gives no number": () => ({ value: new Uint8Array(1), ttlMs: Number.NaN }),
    "gives what throws": () => ({
      get value() {
        throw new Error("a getter");
      },
    }),
    "throws nothing": () => Promise.reject(undefined),
  };
  let healed = false;
  const odd = cache.open("odd", {
    fill: (key) => healed ? valueOf(key) : gives[key]() as Uint8Array,
  });
  for (const key of Object.keys(gives)) {
    const outcome = outcomeOf(odd.get(key));
    await turns(1);
    assert.equal(outcome.reason, "fill_failed", key);
  }
  healed = true;
  for (const key of Object.keys(gives)) assert.deepEqual(await odd.get(key), valueOf(key));
  assert.deepEqual([cache.slots.active, cache.slots.running, cache.crowd.waiting], [0, 0, 0]);
  cache.stop();
});

test("who leaves takes nobody along; when the last one has left the source is told", async () => {
  const runs: Run[] = [];
  const cache = loneCache();
  const images = cache.open("images", { fill: heldSource(runs) });
  const [first, second] = [new AbortController(), new AbortController()];
  const outcomes = [first, second].map(({ signal }) => outcomeOf(images.get("a", { signal })));
  first.abort();
  await turns(1);
  assert.deepEqual(outcomes.map(({ state }) => state), ["error", "waits"]);
  assert.equal(outcomes[0].reason, Code.canceled);
  assert.ok(!runs[0].signal.aborted);
  second.abort();
  await turns(1);
  assert.ok(runs[0].signal.aborted);
  assert.equal(outcomes[1].reason, Code.canceled);
  // The key is not stuck, although the first run still goes on, and its late value is dropped.
  const third = outcomeOf(images.get("a"));
  assert.equal(runs.length, 2);
  runs[0].resolve(new Uint8Array(3));
  await turns(1);
  assert.equal(third.state, "waits");
  assert.equal(images.peek("a"), undefined);
  runs[1].resolve(valueOf("a"));
  await turns(1);
  assert.deepEqual(third.value, valueOf("a"));
  assert.deepEqual([cache.slots.running, cache.crowd.waiting], [0, 0]);
  const aborted = outcomeOf(images.get("b", { signal: first.signal }));
  await turns(1);
  assert.equal(aborted.reason, Code.canceled);
  assert.equal(runs.length, 2, "who has left already starts nothing");
  cache.stop();
});

test("each caller has its own time", async () => {
  const clock = new ManualClock();
  const runs: Run[] = [];
  const cache = loneCache({}, clock);
  const images = cache.open("images", { fill: heldSource(runs) });
  const short = outcomeOf(images.get("a", { timeoutMs: 100 }));
  const long = outcomeOf(images.get("a", { timeoutMs: 300 }));
  const none = outcomeOf(images.get("a", { timeoutMs: 0 }));
  const odd = outcomeOf(images.get("a", { timeoutMs: Number.NaN }));
  await clock.advance(99);
  assert.deepEqual([none.reason, odd.reason, short.state], [4, 4, "waits"]);
  await clock.advance(1);
  assert.deepEqual([short.reason, long.state], [Code.deadlineExceeded, "waits"]);
  assert.ok(!runs[0].signal.aborted);
  const shorter = outcomeOf(images.get("a", { timeoutMs: 50 }));
  await clock.advance(50);
  assert.equal(shorter.reason, Code.deadlineExceeded);
  await clock.advance(150);
  assert.equal(long.reason, Code.deadlineExceeded);
  assert.ok(runs[0].signal.aborted);
  assert.equal(clock.timers, 0, "what is over keeps no timer");
  cache.stop();
});

test("a source that hangs is given up, and its key is filled anew", async () => {
  const clock = new ManualClock();
  const runs: Run[] = [];
  const cache = loneCache({ fillTimeoutMs: 2000 }, clock);
  const images = cache.open("images", { fill: heldSource(runs) });
  const outcome = outcomeOf(images.get("a"));
  await clock.advance(1999);
  assert.equal(outcome.state, "waits");
  await clock.advance(1);
  assert.equal(outcome.reason, "fill_timeout");
  assert.equal(outcome.error!.code, Code.deadlineExceeded);
  assert.ok(runs[0].signal.aborted);
  const again = outcomeOf(images.get("a"));
  runs[1].resolve(valueOf("a"));
  await turns(1);
  assert.equal(again.state, "value");
  cache.stop();
});

test("sources run a few at a time; those that ignore the signal hold up others only so far", async () => {
  const clock = new ManualClock();
  const runs: Run[] = [];
  const cache = loneCache({ fillsMax: 2, fillTimeoutMs: 5000 }, clock);
  const images = cache.open("images", { fill: heldSource(runs) });
  const keys = ["a", "b", "c", "d", "e", "f"];
  const leaving = keys.map(() => new AbortController());
  const outcomes = keys.map((key, at) =>
    outcomeOf(images.get(key, { signal: leaving[at].signal }))
  );
  assert.deepEqual(runs.map(({ key }) => key), ["a", "b"]);
  assert.equal(cache.slots.queued, 4);
  // Who leaves the queue never runs.
  leaving[2].abort();
  // Told to stop, they do not: two others run in their place, and no more.
  leaving[0].abort();
  leaving[1].abort();
  assert.deepEqual(runs.map(({ key }) => key), ["a", "b", "d", "e"]);
  assert.deepEqual([cache.slots.active, cache.slots.running], [2, 4]);
  leaving[3].abort();
  assert.equal(runs.length, 4);
  runs[0].resolve(valueOf("a"));
  await turns(1);
  assert.deepEqual(runs.map(({ key }) => key), ["a", "b", "d", "e", "f"]);
  const late = outcomeOf(images.get("g"));
  await clock.advance(5000);
  assert.equal(late.reason, "fill_timeout");
  assert.match(late.error!.rawMessage, /its turn did not come/);
  assert.equal(outcomes[4].reason, "fill_timeout");
  for (const run of runs) run.reject(new Error("late"));
  await turns(1);
  assert.deepEqual([cache.slots.active, cache.slots.running, cache.slots.queued], [0, 0, 0]);
  cache.stop();
});

test("values end at their time, shortened at random, and leave memory by themselves", async () => {
  const clock = new ManualClock();
  const cache = loneCache({ ttlJitter: 0.5, sweepMs: 60_000 }, clock);
  let fills = 0;
  const images = cache.open("images", {
    ttlMs: 10_000,
    fill: (key) => {
      fills++;
      if (key === "for ever") return { value: valueOf(key), ttlMs: Infinity };
      return key === "short" ? { value: valueOf(key), ttlMs: 100 } : valueOf(key);
    },
  });
  const keys = Array.from({ length: 200 }, (_, at) => `k${at}`);
  for (const key of [...keys, "for ever", "short"]) await images.get(key);
  const there = () => keys.filter((key) => images.peek(key) !== undefined).length;
  await clock.advance(100);
  assert.equal(images.peek("short"), undefined);
  await clock.advance(4850);
  assert.equal(there(), 200, "half of the time is left to all");
  await clock.advance(2500);
  assert.ok(there() > 60 && there() < 140, `${there()} of 200 in the middle`);
  await clock.advance(2550);
  assert.equal(there(), 0);
  assert.equal(fills, 202);
  // Nobody asks for these any more.
  for (const key of keys) await images.get(key);
  assert.equal(cache.store.entries, 201);
  await clock.advance(120_000);
  assert.equal(cache.store.entries, 1);
  assert.notEqual(images.peek("for ever"), undefined);
  assert.equal(clock.timers, 0, "what does not end wakes nobody");
  assert.equal(cache.counters.expired, 401);
  cache.stop();
});

test("what is too large is passed on and not kept", async () => {
  const cache = loneCache({ valueBytesMax: 1000 });
  let fills = 0;
  const images = cache.open("images", {
    fill: (key) => {
      fills++;
      return new Uint8Array(Number(key));
    },
  });
  for (const size of ["1000", "1001", "100000"]) {
    for (let time = 0; time < 2; time++) {
      assert.equal((await images.get(size)).length, Number(size));
    }
  }
  assert.equal(fills, 1 + 2 + 2);
  assert.deepEqual([cache.counters.passedThrough, images.entries], [4, 1]);
  cache.stop();
});

test("what is no key and no namespace is refused", async () => {
  const cache = loneCache({ keyBytesMax: 10, namespacesMax: 2 });
  const images = cache.open("images", { fill: valueOf });
  const bad = ["", "0123456789a", "ééééé1", "\ud800"].map((key) => outcomeOf(images.get(key)));
  await turns(1);
  assert.deepEqual(bad.map(({ reason }) => reason), [
    "key_empty",
    "key_too_large",
    "key_too_large",
    "key_malformed",
  ]);
  assert.ok(bad.every(({ error }) => error!.code === Code.invalidArgument));
  for (const name of ["", "A", "-a", "a b", "x".repeat(65), "a/b"]) {
    assert.equal(reasonOf(() => cache.open(name)), "namespace_invalid", name);
  }
  assert.equal(reasonOf(() => cache.open("images")), "namespace_taken");
  assert.equal(reasonOf(() => cache.open("bad", { ttlMs: 0 })), Code.invalidArgument);
  assert.equal(reasonOf(() => cache.open("bad", { errorTtlMs: -1 })), Code.invalidArgument);
  const plain = cache.open("documents", {});
  assert.equal(reasonOf(() => cache.open("third")), "too_many_namespaces");
  const nobody = outcomeOf(plain.get("a"));
  await turns(1);
  assert.equal(nobody.reason, "not_offered");
  assert.deepEqual(cache.offered, ["images"]);
  cache.stop();
});

test("settings that cannot be are refused by name", () => {
  for (
    const options of [
      { memoryBytesMax: 1 },
      { copyShare: 1.5 },
      { copyOneIn: 0.5 },
      { ttlJitter: -0.1 },
      { fillsMax: 0 },
      { waitersMax: Number.NaN },
    ]
  ) {
    const [name] = Object.keys(options);
    assert.throws(() => loneCache(options), (error: CoveyError) => {
      return error.code === Code.invalidArgument && error.rawMessage.includes(name);
    });
  }
});

test("only so many wait", async () => {
  const runs: Run[] = [];
  const cache = loneCache({ waitersMax: 3 });
  const images = cache.open("images", { fill: heldSource(runs) });
  const outcomes = ["a", "a", "b", "a", "c"].map((key) => outcomeOf(images.get(key)));
  await turns(1);
  assert.deepEqual(outcomes.map(({ reason }) => reason), [
    undefined,
    undefined,
    undefined,
    "too_many_waiters",
    "too_many_waiters",
  ]);
  runs[0].resolve(valueOf("a"));
  await turns(1);
  assert.equal(outcomeOf(images.get("c")).state, "waits");
  assert.equal(cache.counters.waitersRefused, 2);
  cache.stop();
});

test("what is removed while it is filled is told to those who wait, and not kept", async () => {
  const runs: Run[] = [];
  const cache = loneCache();
  const images = cache.open("images", { fill: heldSource(runs), errorTtlMs: 1000 });
  const before = outcomeOf(images.get("a"));
  assert.equal(images.remove("a"), 0);
  const after = outcomeOf(images.get("a"));
  assert.equal(runs.length, 2, "who asks afterwards gets nothing from before");
  runs[0].resolve(new Uint8Array(1));
  await turns(1);
  assert.equal(before.value!.length, 1);
  assert.equal(after.state, "waits");
  assert.equal(images.peek("a"), undefined);
  runs[1].resolve(valueOf("a"));
  await turns(1);
  assert.deepEqual(images.peek("a"), valueOf("a"));
  assert.equal(images.remove("a"), 1);
  assert.equal(images.peek("a"), undefined);
  cache.stop();
});

test("a namespace is emptied at once for those who ask, and its memory in pieces", async () => {
  const clock = new ManualClock();
  const cache = loneCache({ memoryBytesMax: 64 << 20 }, clock);
  const images = cache.open("images", { fill: valueOf });
  const other = cache.open("other", { fill: valueOf });
  await other.get("a");
  for (let at = 0; at < 10_000; at++) await images.get(`k${at}`);
  assert.equal(images.remove(), 10_000);
  assert.equal(images.peek("k1"), undefined);
  assert.ok(cache.store.entries > 5000, "the rest goes in turns of their own");
  await images.get("k1");
  await clock.advance(10);
  assert.equal(cache.store.entries, 2);
  assert.deepEqual(images.peek("k1"), valueOf("k1"));
  assert.deepEqual(other.peek("a"), valueOf("a"));
  assert.equal(cache.counters.removed, 10_000);
  cache.stop();
});

test("a namespace that closes refuses those who wait and may be opened again", async () => {
  const runs: Run[] = [];
  const cache = loneCache();
  const first = cache.open("images", { fill: heldSource(runs) });
  const waiting = outcomeOf(first.get("a"));
  first.close();
  first.close();
  await turns(1);
  assert.equal(waiting.reason, "not_offered");
  assert.ok(runs[0].signal.aborted);
  assert.deepEqual(cache.offered, []);
  const late = outcomeOf(first.get("a"));
  const second = cache.open("images", { fill: valueOf });
  assert.deepEqual(await second.get("a"), valueOf("a"));
  runs[0].resolve(new Uint8Array(1));
  await turns(1);
  assert.equal(late.reason, "not_offered");
  assert.deepEqual(second.peek("a"), valueOf("a"));
  cache.stop();
});

test("a node that stops refuses who waits and answers from memory", async () => {
  const clock = new ManualClock();
  const runs: Run[] = [];
  const cache = loneCache({ fillsMax: 1 }, clock);
  const images = cache.open("images", { fill: heldSource(runs), ttlMs: 1000 });
  const first = outcomeOf(images.get("a"));
  runs[0].resolve(valueOf("a"));
  await turns(1);
  assert.equal(first.state, "value");
  const waiting = ["b", "c"].map((key) => outcomeOf(images.get(key)));
  cache.stop();
  cache.stop();
  await turns(1);
  assert.deepEqual(waiting.map(({ reason }) => reason), ["stopping", "stopping"]);
  assert.deepEqual(runs.map(({ key, signal }) => [key, signal.aborted]), [["a", false], [
    "b",
    true,
  ]]);
  assert.deepEqual(await images.get("a"), valueOf("a"));
  const late = outcomeOf(images.get("c"));
  await turns(1);
  assert.equal(late.reason, "stopping");
  assert.equal(reasonOf(() => cache.open("other")), "stopping");
  assert.equal(clock.timers, 0);
});

test("the numbers are shown", async () => {
  const cache = loneCache();
  const registry = new MetricsRegistry();
  showCacheMetrics(registry, cache);
  const images = cache.open("images", { fill: valueOf });
  await images.get("a");
  await images.get("a");
  const text = registry.expose("prometheus");
  for (
    const line of [
      'covey_cache_answers_total{from="memory"} 1',
      'covey_cache_answers_total{from="source"} 1',
      "covey_cache_misses_total 1",
      'covey_cache_entries{kind="own"} 1',
      "covey_cache_memory_max_bytes 33554432",
      "covey_cache_waiting 0",
    ]
  ) assert.ok(text.includes(`${line}\n`), `${line} in\n${text}`);
  cache.stop();
});
