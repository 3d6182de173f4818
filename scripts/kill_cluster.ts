/**
 * The long run of the tests with real processes: kill -9 of a cluster under load, again and again.
 *
 *   bun scripts/kill_cluster.ts --kills 1000 --writes 1000000 [--clusters 20] [--seed 1]
 *
 * The kills are spread over so many clusters, one after the other. It ends with 0 when no
 * acknowledged write was lost or applied twice, no read went back, and all that was judged was
 * linearizable; the last line is the result.
 */
import { parseArgs } from "node:util";
import { killRun, type KillRunResult } from "../test/raft/process/kill_run.ts";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "20" },
    writes: { type: "string", default: "20000" },
    clusters: { type: "string", default: "1" },
    seed: { type: "string", default: "1" },
    workers: { type: "string", default: "64" },
  },
});

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function count(name: keyof typeof values): number {
  const value = Number(values[name]);
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new Error(`--${name} takes a number above 0`);
  }
  return value;
}

/** `median 112, 99 % 431, most 702 ms of 41`. */
function times(name: string, ms: readonly number[]): string {
  if (ms.length === 0) return `${name}: none`;
  const sorted = [...ms].sort((a, b) => a - b);
  const at = (part: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]);
  return `${name}: median ${at(0.5)}, 99 % ${at(0.99)}, most ${at(1)} ms of ${ms.length}`;
}

async function main(): Promise<number> {
  const clusters = count("clusters");
  const kills = count("kills");
  const writes = count("writes");
  const startedMs = performance.now();
  const results: KillRunResult[] = [];
  for (let at = 0; at < clusters; at++) {
    const seed = count("seed") + at;
    results.push(
      await killRun({
        kills: Math.ceil(kills / clusters),
        writes: Math.ceil(writes / clusters),
        seed,
        workers: count("workers"),
        say: (line) => say(`seed ${seed}: ${line}`),
      }),
    );
  }
  const sum = (of: (result: KillRunResult) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const all = (of: (result: KillRunResult) => readonly number[]): number[] => results.flatMap(of);
  const failures = new Map<string, number>();
  for (const [text, times] of results.flatMap((result) => [...result.failures])) {
    failures.set(text, (failures.get(text) ?? 0) + times);
  }
  for (const [text, times] of failures) say(`${times}× ${text}`);
  say("kill -9 to the first success of a write begun after it:");
  say(`  ${times("leader", all(({ leaderMs }) => leaderMs))}`);
  say(`  ${times("follower", all(({ followerMs }) => followerMs))}`);
  say(`  ${times("majority or all, since started", all(({ majorityMs }) => majorityMs))}`);
  const [lost, twice, back] = [
    sum((one) => one.lost),
    sum((one) => one.twice),
    sum((one) => one.wentBack),
  ];
  say(
    `${sum((one) => one.kills)} kills over ${sum((one) => one.acknowledgedWrites)} acknowledged ` +
      `writes in ${Math.round((performance.now() - startedMs) / 1000)} s: ${lost} lost, ${twice} ` +
      `applied twice, ${back} reads went back, ${sum((one) => one.unknown)} unknown; ` +
      `${sum((one) => one.judged)} operations judged linearizable`,
  );
  return lost + twice + back === 0 ? 0 : 1;
}

main().then((code) => process.exit(code), (error) => {
  say(error instanceof Error ? error.stack ?? error.message : `${error}`);
  process.exit(1);
});
