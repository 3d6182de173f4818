/** Many seeds, one after the other: their hashes, their coverage, and how fast they ran. */
import { Coverage } from "../../../src/runtime/sim/coverage.ts";
import { marks } from "./marks.ts";
import { type RpcRun, runRpcSeed } from "./run.ts";

export interface Sweep {
  readonly coverage: Coverage;
  readonly hashes: ReadonlyMap<number, string>;
  /** Every seed that broke an invariant, with its error. */
  readonly failures: ReadonlyMap<number, Error>;
  /** Speed and size, for people. */
  readonly summary: string;
}

export interface SweepOptions {
  readonly from: number;
  readonly to: number;
  /** Go on after a failure. */
  readonly keepGoing?: boolean;
  /** Milliseconds of the real world: the only thing here that is not simulated. */
  readonly now: () => number;
  readonly log?: (line: string) => void;
  readonly failed?: (seed: number, error: Error) => void;
}

export async function sweep(options: SweepOptions): Promise<Sweep> {
  const { from, to, now } = options;
  const coverage = new Coverage(marks);
  const hashes = new Map<number, string>();
  const failures = new Map<number, Error>();
  const startedMs = now();
  let events = 0;
  let operations = 0;
  let virtualMs = 0;
  let faults = 0;
  for (let seed = from; seed <= to; seed++) {
    let run: RpcRun;
    try {
      run = await runRpcSeed(seed, options.log);
    } catch (error) {
      failures.set(seed, error as Error);
      options.failed?.(seed, error as Error);
      if (options.keepGoing) continue;
      break;
    }
    coverage.add(run.simulation.coverage.report());
    hashes.set(seed, run.hash);
    events += run.simulation.events;
    operations += run.operations;
    faults += run.faults;
    virtualMs += run.simulation.nowMs;
  }
  const seeds = hashes.size;
  const seconds = (now() - startedMs) / 1000;
  const summary = `${seeds} seeds in ${seconds.toFixed(1)} s: ` +
    `${(seeds / seconds).toFixed(2)} seeds/s, ${(events / seconds / 1000).toFixed(0)}k events/s, ` +
    `${(virtualMs / 1000 / seconds).toFixed(0)}× real time; a seed has ` +
    `${(operations / seeds).toFixed(0)} operations, ${(faults / seeds).toFixed(1)} faults, ` +
    `${(virtualMs / 1000 / seeds).toFixed(0)} virtual seconds; ${failures.size} failed`;
  return { coverage, hashes, failures, summary };
}
