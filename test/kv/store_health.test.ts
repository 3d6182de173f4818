/** What a store says of its own health, and when those who follow it are told. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Watch } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { key, RawWatch } from "./raw_watch.ts";
import { FakeCluster, type FakeNode, settle } from "./support.ts";

/** Each problem that was announced and differs from the one before. */
function follow({ module: { health } }: FakeNode): (string | undefined)[] {
  const told = [health.problem];
  health.onChange(() => {
    if (health.problem !== told.at(-1)) told.push(health.problem);
  });
  return told;
}

test("a node that hears nothing is unhealthy an election timeout after its leader is lost", async () => {
  const cluster = new FakeCluster({ nodes: 3 });
  const node = cluster.nodes[2];
  await turns();
  const told = follow(node);
  node.cut = true;
  node.group.leaderChanged();
  await cluster.manual.advance(900);
  assert.deepEqual(told, [undefined], "an election takes so long");
  // Terms in which nobody is elected do not put it off.
  node.group.leaderChanged();
  await cluster.manual.advance(100);
  assert.deepEqual(told, [undefined, "there is no leader"]);
  node.resume();
  node.group.leaderChanged();
  assert.deepEqual(told, [undefined, "there is no leader", undefined]);
  await cluster.close();
});

test("streams that want a leader end in time, however many terms begin without one", async () => {
  const cluster = new FakeCluster({ nodes: 2, options: { leaderlessMs: 3_000 } });
  const node = cluster.nodes[1];
  const open = (): RawWatch => new RawWatch(node.local(Watch), { hasleader: "true" });
  const watch = open();
  await settle(cluster, watch.created(key("k")));
  const over = assert.rejects(watch.take(), /no leader/);
  node.cut = true;
  for (let passedMs = 0; passedMs < 3_000; passedMs += 500) {
    node.group.leaderChanged();
    await cluster.manual.advance(500);
  }
  await settle(cluster, over);
  // Nor does the next term open the door again.
  node.group.leaderChanged();
  await assert.rejects(settle(cluster, open().take()), /no leader/);
  await cluster.close();
});

test("a node that is far behind is announced, and again when it is not", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const node = cluster.nodes[1];
  await turns();
  const told = follow(node);
  node.paused = true;
  for (let at = 0; at < 6_000; at++) cluster.append(new Uint8Array(0));
  node.resume();
  await turns();
  assert.deepEqual(told.map((problem) => problem?.replace(/\d+/, "N")), [
    undefined,
    "the store is behind: N entries are committed and not applied",
    undefined,
  ]);
  await cluster.close();
});

test("a node that its leader's entries do not reach is announced with the reason", async () => {
  const cluster = new FakeCluster({ nodes: 2 });
  const node = cluster.nodes[1];
  await turns();
  const told = follow(node);
  for (const hindrance of ["its disk is full", undefined]) {
    node.group.hindrance = hindrance;
    node.group.notify((observer) => observer.hindered?.());
  }
  assert.deepEqual(told, [undefined, "its disk is full", undefined]);
  await cluster.close();
});
