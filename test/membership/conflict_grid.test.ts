/** Figure 11 of the paper, and the exact figures for two failures. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../src/base/prng.ts";
import { lanOptions } from "../../src/membership/core/options.ts";
import {
  asBuilt,
  conflicts,
  exactOfTwo,
  gridConfiguration,
  isWithin,
  paperCells,
  paperSamples,
  plainly,
} from "./support/conflict_grid.ts";

/** Two in ten thousand cells are further off than that. */
const errors = 3.7;
const samples = 1_000;
/** The product's detection does more than count. */
const builtSamples = 400;
const configuration = gridConfiguration();

test("conflicts: the exact figures for two failures are those of the paper's grid", () => {
  const exact = [1, 2, 3, 4].map((low) => exactOfTwo(10, 9, low) * 100);
  assert.deepEqual(exact.map((percent) => percent.toFixed(3)), [
    "0.012",
    "0.109",
    "0.548",
    "1.977",
  ]);
  for (const { high, low, failures, percent } of paperCells) {
    if (failures !== 2) continue;
    const found = percent / 100 * paperSamples;
    assert.ok(
      isWithin({ found, samples: paperSamples }, exactOfTwo(10, high, low) * 100, 0, errors),
      `H=${high} L=${low}: ${percent} %`,
    );
  }
});

test("conflicts: plain tallies give the paper's grid, cell by cell", () => {
  const prng = new Prng(11);
  for (const cell of paperCells) {
    const { high, low, failures, percent } = cell;
    const count = { found: conflicts(configuration, prng, cell, { samples, detector: plainly }) };
    const what = `H=${high} L=${low} F=${failures}: ${count.found} of ${samples}, not ${percent} %`;
    assert.ok(isWithin({ ...count, samples }, percent, paperSamples, errors), what);
    if (failures !== 2) continue;
    assert.ok(isWithin({ ...count, samples }, exactOfTwo(10, high, low) * 100, 0, errors), what);
  }
});

test("conflicts: the product's detection gives it, too, with one observer alone as noise", () => {
  const prng = new Prng(12);
  for (const cell of paperCells) {
    // Where L is 1, two observers are wanted all the same.
    const low = Math.max(cell.low, 2);
    const { high, failures } = cell;
    const paper = paperCells.find((other) =>
      other.high === high && other.low === low && other.failures === failures
    );
    const found = conflicts(configuration, prng, cell, {
      samples: builtSamples,
      detector: asBuilt,
    });
    const what = `H=${high} L=${cell.low} F=${failures}: ${found} of ${builtSamples}`;
    assert.ok(
      isWithin({ found, samples: builtSamples }, paper!.percent, paperSamples, errors),
      what,
    );
  }
});

test("conflicts: with the defaults there are hardly any", () => {
  const { high, low } = lanOptions;
  const prng = new Prng(13);
  for (const failures of [2, 4, 8, 16]) {
    const cell = { high, low, failures };
    const found = conflicts(configuration, prng, cell, {
      samples: builtSamples,
      detector: asBuilt,
    });
    assert.ok(found <= builtSamples / 50, `${found} of ${builtSamples} with ${failures} failures`);
  }
});

test("conflicts: the interval tells other probabilities apart", () => {
  assert.ok(isWithin({ found: 5, samples: 1_000 }, 0.53, paperSamples, errors));
  assert.ok(!isWithin({ found: 20, samples: 1_000 }, 0.53, paperSamples, errors));
  assert.ok(!isWithin({ found: 100, samples: 1_000 }, 16.5, paperSamples, errors));
  assert.ok(!isWithin({ found: 2, samples: 1_000 }, exactOfTwo(10, 9, 4) * 100, 0, errors));
});
