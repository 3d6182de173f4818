/**
 * Puts known bugs back, one at a time, into scratch copies of the source, and lets the simulator
 * look for them, in several processes side by side. A bug that is not found within its seeds means
 * that an invariant is missing.
 */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProcess } from "../seeds/processes.ts";
import { checkout, scriptOf, type SubjectName } from "../seeds/subject.ts";
import type { Mutation } from "./mutation.ts";
import { applyPatch, parsePatch, type Patch } from "./patch.ts";

/** What the sweep needs; the rest of the checkout stays where it is. */
const copied = ["src", "test/simulation", "test/gen", "package.json", "tsconfig.json"];
/** A mutation may make the simulator run in circles: then it was not caught. */
const limitMs = 600_000;

/** Whose bugs they are. */
export interface Mutated {
  readonly name: SubjectName;
  readonly mutations: readonly Mutation[];
}

export interface Caught {
  readonly mutation: Mutation;
  /** Seeds that ran, the one that caught it included; undefined when none did. */
  readonly seeds: number | undefined;
  readonly invariant: string;
}

export interface MutationOptions {
  readonly processes: number;
  readonly chosen: readonly Mutation[];
  /** Gets each result as it comes. */
  readonly tell: (caught: Caught) => void;
}

/** Runs these mutations; the answer is in their order. */
export async function runMutations(
  subject: Mutated,
  { processes, chosen, tell }: MutationOptions,
): Promise<Caught[]> {
  const stale = staleMutations(subject);
  if (stale.length > 0) throw new Error(`mutations that do not apply: ${stale.join("\n")}`);
  const results = new Map<Mutation, Caught>();
  const queue = [...chosen];
  const work = async (): Promise<void> => {
    const scratch = makeScratch(subject);
    try {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        const caught = await runMutation(subject, scratch, next);
        results.set(next, caught);
        tell(caught);
      }
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  };
  await Promise.all(Array.from({ length: processes }, work));
  return chosen.map((mutation) => results.get(mutation)!);
}

function folderOf({ name }: Mutated): string {
  return join(checkout, "test/simulation/mutations", name);
}

/** The names of a subject's patches, sorted. */
export function patchNames(subject: Mutated): string[] {
  const patches = readdirSync(folderOf(subject)).filter((name) => name.endsWith(".patch"));
  return patches.map((name) => name.slice(0, -".patch".length)).sort();
}

/** Why mutations cannot be put into the source as it is; empty when all can. */
export function staleMutations(subject: Mutated): string[] {
  return subject.mutations.flatMap((mutation) => {
    try {
      const patch = patchOf(subject, mutation);
      applyPatch(patch, readFileSync(join(checkout, patch.path), "utf8"));
      return [];
    } catch (error) {
      return [`${mutation.name}: ${error instanceof Error ? error.message : String(error)}`];
    }
  });
}

function patchOf(subject: Mutated, { name }: Mutation): Patch {
  return parsePatch(readFileSync(join(folderOf(subject), `${name}.patch`), "utf8"));
}

function makeScratch({ name }: Mutated): string {
  const scratch = mkdtempSync(join(tmpdir(), "covey-mutations-"));
  for (const path of copied) {
    cpSync(join(checkout, path), join(scratch, path), { recursive: true });
  }
  mkdirSync(join(scratch, "scripts"));
  cpSync(join(checkout, scriptOf(name)), join(scratch, scriptOf(name)));
  symlinkSync(join(checkout, "node_modules"), join(scratch, "node_modules"));
  return scratch;
}

async function runMutation(
  subject: Mutated,
  scratch: string,
  mutation: Mutation,
): Promise<Caught> {
  const patch = patchOf(subject, mutation);
  const path = join(scratch, patch.path);
  const original = readFileSync(path, "utf8");
  writeFileSync(path, applyPatch(patch, original));
  try {
    return await judge(subject, scratch, mutation);
  } finally {
    writeFileSync(path, original);
  }
}

async function judge({ name }: Mutated, folder: string, mutation: Mutation): Promise<Caught> {
  const { from = 1, seedsMax } = mutation;
  const args = ["--from", `${from}`, "--count", `${seedsMax}`];
  const { output, errors, code } = await runProcess(name, args, { folder, limitMs });
  const found = /^seed (\d+): ([^\n]*)/m.exec(output);
  if (found !== null) {
    const invariant = found[2].split(": ")[0];
    return { mutation, seeds: Number(found[1]) - from + 1, invariant };
  }
  const last = errors.trim().split("\n").at(-1) ?? "";
  const invariant = code === 0 ? "" : `the run ended with ${code}: ${last}`;
  return { mutation, seeds: undefined, invariant };
}

/** One line per mutation: the bug, the seeds until it was caught, what caught it. */
export function formatCaught(caught: readonly Caught[]): string {
  return caught.map(({ mutation, seeds, invariant }) => {
    const { bug, seedsMax, from = 1 } = mutation;
    const count = seeds === undefined ? "–" : String(seeds);
    const where = from === 1 ? "" : ` (from seed ${from})`;
    const end = seeds === undefined ? `NOT CAUGHT ${invariant}` : invariant;
    return `${count.padStart(4)} of ${String(seedsMax).padEnd(3)} ${bug.padEnd(64)} ${end}${where}`;
  }).join("\n");
}
