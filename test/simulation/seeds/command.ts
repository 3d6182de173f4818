/** The command line of the scripts that run seeds: see scripts/simulate_raft.ts. */
import { parseArgs } from "node:util";
import { armBan } from "../ban.ts";
import { type Caught, formatCaught, runMutations } from "../mutations/runner.ts";
import { hashSeeds, writeHashes } from "./hashes.ts";
import { sweepShared, toShare } from "./shares.ts";
import type { Subject } from "./subject.ts";
import { formatTotals, type Sweep, sweep } from "./sweep.ts";

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      seed: { type: "string" },
      from: { type: "string", default: "1" },
      count: { type: "string", default: "20" },
      step: { type: "string", default: "1" },
      trace: { type: "boolean" },
      hashes: { type: "boolean" },
      json: { type: "boolean" },
      "keep-going": { type: "boolean" },
      processes: { type: "string", default: "1" },
      mutations: { type: "boolean" },
    },
  });
}

type Values = ReturnType<typeof parse>["values"];

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Does what the arguments say; answers the exit code. */
export async function simulate(subject: Subject, args: readonly string[]): Promise<number> {
  const { values, positionals } = parse(args);
  if (values.mutations) return await mutate(subject, values, positionals);
  const processes = Number(values.processes);
  if (processes > 1) {
    const [from, count] = [Number(values.from), Number(values.count)];
    const found = await sweepShared(subject, { from, count, processes });
    for (const [seed, error] of found.failures) sayFailure(values, seed, error);
    return sayFound(values, found);
  }
  const now = performance.now.bind(performance);
  armBan();
  const found = await sweep(subject, {
    seeds: seedsOf(values),
    now,
    keepGoing: values["keep-going"],
    log: values.trace ? say : undefined,
    failed: (seed, error) => sayFailure(values, seed, error),
  });
  if (values.hashes && found.failures.size === 0) writeHashes(subject.name, found.hashes);
  return sayFound(values, found);
}

function seedsOf(values: Values): number[] {
  if (values.seed !== undefined) return [Number(values.seed)];
  const [from, count, step] = values.hashes
    ? [1, hashSeeds, 1]
    : [Number(values.from), Number(values.count), Number(values.step)];
  const seeds: number[] = [];
  for (let seed = from; seed < from + count; seed += step) seeds.push(seed);
  return seeds;
}

function sayFailure({ json }: Values, seed: number, error: Error): void {
  if (json) return;
  say(`seed ${seed}: ${error.message}`);
  if (error.cause instanceof Error) say(error.cause.stack ?? error.cause.message);
}

function sayFound({ json, seed }: Values, found: Sweep): number {
  if (json) say(JSON.stringify(toShare(found)));
  else {
    say(found.coverage.toString());
    if (seed !== undefined) {
      for (const [one, hash] of found.hashes) say(`seed ${one} has the hash ${hash}`);
    }
    say(formatTotals(found));
  }
  return found.failures.size === 0 ? 0 : 1;
}

async function mutate(
  subject: Subject,
  { json, processes }: Values,
  names: readonly string[],
): Promise<number> {
  const { mutations } = subject;
  const unknown = names.filter((name) => mutations.every((one) => one.name !== name));
  if (unknown.length > 0) throw new Error(`there is no mutation ${unknown.join(", ")}`);
  const chosen = names.length === 0
    ? mutations
    : mutations.filter(({ name }) => names.includes(name));
  const tell = (caught: Caught): void => {
    if (!json) say(formatCaught([caught]));
  };
  const caught = await runMutations(subject, { processes: Number(processes), chosen, tell });
  if (json) say(JSON.stringify(caught));
  return caught.every(({ seeds }) => seeds !== undefined) ? 0 : 1;
}
