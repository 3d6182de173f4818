/** Opens the log of a folder, made when it may be. */
import type { Disk, Random } from "../../runtime/port.ts";
import { LogError } from "./error.ts";
import { identityName, readIdentity, writeIdentity } from "./identity.ts";
import type { LogOptions, LogOwner } from "./options.ts";
import { isUnused, recover, type RecoveredGroup } from "./recovery.ts";
import { createSegment } from "./rotation.ts";
import type { Tail } from "./scan.ts";
import { idBytes } from "./segment.ts";
import { SegmentFiles } from "./segment_files.ts";
import { WriteAheadLog } from "./write_ahead_log.ts";

export interface OpenedLog {
  readonly log: WriteAheadLog;
  readonly groups: readonly RecoveredGroup[];
  /** Worth a line in the node's log when it is not `clean`. */
  readonly tail: Tail;
}

/**
 * Rejects with a {@link LogError}, or with the disk's own error when a file cannot be read at all.
 * Only one process may have the folder; the node's lock on its data directory sees to that.
 */
export async function openLog(
  { disk, random }: { readonly disk: Disk; readonly random: Random },
  owner: LogOwner,
  options: LogOptions,
): Promise<OpenedLog> {
  const { directory, identity } = options;
  await disk.makeDirectory(directory, 0o700);
  const files = new SegmentFiles(disk, options);
  const known = await readIdentity(disk, directory, identity);
  let sequences = await files.list();
  let logId = known;
  if (logId === undefined) {
    if (sequences.length > 0) await removeUnfinished(disk, files, sequences);
    if (!options.create) throw lost(directory);
    logId = new Uint8Array(idBytes);
    random.fill(logId);
    const first = await createSegment({ disk, random, files }, {
      sequence: 1,
      logId,
      batch: 1,
      before: undefined,
      groups: [],
      roomFor: 0,
    });
    await first.file.close();
    await disk.syncDirectory(parentOf(directory));
    await writeIdentity(disk, directory, { identity, logId });
    sequences = [1];
  }
  if (sequences.length === 0) throw lost(directory);
  const recovered = await recover(disk, files, { sequences, logId });
  const log = new WriteAheadLog({ disk, random, files, owner, logId, options }, recovered);
  try {
    await log.begin();
  } catch (error) {
    await log.close();
    throw error;
  }
  return { log, groups: recovered.groups, tail: recovered.tail };
}

/** Without an identity, a log was being made when a crash came; or its identity was lost. */
async function removeUnfinished(
  disk: Disk,
  files: SegmentFiles,
  sequences: readonly number[],
): Promise<void> {
  const [first] = sequences;
  const path = files.segmentPath(first);
  if (sequences.length > 1 || !await isUnused(disk, path)) {
    throw new LogError(
      "damaged",
      { file: files.path(identityName) },
      "is missing, and the log's segments are there: restore it, or replace the replica",
    );
  }
  await disk.remove(path);
  await disk.syncDirectory(files.directory);
}

function lost(directory: string): LogError {
  return new LogError(
    "lost",
    { file: directory },
    "the log is gone, and this replica may have voted and promised: remove it from the cluster " +
      "and add a new one",
  );
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash > 0 ? path.slice(0, slash) : slash === 0 ? "/" : ".";
}
