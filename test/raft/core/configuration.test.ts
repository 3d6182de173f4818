/** Configurations: what follows from what, that quorums overlap, and the bytes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHex, toHex } from "../../../src/base/bytes.ts";
import { Prng } from "../../../src/base/prng.ts";
import {
  applyChange,
  configurationProblem,
  emptyConfiguration,
  isJoint,
  leaveJoint,
  makeConfiguration,
} from "../../../src/raft/core/configuration.ts";
import {
  decodeConfiguration,
  decodeConfigurationChange,
  encodeConfiguration,
  encodeConfigurationChange,
} from "../../../src/raft/core/configuration_codec.ts";
import {
  ChangeType,
  type Configuration,
  type ConfigurationChange,
  type SingleChange,
  Transition,
} from "../../../src/raft/core/types.ts";

const noContext = new Uint8Array(0);

function change(changes: readonly SingleChange[], transition: Transition = Transition.auto) {
  return { transition, changes, context: noContext };
}

function randomChange(random: Prng): ConfigurationChange {
  const changes: SingleChange[] = [];
  for (let count = random.below(4); count > 0; count--) {
    changes.push({ type: random.pick(Object.values(ChangeType)), replica: random.between(1, 7) });
  }
  return change(changes, random.pick(Object.values(Transition)));
}

/** Whether this set decides in the configuration. */
function isQuorum(configuration: Configuration, set: number): boolean {
  const half = (voters: readonly number[]): boolean =>
    voters.length === 0 ||
    voters.filter((id) => (set >> id) & 1).length * 2 > voters.length;
  return half(configuration.voters) && half(configuration.votersOutgoing);
}

/** No two disjoint sets of replicas decide, one in each of the configurations. */
function overlap(one: Configuration, other: Configuration): boolean {
  for (let set = 0; set < 256; set += 2) {
    if (isQuorum(one, set) && isQuorum(other, ~set & 0xfe)) return false;
  }
  return true;
}

test("random walks: every configuration is consistent, and its quorums overlap with the next's", () => {
  let simple = 0;
  let joint = 0;
  let left = 0;
  let refused = 0;
  for (let seed = 1; seed <= 300; seed++) {
    const random = new Prng(seed);
    let current = makeConfiguration(random.pick([[1], [1, 2], [1, 2, 3], [1, 2, 3, 4, 5]]));
    for (let round = 0; round < 30; round++) {
      const next = randomChange(random);
      const result = applyChange(current, next);
      if ("refused" in result) {
        refused++;
        assert.notEqual(result.refused, "");
        continue;
      }
      const { configuration } = result;
      assert.equal(configurationProblem(configuration), undefined);
      assert.ok(configuration.voters.length > 0);
      assert.ok(overlap(current, configuration), JSON.stringify([current, next, configuration]));
      if (isJoint(configuration)) joint++;
      else if (isJoint(current)) left++;
      else simple++;
      current = configuration;
    }
  }
  for (const count of [simple, joint, left, refused]) assert.ok(count > 300);
});

test("the check of overlaps finds two voters that change at once", () => {
  assert.equal(overlap(makeConfiguration([1, 2, 3]), makeConfiguration([1, 2, 3, 4])), true);
  assert.equal(overlap(makeConfiguration([1, 2, 3]), makeConfiguration([1, 2, 3, 4, 5])), false);
});

test("auto is simple when one voter changes, and joint when more do", () => {
  const from = makeConfiguration([1, 2, 3], [4]);
  const promote = applyChange(from, change([{ type: ChangeType.addVoter, replica: 4 }]));
  assert.deepEqual(promote, { configuration: makeConfiguration([1, 2, 3, 4]) });
  const swap = applyChange(
    from,
    change([{ type: ChangeType.addVoter, replica: 4 }, { type: ChangeType.remove, replica: 1 }]),
  );
  assert.deepEqual(swap, {
    configuration: {
      voters: [2, 3, 4],
      votersOutgoing: [1, 2, 3],
      learners: [],
      learnersNext: [],
      autoLeave: true,
    },
  });
});

test("a voter that becomes a learner keeps its vote until the joint configuration is left", () => {
  const entered = applyChange(
    makeConfiguration([1, 2, 3]),
    change([{ type: ChangeType.addLearner, replica: 3 }], Transition.jointExplicit),
  );
  assert.ok("configuration" in entered);
  assert.deepEqual(entered.configuration.learnersNext, [3]);
  assert.deepEqual(entered.configuration.learners, []);
  assert.deepEqual(leaveJoint(entered.configuration), {
    configuration: makeConfiguration([1, 2], [3]),
  });
});

test("what is refused", () => {
  const from = makeConfiguration([1, 2, 3]);
  const refused = (changes: readonly SingleChange[], configuration = from): boolean =>
    "refused" in applyChange(configuration, change(changes));
  assert.ok(refused([]), "nothing to leave");
  assert.ok(refused([{ type: ChangeType.addVoter, replica: 0 }]));
  assert.ok(refused([1, 2, 3].map((replica) => ({ type: ChangeType.remove, replica }))));
  assert.ok(refused([
    { type: ChangeType.addVoter, replica: 4 },
    { type: ChangeType.remove, replica: 4 },
  ]));
  const joint = { ...from, votersOutgoing: [1, 2, 3] };
  assert.ok(refused([{ type: ChangeType.addVoter, replica: 4 }], joint));
});

test("bytes: golden, there and back, and nothing else is accepted", () => {
  const example: ConfigurationChange = {
    transition: Transition.jointImplicit,
    changes: [{ type: ChangeType.addVoter, replica: 300 }, { type: ChangeType.remove, replica: 1 }],
    context: Uint8Array.of(1, 2),
  };
  assert.equal(toHex(encodeConfigurationChange(example)), "01010200ac0201010102");
  assert.deepEqual(decodeConfigurationChange(fromHex("01010200ac0201010102")!), example);
  const configuration: Configuration = {
    voters: [1, 2],
    votersOutgoing: [2, 3],
    learners: [2 ** 53 - 1],
    learnersNext: [3],
    autoLeave: true,
  };
  const bytes = encodeConfiguration(configuration);
  assert.equal(toHex(bytes), "01010201020202030" + "1ffffffffffffff0f0103");
  assert.deepEqual(decodeConfiguration(bytes), configuration);
  assert.deepEqual(
    decodeConfiguration(encodeConfiguration(emptyConfiguration)),
    emptyConfiguration,
  );
  for (const hex of ["", "02", "0103", "010003", "0100010300", "0100010000", "01000100808000"]) {
    assert.equal(decodeConfigurationChange(fromHex(hex)!), undefined, hex);
  }
  // Too long, too large, descending, a learner that votes.
  const wrong = [
    "0100010100000000",
    "010001ffffffffffffff1f000000",
    "01000202010000",
    "0100010100010100",
  ];
  for (const hex of wrong) assert.equal(decodeConfiguration(fromHex(hex)!), undefined, hex);
});

test("random bytes are decoded to something that encodes to them, or not at all", () => {
  const random = new Prng(7);
  let decoded = 0;
  for (let round = 0; round < 20_000; round++) {
    const bytes = new Uint8Array(random.below(12));
    for (let at = 0; at < bytes.length; at++) bytes[at] = random.below(random.pick([4, 256]));
    if (bytes.length > 0) bytes[0] = 1;
    const one = decodeConfigurationChange(bytes);
    if (one !== undefined) {
      decoded++;
      assert.deepEqual(encodeConfigurationChange(one), bytes);
    }
    const other = decodeConfiguration(bytes);
    if (other !== undefined) {
      decoded++;
      assert.deepEqual(encodeConfiguration(other), bytes);
    }
  }
  assert.ok(decoded > 300, `${decoded} were decoded`);
});
