/**
 * A machine that keeps its own state on disk has applied more than the snapshot when it starts
 * (`StoredLog.applied`): nothing is handed out to it twice, and the configuration is the one of
 * what it has applied.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import { makeConfiguration } from "../../../src/raft/core/configuration.ts";
import { encodeConfigurationChange } from "../../../src/raft/core/configuration_codec.ts";
import { RaftNode } from "../../../src/raft/core/node.ts";
import {
  ChangeType,
  type Entry,
  EntryType,
  type SingleChange,
  Transition,
} from "../../../src/raft/core/types.ts";
import { entriesOf, index, term } from "./support/lone.ts";

/** Three voters by the snapshot at 1; 2 removes the third, 4 adds a learner, 6 makes it a voter. */
const entries: readonly Entry[] = [
  change(2, { type: ChangeType.remove, replica: 3 }),
  ...entriesOf(3, 2),
  change(4, { type: ChangeType.addLearner, replica: 4 }),
  ...entriesOf(5, 2),
  change(6, { type: ChangeType.addVoter, replica: 4 }),
];

function change(at: number, ...changes: SingleChange[]): Entry {
  const what = { transition: Transition.auto, changes, context: new Uint8Array(0) };
  const data = encodeConfigurationChange(what);
  return { term: term(2), index: index(at), type: EntryType.configuration, data };
}

function restarted(applied: number | undefined, commit = 6): RaftNode {
  return new RaftNode(
    { id: 1 },
    {
      hardState: { term: term(2), vote: 0, commit: index(commit) },
      snapshot: { index: index(1), term: term(2), configuration: makeConfiguration([1, 2, 3]) },
      entries,
      applied: applied === undefined ? undefined : index(applied),
    },
    new Prng(1),
  );
}

const members = (node: RaftNode): string => {
  const { voters, learners } = node.status().configuration;
  return `${voters} + ${learners}`;
};

test("what was applied before the start is in the configuration, and what was not is not", () => {
  const expected: [number | undefined, string][] = [
    [undefined, "1,2,3 + "],
    [1, "1,2,3 + "],
    [2, "1,2 + "],
    [3, "1,2 + "],
    [4, "1,2 + 4"],
    [5, "1,2 + 4"],
    [6, "1,2,4 + "],
  ];
  for (const [applied, then] of expected) {
    const node = restarted(applied);
    assert.equal(members(node), then, `after ${applied}`);
    assert.equal(node.status().applied, applied ?? 1);
    // Wherever it begins, it ends the same, and every entry comes once.
    const handed: number[] = [];
    while (node.hasReady()) {
      const { batch, committed } = node.ready();
      node.persisted(batch);
      handed.push(...committed.map((entry) => entry.index));
      if (committed.length > 0) node.applied(committed[committed.length - 1].index);
    }
    assert.deepEqual(handed, [2, 3, 4, 5, 6].filter((at) => at > (applied ?? 1)));
    assert.equal(members(node), "1,2,4 + ");
  }
});

test("a snapshot of what was applied before the start has the configuration of its index", () => {
  const node = restarted(5);
  const at = (one: number): string => {
    const { voters, learners } = node.snapshotMeta(index(one)).configuration;
    return `${voters} + ${learners}`;
  };
  const all = [1, 2, 3, 4, 5].map(at);
  assert.deepEqual(all, ["1,2,3 + ", "1,2 + ", "1,2 + ", "1,2 + 4", "1,2 + 4"]);
});

test("a machine that claims less than its snapshot, or more than is committed, is a bug", () => {
  assert.throws(() => restarted(0), /the machine has at least its snapshot/);
  assert.throws(() => restarted(6, 5), /only committed entries were applied/);
});
