/** When a member that was evicted asks to be let in again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import { Comeback, lanComeback } from "../../../src/membership/core/comeback.ts";

const others = Array.from({ length: 30 }, (_, at) => `tcp://n${at}:7946`);
const { pauseMs, pauseMsMax, growth, answerMs, asked, fraction } = lanComeback;
const wanted = Math.ceil(asked * fraction);

function evicted(nowMs = 0): Comeback {
  const comeback = new Comeback(lanComeback, new Prng(1), 0);
  comeback.evicted(others, nowMs);
  return comeback;
}

/** Time passes until there is something to do. */
function pass(comeback: Comeback): number {
  const nowMs = comeback.dueMs;
  comeback.tick(nowMs);
  return nowMs;
}

test("comeback: the first time it tries at once, and is ready when enough answer", () => {
  const comeback = evicted(5_000);
  assert.equal(comeback.dueMs, 5_000);
  comeback.tick(5_000);
  const whom = comeback.take();
  assert.equal(new Set(whom).size, asked);
  assert.ok(whom.every((address) => others.includes(address)));
  for (const address of whom.slice(0, wanted - 1)) comeback.answered(address);
  // The same one again is not one more, and neither is somebody who was not asked.
  comeback.answered(whom[0]);
  comeback.answered(others.find((address) => !whom.includes(address))!);
  assert.equal(comeback.phase, "trying");
  comeback.answered(whom[wanted - 1]);
  assert.equal(comeback.phase, "ready");
  assert.deepEqual(comeback.take(), []);
});

test("comeback: whoever is not answered by enough waits longer each time", () => {
  const comeback = evicted();
  let lastMs = 0;
  for (let failure = 1; pauseMs * growth ** (failure - 1) < pauseMsMax; failure++) {
    const triedMs = pass(comeback);
    for (const address of comeback.take().slice(0, wanted - 1)) comeback.answered(address);
    assert.equal(comeback.dueMs, triedMs + answerMs);
    lastMs = pass(comeback);
    assert.equal(comeback.phase, "pausing");
    const pause = Math.min(pauseMs * growth ** (failure - 1), pauseMsMax);
    assert.ok(comeback.dueMs >= lastMs + pause, `${comeback.dueMs - lastMs} after ${failure}`);
    assert.ok(comeback.dueMs <= lastMs + pause * 1.5);
  }
});

test("comeback: after the longest pause it asks without a trial, since all it knew may be gone", () => {
  const comeback = evicted();
  let pauses = 0;
  while (comeback.phase !== "ready") {
    if (comeback.phase === "pausing") pauses++;
    pass(comeback);
    assert.ok(pauses < 20);
  }
  assert.ok(comeback.dueMs === Infinity && pauses > 3, `${pauses} pauses`);
});

test("comeback: one that knows nobody else asks its seeds at once", () => {
  const comeback = new Comeback(lanComeback, new Prng(1), 0);
  comeback.evicted([], 0);
  pass(comeback);
  assert.equal(comeback.phase, "ready");
});

test("comeback: evictions soon after one another count, those after a long stay do not", () => {
  const comeback = evicted();
  const back = (): number => {
    const nowMs = pass(comeback);
    for (const address of comeback.take()) comeback.answered(address);
    assert.equal(comeback.phase, "ready");
    comeback.joined(nowMs);
    return nowMs;
  };
  let nowMs = back();
  comeback.evicted(others, nowMs + 1_000);
  assert.ok(comeback.dueMs >= nowMs + 1_000 + pauseMs);
  nowMs = back();
  comeback.evicted(others, nowMs + 1_000);
  assert.ok(comeback.dueMs >= nowMs + 1_000 + pauseMs * growth);
  nowMs = back();
  comeback.evicted(others, nowMs + pauseMsMax);
  assert.equal(comeback.dueMs, nowMs + pauseMsMax);
});
