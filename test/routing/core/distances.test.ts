/** The round trip to a member: measured where it was, else estimated, else unknown. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import { distanceMs, encodeCoordinate, origin } from "../../../src/routing/core/coordinate.ts";
import { Distances } from "../../../src/routing/core/distances.ts";

const at = (x: number) => ({ ...origin, position: [x, 0, 0, 0, 0, 0, 0, 0], error: 0.2 });

test("measured, then estimated when that is old, and unknown without either", () => {
  const distances = new Distances(new Prng(1));
  assert.equal(distances.tripMs("a", 0), undefined);
  assert.ok(distances.probed({ address: "a", tripMs: 8, nowMs: 0 }));
  assert.equal(distances.tripMs("a", 1000), 8);
  assert.ok(distances.probed({ address: "a", tripMs: 16, nowMs: 1000 }));
  assert.equal(distances.tripMs("a", 1000), 9);
  assert.equal(distances.tripMs("a", 60_999), 9);
  assert.equal(distances.tripMs("a", 61_000), undefined, "old, and it never told a coordinate");
  assert.ok(distances.told("a", encodeCoordinate(at(50))));
  assert.equal(distances.tripMs("a", 60_999), 9);
  assert.ok(Math.abs(distances.tripMs("a", 61_000)! - 50.02) < 0.001);
  assert.ok(distances.probed({ address: "a", tripMs: 20, nowMs: 61_000 }));
  assert.equal(distances.tripMs("a", 61_000), 20, "an old mean does not count in a new one");
});

test("probes move the own coordinate, and others estimate with what it tells", () => {
  const [near, far] = [new Distances(new Prng(1)), new Distances(new Prng(2))];
  for (let second = 0; second < 100; second++) {
    far.told("near", near.bytes);
    near.told("far", far.bytes);
    near.probed({ address: "far", tripMs: 30, nowMs: second * 1000 });
    far.probed({ address: "near", tripMs: 30, nowMs: second * 1000 });
  }
  assert.equal(near.counters.observations, 100);
  assert.ok(Math.abs(distanceMs(near.current, far.current) - 30) < 1);
  const third = new Distances(new Prng(3));
  third.told("far", far.bytes);
  assert.ok(third.tripMs("far", 0)! > 5, "a node that was never probed is estimated");
});

test("what is no coordinate and no round trip is refused, and what was known stays", () => {
  const distances = new Distances(new Prng(1));
  distances.told("a", encodeCoordinate(at(50)));
  const before = distances.tripMs("a", 0);
  assert.equal(distances.told("a", new Uint8Array(45)), false);
  assert.equal(distances.told("b", new Uint8Array(0)), false);
  for (const tripMs of [NaN, -1, Infinity]) {
    assert.equal(distances.probed({ address: "a", tripMs, nowMs: 0 }), false);
  }
  assert.equal(distances.tripMs("a", 0), before);
  assert.deepEqual([distances.malformed, distances.size], [2, 1]);
});

test("those that left are forgotten", () => {
  const distances = new Distances(new Prng(1));
  for (let index = 0; index < 100; index++) {
    distances.told(`${index}`, encodeCoordinate(at(index)));
    distances.probed({ address: `${index}`, tripMs: 1, nowMs: 0 });
  }
  distances.retain(new Set(["7", "200"]));
  assert.equal(distances.size, 1);
  assert.deepEqual([distances.tripMs("7", 0), distances.tripMs("8", 0)], [1, undefined]);

  // Nothing of its round trips is kept either: the first one of its next stay counts at once.
  const probe = (tripMs: number) => distances.probed({ address: "8", tripMs, nowMs: 0 });
  distances.told("8", encodeCoordinate(at(8)));
  for (let count = 0; count < 3; count++) probe(1);
  distances.retain(new Set());
  distances.told("8", encodeCoordinate(at(8)));
  const before = distanceMs(distances.current, at(8));
  probe(500);
  assert.ok(distanceMs(distances.current, at(8)) > before + 20);
});
