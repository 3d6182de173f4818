/** Hundreds of small clusters that fare badly, and then well again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { playAll } from "./play.ts";

const isBun = "bun" in process.versions;
/** Once is enough for most of it: the core has no engine's own numbers in it. */
const seeds = isBun ? 600 : 60;

test(`${seeds} seeds: whatever fails, each change is safe and has its reason; then it converges`, () => {
  const seen = playAll(1, seeds);
  const kinds = [
    "add",
    "promote 1",
    "promote 2",
    "left voter",
    "lost voter",
    "dead voter",
    "excess voter",
    "exchange",
    "left learner",
    "lost learner",
    "dead learner",
    "transfer",
    "converged",
    "flaps",
  ];
  assert.deepEqual(
    kinds.filter((kind) => (seen[kind] ?? 0) === 0),
    [],
    "every kind of change came",
  );
});
