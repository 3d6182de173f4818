/**
 * How often almost-everywhere agreement fails (figure 11 of the paper): some members fail at once, all
 * alerts about them reach each process in an order of its own, and each process proposes the first cut
 * that it detects. One that misses some of those who failed conflicts with the others.
 */
import type { Prng } from "../../../src/base/prng.ts";
import { AlertKind, Alerts, sequenceOf } from "../../../src/membership/core/alerts.ts";
import { Configuration } from "../../../src/membership/core/configuration.ts";
import { MemberRole } from "../../../src/membership/core/member.ts";
import { lanOptions } from "../../../src/membership/core/options.ts";
import { Quorums } from "../../../src/membership/core/quorums.ts";

export interface Cell {
  readonly high: number;
  readonly low: number;
  readonly failures: number;
}

export interface PaperCell extends Cell {
  /** Of the proposals, in the paper: 20 repetitions at 1,000 processes. */
  readonly percent: number;
}

export const paperSamples = 20_000;
const failures = [2, 4, 8, 16];
/** By H; then by L from 1 to 4; then by the number of failures. */
const measured: Readonly<Record<number, readonly (readonly number[])[]>> = {
  6: [[1.04, .15, .03, 0], [5.78, 1.74, .32, .09], [16.5, 10.9, 3.8, 1.5], [
    36.7,
    36.9,
    23.8,
    12.6,
  ]],
  7: [[.30, .01, 0, 0], [2.05, .22, .04, .01], [6.8, 2.5, .54, .17], [18.3, 11.8, 4.3, 1.6]],
  8: [[.04, 0, 0, 0], [.59, .05, 0, 0], [2.23, .34, .03, .01], [6.8, 2.3, .47, .08]],
  9: [[.01, 0, 0, 0], [.12, 0, 0, 0], [.53, .03, 0, 0], [1.99, .23, .03, 0]],
};

export const paperCells: readonly PaperCell[] = Object.entries(measured).flatMap(([high, rows]) =>
  rows.flatMap((percents, row) =>
    percents.map((percent, at) => ({
      high: Number(high),
      low: row + 1,
      failures: failures[at],
      percent,
    }))
  )
);

/**
 * Of two failures: the fraction of processes that see H alerts of the one before L of the other. With
 * j alerts of the other, H-1 of the one are among the first H-1+j, and one more of it is next.
 */
export function exactOfTwo(rings: number, high: number, low: number): number {
  let sum = 0;
  for (let other = 0; other < low; other++) {
    sum += choose(rings, high - 1) * choose(rings, other) / choose(2 * rings, high - 1 + other) *
      (rings - high + 1) / (2 * rings - high + 1 - other);
  }
  return 2 * sum;
}

function choose(from: number, count: number): number {
  let ways = 1;
  for (let at = 1; at <= count; at++) ways = ways * (from - count + at) / at;
  return ways;
}

/** One thousand members, with the rings of the product. */
export function gridConfiguration(size = 1_000): Configuration {
  const members = Array.from({ length: size }, (_, at) => ({
    address: `tcp://n${at}:7946`,
    nodeId: at.toString(16).padStart(32, "0"),
    incarnation: BigInt(at + 1),
    name: `n${at}`,
    role: MemberRole.core,
    metadata: new Map(),
  }));
  return Configuration.first(1n, members, lanOptions.rings);
}

/** What a process makes of alerts that come one after the other: the size of its cut, once it has one. */
export type Detector = (
  configuration: Configuration,
  cell: Cell,
) => (place: number, ring: number) => number | undefined;

/** The paper's rule and nothing else: rings are counted, and that is all. */
export const plainly: Detector = (_configuration, { high, low }) => {
  const tallies = new Map<number, number>();
  let unstable = 0;
  let stable = 0;
  return (place) => {
    const tally = (tallies.get(place) ?? 0) + 1;
    tallies.set(place, tally);
    if (tally === low) unstable++;
    if (tally === high) {
      unstable--;
      stable++;
    }
    return stable > 0 && unstable === 0 ? stable : undefined;
  };
};

/**
 * The product's detection. Where members have several observers it never counts one of them alone, so
 * that with L = 1 it does what the paper's does with L = 2.
 */
export const asBuilt: Detector = (configuration, { high, low }) => {
  const quorums = new Quorums(configuration.core, configuration.size, "stall");
  const alerts = new Alerts(configuration, { ...lanOptions, high, low });
  const raised = sequenceOf(1, AlertKind.raised);
  return (place, ring) => {
    alerts.merge(alerts.member(place), ring, raised);
    return alerts.detect(0, quorums)?.left.length;
  };
};

/** How many of so many processes propose a cut that misses somebody. */
export function conflicts(
  configuration: Configuration,
  prng: Prng,
  cell: Cell,
  { samples, detector }: { readonly samples: number; readonly detector: Detector },
): number {
  let found = 0;
  for (let sample = 0; sample < samples; sample++) {
    const failed = new Set<number>();
    while (failed.size < cell.failures) failed.add(prng.below(configuration.size));
    const order: { readonly place: number; readonly ring: number }[] = [];
    for (const place of failed) {
      for (let ring = 0; ring < configuration.rings.count; ring++) order.push({ place, ring });
    }
    const hear = detector(configuration, cell);
    // Shuffled as far as it is read.
    for (let at = 0; at < order.length; at++) {
      const other = at + prng.below(order.length - at);
      [order[at], order[other]] = [order[other], order[at]];
      const size = hear(order[at].place, order[at].ring);
      if (size === undefined) continue;
      if (size < cell.failures) found++;
      break;
    }
  }
  return found;
}

/**
 * Whether two samples can be of one probability: within so many standard errors of their difference,
 * and what the paper's figures were rounded by. `of` is 0 for a probability that is known.
 */
export function isWithin(
  ours: { readonly found: number; readonly samples: number },
  percent: number,
  of: number,
  errors: number,
): boolean {
  const fraction = ours.found / ours.samples;
  const pooled = of === 0 ? percent / 100 : (ours.found + percent / 100 * of) / (ours.samples + of);
  const variance = pooled * (1 - pooled) * (1 / ours.samples + (of === 0 ? 0 : 1 / of));
  const rounding = of === 0 ? 0 : (percent >= 3 ? 0.05 : 0.005) / 100;
  // Below one half of an event there is no other whole number to be found.
  const least = 0.5 / ours.samples;
  return Math.abs(fraction - percent / 100) <= errors * Math.sqrt(variance) + rounding + least;
}
