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
}

/** One group as it was and as it is now. */
export interface RepairedGroup {
  readonly group: number;
  readonly replica: number;
  readonly lastIndex: number;
  /** Voters that count no more. */
  readonly dropped: readonly number[];
}

/** Makes this node's replicas the only voters of their groups. Durable when it resolves. */
export async function repairCluster(parts: RepairParts): Promise<readonly RepairedGroup[]> {
  const { disk, random, logger, directory, nodeId, options } = parts;
  const record = await readClusterRecord(disk, directory);
  if (record?.founded !== true) {
    throw new CoveyError(
      Code.failedPrecondition,
      `${directory} belongs to no cluster, so there is nothing to repair`,
    );
  }
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
    const repaired: RepairedGroup[] = [];
    for (const recovered of groups.values()) {
      const done = await repairGroup(recovered, async (ready) => {
        await log.whenDurable(log.append(recovered.group, ready));
      });
      if (done !== undefined) repaired.push(done);
    }
    if (failure !== undefined) throw failure;
    return repaired;
  } finally {
    await log.close();
  }
}

type Write = (batch: {
  readonly snapshot: undefined;
  readonly hardState: ReturnType<RaftNode["ready"]>["hardState"];
  readonly entries: ReturnType<RaftNode["ready"]>["entries"];
  readonly mustSync: true;
}) => Promise<void>;

/** Undefined where this replica is alone already, or never was part of the group. */
async function repairGroup(
  recovered: RecoveredGroup,
  write: Write,
): Promise<RepairedGroup | undefined> {
  const { group, replica, snapshot, entries, hardState } = recovered;
  if (snapshot.index === 0) return undefined;
  const node = new RaftNode({ id: replica }, { hardState, snapshot, entries }, new Prng(1));
  const before = node.configurationAtEnd();
  const alone = before.voters.length === 1 && before.voters[0] === replica &&
    before.votersOutgoing.length === 0;
  if (alone) return undefined;
  if (!before.voters.includes(replica) && !before.votersOutgoing.includes(replica)) {
    throw new CoveyError(
      Code.failedPrecondition,
      `replica ${replica} of group ${group} is no voter: repair a node that is one, because this one ` +
        "may lack what the voters had",
    );
  }
  node.repair(makeConfiguration([replica]));
  const ready = node.ready();
  await write({
    snapshot: undefined,
    hardState: ready.hardState,
    entries: ready.entries,
    mustSync: true,
  });
  return {
    group,
    replica,
    lastIndex: node.status().lastIndex,
    dropped: before.voters.filter((id) => id !== replica),
  };
}
