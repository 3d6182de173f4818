/** With little room on its disk, a node does not lead if somebody else can. */
import { Role } from "./core/ready.ts";
import type { GroupOfAny } from "./group_types.ts";
import type { Peer } from "./peer.ts";

export interface SpaceHost {
  readonly lowSpace: boolean;
  readonly groups: readonly GroupOfAny[];
  peer(nodeId: string): Peer | undefined;
}

/** Hands leadership over, and stands for election no more, while others have more room. */
export function leadOrNot(host: SpaceHost): void {
  for (const group of host.groups) {
    const { configuration, members } = group.status();
    const better = configuration.voters.filter((replica) => {
      const nodeId = group.members.get(replica)?.nodeId;
      const peer = nodeId === undefined ? undefined : host.peer(nodeId);
      return peer !== undefined && peer.connected && !peer.lowSpace;
    });
    const shouldNot = host.lowSpace && better.length > 0;
    group.allowCandidacy(!shouldNot);
    if (!shouldNot || group.role !== Role.leader) continue;
    const most = members.filter(({ id }) => better.includes(id))
      .sort((a, b) => b.match - a.match)[0];
    if (most !== undefined) group.transfer(most.id);
  }
}
