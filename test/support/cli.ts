/** Runs the real command line as a child process, under whatever runtime executes the test. */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

export interface CliOptions {
  /** Added to this process's environment, from which `COVEY_` variables are taken out. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Working directory. */
  readonly directory?: string;
  /** What the child reads from standard input; nothing by default. */
  readonly input?: string;
  /** The child is killed after this time; a test must never hang. Default 20 s. */
  readonly timeoutMs?: number;
}

export interface CliRun {
  /** Null when a signal ended it, as the timeout does. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where the command line begins, and what the engine of this test takes before it. */
export const mainFile: string = fileURLToPath(import.meta.resolve("../../src/main.ts"));
export const engineArguments: readonly string[] = "Deno" in globalThis
  ? ["run", "--no-check", "-A"]
  : [];

/** Starts `covey` with these arguments; the caller ends it. */
export function spawnCli(args: readonly string[], options: CliOptions = {}): ChildProcess {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("COVEY_"));
  return spawn(
    process.execPath,
    [...engineArguments, mainFile, ...args],
    {
      env: { ...Object.fromEntries(inherited), NO_COLOR: "1", ...options.environment },
      ...(options.directory === undefined ? {} : { cwd: options.directory }),
      stdio: ["pipe", "pipe", "pipe"],
    },
  );
}

/** Runs `covey` to its end. */
export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliRun> {
  return new Promise((resolve, reject) => {
    const child = spawnCli(args, options);
    const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 20_000);
    let stdout = "";
    let stderr = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => stdout += text);
    child.stderr?.setEncoding("utf8").on("data", (text: string) => stderr += text);
    child.stdin?.on("error", () => {
      // A child that does not read its input may be gone before the write.
    });
    child.stdin?.end(options.input ?? "");
    child.once("error", reject);
    child.once("close", (code: number | null) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr });
    });
  });
}
