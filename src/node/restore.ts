/** A saved store as the beginning of a new cluster, on a data directory that is in none. */
import type { Config } from "../config/types.ts";
import { createLog } from "../log.ts";
import { clearSeed, requireNoCluster, seedCluster } from "../raft/seed_cluster.ts";
import { DiskError, type Runtime } from "../runtime/port.ts";
import { explainDiskError, finishRestore, openDataDirectory } from "./data_directory.ts";
import { absolutePath } from "./path.ts";
import { raftOptions } from "./replication.ts";
import { readStore } from "./saved_store.ts";

/** What was restored. */
export interface RestoredStore {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly index: number;
  readonly revision: number;
  readonly keys: number;
}

/**
 * Reads the store's bytes first: nothing is written when they are not a whole one. From then on the
 * folder is refused to nodes until it holds all of the store; a restore that failed is run again.
 */
export async function restoreNode(
  runtime: Runtime,
  config: Config,
  pieces: AsyncIterable<Uint8Array>,
): Promise<RestoredStore> {
  const { disk, random, host } = runtime;
  const machine = await readStore(pieces);
  const name = config.node.name || host.hostname;
  const { logger } = await createLog(runtime, {
    level: config.log.level,
    format: config.log.format,
    node: name,
  });
  const path = absolutePath(host, config.node.data, "node.data");
  const directory = await openDataDirectory(disk, random, path, {
    requireNone: (folder) => requireNoCluster(disk, folder),
    clear: (folder) => clearSeed(disk, folder),
  });
  try {
    const { nodeId } = directory;
    const clusterId = await seedCluster({
      disk,
      random,
      logger: logger.child("raft"),
      directory: directory.path,
      nodeId,
      name,
      address: config.node.advertise ?? config.node.listen[0],
      options: raftOptions(config),
      machine,
    });
    await finishRestore(disk, directory);
    const { revision, keys } = machine.statistics();
    return { clusterId, nodeId, index: machine.appliedIndex, revision, keys };
  } catch (error) {
    throw error instanceof DiskError ? explainDiskError(path, error) : error;
  } finally {
    await directory.release();
  }
}
