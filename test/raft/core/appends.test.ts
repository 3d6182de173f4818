/** What one append, one answer or one heartbeat does, at either end. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Message, MessageType } from "../../../src/raft/core/types.ts";
import { entriesOf, index, Lone, term } from "./support/lone.ts";

function appends(messages: readonly Message[], to: number): Message[] {
  return messages.filter((message) => message.type === MessageType.append && message.to === to);
}

/** Sizes of the appends in entries. */
function sizes(lone: Lone, to: number): number[] {
  return appends(lone.sent(), to).map(({ entries }) => entries.length);
}

test("a follower's log after an append: what fits stays, what differs goes, what lacks its base is refused", () => {
  // Its log is 1 (founding), 2 3 of terms 2 3; committed up to 1.
  const cases = [
    { at: [3, 3], terms: [4], log: [2, 3, 4] },
    { at: [2, 2], terms: [3], log: [2, 3] },
    { at: [2, 2], terms: [], log: [2, 3] },
    { at: [1, 1], terms: [2, 3, 3], log: [2, 3, 3] },
    { at: [1, 1], terms: [2], log: [2, 3] },
    { at: [2, 2], terms: [4, 4], log: [2, 4, 4] },
    { at: [1, 1], terms: [3], log: [3] },
    { at: [3, 2], terms: [4], log: undefined },
    { at: [2, 3], terms: [4], log: undefined },
    { at: [4, 3], terms: [4], log: undefined },
  ];
  for (const { at: [last, lastTerm], terms, log } of cases) {
    const follower = new Lone({ terms: [2, 3], term: 4 });
    follower.hear(MessageType.append, 2, {
      index: index(last),
      logTerm: term(lastTerm),
      entries: entriesOf(last + 1, ...terms),
    });
    const answers = follower.sentOf(MessageType.appendResponse);
    assert.equal(answers.length, 1);
    assert.equal(answers[0].reject, log === undefined, `${last} of ${lastTerm}: ${terms}`);
    assert.equal(answers[0].index, log === undefined ? last : last + terms.length);
    assert.deepEqual(follower.terms, log ?? [2, 3]);
  }
});

test("a follower commits what the leader has committed, as far as this append shows, and never back", () => {
  const cases = [
    { at: 3, terms: [], commit: 3, expected: 3 },
    { at: 3, terms: [], commit: 9, expected: 3 },
    { at: 2, terms: [], commit: 3, expected: 2 },
    { at: 3, terms: [3], commit: 4, expected: 4 },
    { at: 3, terms: [3, 3], commit: 4, expected: 4 },
    { at: 3, terms: [3], commit: 5, expected: 4 },
    { at: 3, terms: [], commit: 0, expected: 2 },
    { at: 3, terms: [], commit: 1, expected: 2 },
  ];
  for (const { at, terms, commit, expected } of cases) {
    const follower = new Lone({ terms: [3, 3], commit: 2 });
    follower.hear(MessageType.append, 2, {
      index: index(at),
      logTerm: term(3),
      entries: entriesOf(at + 1, ...terms),
      commit: index(commit),
    });
    follower.sent();
    assert.equal(follower.status.committed, expected);
    assert.deepEqual(
      follower.committed.map((entry) => entry.index),
      [2, 3, 4].slice(0, expected - 1),
    );
  }
});

test("an append before what is committed is answered with the commit index and changes nothing", () => {
  const follower = new Lone({ terms: [2, 2, 2], commit: 3 });
  follower.hear(MessageType.append, 2, {
    index: index(1),
    logTerm: term(1),
    entries: entriesOf(2, 2),
    commit: index(2),
  });
  const [answer] = follower.sentOf(MessageType.appendResponse);
  assert.deepEqual([answer.index, answer.reject], [3, false]);
  assert.deepEqual(follower.terms, [2, 2, 2]);
});

test("a refusal and the probe after it skip whole terms, from either side", () => {
  // A leader's log, a follower's; then the hint's place and term, and the place of the next probe.
  const cases = [
    { leader: [3, 3, 5, 5, 5], follower: [3, 3, 4, 4, 4, 4], hint: [6, 4], next: [3, 3] },
    { leader: [3, 3, 4, 5, 5, 6], follower: [3, 3, 4, 4, 4, 4, 4], hint: [7, 4], next: [4, 4] },
    { leader: [2, 2, 2, 2], follower: [2, 3, 3], hint: [2, 2], next: [2, 2] },
    { leader: [2, 2], follower: [2, 3, 3, 3, 3], hint: [2, 2], next: [2, 2] },
    { leader: [2, 2, 4, 5], follower: [2, 2, 4], hint: [4, 4], next: [4, 4] },
    { leader: [6, 6, 6], follower: [4, 4], hint: [3, 4], next: [1, 1] },
    { leader: [2, 2, 2], follower: [], hint: [1, 1], next: [1, 1] },
  ];
  for (const given of cases) {
    const newest = Math.max(...given.leader, ...given.follower, 1);
    const leader = new Lone({ terms: given.leader, term: newest });
    leader.node.campaign();
    leader.sent();
    leader.hear(MessageType.preVoteResponse, 3, { term: term(newest + 1) });
    leader.sent();
    leader.hear(MessageType.voteResponse, 3);
    const [probe] = appends(leader.sent(), 2);
    assert.equal(probe.index, given.leader.length + 1, "it begins behind the leader's old log");
    const follower = new Lone({ id: 2, terms: given.follower, term: newest });
    follower.node.step(probe);
    const [answer] = follower.sentOf(MessageType.appendResponse);
    assert.equal(answer.reject, true);
    assert.deepEqual([answer.rejectHint, answer.logTerm], given.hint);
    leader.node.step(answer);
    const [second] = appends(leader.sent(), 2);
    assert.deepEqual([second.index, second.logTerm], given.next);
    follower.node.step(second);
    assert.equal(follower.sentOf(MessageType.appendResponse)[0].reject, false);
    assert.deepEqual(follower.terms, leader.terms);
  }
});

test("a leader that has compacted the place where the logs may agree sends its snapshot at once", () => {
  const leader = new Lone({ voters: [1], terms: [4, 4, 4] }).lead();
  leader.sent();
  leader.node.snapshotStored(leader.node.snapshotMeta(index(4)));
  leader.node.compact(index(4));
  leader.change([{ type: 0, replica: 2 }]);
  const [probe] = appends(leader.sent(), 2);
  assert.ok(probe !== undefined, "a new member is probed");
  // All that the new member has is of an older term than the last compacted entry.
  leader.hear(MessageType.appendResponse, 2, {
    index: probe.index,
    reject: true,
    rejectHint: probe.index,
    logTerm: term(3),
  });
  const next = leader.sent();
  assert.deepEqual(next.filter(({ to }) => to === 2).map(({ type }) => type), [
    MessageType.snapshot,
  ]);
});

test("an answer to an old append is not one to the present one", () => {
  const leader = new Lone({ terms: [1, 1] }).lead();
  // Probed at 3; each wrong or old refusal leaves that as it is.
  for (const rejected of [1, 2, 4]) {
    leader.hear(MessageType.appendResponse, 2, {
      index: index(rejected),
      reject: true,
      rejectHint: index(1),
      logTerm: term(1),
    });
    assert.deepEqual(sizes(leader, 2), []);
    assert.deepEqual([leader.member(2).match, leader.member(2).next], [0, 4]);
  }
  leader.hear(MessageType.appendResponse, 2, { index: index(4) });
  leader.sent();
  assert.deepEqual([leader.member(2).state, leader.member(2).match], ["replicate", 4]);
  // Reordered: what was refused before it was acknowledged, and acknowledgements from before.
  for (const reject of [true, false]) {
    for (const old of [2, 3, 4]) {
      leader.hear(MessageType.appendResponse, 2, {
        index: index(old),
        reject,
        rejectHint: index(1),
        logTerm: term(1),
      });
      leader.sent();
      assert.deepEqual([leader.member(2).state, leader.member(2).match], ["replicate", 4]);
    }
  }
});

test("a refusal that comes when the follower is probed again asks from where it is known to agree", () => {
  const leader = new Lone({ voters: [1, 2] }).lead().acknowledgeAll(2);
  leader.propose("a");
  const [first] = appends(leader.sent(), 2);
  leader.propose("b");
  const [second] = appends(leader.sent(), 2);
  const follower = new Lone({ id: 2, voters: [1, 2], terms: leader.terms.slice(0, 1), term: 2 });
  follower.node.step(second);
  const [refusal] = follower.sentOf(MessageType.appendResponse);
  assert.equal(refusal.reject, true);
  follower.node.step(first);
  const [accepted] = follower.sentOf(MessageType.appendResponse);
  leader.node.step(accepted);
  leader.sent();
  leader.node.unreachable(2);
  leader.node.step(refusal);
  const again = appends(leader.sent(), 2);
  assert.equal(again.length, 1);
  assert.equal(again[0].index, accepted.index);
});

test("what a majority of any size has is committed, with everything before it, if it is of this term", () => {
  for (let size = 1; size <= 5; size++) {
    for (let count = 0; count < size; count++) {
      const voters = Array.from({ length: size }, (_, at) => at + 1);
      const leader = new Lone({ voters, terms: [1, 1] }).lead();
      leader.propose("x");
      leader.sent();
      const acknowledge = (upTo: number) => {
        for (const id of voters.slice(1, 1 + count)) {
          leader.hear(MessageType.appendResponse, id, { index: index(upTo) });
        }
        leader.sent();
      };
      const isEnough = count + 1 > size / 2;
      acknowledge(3);
      assert.equal(leader.status.committed, size === 1 ? 5 : 1, "of an older term");
      acknowledge(4);
      if (size > 1) assert.equal(leader.status.committed, isEnough ? 4 : 1);
      acknowledge(5);
      assert.equal(leader.status.committed, isEnough ? 5 : 1);
      assert.equal(leader.committed.length, isEnough ? 4 : 0);
    }
  }
});

test("a heartbeat carries no commit index beyond what is known to be at the follower", () => {
  const leader = new Lone().lead().acknowledgeAll(2);
  leader.propose("a");
  leader.sent();
  leader.hear(MessageType.appendResponse, 2, { index: leader.status.lastIndex });
  leader.sent();
  const { committed, lastIndex } = leader.status;
  assert.equal(committed, lastIndex);
  leader.tick(1);
  const beats = leader.sentOf(MessageType.heartbeat);
  assert.deepEqual(beats.map(({ to, commit }) => [to, commit]), [[2, committed], [3, 0]]);
  for (const beat of beats) {
    assert.deepEqual([beat.index, beat.logTerm, beat.entries.length], [0, 0, 0]);
  }
});

test("one probe at a time; then as many appends as the window takes, by messages and by bytes", () => {
  const leader = new Lone({
    voters: [1, 2],
    options: { appendBytesMax: 1_500, inflightMessagesMax: 3, inflightBytesMax: 7_500 },
  });
  leader.lead();
  // The probe with the leader's first entry is out: nothing else goes.
  const small = "s".repeat(700);
  const large = "l".repeat(4_000);
  for (let at = 0; at < 20; at++) leader.propose(at >= 8 && at < 13 ? large : small);
  assert.deepEqual(sizes(leader, 2), []);
  let last = 2;
  const acknowledge = (...expected: number[]) => {
    leader.hear(MessageType.appendResponse, 2, { index: index(last) });
    const sent = sizes(leader, 2);
    assert.deepEqual(sent, expected);
    last += sent.reduce((sum, count) => sum + count, 0);
  };
  acknowledge(2, 2, 2);
  acknowledge(2, 1, 1);
  acknowledge(1, 1);
  acknowledge(1, 2, 2);
  acknowledge(2, 1);
  // Only the commit index is news.
  acknowledge(0);
  assert.equal(last, leader.status.lastIndex);
});

test("a follower that is far behind gets a part of its window at a time, and all of it", () => {
  // By entries where they are small, by bytes where they are large.
  for (
    const { count, bytes, least, most } of [
      { count: 5_000, bytes: 100, least: 1_000, most: 1_032 },
      { count: 200, bytes: 60 << 10, least: 68, most: 70 },
    ]
  ) {
    const leader = new Lone({
      voters: [1, 2],
      options: { appendBytesMax: bytes < 4096 ? 4096 : 64 << 10, inflightBytesMax: 16 << 20 },
    });
    leader.lead();
    const data = "d".repeat(bytes);
    for (let at = 0; at < count; at++) leader.propose(data);
    assert.deepEqual(sizes(leader, 2), []);
    let last = leader.status.lastIndex - count;
    const sent: number[] = [];
    const acknowledge = () => {
      leader.hear(MessageType.appendResponse, 2, { index: index(last) });
      const now = sizes(leader, 2).filter((entries) => entries > 0);
      sent.push(...now);
      const entries = now.reduce((sum, one) => sum + one, 0);
      assert.ok(entries <= most, `${entries} at once`);
      return entries;
    };
    assert.ok(acknowledge() >= least);
    for (let acknowledged = 0; acknowledged < sent.length; acknowledged++) {
      last += sent[acknowledged];
      acknowledge();
    }
    assert.equal(last, leader.status.lastIndex);
    assert.equal(leader.status.committed, last);
  }
});

test("each acknowledgement frees what it covers, old ones nothing", () => {
  const leader = new Lone({ voters: [1, 2], options: { inflightMessagesMax: 4 } });
  leader.lead().acknowledgeAll(2);
  const first = leader.status.lastIndex;
  for (let at = 0; at < 4; at++) {
    leader.propose("x");
    assert.deepEqual(sizes(leader, 2), [1]);
  }
  assert.equal(leader.member(2).paused, true);
  for (let at = 1; at <= 6; at++) {
    leader.propose("y");
    assert.deepEqual(sizes(leader, 2), [], "the window is full");
    for (let old = 0; old < at; old++) {
      leader.hear(MessageType.appendResponse, 2, { index: index(first + old) });
      assert.deepEqual(sizes(leader, 2), []);
    }
    leader.hear(MessageType.appendResponse, 2, { index: index(first + at) });
    assert.deepEqual(sizes(leader, 2), [1]);
    assert.equal(leader.member(2).paused, true);
  }
});

test("a snapshot on its way: nothing beside it; its fate; and no word about what it says itself", () => {
  const make = () => {
    const leader = new Lone({ voters: [1, 2, 3] }).lead().acknowledgeAll(3);
    for (let at = 0; at < 5; at++) leader.propose(`${at}`);
    leader.sent();
    leader.acknowledgeAll(3);
    const { applied } = leader.status;
    leader.node.snapshotStored(leader.node.snapshotMeta(applied));
    leader.node.compact(applied);
    leader.hear(MessageType.appendResponse, 2, {
      index: index(1),
      reject: true,
      rejectHint: index(0),
    });
    assert.deepEqual(leader.sentOf(MessageType.snapshot).map(({ to }) => to), [2]);
    assert.deepEqual(
      [leader.member(2).state, leader.member(2).pendingSnapshot],
      ["snapshot", applied],
    );
    return { leader, applied };
  };
  const failed = make();
  failed.leader.propose("beside");
  assert.deepEqual(sizes(failed.leader, 2), []);
  failed.leader.node.snapshotSent(2, false);
  assert.deepEqual(
    [failed.leader.member(2).state, failed.leader.member(2).next, failed.leader.member(2).paused],
    ["probe", 1, true],
  );

  const delivered = make();
  delivered.leader.node.snapshotSent(2, true);
  assert.deepEqual(
    [delivered.leader.member(2).state, delivered.leader.member(2).next],
    ["probe", delivered.applied + 1],
  );
  assert.equal(delivered.leader.member(2).paused, true);

  const restored = make();
  restored.leader.hear(MessageType.appendResponse, 2, { index: restored.applied });
  assert.deepEqual(sizes(restored.leader, 2), [], "the snapshot is all that is committed");
  assert.equal(restored.leader.member(2).state, "replicate");
  restored.leader.propose("next");
  assert.deepEqual(sizes(restored.leader, 2), [1]);
});
