/** Nodes that come back without their data, and nodes that go on purpose. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Scene } from "./scene.ts";

test("a lost directory: the node comes back as another one, and the old replica is removed", () => {
  const scene = new Scene({ voters: ["a", "b", "c"] }).begin();
  scene.run(20_000);
  scene.crash("c");
  scene.run(3_000);
  scene.loseDirectory("c");
  assert.deepEqual(scene.run(1_000), ["add c"]);
  assert.deepEqual(scene.run(55_000), [], "learner first, for the old one is still a voter");
  assert.deepEqual(scene.run(5_000), ["promote c, remove c"]);
  assert.deepEqual(scene.replicas.map(({ id, nodeId }) => [id, nodeId]), [
    [1, "id-a"],
    [2, "id-b"],
    [4, "id-c-anew"],
  ]);
  assert.deepEqual(scene.run(600_000), []);
});

test("a lost log under the same node id: the old replica goes, a new one comes and gets a vote", () => {
  const scene = new Scene({ voters: ["a", "b", "c"] }).begin();
  scene.run(20_000);
  scene.crash("c");
  scene.run(3_000);
  scene.loseLog("c");
  assert.deepEqual(scene.run(57_000), []);
  assert.deepEqual(scene.report("c").reasons, [
    "has lost its replica, and says so for 59 s of 60 s",
    "is out of the leader's contact for 59 s of 60 s",
  ]);
  assert.deepEqual(scene.run(3_000), ["remove c", "add c"]);
  assert.deepEqual(scene.run(12_000), ["promote c"]);
  assert.deepEqual(scene.replicas.map(({ id }) => id), [1, 2, 4]);
});

test("a lost log under the same node id, with somebody to take over: that one does", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
  scene.run(20_000);
  scene.loseLog("c");
  assert.deepEqual(scene.run(63_000), ["promote d, remove c", "add c"]);
  assert.equal(scene.voters, "a b d");
  assert.equal(scene.learners, "c");
});

test("a replica that is in contact is not lost, whatever its node says", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
  scene.node("c").standing = "vacant";
  scene.node("d").standing = "vacant";
  assert.deepEqual(scene.run(600_000), []);
  scene.crash("c");
  assert.deepEqual(scene.run(62_000), ["promote d, demote c"]);
});

test("a learner that lost its log is taken out soon, and comes back as a new one", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
  scene.run(20_000);
  scene.loseLog("d");
  assert.deepEqual(scene.run(9_000), []);
  assert.deepEqual(scene.run(4_000), ["remove d", "add d"]);
  assert.equal(scene.replica("d").id, 5);
});

test("an address that another node has is no proof; its name beside it is", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
  scene.run(20_000);
  scene.crash("d");
  scene.join("x").address = scene.node("d").address;
  assert.deepEqual(scene.run(600_000), ["add x"]);
  scene.nodes.delete("x");
  assert.ok(scene.learners.split(" ").includes("d"));
});

test("a voter that left on purpose is replaced at once", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
  scene.run(20_000);
  scene.leave("c");
  assert.deepEqual(scene.run(1_000), ["promote d, remove c"]);
});

test("a voter that left on purpose is removed even if nobody takes its place, while that is safe", () => {
  const scene = new Scene({ voters: ["a", "b", "c"] }).begin();
  scene.run(20_000);
  scene.leave("c");
  assert.deepEqual(scene.run(1_000), ["remove c"]);
  scene.crash("b");
  scene.node("b").departure = "left";
  assert.deepEqual(scene.run(60_000), [], "one of two is no majority");
});

test("kicking a node out of the cluster takes its replica out", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d", "e"] }).begin();
  scene.run(20_000);
  scene.leave("e", "kicked");
  scene.leave("b", "kicked");
  assert.deepEqual(scene.run(3_000), ["promote d, remove b", "remove e"]);
});

test("a voter that is about to leave is replaced while it still works", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d", "e"], newcomers: ["f"] });
  scene.node("f").isLeaving = true;
  scene.begin();
  scene.run(20_000);
  scene.node("c").isLeaving = true;
  scene.node("d").isLeaving = true;
  assert.deepEqual(scene.run(1_000), ["promote e, remove c"]);
  assert.deepEqual(scene.run(1_000), ["remove d"]);
  assert.deepEqual(scene.report("f").reasons, ["is about to leave"]);
  scene.node("a").isLeaving = true;
  assert.deepEqual(scene.run(2_000), ["transfer to b", "remove a"]);
});

test("who left and is back in the view is a member like any other", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
  scene.run(20_000);
  scene.node("c").departure = "left";
  assert.deepEqual(scene.run(60_000), []);
});

test("a leader that left hands over first, and the next one takes it out", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
  scene.run(20_000);
  scene.leave("a");
  scene.replica("b").match = 900;
  assert.deepEqual(scene.run(1_000), ["transfer to c"]);
  assert.deepEqual(scene.run(2_000), ["remove a"]);
  assert.deepEqual(scene.run(12_000), ["promote d"]);
});

test("an only voter that leaves gives a learner a vote before it hands over", () => {
  const scene = new Scene({ voters: ["a"], learners: ["b"] }).begin();
  scene.run(20_000);
  scene.leave("a");
  assert.deepEqual(scene.run(3_000), ["promote b", "transfer to b", "remove a"]);
  assert.equal(scene.voters, "b");
});

test("the last node may leave, and nobody is there to decide anything", () => {
  const scene = new Scene({ voters: ["a"] }).begin();
  scene.leave("a");
  assert.deepEqual(scene.run(60_000), []);
  assert.equal(scene.last?.why.startsWith("a leads and left on purpose, and nobody can"), true);
});
