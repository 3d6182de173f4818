/** raft-go's services on top of the store. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { KeyValueService, RaftService } from "../../src/gen/api/v1/raft_go_pb.ts";
import { raftHandlers } from "../../src/kv/raft_go.ts";
import { createLocalClient } from "../../src/ttrpc/local_client.ts";
import { ServiceRegistry } from "../../src/ttrpc/registry.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { FakeCluster, settle } from "./support.ts";

test("Set answers once it is applied; Get misses nothing that was acknowledged", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const [leader, follower] = cluster.nodes;
  const set = leader.local(KeyValueService), get = follower.local(KeyValueService);
  const unset = await get.get({}).catch((error) => error);
  assert.ok(unset instanceof CoveyError);
  assert.equal(unset.code, Code.notFound);
  assert.match(unset.message, /sample-value is not set: call Set first/);
  follower.paused = true;
  assert.deepEqual((await set.set({ value: 7 })).ok, true);
  const reading = get.get({});
  await turns();
  follower.resume();
  assert.equal((await reading).value, 7);
  for (const value of [0, 1, 0xffffffff]) {
    const { ok, message } = await get.set({ value });
    assert.ok(ok, message);
    assert.match(message, /^committed at revision \d+$/);
    assert.equal((await set.get({})).value, value);
    assert.equal((await cluster.client().get("sample-value"))?.text, `${value}`);
  }
  await cluster.close();
});

test("what was written to the key by others is read if it is a number", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.client();
  const client = cluster.nodes[0].local(KeyValueService);
  await kv.put("sample-value", "0042");
  assert.equal((await client.get({})).value, 42);
  for (const value of ["", "x", "-1", "4294967296", "1.5", " 1"]) {
    await kv.put("sample-value", value);
    const error = await client.get({}).catch((thrown) => thrown);
    assert.equal(error.code, Code.failedPrecondition, value);
    assert.match(error.message, /holds no number from 0 to 4294967295/);
  }
  await cluster.close();
});

test("Set says truthfully what came of it", async () => {
  const cluster = new FakeCluster();
  const kv = cluster.client();
  const client = cluster.nodes[0].local(KeyValueService);
  await kv.setLimits({ databaseBytesMax: 10 });
  const full = await client.set({ value: 1 });
  assert.equal(full.ok, false);
  assert.match(full.message, /the database is at its quota/);
  await kv.setLimits({ databaseBytesMax: 1_000_000 });
  cluster.faults.proposalsLost = 1;
  const lost = await client.set({ value: 1 }).catch((error) => error);
  assert.equal(lost.code, Code.unavailable);
  cluster.elect(undefined);
  const nobody = await settle(
    cluster,
    client.set({ value: 1 }, { timeoutMs: 100 }).catch((error) => error),
  );
  assert.ok(nobody instanceof CoveyError, "it does not hang past its deadline");
  await cluster.close();
});

test("Add and Remove are passed on, refusals as answers", async () => {
  const cluster = new FakeCluster();
  const asked: string[] = [];
  let answer: CoveyError | undefined;
  const change = (what: string) => (id: number): Promise<void> => {
    asked.push(`${what} ${id}`);
    return answer === undefined ? Promise.resolve() : Promise.reject(answer);
  };
  const registry = new ServiceRegistry();
  registry.add(RaftService, raftHandlers({ add: change("add"), remove: change("remove") }));
  const client = createLocalClient(RaftService, { ...cluster.nodes[0].caller, registry });
  const added = await client.add({ id: 4n });
  assert.deepEqual([added.ok, added.message], [true, "node 4 was added"]);
  const removed = await client.remove({ id: 4n });
  assert.deepEqual([removed.ok, removed.message], [true, "node 4 was removed"]);
  answer = new CoveyError(Code.failedPrecondition, "use covey raft add ADDRESS");
  const refused = await client.add({ id: 5n });
  assert.deepEqual([refused.ok, refused.message], [false, "use covey raft add ADDRESS"]);
  answer = new CoveyError(Code.unavailable, "no leader");
  await assert.rejects(client.remove({ id: 5n }), /\[unavailable\] no leader/);
  await assert.rejects(client.add({ id: 1n << 60n }), /\[invalid_argument\] id is/);
  assert.deepEqual(asked, ["add 4", "remove 4", "add 5", "remove 5"]);
  await cluster.close();
});
