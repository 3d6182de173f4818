/**
 * The tables of the Rapid paper with this implementation's protocol core, in virtual time, beside the
 * paper's figures.
 *
 *   bun bench/membership.ts [--only ROW,ROW] [--seeds N] [--all] [--write]
 *
 * Rows: bootstrap, crash, flip, loss, traffic, conflicts, memory. `--all` takes as many samples of the
 * conflict grid as the paper and watches for ten minutes what comes back. `--write` puts the measured
 * rows into README.md and the grid into docs/membership.md, between their markers.
 *
 * The model: one-way latencies of 0.5 to 1.5 ms, a sync of the disk 1 ms, links that keep the order and
 * send again what is lost as TCP does; messages cost no processor time and links have no limit, so the
 * times stand beside those of the paper's machines and not against them.
 */
import { spawnSync } from "node:child_process";
import { arch, cpus } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { DocumentTable } from "./document_table.ts";
import { gridColumns, gridGroup, gridOrder } from "./membership_grid.ts";
import { jitterMs, latencyMs, syncMs } from "./membership_lab.ts";
import {
  crashes,
  flips,
  type Group,
  joins,
  joinSpreadMs,
  losses,
  traffic,
} from "./membership_rows.ts";

const root = fileURLToPath(new URL("..", import.meta.url).href);
const columns = ["measure", "covey", "paper", "to reach"];

const memoryMeasures = [
  "heap of one member's module at 1,000 members",
  "the same while 1,000 more ask to be let in",
];

const memory: Group = {
  name: "memory",
  measures: memoryMeasures,
  run: () =>
    memoryMeasures.map((measure, at) => {
      const script = join(root, "bench", "membership_memory.ts");
      const { stdout, stderr, status } = spawnSync(
        process.execPath,
        [script, "1000", String(at * 1_000)],
        { encoding: "utf8" },
      );
      if (status !== 0) throw new Error(`membership_memory.ts: ${stderr}`);
      const { bytes } = JSON.parse(stdout) as { readonly bytes: number };
      const covey = `${(bytes / 1e6).toFixed(1)} MB`;
      return { measure, covey, paper: "10 MB, heap 25 MB", target: "≤ 8 MB" };
    }),
};

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: "" },
      seeds: { type: "string", default: "3" },
      all: { type: "boolean", default: false },
      write: { type: "boolean", default: false },
    },
  });
  const grid = new DocumentTable(gridColumns);
  const groups = [joins, crashes, flips, losses, traffic, gridGroup(grid), memory];
  const wanted = values.only === "" ? groups.map(({ name }) => name) : values.only.split(",");
  const unknown = wanted.find((name) => !groups.some((group) => group.name === name));
  if (unknown !== undefined) {
    throw new Error(`no row ${unknown}; there are ${groups.map(({ name }) => name).join(", ")}`);
  }
  const seeds = Number(values.seeds);
  const bench = { seeds, all: values.all, note: (text: string) => console.error(`  ${text}`) };
  const table = new DocumentTable(columns);
  for (const group of groups) {
    if (!wanted.includes(group.name)) continue;
    console.error(`${group.name} …`);
    for (const { measure, covey, paper, target } of await group.run(bench)) {
      console.error(table.add([measure, covey, paper, target]));
    }
  }
  const note =
    `Virtual time, ${seeds} seeds, medians and the worst counts: one way ${latencyMs} to ` +
    `${latencyMs + jitterMs} ms, a sync ${syncMs} ms, no processor cost, joiners start over ` +
    `${
      joinSpreadMs / 1_000
    } s; bytes are those of ttrpc frames, by process and second. Simulated on ` +
    `one of ${cpus().length} cores (${arch()}), Bun ${process.versions.bun}.`;
  console.log(`${table.text()}\n\n${note}`);
  const hasGrid = wanted.includes("conflicts");
  if (hasGrid) console.log(`\n${grid.text()}`);
  if (!values.write) return;
  table.write(
    join(root, "README.md"),
    "membership",
    groups.flatMap(({ measures }) => measures),
    note,
  );
  if (!hasGrid) return;
  const samples = values.all ? "20,000" : "2,000";
  const gridNote =
    `Percent of ${samples} proposals of 1,000 members, K = 10; the paper's of 20,000.`;
  grid.write(join(root, "docs", "membership.md"), "membership_grid", gridOrder, gridNote);
}

main().then(() => process.exit(0), (error) => {
  console.error("membership:", error instanceof Error ? error.message : error);
  process.exit(1);
});
