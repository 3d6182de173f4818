/** Old entries in pages, beside a log that keeps all of them as they came. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { Prng } from "../../../src/base/prng.ts";
import { entryBytes, Log } from "../../../src/raft/core/log.ts";
import { PackedEntries, pageEntries } from "../../../src/raft/core/packed_entries.ts";
import type {
  Entry,
  EntryType,
  LogIndex,
  ReplicaId,
  SnapshotMeta,
  Term,
} from "../../../src/raft/core/types.ts";

const asIndex = (value: number): LogIndex => value as LogIndex;
const voters: readonly ReplicaId[] = [1];
const configuration = {
  voters,
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};

function snapshotAt(index: number, term: number): SnapshotMeta {
  return { index: asIndex(index), term: term as Term, configuration };
}

function makeEntry(random: Prng, index: number, term: number): Entry {
  const length = random.chance(0.02) ? random.between(4_000, 5_000) : random.below(40);
  const data = new Uint8Array(length);
  random.fill(data);
  const type = (random.chance(0.05) ? 1 : 0) as EntryType;
  return { index: asIndex(index), term: term as Term, type, data };
}

test("pages give every entry back as it was, also when the front is dropped", () => {
  const random = new Prng(1);
  const packed = new PackedEntries();
  const all: Entry[] = [];
  for (let page = 0; page < 5; page++) {
    const from = all.length;
    for (let at = 0; at < pageEntries; at++) all.push(makeEntry(random, from + at + 1, page + 1));
    packed.push(all.slice(from));
  }
  let dropped = 0;
  for (const count of [0, 1, pageEntries - 1, 1, 2 * pageEntries + 3, 5]) {
    packed.drop(count);
    dropped += count;
    assert.equal(packed.length, all.length - dropped);
    for (let place = 0; place < packed.length; place++) {
      assert.deepEqual(packed.at(place), all[dropped + place]);
      assert.equal(packed.term(place), all[dropped + place].term);
    }
  }
  assert.throws(() => packed.drop(packed.length + 1));
  packed.drop(packed.length);
  assert.equal(packed.length, 0);
});

/** The same log, with each entry at its index. */
class Twin {
  readonly log: Log;
  readonly entries = new Map<number, Entry>();
  compacted: number;
  compactedTerm = 1;
  last: number;
  applied: number;

  constructor(log: Log, from: number) {
    this.log = log;
    this.compacted = this.last = this.applied = from;
  }

  termAt(index: number): number | undefined {
    return index === this.compacted ? this.compactedTerm : this.entries.get(index)?.term;
  }

  compare(random: Prng): void {
    const { log, compacted, last } = this;
    assert.equal(log.firstIndex, compacted + 1);
    assert.equal(log.lastIndex, last);
    assert.equal(log.lastTerm, this.termAt(last));
    for (let round = 0; round < 20; round++) {
      const index = random.between(Math.max(0, compacted - 2), last + 2);
      assert.equal(log.term(asIndex(index)), this.termAt(index));
      assert.deepEqual(log.entry(asIndex(index)), this.entries.get(index));
    }
    const from = random.between(compacted + 1, last + 1);
    const to = random.between(from, last + 5);
    const bytesMax = random.below(20_000);
    const expected: Entry[] = [];
    let bytes = 0;
    for (let index = from; index <= Math.min(to, last); index++) {
      const entry = this.entries.get(index)!;
      bytes += entryBytes(entry);
      if (bytes > bytesMax && expected.length > 0) break;
      expected.push(entry);
    }
    assert.deepEqual(log.slice(asIndex(from), asIndex(to), bytesMax), expected);
    const term = random.between(1, this.termAt(last)! + 1);
    const end = random.between(compacted, last);
    let agreed = end;
    while (agreed > compacted && this.termAt(agreed)! > term) agreed--;
    if (agreed === compacted && this.compactedTerm > term) agreed--;
    assert.equal(log.lastIndexUpTo(asIndex(end), term as Term), agreed);
  }
}

test("a log whose front is packed answers as one that keeps every entry", () => {
  let packings = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Prng(seed);
    const hardState = { term: 1 as Term, vote: 0, commit: asIndex(7) };
    const log = new Log({ hardState, snapshot: snapshotAt(7, 1), entries: [] });
    const twin = new Twin(log, 7);
    let term = 1;
    let batch = 0;
    for (let step = 0; step < 400; step++) {
      const count = random.between(1, 40);
      const made: Entry[] = [];
      if (random.chance(0.1)) term++;
      // A follower's suffix that was not committed may be replaced, a leader appends.
      const previous = random.chance(0.2) ? random.between(log.committed, twin.last) : twin.last;
      if (previous < twin.last) term++;
      for (let at = 1; at <= count; at++) made.push(makeEntry(random, previous + at, term));
      const before = { index: asIndex(previous), term: twin.termAt(previous) as Term };
      assert.equal(log.accept(before, made), previous + count);
      for (let index = previous + 1; index <= twin.last; index++) twin.entries.delete(index);
      for (const entry of made) twin.entries.set(entry.index, entry);
      twin.last = previous + count;
      const unhanded = log.unhanded();
      assert.equal(unhanded.at(-1)?.index, twin.last);
      for (const entry of unhanded) assert.deepEqual(entry, twin.entries.get(entry.index));
      batch = log.durability.hand(log.lastIndex, { hardState: undefined, mustSync: true });
      if (random.chance(0.7)) log.durability.persisted(batch);
      log.commitTo(asIndex(random.between(log.committed, twin.last)));
      for (const entry of log.takeCommitted(random.below(50_000))) {
        assert.deepEqual(entry, twin.entries.get(entry.index));
        twin.applied = entry.index;
      }
      if (random.chance(0.8)) log.appliedTo(asIndex(twin.applied));
      if (random.chance(0.1)) {
        const most = Math.min(log.applied, log.durability.stableIndex);
        const index = random.between(twin.compacted, Math.max(most, twin.compacted));
        log.compact(asIndex(index));
        twin.compactedTerm = twin.termAt(index)!;
        for (let gone = twin.compacted + 1; gone <= index; gone++) twin.entries.delete(gone);
        twin.compacted = index;
      }
      if (random.chance(0.01)) {
        const index = twin.last + random.between(1, 5);
        log.restore(snapshotAt(index, ++term));
        twin.entries.clear();
        Object.assign(twin, { compacted: index, compactedTerm: term, last: index, applied: index });
        log.durability.persisted(
          log.durability.hand(log.lastIndex, { hardState: undefined, mustSync: true }),
        );
        log.takeUnhandedSnapshot();
        log.appliedTo(asIndex(index));
      }
      twin.compare(random);
      if (log.durability.stableIndex - log.firstIndex > 3 * pageEntries) packings++;
    }
  }
  assert.ok(packings > 100, `the front was packed in ${packings} steps`);
});
