/** A transaction as somebody types it, and every mistake with its place. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseJson } from "../../src/cli/json_input.ts";
import { transactionOf } from "../../src/cli/kv/txn_input.ts";

const read = (text: string) => transactionOf(parseJson(text, "standard input"));

test("every field has its place", () => {
  assert.deepEqual(read("{}"), { compare: [], success: [], failure: [] });
  assert.deepEqual(
    read(`{
      "compare": [
        {"keys": "a", "version": 0},
        {"keys": {"prefix": "a"}, "is": "!=", "value": {"base64": "/w=="}},
        {"keys": {"from": "a", "to": "b"}, "is": ">", "modRevision": 7},
        {"keys": {"from": "a"}, "is": "<", "createRevision": 7},
        {"keys": {"base64": "AA=="}, "lease": 5}
      ],
      "success": [
        {"put": "a", "value": "", "lease": 5, "previous": true},
        {"put": "a", "keepLease": false},
        {"delete": {"prefix": ""}, "previous": true},
        {"range": "a", "limit": 1, "revision": 2, "keysOnly": true, "countOnly": false}
      ],
      "failure": [{"transaction": {"success": [{"delete": "a"}]}}]
    }`),
    {
      compare: [
        { keys: "a", is: "=", version: 0 },
        { keys: { prefix: "a" }, is: "!=", value: Uint8Array.of(0xff) },
        { keys: { from: "a", to: "b" }, is: ">", modRevision: 7 },
        { keys: { from: "a" }, is: "<", createRevision: 7 },
        { keys: Uint8Array.of(0), is: "=", lease: 5 },
      ],
      success: [
        { put: "a", value: "", lease: 5, previous: true },
        { put: "a", value: undefined, keepLease: false },
        { delete: { prefix: "" }, previous: true },
        { range: "a", limit: 1, revision: 2, keysOnly: true, countOnly: false },
      ],
      failure: [{ transaction: { compare: [], success: [{ delete: "a" }], failure: [] } }],
    },
  );
});

test("what is wrong is named with its place", () => {
  const cases: [string, string][] = [
    ["[]", "the transaction: found []; allowed: an object with compare, success, failure"],
    ['{"sucess": []}', 'the transaction: unknown field "sucess"; did you mean success?'],
    ['{"compare": {}}', "compare: found {}; allowed: a list"],
    ['{"compare": [1]}', "compare[0]: found 1; allowed: an object with keys, is, version, "],
    ['{"compare": [{"keys": "a"}]}', "compare[0]: found "],
    ['{"compare": [{"keys": "a", "version": 1, "lease": 1}]}', "compare[0]: found "],
    ['{"compare": [{"version": 1}]}', "compare[0].keys: found nothing; allowed: text, or "],
    [
      '{"compare": [{"keys": "a", "version": -1}]}',
      "compare[0].version: found -1; allowed: a whole",
    ],
    ['{"compare": [{"keys": "a", "version": 9007199254740993}]}', "compare[0].version: found "],
    [
      '{"compare": [{"keys": "a", "is": "==", "version": 1}]}',
      'compare[0].is: found "=="; allowed: =',
    ],
    ['{"compare": [{"keys": "a", "value": 5}]}', "compare[0].value: found 5; allowed: text, or"],
    ['{"success": [{}]}', "success[0]: found {}; allowed: an object with one of put, delete, "],
    ['{"success": [{"put": "a", "delete": "a"}]}', "success[0]: found "],
    [
      '{"success": [{"put": "a", "val": "a"}]}',
      'success[0]: unknown field "val"; did you mean value?',
    ],
    ['{"success": [{"put": {"prefix": "a"}, "value": ""}]}', "success[0].put: unknown field "],
    ['{"success": [{"put": "a", "value": {"base64": "*"}}]}', 'success[0].value.base64: found "*"'],
    ['{"success": [{"put": "a", "value": {"base64": 1}}]}', "success[0].value: found "],
    ['{"success": [{"delete": {"to": "a"}}]}', "success[0].delete: found "],
    ['{"success": [{"delete": {"prefix": "a", "from": "b"}}]}', "success[0].delete: found "],
    [
      '{"success": [{"delete": "a", "previous": 1}]}',
      "success[0].previous: found 1; allowed: true ",
    ],
    [
      '{"failure": [{"transaction": {"failure": [{"range": null}]}}]}',
      "failure[0].transaction.failure[0].range: found null; allowed: ",
    ],
    ['{"compare": [\n  {"keys" "a"}]}', "line 2, column 11: this is not valid JSON: "],
    ["", "line 1, column 1: this is not valid JSON: "],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => read(text), (error: Error) => {
      assert.ok(error.message.startsWith(`standard input, ${message}`), error.message);
      assert.equal(error.name, "UsageError");
      return true;
    });
  }
});
