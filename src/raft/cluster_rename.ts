/**
 * A cluster's id stands in the node's record and beside its log. After a repair both get a new one,
 * so that those who were given up and this node take each other for strangers. The record changes
 * first and names the id before; whoever opens the log next finishes what a crash cut short.
 */
import { toHex } from "../base/bytes.ts";
import type { Disk, Random } from "../runtime/port.ts";
import { type ClusterRecord, writeClusterRecord } from "./cluster_record.ts";
import { LogError } from "./wal/error.ts";
import { type LogIdentity, readIdentity, writeIdentity } from "./wal/identity.ts";

/** As the log of the root group's replica has it. */
const rootGroup = 0;

export interface RenameParts {
  readonly disk: Disk;
  /** The node's data directory. */
  readonly directory: string;
  readonly nodeId: string;
}

/** Gives the cluster on this node an id of its own. Durable when it resolves. */
export async function renameCluster(
  parts: RenameParts,
  record: ClusterRecord,
  random: Random,
): Promise<ClusterRecord> {
  const id = new Uint8Array(16);
  random.fill(id);
  const renamed = { ...record, clusterId: toHex(id), formerClusterId: record.clusterId };
  await writeClusterRecord(parts.disk, parts.directory, renamed);
  await finishRename(parts, renamed);
  return renamed;
}

/** Brings the log's identity to what the record says, if a new id was being given. */
export async function finishRename(
  { disk, directory, nodeId }: RenameParts,
  { clusterId, formerClusterId, replica }: ClusterRecord,
): Promise<void> {
  if (formerClusterId === undefined) return;
  const log = `${directory}/raft/log`;
  const replicas = [{ group: rootGroup, replica }];
  const identity: LogIdentity = { clusterId, nodeId, replicas };
  try {
    await readIdentity(disk, log, identity);
  } catch (error) {
    if (!(error instanceof LogError) || error.kind !== "foreign") throw error;
    const logId = await readIdentity(disk, log, { ...identity, clusterId: formerClusterId });
    if (logId !== undefined) await writeIdentity(disk, log, { identity, logId });
  }
}
