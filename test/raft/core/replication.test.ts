/** Logs, acknowledgements and the commit index. Numbers are the sharp cases' of issue 3. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeMessage } from "../../../src/raft/core/messages.ts";
import {
  type Entry,
  EntryType,
  type LogIndex,
  type Message,
  MessageType,
  type Term,
} from "../../../src/raft/core/types.ts";
import { Cluster } from "./support/cluster.ts";

const index = (value: number): LogIndex => value as LogIndex;
const term = (value: number): Term => value as Term;

function entries(first: number, ...terms: number[]): Entry[] {
  return terms.map((one, at) => ({
    term: term(one),
    index: index(first + at),
    type: EntryType.normal,
    data: Uint8Array.of(one),
  }));
}

function append(to: number, fields: Partial<Message> & { readonly from: number }): Message {
  return makeMessage(fields.from, { type: MessageType.append, ...fields, to });
}

test("case 1, figure 8: an entry of an older term is not committed by counting it", () => {
  const cluster = new Cluster({ voters: [1, 2, 3, 4, 5], options: { appendBytesMax: 0 } });
  // Replica 1 led in term 2; its entry 3 got nowhere. Term 3 was somebody else's.
  for (const id of [1, 2, 3, 4, 5]) {
    const host = cluster.host(id);
    host.disk.entries = entries(2, ...(id === 1 ? [2, 2] : [2]));
    host.disk.hardState = { ...host.disk.hardState, term: term(3) };
    host.crash();
    host.start();
  }
  cluster.invariants.handed(cluster.host(1), {
    ...cluster.host(1).node.ready(),
    entries: entries(2, 2, 2),
  });
  cluster.host(1).crash();
  cluster.host(1).start();
  // Now it leads in term 4. The old entry gets everywhere, the first one of term 4 nowhere.
  cluster.hold(({ type, entries: list }) =>
    type === MessageType.append && list.some((entry) => entry.term === 4)
  );
  const leader = cluster.elect(1);
  for (const from of [2, 3, 4, 5]) {
    // What they would answer to the append that is held.
    leader.node.step(makeMessage(from, {
      type: MessageType.appendResponse,
      to: 1,
      term: term(4),
      index: index(3),
      reject: true,
      rejectHint: index(2),
      logTerm: term(2),
    }));
  }
  leader.collect();
  cluster.settle();
  for (const id of [2, 3, 4, 5]) assert.equal(cluster.terms(id), "2 2");
  assert.equal(cluster.committed(1), 1, "a majority has entry 3, and yet");
  // A newer leader could still replace it, until an entry of term 4 stands on it.
  cluster.release();
  cluster.tick(3);
  assert.equal(cluster.committed(1), 4);
  cluster.assertConverged();
});

test("case 1: a new leader commits old entries with its first own one", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  // The entry gets to replica 2, whose acknowledgement is lost.
  cluster.cut(1, 3);
  cluster.hold((message) => message.to === 1);
  cluster.propose(1, "a");
  cluster.settle();
  assert.equal(cluster.terms(2), "2 2");
  cluster.host(1).crash();
  cluster.heal();
  cluster.held = [];
  const second = cluster.waitForLeader();
  assert.equal(second.status.committed, 4, "the old entry and the first of the new term");
});

test("case 3: an acknowledgement waits for the disk", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  cluster.stallDisk(2);
  cluster.stallDisk(3);
  cluster.propose(1, "a");
  cluster.settle();
  assert.equal(cluster.committed(1), 2, "nobody but the leader has it");
  cluster.resumeDisk(2);
  cluster.settle();
  assert.equal(cluster.committed(1), 3);
});

test("case 3: the leader does not count itself before its own disk has it", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  cluster.stallDisk(1);
  cluster.isolate(3);
  cluster.propose(1, "a");
  cluster.settle();
  assert.equal(cluster.committed(1), 2, "replica 2 has it, the leader does not");
  cluster.resumeDisk(1);
  cluster.settle();
  assert.equal(cluster.committed(1), 3);
});

test("case 3: the leader counts itself only for what its disk has reported", () => {
  const cluster = new Cluster();
  const leader = cluster.elect(1);
  cluster.stallDisk(1);
  cluster.isolate(3);
  for (const text of ["a", "b"]) cluster.propose(1, text);
  cluster.settle();
  assert.equal(cluster.terms(2), "2 2 2");
  while (leader.status.stableIndex < 3) leader.completeWrites(1);
  assert.equal(cluster.committed(1), 3, "the second entry is on its way to the disk yet");
});

test("a leader commits what others have before its own disk does, and applies it", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  cluster.stallDisk(1);
  cluster.propose(1, "a");
  cluster.settle();
  assert.equal(cluster.committed(1), 3);
  assert.equal(cluster.host(1).machine.index, 3);
  assert.equal(cluster.host(1).status.stableIndex, 2);
});

test("case 4: an older append that comes late takes nothing back", () => {
  const cluster = new Cluster();
  const follower = cluster.host(2);
  const fields = { from: 1, term: term(2), index: index(1), logTerm: term(1) };
  follower.node.step(append(2, { ...fields, entries: entries(2, 2, 2, 2) }));
  follower.collect();
  follower.completeWrites(9);
  follower.node.step(append(2, { ...fields, entries: entries(2, 2) }));
  follower.node.step(append(2, { ...fields, entries: [] }));
  follower.collect();
  assert.equal(follower.status.lastIndex, 4);
  assert.equal(follower.status.stableIndex, 4);
});

test("case 5: a follower commits no further than it knows to be the leader's", () => {
  const cluster = new Cluster();
  const follower = cluster.host(2);
  const fields = { from: 1, term: term(2), index: index(1), logTerm: term(1) };
  follower.node.step(append(2, { ...fields, entries: entries(2, 2, 2, 2) }));
  // The leader of term 3 has other entries from 3 on, and has committed them.
  follower.node.step(
    append(2, { ...fields, from: 3, term: term(3), entries: entries(2, 2), commit: index(4) }),
  );
  assert.equal(follower.status.committed, 2);
});

test("case 5: a heartbeat tells a follower to commit what it is known to have", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  cluster.isolate(3);
  for (const text of ["a", "b"]) cluster.propose(1, text);
  cluster.settle();
  cluster.heal();
  cluster.host(1).node.tick();
  cluster.host(1).collect();
  const heartbeat = cluster.queue.find(({ type, to }) =>
    type === MessageType.heartbeat && to === 3
  );
  assert.equal(cluster.committed(1), 4);
  assert.equal(heartbeat?.commit, 2);
});

test("case 21: a full window whose appends were all lost is found out", () => {
  for (const windows of [{ inflightMessagesMax: 2 }, { inflightBytesMax: 30 }]) {
    const cluster = new Cluster({ options: { ...windows, appendBytesMax: 0 } });
    cluster.elect(1);
    cluster.tick();
    cluster.cut(1, 3);
    for (const text of ["a", "b", "c", "d"]) cluster.propose(1, text);
    cluster.settle();
    const member = cluster.host(1).status.members[2];
    assert.ok(member.paused && member.inflightMessages > 0);
    cluster.heal();
    cluster.tick(3);
    cluster.assertConverged();
  }
});

test("a lost append is found out though nothing follows it", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  cluster.tick();
  cluster.cut(1, 3);
  cluster.propose(1, "a");
  cluster.settle();
  cluster.heal();
  cluster.tick(3);
  cluster.assertConverged();
});

/** A leader whose follower 3 is probed with an entry, over a link that holds appends back. */
function probing(): { cluster: Cluster; appends: () => number[] } {
  const cluster = new Cluster();
  const leader = cluster.elect(1);
  cluster.tick();
  cluster.hold(({ type, to }) => type === MessageType.append && to === 3);
  for (const text of ["a", "b"]) cluster.propose(1, text);
  cluster.settle();
  cluster.held = [];
  leader.node.unreachable(3);
  cluster.propose(1, "c");
  cluster.settle();
  return { cluster, appends: () => cluster.held.map(({ entries: list }) => list.length) };
}

test("one probe is on its way at a time: answers to heartbeats and reads do not repeat it", () => {
  const { cluster, appends } = probing();
  assert.deepEqual(appends(), [3], "the probe carries what is missing");
  for (let round = 0; round < 50; round++) {
    cluster.host(1).node.readIndex();
    cluster.host(1).collect();
    cluster.settle();
  }
  cluster.tick(8);
  assert.deepEqual(appends(), [3]);
  cluster.release();
  cluster.settle();
  cluster.assertConverged();
});

test("a probe that nobody answers for an election timeout is repeated without its entries", () => {
  const { cluster, appends } = probing();
  cluster.tick(32);
  const repeats = appends().slice(1);
  assert.ok(repeats.length >= 2 && repeats.length <= 3, `${repeats.length} repeats in 32 ticks`);
  assert.ok(repeats.every((count) => count === 0));
  // The probe itself was lost, the way is there again.
  cluster.held = cluster.held.slice(1);
  cluster.release();
  cluster.settle();
  cluster.tick(2);
  cluster.assertConverged();
});

test("a probe that broke off with the link goes out again with the next heartbeat", () => {
  const { cluster, appends } = probing();
  cluster.host(1).node.unreachable(3);
  cluster.settle();
  assert.deepEqual(appends(), [3], "nothing before something is heard of it");
  cluster.tick();
  assert.deepEqual(appends(), [3, 3]);
  cluster.held = [];
  cluster.heal();
  cluster.host(1).node.unreachable(3);
  cluster.tick();
  cluster.assertConverged();
});

test("a follower that is behind is nudged once a heartbeat, however many reads there are", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  cluster.tick();
  cluster.hold(({ type, to }) => type === MessageType.append && to === 3);
  cluster.propose(1, "a");
  cluster.settle();
  for (let round = 0; round < 50; round++) {
    cluster.host(1).node.readIndex();
    cluster.host(1).collect();
    cluster.settle();
  }
  // The entry, the news that it is committed, and the nudge.
  assert.ok(cluster.held.length <= 3, `${cluster.held.length} appends`);
});

test("case 26: an entry that came back is durable with the batch that brought it back", () => {
  const cluster = new Cluster();
  const follower = cluster.host(2);
  const fields = { index: index(1), logTerm: term(1) };
  const from = (id: number, at: number, list: Entry[]) => {
    follower.node.step(append(2, { ...fields, from: id, term: term(at), entries: list }));
    follower.collect();
  };
  from(1, 2, entries(2, 2, 2));
  from(3, 3, entries(2, 3));
  from(1, 4, entries(2, 2, 2));
  assert.equal(follower.writes.length, 3);
  follower.completeWrites(1);
  assert.equal(follower.status.stableIndex, 1, "the second batch overwrites it yet");
  follower.completeWrites(1);
  assert.equal(follower.status.stableIndex, 1);
  follower.completeWrites(1);
  assert.equal(follower.status.stableIndex, 3);
});

test("case 25: what was proposed and is overwritten is seen by its term and index", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  cluster.isolate(1);
  const result = cluster.propose(1, "lost");
  assert.equal(result.kind, "appended");
  cluster.settle();
  cluster.tick(40);
  cluster.heal();
  cluster.tick(5);
  if (result.kind !== "appended") return;
  assert.notEqual(cluster.host(1).diskTerm(result.index), result.term);
  assert.ok(cluster.committed(1) >= result.index);
});

test("a rejection's hint skips a whole term of entries at a time", () => {
  const cluster = new Cluster();
  const follower = cluster.host(2);
  const old = entries(2, ...Array.from({ length: 50 }, () => 2));
  follower.node.step(
    append(2, { from: 3, term: term(2), index: index(1), logTerm: term(1), entries: old }),
  );
  follower.collect();
  const leader = cluster.host(1);
  const other = entries(2, ...Array.from({ length: 50 }, () => 3));
  leader.node.step(
    append(1, { from: 3, term: term(3), index: index(1), logTerm: term(1), entries: other }),
  );
  cluster.settle();
  cluster.queue = [];
  let probes = 0;
  cluster.hold((message) => {
    if (message.to === 2 && message.type === MessageType.append) probes++;
    return false;
  });
  leader.node.forgetLeader();
  cluster.elect(1);
  cluster.tick(3);
  assert.equal(cluster.terms(2), cluster.terms(1));
  assert.ok(probes <= 4, `${probes} appends to find where the logs agree`);
});

test("the figure of differing logs (dissertation, figure 3.6): all become the leader's", () => {
  // The leader's log is 1 1 1 4 4 5 5 6 6 6 there; term n is n + 1 here, after the founding entry.
  const leaderLog = [2, 2, 2, 5, 5, 6, 6, 7, 7, 7];
  const logs = [
    [2, 2, 2, 5, 5, 6, 6, 7, 7],
    [2, 2, 2, 5],
    [2, 2, 2, 5, 5, 6, 6, 7, 7, 7, 7],
    [2, 2, 2, 5, 5, 6, 6, 7, 7, 7, 8, 8],
    [2, 2, 2, 5, 5, 5, 5],
    [2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4],
  ];
  for (const log of logs) {
    const cluster = new Cluster();
    const put = (id: number, terms: number[]) => {
      const host = cluster.host(id);
      host.disk.entries = entries(2, ...terms);
      host.disk.hardState = { ...host.disk.hardState, term: term(9) };
      host.crash();
      host.start();
    };
    put(1, leaderLog);
    put(2, log);
    // Whoever has the longest log does not vote, so the third replica has to.
    put(3, leaderLog);
    cluster.invariants.handed = () => {};
    cluster.elect(1);
    cluster.tick(3);
    assert.equal(cluster.terms(2), cluster.terms(1));
    cluster.assertConverged();
  }
});

test("limits: uncommitted bytes drop proposals, but never the only one and never empty ones", () => {
  const cluster = new Cluster({ options: { uncommittedBytesMax: 10 } });
  const leader = cluster.elect(1);
  cluster.isolate(1);
  const propose = (size: number) => leader.node.propose([new Uint8Array(size)]).kind;
  assert.equal(propose(100), "appended", "alone it is let through");
  assert.deepEqual(leader.node.propose([new Uint8Array(1)]), {
    kind: "dropped",
    reason: "overload",
  });
  assert.equal(propose(0), "appended");
  cluster.heal();
  cluster.settle();
  cluster.tick(2);
  assert.equal(leader.status.uncommittedBytes, 0);
  assert.equal(propose(5), "appended");
});

test("limits: committed entries are handed out by the page", () => {
  const cluster = new Cluster({ voters: [1], options: { applyingBytesMax: 60 } });
  const leader = cluster.elect(1);
  for (let at = 0; at < 10; at++) leader.node.propose([new Uint8Array(6)]);
  leader.collect();
  leader.completeWrites(9);
  assert.ok(leader.work.length > 0);
  const handed = leader.work.reduce(
    (sum, work) => sum + (work.kind === "entries" ? work.entries.length : 0),
    0,
  );
  assert.equal(handed, 2, "two of 30 bytes each");
  cluster.settle();
  assert.equal(leader.machine.index, 12);
});

test("proposals go through a follower, and its leader's refusal comes back", () => {
  const cluster = new Cluster();
  cluster.elect(1);
  assert.equal(cluster.propose(2, "a").kind, "forwarded");
  cluster.settle();
  assert.equal(cluster.committed(1), 3);
  cluster.isolate(3);
  cluster.host(1).node.transferLeadership(3);
  const result = cluster.propose(2, "b");
  cluster.settle();
  assert.equal(result.kind, "forwarded");
  if (result.kind !== "forwarded") return;
  assert.deepEqual(cluster.host(2).dropped, [
    { kind: "proposal", request: result.request, reason: "refused" },
  ]);
  const strict = new Cluster({ options: { forwardProposals: false } });
  strict.elect(1);
  assert.deepEqual(strict.propose(2, "a"), { kind: "dropped", reason: "notLeader" });
});
