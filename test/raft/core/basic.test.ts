/** The ordinary course of things: electing, replicating, restarting. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Cluster } from "./support/cluster.ts";

test("three replicas elect a leader by themselves and replicate", () => {
  const cluster = new Cluster();
  const leader = cluster.waitForLeader();
  assert.equal(cluster.propose(leader.id, "a").kind, "appended");
  cluster.settle();
  cluster.tick();
  for (const id of [1, 2, 3]) assert.equal(cluster.committed(id), 3);
  cluster.assertConverged();
});

test("one replica alone leads and commits when its disk has it", () => {
  const cluster = new Cluster({ voters: [1] });
  cluster.elect(1);
  cluster.stallDisk(1);
  cluster.propose(1, "a");
  cluster.settle();
  assert.equal(cluster.committed(1), 2);
  cluster.resumeDisk(1);
  cluster.settle();
  assert.equal(cluster.committed(1), 3);
});

test("everything survives when all crash", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  for (const text of ["a", "b", "c"]) cluster.propose(1, text);
  cluster.settle();
  const before = cluster.host(1).machine;
  for (const host of cluster.hosts.values()) host.crash();
  for (const host of cluster.hosts.values()) host.start();
  const leader = cluster.waitForLeader();
  cluster.tick(2);
  assert.equal(cluster.committed(leader.id), before.index + 1);
  cluster.assertConverged();
});

test("an idle cluster writes nothing", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  cluster.tick(3);
  let synced = 0;
  const handed = cluster.invariants.handed.bind(cluster.invariants);
  cluster.invariants.handed = (host, ready) => {
    if (ready.mustSync || ready.hardState !== undefined) synced++;
    handed(host, ready);
  };
  cluster.tick(100);
  assert.equal(synced, 0);
  assert.equal(cluster.leader()?.id, 1);
});
