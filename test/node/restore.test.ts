/** A saved store begins a new cluster: with what was saved, and under an id of its own. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { loadConfig } from "../../src/config/load.ts";
import { restoreData } from "../../src/start.ts";
import { inFolder, runtime, startQuiet } from "./support.ts";

const listen = ["tcp://127.0.0.1:0"];

async function* piecesOf(bytes: Uint8Array, length = 100): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

async function restore(data: string, bytes: Uint8Array) {
  const loaded = await loadConfig(runtime, {
    options: { node: { name: "restored", data, listen } },
  });
  return await restoreData(runtime, loaded, piecesOf(bytes));
}

test("restore: the store goes on with its keys and revisions, in another cluster", () =>
  inFolder(async (folder) => {
    let bytes = new Uint8Array(0);
    let before: string | undefined;
    {
      await using node = await startQuiet({ node: { data: `${folder}/a`, memory_only: false } });
      for (let at = 0; at < 50; at++) await node.kv.put(`key/${at % 20}`, `value ${at}`);
      await node.kv.delete("key/3");
      for await (const piece of node.kv.snapshot()) {
        const grown = new Uint8Array(bytes.length + piece.length);
        grown.set(bytes);
        grown.set(piece, bytes.length);
        bytes = grown;
      }
      before = node.raft.clusterId;
    }
    const restored = await restore(`${folder}/b`, bytes);
    assert.equal(restored.keys, 19);
    assert.notEqual(restored.clusterId, before);
    await using node = await startQuiet({ node: { data: `${folder}/b`, memory_only: false } });
    assert.equal(node.raft.clusterId, restored.clusterId);
    assert.equal(node.nodeId, restored.nodeId);
    assert.equal((await node.kv.get("key/19"))?.text, "value 39");
    assert.equal(await node.kv.get("key/3"), undefined);
    const { revision } = await node.kv.put("key/3", "again");
    assert.equal(revision, restored.revision + 1);
    const entry = await node.kv.get("key/0");
    assert.equal(entry?.version, 3);
  }));

test("restore: what is no whole store, and a folder that is in a cluster, are refused", () =>
  inFolder(async (folder) => {
    let bytes = new Uint8Array(0);
    {
      await using node = await startQuiet({ node: { data: `${folder}/a`, memory_only: false } });
      await node.kv.put("a", "b");
      for await (const piece of node.kv.snapshot()) bytes = new Uint8Array([...bytes, ...piece]);
    }
    const refused = (code: Code, message: RegExp) => (error: unknown) =>
      error instanceof CoveyError && error.code === code && message.test(error.message);
    await assert.rejects(
      restore(`${folder}/b`, bytes.subarray(0, bytes.length - 1)),
      refused(Code.dataLoss, /no whole store/),
    );
    await assert.rejects(
      restore(`${folder}/b`, new Uint8Array([1, 2, 3])),
      refused(Code.dataLoss, /no whole store/),
    );
    await assert.rejects(
      restore(`${folder}/a`, bytes),
      refused(Code.failedPrecondition, /belongs to a cluster already/),
    );
    // It is not marked as one that a restore was begun in, even without its node.json.
    rmSync(`${folder}/a/node.json`);
    await assert.rejects(
      restore(`${folder}/a`, bytes),
      refused(Code.failedPrecondition, /belongs to a cluster already/),
    );
    assert.ok(!existsSync(`${folder}/a/node.json`));
    rmSync(`${folder}/a/cluster.json`);
    await assert.rejects(
      restore(`${folder}/a`, bytes),
      refused(Code.failedPrecondition, /was begun to be filled before/),
    );
    assert.ok(existsSync(`${folder}/a/raft/log`));
    // What was refused has left nothing: the very folder takes the whole store.
    assert.equal((await restore(`${folder}/b`, bytes)).keys, 1);
    assert.ok(!readFileSync(`${folder}/b/node.json`, "utf8").includes("restoring"));
  }));
