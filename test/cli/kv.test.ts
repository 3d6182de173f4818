/** `covey kv get|put|del|ls|txn|compact|snapshot|status` against a node. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { test } from "node:test";
import { objects } from "./node_support.ts";
import { withStore } from "./kv_support.ts";

test("put, get and del: text, JSON, what is not there", () =>
  withStore(async ({ kv }) => {
    const put = await kv(["put", "greeting", "hello"]);
    assert.deepEqual([put.code, put.stdout, put.stderr], [0, "OK\n", ""]);
    const get = await kv(["get", "greeting"]);
    assert.deepEqual([get.code, get.stdout, get.stderr], [0, "greeting\nhello\n", ""]);
    assert.equal((await kv(["get", "greeting", "--print-value-only"])).stdout, "hello\n");
    assert.equal((await kv(["get", "greeting", "--keys-only"])).stdout, "greeting\n");
    assert.equal((await kv(["get", "greeting", "--hex"])).stdout, "6772656574696e67\n68656c6c6f\n");
    assert.equal((await kv(["get", "greeting", "--serializable"])).code, 0);
    assert.deepEqual(objects(await kv(["get", "greeting", "--json"])), [{
      key: "greeting",
      value: "hello",
      createRevision: 2,
      modRevision: 2,
      version: 1,
      lease: 0,
    }]);
    const again = await kv(["put", "greeting", "", "--prev-kv"]);
    assert.equal(again.stdout, "OK\ngreeting\nhello\n");
    const json = await kv(["put", "greeting", "you", "--prev-kv", "--json"]);
    const [{ revision, previous }] = objects(json);
    assert.equal(revision, 4);
    assert.deepEqual(previous, {
      key: "greeting",
      value: "",
      createRevision: 2,
      modRevision: 3,
      version: 2,
      lease: 0,
    });
    assert.equal((await kv(["get", "greeting", "--rev", "2"])).stdout, "greeting\nhello\n");

    const gone = await kv(["del", "greeting", "--prev-kv"]);
    assert.deepEqual([gone.code, gone.stdout], [0, "1\ngreeting\nyou\n"]);
    assert.deepEqual(objects(await kv(["del", "greeting", "--json"])), [
      { deleted: 0, revision: 5 },
    ]);
    for (const flags of [[], ["--json"], ["--rev", "1"]]) {
      const none = await kv(["get", "greeting", ...flags]);
      assert.deepEqual([none.code, none.stdout], [1, ""]);
      assert.match(none.stderr, /^covey: there is no key "greeting"( at revision 1)?\n$/);
    }
    const empty = await kv(["get", "greeting", "--prefix"]);
    assert.deepEqual([empty.code, empty.stdout, empty.stderr], [0, "", ""]);
  }));

test("intervals, order, limits and counts", () =>
  withStore(async ({ kv }) => {
    for (const [key, value] of [["a/1", "z"], ["a/2", "y"], ["b", "x"], ["a/1", "w"]]) {
      await kv(["put", key, value]);
    }
    const keys = async (...args: string[]): Promise<string> =>
      (await kv(["get", ...args, "--keys-only"])).stdout.trim().replaceAll("\n", " ");
    assert.equal(await keys("a/", "--prefix"), "a/1 a/2");
    assert.equal(await keys("", "--prefix"), "a/1 a/2 b");
    assert.equal(await keys("a/2", "--from-key"), "a/2 b");
    assert.equal(await keys("a", "--range-end", "a/2"), "a/1");
    assert.equal(await keys("", "--prefix", "--sort", "mod"), "a/2 b a/1");
    assert.equal(await keys("", "--prefix", "--sort", "value:desc"), "a/2 b a/1");
    assert.equal(await keys("", "--prefix", "--sort", "key:desc", "--limit", "1"), "b");
    assert.equal((await kv(["get", "a", "--prefix", "--count-only"])).stdout, "2\n");
    assert.deepEqual(objects(await kv(["get", "", "--prefix", "--count-only", "--json"])), [
      { count: 3, revision: 5 },
    ]);
    const some = await kv(["get", "", "--prefix", "--limit", "2"]);
    assert.equal(some.stdout, "a/1\nw\na/2\ny\n");
    assert.equal(some.stderr, "covey: there are more; --limit 2 left them out\n");
    assert.equal((await kv(["ls"])).stdout, "a/1\na/2\nb\n");
    assert.equal((await kv(["ls", "a/", "--hex"])).stdout, "612f31\n612f32\n");
    assert.equal((await kv(["ls", "--rev", "2"])).stdout, "a/1\n");
    assert.deepEqual(objects(await kv(["ls", "b", "--json"])), [
      { key: "b", createRevision: 4, modRevision: 4, version: 1, lease: 0 },
    ]);
    assert.equal((await kv(["del", "a/", "--prefix"])).stdout, "2\n");
    assert.equal((await kv(["ls"])).stdout, "b\n");
  }));

test("bytes come out as they went in, but for a terminal", () =>
  withStore(async ({ kv }) => {
    const value = Uint8Array.of(0xff, 0x00, 0x1b, 0x5b, 0x0a);
    assert.equal((await kv(["put", "k", "-"], { input: value })).stdout, "OK\n");
    const raw = await kv(["get", "k", "--print-value-only"]);
    assert.deepEqual([...raw.bytes], [...value, 0x0a]);
    const shown = await kv(["get", "k"], { terminals: ["stdout"] });
    assert.equal(shown.stdout, "k\n\\xff\\x00\\x1b[\\x0a\n");
    assert.partialDeepStrictEqual(objects(await kv(["get", "k", "--json"])), [
      { key: "k", valueBase64: "/wAbWwo=" },
    ]);
    const typed = await kv(["put", "k", "-"], { input: "typed\n", terminals: ["stdin"] });
    assert.equal(typed.stderr, "covey: type the value; Ctrl-D ends it\n");
    assert.equal((await kv(["get", "k", "--print-value-only"])).stdout, "typed\n\n");
    assert.equal((await kv(["put", "--", "-k", "-v"])).stdout, "OK\n");
    assert.equal((await kv(["get", "--", "-k"])).stdout, "-k\n-v\n");
    await kv(["put", "esc", "\u001b[2J"]);
    const cleared = await kv(["get", "esc"], { terminals: ["stdout"] });
    assert.equal(cleared.stdout, "esc\n\\x1b[2J\n");
  }));

test("an interval larger than any message is read in pages, all as of one revision", () =>
  withStore(async ({ kv }) => {
    const value = "x".repeat(100_000);
    for (let index = 0; index < 60; index++) {
      await kv(["put", `k${String(index).padStart(2, "0")}`, "-"], { input: value });
    }
    const all = await kv(["get", "k", "--prefix", "--json"]);
    assert.equal(all.code, 0, all.stderr);
    const keys = objects(all).map(({ key }) => key);
    assert.equal(keys.length, 60);
    assert.deepEqual(keys, [...keys].sort());
    const some = await kv(["get", "k", "--prefix", "--limit", "50", "--keys-only"]);
    assert.equal(some.stdout.trim().split("\n").length, 50);
    assert.match(some.stderr, /there are more/);
  }));

test("txn: either list, its results, and mistakes", () =>
  withStore(async ({ kv }) => {
    const txn = (value: unknown, ...flags: string[]) =>
      kv(["txn", ...flags], { input: JSON.stringify(value) });
    const create = {
      compare: [{ keys: "a", version: 0 }],
      success: [{ put: "a", value: "1" }],
      failure: [{ range: { prefix: "a" } }, { delete: "a", previous: true }, { range: "none" }],
    };
    const first = await txn(create);
    assert.deepEqual([first.code, first.stdout, first.stderr], [0, "SUCCESS\nOK\n", ""]);
    const second = await txn(create);
    assert.deepEqual([second.code, second.stdout], [0, "FAILURE\na\n1\n1\na\n1\n0 keys\n"]);
    const third = objects(
      await txn({
        success: [
          { put: "b", value: { base64: "/w==" }, previous: true },
          { transaction: { success: [{ delete: { prefix: "c" } }] } },
        ],
      }, "--json"),
    );
    assert.deepEqual(third.length, 1);
    assert.partialDeepStrictEqual(third[0], { succeeded: true });
    const bad = await txn({ success: [{ put: "a", val: "1" }] });
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /^covey: standard input, success\[0\]: unknown field "val"; did you /);
    const twice = await txn({ success: [{ put: "a", value: "" }, { put: "a", value: "" }] });
    assert.equal(twice.code, 1);
    assert.match(twice.stderr, /\(invalid_argument\)\n$/);
    assert.equal((await kv(["txn"])).code, 2, "no input is no transaction");
  }));

test("compact, and what is compacted", () =>
  withStore(async ({ kv }) => {
    for (const value of ["1", "2", "3"]) await kv(["put", "a", value]);
    assert.equal((await kv(["compact", "3"])).stdout, "compacted revision 3\n");
    assert.deepEqual(objects(await kv(["compact", "4", "--json"])), [
      { compactRevision: 4, revision: 4 },
    ]);
    const old = await kv(["get", "a", "--rev", "2"]);
    assert.deepEqual([old.code, old.stdout], [1, ""]);
    assert.match(old.stderr, /compacted.*\(out_of_range\)\n$/);
    for (const args of [["get", "a", "--rev", "99"], ["compact", "99"]]) {
      const future = await kv(args);
      assert.equal(future.code, 1);
      assert.match(future.stderr, /\(out_of_range\)\n$/);
    }
    const watch = await kv(["watch", "a", "--rev", "2"]);
    assert.equal(watch.code, 1);
    assert.match(watch.stderr, /^covey: the revision is compacted; the oldest .* is --rev \d+ \(/);
  }));

test("snapshot save: a whole file or none", () =>
  withStore(async ({ kv, folder }) => {
    await kv(["put", "a", "1"]);
    const file = `${folder}/all.snapshot`;
    const saved = await kv(["snapshot", "save", file]);
    assert.deepEqual([saved.code, saved.stdout], [0, `${file}\n`]);
    assert.match(saved.stderr, /^covey: [\d.]+ \w+, as of index \d+ in term \d+\n$/);
    const bytes = readFileSync(file);
    assert.equal(new TextDecoder().decode(bytes.subarray(0, 8)), "covey-kv");
    // The session of the command before may be over by now: another snapshot, another size.
    const [json] = objects(await kv(["snapshot", "save", file, "--json"]));
    assert.partialDeepStrictEqual(json, { file, bytes: statSync(file).size });
    assert.ok(!readdirSync(folder).some((name) => name.endsWith(".part")));

    const none = await kv(["snapshot", "save", `${folder}/none/x`]);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /\/none\/x cannot be made: its folder does not exist\n/);
    mkdirSync(`${folder}/there`);
    const folderThere = await kv(["snapshot", "save", `${folder}/there`]);
    assert.notEqual(folderThere.code, 0);
    assert.ok(!readdirSync(folder).includes("there.part"));
    assert.equal((await kv(["snapshot", "save", `${folder}/`])).code, 2);
  }));

test("status", () =>
  withStore(async ({ kv }) => {
    await kv(["put", "a", "1"]);
    const shown = await kv(["status"]);
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(shown.stdout, /^revision {2}2, compacted up to \d+$/m);
    assert.match(shown.stdout, /^keys {6}1$/m);
    assert.match(shown.stdout, /^errors {4}none$/m);
    const [json] = objects(await kv(["status", "--json"]));
    assert.partialDeepStrictEqual(json, { revision: 2, keys: 1, leases: 0, errors: [] });
  }));

test("values and keys that are too large, and leases that do not exist", () =>
  withStore(async ({ kv }) => {
    const large = await kv(["put", "a", "-"], { input: "x".repeat(2_000_000) });
    assert.equal(large.code, 1);
    assert.match(large.stderr, /^covey: .*\((invalid_argument|resource_exhausted)\)\n$/);
    const long = await kv(["put", "k".repeat(5000), "1"]);
    assert.equal(long.code, 1);
    assert.match(long.stderr, /\(invalid_argument\)\n$/);
    const lease = await kv(["put", "a", "1", "--lease", "4711"]);
    assert.equal(lease.code, 1);
    assert.match(lease.stderr, /\(not_found\)\n$/);
    const kept = await kv(["put", "a", "1", "--ignore-lease"]);
    assert.match(kept.stderr, /\(invalid_argument\)\n$/);
    for (const args of [["put", "", "1"], ["get", ""], ["del", ""], ["watch", ""]]) {
      const { code, stderr } = await kv(args);
      assert.equal(code, 2);
      assert.match(stderr, /^covey: KEY is empty; /);
    }
    const both = await kv(["put", "a", "1", "--lease", "1", "--ignore-lease"]);
    assert.equal(both.code, 2);
    const shapes = await kv(["get", "a", "--keys-only", "--count-only"]);
    assert.match(shapes.stderr, /^covey: give one of --keys-only and --count-only\n/);
  }));
