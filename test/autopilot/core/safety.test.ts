/** What no change does, and when there is none. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Pilot } from "../../../src/autopilot/core/pilot.ts";
import { majorityOf, quorumProblem } from "../../../src/autopilot/core/quorum.ts";
import { defaultPolicy } from "../../../src/autopilot/core/types.ts";
import { Scene } from "./scene.ts";

test("a change needs a majority of the old voters and one of the new ones", () => {
  const healthy = (...ids: number[]) => (id: number): boolean => ids.includes(id);
  const rows = [
    [[1, 2, 3], [1, 2, 4], healthy(1, 2, 4), true],
    [[1, 2, 3], [1, 2, 4], healthy(1, 2), true],
    [[1, 2, 3], [1, 2, 4], healthy(1, 4), false],
    [[1, 2, 3], [1, 4, 5], healthy(1, 2), false],
    [[1, 2, 3], [1, 2], healthy(1, 2), true],
    [[1, 2, 3], [1, 2], healthy(1, 3), false],
    [[1, 2], [1], healthy(1), false],
    [[1, 2, 3], [], healthy(1, 2, 3), false],
  ] as const;
  for (const [before, after, isHealthy, isSafe] of rows) {
    assert.equal(quorumProblem({ before, after }, isHealthy) === undefined, isSafe);
  }
  assert.deepEqual([1, 2, 3, 4, 5].map(majorityOf), [1, 2, 2, 3, 3]);
});

test("without a voter that is lost no fewer of the others may fail than with it", () => {
  for (let voters = 2; voters <= 9; voters++) {
    for (let healthy = majorityOf(voters); healthy < voters; healthy++) {
      assert.ok(healthy - majorityOf(voters - 1) >= healthy - majorityOf(voters));
    }
  }
});

test("a voter that left is not removed when the others would be no majority", () => {
  const scene = new Scene({ voters: ["a", "b", "c"] }).begin();
  scene.run(20_000);
  scene.replica("b").inContact = false;
  scene.leave("c");
  assert.deepEqual(scene.run(600_000), []);
  assert.equal(
    scene.last?.why,
    "c left on purpose, and there is no learner to take a vote, but only 1 of the 2 new voters " +
      "would be healthy, which is no majority",
  );
});

for (
  const [what, hold, why] of [
    [
      "a leader that has not heard of everybody yet",
      (scene: Scene): void => void (scene.hasHeard = false),
      "the leader is new and has not heard of everybody yet",
    ],
    [
      "a joint configuration, or a transfer",
      (scene: Scene): void => void (scene.isBusy = true),
      "the group is changing its members or its leader",
    ],
    [
      "a view that is not agreed",
      (scene: Scene): void => void (scene.isDegraded = true),
      "the members are no majority: nobody knows who is there",
    ],
    [
      "a view without the leader",
      (scene: Scene): void => void (scene.node("a").inView = false),
      "the leader's node is not in the view: nobody knows who is there",
    ],
    [
      "a leader without a majority",
      (scene: Scene): void => void (scene.replica("b").inContact = false),
      "the leader is in contact with 1 of 3 voters only",
    ],
  ] as const
) {
  test(`nothing is decided with ${what}`, () => {
    const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d"], newcomers: ["e"] });
    hold(scene);
    scene.begin();
    scene.crash("c");
    assert.deepEqual(scene.run(600_000), []);
    assert.equal(scene.last?.why, why);
  });
}

test("one change is in flight, however long it takes", () => {
  const scene = new Scene({ voters: ["a"], newcomers: ["b", "c"] });
  scene.leavesInFlight = true;
  assert.deepEqual(scene.run(60_000), ["add b"]);
  assert.equal(scene.last?.why, "b is a member and has no replica yet");
  const { inFlight } = scene.pilot;
  assert.equal(inFlight?.kind, "add_learner");
  assert.equal(scene.last?.inFlight, inFlight);
  scene.end(inFlight!);
  assert.deepEqual(scene.run(60_000), ["add c"]);
});

test("what failed waits, each time longer, and others have their turn meanwhile", () => {
  const scene = new Scene({ voters: ["a"], newcomers: ["b", "c"] });
  scene.failure = "no answer";
  const times = new Map<string, number[]>();
  for (let second = 1; second <= 200; second++) {
    for (const change of scene.run(1_000)) times.set(change, [...times.get(change) ?? [], second]);
  }
  assert.deepEqual(times.get("add b")?.slice(0, 6), [1, 6, 16, 36, 76, 136]);
  assert.deepEqual(times.get("add c")?.slice(0, 6), [2, 7, 17, 37, 77, 137]);
  scene.evaluate();
  assert.match(scene.last!.why, /but it failed \(no answer\) and is tried again in \d+ s/);
});

test("another successor is tried when one cannot be promoted", () => {
  const scene = new Scene({ voters: ["a", "b", "c"], learners: ["d", "e"] }).begin();
  scene.run(20_000);
  scene.crash("c");
  scene.run(60_000);
  scene.failure = "refused";
  assert.deepEqual(scene.run(2_000), ["promote d, demote c", "promote e, demote c"]);
});

test("what is kept of failures does not grow", () => {
  const scene = new Scene({ voters: ["a"] });
  scene.failure = "no answer";
  for (let round = 0; round < 50; round++) {
    scene.nodes.delete(`n${round - 1}`);
    scene.join(`n${round}`);
    assert.deepEqual(scene.run(1_000), [`add n${round}`]);
  }
  scene.nodes.delete("n49");
  scene.run(700_000);
  scene.join("n0");
  scene.failure = undefined;
  assert.deepEqual(scene.run(1_000), ["add n0"]);
});

test("an even number of voters is refused, as is time that goes back", () => {
  assert.throws(() => new Pilot({ ...defaultPolicy, voters: 4 }), /the number of voters is odd/);
  const scene = new Scene({ voters: ["a"] });
  scene.run(1_000);
  scene.nowMs = 0;
  assert.throws(() => scene.evaluate(), /time does not go back/);
});

test("a leader that is no replica any more decides nothing", () => {
  const scene = new Scene({ voters: ["a", "b", "c"] }).begin();
  const inputs = scene.inputs();
  const { change, why } = scene.pilot.evaluate(
    { ...inputs, group: { ...inputs.group, self: 99 } },
    1_000,
  );
  assert.equal(change, undefined);
  assert.equal(why, "the leader is no replica of its group any more");
});
