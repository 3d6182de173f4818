/**
 * Network coordinates: where a node is, so that the round trip between any two can be estimated
 * without measuring it. Vivaldi (Dabek et al., SIGCOMM 2004) as hashicorp/serf runs it: Euclidean
 * dimensions and a height for the access link, an adjustment for what no such space can express
 * (Lee et al., 2010), a median filter before it and a weak pull towards the origin (Ledlie et al.,
 * "Network coordinates in the wild", NSDI 2007).
 *
 * What peers say about themselves is never trusted. An observation counts by no more than the round
 * trip that the node measured itself, and the less, the less it fits what is known: unlike in serf,
 * where a single liar can throw a node anywhere. Heights take their part of a force as in the paper.
 */
import type { Prng } from "../../base/prng.ts";
import {
  apartMs,
  type Coordinate,
  dimensions,
  heightLeastMs,
  isCoordinate,
  origin,
  rawDistanceMs,
} from "./coordinate.ts";

/** The largest share of an observation in the error, and in the position. */
const errorShare = 0.25;
const positionShare = 0.25;
/** A peer that claims to be less wrong is believed no more than this. */
const errorLeast = 0.1;
/** Estimates of so many times the measured round trip count in full. */
const believedTimes = 8;
/** Observations that the adjustment is the mean of. */
const adjustmentSamples = 20;
/** Round trips of one peer whose median counts. */
const tripSamples = 3;
/** The pull towards the origin is the square of the distance in this unit, in seconds. */
const gravityMs = 150_000;
/** A round trip below it counts as this much. */
const tripLeastMs = 0.001;
/** A longer one is no measurement of a network. */
export const tripMostMs = 10_000;
/** Peers whose round trips are remembered; the one that was seen first is forgotten for one more. */
const peersMax = 512;

export interface Observation {
  /** Names the peer whose round trip it is, such as by its address. */
  readonly peer: string;
  /** What the peer said about itself. */
  readonly coordinate: Coordinate;
  readonly tripMs: number;
}

export interface CoordinateCounters {
  /** Observations that counted. */
  observations: number;
  /** Those of coordinates that cannot be. */
  coordinatesRejected: number;
  /** Those of round trips that cannot be. */
  tripsRejected: number;
  /** How often the own coordinate began anew, because it had left all bounds. */
  resets: number;
}

/** Estimates a node's own coordinate from round trips to others. */
export class CoordinateEstimator {
  readonly counters: CoordinateCounters = {
    observations: 0,
    coordinatesRejected: 0,
    tripsRejected: 0,
    resets: 0,
  };
  readonly #prng: Prng;
  readonly #trips = new Map<string, number[]>();
  readonly #adjustments: Float64Array = new Float64Array(adjustmentSamples);
  #adjustmentAt = 0;
  #current: Coordinate = origin;

  /** The generator draws a direction for nodes that are at the same place. */
  constructor(prng: Prng) {
    this.#prng = prng;
  }

  get current(): Coordinate {
    return this.#current;
  }

  /** Peers whose round trips are remembered. */
  get peers(): number {
    return this.#trips.size;
  }

  /** Takes one round trip in. False when it was rejected. */
  observe({ peer, coordinate, tripMs }: Observation): boolean {
    if (!isCoordinate(coordinate)) {
      this.counters.coordinatesRejected++;
      return false;
    }
    if (!(tripMs >= 0 && tripMs <= tripMostMs)) {
      this.counters.tripsRejected++;
      return false;
    }
    this.counters.observations++;
    const medianMs = this.#median(peer, tripMs);
    this.#move(coordinate, medianMs < tripLeastMs ? tripLeastMs : medianMs);
    if (!isCoordinate(this.#current)) {
      this.counters.resets++;
      this.#current = origin;
      this.#adjustments.fill(0);
    }
    return true;
  }

  /** The peer is gone: its round trips say nothing any more. */
  forget(peer: string): void {
    this.#trips.delete(peer);
  }

  #median(peer: string, tripMs: number): number {
    const trips = this.#trips.get(peer) ?? [];
    if (trips.length === 0) {
      if (this.#trips.size >= peersMax) this.#trips.delete(this.#trips.keys().next().value!);
      this.#trips.set(peer, trips);
    }
    trips.push(tripMs);
    if (trips.length > tripSamples) trips.shift();
    const sorted = [...trips].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  }

  #move(other: Coordinate, tripMs: number): void {
    const own = this.#current;
    const estimateMs = rawDistanceMs(own, other);
    // The further out the claim, the less it counts: who says to be at the end of the world while
    // its answer takes a millisecond is wrong about itself.
    const belief = Math.min(1, believedTimes * tripMs / estimateMs);
    const weight = belief * own.error / (own.error + Math.max(other.error, errorLeast));
    const differenceMs = clamp(tripMs - estimateMs, tripMs);
    const share = errorShare * weight;
    const error = share * Math.abs(differenceMs) / tripMs + (1 - share) * own.error;
    const moved = pushed(
      { ...own, error },
      other,
      positionShare * weight * differenceMs,
      () => this.#direction(),
    );

    // What is left of the difference when the node has moved is the space's fault, not the node's.
    const leftMs = clamp(tripMs - rawDistanceMs(moved, other), tripMs);
    this.#adjustments[this.#adjustmentAt] = belief * leftMs;
    this.#adjustmentAt = (this.#adjustmentAt + 1) % adjustmentSamples;
    let sum = 0;
    for (const sample of this.#adjustments) sum += sample;
    const adjustmentMs = sum / (2 * adjustmentSamples);

    const units = rawDistanceMs(moved, origin) / gravityMs;
    this.#current = pushed(
      { ...moved, adjustmentMs },
      origin,
      -1000 * units * units,
      () => this.#direction(),
    );
  }

  #direction(): number[] {
    for (;;) {
      const drawn = Array.from({ length: dimensions }, () => this.#prng.fraction() - 0.5);
      let square = 0;
      for (const value of drawn) square += value * value;
      // The next draw is as good, and this one all but never happens.
      if (square < 1e-6) continue;
      const length = Math.sqrt(square);
      return drawn.map((value) => value / length);
    }
  }
}

/** Away from the other one where the force is positive. Where both are at one place, anywhere. */
function pushed(
  own: Coordinate,
  other: Coordinate,
  forceMs: number,
  anywhere: () => readonly number[],
): Coordinate {
  const lengthMs = apartMs(own, other);
  if (lengthMs < tripLeastMs) {
    const direction = anywhere();
    return { ...own, position: own.position.map((value, at) => value + direction[at] * forceMs) };
  }
  // Heights are a part of the distance and take their part of the force (section 5.4 of the paper).
  const heightsMs = own.heightMs + other.heightMs;
  const part = forceMs / (lengthMs + heightsMs);
  return {
    ...own,
    position: own.position.map((value, at) => value + (value - other.position[at]) * part),
    heightMs: Math.max(own.heightMs + heightsMs * part, heightLeastMs),
  };
}

function clamp(value: number, most: number): number {
  return Math.max(-most, Math.min(most, value));
}
