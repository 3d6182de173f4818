/** How well voters are spread over zones. */

/** More zones are better; among equals, a smaller largest zone is. */
export interface Spread {
  readonly zones: number;
  /** Voters in the zone that has most of them. */
  readonly largest: number;
}

/** Those without a zone are in one that has no name. */
export function spreadOf(zones: readonly string[]): Spread {
  const counts = new Map<string, number>();
  for (const zone of zones) counts.set(zone, (counts.get(zone) ?? 0) + 1);
  return { zones: counts.size, largest: Math.max(0, ...counts.values()) };
}

/** Negative when `a` is better. */
export function compareSpreads(a: Spread, b: Spread): number {
  return b.zones - a.zones || a.largest - b.largest;
}
