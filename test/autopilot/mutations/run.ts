/**
 * Puts known bugs into copies of the core, one at a time, and plays seeds until a promise breaks.
 * A bug that no seed finds means that the model's judge is blind for it.
 */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { applyPatch, parsePatch } from "../../simulation/mutations/patch.ts";
import type { Mutation } from "../../simulation/mutations/mutation.ts";

const folder = fileURLToPath(new URL(".", import.meta.url).href);
const checkout = join(folder, "../../..");
/** What a game of the model consists of. */
const copied = ["src/autopilot/core", "src/base", "test/autopilot/core"];

export interface Caught {
  readonly mutation: Mutation;
  /** Seeds that were played, the one that caught it included; undefined when none did. */
  readonly seeds: number | undefined;
  readonly invariant: string;
}

/** Sorted. */
export function patchNames(): string[] {
  const patches = readdirSync(folder).filter((name) => name.endsWith(".patch"));
  return patches.map((name) => name.slice(0, -".patch".length)).sort();
}

/** Throws when the patch does not apply any more. */
export async function runMutation(mutation: Mutation): Promise<Caught> {
  const { name, seedsMax, from = 1 } = mutation;
  const patch = parsePatch(readFileSync(join(folder, `${name}.patch`), "utf8"));
  const scratch = mkdtempSync(join(tmpdir(), "covey-autopilot-"));
  try {
    for (const path of copied) {
      mkdirSync(join(scratch, path), { recursive: true });
      cpSync(join(checkout, path), join(scratch, path), { recursive: true });
    }
    const target = join(scratch, patch.path);
    writeFileSync(target, applyPatch(patch, readFileSync(target, "utf8")));
    const game = pathToFileURL(join(scratch, "test/autopilot/core/play.ts")).href;
    const { play } = await import(game) as typeof import("../core/play.ts");
    for (let seed = from; seed < from + seedsMax; seed++) {
      try {
        play(seed);
      } catch (error) {
        const invariant = (error instanceof Error ? error.message : String(error)).split(":")[0];
        return { mutation, seeds: seed - from + 1, invariant };
      }
    }
    return { mutation, seeds: undefined, invariant: "" };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
