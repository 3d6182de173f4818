/**
 * How long before a call's deadline its server has to be done, so that what it has to say about a
 * failure arrives before the caller gives up. It is longer than the group's own ticks take.
 */
const share = 0.1;
const leastMs = 100;
const mostMs = 500;

/** Milliseconds of `timeoutMs` that are kept for the answer: at most half of them. */
export function answerMs(timeoutMs: number): number {
  return Math.min(timeoutMs / 2, mostMs, Math.max(leastMs, timeoutMs * share));
}
