/** Coordinates converge on networks of several shapes, and no peer can do harm by what it says. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import {
  type Coordinate,
  coordinateBytes,
  coordinateMostMs,
  decodeCoordinate,
  distanceMs,
  encodeCoordinate,
  isCoordinate,
  origin,
  rawDistanceMs,
} from "../../../src/routing/core/coordinate.ts";
import { CoordinateEstimator, tripMostMs } from "../../../src/routing/core/coordinates.ts";
import {
  grid,
  Measuring,
  quantile,
  scattered,
  sites,
  type Tells,
  type Trips,
} from "./topologies.ts";

interface Shape {
  readonly name: string;
  readonly trips: Trips;
  readonly seconds: number;
  /** Relative errors that half, and nine of ten, estimates stay below. */
  readonly median: number;
  readonly ninth: number;
}

const shapes: readonly Shape[] = [
  { name: "a grid", trips: grid(8, 10), seconds: 200, median: 0.03, ninth: 0.25 },
  { name: "a LAN", trips: grid(5, 0.3), seconds: 120, median: 0.03, ninth: 0.25 },
  {
    name: "nodes anywhere",
    trips: scattered(60, 100, new Prng(5)),
    seconds: 200,
    median: 0.03,
    ninth: 0.25,
  },
  {
    name: "five sites with links of all sorts",
    trips: sites(5, 12, new Prng(6)),
    seconds: 200,
    median: 0.05,
    ninth: 1.2,
  },
];

for (const { name, trips, seconds, median, ninth } of shapes) {
  test(`coordinates converge on ${name}`, () => {
    for (const seed of [1, 2]) {
      const measuring = new Measuring(trips, seed);
      const atFirst = quantile(measuring.seconds(1).errors(), 0.5);
      const errors = measuring.seconds(seconds).errors();
      const seen = `seed ${seed}: ${[0.5, 0.9].map((share) => quantile(errors, share))}`;
      assert.ok(quantile(errors, 0.5) < median, seen);
      assert.ok(quantile(errors, 0.9) < ninth, seen);
      assert.ok(quantile(errors, 0.5) * 3 < atFirst, `better than at first, ${atFirst}: ${seen}`);
      const { nodes } = measuring;
      const believed = nodes.map(({ current }) => current.error).sort((a, b) => a - b);
      assert.ok(quantile(believed, 0.5) < 0.2, `they know that they know: ${believed}`);
      assert.ok(nodes.every(({ counters }) => counters.resets === 0));
    }
  });
}

test("the nearest of two sites is told apart without ever having been measured", () => {
  const measuring = new Measuring(sites(4, 12, new Prng(6)), 3).seconds(200);
  const [asking] = measuring.nodes;
  let right = 0;
  for (let near = 4; near < 48; near += 4) {
    const nearMs = distanceMs(asking.current, measuring.nodes[near].current);
    const farMs = distanceMs(asking.current, measuring.nodes[near + 3].current);
    if (nearMs < farMs) right++;
  }
  assert.equal(right, 11);
});

const far: Coordinate = {
  position: [coordinateMostMs, 0, 0, 0, 0, 0, 0, 0],
  heightMs: 10,
  adjustmentMs: 0,
  error: 0,
};
const drawn = new Prng(9);
const side = (): number => (drawn.fraction() - 0.5) * 2 * coordinateMostMs;
const lies: Readonly<Record<string, (estimator: CoordinateEstimator) => Coordinate>> = {
  "all at the same place far out": () => far,
  "somewhere else each time": () => ({
    position: Array.from({ length: 8 }, side),
    heightMs: 0.01 + drawn.fraction() * 19_000,
    adjustmentMs: side(),
    error: 0,
  }),
  "behind an endless link": ({ current }) => ({ ...current, heightMs: coordinateMostMs, error: 0 }),
};

for (const [name, lie] of Object.entries(lies)) {
  test(`one node in five lies about itself, ${name}: the others are right all the same`, () => {
    const lies = (node: number): boolean => node % 5 === 0;
    const tells: Tells = (estimator, node) => lies(node) ? lie(estimator) : estimator.current;
    const measuring = new Measuring(grid(6, 10), 1, tells).seconds(300);
    const errors = measuring.errors((node) => !lies(node));
    assert.ok(quantile(errors, 0.5) < 0.1, `${quantile(errors, 0.5)}`);
    assert.ok(quantile(errors, 0.9) < 0.4, `${quantile(errors, 0.9)}`);
    for (const { current } of measuring.nodes) assert.ok(isCoordinate(current));
  });
}

test("nine liars of ten move a node no further than the bounds, and it goes on", () => {
  const estimator = new CoordinateEstimator(new Prng(1));
  for (let step = 0; step < 50_000; step++) {
    estimator.observe({ peer: `${step % 10}`, coordinate: far, tripMs: tripMostMs });
    assert.ok(isCoordinate(estimator.current), `step ${step}`);
  }
  assert.ok(rawDistanceMs(estimator.current, origin) < 2 * coordinateMostMs);
  assert.equal(estimator.counters.observations, 50_000);
});

test("what cannot be is rejected, counted, and changes nothing", () => {
  const estimator = new CoordinateEstimator(new Prng(1));
  estimator.observe({ peer: "a", coordinate: origin, tripMs: 5 });
  const before = estimator.current;
  const bad: readonly Partial<Coordinate>[] = [
    { position: [] },
    { position: [...origin.position, 0] },
    { position: [NaN, 0, 0, 0, 0, 0, 0, 0] },
    { position: [0, 0, 0, 0, 0, 0, 0, -Infinity] },
    { position: [coordinateMostMs * 1.01, 0, 0, 0, 0, 0, 0, 0] },
    { heightMs: 0 },
    { heightMs: -1 },
    { heightMs: NaN },
    { heightMs: Infinity },
    { adjustmentMs: NaN },
    { adjustmentMs: -coordinateMostMs * 1.01 },
    { error: -0.1 },
    { error: 1.6 },
    { error: NaN },
  ];
  for (const part of bad) {
    const coordinate = { ...origin, ...part };
    assert.equal(estimator.observe({ peer: "a", coordinate, tripMs: 1 }), false);
  }
  for (const tripMs of [NaN, Infinity, -Infinity, -0.001, tripMostMs + 1]) {
    assert.equal(estimator.observe({ peer: "a", coordinate: origin, tripMs }), false);
  }
  assert.equal(estimator.current, before);
  assert.deepEqual(estimator.counters, {
    observations: 1,
    coordinatesRejected: bad.length,
    tripsRejected: 5,
    resets: 0,
  });
  assert.equal(estimator.observe({ peer: "a", coordinate: origin, tripMs: 0 }), true);
});

test("a node that would leave the bounds begins anew", () => {
  const estimator = new CoordinateEstimator(new Prng(1));
  // Peers that pursue it: they are always a little too near, and all on the same side.
  for (let step = 0; step < 1000 && estimator.counters.resets === 0; step++) {
    const [x, ...others] = estimator.current.position;
    const coordinate = { ...origin, position: [x - 5000, ...others], error: 0 };
    estimator.observe({ peer: `${step % 3}`, coordinate, tripMs: tripMostMs });
  }
  assert.equal(estimator.counters.resets, 1);
  assert.deepEqual(estimator.current, origin);
});

test("a single late answer changes nothing", () => {
  const place = { ...origin, position: [50, 0, 0, 0, 0, 0, 0, 0], error: 0.2 };
  const [calm, jolted] = [1, 1].map((seed) => new CoordinateEstimator(new Prng(seed)));
  for (let step = 0; step < 60; step++) {
    calm.observe({ peer: "a", coordinate: place, tripMs: 50 });
    jolted.observe({ peer: "a", coordinate: place, tripMs: step === 40 ? 5000 : 50 });
  }
  assert.deepEqual(jolted.current, calm.current);
});

test("peers that come and go take bounded memory", () => {
  const estimator = new CoordinateEstimator(new Prng(1));
  for (let peer = 0; peer < 5000; peer++) {
    estimator.observe({ peer: `${peer}`, coordinate: origin, tripMs: 1 });
  }
  assert.equal(estimator.peers, 512);
  for (let peer = 0; peer < 5000; peer++) estimator.forget(`${peer}`);
  assert.equal(estimator.peers, 0);
});

test("the bytes of a coordinate are read back, to single precision", () => {
  const { current } = new Measuring(grid(4, 10), 1).seconds(30).nodes[3];
  const bytes = encodeCoordinate(current);
  assert.equal(bytes.length, coordinateBytes);
  assert.ok(bytes.length <= 64);
  const read = decodeCoordinate(bytes)!;
  assert.deepEqual(read.position, current.position.map(Math.fround));
  assert.equal(read.heightMs, Math.fround(current.heightMs));
  assert.equal(read.adjustmentMs, Math.fround(current.adjustmentMs));
  assert.equal(read.error, Math.fround(current.error));
  assert.deepEqual(encodeCoordinate(read), bytes);
  assert.ok(decodeCoordinate(encodeCoordinate(origin)) !== undefined, "the least height is read");
  assert.ok(decodeCoordinate(encodeCoordinate(far)) !== undefined, "and so is what is far out");
});

test("whatever else is decoded is no coordinate, and nothing is thrown", () => {
  const random = new Prng(4);
  const good = encodeCoordinate(origin);
  for (let length = 0; length <= 100; length++) {
    const bytes = new Uint8Array(length);
    bytes.set(good.subarray(0, length));
    assert.equal(decodeCoordinate(bytes) !== undefined, length === coordinateBytes, `${length}`);
  }
  for (let version = 0; version < 256; version++) {
    const bytes = Uint8Array.from([version, ...good.subarray(1)]);
    assert.equal(decodeCoordinate(bytes) !== undefined, version === 1, `version ${version}`);
  }
  let read = 0;
  for (let round = 0; round < 20_000; round++) {
    const bytes = new Uint8Array(coordinateBytes);
    random.fill(bytes);
    bytes[0] = 1;
    const coordinate = decodeCoordinate(bytes);
    if (coordinate === undefined) continue;
    read++;
    assert.ok(isCoordinate(coordinate));
  }
  assert.ok(read < 2000, `most of what is drawn is out of bounds: ${read}`);
  const inside = new Uint8Array(coordinateBytes + 7);
  inside.set(good, 7);
  assert.deepEqual(decodeCoordinate(inside.subarray(7)), decodeCoordinate(good), "at any offset");
});

test("the distance is symmetric, and negative adjustments do not make it so", () => {
  const a: Coordinate = { ...origin, position: [3, 0, 0, 0, 0, 0, 0, 0], heightMs: 1 };
  const b: Coordinate = { ...origin, position: [0, 4, 0, 0, 0, 0, 0, 0], heightMs: 2 };
  assert.equal(distanceMs(a, b), 8);
  assert.equal(distanceMs(b, a), 8);
  assert.equal(distanceMs({ ...a, adjustmentMs: 1 }, { ...b, adjustmentMs: -3 }), 6);
  assert.equal(distanceMs({ ...a, adjustmentMs: -9 }, b), 8, "then they do not count");
});
