/** What programs get on top of the agreed view: clients by what members offer, and the cache. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeText, encodeText } from "../../src/base/bytes.ts";
import { Code } from "../../src/base/error.ts";
import { Node as NodeService } from "../../src/gen/covey/node/v1/node_pb.ts";
import type { Node } from "../../src/node.ts";
import { failure, startQuiet } from "./support.ts";

/** Of a cluster without consensus. */
function member(name: string, join: readonly string[] = [], tags: string[] = []): Promise<Node> {
  return startQuiet({
    tls: { mode: "off" },
    node: { name, tags },
    cluster: { join: [...join] },
    raft: { enabled: false },
    kv: { enabled: false },
    membership: { profile: "low_latency" },
  });
}

/** Resolves once this node sees so many members, all of whom say what they offer. */
async function sees(node: Node, count: number): Promise<void> {
  for await (const view of node.members.views()) {
    const all = view.members.every((one) => node.members.factsOf(one).has("services"));
    if (view.members.length === count && all) return;
  }
}

test("clients find members by name, by tag and in turn", async () => {
  await using a = await member("a");
  await using b = await member("b", a.rpc.addresses, ["zone=east"]);
  await using c = await member("c", a.rpc.addresses, ["zone=east"]);
  for (const node of [a, b, c]) await sees(node, 3);
  const named = a.client(NodeService, { pick: { name: "c" } });
  assert.equal((await named.info({})).name, "c");
  const east = a.client(NodeService, { pick: { tag: "zone=east" } });
  const seen = new Set<string>();
  for (let call = 0; call < 20; call++) seen.add((await east.info({})).name);
  assert.deepEqual([...seen].filter((name) => name === "a"), []);
  const turns = a.client(NodeService, { pick: "round_robin" });
  const names = [];
  for (let call = 0; call < 6; call++) names.push((await turns.info({})).name);
  assert.deepEqual([...new Set(names)].sort(), ["a", "b", "c"]);
});

test("the cache: one fill for all members, and nobody without membership", async () => {
  await using a = await member("a");
  await using b = await member("b", a.rpc.addresses);
  for (const node of [a, b]) await sees(node, 2);
  let fills = 0;
  const fill = (key: string): Promise<Uint8Array> => {
    fills++;
    return Promise.resolve(encodeText(`value of ${key}`));
  };
  const caches = [a, b].map((node) => node.cache.open("things", { fill }));
  for (const node of [a, b]) {
    for await (const view of node.members.views()) {
      if (view.members.every((one) => node.members.factsOf(one).has("cache"))) break;
    }
  }
  const keys = Array.from({ length: 20 }, (_, at) => `k${at}`);
  for (const key of keys) {
    const found = await Promise.all(caches.map((cache) => cache.get(key)));
    for (const value of found) assert.equal(decodeText(value), `value of ${key}`);
  }
  assert.equal(fills, keys.length);
  await using off = await startQuiet({ dev: true, membership: { enabled: false } });
  await failure(async () => await off.cache, Code.failedPrecondition, /cache.enabled/);
  const client = async () => await off.client(NodeService);
  await failure(client, Code.failedPrecondition, /membership.enabled/);
});
