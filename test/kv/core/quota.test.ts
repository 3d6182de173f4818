/** What a put counts towards the quota when it keeps the value that is there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { PutCommand } from "../../../src/kv/core/command.ts";
import { recordBytes } from "../../../src/kv/core/limits.ts";
import type { KvResult } from "../../../src/kv/core/result.ts";
import { Harness } from "./support.ts";
import { latin } from "./twin.ts";

const valueBytes = 1_000;

const put = (key: string, bytes: number, ignoreValue = false): PutCommand => ({
  kind: "put",
  key: latin(key),
  value: new Uint8Array(bytes),
  lease: 0,
  previous: false,
  ignoreValue,
  ignoreLease: false,
});

function outcome(result: KvResult): string {
  return result.kind === "failure" ? result.reason : result.kind;
}

test("a put that keeps its value counts that value again, alone and in a transaction", () => {
  const keeping = put("a", 0, true);
  const asTransaction = {
    kind: "transaction",
    compares: [],
    success: [keeping],
    failure: [],
  } as const;
  for (const command of [keeping, asTransaction]) {
    for (const missing of [1, 0]) {
      const store = new Harness();
      const revision = recordBytes(1, valueBytes);
      store.apply({ kind: "configure", limits: { databaseBytesMax: 2 * revision - missing } });
      assert.equal(outcome(store.apply(put("a", valueBytes))), "put");
      assert.equal(outcome(store.apply(command)), missing > 0 ? "no_space" : command.kind);
      assert.equal(store.machine.bytes, missing > 0 ? revision : 2 * revision);
      // As full as may be, or with room for one that is smaller.
      assert.equal(outcome(store.apply(put("b", 0))), missing > 0 ? "put" : "no_space");
    }
  }
});
