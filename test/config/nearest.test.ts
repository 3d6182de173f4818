/** "Did you mean": the edit distance against a naive twin, and when to keep quiet. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "npm:fast-check@4.10.2";
import { editDistance, nearest } from "../../src/config/nearest.ts";

/** The definition, without a table. */
function naive(a: string, b: string): number {
  if (a === "" || b === "") return a.length + b.length;
  const best = Math.min(
    naive(a.slice(1), b) + 1,
    naive(a, b.slice(1)) + 1,
    naive(a.slice(1), b.slice(1)) + (a[0] === b[0] ? 0 : 1),
  );
  return a.length > 1 && b.length > 1 && a[0] === b[1] && a[1] === b[0]
    ? Math.min(best, naive(a.slice(2), b.slice(2)) + 1)
    : best;
}

test("the table gives what the definition gives", () => {
  const word = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 5 }).map((all) =>
    all.join("")
  );
  fc.assert(fc.property(word, word, (a, b) => {
    assert.equal(editDistance(a, b), naive(a, b));
  }));
});

test("near names are found, far ones are not", () => {
  const names = ["level", "format", "message_bytes_max"];
  assert.equal(nearest("levle", names), "level");
  assert.equal(nearest("FORMAT", names), "format");
  assert.equal(nearest("mesage_byte_max", names), "message_bytes_max");
  assert.equal(nearest("zzzzz", names), undefined);
  assert.equal(nearest("x".repeat(1000), names), undefined);
  assert.equal(nearest("level", []), undefined);
  assert.equal(nearest("bus", ["tls", "kv"]), undefined, "hardly a letter is right");
  assert.equal(nearest("", ["kv"]), undefined);
});
