/** Whom a leader hands over to, and how a node that stops does it for all its groups. */
import type { Clock } from "../runtime/port.ts";
import type { Status } from "./core/status.ts";
import type { GroupOfAny } from "./group_types.ts";

/** How often a leader that was elected a moment ago looks whom it has heard of. */
const lookMs = 20;

/** The other voter that is alive and has most of the log. */
export function bestSuccessor(status: Status): number | undefined {
  const { voters } = status.configuration;
  return status.members
    .filter(({ id, recentActive }) => id !== status.id && voters.includes(id) && recentActive)
    .sort((a, b) => b.match - a.match)[0]?.id;
}

/**
 * Hands over every group that is led here, so that the others need not notice that this node is
 * gone. Resolves when somebody else leads each of them, or nobody can, or when the time is over.
 */
export async function handOver(
  groups: readonly GroupOfAny[],
  clock: Clock,
  limitMs: number,
): Promise<void> {
  const untilMs = clock.monotonicMs() + limitMs;
  await Promise.all(groups.map((group) => handOverGroup(group, clock, untilMs)));
}

async function handOverGroup(group: GroupOfAny, clock: Clock, untilMs: number): Promise<void> {
  if (!group.leads) return;
  for (;;) {
    const leftMs = untilMs - clock.monotonicMs();
    if (leftMs <= 0 || group.stopped !== undefined) return;
    if (group.leads) {
      const status = group.status();
      const target = bestSuccessor(status);
      if (target !== undefined) group.transfer(target);
      else if (status.hasHeard || status.configuration.voters.length === 1) return;
    } else if (group.leader !== undefined) return;
    // A transfer that came to nothing is begun again, maybe to somebody else.
    await group.leaderChanged(Math.min(leftMs, lookMs));
  }
}
