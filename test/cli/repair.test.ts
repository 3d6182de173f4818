/** `covey raft repair`: two of three nodes are lost, and the third goes on. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createLog } from "../../src/log.ts";
import { selectRuntime, startNode } from "../../src/start.ts";
import { covey, objects } from "./node_support.ts";

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "covey-repair-"));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function start(folder: string, index: number) {
  const runtime = await selectRuntime();
  const sockets = [1, 2, 3].map((each) => `unix:${folder}/${each}.sock`);
  return await startNode({
    logger: await createLog(runtime, { level: "error", node: "test", format: "none" }),
    node: { name: `n${index}`, data: `${folder}/${index}`, listen: [sockets[index - 1]] },
    cluster: { join: sockets, expect: 3 },
    admin: { enabled: false },
  });
}

test("repair: the one that is left serves what was acknowledged", () =>
  inFolder(async (folder) => {
    const nodes = await Promise.all([1, 2, 3].map((index) => start(folder, index)));
    const ask = (args: readonly string[]) =>
      covey([...args, "--data", `${folder}/1`, "--timeout", "20s"]);
    const put = await ask(["kv", "put", "a", "kept"]);
    assert.deepEqual([put.code, put.stdout], [0, "OK\n"], put.stderr);
    // The others may have committed without this one.
    assert.equal((await ask(["kv", "get", "a"])).stdout, "a\nkept\n");

    const repair = ["raft", "repair", "--data", `${folder}/1`];
    const busy = await covey([...repair, "--yes"]);
    assert.equal(busy.code, 1);
    assert.match(busy.stderr, /is in use by another covey agent/);
    await Promise.all(nodes.map((node) => node.stop()));

    const unasked = await covey(repair);
    assert.equal(unasked.code, 2);
    assert.match(unasked.stderr, /^covey: nothing was repaired: .*--yes must say so\n/);
    const environment = { COVEY_NODE__NAME: "n1" };
    const other = await covey(repair, { terminals: ["stdin"], input: "n2\n", environment });
    assert.equal(other.code, 2);
    assert.match(other.stderr, /Type n1 to go on: covey: nothing was repaired\n/);
    const done = await covey([...repair, "--json"], {
      terminals: ["stdin"],
      input: "n1\n",
      environment,
    });
    assert.equal(done.code, 0, done.stderr);
    const [group] = objects(done);
    assert.partialDeepStrictEqual(group, { group: 0 });
    assert.equal((group.dropped as number[]).length, 2);
    const again = await covey([...repair, "--yes"]);
    assert.deepEqual([again.code, again.stdout], [0, ""]);
    assert.match(again.stderr, /there was nothing to repair/);

    await using _left = await start(folder, 1);
    assert.equal((await ask(["kv", "get", "a"])).stdout, "a\nkept\n");
    assert.equal((await ask(["kv", "put", "b", "new"])).code, 0);
    const [status] = objects(await ask(["raft", "status", "--json"]));
    const { groups } = status as { groups: { replica: number; voters: number[] }[] };
    assert.deepEqual(groups[0].voters, [groups[0].replica]);
  }));

test("repair: a folder that is no node's is left as it is", () =>
  inFolder(async (folder) => {
    mkdirSync(`${folder}/empty`);
    for (const name of ["empty", "none"]) {
      const run = await covey(["raft", "repair", "--yes", "--data", `${folder}/${name}`]);
      assert.equal(run.code, 1);
      assert.match(run.stderr, /is no data directory of a node: .*\(failed_precondition\)\n$/);
    }
    assert.deepEqual(readdirSync(folder), ["empty"]);
    assert.deepEqual(readdirSync(`${folder}/empty`), []);
  }));
