/** Voters are spread over zones, and nothing goes to and fro. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Scene } from "./scene.ts";

test("of the learners that are ready, those of new zones get the votes", () => {
  const scene = new Scene({
    voters: ["a"],
    newcomers: ["b", "c", "d", "e"],
    zones: { a: "east", b: "east", c: "east", d: "west", e: "north" },
  });
  scene.run(30_000);
  assert.equal(scene.voters, "a d e");
});

test("going down to the wanted number keeps as many zones as there can be", () => {
  const scene = new Scene({
    voters: ["a", "b", "c", "d", "e"],
    zones: { a: "east", b: "east", c: "west", d: "west", e: "north" },
  });
  scene.run(30_000);
  assert.equal(scene.voters, "a c e");
});

test("a successor of another zone is preferred", () => {
  const scene = new Scene({
    voters: ["a", "b", "c"],
    learners: ["d", "e"],
    zones: { a: "east", b: "west", c: "north", d: "east", e: "north" },
  }).begin();
  scene.run(20_000);
  scene.crash("c");
  assert.deepEqual(scene.run(62_000), ["promote e, demote c"]);
});

test("voters are exchanged for a strictly better spread, when all is calm for a while", () => {
  const scene = new Scene({
    voters: ["a", "b", "c"],
    learners: ["d"],
    zones: { a: "east", b: "east", c: "west", d: "north" },
  }).begin();
  assert.deepEqual(scene.run(59_000), []);
  assert.equal(
    scene.last?.why,
    "d in zone north instead of b in zone east spreads the voters better, but d is there for " +
      "59 s of 60 s",
  );
  assert.deepEqual(scene.run(2_000), ["promote d, demote b"]);
  assert.deepEqual(scene.run(3_600_000), []);
});

test("an exchange that makes nothing better is none", () => {
  const scene = new Scene({
    voters: ["a", "b", "c"],
    learners: ["d", "e", "f"],
    zones: { a: "east", b: "east", c: "west", d: "east", e: "west", f: "west" },
  }).begin();
  assert.deepEqual(scene.run(3_600_000), []);
});

test("the same number of zones, but no zone with a majority, is better", () => {
  const scene = new Scene({
    voters: ["a", "b", "c", "d", "e"],
    learners: ["f"],
    zones: { a: "east", b: "east", c: "east", d: "west", e: "north", f: "west" },
    policy: { voters: 5 },
  }).begin();
  assert.deepEqual(scene.run(62_000), ["promote f, demote c"]);
});

test("the leader is not exchanged for the sake of its zone", () => {
  const scene = new Scene({
    voters: ["a", "b", "c"],
    learners: ["d"],
    zones: { a: "east", b: "east", c: "west", d: "north" },
  });
  scene.leader = "b";
  scene.begin();
  assert.deepEqual(scene.run(62_000), ["promote d, demote a"]);
});

test("exchanges are replace_after apart", () => {
  const zones = { a: "1", b: "1", c: "1", d: "2", e: "3" };
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d", "e"], zones }).begin();
  assert.deepEqual(scene.run(62_000), ["promote d, demote c"]);
  assert.deepEqual(scene.run(57_000), []);
  assert.deepEqual(scene.run(5_000), ["promote e, demote b"]);
});

test("while a voter is away nothing is exchanged", () => {
  const zones = { a: "east", b: "east", c: "west", d: "north" };
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"], zones }).begin();
  scene.run(50_000);
  scene.node("c").inView = false;
  assert.deepEqual(scene.run(600_000), []);
});

test("without tags all are in one zone", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d", "e"] }).begin();
  assert.deepEqual(scene.run(3_600_000), []);
});
