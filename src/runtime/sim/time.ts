/**
 * Virtual time is counted in whole ticks of 1/1024 ms. A tick is exact as a binary fraction, so
 * that sums and differences of the milliseconds that a clock reports carry no rounding error and
 * a timer of `d` ms is never seen to fire before `start + d`.
 */

export const ticksPerMs = 1024;

/** About 135 years: beyond every test, and far from where doubles lose whole numbers. */
const ticksMax = 2 ** 52;

/** Ticks that are at least `ms` long; 0 for what is negative or not a number. */
export function ticksFromMs(ms: number): number {
  if (!(ms > 0)) return 0;
  return Math.min(Math.ceil(ms * ticksPerMs), ticksMax);
}

export function msFromTicks(ticks: number): number {
  return ticks / ticksPerMs;
}
