/** When the leader proposes that leases end, and what it writes down of the others. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkpointEveryMs, LeaseClock } from "../../../src/kv/core/lease_clock.ts";

test("a lease is due after its time to live, and given once", () => {
  const clock = new LeaseClock();
  clock.granted({ id: 2, ttlMs: 1_000, remainingMs: 0 }, 0);
  clock.granted({ id: 1, ttlMs: 1_000, remainingMs: 0 }, 0);
  assert.equal(clock.nextMs(), 1_000);
  assert.deepEqual(clock.expired(999, 10), []);
  assert.deepEqual(clock.expired(1_000, 10), [1, 2]);
  assert.deepEqual(clock.expired(5_000, 10), []);
  assert.equal(clock.nextMs(), undefined);
  clock.retry([2]);
  assert.deepEqual(clock.expired(5_000, 10), [2]);
  clock.removed(2);
  clock.retry([2]);
  assert.deepEqual(clock.expired(9_000, 10), []);
});

test("renewing starts over; what is due or proposed is not renewed", () => {
  const clock = new LeaseClock();
  clock.granted({ id: 1, ttlMs: 1_000, remainingMs: 0 }, 0);
  assert.deepEqual(clock.renew(1, 900), { ttlMs: 1_000, checkpoint: 0 });
  assert.equal(clock.remainingMs(1, 1_000), 900);
  assert.deepEqual(clock.expired(1_899, 10), []);
  assert.equal(clock.renew(1, 1_900), undefined);
  assert.deepEqual(clock.expired(1_900, 10), [1]);
  assert.equal(clock.renew(1, 1_900), undefined);
  assert.equal(clock.remainingMs(1, 1_900), undefined);
  assert.equal(clock.renew(7, 0), undefined);
});

test("a new leader begins with what the checkpoint left, a renewal clears it", () => {
  const clock = new LeaseClock();
  clock.granted({ id: 9, ttlMs: 1_000, remainingMs: 0 }, 0);
  clock.promote([{ id: 1, ttlMs: 10_000, remainingMs: 4_000 }], 500);
  assert.equal(clock.remainingMs(9, 500), undefined);
  assert.equal(clock.nextMs(), 4_500);
  const asked = { ttlMs: 10_000, checkpoint: 1 };
  assert.deepEqual(clock.renew(1, 1_000), asked);
  assert.deepEqual(clock.renew(1, 1_500), asked, "until it is applied, everybody waits for it");
  clock.checkpointCleared(1, 1);
  assert.deepEqual(clock.renew(1, 2_000), { ttlMs: 10_000, checkpoint: 0 });
  clock.demote();
  assert.equal(clock.nextMs(), undefined);
});

test("long leases are checkpointed from time to time, short ones never", () => {
  const clock = new LeaseClock();
  const ttlMs = 3 * checkpointEveryMs;
  clock.granted({ id: 2, ttlMs, remainingMs: 0 }, 0);
  clock.granted({ id: 1, ttlMs, remainingMs: 0 }, 0);
  clock.granted({ id: 3, ttlMs: 2_000, remainingMs: 0 }, 0);
  assert.deepEqual(clock.expired(2_000, 10), [3]);
  assert.equal(clock.nextMs(), checkpointEveryMs);
  assert.deepEqual(clock.checkpoints(checkpointEveryMs - 1, 10), []);
  assert.deepEqual(clock.checkpoints(checkpointEveryMs, 10), [
    { id: 1, remainingMs: 2 * checkpointEveryMs },
    { id: 2, remainingMs: 2 * checkpointEveryMs },
  ]);
  assert.deepEqual(clock.checkpoints(checkpointEveryMs, 10), []);
  const renewed = clock.renew(1, checkpointEveryMs);
  assert.ok(renewed !== undefined && renewed.checkpoint > 0);
  // The next checkpoint stands behind what that renewal asked for, which clears another one.
  assert.equal(clock.checkpoints(2 * checkpointEveryMs, 10).length, 2);
  clock.checkpointCleared(1, renewed.checkpoint);
  assert.ok((clock.renew(1, 2 * checkpointEveryMs)?.checkpoint ?? 0) > renewed.checkpoint);
});

test("at most as many as asked for", () => {
  const clock = new LeaseClock();
  for (let id = 1; id <= 5; id++) clock.granted({ id, ttlMs: 1_000, remainingMs: 0 }, 0);
  assert.equal(clock.expired(1_000, 2).length, 2);
  assert.equal(clock.expired(1_000, 2).length, 2);
  assert.equal(clock.expired(1_000, 2).length, 1);
});
