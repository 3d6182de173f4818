/** Runs one command of the test command: output kept, time taken, never longer than its limit. */
import { spawn } from "node:child_process";

/** How a step ended. */
export interface StepEnd {
  /** Null when it could not start or a signal ended it. */
  readonly code: number | null;
  /** Why it did not end by itself: the limit, or the system's reason for not starting it. */
  readonly trouble?: string;
  /** Standard output and error as they came. */
  readonly output: string;
  readonly milliseconds: number;
}

export interface StepOptions {
  readonly environment?: Readonly<Record<string, string>>;
  readonly limitMinutes: number;
}

/** More than this is cut from the middle: the beginning and the end tell most. */
const outputCharactersMax = 2_000_000;

const running = new Set<number>();

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // The whole group is gone already, which is what was wanted.
  }
}

/** Ends what still runs when the test command itself is told to end. */
export function endWithSteps(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      for (const pid of running) killGroup(pid, "SIGKILL");
      process.exit(1);
    });
  }
}

/**
 * The child leads a process group of its own, so that what it leaves behind, a server that a test
 * forgot, ends with it and can hold neither the pipes nor a port.
 */
export function runStep(
  command: string,
  args: readonly string[],
  options: StepOptions,
): Promise<StepEnd> {
  return new Promise((resolve) => {
    const started = performance.now();
    const child = spawn(command, args, {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...options.environment },
    });
    const chunks: string[] = [];
    let characters = 0;
    let trouble: string | undefined;
    const collect = (chunk: string): void => {
      chunks.push(chunk);
      characters += chunk.length;
    };
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", collect);
    }
    const pid = child.pid;
    if (pid !== undefined) running.add(pid);
    const limit = setTimeout(() => {
      trouble = `it did not end within ${options.limitMinutes} minutes and was killed`;
      if (pid !== undefined) killGroup(pid, "SIGKILL");
    }, options.limitMinutes * 60_000);
    child.on("error", (error) => {
      trouble = error.message;
      if (pid === undefined) end(null);
    });
    child.on("exit", () => {
      if (pid !== undefined) killGroup(pid, "SIGKILL");
    });
    child.on("close", end);

    function end(code: number | null): void {
      clearTimeout(limit);
      if (pid !== undefined) running.delete(pid);
      let output = chunks.join("");
      if (characters > outputCharactersMax) {
        const half = outputCharactersMax / 2;
        output = `${output.slice(0, half)}\n… ${characters - 2 * half} characters left out …\n${
          output.slice(-half)
        }`;
      }
      resolve({
        code,
        output,
        milliseconds: performance.now() - started,
        ...(trouble === undefined ? {} : { trouble }),
      });
    }
  });
}

/** "3.2 s", or "1 min 04 s" from a minute on. */
export function formatDuration(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
}
