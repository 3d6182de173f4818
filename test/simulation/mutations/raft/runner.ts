/**
 * Puts known bugs of consensus and of the store back, one at a time, into scratch copies of the
 * source, and lets the simulator look for them, in several processes side by side.
 */
import { spawn } from "node:child_process";
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
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { applyPatch, parsePatch, type Patch } from "../patch.ts";
import type { Caught } from "../runner.ts";
import type { Mutation } from "../table.ts";
import { raftMutations } from "./table.ts";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../../../..");
/** What the sweep needs; the rest of the checkout stays where it is. */
const copied = ["src", "test/simulation", "test/gen", "package.json", "tsconfig.json"];
const script = "scripts/simulate_raft.ts";
/** A mutation may make the simulator run in circles: then it is found, too. */
const limitMs = 600_000;

/** The names of the patches beside this file, sorted. */
export function patchNames(): string[] {
  const patches = readdirSync(here).filter((name) => name.endsWith(".patch"));
  return patches.map((name) => name.slice(0, -".patch".length)).sort();
}

/** Why mutations cannot be put into the source as it is; empty when all can. */
export function staleMutations(chosen: readonly Mutation[] = raftMutations): string[] {
  return chosen.flatMap((mutation) => {
    try {
      const patch = patchOf(mutation);
      applyPatch(patch, readFileSync(join(root, patch.path), "utf8"));
      return [];
    } catch (error) {
      return [`${mutation.name}: ${error instanceof Error ? error.message : String(error)}`];
    }
  });
}

function patchOf({ name }: Mutation): Patch {
  return parsePatch(readFileSync(join(here, `${name}.patch`), "utf8"));
}

/** Runs these mutations; `tell` gets each result as it comes. The answer is in the table's order. */
export async function runRaftMutations(
  processes: number,
  chosen: readonly Mutation[] = raftMutations,
  tell: (caught: Caught) => void = () => {},
): Promise<Caught[]> {
  const stale = staleMutations(chosen);
  if (stale.length > 0) throw new Error(`mutations that do not apply: ${stale.join("\n")}`);
  const results = new Map<Mutation, Caught>();
  const queue = [...chosen];
  const work = async (): Promise<void> => {
    const scratch = makeScratch();
    try {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        const caught = await runMutation(scratch, next);
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

function makeScratch(): string {
  const scratch = mkdtempSync(join(tmpdir(), "covey-mutations-"));
  for (const path of copied) cpSync(join(root, path), join(scratch, path), { recursive: true });
  mkdirSync(join(scratch, "scripts"));
  cpSync(join(root, script), join(scratch, script));
  symlinkSync(join(root, "node_modules"), join(scratch, "node_modules"));
  return scratch;
}

async function runMutation(scratch: string, mutation: Mutation): Promise<Caught> {
  const patch = patchOf(mutation);
  const path = join(scratch, patch.path);
  const original = readFileSync(path, "utf8");
  writeFileSync(path, applyPatch(patch, original));
  try {
    return await judge(scratch, mutation);
  } finally {
    writeFileSync(path, original);
  }
}

function judge(scratch: string, mutation: Mutation): Promise<Caught> {
  const { from = 1, seedsMax } = mutation;
  const child = spawn(
    join(root, "node_modules/.bin/bun"),
    ["--no-install", script, "--from", `${from}`, "--count", `${seedsMax}`],
    { cwd: scratch, stdio: ["ignore", "pipe", "pipe"], timeout: limitMs },
  );
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk: Uint8Array) => output += String(chunk));
  child.stderr.on("data", (chunk: Uint8Array) => errors += String(chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      const found = /^seed (\d+): ([^\n]*)/m.exec(output);
      if (found !== null) {
        const invariant = found[2].split(": ")[0];
        return resolve({ mutation, seeds: Number(found[1]) - from + 1, invariant });
      }
      const last = errors.trim().split("\n").at(-1) ?? "";
      const invariant = code === 0 ? "" : `the run ended with ${code}: ${last}`;
      resolve({ mutation, seeds: undefined, invariant });
    });
  });
}
