/** When a voter is replaced, and when it is not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Scene } from "./scene.ts";

const five = { voters: ["a", "b", "c"], learners: ["d", "e"] };

test("a voter is replaced once it is out of the view and out of contact for replace_after", () => {
  const scene = new Scene(five).begin();
  scene.run(20_000);
  scene.crash("c");
  assert.deepEqual(scene.run(60_000), []);
  assert.equal(
    scene.last?.why,
    "c is out of the view for 59 s of 60 s and is out of the leader's contact for 59 s of 60 s",
  );
  assert.deepEqual(scene.run(2_000), ["promote d, demote c"]);
  assert.equal(scene.voters, "a b d");
  assert.deepEqual(scene.run(600_000), [], "that was all there was to do");
});

test("a voter that is in the view is kept, however long it is out of contact", () => {
  const scene = new Scene(five).begin();
  scene.run(20_000);
  scene.replica("c").inContact = false;
  assert.deepEqual(scene.run(3_600_000), []);
  assert.deepEqual(scene.report("c").reasons, [
    "is in the view, but out of the leader's contact for 59 min: it is kept",
  ]);
});

test("a voter that is in contact is kept, however long it is out of the view", () => {
  const scene = new Scene(five).begin();
  scene.run(20_000);
  scene.node("c").inView = false;
  assert.deepEqual(scene.run(3_600_000), []);
  assert.match(scene.report("c").reasons[0], /^is out of the view for 59 min, but in the leader/);
});

test("both have to be so at the same time and for the whole time", () => {
  const scene = new Scene(five).begin();
  scene.run(20_000);
  scene.node("c").inView = false;
  scene.run(50_000);
  scene.replica("c").inContact = false;
  assert.deepEqual(scene.run(50_000), [], "out of contact for 50 s only");
  scene.replica("c").inContact = true;
  scene.run(2_000);
  scene.replica("c").inContact = false;
  assert.deepEqual(scene.run(60_000), [], "the contact in between began the time anew");
  assert.deepEqual(scene.run(2_000), ["promote d, demote c"]);
});

test("a node that comes back with the same node id inside the window changes nothing", () => {
  const scene = new Scene(five).begin();
  scene.run(20_000);
  for (let round = 0; round < 20; round++) {
    scene.crash("c");
    assert.deepEqual(scene.run(59_000), []);
    scene.restart("c");
    assert.deepEqual(scene.run(1_000), []);
  }
  assert.equal(scene.voters, "a b c");
});

test("a voter that comes back after it was replaced is a learner, and stays one", () => {
  const scene = new Scene(five).begin();
  scene.run(20_000);
  scene.crash("c");
  scene.run(70_000);
  assert.equal(scene.learners, "c e");
  scene.restart("c");
  assert.deepEqual(scene.run(600_000), []);
  assert.equal(scene.voters, "a b d");
});

test("without a successor that is ready nothing is taken away: add before remove", () => {
  const scene = new Scene({ voters: ["a", "b", "c"] }).begin();
  scene.run(20_000);
  scene.crash("c");
  assert.deepEqual(scene.run(600_000), []);
  assert.equal(
    scene.last?.why,
    "c is out of the view for 60 s of 60 s, and there is no learner to take a vote",
  );
});

for (
  const [what, spoil, cure] of [
    [
      "lacks more than 250 entries",
      (scene: Scene): void => {
        scene.lastIndex = 2_000;
        scene.committed = 2_000;
        for (const name of ["a", "b"]) scene.replica(name).match = 2_000;
        scene.replica("d").match = 1_749;
      },
      (scene: Scene): void => void (scene.replica("d").match = 1_750),
    ],
    [
      "is being sent a snapshot",
      (scene: Scene): void => void (scene.replica("d").inSnapshot = true),
      (scene: Scene): void => void (scene.replica("d").inSnapshot = false),
    ],
    [
      "has acknowledged nothing yet",
      (scene: Scene): void => {
        scene.replica("d").match = 0;
        scene.lastIndex = 200;
        scene.committed = 200;
      },
      (scene: Scene): void => void (scene.replica("d").match = 200),
    ],
    [
      "is a leaf",
      (scene: Scene): void => void (scene.node("d").isLeaf = true),
      (scene: Scene): void => void (scene.node("d").isLeaf = false),
    ],
    [
      "has a full disk",
      (scene: Scene): void => void (scene.replica("d").hasRoom = false),
      (scene: Scene): void => void (scene.replica("d").hasRoom = true),
    ],
  ] as const
) {
  test(`a successor that ${what} does not succeed until it is better`, () => {
    const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
    scene.run(20_000);
    scene.crash("c");
    spoil(scene);
    assert.deepEqual(scene.run(300_000), []);
    cure(scene);
    assert.deepEqual(scene.run(1_000), ["promote d, demote c"]);
  });
}

test("a successor that lacks nothing that is committed is caught up, however fast the leader is", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
  scene.run(20_000);
  scene.crash("c");
  scene.lastIndex = 9_000;
  scene.committed = 8_000;
  scene.replica("d").match = 7_999;
  assert.deepEqual(scene.run(100_000), []);
  scene.replica("d").match = 8_000;
  assert.deepEqual(scene.run(1_000), ["promote d, demote c"]);
});

for (
  const [what, interrupt] of [
    ["in the view", (scene: Scene): void => void (scene.node("d").inView = false)],
    ["in contact", (scene: Scene): void => void (scene.replica("d").inContact = false)],
  ] as const
) {
  test(`a successor is stable when it was ${what} for ten seconds without a break`, () => {
    const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
    scene.crash("c");
    interrupt(scene);
    scene.run(70_000);
    for (let round = 0; round < 5; round++) {
      scene.node("d").inView = true;
      scene.replica("d").inContact = true;
      assert.deepEqual(scene.run(9_000), []);
      interrupt(scene);
      assert.deepEqual(scene.run(1_000), []);
    }
    scene.node("d").inView = true;
    scene.replica("d").inContact = true;
    assert.deepEqual(scene.run(10_000), []);
    assert.deepEqual(scene.run(1_000), ["promote d, demote c"]);
  });
}

test("a successor that joined anew begins its ten seconds anew", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"] }).begin();
  scene.crash("c");
  scene.run(59_000);
  scene.node("d").incarnation++;
  assert.deepEqual(scene.run(10_000), []);
  assert.deepEqual(scene.run(2_000), ["promote d, demote c"]);
});

test("in the demo five seconds are enough", () => {
  const scene = new Scene({ ...five, policy: { replaceAfterMs: 5_000 } }).begin();
  scene.run(20_000);
  scene.crash("b");
  assert.deepEqual(scene.run(5_000), []);
  assert.deepEqual(scene.run(1_000), ["promote d, demote b"]);
});

test("of more voters than wanted one that is dead goes without a successor", () => {
  const scene = new Scene({ voters: ["a", "b", "c", "d"] });
  scene.crash("d");
  scene.begin();
  assert.deepEqual(scene.run(60_000), ["demote d"]);
});

test("a new leader begins to count anew, so a replacement can only come later", () => {
  const scene = new Scene(five).begin();
  scene.run(20_000);
  scene.crash("c");
  scene.run(50_000);
  scene.pilot.forget();
  scene.leader = "b";
  assert.deepEqual(scene.run(60_000), []);
  assert.deepEqual(scene.run(2_000), ["promote d, demote c"]);
});

test("a leader that stood still counts anew: it saw nobody meanwhile", () => {
  const scene = new Scene(five).begin();
  scene.run(20_000);
  scene.crash("c");
  scene.run(10_000);
  scene.nowMs += 600_000;
  assert.deepEqual(scene.run(60_000), []);
  assert.deepEqual(scene.run(2_000), ["promote d, demote c"]);
});

test("two dead voters of five are replaced one after the other", () => {
  const scene = new Scene({
    voters: ["a", "b", "c", "d", "e"],
    learners: ["f", "g"],
    policy: { voters: 5 },
  }).begin();
  scene.run(20_000);
  scene.crash("d");
  scene.crash("e");
  assert.deepEqual(scene.run(63_000), ["promote f, demote d", "promote g, demote e"]);
  assert.equal(scene.voters, "a b c f g");
});

test("a dead learner is removed after a longer time", () => {
  const scene = new Scene({ ...five, policy: { removeAfterMs: 3_600_000 } }).begin();
  scene.run(20_000);
  scene.crash("e");
  assert.deepEqual(scene.run(3_600_000), []);
  assert.deepEqual(scene.run(2_000), ["remove e"]);
  assert.equal(scene.learners, "d");
});
