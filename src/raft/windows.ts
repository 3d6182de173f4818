/**
 * How much may be under way to each of the other nodes. One that is slow is sent ahead by a whole
 * window; where many are, they share what this node has for that, so that its memory does not grow
 * with the number of slow links.
 */
import type { RaftOptions } from "./options.ts";
import type { Peer } from "./peer.ts";

/** Windows that all slow nodes share. */
const windowsShared = 2;
/** A node for which so much waits, of its window, is slow. */
const slowPart = 1 / 8;

/** Bytes of appends that may be under way to one follower of one group. */
export function windowBytes(
  { inflightBytesMax, appendBytesMax }: RaftOptions,
  peers: Iterable<Pick<Peer, "queuedBytes">>,
): number {
  let slow = 0;
  for (const { queuedBytes } of peers) if (queuedBytes > slowPart * inflightBytesMax) slow++;
  const share = Math.floor(windowsShared * inflightBytesMax / Math.max(1, slow));
  return Math.min(inflightBytesMax, Math.max(appendBytesMax, share));
}
