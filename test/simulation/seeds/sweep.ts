/** Many seeds, one after the other: their hashes, their coverage, and how fast they ran. */
import { Coverage } from "../../../src/runtime/sim/coverage.ts";
import type { SeedRun, Subject } from "./subject.ts";

export interface Sweep {
  readonly coverage: Coverage;
  readonly hashes: ReadonlyMap<number, string>;
  /** Every seed that broke an invariant, with its error. */
  readonly failures: ReadonlyMap<number, Error>;
  readonly totals: SweepTotals;
}

/** What a sweep did, to be added to another's. */
export interface SweepTotals {
  readonly seeds: number;
  readonly events: number;
  readonly operations: number;
  readonly faults: number;
  readonly virtualMs: number;
  readonly realMs: number;
}

export interface SweepOptions {
  readonly seeds: Iterable<number>;
  /** Go on after a failure. */
  readonly keepGoing?: boolean;
  /** Milliseconds of the real world: the only thing here that is not simulated. */
  readonly now: () => number;
  readonly log?: (line: string) => void;
  readonly failed?: (seed: number, error: Error) => void;
}

export async function sweep(subject: Subject, options: SweepOptions): Promise<Sweep> {
  const coverage = new Coverage(subject.marks);
  const hashes = new Map<number, string>();
  const failures = new Map<number, Error>();
  const startedMs = options.now();
  let seeds = 0, events = 0, operations = 0, faults = 0, virtualMs = 0;
  for (const seed of options.seeds) {
    let run: SeedRun;
    try {
      run = await subject.run(seed, options.log);
    } catch (error) {
      failures.set(seed, error as Error);
      options.failed?.(seed, error as Error);
      if (options.keepGoing) continue;
      break;
    }
    coverage.add(run.simulation.coverage.report());
    hashes.set(seed, run.hash);
    seeds++;
    events += run.simulation.events;
    operations += run.operations;
    faults += run.faults;
    virtualMs += run.simulation.nowMs;
  }
  const realMs = options.now() - startedMs;
  const totals = { seeds, events, operations, faults, virtualMs, realMs };
  return { coverage, hashes, failures, totals };
}

/** One line for people. */
export function formatTotals({ totals, failures }: Pick<Sweep, "totals" | "failures">): string {
  const { seeds, events, operations, faults, virtualMs, realMs } = totals;
  const seconds = realMs / 1000;
  const each = (sum: number): string => (sum / Math.max(1, seeds)).toFixed(0);
  return `${seeds} seeds in ${seconds.toFixed(1)} s: ${(seeds / seconds).toFixed(2)} seeds/s, ` +
    `${(events / seconds / 1000).toFixed(0)}k events/s, ` +
    `${(virtualMs / realMs).toFixed(0)}× real time; a seed has ${each(operations)} operations, ` +
    `${each(faults)} faults, ${each(virtualMs / 1000)} virtual seconds, ${each(events)} events; ` +
    `${failures.size} failed`;
}
