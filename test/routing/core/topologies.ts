/** Networks made up for the coordinates: who is how far from whom, and nodes that measure it. */
import { Prng } from "../../../src/base/prng.ts";
import { type Coordinate, distanceMs } from "../../../src/routing/core/coordinate.ts";
import { CoordinateEstimator } from "../../../src/routing/core/coordinates.ts";

/** True round trips in milliseconds, symmetric. */
export type Trips = readonly (readonly number[])[];

interface Place {
  readonly at: readonly number[];
  /** The access link, there and back. */
  readonly heightMs: number;
}

function tripsOf(places: readonly Place[]): Trips {
  return places.map((from) =>
    places.map((to) => {
      if (from === to) return 0;
      let square = 0;
      for (const [axis, value] of from.at.entries()) square += (value - to.at[axis]) ** 2;
      return Math.sqrt(square) + from.heightMs + to.heightMs;
    })
  );
}

/** A square of `side` times `side` nodes, so many milliseconds between neighbours. */
export function grid(side: number, apartMs: number): Trips {
  return tripsOf(Array.from({ length: side * side }, (_, node) => ({
    at: [(node % side) * apartMs, Math.floor(node / side) * apartMs],
    heightMs: 0.05,
  })));
}

/** Anywhere in a square of this width. */
export function scattered(count: number, widthMs: number, random: Prng): Trips {
  return tripsOf(Array.from({ length: count }, () => ({
    at: [random.fraction() * widthMs, random.fraction() * widthMs],
    heightMs: 0.05,
  })));
}

/** Sites far from each other, their nodes behind links of very different quality. */
export function sites(count: number, each: number, random: Prng): Trips {
  return tripsOf(Array.from({ length: count * each }, (_, node) => ({
    at: [(node % count) * 60, ((node % count) % 2) * 40],
    heightMs: 0.2 + random.fraction() * 15,
  })));
}

/** What a node says of itself when it is asked. */
export type Tells = (estimator: CoordinateEstimator, node: number) => Coordinate;

const truth: Tells = (estimator) => estimator.current;

/** Nodes that measure a few others once a second, as probes do. */
export class Measuring {
  readonly nodes: readonly CoordinateEstimator[];
  readonly #trips: Trips;
  readonly #subjects: readonly (readonly number[])[];
  readonly #random: Prng;
  readonly #tells: Tells;

  constructor(trips: Trips, seed: number, tells: Tells = truth) {
    const random = new Prng(seed);
    this.#trips = trips;
    this.#random = random;
    this.#tells = tells;
    this.nodes = trips.map(() => new CoordinateEstimator(random.fork()));
    this.#subjects = trips.map((_, node) => {
      const chosen = new Set<number>();
      while (chosen.size < Math.min(10, trips.length - 1)) {
        const other = random.below(trips.length);
        if (other !== node) chosen.add(other);
      }
      return [...chosen];
    });
  }

  /** One second. Each round trip is up to a tenth longer than the true one, one in 50 far longer. */
  second(): void {
    const random = this.#random;
    for (const [node, subjects] of this.#subjects.entries()) {
      for (const subject of subjects) {
        const late = random.chance(0.02) ? 1 + random.fraction() * 20 : 1;
        const tripMs = this.#trips[node][subject] * (1 + random.fraction() * 0.1) * late;
        const coordinate = this.#tells(this.nodes[subject], subject);
        this.nodes[node].observe({ peer: `${subject}`, coordinate, tripMs });
      }
    }
  }

  seconds(count: number): this {
    for (let second = 0; second < count; second++) this.second();
    return this;
  }

  /** Relative errors of the estimates among these nodes, ascending. */
  errors(isCounted: (node: number) => boolean = () => true): number[] {
    const errors: number[] = [];
    for (const [from, row] of this.#trips.entries()) {
      for (let to = 0; to < from; to++) {
        if (!isCounted(from) || !isCounted(to)) continue;
        // The mean of what is measured, but for what is far longer.
        const tripMs = row[to] * 1.05;
        const estimateMs = distanceMs(this.nodes[from].current, this.nodes[to].current);
        errors.push(Math.abs(estimateMs - tripMs) / tripMs);
      }
    }
    return errors.sort((a, b) => a - b);
  }
}

/** The value that this share of them stays below. */
export function quantile(ascending: readonly number[], share: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))];
}
