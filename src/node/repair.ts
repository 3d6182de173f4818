/** Repair after the loss of most voters, on the data directory of a node that does not run. */
import { Code, CoveyError } from "../base/error.ts";
import type { Config } from "../config/types.ts";
import { createLog } from "../log.ts";
import { repairCluster, type RepairedGroup } from "../raft/repair.ts";
import { DiskError, type Runtime } from "../runtime/port.ts";
import { openDataDirectory } from "./data_directory.ts";
import { absolutePath } from "./path.ts";
import { raftOptions } from "./replication.ts";

export type { RepairedGroup } from "../raft/repair.ts";

export interface RepairOptions {
  /** Also where this node's replica was no voter. */
  readonly force?: boolean;
}

/** Takes the directory's lock, so that a node that runs is left alone. */
export async function repairNode(
  runtime: Runtime,
  config: Config,
  { force = false }: RepairOptions = {},
): Promise<readonly RepairedGroup[]> {
  const { disk, random, host } = runtime;
  const path = absolutePath(host, config.node.data, "node.data");
  await requireData(runtime, path);
  const { logger } = await createLog(runtime, {
    level: config.log.level,
    format: config.log.format,
    node: config.node.name,
  });
  const directory = await openDataDirectory(disk, random, path);
  try {
    return await repairCluster({
      disk,
      random,
      logger: logger.child("raft"),
      directory: directory.path,
      nodeId: directory.nodeId,
      options: raftOptions(config),
      force,
    });
  } finally {
    await directory.release();
  }
}

/** A folder that is not there must not be made: whoever mistypes it wants to know. */
async function requireData({ disk }: Runtime, path: string): Promise<void> {
  try {
    await disk.stat(`${path}/node.json`);
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    if (error.kind !== "not-found" && error.kind !== "not-a-directory") throw error;
    throw new CoveyError(
      Code.failedPrecondition,
      `${path} is no data directory of a node: name the one that is left with --data or --config`,
      { cause: error },
    );
  }
}
