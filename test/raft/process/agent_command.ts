/**
 * What runs a node in these tests. Under Bun the compiled binary: that of `./compile.sh` when it is
 * newer than everything it is made of, else one that is compiled here in a few seconds. Under Deno
 * the sources, since Deno is a runtime of its own there.
 */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { coveyBinary } from "../../support/cluster.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url).href);
const cache = join(root, "node_modules/.cache/covey/process");
const buildMs = 120_000;

/** As `compile.sh` has them; only what is for other machines is left out. */
const buildFlags = [
  ...["--compile", "--minify-syntax", "--minify-whitespace", "--bytecode", "--format=esm"],
  ...["--splitting", "--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"],
  ...["--no-compile-autoload-tsconfig", "--no-compile-autoload-package-json"],
];

/** The words before `agent`. The variable names a binary that is to be tried instead. */
export function agentCommand(): readonly string[] {
  const given = process.env.TEST_AGENT_BINARY;
  if (given !== undefined) return [given];
  if ("Deno" in globalThis) {
    return [process.execPath, "run", "--no-check", "-A", join(root, "src/main.ts")];
  }
  return [freshBinary()];
}

/** A compiled binary of these very sources. */
export function freshBinary(): string {
  const newestMs = newestOf(join(root, "src"), join(root, "package-lock.json"));
  const kept = join(cache, "covey");
  for (const file of [coveyBinary, kept]) {
    if (existsSync(file) && statSync(file).mtimeMs > newestMs) return file;
  }
  mkdirSync(cache, { recursive: true });
  // Made elsewhere and moved: two test runs in one checkout may do this at the same time.
  const scratch = mkdtempSync(join(cache, "build-"));
  try {
    const made = join(scratch, "covey");
    const bun = join(root, "node_modules/.bin/bun");
    const { status, stderr } = spawnSync(
      bun,
      ["--no-install", "build", "src/main.ts", `--outfile=${made}`, ...buildFlags],
      { cwd: root, encoding: "utf8", timeout: buildMs },
    );
    if (status !== 0) throw new Error(`covey cannot be compiled: ${stderr}`);
    renameSync(made, kept);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return kept;
}

function newestOf(folder: string, file: string): number {
  let newestMs = statSync(file).mtimeMs;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) {
      newestMs = Math.max(newestMs, statSync(join(entry.parentPath, entry.name)).mtimeMs);
    }
  }
  return newestMs;
}
