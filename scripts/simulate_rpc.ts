/**
 * Runs whole nodes and their ttrpc traffic on the simulator, seed by seed:
 *
 *   bun scripts/simulate_rpc.ts --seeds 1..1000        a sweep, with coverage at its end
 *   bun scripts/simulate_rpc.ts --seed 17 [--trace]    one seed again, with every record
 *   bun scripts/simulate_rpc.ts --hashes               rewrites the committed trace hashes
 *
 * It ends with 0 when every seed kept every invariant, else with 1 and the command that shows the
 * first one that did not.
 */
import { parseArgs } from "node:util";
import { armBan } from "../test/simulation/ban.ts";

// The seam is loaded before the ban, like everything that runs on it.
const { runRpcSeed } = await import("../test/simulation/rpc/run.ts");
const { Coverage } = await import("../src/runtime/sim/coverage.ts");

const { values } = parseArgs({
  options: {
    seeds: { type: "string" },
    seed: { type: "string" },
    trace: { type: "boolean" },
    hashes: { type: "boolean" },
    "keep-going": { type: "boolean" },
  },
});

const now = performance.now.bind(performance);

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function main(): Promise<number> {
  armBan();
  const [from, to] = range();
  const coverage = new Coverage();
  const startedMs = now();
  let failed = 0;
  let events = 0;
  let operations = 0;
  let virtualMs = 0;
  let last = from;
  for (let seed = from; seed <= to; seed++) {
    last = seed;
    try {
      const run = await runRpcSeed(seed, values.trace ? say : undefined);
      coverage.add(run.simulation.coverage.report());
      events += run.simulation.events;
      operations += run.operations;
      virtualMs += run.simulation.nowMs;
      if (from === to) say(`seed ${seed} ${run.hash} ${run.operations} operations`);
    } catch (error) {
      failed++;
      say(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`);
      if (error instanceof Error && error.cause instanceof Error) say(`${error.cause.stack}`);
      if (!values["keep-going"]) break;
    }
  }
  const seconds = (now() - startedMs) / 1000;
  if (from !== to) say(coverage.toString());
  say(
    `${last - from + 1} seeds, ${failed} failed, ${seconds.toFixed(1)} s: ` +
      `${((last - from + 1) / seconds).toFixed(2)} seeds/s, ` +
      `${(events / seconds / 1000).toFixed(0)}k events/s, ` +
      `${(virtualMs / 1000 / seconds).toFixed(0)}× real time, ` +
      `${(operations / (last - from + 1)).toFixed(0)} operations a seed`,
  );
  return failed === 0 ? 0 : 1;
}

function range(): [number, number] {
  if (values.seed !== undefined) return [Number(values.seed), Number(values.seed)];
  const match = /^(\d+)\.\.(\d+)$/.exec(values.seeds ?? "1..20");
  if (match === null) throw new Error("--seeds takes FROM..TO");
  return [Number(match[1]), Number(match[2])];
}

process.exitCode = await main();
