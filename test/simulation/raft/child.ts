/**
 * Runs scripts/simulate_raft.ts in a process of its own and waits for it: the processes that it
 * starts itself need timers, and in the test's process those are banned.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { armBan, liftBan } from "../ban.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url).href);
const outputBytesMax = 1 << 26;

/** The object that it prints last; throws with all that it printed when there is none. */
export function runScript(args: readonly string[]): unknown {
  liftBan();
  const { stdout, stderr, status, error } = spawnSync(
    "node_modules/.bin/bun",
    ["--no-install", "scripts/simulate_raft.ts", "--json", ...args],
    { cwd: root, encoding: "utf8", maxBuffer: outputBytesMax },
  );
  armBan();
  const last = stdout?.trim().split("\n").at(-1) ?? "";
  if (/^[{[]/.test(last)) return JSON.parse(last);
  throw new Error(`simulate_raft.ts ${args.join(" ")} ended with ${status}: ${stderr}${stdout}`, {
    cause: error,
  });
}
