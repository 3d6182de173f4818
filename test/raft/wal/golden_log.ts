/** What the golden files hold: every kind of record and both kinds of snapshot. */
import { crc32c } from "../../../src/base/crc32c.ts";
import { SnapshotStore } from "../../../src/raft/wal/snapshot_store.ts";
import type { Runtime } from "../../../src/runtime/port.ts";
import { directory, entries, entry, hardState, meta, openOn, type Twin } from "./support.ts";

export const goldenOptions = { segmentBytes: 1024, sparesMax: 0 } as const;
export const goldenContent: Uint8Array = Uint8Array.from({ length: 700 }, (_, at) => at % 251);
export const snapshotDirectory = `${directory}/snapshots`;

/** Always the same salts and ids. */
export const goldenRandom: Runtime["random"] = {
  fill: (target) => {
    for (let at = 0; at < target.length; at++) target[at] = 0xa0 + at;
  },
};

export async function writeGolden(disk: Runtime["disk"], twin: Twin): Promise<void> {
  const { log } = await openOn({ disk, random: goldenRandom }, goldenOptions);
  twin.create(log, 0, 1);
  twin.append(log, 0, { snapshot: meta(0, 0, 1, 2, 3), hardState: hardState(1, 1, 0) });
  await log.whenDurable(twin.create(log, 2 ** 40 + 5, 2 ** 50));
  twin.append(log, 0, { entries: entries(1, 5, 1, "value"), hardState: hardState(1, 1, 3) });
  twin.append(log, 2 ** 40 + 5, {
    snapshot: { ...meta(2 ** 52, 7, 4), configuration: joint() },
    entries: [entry(2 ** 52 + 1, 8, new Uint8Array(300).fill(0x5a))],
  });
  await log.whenDurable(twin.append(log, 0, { entries: [{ ...entry(6, 2), type: 1 }] }));
  twin.append(log, 0, { entries: entries(5, 7, 3, "rewritten"), hardState: hardState(3, 2, 5) });
  await log.whenDurable(twin.truncate(log, 0, 6));
  twin.create(log, 9, 1);
  twin.append(log, 9, { entries: [entry(1, 1, new Uint8Array(400).fill(0xb7))] });
  await log.whenDurable(twin.remove(log, 9));
  twin.append(log, 0, { hardState: hardState(3, 2, 6), lazy: true });
  await log.whenDurable(twin.compact(log, 0, meta(4, 1, 1, 2, 3)));
  await log.close();

  const store = await SnapshotStore.open(disk, {
    directory: snapshotDirectory,
    logId: log.id,
    chunkBytes: 256,
  });
  const own = await store.create(0, meta(4, 1, 1, 2, 3));
  await own.write(goldenContent);
  await own.commit();
  const received = await store.receive(
    2 ** 40 + 5,
    { ...meta(2 ** 52, 7, 4), configuration: joint() },
    { bytes: goldenContent.length, checksum: crc32c(goldenContent) },
  );
  await received.write(goldenContent);
  await received.commit();
}

function joint(): ReturnType<typeof meta>["configuration"] {
  return {
    voters: [4],
    votersOutgoing: [1, 2],
    learners: [300],
    learnersNext: [2],
    autoLeave: true,
  };
}
