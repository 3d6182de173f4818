/** The log of version 1, byte by byte: it opens for ever, and it is what is written today. */
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { equalBytes, fromHex, toHex } from "../../../src/base/bytes.ts";
import { formatVersion } from "../../../src/raft/wal/record_format.ts";
import { SnapshotStore } from "../../../src/raft/wal/snapshot_store.ts";
import { armBan, liftBan } from "../../simulation/ban.ts";
import {
  goldenContent,
  goldenOptions,
  goldenRandom,
  snapshotDirectory,
  writeGolden,
} from "./golden_log.ts";
import { filesOf, makeLab, openOn, placeFiles, Twin } from "./support.ts";

interface GoldenFile {
  readonly path: string;
  /** Zeros follow the bytes up to here. */
  readonly length: number;
  /** 32 bytes a line. */
  readonly bytes: readonly string[];
}

const file = fileURLToPath(new URL("../../golden/raft_log/v1/log.json", import.meta.url).href);
const golden = JSON.parse(fs.readFileSync(file, "utf8")) as {
  readonly version: number;
  readonly files: readonly GoldenFile[];
};

before(armBan);
after(liftBan);

function goldenFiles(): Map<string, Uint8Array> {
  return new Map(golden.files.map(({ path, length, bytes }) => {
    const content = new Uint8Array(length);
    content.set(fromHex(bytes.join("")) as Uint8Array);
    return [path, content];
  }));
}

/** The files as they are kept in the golden file. */
function goldenText(files: ReadonlyMap<string, Uint8Array>): string {
  const list = [...files].map(([path, content]): GoldenFile => {
    let end = content.length;
    while (end > 0 && content[end - 1] === 0) end--;
    const bytes: string[] = [];
    for (let at = 0; at < end; at += 32) {
      bytes.push(toHex(content.subarray(at, Math.min(at + 32, end))));
    }
    return { path, length: content.length, bytes };
  });
  return `${JSON.stringify({ version: formatVersion, files: list }, null, 2)}\n`;
}

test("the log of version 1 opens, and its snapshots do", async () => {
  const lab = await makeLab();
  const twin = new Twin();
  await lab.simulation.wait(writeGolden(lab.machine.runtime.disk, twin));

  const place = await makeLab();
  const { simulation, machine } = place;
  await simulation.wait(machine.runtime.disk.makeDirectory(snapshotDirectory));
  await placeFiles(place, goldenFiles());
  await simulation.wait((async () => {
    const { disk } = machine.runtime;
    const { log, groups, tail } = await openOn({ disk, random: goldenRandom }, goldenOptions);
    assert.equal(tail, "clean");
    assert.equal(twin.find(groups), twin.states.length - 1);
    const joint = groups[1].snapshot.configuration;
    assert.deepEqual(joint, {
      voters: [4],
      votersOutgoing: [1, 2],
      learners: [300],
      learnersNext: [2],
      autoLeave: true,
    });
    const store = await SnapshotStore.open(disk, { directory: snapshotDirectory, logId: log.id });
    for (const { group, snapshot } of groups) {
      const found = await store.read(group, snapshot.index);
      assert.ok(found !== undefined);
      assert.deepEqual(found.reader.header.meta, snapshot);
      for (let at = 0; at < goldenContent.length;) {
        const part = await found.reader.read(at);
        assert.ok(equalBytes(part, goldenContent.subarray(at, at + part.length)));
        at += part.length;
      }
      await found.reader.close();
    }
  })());
});

test("what is written today is the log of version 1", async () => {
  assert.equal(golden.version, formatVersion);
  const lab = await makeLab();
  await lab.simulation.wait(writeGolden(lab.machine.runtime.disk, new Twin()));
  assert.equal(goldenText(filesOf(lab)), fs.readFileSync(file, "utf8"));
});
