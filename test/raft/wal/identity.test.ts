/** Whose log it is: foreign, lost, unfinished, damaged and newer ones are refused. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { decodeText, encodeText } from "../../../src/base/bytes.ts";
import { crc32c } from "../../../src/base/crc32c.ts";
import { LogError } from "../../../src/raft/wal/error.ts";
import type { LogOptions } from "../../../src/raft/wal/options.ts";
import { putU16, putU32 } from "../../../src/raft/wal/record_bytes.ts";
import {
  formatVersion,
  frameBytes,
  RecordType,
  segmentHeaderBytes,
} from "../../../src/raft/wal/record_format.ts";
import { FrameSeal } from "../../../src/raft/wal/segment.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import {
  directory,
  entries,
  filesOf,
  makeLab,
  openOn,
  placeFiles,
  type Running,
  smallOptions,
} from "./support.ts";

before(armBan);
after(liftBan);

const identityPath = `${directory}/identity.json`;
const firstPath = `${directory}/wal-00000000000001.log`;

async function open(
  files: ReadonlyMap<string, Uint8Array>,
  options: Partial<LogOptions> = {},
): Promise<Running | LogError> {
  const lab = await makeLab();
  await placeFiles(lab, files);
  return await lab.simulation.wait(
    openOn(lab.machine.runtime, options).catch((error: unknown) => {
      assert.ok(error instanceof LogError, String(error));
      return error;
    }),
  );
}

async function kindOf(
  files: ReadonlyMap<string, Uint8Array>,
  options: Partial<LogOptions> = {},
): Promise<string> {
  const opened = await open(files, options);
  return opened instanceof LogError ? opened.kind : "opened";
}

async function someLog(seed: number): Promise<Map<string, Uint8Array>> {
  const lab = await makeLab({ seed });
  const { log } = await lab.simulation.wait(openOn(lab.machine.runtime));
  log.createGroup(0, 1);
  const ticket = log.append(0, {
    snapshot: undefined,
    hardState: undefined,
    entries: entries(1, 5, 1),
    mustSync: true,
  });
  await lab.simulation.wait(log.whenDurable(ticket));
  return filesOf(lab);
}

test("a log of another cluster, node or replica is refused, and so is one file of it", async () => {
  const files = await someLog(1);
  const { identity } = smallOptions;
  assert.equal(await kindOf(files), "opened");
  for (
    const other of [
      { ...identity, clusterId: "c2" },
      { ...identity, nodeId: "n2" },
      { ...identity, replicas: [{ group: 0, replica: 2 }] },
      { ...identity, replicas: [] },
    ]
  ) {
    const error = await open(files, { identity: other });
    assert.ok(error instanceof LogError && error.kind === "foreign");
    assert.equal(error.file, identityPath);
  }
  const others = await someLog(2);
  const mixed = new Map([...files, [firstPath, others.get(firstPath) as Uint8Array]]);
  assert.equal(await kindOf(mixed), "foreign");
});

test("a log that must be there and is not is lost, never made anew", async () => {
  assert.equal(await kindOf(new Map(), { create: false }), "lost");
  assert.equal(await kindOf(new Map()), "opened");
  const files = await someLog(1);
  files.delete(firstPath);
  assert.equal(await kindOf(files), "lost");
});

test("a log whose making was interrupted is made again; one without its identity is refused", async () => {
  const lab = await makeLab();
  const { log } = await lab.simulation.wait(openOn(lab.machine.runtime));
  const empty = filesOf(lab);
  empty.delete(identityPath);
  assert.equal(await kindOf(empty), "opened");
  await lab.simulation.wait(log.whenDurable(log.createGroup(0, 1)));
  const used = filesOf(lab);
  used.delete(identityPath);
  assert.equal(await kindOf(used), "damaged");
});

test("an identity that is damaged or newer is refused", async () => {
  const files = await someLog(1);
  const text = decodeText(files.get(identityPath) as Uint8Array) as string;
  const cases: [string, string][] = [
    ["", "damaged"],
    ["null", "damaged"],
    ["{}", "damaged"],
    [text.slice(0, 30), "damaged"],
    [text.replace("logId", "logid"), "damaged"],
    [text.replace('"format":1', '"format":"1"'), "damaged"],
    [text.replace('"replica":1', '"replica":"1"'), "damaged"],
    [text.replace('"format":1', '"format":2'), "newer"],
  ];
  for (const [content, kind] of cases) {
    assert.equal(await kindOf(new Map([...files, [identityPath, encodeText(content)]])), kind);
  }
});

test("a segment or record of a later version is refused by that name", async () => {
  const files = await someLog(1);
  const change = (work: (bytes: Uint8Array) => void): Map<string, Uint8Array> => {
    const bytes = (files.get(firstPath) as Uint8Array).slice();
    work(bytes);
    return new Map([...files, [firstPath, bytes]]);
  };
  const segment = change((bytes) => {
    putU16(bytes, 8, formatVersion + 1);
    putU32(bytes, 12, crc32c(bytes, 0, 12));
  });
  const error = await open(segment);
  assert.ok(error instanceof LogError && error.kind === "newer" && error.file === firstPath);
  const unsealed = change((bytes) => putU16(bytes, 8, formatVersion + 1));
  assert.equal(await kindOf(unsealed), "damaged");

  // A first record of a type, and of a version, that a later covey may write.
  for (const [at, value] of [[7, 0x60], [8, 2]]) {
    const lab = await makeLab();
    const { log } = await lab.simulation.wait(openOn(lab.machine.runtime));
    const { disk } = lab.machine.runtime;
    const forged = await forge(at, value);
    await lab.simulation.wait(log.close());
    const path = `${directory}/wal-00000000000001.log`;
    const file = await lab.simulation.wait(disk.open(path, { write: true }));
    await lab.simulation.wait(file.write(forged, 0));
    const kind = await lab.simulation.wait(
      openOn(lab.machine.runtime).then(() => "opened", (error: unknown) => {
        assert.ok(error instanceof LogError, String(error));
        return error.kind;
      }),
    );
    assert.equal(kind, "newer", `byte ${at} is ${value}`);
  }
});

/** A whole segment of the same log, with a batch whose first record has another type or version. */
async function forge(at: number, value: number): Promise<Uint8Array> {
  const lab = await makeLab();
  const { log } = await lab.simulation.wait(openOn(lab.machine.runtime));
  await lab.simulation.wait(log.whenDurable(log.createGroup(0, 1)));
  const bytes = (filesOf(lab).get(firstPath) as Uint8Array).slice();
  // Header, the empty first batch, then the record of the new group and its frame.
  const start = segmentHeaderBytes + frameBytes;
  const end = start + 11;
  assert.equal(bytes[end + 7], RecordType.batchFrame);
  bytes[start + at] = value;
  const before = bytes.slice(start - frameBytes, start - frameBytes + 4);
  const chain = crc32c(bytes, start + 4, end, new DataView(before.buffer).getUint32(0, true));
  putU32(bytes, start, chain);
  new FrameSeal(bytes).write(bytes, end, { batch: 2, batchBytes: 11, chain, offset: end });
  return bytes;
}
