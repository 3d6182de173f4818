/** What the status says of each member. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { count, list, spell, spellOf } from "../../../src/autopilot/core/words.ts";
import { Scene } from "./scene.ts";

test("each member has its role, the wanted one, reasons and timers", () => {
  const scene = new Scene({
    voters: ["a", "b", "c"],
    learners: ["d"],
    newcomers: ["leaf"],
    zones: { a: "east" },
  });
  scene.node("leaf").isLeaf = true;
  scene.begin();
  scene.crash("c");
  scene.run(1_000);
  scene.lastIndex = 1_300;
  scene.committed = 1_300;
  scene.run(8_000);
  assert.equal(scene.last?.voters, 3);
  assert.equal(scene.last?.votersWanted, 3);
  assert.deepEqual(scene.pilot.report().map(({ name }) => name), ["a", "b", "c", "d", "leaf"]);
  assert.deepEqual(scene.report("a"), {
    nodeId: "id-a",
    name: "a",
    address: "tcp://a:7946",
    replica: 1,
    zone: "east",
    role: "voter",
    wanted: "voter",
    inView: true,
    inContact: true,
    behind: 300,
    reasons: [],
    timers: [],
  });
  const { reasons, timers } = scene.report("c");
  assert.deepEqual(reasons, [
    "is out of the view for 8 s of 60 s",
    "is out of the leader's contact for 8 s of 60 s",
  ]);
  assert.deepEqual(timers, [{ what: "replace", elapsedMs: 8_000, limitMs: 60_000 }]);
  assert.deepEqual(scene.report("d").reasons, [
    "cannot become a voter: is in the view for 9 s of 10 s, is in the leader's contact for 9 s of " +
    "10 s and lacks 300 entries, and may lack 250",
  ]);
  assert.deepEqual(scene.report("d").timers, [
    { what: "promote", elapsedMs: 9_000, limitMs: 10_000 },
  ]);
});

test("what is about to change shows as wanted", () => {
  const scene = new Scene({
    voters: ["a", "b", "c"],
    learners: ["d"],
    policy: { mode: "dry_run" },
  }).begin();
  scene.run(20_000);
  assert.deepEqual(scene.report("d").reasons, ["is ready to become a voter"]);
  scene.crash("c");
  scene.run(62_000);
  assert.equal(scene.report("c").wanted, "learner");
  assert.equal(scene.report("d").wanted, "voter");
  assert.equal(scene.last?.why, "c is out of the view for 60 s of 60 s: d takes its place");
});

test("when nothing is to be done it says so", () => {
  const scene = new Scene({ voters: ["a", "b", "c"] }).begin();
  scene.run(20_000);
  assert.equal(scene.last?.why, "everything is as wanted");
});

test("words", () => {
  assert.deepEqual([0, 900, 59_999, 119_000, 120_000, 7_199_000, 7_200_000].map(spell), [
    "0 ms",
    "900 ms",
    "59 s",
    "119 s",
    "2 min",
    "119 min",
    "2 h",
  ]);
  assert.equal(spellOf(12_345, 60_000), "12 s of 60 s");
  assert.equal(spellOf(90_000, 60_000), "60 s of 60 s");
  assert.equal(list([]), "");
  assert.equal(list(["a"]), "a");
  assert.equal(list(["a", "b", "c"]), "a, b and c");
  assert.deepEqual([count(1, "voter"), count(2, "voter")], ["1 voter", "2 voters"]);
});
