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

/** What is known of the way to another member; {@link Peer} is one. */
export interface Way {
  readonly connected: boolean;
  readonly roundTripMs: Estimate;
}

/**
 * Milliseconds; `ways`: the other members, as far as they were met. Whoever is not there cannot vote
 * either, and nothing would ever correct what was measured last on the way to it.
 */
export function electionMs(
  options: Pick<RaftOptions, "electionMs">,
  ways: readonly (Way | undefined)[],
  diskMs: Estimate,
): number {
  const trips = ways.map((way) => way?.connected === true ? way.roundTripMs.high : 0);
  const wayMs = Math.max(0, ...trips);
  const leastMs = Math.max(options.electionMs, tripsWaited * wayMs) + 2 * diskMs.high;
  return Math.min(stretchMax * options.electionMs, leastMs);
}
