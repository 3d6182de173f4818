/** Figure 11 of the paper: how often a process proposes a cut that misses somebody. */
import { Prng } from "../src/base/prng.ts";
import {
  asBuilt,
  type Cell,
  conflicts,
  exactOfTwo,
  gridConfiguration,
  isWithin,
  paperCells,
  paperSamples,
  plainly,
} from "../test/membership/support/conflict_grid.ts";
import type { DocumentTable } from "./document_table.ts";
import type { Bench, Group } from "./membership_rows.ts";

/** Two in ten thousand cells are further off than that. */
const errors = 3.7;
const rings = 10;
const counts = [2, 4, 8, 16];
export const gridColumns = [
  "H, L",
  ...counts.map((count) => `${count} fail: plain / as built / paper`),
  "2 fail, exact",
];
const measure = "conflicting proposals, 64 cells over H, L and F";

function keyOf({ high, low }: Cell): string {
  return `${high}, ${low}`;
}

/** Of paperCells, each row once. */
export const gridOrder: readonly string[] = [...new Set(paperCells.map(keyOf))];

/** Fills the table with every cell. */
export function gridGroup(table: DocumentTable): Group {
  return {
    name: "conflicts",
    measures: [measure],
    run: (bench: Bench) => {
      const samples = bench.all ? paperSamples : 2_000;
      const configuration = gridConfiguration();
      const prng = new Prng(1);
      const rows = new Map<string, string[]>();
      let within = 0;
      let exact = 0;
      for (const cell of paperCells) {
        const { high, low, failures, percent } = cell;
        const found = conflicts(configuration, prng, cell, { samples, detector: plainly });
        const built = conflicts(configuration, prng, cell, { samples, detector: asBuilt });
        if (isWithin({ found, samples }, percent, paperSamples, errors)) within++;
        else bench.note(`outside: H=${high} L=${low} F=${failures}: ${found} of ${samples}`);
        const oracle = exactOfTwo(rings, high, low) * 100;
        if (failures === 2 && isWithin({ found, samples }, oracle, 0, errors)) exact++;
        const cells = rows.get(keyOf(cell)) ?? [];
        rows.set(keyOf(cell), cells);
        cells.push(`${share(found / samples)} / ${share(built / samples)} / ${percent}`);
        if (failures === counts[counts.length - 1]) {
          cells.push(
            exactOfTwo(rings, high, low) * 100 < 1 ? oracle.toFixed(3) : oracle.toFixed(2),
          );
        }
      }
      for (const [key, cells] of rows) table.add([key, ...cells]);
      return [{
        measure,
        covey: `${within} within the interval of the paper's, ${exact} of 16 of the exact figure's`,
        paper: `${paperCells.length} measured`,
        target: "each within its interval",
      }];
    },
  };
}

function share(fraction: number): string {
  return (fraction * 100).toFixed(2);
}
