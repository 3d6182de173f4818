/** The services of raft-go, as their clients call them: on ttrpc and on Connect, by its own ids. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code } from "../../src/base/error.ts";
import { KeyValueService, RaftService } from "../../src/gen/api/v1/raft_go_pb.ts";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import type { Node } from "../../src/node.ts";
import { failure, inFolder, runtime, startQuiet } from "./support.ts";

const serving = 1;
const callMs = 30_000;

test("raft-go: Set, Get and the health service on ttrpc and on Connect", async () => {
  await using node = await startQuiet({ dev: true, admin: { enabled: true } });
  const [address] = node.rpc.addresses;
  const client = node.rpc.client(KeyValueService, address, { timeoutMs: callMs });
  await failure(client.get({}), Code.notFound, /^sample-value is not set: call Set first$/);
  const first = await client.set({ value: 4294967295 });
  assert.ok(first.ok, first.message);
  assert.equal((await client.get({})).value, 4294967295);
  const ask = async (method: string, body: object): Promise<unknown> => {
    const request = new Request(`${node.listeners.admin}/${method}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const response = await runtime.http.fetch(request);
    assert.equal(response.status, 200);
    return await response.json();
  };
  const second = await ask("api.v1.KeyValueService/Set", { value: 7 }) as { ok: boolean };
  assert.equal(second.ok, true);
  assert.deepEqual(await ask("api.v1.KeyValueService/Get", {}), { value: 7 });
  assert.equal((await client.get({})).value, 7);
  // It is a key like any other.
  assert.equal((await node.kv.get("sample-value"))?.text, "7");
  for (const service of [KeyValueService.typeName, RaftService.typeName]) {
    const health = node.rpc.client(Health, address, { timeoutMs: callMs });
    assert.equal((await health.check({ service })).status, serving);
    assert.deepEqual(await ask("grpc.health.v1.Health/Check", { service }), { status: "SERVING" });
  }
});

test("raft-go: Add and Remove take a place in cluster.join", () =>
  inFolder(async (folder) => {
    const join = ["a", "b", "c", "d"].map((name) => `unix:${folder}/${name}.sock`);
    const start = (at: number): Promise<Node> =>
      startQuiet({
        node: { name: `node-${at}`, listen: [join[at]] },
        cluster: { join, expect: 3 },
      });
    const [one, two, three] = await Promise.all([0, 1, 2].map(start));
    await using _one = one;
    await using _two = two;
    await using _three = three;
    // The write waits until they have founded the cluster and one of them leads.
    await one.kv.put("written before", "yes", { timeoutMs: callMs });
    await using four = await start(3);
    const raft = two.rpc.client(RaftService, join[1], { timeoutMs: callMs });
    const voters = async (): Promise<string[]> => {
      const { peers } = await one.raft.operator.peers({}, { timeoutMs: callMs });
      return peers.map(({ name }) => name).sort();
    };
    // Repeated, it makes good what a call that broke off left behind.
    for (const _ of [1, 2]) {
      const { ok, message } = await raft.add({ id: 4n });
      assert.deepEqual([ok, message], [true, "node 4 was added"]);
    }
    assert.deepEqual(await voters(), ["node-0", "node-1", "node-2", "node-3"]);
    assert.equal((await four.kv.get("written before", { timeoutMs: callMs }))?.text, "yes");
    // The leader itself: it hands over, and its successor has heard of nobody yet.
    const { leader, peers } = await one.raft.operator.peers({});
    const place = join.indexOf(peers.find(({ replica }) => replica === leader)?.address ?? "");
    const other = [one, two, three, four][(place + 1) % 4];
    const elsewhere = other.rpc.client(RaftService, join[(place + 1) % 4], { timeoutMs: callMs });
    const removed = await elsewhere.remove({ id: BigInt(place + 1) });
    assert.ok(removed.ok, removed.message);
    const left = (await other.raft.operator.peers({})).peers.map(({ name }) => name).sort();
    assert.deepEqual(left, [0, 1, 2, 3].filter((at) => at !== place).map((at) => `node-${at}`));
    const again = await elsewhere.remove({ id: BigInt(place + 1) });
    assert.equal(again.ok, false);
    assert.match(
      again.message,
      /^no replica is at unix:.*\.sock, number \d of cluster\.join, but \d at unix:.*, \d at .*: use "covey raft remove REPLICA"$/,
    );
    for (const id of [0n, 5n]) {
      const { ok, message } = await elsewhere.add({ id });
      assert.equal(ok, false);
      assert.equal(
        message,
        `id ${id} is no place in cluster.join, which has 1 to 4: use "covey raft add ADDRESS"`,
      );
    }
  }));

test("raft-go: without cluster.join no id is a node", async () => {
  await using node = await startQuiet({ dev: true });
  const raft = node.rpc.client(RaftService, node.rpc.addresses[0], { timeoutMs: callMs });
  const { ok, message } = await raft.remove({ id: 1n });
  assert.equal(ok, false);
  assert.equal(
    message,
    'id 1 is no place in cluster.join, which is empty: use "covey raft remove REPLICA"',
  );
  await failure(raft.add({ id: 1n << 60n }), Code.invalidArgument, /^id is \d+: it must be from 0/);
});
