/** A sweep in several processes, one for each core, and what they found put together. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Coverage, type CoverageReport } from "../../../src/runtime/sim/coverage.ts";
import { marks } from "./marks.ts";
import type { SweepTotals } from "./sweep.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url).href);

/** What one process says of its seeds. */
export interface Share {
  readonly coverage: CoverageReport;
  readonly hashes: readonly (readonly [seed: number, hash: string])[];
  readonly failures: readonly (readonly [seed: number, message: string])[];
  readonly totals: SweepTotals;
}

export interface SharedSweep {
  readonly coverage: Coverage;
  readonly hashes: ReadonlyMap<number, string>;
  readonly failures: ReadonlyMap<number, string>;
  /** Of all processes; `realMs` is the longest. */
  readonly totals: SweepTotals;
}

export interface SharedSweepOptions {
  /** The first seed. */
  readonly from: number;
  readonly count: number;
  readonly processes: number;
}

/** Runs seeds, one after the other from `from` on, in so many processes of Bun. */
export async function sweepShared(options: SharedSweepOptions): Promise<SharedSweep> {
  const shares = await Promise.all(
    Array.from({ length: options.processes }, (_, at) => runShare(at, options)),
  );
  const coverage = new Coverage(marks);
  const hashes = new Map<number, string>();
  const failures = new Map<number, string>();
  const totals = { seeds: 0, events: 0, operations: 0, faults: 0, virtualMs: 0, realMs: 0 };
  for (const share of shares) {
    coverage.add(share.coverage);
    for (const [seed, hash] of share.hashes) hashes.set(seed, hash);
    for (const [seed, message] of share.failures) failures.set(seed, message);
    totals.seeds += share.totals.seeds;
    totals.events += share.totals.events;
    totals.operations += share.totals.operations;
    totals.faults += share.totals.faults;
    totals.virtualMs += share.totals.virtualMs;
    totals.realMs = Math.max(totals.realMs, share.totals.realMs);
  }
  return { coverage, hashes, failures, totals };
}

function runShare(
  at: number,
  { from, count, processes }: SharedSweepOptions,
): Promise<Share> {
  const child = spawn(
    "node_modules/.bin/bun",
    [
      ...["--no-install", "scripts/simulate_raft.ts", "--json", "--keep-going"],
      ...["--from", `${from + at}`, "--count", `${count - at}`, "--step", `${processes}`],
    ],
    { cwd: root, stdio: ["ignore", "pipe", "pipe"] },
  );
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk: Uint8Array) => output += String(chunk));
  child.stderr.on("data", (chunk: Uint8Array) => errors += String(chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      const last = output.trim().split("\n").at(-1) ?? "";
      if (last.startsWith("{")) resolve(JSON.parse(last));
      else reject(new Error(`a share of the seeds ended with ${code}: ${errors}${output}`));
    });
  });
}
