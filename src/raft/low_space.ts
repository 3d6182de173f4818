/** With little room on its disk, a node does not lead if somebody else can. */
import type { Logger } from "../base/log.ts";
import { Role } from "./core/ready.ts";
import type { GroupOfAny } from "./group_types.ts";
import type { Peer } from "./peer.ts";
import type { SpaceState } from "./wal/options.ts";
import type { WriteAheadLog } from "./wal/write_ahead_log.ts";

export interface SpaceHost {
  readonly lowSpace: boolean;
  readonly groups: readonly GroupOfAny[];
  peer(nodeId: string): Peer | undefined;
}

/** Voters whose nodes are there and have room, as far as this node knows. */
function haveRoom(host: SpaceHost, group: GroupOfAny): number[] {
  return group.status().configuration.voters.filter((replica) => {
    if (replica === group.replica) return !host.lowSpace;
    const peer = peerOf(host, group, replica);
    return peer !== undefined && peer.connected && !peer.lowSpace;
  });
}

function peerOf(host: SpaceHost, group: GroupOfAny, replica: number): Peer | undefined {
  const nodeId = group.members.get(replica)?.nodeId;
  return nodeId === undefined ? undefined : host.peer(nodeId);
}

/** Whether another replica would not take leadership over, by what its node said last. */
export function declines(host: SpaceHost, group: GroupOfAny, replica: number): boolean {
  const peer = peerOf(host, group, replica);
  return peer !== undefined && peer.connected && peer.lowSpace && haveRoom(host, group).length > 0;
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

export function tellSpace(logger: Logger, state: SpaceState, lowWaterBytes: number): void {
  if (state === "normal") logger.info("there is room on the disk again");
  else {
    logger.error("the disk is nearly full: writes are refused until there is room", {
      lowWaterBytes,
    });
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
