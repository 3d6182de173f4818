/** How long a follower waits: what it measured counts, what it cannot measure any more does not. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { electionMs } from "../../../src/raft/election_time.ts";
import { Estimate } from "../../../src/raft/estimate.ts";

function estimate(...samples: number[]): Estimate {
  const made = new Estimate();
  for (const sample of samples) made.add(sample);
  return made;
}

const options = { electionMs: 1000 };
const disk = estimate();

test("a long way stretches the election timeout after a few samples", () => {
  const far = estimate(...Array.from({ length: 20 }, () => 600));
  assert.ok(far.mean > 500, `${far.mean}`);
  const roundTripMs = estimate(600, 600, 600);
  assert.ok(roundTripMs.high >= 600, `${roundTripMs.high}`);
  assert.ok(electionMs(options, [{ connected: true, roundTripMs }], disk) >= 8 * 600);
});

test("an outage is no round trip, not even as the first sample", () => {
  const roundTripMs = estimate(10_000, 4, 4, 4);
  assert.ok(roundTripMs.high < 200, `${roundTripMs.high}`);
  const ways = [{ connected: true, roundTripMs }];
  assert.ok(electionMs(options, ways, disk) < 1600);
});

test("the way to a node that is gone says nothing, and it counts again when the node is back", () => {
  const roundTripMs = estimate(...Array.from({ length: 20 }, () => 2000));
  assert.equal(electionMs(options, [{ connected: false, roundTripMs }, undefined], disk), 1000);
  assert.ok(electionMs(options, [{ connected: true, roundTripMs }], disk) > 10_000);
});

test("no measurement stretches the timeout without end", () => {
  const roundTripMs = estimate(...Array.from({ length: 50 }, () => 60_000));
  assert.equal(electionMs(options, [{ connected: true, roundTripMs }], disk), 20_000);
});
