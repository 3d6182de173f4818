/** The parts by themselves: the log against a naive twin, the window, durability. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import { makeConfiguration } from "../../../src/raft/core/configuration.ts";
import { Durability } from "../../../src/raft/core/durability.ts";
import { foundingLog } from "../../../src/raft/core/founding.ts";
import { Inflights } from "../../../src/raft/core/inflights.ts";
import { entryBytes, Log } from "../../../src/raft/core/log.ts";
import { makeOptions } from "../../../src/raft/core/options.ts";
import { type Entry, EntryType, type LogIndex, type Term } from "../../../src/raft/core/types.ts";

const index = (value: number): LogIndex => value as LogIndex;
const term = (value: number): Term => value as Term;

test("the log against a list: terms, slices, and where logs can agree", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = new Prng(seed);
    const log = new Log(foundingLog(makeConfiguration([1])));
    const list: Entry[] = [];
    let newest = 1;
    for (let round = 0; round < 40; round++) {
      // Somebody's entries from a random place after the committed ones on.
      newest += random.below(2);
      const first = random.between(log.committed + 1, log.lastIndex + 1);
      const before = log.term(index(first - 1))!;
      let at = before as number;
      const entries: Entry[] = [];
      for (let count = random.below(4); count > 0; count--) {
        at = random.between(at, newest);
        entries.push({
          term: term(at),
          index: index(first + entries.length),
          type: EntryType.normal,
          data: new Uint8Array(random.below(20)),
        });
      }
      const last = log.accept({ index: index(first - 1), term: before }, entries);
      assert.equal(last, first - 1 + entries.length);
      const differs = entries.findIndex((entry) => list[entry.index - 2]?.term !== entry.term);
      if (differs >= 0) list.splice(first + differs - 2, Infinity, ...entries.slice(differs));
      assert.equal(log.lastIndex, list.length + 1);
      for (const entry of list) assert.equal(log.term(entry.index), entry.term);
      const upTo = random.between(1, log.lastIndex);
      const most = random.below(newest + 2);
      let naive = upTo;
      while (naive > 0 && log.term(index(naive))! > most) naive--;
      assert.equal(log.lastIndexUpTo(index(upTo), term(most)), naive);
      const bytesMax = random.below(200);
      const slice = list.length === 0 ? [] : log.slice(index(2), log.lastIndex, bytesMax);
      const bytes = slice.reduce((sum, entry) => sum + entryBytes(entry), 0);
      assert.ok(slice.length <= 1 || bytes <= bytesMax);
      const more = list[slice.length];
      assert.ok(more === undefined || slice.length > 0 && bytes + entryBytes(more) > bytesMax);
      if (random.chance(0.2)) log.commitTo(index(random.between(log.committed, log.lastIndex)));
    }
  }
});

test("the window counts messages and bytes, and frees in order", () => {
  const random = new Prng(3);
  const window = new Inflights({ messagesMax: 5, bytesMax: 100 });
  let list: { last: number; bytes: number }[] = [];
  let last = 0;
  for (let round = 0; round < 5000; round++) {
    if (!window.isFull() && random.chance(0.6)) {
      const bytes = random.below(50);
      last += random.between(1, 3);
      window.add(index(last), bytes);
      list.push({ last, bytes });
    } else {
      const freed = last - random.below(8);
      window.freeUpTo(index(freed));
      list = list.filter((one) => one.last > freed);
    }
    const bytes = list.reduce((sum, one) => sum + one.bytes, 0);
    assert.equal(window.count, list.length);
    assert.equal(window.bytes, bytes);
    assert.equal(window.isFull(), list.length >= 5 || bytes >= 100);
  }
});

test("durability: batches are reported in order, and only those that were handed out", () => {
  const none = { term: term(1), vote: 0, commit: index(1) };
  const durability = new Durability(index(1), none);
  const plain = { hardState: undefined, mustSync: true };
  assert.equal(durability.hand(index(5), plain), 1);
  assert.equal(durability.hand(index(8), { ...plain, hardState: { ...none, vote: 3 } }), 2);
  durability.truncated(index(4));
  assert.equal(durability.hand(index(6), plain), 3);
  durability.persisted(1);
  assert.equal(durability.stableIndex, 3);
  assert.equal(durability.hardState.vote, 0);
  durability.persisted(3);
  assert.equal(durability.stableIndex, 6);
  assert.equal(durability.hardState.vote, 3);
  assert.throws(() => durability.persisted(2));
  assert.throws(() => durability.persisted(4));
});

test("options that cannot be are a programmer's error", () => {
  assert.throws(() => makeOptions({ id: 0 }));
  assert.throws(() => makeOptions({ id: 1, electionTicks: 1 }));
  assert.throws(() => makeOptions({ id: 1, inflightMessagesMax: 0 }));
  assert.throws(() => makeOptions({ id: 1, checkQuorum: false, readMode: "lease" }));
  assert.throws(() => makeOptions({ id: 1, readMode: "lease", leaseMarginTicks: 10 }));
});
