/**
 * A network coordinate as nodes tell each other: what it holds, how far two of them are apart, and
 * its bytes. Estimating one is the work of `coordinates.ts`.
 */

/** Of the Euclidean part; serf's choice. */
export const dimensions = 8;
/** The error of a node that knows nothing yet, and the largest there is. */
export const errorMost = 1.5;
/** The least height: it is never zero, so that it can grow. */
export const heightLeastMs = 0.01;
/** No honest node is that far out on any axis: round trips above half of it do not count. */
export const coordinateMostMs = 20_000;

export interface Coordinate {
  /** Milliseconds, one a dimension. */
  readonly position: readonly number[];
  /** The way from the node to the space and back, milliseconds; above zero. */
  readonly heightMs: number;
  /** Added to every distance, milliseconds of either sign. */
  readonly adjustmentMs: number;
  /** How wrong its estimates are, relative: 0 for not at all. */
  readonly error: number;
}

/** Where every node begins. */
export const origin: Coordinate = {
  position: Array.from({ length: dimensions }, () => 0),
  heightMs: heightLeastMs,
  adjustmentMs: 0,
  error: errorMost,
};

/** The estimated round trip between two nodes, in milliseconds. */
export function distanceMs(a: Coordinate, b: Coordinate): number {
  const rawMs = rawDistanceMs(a, b);
  const adjustedMs = rawMs + a.adjustmentMs + b.adjustmentMs;
  return adjustedMs > 0 ? adjustedMs : rawMs;
}

/** The distance without the adjustments. */
export function rawDistanceMs(a: Coordinate, b: Coordinate): number {
  return apartMs(a, b) + a.heightMs + b.heightMs;
}

/** The distance of the positions alone. */
export function apartMs(a: Coordinate, b: Coordinate): number {
  let square = 0;
  for (let at = 0; at < dimensions; at++) {
    const apart = a.position[at] - b.position[at];
    square += apart * apart;
  }
  return Math.sqrt(square);
}

/** Whether a node can be there. */
export function isCoordinate({ position, heightMs, adjustmentMs, error }: Coordinate): boolean {
  if (position.length !== dimensions) return false;
  for (const value of position) if (!isWithin(value, coordinateMostMs)) return false;
  return heightMs > 0 && isWithin(heightMs, coordinateMostMs) &&
    isWithin(adjustmentMs, coordinateMostMs) && error >= 0 && isWithin(error, errorMost);
}

/** False for what is not a number. */
function isWithin(value: number, most: number): boolean {
  return value >= -most && value <= most;
}

/** The first byte of what {@link encodeCoordinate} makes. */
const version = 1;
/** The version, then single precision numbers: the position, height, adjustment, error. */
export const coordinateBytes: number = 1 + 4 * (dimensions + 3);

export function encodeCoordinate(coordinate: Coordinate): Uint8Array {
  const bytes = new Uint8Array(coordinateBytes);
  const view = new DataView(bytes.buffer);
  bytes[0] = version;
  const { position, heightMs, adjustmentMs, error } = coordinate;
  const numbers = [...position, heightMs, adjustmentMs, error];
  for (const [at, value] of numbers.entries()) view.setFloat32(1 + 4 * at, value);
  return bytes;
}

/** Undefined for another version, and for what is no coordinate. */
export function decodeCoordinate(bytes: Uint8Array): Coordinate | undefined {
  if (bytes.length !== coordinateBytes || bytes[0] !== version) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const number = (at: number): number => view.getFloat32(1 + 4 * at);
  const coordinate: Coordinate = {
    position: Array.from({ length: dimensions }, (_, at) => number(at)),
    heightMs: number(dimensions),
    adjustmentMs: number(dimensions + 1),
    error: number(dimensions + 2),
  };
  return isCoordinate(coordinate) ? coordinate : undefined;
}
