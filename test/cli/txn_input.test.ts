/** A transaction as somebody types it, and every mistake with its place. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseJson } from "../../src/cli/json_input.ts";
import { transactionOf } from "../../src/cli/kv/txn_input.ts";
import { transactionOfText } from "../../src/cli/kv/txn_text.ts";

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

test("as etcdctl takes it: three parts, words in quotes, flags", () => {
  assert.deepEqual(transactionOfText(""), { compare: [], success: [], failure: [] });
  assert.deepEqual(
    transactionOfText(
      `value("a b") = "x\\"y"
mod(k) > 7
c("k") != "0"
ver("k") < "3"
lease("k") = 0

put a "b c"
put 'd e' --ignore-value --lease=5 --prev-kv
get a z --limit 3 --keys-only --sort-by MODIFY --order=DESCEND
get "" --prefix

del k --from-key --prev-kv
get k --rev 9 --count-only
`,
    ),
    {
      compare: [
        { keys: "a b", is: "=", value: 'x"y' },
        { keys: "k", is: ">", modRevision: 7 },
        { keys: "k", is: "!=", createRevision: 0 },
        { keys: "k", is: "<", version: 3 },
        { keys: "k", is: "=", lease: 0 },
      ],
      success: [
        { put: "a", value: "b c", previous: false, keepLease: false },
        { put: "d e", value: undefined, previous: true, keepLease: false, lease: 5 },
        {
          range: { from: "a", to: "z" },
          keysOnly: true,
          countOnly: false,
          limit: 3,
          sortBy: "mod",
          order: "descend",
        },
        { range: { prefix: "" }, keysOnly: false, countOnly: false },
      ],
      failure: [
        { delete: { from: "k" }, previous: true },
        { range: "k", keysOnly: false, countOnly: true, revision: 9 },
      ],
    },
  );
});

test("as etcdctl takes it: each mistake with its line", () => {
  const cases: [string, RegExp][] = [
    ["hello", /line 1: "hello": give a comparison such as/],
    ['size("a") = "1"', /line 1: .* give a comparison/],
    ['mod("a") = "x"', /mod is compared with a whole number/],
    ['val("a") = "\\x"', /\\x is none of/],
    ["\nputt a 1", /line 2: .* give put KEY VALUE, get KEY or del KEY/],
    ["\nput a", /give put KEY VALUE/],
    ["\nput a 1 2", /words with spaces in "quotes"/],
    ["\nget", /give get KEY \[END\]/],
    ["\nget a --limit", /--limit needs a value/],
    ["\nget a --limit 0", /line 2: .* whole number, 1 or more/],
    ["\nget a b --prefix", /line 2: .* "b" is the end of a range/],
    ["\nget a --order up", /give ascend or descend/],
    ["\ndel a --rev 3", /there is no --rev; there are --prefix, --from-key, --prev-kv/],
    ["\n\n\nget a", /line 4: .* three parts/],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => transactionOfText(text), { name: "UsageError", message }, text);
  }
});
