/** When a store compacts itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { compactionDue } from "../../../src/kv/core/compaction_policy.ts";
import { Harness } from "./support.ts";
import { latin } from "./twin.ts";

function overwritten(times: number): Harness {
  const store = new Harness();
  for (let at = 0; at < times; at++) {
    store.apply({
      kind: "put",
      key: latin("a"),
      value: latin("x".repeat(35)),
      lease: 0,
      previous: false,
      ignoreValue: false,
      ignoreLease: false,
    });
  }
  return store;
}

test("by revisions: an eighth above the bound, back to the bound", () => {
  const policy = { revisions: 80, historyBytes: 0 };
  assert.equal(compactionDue(overwritten(89).machine, policy), undefined);
  const { machine } = overwritten(90);
  assert.equal(machine.revision, 91);
  assert.equal(compactionDue(machine, policy), 11);
});

test("by bytes of history: the earliest revision that leaves no more than the bound", () => {
  // Each overwrite leaves 100 bytes behind: 64 and a key of 1 and a value of 35.
  const policy = { revisions: 0, historyBytes: 800 };
  assert.equal(compactionDue(overwritten(10).machine, policy), undefined);
  const store = overwritten(11);
  assert.equal(store.machine.statistics().historyBytes, 1_000);
  const due = compactionDue(store.machine, policy);
  assert.equal(due, 4);
  store.apply({ kind: "compact", revision: due ?? 0 });
  assert.equal(store.machine.statistics().historyBytes, 800);
  assert.equal(compactionDue(store.machine, policy), undefined);
});

test("without bounds never", () => {
  assert.equal(
    compactionDue(overwritten(500).machine, { revisions: 0, historyBytes: 0 }),
    undefined,
  );
});
