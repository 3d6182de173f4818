/** With little room on its disk, a node does not lead if somebody else can. */
import type { Logger } from "../base/log.ts";
import { majorityOf } from "./core/quorum.ts";
import { Role } from "./core/ready.ts";
import type { GroupOfAny } from "./group_types.ts";
import type { Member } from "./members.ts";
import { noRoom } from "./no_room.ts";
import type { Peer } from "./peer.ts";
import type { SpaceState } from "./wal/options.ts";
import type { WriteAheadLog } from "./wal/write_ahead_log.ts";

/** What is known of the nodes' disks. */
export interface Disks {
  readonly lowSpace: boolean;
  readonly someDiskIsLow: boolean;
  peer(nodeId: string): Peer | undefined;
}

export interface SpaceHost extends Disks {
  readonly groups: readonly GroupOfAny[];
}

/** Voters whose nodes are there and have room, as far as this node knows. */
function haveRoom(host: SpaceHost, group: GroupOfAny): number[] {
  return group.status().configuration.voters.filter((replica) => {
    if (replica === group.replica) return !host.lowSpace;
    const peer = peerOf(host, group, replica);
    return peer !== undefined && peer.connected && !peer.lowSpace;
  });
}

function peerOf(host: Disks, group: GroupOfAny, replica: number): Peer | undefined {
  const nodeId = group.members.get(replica)?.nodeId;
  return nodeId === undefined ? undefined : host.peer(nodeId);
}

/** Whether another replica would not take leadership over, by what its node said last. */
export function declines(host: SpaceHost, group: GroupOfAny, replica: number): boolean {
  const peer = peerOf(host, group, replica);
  return peer !== undefined && peer.connected && peer.lowSpace && haveRoom(host, group).length > 0;
}

/**
 * Why the leader here could not commit what needs room, in one line: those that have room are no
 * majority, and would be one with the nodes that are there and have none. Undefined otherwise.
 */
export function roomProblem(host: Disks, group: GroupOfAny): string | undefined {
  // The rule, looked at for each proposal.
  if (!group.leads || !host.someDiskIsLow) return undefined;
  const isFull = ({ nodeId }: Member): boolean => {
    if (nodeId === group.members.get(group.replica)?.nodeId) return host.lowSpace;
    const peer = host.peer(nodeId);
    return peer !== undefined && peer.connected && peer.lowSpace;
  };
  const full = group.members.all.filter(isFull);
  if (full.length === 0) return undefined;
  const { configuration, members } = group.status();
  const isThere = (replica: number): boolean =>
    replica === group.replica ||
    members.some(({ id, recentActive }) => id === replica && recentActive);
  for (const half of [configuration.voters, configuration.votersOutgoing]) {
    const there = half.filter(isThere);
    const without = full.filter(({ replica }) => there.includes(replica));
    const least = majorityOf(half.length);
    if (half.length === 0 || there.length < least || there.length - without.length >= least) {
      continue;
    }
    const names = without.map(({ name }) => name).join(", ");
    return `the disk of ${names} is nearly full, and without ${
      without.length === 1 ? "it" : "them"
    } there is no majority with room: make room there; reads go on`;
  }
  return undefined;
}

/** Hands leadership over, and stands for election after the others, while they have more room. */
export function leadOrNot(host: SpaceHost): void {
  for (const group of host.groups) {
    const { members } = group.status();
    const better = haveRoom(host, group);
    const shouldNot = host.lowSpace && better.length > 0;
    group.standAside(shouldNot);
    if (!shouldNot || group.role !== Role.leader) continue;
    const most = members.filter(({ id }) => better.includes(id))
      .sort((a, b) => b.match - a.match)[0];
    if (most !== undefined) group.transfer(most.id);
  }
}

export function tellSpace(
  logger: Logger,
  state: SpaceState,
  freeBytes: number,
  lowWaterBytes: number,
): void {
  if (state === "normal") logger.info("there is room on the disk again", { freeBytes });
  else {
    const why = noRoom(freeBytes, lowWaterBytes);
    logger.error(`${why}; writes are refused until then`, { freeBytes, lowWaterBytes });
  }
}

/** Others may fill the disk too, and an idle log does not look. */
export async function lookAtSpace(host: {
  readonly log: WriteAheadLog;
  readonly logger: Logger;
  readonly isStopped: boolean;
}): Promise<void> {
  try {
    await host.log.checkSpace();
  } catch (cause) {
    if (!host.isStopped) host.logger.warning("the disk's room is not known", { cause });
  }
}
