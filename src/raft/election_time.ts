/**
 * How long a follower waits for its leader before it stands for election. A vote takes two round
 * trips and two writes; a leader's heartbeat comes with the delay and the jitter of the way. A timeout
 * that is shorter than that elects nobody, or deposes everybody.
 */
import type { Estimate } from "./estimate.ts";
import type { RaftOptions } from "./options.ts";

/** No measurement stretches the timeout beyond this many of the configured one. */
const stretchMax = 20;
/** Heartbeats that may be lost or late, in the longest round trips that are usual. */
const tripsWaited = 8;

/** Milliseconds; `ways`: the other members, as far as they were met. */
export function electionMs(
  options: RaftOptions,
  ways: readonly ({ readonly roundTripMs: Estimate } | undefined)[],
  diskMs: Estimate,
): number {
  const wayMs = Math.max(0, ...ways.map((way) => way?.roundTripMs.high ?? 0));
  const leastMs = Math.max(options.electionMs, tripsWaited * wayMs) + 2 * diskMs.high;
  return Math.min(stretchMax * options.electionMs, leastMs);
}
