/** Processes of Bun that run a subject's script, and what they print last. */
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { armBan, liftBan } from "../ban.ts";
import { checkout, scriptOf, type SubjectName } from "./subject.ts";

const bun = join(checkout, "node_modules/.bin/bun");
const outputBytesMax = 1 << 26;

export interface Ended {
  readonly output: string;
  readonly errors: string;
  /** Null when a signal ended it. */
  readonly code: number | null;
}

/** Waits for a script's end; `folder` is a checkout, this one or a copy. */
export function runProcess(
  name: SubjectName,
  args: readonly string[],
  { folder = checkout, limitMs }: { readonly folder?: string; readonly limitMs?: number } = {},
): Promise<Ended> {
  const child = spawn(bun, ["--no-install", scriptOf(name), ...args], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: limitMs,
  });
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk: Uint8Array) => output += String(chunk));
  child.stderr.on("data", (chunk: Uint8Array) => errors += String(chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ output, errors, code }));
  });
}

/**
 * What a script prints with `--json`, from a process that banned everything real: it waits for the
 * script, because the processes that the script starts itself need timers.
 */
export function runScript(name: SubjectName, args: readonly string[]): unknown {
  liftBan();
  const { stdout, stderr, status, error } = spawnSync(
    bun,
    ["--no-install", scriptOf(name), "--json", ...args],
    { cwd: checkout, encoding: "utf8", maxBuffer: outputBytesMax },
  );
  armBan();
  return lastObject({ output: stdout ?? "", errors: stderr ?? "", code: status }, error);
}

/** Throws with all that was printed when that does not end with an object. */
export function lastObject({ output, errors, code }: Ended, cause?: unknown): unknown {
  const last = output.trim().split("\n").at(-1) ?? "";
  if (/^[{[]/.test(last)) return JSON.parse(last);
  throw new Error(`a simulation ended with ${code}: ${errors}${output}`, { cause });
}
