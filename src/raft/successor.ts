/** Whom a leader hands over to, and how a node that stops does it for all its groups. */
import type { Clock } from "../runtime/port.ts";
import { noReplica } from "./core/types.ts";
import type { GroupOfAny } from "./group_types.ts";
import { declines, type SpaceHost } from "./low_space.ts";

/** The other voter that is alive, would lead, and has most of the log. */
export function bestSuccessor(host: SpaceHost, group: GroupOfAny): number | undefined {
  const { id: self, configuration, members } = group.status();
  return members
    .filter(({ id, recentActive }) =>
      id !== self && configuration.voters.includes(id) && recentActive && !declines(host, group, id)
    )
    .sort((a, b) => b.match - a.match)[0]?.id;
}

/**
 * Hands over every group that is led here, so that the others need not notice that this node is
 * gone. Resolves when somebody else leads each of them, or nobody can, or when the time is over.
 */
export async function handOver(host: SpaceHost, clock: Clock, limitMs: number): Promise<void> {
  const untilMs = clock.monotonicMs() + limitMs;
  await Promise.all(host.groups.map((group) => handOverGroup(host, group, clock, untilMs)));
}

async function handOverGroup(
  host: SpaceHost,
  group: GroupOfAny,
  clock: Clock,
  untilMs: number,
): Promise<void> {
  if (!group.leads) return;
  for (;;) {
    const leftMs = untilMs - clock.monotonicMs();
    if (leftMs <= 0 || group.stopped !== undefined) return;
    if (!group.leads) {
      if (group.leader !== undefined) return;
    } else {
      const target = bestSuccessor(host, group);
      if (target !== undefined) group.transfer(target);
      else if (isAlone(group)) return;
    }
    // A transfer that came to nothing is begun again, maybe to somebody else.
    await group.when(() => {
      if (!group.leads) return group.leader !== undefined;
      if (group.status().transferee !== noReplica) return false;
      return bestSuccessor(host, group) !== undefined || isAlone(group);
    }, leftMs);
  }
}

/** Nobody else is there, as far as a leader can tell that already. */
function isAlone(group: GroupOfAny): boolean {
  const { hasHeard, configuration } = group.status();
  return hasHeard || configuration.voters.length === 1;
}
