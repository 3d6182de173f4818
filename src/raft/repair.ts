/**
 * What an operator does when most of a group's replicas are lost for ever: the one that is left
 * becomes the only voter. Entries that only the lost ones had are gone, and those must never come
 * back; so this is a command of its own, on a node that does not run (core/repair.ts).
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import { Prng } from "../base/prng.ts";
import type { Disk, Random } from "../runtime/port.ts";
import { readClusterRecord } from "./cluster_record.ts";
import { finishRename, renameCluster } from "./cluster_rename.ts";
import { rootGroup } from "./cluster.ts";
import { makeConfiguration } from "./core/configuration.ts";
import { RaftNode } from "./core/node.ts";
import type { RaftOptions } from "./options.ts";
import { openStorage } from "./storage.ts";
import type { RecoveredGroup } from "./wal/recovery.ts";

export interface RepairParts {
  readonly disk: Disk;
  readonly random: Random;
  readonly logger: Logger;
  /** The node's data directory, which nobody else has open. */
  readonly directory: string;
  readonly nodeId: string;
  readonly options: RaftOptions;
  /** Also where this replica was no voter, and may lack what the voters had. */
  readonly force?: boolean;
}

/** One group as it was and as it is now. */
export interface RepairedGroup {
  readonly group: number;
  readonly replica: number;
  readonly lastIndex: number;
  /** Voters that count no more. */
  readonly dropped: readonly number[];
}

/**
 * Makes this node's replicas the only voters of their groups, in a cluster with a new id: those who
 * are given up and this node refuse each other from now on. Durable when it resolves.
 */
export async function repairCluster(parts: RepairParts): Promise<readonly RepairedGroup[]> {
  const { disk, random, logger, directory, nodeId, options, force = false } = parts;
  const record = await readClusterRecord(disk, directory);
  if (record?.founded !== true) {
    throw new CoveyError(
      Code.failedPrecondition,
      `${directory} belongs to no cluster, so there is nothing to repair`,
    );
  }
  await finishRename(parts, record);
  let failure: CoveyError | undefined;
  const { log, groups } = await openStorage({
    disk,
    random,
    logger,
    directory: `${directory}/raft`,
    clusterId: record.clusterId,
    nodeId,
    replicas: [{ group: rootGroup, replica: record.replica }],
    create: false,
    options,
  }, { durable: () => {}, failed: (error) => failure = error, space: () => {} });
  try {
    const repairs = [...groups.values()].map((group) => planRepair(group, force))
      .filter((plan) => plan !== undefined);
    if (repairs.length === 0) return [];
    // First: a repaired log under the old id could meet those who were given up.
    const { clusterId } = await renameCluster(parts, record, random);
    logger.info("the cluster has a new id", { clusterId, before: record.clusterId });
    const repaired: RepairedGroup[] = [];
    for (const { node, done } of repairs) {
      const { hardState, entries } = node.ready();
      const batch = { snapshot: undefined, hardState, entries, mustSync: true };
      await log.whenDurable(log.append(done.group, batch));
      repaired.push({ ...done, lastIndex: node.status().lastIndex });
    }
    if (failure !== undefined) throw failure;
    return repaired;
  } finally {
    await log.close();
  }
}

interface PlannedRepair {
  readonly node: RaftNode;
  readonly done: Omit<RepairedGroup, "lastIndex">;
}

/** Undefined where this replica is alone already, or never was part of the group. */
function planRepair(recovered: RecoveredGroup, force: boolean): PlannedRepair | undefined {
  const { group, replica, snapshot, entries, hardState } = recovered;
  if (snapshot.index === 0) return undefined;
  const node = new RaftNode({ id: replica }, { hardState, snapshot, entries }, new Prng(1));
  const before = node.configurationAtEnd();
  const alone = before.voters.length === 1 && before.voters[0] === replica &&
    before.votersOutgoing.length === 0;
  if (alone) return undefined;
  const isVoter = before.voters.includes(replica) || before.votersOutgoing.includes(replica);
  if (!isVoter && !force) {
    const isLearner = [...before.learners, ...before.learnersNext].includes(replica);
    throw new CoveyError(
      Code.failedPrecondition,
      `replica ${replica} of group ${group} is ` +
        `${isLearner ? "a learner" : "no member"}, and may lack what the voters had: ` +
        "repair a node that is a voter; if there is none, --force takes what is here",
    );
  }
  node.repair(makeConfiguration([replica]));
  const dropped = before.voters.filter((id) => id !== replica);
  return { node, done: { group, replica, dropped } };
}
