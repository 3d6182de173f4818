/**
 * Lets go of old segments that one group holds although it has nothing new to say, because its
 * program does not bring the machine, or because it has no quorum: what the group still needs is
 * written once more, at the log's end.
 *
 * Usually the log goes back to the older of two snapshots. Here it goes back to the newest, which is
 * read and checked first: the disk that fills up would take every other group along.
 */
import type { Entry, LogIndex, SnapshotMeta } from "./core/types.ts";
import type { Storage } from "./storage.ts";

export interface Carried {
  readonly group: number;
  /** Whether a snapshot belongs to the group's log. */
  fits(meta: SnapshotMeta): boolean;
  /** What the log holds from this entry on; undefined when some of it is not in memory. */
  entriesFrom(index: LogIndex): readonly Entry[] | undefined;
}

/** Whether it could be done. Rejects when no snapshot can be read. */
export async function carryForward(
  { log, store }: Pick<Storage, "log" | "store">,
  { group, fits, entriesFrom }: Carried,
): Promise<boolean> {
  const found = await store.read(group, 1, fits);
  if (found === undefined) return false;
  const { meta } = found.reader.header;
  await found.reader.close();
  // From here on nothing waits, so that both records are of one moment and in one batch.
  const entries = entriesFrom(meta.index + 1 as LogIndex);
  if (entries === undefined || !log.has(group) || !log.hasRoomFor(entries)) return false;
  log.compact(group, meta);
  if (entries.length > 0) {
    log.append(group, { snapshot: undefined, hardState: undefined, entries, mustSync: true });
  }
  return true;
}
