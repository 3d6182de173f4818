/** `covey demo --json` as a process, and the lines that it prints. */
import type { ChildProcess } from "node:child_process";
import process from "node:process";
import { spawnCli } from "../support/cli.ts";

/** One line. */
export type DemoEvent = Readonly<Record<string, unknown>> & { readonly event: string };

export interface DemoNodeLine {
  readonly name: string;
  readonly nodeId: string;
  readonly pid: number;
  readonly listeners: Readonly<Record<string, string>>;
}

export interface ReadyDemo {
  readonly leader: string;
  readonly term: number;
  readonly folder: string;
  readonly nodes: readonly DemoNodeLine[];
}

export interface Demo {
  readonly child: ChildProcess;
  readonly ready: ReadyDemo;
  /** The next line that fits, past those that were seen; rejects when the demo ends before. */
  next(fits: (event: DemoEvent) => boolean): Promise<DemoEvent>;
  /** Sends a signal to the demo itself. */
  signal(name: NodeJS.Signals): void;
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>;
}

/** Longer than any of it takes; a test must never hang. */
const limitMs = 60_000;

/** Runs a test with a demo that is gone afterwards, whatever happened. */
export async function withDemo(
  args: readonly string[],
  body: (demo: Demo) => Promise<void>,
): Promise<void> {
  const child = spawnCli(["demo", "--json", ...args]);
  const limit = setTimeout(() => child.kill("SIGKILL"), limitMs);
  try {
    await body(await follow(child));
  } finally {
    clearTimeout(limit);
    // Its nodes end with it.
    child.kill("SIGKILL");
  }
}

async function follow(child: ChildProcess): Promise<Demo> {
  const events: DemoEvent[] = [];
  let rest = "";
  let stderr = "";
  let seen = 0;
  let wake: () => void = () => {};
  child.stderr?.setEncoding("utf8").on("data", (text: string) => stderr += text);
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) events.push(JSON.parse(line));
    wake();
  });
  let isOver = false;
  const ended = new Promise<{ code: number | null; stderr: string }>((resolve) => {
    child.once("exit", (code) => {
      isOver = true;
      wake();
      resolve({ code, stderr });
    });
  });
  const next = async (fits: (event: DemoEvent) => boolean): Promise<DemoEvent> => {
    for (;;) {
      while (seen < events.length) {
        const event = events[seen++];
        if (fits(event)) return event;
      }
      if (isOver) throw new Error(`the demo ended: ${JSON.stringify(events)} ${stderr}`);
      await new Promise<void>((resolve) => wake = resolve);
    }
  };
  const ready = await next(({ event }) => event === "ready") as unknown as ReadyDemo;
  return {
    child,
    ready,
    next,
    signal: (name) => void process.kill(child.pid!, name),
    ended,
  };
}

/** Whether there is a process of this number. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    // ESRCH: there is none.
    return false;
  }
}

/** Resolves when none of the processes is there any more. */
export function gone(pids: readonly number[]): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (pids.some(isAlive)) return;
      clearInterval(timer);
      resolve();
    }, 20);
  });
}
