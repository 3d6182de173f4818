/** What users of etcdctl expect of `covey kv`, and what operators do with the store. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { objects } from "./node_support.ts";
import { withStore } from "./kv_support.ts";

test("a command that writes is one entry of the log, and leaves no session to close", () =>
  withStore(async ({ kv }) => {
    const index = async (): Promise<number> =>
      Number(objects(await kv(["status", "--json"]))[0].appliedIndex);
    const before = await index();
    assert.equal((await kv(["put", "a", "1"])).code, 0);
    assert.equal((await kv(["del", "a"])).code, 0);
    assert.equal(
      (await kv(["txn"], { input: '{"success": [{"put": "b", "value": ""}]}' })).code,
      0,
    );
    assert.equal((await kv(["lease", "grant", "60", "--id", "7"])).code, 0);
    assert.equal((await kv(["lease", "revoke", "7"])).code, 0);
    assert.equal((await kv(["compact", "3"])).code, 0);
    assert.equal((await kv(["limits", "--leases-max", "9"])).code, 0);
    assert.equal(await index(), before + 7);
  }));

test("get and del take the end of a range as a second argument, and etcdctl's names for the order", () =>
  withStore(async ({ kv }) => {
    for (const key of ["a", "c", "b", "d"]) await kv(["put", key, key]);
    const get = async (...args: string[]): Promise<string> =>
      (await kv(["get", "--keys-only", ...args])).stdout.trim().replaceAll("\n", " ");
    assert.equal(await get("a", "c"), "a b");
    assert.equal(await get("", "--prefix", "--sort-by", "CREATE", "--order", "DESCEND"), "d b c a");
    assert.equal(await get("", "--prefix", "--sort-by", "modify"), "a c b d");
    assert.equal(await get("a", "d", "--order", "descend"), "c b a");
    assert.equal((await kv(["del", "b", "d"])).stdout, "2\n");
    const cases: [string[], RegExp][] = [
      [["get", "a", "b", "--prefix"], /"b" is the end of a range; leave it out/],
      [["get", "a", "--order", "up"], /--order "up": give ascend or descend/],
      [["get", "a", "--sort-by", "size"], /--sort-by "size": give one of key, version/],
      [["get", "a", "--sort", "mod", "--order", "asc"], /give --sort, or --sort-by and --order/],
      [["compact", "0"], /REV "0": give a whole number, 1 or more/],
    ];
    for (const [args, message] of cases) {
      const { code, stderr } = await kv(args);
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
    }
  }));

test("put --ignore-value keeps the value", () =>
  withStore(async ({ kv }) => {
    await kv(["put", "a", "1"]);
    await kv(["lease", "grant", "60", "--id", "7"]);
    assert.equal((await kv(["put", "a", "--ignore-value", "--lease", "7"])).stdout, "OK\n");
    const [entry] = objects(await kv(["get", "a", "--json"]));
    assert.deepEqual([entry.value, entry.lease, entry.version], ["1", 7, 2]);
    for (const name of ["ttl", "timetolive"]) {
      const [lease] = objects(await kv(["lease", name, "7", "--keys", "--json"]));
      assert.partialDeepStrictEqual(lease, { keys: [{ key: "a" }] });
    }
    assert.equal((await kv(["put", "none", "--ignore-value"])).code, 1);
    const both = await kv(["put", "a", "2", "--ignore-value"]);
    assert.deepEqual([both.code, both.stdout], [2, ""]);
    assert.match(both.stderr, /leave VALUE out/);
    assert.match((await kv(["put", "a"])).stderr, /^covey: VALUE is missing; - reads it from/);
  }));

test("watch runs a command for each change, one after the other", () =>
  withStore(async ({ kv }) => {
    await kv(["put", "a", "1"]);
    await kv(["put", "a", "\u0001 two"]);
    await kv(["del", "a"]);
    const script = 'echo "$COVEY_WATCH_REVISION $COVEY_WATCH_EVENT $COVEY_WATCH_KEY' +
      ' $COVEY_WATCH_VALUE"; test "$COVEY_WATCH_VALUE" != 1';
    const run = await kv(["watch", "a", "--rev", "2", "--", "sh", "-c", script], {
      onOutput: (stdout, send) => stdout.includes("DELETE") && send("SIGINT"),
    });
    assert.equal(run.stdout, "2 PUT a 1\n3 PUT a \u0001 two\n4 DELETE a \n");
    assert.equal(run.stderr, "covey: sh ended with exit code 1 at revision 2\n");
    assert.equal(run.code, 0);
    const range = await kv(["watch", "a", "z"]);
    assert.equal(range.code, 2);
    assert.match(range.stderr, /--range-end z ends a range, and a command stands behind --/);
  }));

test("txn takes etcdctl's lines", () =>
  withStore(async ({ kv }) => {
    const txn = (input: string) => kv(["txn"], { input });
    const first = await txn('version("a") = "0"\n\nput a "1 2"\nget a\n\nget b\n');
    assert.deepEqual([first.code, first.stdout], [0, "SUCCESS\nOK\na\n1 2\n"]);
    assert.equal((await txn('version("a") = "0"\n\n\ndel a\n')).stdout, "FAILURE\n1\n");
    const bad = await txn("\nput a\n");
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /^covey: standard input, line 2: "put a": give put KEY VALUE/);
  }));

test("limits are shown and changed", () =>
  withStore(async ({ kv }) => {
    const shown = await kv(["limits"]);
    assert.match(shown.stdout, /^database-bytes-max +512 MiB +the quota$/m);
    const changed = await kv(["limits", "--database-bytes-max", "1GiB", "--lease-ttl-min", "5s"]);
    assert.equal(changed.code, 0, changed.stderr);
    assert.match(changed.stdout, /^database-bytes-max +1 GiB/m);
    assert.match(changed.stdout, /^lease-ttl-min +5s/m);
    const [limits] = objects(await kv(["limits", "--json"]));
    assert.deepEqual([limits.databaseBytesMax, limits.leaseTtlMsMin], [2 ** 30, 5_000]);
    assert.equal(limits.keyBytesMax, 4_096, "the others stay");
    const low = await kv(["limits", "--request-bytes-max", "3B"]);
    assert.equal(low.code, 1);
    assert.match(low.stderr, /request_bytes_max is 3: it must be at least 1024/);
    assert.match((await kv(["limits", "--leases-max", "0"])).stderr, /whole number, 1 or more/);
    assert.match(
      (await kv(["limits", "--key-bytes-max", "big"])).stderr,
      /give a size such as 64KiB/,
    );
  }));

test("hash, and what a saved store holds", () =>
  withStore(async ({ kv, folder }) => {
    await kv(["put", "a", "1"]);
    await kv(["put", "a", "2"]);
    const [{ hash, revision, appliedIndex }] = objects(await kv(["hash", "--json"]));
    assert.match(String(hash), /^[0-9a-f]{16}$/);
    assert.equal(revision, 3);
    assert.equal((await kv(["hash"])).stdout, `${hash}\n`);
    const file = `${folder}/saved`;
    await kv(["snapshot", "save", file]);
    const [held] = objects(await kv(["snapshot", "status", file, "--json"]));
    assert.partialDeepStrictEqual(held, { hash, revision: 3, index: appliedIndex, keys: 1 });
    assert.match(
      (await kv(["snapshot", "status", file])).stdout,
      /^revision +3, compacted up to 0$/m,
    );
    const none = await kv(["snapshot", "status", `${folder}/none`]);
    assert.deepEqual([none.code, none.stdout], [2, ""]);
  }));

test("status says that the store is full", () =>
  withStore(async ({ kv }) => {
    await kv(["limits", "--database-bytes-max", "200B"]);
    assert.equal((await kv(["put", "a", "1"])).code, 0);
    assert.equal((await kv(["put", "b", "x".repeat(200)])).code, 1);
    assert.match((await kv(["status"])).stdout, /^errors +NOSPACE$/m);
    await kv(["limits", "--database-bytes-max", "1MiB"]);
    assert.match((await kv(["status"])).stdout, /^errors +none$/m);
  }));
