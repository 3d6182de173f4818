/** Records whose checksums are right and whose content is nonsense: refused, never a crash. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { crc32c } from "../../../src/base/crc32c.ts";
import { LogError } from "../../../src/raft/wal/error.ts";
import { GroupState, Ledger } from "../../../src/raft/wal/group_state.ts";
import { type CheckpointSource, RecordBuffer } from "../../../src/raft/wal/record_buffer.ts";
import { getU24, MalformedRecord, putU32 } from "../../../src/raft/wal/record_bytes.ts";
import {
  frameBytes,
  recordHeadBytes,
  RecordType,
  segmentHeaderBytes,
} from "../../../src/raft/wal/record_format.ts";
import { chainStart, FrameSeal } from "../../../src/raft/wal/segment.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import {
  directory,
  entries,
  filesOf,
  hardState,
  makeLab,
  meta,
  openOn,
  placeFiles,
  Twin,
} from "./support.ts";

before(armBan);
after(liftBan);

const path = `${directory}/wal-00000000000001.log`;

async function sample(): Promise<{ files: Map<string, Uint8Array>; twin: Twin }> {
  const lab = await makeLab();
  const twin = new Twin();
  const { log } = await lab.simulation.wait(openOn(lab.machine.runtime));
  twin.create(log, 1, 1);
  twin.append(log, 1, { snapshot: meta(0, 0, 1), hardState: hardState(3, 1, 200) });
  twin.append(log, 1, { entries: entries(1, 6, 300) });
  twin.compact(log, 1, meta(2, 300, 1, 2));
  await lab.simulation.wait(log.whenDurable(twin.create(log, 200, 2)));
  twin.truncate(log, 1, 4);
  twin.append(log, 200, { entries: entries(1, 1, 1) });
  await lab.simulation.wait(log.whenDurable(twin.remove(log, 200)));
  return { files: filesOf(lab), twin };
}

/** Puts right checksums over whatever the records say now. Lengths must be as they were. */
function reseal(bytes: Uint8Array): void {
  const seal = new FrameSeal(bytes);
  let chain = chainStart(bytes);
  let start = segmentHeaderBytes;
  for (let at = start, batch = 1; bytes[at + 7] !== 0;) {
    if (bytes[at + 7] === RecordType.batchFrame) {
      chain = seal.write(bytes, at, { batch: batch++, batchBytes: at - start, chain, offset: at });
      at += frameBytes;
      start = at;
      continue;
    }
    const end = at + recordHeadBytes + getU24(bytes, at + 4);
    chain = crc32c(bytes, at + 4, end, chain);
    putU32(bytes, at, chain);
    at = end;
  }
}

/** All bytes of records behind their checksums and lengths: types, versions and bodies. */
function contentOffsets(bytes: Uint8Array): { at: number; isType: boolean }[] {
  const offsets: { at: number; isType: boolean }[] = [];
  for (let at = segmentHeaderBytes; bytes[at + 7] !== 0;) {
    const end = at + recordHeadBytes + getU24(bytes, at + 4);
    if (bytes[at + 7] !== RecordType.batchFrame) {
      for (let one = at + 7; one < end; one++) offsets.push({ at: one, isType: one === at + 7 });
    }
    at = end;
  }
  return offsets;
}

test("nonsense with right checksums is a typed error or a log of its own", async () => {
  const { files, twin } = await sample();
  const whole = files.get(path) as Uint8Array;
  const copy = whole.slice();
  reseal(copy);
  assert.deepEqual(copy, whole, "resealing what is right changes nothing");
  const kinds = new Map<string, number>();
  for (const { at, isType } of contentOffsets(whole)) {
    for (const value of [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 1, whole[at] ^ 0x80]) {
      const bytes = whole.slice();
      bytes[at] = value;
      // A record that calls itself a frame, or nothing, is no record any more.
      if (!isType || (value !== RecordType.batchFrame && value !== 0)) reseal(bytes);
      const lab = await makeLab();
      await placeFiles(lab, new Map([...files, [path, bytes]]));
      const kind = await lab.simulation.wait(
        openOn(lab.machine.runtime).then(
          ({ groups }) => twin.find(groups) === undefined ? "another log" : "opened",
          (error: unknown) => {
            assert.ok(error instanceof LogError, `byte ${at} is ${value}: ${error}`);
            return error.kind;
          },
        ),
      );
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
  }
  assert.deepEqual([...kinds.keys()].sort(), ["another log", "damaged", "newer", "opened"]);
});

test("a checkpoint must say what the records before it said", () => {
  const known = { id: 1, replica: 2, term: 3, vote: 4, commit: 5, last: 6 };
  const mark = { index: 5, term: 2, configuration: Uint8Array.of(1) };
  const applied = (ledger: Ledger, source: CheckpointSource): void => {
    const buffer = new RecordBuffer(64);
    buffer.checkpoint(source);
    ledger.apply({ bytes: buffer.bytes, start: 0, end: buffer.length }, 1);
  };
  const ledger = new Ledger();
  applied(ledger, { ...known, mark });
  applied(ledger, { ...known, mark });
  for (const field of ["replica", "term", "vote", "commit", "last"] as const) {
    const other = { ...known, [field]: known[field] + 1, mark };
    assert.throws(() => applied(ledger, other), MalformedRecord, field);
  }
  for (
    const other of [
      { ...mark, index: 4 },
      { ...mark, term: 1 },
      { ...mark, configuration: Uint8Array.of(2) },
    ]
  ) {
    assert.throws(() => applied(ledger, { ...known, mark: other }), MalformedRecord);
  }
});

test("a group keeps the segments of its entries, and no others", () => {
  const group = new GroupState(1, 1);
  group.extend(1, 1, 10);
  group.extend(2, 11, 20);
  group.extend(3, 21, 30);
  assert.equal(group.oldestSegment(9), 1);
  const mark = (index: number): { index: number; term: number; configuration: Uint8Array } => ({
    index,
    term: 1,
    configuration: new Uint8Array(0),
  });
  group.setMark(mark(9), false);
  assert.equal(group.oldestSegment(9), 1);
  group.setMark(mark(10), false);
  assert.equal(group.oldestSegment(9), 2);
  // What was in segments 2 and 3 behind 15 is void and written again in 4.
  group.truncate(15);
  group.extend(4, 16, 40);
  group.setMark(mark(14), false);
  assert.equal(group.oldestSegment(9), 2);
  group.setMark(mark(15), false);
  assert.equal(group.oldestSegment(9), 4);
  group.truncate(15);
  assert.equal(group.oldestSegment(9), 9);
  group.extend(5, 16, 17);
  group.setMark(mark(17), false);
  assert.equal(group.oldestSegment(9), 9);
  group.setMark(mark(50), true);
  assert.equal(group.last, 50);
  for (
    const wrong of [
      () => group.extend(6, 52, 53),
      () => group.truncate(49),
      () => group.truncate(51),
      () => group.setMark(mark(49), true),
      () => group.setMark(mark(51), false),
    ]
  ) {
    assert.throws(wrong, MalformedRecord);
  }
});
