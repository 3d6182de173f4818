/**
 * How far the members are: what was measured where it was, else what the coordinates say. It is fed
 * with the round trips of probes and with the coordinates that members tell each other.
 */
import type { Prng } from "../../base/prng.ts";
import { type Coordinate, decodeCoordinate, distanceMs, encodeCoordinate } from "./coordinate.ts";
import { type CoordinateCounters, CoordinateEstimator } from "./coordinates.ts";

/** A measurement counts in place of the estimate for so long. */
const freshMs = 60_000;
/** The share of a new measurement in the mean (RFC 6298 takes the same). */
const tripShare = 1 / 8;

interface Known {
  /** The smoothed round trip; undefined while none was measured. */
  tripMs: number | undefined;
  measuredMs: number;
  coordinate: Coordinate | undefined;
}

/** One member's answer to a probe. */
export interface Probed {
  readonly address: string;
  readonly tripMs: number;
  readonly nowMs: number;
}

export class Distances {
  readonly #estimator: CoordinateEstimator;
  readonly #known = new Map<string, Known>();
  /** Coordinates told in bytes that are none. */
  #malformed = 0;

  constructor(prng: Prng) {
    this.#estimator = new CoordinateEstimator(prng);
  }

  get counters(): Readonly<CoordinateCounters> {
    return this.#estimator.counters;
  }

  get malformed(): number {
    return this.#malformed;
  }

  /** Members of which anything is known. */
  get size(): number {
    return this.#known.size;
  }

  /** The own coordinate. */
  get current(): Coordinate {
    return this.#estimator.current;
  }

  /** The own coordinate, as others are told. */
  get bytes(): Uint8Array {
    return encodeCoordinate(this.#estimator.current);
  }

  /** A member told its coordinate. False when that is none; what was known before is kept. */
  told(address: string, bytes: Uint8Array): boolean {
    const coordinate = decodeCoordinate(bytes);
    if (coordinate === undefined) this.#malformed++;
    else this.#of(address).coordinate = coordinate;
    return coordinate !== undefined;
  }

  /** A member answered a probe. False when that cannot be a round trip. */
  probed({ address, tripMs, nowMs }: Probed): boolean {
    if (!(tripMs >= 0 && tripMs < Infinity)) return false;
    const known = this.#of(address);
    const isFresh = known.tripMs !== undefined && nowMs - known.measuredMs < freshMs;
    known.tripMs = isFresh ? known.tripMs! + tripShare * (tripMs - known.tripMs!) : tripMs;
    known.measuredMs = nowMs;
    const { coordinate } = known;
    if (coordinate !== undefined) this.#estimator.observe({ peer: address, coordinate, tripMs });
    return true;
  }

  /** Milliseconds there and back; undefined when nothing is known. */
  tripMs(address: string, nowMs: number): number | undefined {
    const known = this.#known.get(address);
    if (known === undefined) return undefined;
    if (known.tripMs !== undefined && nowMs - known.measuredMs < freshMs) return known.tripMs;
    return known.coordinate === undefined ? undefined : distanceMs(this.current, known.coordinate);
  }

  /** Forgets everybody else: those are the members now. */
  retain(addresses: ReadonlySet<string>): void {
    for (const address of [...this.#known.keys()]) {
      if (addresses.has(address)) continue;
      this.#known.delete(address);
      this.#estimator.forget(address);
    }
  }

  #of(address: string): Known {
    let known = this.#known.get(address);
    if (known === undefined) {
      known = { tripMs: undefined, measuredMs: -Infinity, coordinate: undefined };
      this.#known.set(address, known);
    }
    return known;
  }
}
