/** How often a node has to wake for the time that passes in its groups. */
import { type RaftOptions, ticksPerHeartbeat } from "./options.ts";
import type { GroupOfAny } from "./group_types.ts";

/** A tick of a node that is alone and idle: seldom enough to sleep. */
const restTickMs = 250;

/** How long the next timer may take, and how many ticks that is. */
export interface Pace {
  readonly ms: number;
  readonly ticks: number;
}

type Timed = Pick<GroupOfAny, "isAtRest" | "calmTicks">;
type Reached = { readonly connected: boolean };

export function tickMsOf({ heartbeatMs }: RaftOptions): number {
  return heartbeatMs / ticksPerHeartbeat;
}

/** A leader wakes for its heartbeats, a follower that hears them less often. */
export function paceOf(
  groups: Iterable<Timed>,
  peers: Iterable<Reached>,
  options: RaftOptions,
): Pace {
  let isAtRest = true;
  let ticks = options.leaseReads ? 1 : Infinity;
  for (const group of groups) {
    // Where it decides alone, and nobody waits, time changes nothing.
    isAtRest &&= group.isAtRest;
    ticks = Math.min(ticks, group.calmTicks);
  }
  if (isAtRest) return { ms: restTickMs, ticks: 1 };
  if (ticks === Infinity || misses(peers)) ticks = 1;
  return { ms: ticks * tickMsOf(options), ticks };
}

/**
 * Whether this group counts on every tick from now on. The others are as they were when the timer
 * was set: with many groups, looking at all of them for each message would be most of the work.
 */
export function countsTicks(
  group: Timed,
  peers: Iterable<Reached>,
  { leaseReads }: RaftOptions,
): boolean {
  return !group.isAtRest && (leaseReads || group.calmTicks === 1 || misses(peers));
}

/** A node that is away is dialled at the ticks. */
function misses(peers: Iterable<Reached>): boolean {
  for (const { connected } of peers) if (!connected) return true;
  return false;
}
