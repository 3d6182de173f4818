/** From members to learners to voters, and back to the wanted number. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Scene } from "./scene.ts";

test("new members become learners, and two stable ones make one voter three", () => {
  const scene = new Scene({ voters: ["a"], newcomers: ["b", "c"] });
  assert.deepEqual(scene.run(2_000), ["add b", "add c"]);
  assert.deepEqual(scene.run(9_000), []);
  assert.deepEqual(scene.run(3_000), ["promote b c"]);
  assert.equal(scene.voters, "a b c");
});

test("two nodes have one voter: a second one would only be one more that must not fail", () => {
  const scene = new Scene({ voters: ["a"], newcomers: ["b"] });
  assert.deepEqual(scene.run(600_000), ["add b"]);
  assert.equal(
    scene.last?.why,
    "2 more voters are wanted, and only b is ready of the two that make an odd number",
  );
});

test("two founders keep their votes, and a third node makes them three", () => {
  const scene = new Scene({ voters: ["a", "b"] }).begin();
  assert.deepEqual(scene.run(600_000), []);
  scene.join("c");
  assert.deepEqual(scene.run(30_000), ["add c", "promote c"]);
});

for (const voters of [1, 3, 5, 7]) {
  test(`${voters} voters of nine nodes, where so many are wanted`, () => {
    const names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    const scene = new Scene({ voters: ["a"], newcomers: names.slice(1), policy: { voters } });
    scene.run(120_000);
    assert.equal(scene.voters.split(" ").length, voters);
    assert.deepEqual(scene.run(600_000), []);
  });
}

test("four of five nodes are wanted as voters, so three are", () => {
  const scene = new Scene({ voters: ["a"], newcomers: ["b", "c", "d"], policy: { voters: 5 } });
  scene.run(120_000);
  assert.equal(scene.voters, "a b c");
  assert.equal(scene.learners, "d");
});

test("five founders with three wanted go down to three in one step, and the leader stays", () => {
  const scene = new Scene({ voters: ["a", "b", "c", "d", "e"] });
  scene.leader = "e";
  scene.begin();
  assert.deepEqual(scene.run(9_000), []);
  assert.deepEqual(scene.run(2_000), ["demote c d"]);
  assert.deepEqual(scene.run(600_000), []);
});

test("six founders go down by one and then by two", () => {
  const scene = new Scene({ voters: ["a", "b", "c", "d", "e", "f"] });
  assert.deepEqual(scene.run(60_000), ["demote f", "demote d e"]);
});

test("there are never fewer voters while one of them is missing for a moment", () => {
  const scene = new Scene({ voters: ["a", "b", "c", "d", "e"] });
  scene.crash("b");
  scene.begin();
  assert.deepEqual(scene.run(59_000), []);
  assert.match(scene.last!.why, /but b has not been there for long enough$/);
});

test("leaves never become learners: they observe", () => {
  const scene = new Scene({ voters: ["a"], newcomers: ["b", "c"] });
  scene.node("b").isLeaf = true;
  scene.node("c").isLeaf = true;
  assert.deepEqual(scene.run(600_000), []);
  const { role, wanted, reasons } = scene.report("b");
  assert.deepEqual([role, wanted, reasons], ["observer", "observer", ["is a leaf: it observes"]]);
});

test("a voter that has become a leaf is exchanged for another node", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
  scene.node("c").isLeaf = true;
  assert.deepEqual(scene.run(59_000), []);
  assert.deepEqual(scene.run(3_000), ["promote d, demote c"]);
});

test("a leader that has become a leaf hands over before it is exchanged", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
  scene.node("a").isLeaf = true;
  assert.deepEqual(scene.run(62_000), ["transfer to b"]);
  assert.deepEqual(scene.run(63_000), ["promote d, demote a"]);
});

test("a voter whose disk is nearly full is exchanged when there is somebody for it", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
  scene.replica("b").hasRoom = false;
  assert.deepEqual(scene.run(62_000), ["promote d, demote b"]);
});

test("beyond the limit members get no replica, unless they are needed as voters", () => {
  const newcomers = ["b", "c", "d", "e", "f"];
  const scene = new Scene({ voters: ["a"], newcomers, policy: { learnersMax: 1 } });
  scene.run(60_000);
  assert.equal(scene.voters, "a b c");
  assert.equal(scene.learners, "d");
  assert.deepEqual(scene.report("e").reasons, ["has no replica, and none is needed now"]);
  assert.equal(scene.report("e").wanted, "observer");
});

test("with no spare learners a member is added when a voter has to be replaced", () => {
  const scene = new Scene({
    voters: ["a", "b", "c"],
    newcomers: ["d"],
    policy: { learnersMax: 0 },
  }).begin();
  assert.deepEqual(scene.run(60_000), []);
  scene.crash("c");
  assert.deepEqual(scene.run(62_000), ["add d"]);
  assert.deepEqual(scene.run(15_000), ["promote d, demote c"]);
});

test("who has not said that it has no replica is not added, and it is said why", () => {
  const scene = new Scene({ voters: ["a"], newcomers: ["b", "c", "d"] });
  scene.node("b").standing = "unknown";
  scene.node("c").standing = "taken";
  scene.node("d").standing = "foreign";
  assert.deepEqual(scene.run(60_000), []);
  assert.deepEqual(scene.report("b").reasons, ["has not said yet whether it has a replica"]);
  assert.deepEqual(scene.report("c").reasons, [
    "has a replica that was removed: give it an empty data directory",
  ]);
  assert.deepEqual(scene.report("d").reasons, ["has a replica of another cluster"]);
});

test("off does nothing, and dry run says what it would do", () => {
  const off = new Scene({ voters: ["a"], newcomers: ["b"], policy: { mode: "off" } });
  assert.deepEqual(off.run(60_000), []);
  assert.equal(off.last?.why, "autopilot is off");
  const dry = new Scene({ voters: ["a"], newcomers: ["b"], policy: { mode: "dry_run" } });
  assert.deepEqual(dry.run(2_000), ["add b", "add b"]);
  assert.equal(dry.learners, "");
  assert.equal(dry.last?.inFlight, undefined);
});
