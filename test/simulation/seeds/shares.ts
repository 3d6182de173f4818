/** A sweep in several processes, one for each core, and what they found put together. */
import { Coverage, type CoverageReport } from "../../../src/runtime/sim/coverage.ts";
import { lastObject, runProcess } from "./processes.ts";
import type { Subject } from "./subject.ts";
import type { Sweep, SweepTotals } from "./sweep.ts";

/** What one process says of its seeds, as an object in a line. */
export interface Share {
  readonly coverage: CoverageReport;
  readonly hashes: readonly (readonly [seed: number, hash: string])[];
  readonly failures: readonly (readonly [seed: number, message: string])[];
  readonly totals: SweepTotals;
}

export function toShare({ coverage, hashes, failures, totals }: Sweep): Share {
  return {
    coverage: coverage.report(),
    hashes: [...hashes],
    failures: [...failures].map(([seed, { message }]) => [seed, message]),
    totals,
  };
}

/** What several processes found; their real time is the longest. */
export function joinShares({ marks }: Subject, shares: readonly Share[]): Sweep {
  const coverage = new Coverage(marks);
  for (const share of shares) coverage.add(share.coverage);
  const sum = (of: (totals: SweepTotals) => number): number =>
    shares.reduce((total, { totals }) => total + of(totals), 0);
  return {
    coverage,
    hashes: new Map(shares.flatMap(({ hashes }) => hashes)),
    failures: new Map(
      shares.flatMap(({ failures }) => failures).map(([seed, text]) => [seed, new Error(text)]),
    ),
    totals: {
      seeds: sum(({ seeds }) => seeds),
      events: sum(({ events }) => events),
      operations: sum(({ operations }) => operations),
      faults: sum(({ faults }) => faults),
      virtualMs: sum(({ virtualMs }) => virtualMs),
      realMs: Math.max(...shares.map(({ totals }) => totals.realMs)),
    },
  };
}

export interface SharedSweepOptions {
  /** The first seed. */
  readonly from: number;
  readonly count: number;
  readonly processes: number;
}

/** Runs seeds, one after the other from `from` on, in so many processes of Bun. */
export async function sweepShared(
  subject: Subject,
  { from, count, processes }: SharedSweepOptions,
): Promise<Sweep> {
  const shares = await Promise.all(Array.from({ length: processes }, async (_, at) => {
    const ended = await runProcess(subject.name, [
      ...["--json", "--keep-going"],
      ...["--from", `${from + at}`, "--count", `${count - at}`, "--step", `${processes}`],
    ]);
    return lastObject(ended) as Share;
  }));
  return joinShares(subject, shares);
}
