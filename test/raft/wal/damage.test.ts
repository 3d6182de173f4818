/** Bits that flip, files that are missing, and what recycled files still hold. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { LogError } from "../../../src/raft/wal/error.ts";
import { frameBytes, RecordType, segmentHeaderBytes } from "../../../src/raft/wal/record_format.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import {
  directory,
  entries,
  entry,
  filesOf,
  hardState,
  makeLab,
  meta,
  openOn,
  placeFiles,
  type Running,
  Twin,
} from "./support.ts";

before(armBan);
after(liftBan);

const segmentBytes = 1024;

interface Sample {
  readonly files: Map<string, Uint8Array>;
  readonly twin: Twin;
  /** Where the last batch begins in the last segment. */
  readonly lastBatch: number;
  readonly lastFile: string;
}

/** Some batches over three segments. The last one has two sectors. */
async function sample(closed: boolean): Promise<Sample> {
  const lab = await makeLab();
  const { simulation, machine } = lab;
  const twin = new Twin();
  const { log } = await simulation.wait(openOn(machine.runtime, { segmentBytes }));
  twin.create(log, 0, 1);
  twin.create(log, 300, 2);
  twin.append(log, 300, { snapshot: meta(0, 0, 1, 2) });
  let index = 0;
  while (log.segments.newest < 3) {
    index++;
    twin.append(log, 300, {
      entries: entries(index, index + 1, index),
      hardState: hardState(index, 1, 0),
    });
    await simulation.wait(
      log.whenDurable(
        twin.append(log, 0, { entries: [entry(index, 1, new Uint8Array(40 + index))] }),
      ),
    );
  }
  const before = filesOf(lab);
  await simulation.wait(
    log.whenDurable(
      twin.append(log, 0, { entries: entries(index + 1, index + 2, 3, "last ".repeat(40)) }),
    ),
  );
  const whole = filesOf(lab);
  if (closed) await simulation.wait(log.close());
  const files = filesOf(lab);
  const lastFile = `${directory}/wal-${String(log.segments.newest).padStart(14, "0")}.log`;
  const old = before.get(lastFile) as Uint8Array;
  const lastBatch = (whole.get(lastFile) as Uint8Array).findIndex((byte, at) => byte !== old[at]);
  assert.ok(lastBatch > segmentHeaderBytes && log.segments.newest === 3);
  return { files, twin, lastBatch, lastFile };
}

async function openFiles(
  files: ReadonlyMap<string, Uint8Array>,
): Promise<Running | LogError> {
  const lab = await makeLab();
  await placeFiles(lab, files);
  return await lab.simulation.wait(
    openOn(lab.machine.runtime, { segmentBytes }).catch((error: unknown) => {
      assert.ok(error instanceof LogError, String(error));
      return error;
    }),
  );
}

for (const closed of [true, false]) {
  test(`a flipped bit at every byte of a log that was ${closed ? "closed" : "cut off"} is noticed`, async () => {
    const { files, twin, lastBatch, lastFile } = await sample(closed);
    const seen = { refused: 0, unharmed: 0, cut: 0 };
    for (const [path, bytes] of files) {
      if (!path.includes("/wal-")) continue;
      for (let at = 0; at < bytes.length; at++) {
        const flipped = bytes.slice();
        flipped[at] ^= 1 << at % 8;
        const opened = await openFiles(new Map([...files, [path, flipped]]));
        const what = `${path} byte ${at} bit ${at % 8}`;
        if (opened instanceof LogError) {
          assert.ok(["damaged", "foreign"].includes(opened.kind), `${what}: ${opened.message}`);
          assert.ok(opened.file.startsWith(directory));
          seen.refused++;
          continue;
        }
        const ticket = twin.find(opened.groups);
        assert.ok(ticket !== undefined, `${what}: wrong entries were served`);
        if (ticket === twin.states.length - 1) {
          seen.unharmed++;
          continue;
        }
        assert.equal(ticket, twin.states.length - 2, what);
        // Only the very last batch, which a crash may have torn, and only when nothing follows it.
        assert.ok(!closed && path === lastFile && at >= lastBatch, what);
        seen.cut++;
      }
    }
    assert.ok(seen.refused > 1500 && seen.unharmed > 200, JSON.stringify(seen));
    assert.ok(closed ? seen.cut === 0 : seen.cut > 100, JSON.stringify(seen));
  });
}

test("damage in the sector of the last frame is told from a torn tail", async () => {
  const { files, lastBatch, lastFile } = await sample(false);
  const bytes = files.get(lastFile) as Uint8Array;
  const end = bytes.length - [...bytes].reverse().findIndex((byte) => byte !== 0);
  // The last batch begins in one sector, and its frame is in the next.
  assert.ok(Math.floor(lastBatch / 512) < Math.floor((end - frameBytes) / 512));
  for (let at = lastBatch; at < end - frameBytes; at += 7) {
    const flipped = bytes.slice();
    flipped[at] ^= 0x10;
    const opened = await openFiles(new Map([...files, [lastFile, flipped]]));
    // Its one record began in a sector that may be an old one.
    assert.ok(!(opened instanceof LogError) && opened.tail === "torn-behind-frame", `byte ${at}`);
  }
  // The batch before it lies in the sector with its frame.
  const lab = await makeLab();
  const running = await lab.simulation.wait(openOn(lab.machine.runtime));
  await lab.simulation.wait(running.log.whenDurable(running.log.createGroup(0, 1)));
  const small = filesOf(lab);
  const path = `${directory}/wal-00000000000001.log`;
  const start = segmentHeaderBytes + frameBytes;
  for (let at = start; at < start + 11; at++) {
    const flipped = (small.get(path) as Uint8Array).slice();
    flipped[at] ^= 0x10;
    const opened = await openFiles(new Map([...small, [path, flipped]]));
    assert.ok(opened instanceof LogError && opened.kind === "damaged", `byte ${at}`);
    assert.match(opened.message, /sector/);
  }
});

test("what a torn batch left behind says nothing after the log was opened", async () => {
  const { files, lastBatch, lastFile } = await sample(false);
  const bytes = (files.get(lastFile) as Uint8Array).slice();
  bytes[lastBatch] ^= 1;
  const lab = await makeLab();
  await placeFiles(lab, new Map([...files, [lastFile, bytes]]));
  const open = (): Promise<Running> => openOn(lab.machine.runtime, { segmentBytes });
  assert.equal((await lab.simulation.wait(open())).tail, "torn-behind-frame");
  lab.machine.crash();
  lab.machine.restart();
  assert.equal((await lab.simulation.wait(open())).tail, "clean");
});

test("damage names the file, the byte and the group", async () => {
  const { files, lastBatch, lastFile } = await sample(true);
  const bytes = (files.get(lastFile) as Uint8Array).slice();
  bytes[lastBatch + 60] ^= 4;
  const error = await openFiles(new Map([...files, [lastFile, bytes]]));
  assert.ok(error instanceof LogError);
  assert.equal(error.kind, "damaged");
  assert.equal(error.file, lastFile);
  assert.equal(error.offset, lastBatch);
  assert.equal(error.group, 0);
});

test("a missing segment in the middle, at the beginning and at the end", async () => {
  const { files } = await sample(true);
  const segments = [...files.keys()].filter((path) => path.includes("/wal-"));
  for (const [at, path] of segments.entries()) {
    const rest = new Map(files);
    rest.delete(path);
    const opened = await openFiles(rest);
    assert.ok(opened instanceof LogError && opened.kind === "damaged", `without ${path}`);
    // What comes behind the first gap is missing, or what the first one lacks.
    if (at > 0) assert.ok(opened.file === path, opened.message);
    if (at > 0) assert.match(opened.message, /is missing/);
  }
  const two = await openFiles(
    new Map([...files].filter(([path]) => !segments.slice(1).includes(path))),
  );
  assert.ok(two instanceof LogError && two.file === segments[1], "without the newest two");
  const none = await openFiles(new Map([...files].filter(([path]) => !path.includes("/wal-"))));
  assert.ok(none instanceof LogError && none.kind === "lost");
  const noIdentity = await openFiles(
    new Map([...files].filter(([path]) => !path.includes("ident"))),
  );
  assert.ok(noIdentity instanceof LogError && noIdentity.kind === "damaged");
});

test("a segment that was cut off anywhere is damage", async () => {
  for (const closed of [true, false]) {
    const { files } = await sample(closed);
    for (const [path, bytes] of files) {
      if (!path.includes("/wal-")) continue;
      for (let length = 0; length < bytes.length; length += length < 70 ? 1 : 13) {
        const opened = await openFiles(new Map([...files, [path, bytes.slice(0, length)]]));
        assert.ok(opened instanceof LogError && opened.kind === "damaged", `${path} ${length}`);
        assert.equal(opened.file, path);
      }
    }
  }
});

test("the loss of the newest segment is noticed from the moment on in which it is used", async () => {
  const lab = await makeLab();
  const { simulation, machine } = lab;
  const { log, told } = await simulation.wait(openOn(machine.runtime, { segmentBytes }));
  const twin = new Twin();
  twin.create(log, 0, 1);
  const state = { writing: true, noticed: 0, alone: 0 };
  const writing = (async () => {
    for (let index = 1; log.segments.newest < 6; index++) {
      const ticket = twin.append(log, 0, { entries: [entry(index, 1, "x".repeat(150))] });
      await log.whenDurable(ticket);
    }
    state.writing = false;
  })();
  while (state.writing) {
    const before = simulation.events;
    await simulation.run({ until: () => simulation.events > before || !state.writing });
    // What this disk would look like without the newest segment, after the process was killed here.
    const files = filesOf(lab);
    const segments = [...files.keys()].filter((path) => path.includes("/wal-")).sort();
    if (segments.length < 2) continue;
    files.delete(segments[segments.length - 1]);
    const opened = await openFiles(files);
    if (opened instanceof LogError) {
      assert.equal(opened.kind, "damaged");
      state.noticed++;
      continue;
    }
    // Nothing of it had been acknowledged.
    twin.find(opened.groups);
    assert.ok((twin.find(opened.groups) ?? 0) >= told.durable, `${told.durable}`);
    state.alone++;
  }
  await writing;
  assert.ok(state.noticed > 30 && state.alone > 3, JSON.stringify(state));
});

test("after a crash before the end of a segment was written, it is written at the start", async () => {
  const { files } = await sample(false);
  const paths = [...files.keys()].filter((path) => path.includes("/wal-")).sort();
  const [, second, third] = paths;
  const bytes = (files.get(second) as Uint8Array).slice();
  const end = bytes.length - [...bytes].reverse().findIndex((byte) => byte !== 0);
  const frame = end - frameBytes;
  assert.equal(bytes[frame + 7], RecordType.endFrame);
  bytes.fill(0, frame, end);
  const lab = await makeLab();
  await placeFiles(lab, new Map([...files, [second, bytes]]));
  await lab.simulation.wait(openOn(lab.machine.runtime, { segmentBytes }));
  lab.machine.crash();
  const after = filesOf(lab);
  assert.deepEqual(after.get(second), files.get(second));
  after.delete(third);
  const opened = await openFiles(after);
  assert.ok(opened instanceof LogError && opened.file === third);
});

test("a segment of another history of the same log is noticed", async () => {
  const histories: Map<string, Uint8Array>[] = [];
  for (const letter of ["a", "b"]) {
    // The same seed, so the same ids and salts; and the same lengths.
    const lab = await makeLab();
    const { simulation, machine } = lab;
    const { log } = await simulation.wait(openOn(machine.runtime, { segmentBytes }));
    const twin = new Twin();
    twin.create(log, 0, 1);
    for (let index = 1; log.segments.newest < 3; index++) {
      const data = (index === 1 ? letter : "x").repeat(100);
      await simulation.wait(
        log.whenDurable(twin.append(log, 0, { entries: [entry(index, 1, data)] })),
      );
    }
    histories.push(filesOf(lab));
  }
  const [first, second] = histories;
  const path = `${directory}/wal-00000000000001.log`;
  assert.ok(!((await openFiles(first)) instanceof LogError));
  const mixed = await openFiles(new Map([...first, [path, second.get(path) as Uint8Array]]));
  assert.ok(mixed instanceof LogError && mixed.kind === "damaged");
  assert.match(mixed.message, /where the segment before ended/);
});

test("what an older use left in a recycled file is never taken for new", async () => {
  const lab = await makeLab();
  const { simulation, machine } = lab;
  const twin = new Twin();
  const options = { segmentBytes, sparesMax: 1 };
  let { log } = await simulation.wait(openOn(machine.runtime, options));
  twin.create(log, 0, 1);
  let recycled = 0;
  // Every batch has the same length, so that old frames and records stand where new ones would.
  for (let index = 1001; index <= 1100; index++) {
    if (index === 1001) twin.append(log, 0, { snapshot: meta(1000, 1, 1) });
    await simulation.wait(
      log.whenDurable(twin.append(log, 0, { entries: [entry(index, 1, "same ".repeat(9))] })),
    );
    if (index % 5 === 0) {
      await simulation.wait(log.whenDurable(twin.compact(log, 0, meta(index - 2, 1, 1))));
    }
    // The rest of the newest segment is full of an older use's batches.
    const path = `${directory}/wal-${log.segments.newest.toString(16).padStart(14, "0")}.log`;
    const content = machine.disk.content(path) as Uint8Array;
    if (content.subarray(-200, -60).some((byte) => byte !== 0)) recycled++;
    await simulation.run({ forMs: 10 });
    machine.crash();
    machine.restart();
    const again = await simulation.wait(openOn(machine.runtime, options));
    twin.check(again.groups, twin.states.length - 1, `entry ${index}`);
    log = again.log;
  }
  assert.ok(recycled > 10, `${recycled}`);
});

test("zeros in entries do not make damage look like a torn tail", async () => {
  const lab = await makeLab();
  const { simulation, machine } = lab;
  const twin = new Twin();
  const { log } = await simulation.wait(openOn(machine.runtime, { segmentBytes: 64 << 10 }));
  twin.create(log, 0, 1);
  await simulation.wait(
    log.whenDurable(twin.append(log, 0, { entries: [entry(1, 1, new Uint8Array(20_000))] })),
  );
  await simulation.wait(
    log.whenDurable(twin.append(log, 0, { entries: [entry(2, 1, new Uint8Array(20_000))] })),
  );
  const files = filesOf(lab);
  const [path, bytes] = [...files].find(([name]) => name.includes("/wal-")) as [string, Uint8Array];
  for (const at of [200, 5000, 15_000]) {
    const damaged = bytes.slice();
    damaged.fill(0, at, at + 512);
    damaged[at + 100] = 1;
    const opened = await openFiles(new Map([...files, [path, damaged]]));
    assert.ok(opened instanceof LogError && opened.kind === "damaged", `at ${at}`);
  }
});

test("a copy of the log inside an entry is no evidence of anything", async () => {
  const lab = await makeLab();
  const { simulation, machine } = lab;
  const { log } = await simulation.wait(openOn(machine.runtime, { segmentBytes: 64 << 10 }));
  const twin = new Twin();
  twin.create(log, 0, 1);
  for (let index = 1; index <= 9; index++) {
    await simulation.wait(
      log.whenDurable(twin.append(log, 0, { entries: entries(index, index, 1) })),
    );
  }
  const path = [...filesOf(lab).keys()].find((name) => name.includes("/wal-")) as string;
  const copy = (filesOf(lab).get(path) as Uint8Array).slice(0, 2000);
  await simulation.wait(log.whenDurable(twin.append(log, 0, { entries: [entry(10, 1, copy)] })));
  const files = filesOf(lab);
  const torn = (files.get(path) as Uint8Array).slice();
  // The batch with the copy loses its first sector and its frame.
  const end = torn.length - [...torn].reverse().findIndex((byte) => byte !== 0);
  assert.equal(torn[end - frameBytes + 7], RecordType.batchFrame);
  torn.fill(0, end - frameBytes, end);
  const opened = await openFiles(new Map([...files, [path, torn]]));
  assert.ok(!(opened instanceof LogError), String(opened));
  assert.equal(twin.find(opened.groups), twin.states.length - 2);
  assert.equal(opened.tail, "torn");
});
