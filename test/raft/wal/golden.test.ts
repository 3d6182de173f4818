/** Logs of each version, byte by byte: they open for ever; the newest is what is written today. */
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
import { entry, filesOf, type Lab, makeLab, openOn, placeFiles, Twin } from "./support.ts";

interface GoldenFile {
  readonly path: string;
  /** Zeros follow the bytes up to here. */
  readonly length: number;
  /** 32 bytes a line. */
  readonly bytes: readonly string[];
}

const versions = Array.from({ length: formatVersion }, (_, at) => at + 1);

function fileOf(version: number): string {
  const path = `../../golden/raft_log/v${version}/log.json`;
  return fileURLToPath(new URL(path, import.meta.url).href);
}

before(armBan);
after(liftBan);

function goldenFiles(version: number): Map<string, Uint8Array> {
  const golden = JSON.parse(fs.readFileSync(fileOf(version), "utf8")) as {
    readonly version: number;
    readonly files: readonly GoldenFile[];
  };
  assert.equal(golden.version, version);
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

/** A machine that has this version's files, and what they hold. */
async function placed(version: number): Promise<{ place: Lab; twin: Twin }> {
  const lab = await makeLab();
  const twin = new Twin();
  await lab.simulation.wait(writeGolden(lab.machine.runtime.disk, twin));
  const place = await makeLab();
  await place.simulation.wait(place.machine.runtime.disk.makeDirectory(snapshotDirectory));
  await placeFiles(place, goldenFiles(version));
  return { place, twin };
}

for (const version of versions) {
  test(`the log of version ${version} opens, and its snapshots do`, async () => {
    const { place, twin } = await placed(version);
    const { disk } = place.machine.runtime;
    await place.simulation.wait((async () => {
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

  test(`a log of version ${version} is gone on with`, async () => {
    const { place, twin } = await placed(version);
    const { simulation, machine } = place;
    for (let round = 0; round < 3; round++) {
      const opened = await simulation.wait(openOn(machine.runtime, goldenOptions));
      twin.check(opened.groups, twin.states.length - 1, `round ${round}`);
      const first = (twin.state.get(0)?.entries.at(-1)?.index ?? 0) + 1;
      for (let index = first; index < first + 6; index++) {
        const ticket = twin.append(opened.log, 0, { entries: [entry(index, 4, "on ".repeat(80))] });
        await simulation.wait(opened.log.whenDurable(ticket));
      }
      if (round === 1) await simulation.wait(opened.log.close());
      machine.crash();
      machine.restart();
    }
    const { groups } = await simulation.wait(openOn(machine.runtime, goldenOptions));
    twin.check(groups, twin.states.length - 1, "in the end");
  });
}

test("what is written today is the log of the newest version", async () => {
  const lab = await makeLab();
  await lab.simulation.wait(writeGolden(lab.machine.runtime.disk, new Twin()));
  const text = goldenText(filesOf(lab));
  assert.equal(text, fs.readFileSync(fileOf(formatVersion), "utf8"));
});
