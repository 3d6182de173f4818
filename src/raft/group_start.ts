/** The three ways in which a replica begins: as a founder, as one who was added, after a restart. */
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Prng } from "../base/prng.ts";
import { makeConfiguration } from "./core/configuration.ts";
import { foundingLog, joiningLog } from "./core/founding.ts";
import type { StoredLog } from "./core/log.ts";
import type { LogIndex, SnapshotMeta } from "./core/types.ts";
import { Group } from "./group.ts";
import type { GroupHost } from "./group_types.ts";
import { GroupSnapshots, type SnapshotOwner } from "./group_snapshots.ts";
import type { Machine } from "../base/machine.ts";
import { type Member, Members } from "./members.ts";
import type { Storage } from "./storage.ts";
import type { RecoveredGroup } from "./wal/recovery.ts";

export interface GroupStart<Result> {
  readonly host: GroupHost;
  readonly storage: Storage;
  readonly id: number;
  readonly name: string;
  readonly replica: number;
  readonly machine: Machine<Result>;
  readonly logger: Logger;
  readonly random: Prng;
}

/**
 * The founding configuration is a snapshot of the empty machine at index 1 (core/founding.ts). Its
 * file is durable before the log names it.
 */
export async function foundGroup<Result>(
  start: GroupStart<Result>,
  founders: readonly Member[],
): Promise<Group<Result>> {
  const { machine } = start;
  const members = new Members(founders);
  const stored = foundingLog(makeConfiguration(founders.map((member) => member.replica)));
  machine.apply({ index: stored.snapshot.index, term: stored.snapshot.term, data: noData });
  await writeBeginning(start, members, stored);
  return groupOf(start, members, stored);
}

/** The machine's present state as a group's first snapshot, durable; then the log says so. */
export async function writeBeginning<Result>(
  start: Pick<GroupStart<Result>, "storage" | "id" | "replica" | "machine" | "logger">,
  members: Members,
  stored: StoredLog,
): Promise<void> {
  const { storage, id, replica } = start;
  const snapshots = snapshotsOf(start, members, {
    metaNow: () => stored.snapshot,
    stored: () => {},
  });
  await snapshots.take();
  storage.log.createGroup(id, replica);
  await storage.log.whenDurable(storage.log.append(id, {
    snapshot: stored.snapshot,
    hardState: stored.hardState,
    entries: [],
    mustSync: true,
  }));
}

/** A leader will bring a snapshot and then the log. */
export async function joinGroup<Result>(
  start: GroupStart<Result>,
  known: readonly Member[],
  { isCreated = false }: { readonly isCreated?: boolean } = {},
): Promise<Group<Result>> {
  const { storage, id, replica } = start;
  if (!isCreated) await storage.log.whenDurable(storage.log.createGroup(id, replica));
  return groupOf(start, new Members(known), joiningLog());
}

export async function reopenGroup<Result>(
  start: GroupStart<Result>,
  recovered: RecoveredGroup,
): Promise<Group<Result>> {
  if (recovered.replica !== start.replica) {
    throw new CoveyError(
      Code.failedPrecondition,
      `group ${start.name}: the log is of replica ${recovered.replica}, not ${start.replica}: give ` +
        "this node its own data directory back",
    );
  }
  const { snapshot: mark, entries, hardState } = recovered;
  const members = new Members();
  if (mark.index === 0) {
    return groupOf(start, members, { ...joiningLog(), hardState });
  }
  const snapshots = snapshotsOf(start, members, {
    metaNow: () => mark,
    stored: () => {},
  });
  const meta = await snapshots.restore(mark.index, (one) => fitsLog(one, recovered));
  if (meta === undefined) throw new CoveyError(Code.dataLoss, "the snapshot is gone");
  const group = groupOf(start, members, {
    hardState: {
      ...hardState,
      commit: Math.max(hardState.commit, meta.index) as LogIndex,
    },
    snapshot: meta,
    entries,
    compacted: { index: mark.index, term: mark.term },
  }, snapshots.newestBytes);
  // How long the entries stay in memory is the group's to say from here on.
  start.storage.groups.set(start.id, { ...recovered, entries: [] });
  return group;
}

/**
 * Whether a snapshot belongs to this log. One that a leader sent may be on disk without the log
 * knowing of it, because a crash came between; the leader sends it again.
 */
export function fitsLog(meta: SnapshotMeta, { snapshot: mark, entries }: RecoveredGroup): boolean {
  if (meta.index === mark.index) return meta.term === mark.term;
  const entry = entries.at(meta.index - mark.index - 1);
  // Only what is committed is in a snapshot of this replica's own.
  return meta.index > mark.index && entry?.index === meta.index && entry.term === meta.term;
}

function groupOf<Result>(
  start: GroupStart<Result>,
  members: Members,
  stored: StoredLog,
  snapshotBytes = 0,
): Group<Result> {
  const { host, id, name, replica, machine, random } = start;
  return new Group({
    host,
    id,
    name,
    replica,
    machine,
    members,
    stored,
    random,
    snapshots: (owner) => snapshotsOf(start, members, owner, snapshotBytes),
  });
}

function snapshotsOf<Result>(
  { id, storage, machine, logger }: Pick<
    GroupStart<Result>,
    "id" | "storage" | "machine" | "logger"
  >,
  members: Members,
  owner: SnapshotOwner,
  newestBytes = 0,
): GroupSnapshots {
  return new GroupSnapshots({
    group: id,
    store: storage.store,
    machine: machine as Machine<unknown>,
    members,
    logger,
    owner,
    newestBytes,
  });
}

const noData = new Uint8Array(0);
