/**
 * Puts known bugs back, one at a time, into a scratch copy of the source, and lets the simulator
 * look for them. A bug that is not found within its seeds means that an invariant is missing.
 */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { applyPatch, parsePatch } from "./patch.ts";
import { type Mutation, mutations } from "./table.ts";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../../..");
/** What the sweep needs; the rest of the checkout stays where it is. */
const copied = ["src", "test/simulation", "test/gen", "package.json", "tsconfig.json"];
/** A mutation may make the simulator run in circles. */
const limitMs = 120_000;

export interface Caught {
  readonly mutation: Mutation;
  /** Seeds that ran, the one that caught it included; undefined when none did. */
  readonly seeds: number | undefined;
  readonly invariant: string;
}

/** Runs these mutations; `tell` gets each result as it comes. */
export function runMutations(
  chosen: readonly Mutation[] = mutations,
  tell: (caught: Caught) => void = () => {},
): Caught[] {
  const scratch = mkdtempSync(join(tmpdir(), "covey-mutations-"));
  try {
    for (const path of copied) cpSync(join(root, path), join(scratch, path), { recursive: true });
    mkdirSync(join(scratch, "scripts"));
    cpSync(join(root, "scripts/simulate_rpc.ts"), join(scratch, "scripts/simulate_rpc.ts"));
    symlinkSync(join(root, "node_modules"), join(scratch, "node_modules"));
    return chosen.map((mutation) => {
      const caught = runMutation(scratch, mutation);
      tell(caught);
      return caught;
    });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function runMutation(scratch: string, mutation: Mutation): Caught {
  const patch = parsePatch(readFileSync(join(here, `${mutation.name}.patch`), "utf8"));
  const path = join(scratch, patch.path);
  const original = readFileSync(path, "utf8");
  try {
    writeFileSync(path, applyPatch(patch, original));
  } catch (error) {
    throw new Error(`the mutation ${mutation.name} does not apply`, { cause: error });
  }
  const run = spawnSync(
    join(root, "node_modules/.bin/bun"),
    ["--no-install", "scripts/simulate_rpc.ts", "--seeds", `1..${mutation.seedsMax}`],
    { cwd: scratch, encoding: "utf8", timeout: limitMs },
  );
  writeFileSync(path, original);
  const found = /^seed (\d+): ([^\n]*)/m.exec(run.stdout ?? "");
  if (found !== null) {
    const invariant = found[2].split(": ")[0];
    return { mutation, seeds: Number(found[1]), invariant };
  }
  if (run.status === 0) return { mutation, seeds: undefined, invariant: "" };
  const last = `${run.stderr ?? ""}`.trim().split("\n").at(-1) ?? "";
  return { mutation, seeds: undefined, invariant: `the run ended with ${run.status}: ${last}` };
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
