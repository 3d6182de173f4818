/**
 * A new cluster of one node that begins with a saved store instead of an empty one. It has an id of
 * its own: nodes of the cluster that the store was saved from are refused, as they must be.
 */
import { assert } from "../base/assert.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import { type Disk, DiskError, type Random } from "../runtime/port.ts";
import {
  clusterIdOf,
  readClusterRecord,
  removeClusterRecord,
  writeClusterRecord,
} from "./cluster_record.ts";
import { rootGroup } from "./cluster.ts";
import { makeConfiguration } from "./core/configuration.ts";
import { foundingLog } from "./core/founding.ts";
import type { LogIndex } from "./core/types.ts";
import { writeBeginning } from "./group_start.ts";
import type { Machine } from "../base/machine.ts";
import { Members } from "./members.ts";
import type { RaftOptions } from "./options.ts";
import { openStorage } from "./storage.ts";

export interface SeedParts {
  readonly disk: Disk;
  readonly random: Random;
  readonly logger: Logger;
  /** The node's data directory, which nobody else has open; without a cluster. */
  readonly directory: string;
  readonly nodeId: string;
  readonly name: string;
  /** Where other nodes will reach it. */
  readonly address: string;
  readonly options: RaftOptions;
  /** Filled from what was saved. */
  readonly machine: Machine<unknown>;
}

/** Rejects when the data directory is part of a cluster, or has a log that might be. */
export async function requireNoCluster(disk: Disk, directory: string): Promise<void> {
  if (await readClusterRecord(disk, directory) !== undefined) {
    throw new CoveyError(
      Code.failedPrecondition,
      `${directory} belongs to a cluster already: name an empty folder`,
    );
  }
  try {
    await disk.stat(`${directory}/raft`);
  } catch (error) {
    if (error instanceof DiskError && error.kind === "not-found") return;
    throw error;
  }
  throw new CoveyError(
    Code.failedPrecondition,
    `${directory} was begun to be filled before: empty the folder, and restore again`,
  );
}

/** Takes away what `seedCluster` left when it did not come to its end. */
export async function clearSeed(disk: Disk, directory: string): Promise<void> {
  await removeClusterRecord(disk, directory);
  try {
    await disk.removeTree(`${directory}/raft`);
  } catch (error) {
    if (!(error instanceof DiskError) || error.kind !== "not-found") throw error;
  }
  await disk.syncDirectory(directory);
}

/** Durable when it resolves, with the new cluster's id. */
export async function seedCluster(parts: SeedParts): Promise<string> {
  const { disk, random, logger, directory, nodeId, name, address, options, machine } = parts;
  assert(machine.appliedIndex > 0, "a saved store holds at least its founding");
  const founders = [{ replica: 1, nodeId, name, address }];
  const record = { clusterId: clusterIdOf([nodeId]), replica: 1, founders, founded: false };
  let failure: CoveyError | undefined;
  const storage = await openStorage({
    disk,
    random,
    logger,
    directory: `${directory}/raft`,
    clusterId: record.clusterId,
    nodeId,
    replicas: [{ group: rootGroup, replica: record.replica }],
    create: true,
    options,
  }, { durable: () => {}, failed: (error) => failure = error, space: () => {} });
  try {
    assert(storage.groups.size === 0, "the log is new");
    const { hardState, snapshot } = foundingLog(makeConfiguration([record.replica]));
    const index = machine.appliedIndex as LogIndex;
    await writeBeginning(
      { storage, id: rootGroup, replica: record.replica, machine, logger },
      new Members(founders),
      { hardState: { ...hardState, commit: index }, snapshot: { ...snapshot, index }, entries: [] },
    );
    if (failure !== undefined) throw failure;
  } finally {
    await storage.log.close();
  }
  // The record says that there is a log: not before the name of its folder is durable.
  await disk.syncDirectory(directory);
  await writeClusterRecord(disk, directory, { ...record, founded: true });
  return record.clusterId;
}
