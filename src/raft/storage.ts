/** The consensus module's part of the data directory: the log of all groups, and their snapshots. */
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import { type Disk, DiskError, type DiskErrorKind, type Random } from "../runtime/port.ts";
import type { RaftOptions } from "./options.ts";
import { LogError } from "./wal/error.ts";
import type { ReplicaIdentity } from "./wal/identity.ts";
import { openLog } from "./wal/open_log.ts";
import { logDefaults, type LogOwner } from "./wal/options.ts";
import type { RecoveredGroup } from "./wal/recovery.ts";
import { SnapshotStore, type SnapshotStoreOptions } from "./wal/snapshot_store.ts";
import type { WriteAheadLog } from "./wal/write_ahead_log.ts";

export interface Storage {
  readonly log: WriteAheadLog;
  readonly store: SnapshotStore;
  /** What the log holds, by group. */
  readonly groups: Map<number, RecoveredGroup>;
  /** Its end was torn by a crash and has been cut off. */
  readonly isTailRepaired: boolean;
}

export interface StorageParts {
  readonly disk: Disk;
  readonly random: Random;
  readonly logger: Logger;
  /** `raft` in the data directory. */
  readonly directory: string;
  readonly clusterId: string;
  readonly nodeId: string;
  readonly replicas: readonly ReplicaIdentity[];
  /** Whether the node has not run yet, so that there need be no log. */
  readonly create: boolean;
  readonly options: RaftOptions;
}

/** What a disk's failure means for whoever starts a node; others are `internal`. */
const codes: Readonly<Partial<Record<DiskErrorKind, Code>>> = {
  full: Code.resourceExhausted,
  denied: Code.permissionDenied,
};

/** Rejects with a CoveyError that says what is wrong with what is on disk, and what to do. */
export async function openStorage(parts: StorageParts, owner: LogOwner): Promise<Storage> {
  const { disk, random, logger, directory, options } = parts;
  try {
    await disk.makeDirectory(directory, 0o700);
    const { log, groups, tail } = await openLog({ disk, random }, owner, {
      ...logDefaults,
      directory: `${directory}/log`,
      identity: {
        clusterId: parts.clusterId,
        nodeId: parts.nodeId,
        replicas: parts.replicas,
      },
      create: parts.create,
      segmentBytes: options.segmentBytes,
      lowWaterBytes: options.lowWaterBytes,
    });
    if (tail !== "clean") {
      logger.warning("the end of the log was torn by a crash and has been cut off", { tail });
    }
    const byId = new Map(groups.map((group) => [group.group, group]));
    const store = await openStore(disk, log, {
      directory: `${directory}/snapshots`,
      logId: log.id,
      groups: byId,
    });
    return {
      log,
      store,
      groups: byId,
      isTailRepaired: tail !== "clean",
    };
  } catch (error) {
    if (error instanceof LogError || !(error instanceof DiskError)) throw error;
    throw new CoveyError(
      codes[error.kind] ?? Code.internal,
      `the log in ${directory} cannot be opened: ${error.message}`,
      { cause: error },
    );
  }
}

/**
 * What is lost or damaged on this disk the others still have: the replica is replaced by a new one.
 * `address` is where the others reach this node.
 */
export function withRemedy(
  error: unknown,
  { replica, address }: { readonly replica: number; readonly address: string },
): unknown {
  if (!(error instanceof LogError) || (error.kind !== "damaged" && error.kind !== "lost")) {
    return error;
  }
  return error.with(
    `run "covey raft remove ${replica}" on another node, empty this node's data directory, start ` +
      `it, and run "covey raft add ${address}" on another node`,
  );
}

/** A log without its snapshots is of no use, and must not stay open. */
async function openStore(
  disk: Disk,
  log: WriteAheadLog,
  options: SnapshotStoreOptions,
): Promise<SnapshotStore> {
  try {
    return await SnapshotStore.open(disk, options);
  } catch (error) {
    await log.close();
    throw error;
  }
}
