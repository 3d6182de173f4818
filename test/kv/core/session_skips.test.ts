/** Sessions of clients that count as they like: numbers far ahead, up to the largest there is. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { PutCommand } from "../../../src/kv/core/command.ts";
import { digest, Harness, piecesOf, restored } from "./support.ts";
import { latin } from "./twin.ts";

const put: PutCommand = {
  kind: "put",
  key: latin("a"),
  value: latin("1"),
  lease: 0,
  previous: true,
  ignoreValue: false,
  ignoreLease: false,
};

test("acknowledging very far ahead forgets what there is, and takes no time for what there is not", () => {
  const store = new Harness();
  const opened = store.apply({ kind: "sessionOpen" });
  assert.ok(opened.kind === "sessionOpen");
  const { session } = opened;
  const empty = store.machine.statistics().sessionBytes;
  for (const sequence of [1, 2, 5, 2 ** 40]) {
    assert.equal(store.apply(put, { session, sequence, acknowledged: 0 }).kind, "put");
  }
  assert.ok(store.machine.statistics().sessionBytes > empty);
  const last = Number.MAX_SAFE_INTEGER;
  const header = { session, sequence: last, acknowledged: last - 1 };
  const result = store.apply(put, header);
  assert.equal(result.kind, "put");
  assert.deepEqual(store.apply(put, header), result, "its result is kept");
  for (const sequence of [1, 5, 2 ** 40, last - 1]) {
    const late = store.apply(put, { session, sequence, acknowledged: 0 });
    assert.equal(late.kind === "failure" ? late.reason : late.kind, "session_stale");
  }
  assert.equal(store.machine.revision, 6);
  const copy = restored(piecesOf(store.machine));
  assert.equal(digest(copy), digest(store.machine));
});
