/** The JSON reader agrees with the engine's on what is JSON and on what it means. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "npm:fast-check@4.10.2";
import { readJson } from "../../src/config/json.ts";
import { ConfigError } from "../../src/config/problem.ts";
import { lookUp, toPlain } from "../../src/config/tree.ts";

test("what the engine writes is read back", () => {
  fc.assert(fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(0, 1, 2), (value, space) => {
    const text = JSON.stringify({ root: value }, null, space);
    // The reader gives integers beyond 2^53 as bigints, which is what the schema refuses.
    const plain = JSON.stringify(
      toPlain(readJson(text, "c.json")),
      (_, each) => typeof each === "bigint" ? Number(each) : each,
    );
    assert.equal(plain, JSON.stringify({ root: value }));
  }));
});

test("what the engine refuses is refused", () => {
  const token = fc.constantFrom(
    ...["{", "}", "[", "]", ",", ":", '"a"', '"b"', "1", "-", "01", "1.", "1e5", ".5", "true"],
    ...["nul", "null", " ", "\n", '"\\u12"', '"\t"', "+1", "\u00a0", "truefalse", "-0"],
  );
  fc.assert(
    fc.property(fc.array(token, { maxLength: 9 }), (tokens) => {
      const text = `{"x": ${tokens.join("")}}`;
      let expected = true;
      try {
        JSON.parse(text);
      } catch {
        expected = false;
      }
      let accepted = true;
      let twice = false;
      try {
        readJson(text, "c.json");
      } catch (error) {
        assert.ok(error instanceof ConfigError);
        accepted = false;
        twice = error.message.includes("comes twice");
      }
      if (!twice) assert.equal(accepted, expected, text);
    }),
    { numRuns: 3000 },
  );
});

test("positions are those of an editor", () => {
  const tree = readJson('{\n  "a": 1,\r\n\t"b": [true,\n  {"c": "x"}]\n}', "c.json");
  const at = (path: (string | number)[]) => {
    const origin = lookUp(tree, path)?.origin;
    return origin?.layer === "file" ? [origin.line, origin.column] : undefined;
  };
  assert.deepEqual(at(["a"]), [2, 8]);
  assert.deepEqual(at(["b"]), [3, 7]);
  assert.deepEqual(at(["b", 0]), [3, 8]);
  assert.deepEqual(at(["b", 1, "c"]), [4, 9]);
});
