/** Agents as child processes, and what they say once they serve. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type CliOptions, spawnCli } from "../support/cli.ts";

/** The line that `agent --json` prints. */
export interface Ready {
  readonly event: "ready";
  readonly name: string;
  readonly nodeId: string;
  readonly pid: number;
  readonly listeners: Readonly<Record<string, string>>;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
}

export interface Agent {
  readonly ready: Ready;
  /** Sends a signal. Not by `child.kill`: Deno then says the signal ended it, whatever it did. */
  signal(name: NodeJS.Signals): void;
  /** Ends its standard input, as the kernel does when whoever started it is gone. */
  closeInput(): void;
  /** The log so far, each line parsed: it must be JSON. */
  log(): Record<string, unknown>[];
  /** Resolves when the process is gone and its pipes are read. */
  readonly ended: Promise<Ended>;
  /** Resolves when a log line with this message came. */
  logged(message: string): Promise<void>;
}

/** Ports that the system chooses, so that tests never meet. */
export const anyPorts = [
  ...["--listen", "tcp://127.0.0.1:0"],
  ...["--admin-listen", "tcp://127.0.0.1:0"],
];

/** Longer than any agent takes; a test must never hang. */
const limitMs = 30_000;

/** Runs a test with an agent that is gone afterwards, whatever happened. */
export async function withAgent<T>(
  args: readonly string[],
  body: (agent: Agent) => Promise<T>,
  options: CliOptions = {},
): Promise<T> {
  const child = spawnCli(["agent", "--json", ...args], options);
  const limit = setTimeout(() => child.kill("SIGKILL"), limitMs);
  try {
    return await body(await follow(child));
  } finally {
    clearTimeout(limit);
    child.kill("SIGKILL");
  }
}

async function follow(child: ChildProcess): Promise<Agent> {
  let stdout = "";
  let stderr = "";
  const watchers = new Set<() => void>();
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    for (const watcher of watchers) watcher();
  });
  const ended = new Promise<Ended>((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  const ready = await new Promise<Ready>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => reject(new Error(`the agent ended with ${code}: ${stderr}`)));
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      if (stdout.includes("\n")) resolve(JSON.parse(stdout.slice(0, stdout.indexOf("\n"))));
    });
  });
  assert.equal(ready.event, "ready");
  return {
    ready,
    ended,
    signal: (name) => void process.kill(ready.pid, name),
    closeInput: () => void child.stdin?.end(),
    log: () => stderr.trimEnd().split("\n").map((line) => JSON.parse(line)),
    logged: (message) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (!stderr.includes(`"message":${JSON.stringify(message)}`)) return;
          watchers.delete(look);
          resolve();
        };
        watchers.add(look);
        look();
        void ended.then(() => reject(new Error(`the agent never logged ${message}: ${stderr}`)));
      }),
  };
}

/** Runs a test in a folder of its own that is gone afterwards. */
export async function inFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "covey-agent-"));
  try {
    return await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
