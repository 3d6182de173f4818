/**
 * One child process that serves: started, killed, stopped, paused, watched through /proc. Runs
 * under Bun and Deno; what reads /proc gives zeros on other systems.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import process from "node:process";

export interface ServerProcessOptions {
  /** The program and its arguments. */
  readonly command: readonly string[];
  /** Replaces this process's environment. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly directory?: string;
}

export interface ServerExit {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly signal: string | null;
}

/** What the kernel knows of a process; the counters begin with it. */
export interface ProcessUsage {
  readonly rssKB: number;
  readonly anonymousKB: number;
  readonly peakRssKB: number;
  /** User and system time. */
  readonly cpuMs: number;
  /** Bytes that it caused to be written to a disk, counted when the pages become dirty. */
  readonly writtenBytes: number;
}

/** Characters of output kept for messages: the last ones. */
const outputKept = 16_384;

export class ServerProcess {
  readonly pid: number;
  /** Resolves when it has ended and its output was read. */
  readonly exit: Promise<ServerExit>;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #waiting: Set<(line: string | undefined) => void> = new Set();
  #ended: ServerExit | undefined = undefined;
  #output = "";

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.pid = child.pid!;
    let rest = "";
    child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.#keep(text);
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.#heard(line);
    });
    child.stderr!.setEncoding("utf8").on("data", (text: string) => this.#keep(text));
    this.exit = new Promise((resolve) => {
      child.once("close", (code: number | null, signal: string | null) => {
        this.#ended = { code, signal };
        for (const tell of this.#waiting) tell(undefined);
        resolve(this.#ended);
      });
    });
  }

  /** Rejects when the program cannot be run. */
  static start(options: ServerProcessOptions): Promise<ServerProcess> {
    const [program, ...args] = options.command;
    return new Promise((resolve, reject) => {
      const child = spawn(program, args, {
        cwd: options.directory,
        env: options.environment ?? process.env,
        stdio: ["ignore", "pipe", "pipe"],
      });
      child.once("error", reject);
      child.once("spawn", () => resolve(new ServerProcess(child)));
    });
  }

  get isRunning(): boolean {
    return this.#ended === undefined;
  }

  /** The last part of what it printed, both streams. */
  get output(): string {
    return this.#output;
  }

  /** The first line of standard output that fits; rejects when it ends or takes too long. */
  line(fits: (line: string) => boolean, limitMs: number): Promise<string> {
    const found = this.#lines.find(fits);
    if (found !== undefined) return Promise.resolve(found);
    return new Promise((resolve, reject) => {
      const settle = (line: string | undefined, why: string): void => {
        clearTimeout(limit);
        this.#waiting.delete(tell);
        if (line !== undefined) resolve(line);
        else reject(new Error(`process ${this.pid} ${why}: ${this.#output.trimEnd()}`));
      };
      const tell = (line: string | undefined): void => {
        if (line === undefined) settle(undefined, "ended");
        else if (fits(line)) settle(line, "");
      };
      const limit = setTimeout(() => settle(undefined, `was silent for ${limitMs} ms`), limitMs);
      this.#waiting.add(tell);
      if (this.#ended !== undefined) tell(undefined);
    });
  }

  /** Sends the signal; nothing when it has ended already. */
  signal(name: "SIGTERM" | "SIGINT" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    // Not by `child.kill`: Deno's sends one signal in all.
    if (this.#ended === undefined && this.#child.exitCode === null) {
      try {
        process.kill(this.pid, name);
      } catch (error) {
        // It ended meanwhile.
        if ((error as { code?: string }).code !== "ESRCH") throw error;
      }
    }
  }

  /** Ends it at once, as a crash does. */
  async kill(): Promise<ServerExit> {
    this.signal("SIGKILL");
    return await this.exit;
  }

  /** Asks it to end; ends it after `limitMs`. */
  async stop(limitMs = 15_000): Promise<ServerExit> {
    // A paused process does not hear the request.
    this.signal("SIGCONT");
    this.signal("SIGTERM");
    const limit = setTimeout(() => this.signal("SIGKILL"), limitMs);
    try {
      return await this.exit;
    } finally {
      clearTimeout(limit);
    }
  }

  pause(): void {
    this.signal("SIGSTOP");
  }

  resume(): void {
    this.signal("SIGCONT");
  }

  usage(): ProcessUsage {
    return processUsage(this.pid);
  }

  #keep(text: string): void {
    this.#output = (this.#output + text).slice(-outputKept);
  }

  #heard(line: string): void {
    if (this.#lines.length < 64) this.#lines.push(line);
    for (const tell of this.#waiting) tell(line);
  }
}

/** Zeros for a process that is gone. */
export function processUsage(pid: number): ProcessUsage {
  const status = readProc(pid, "status");
  const field = (text: string, name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);
  const stat = readProc(pid, "stat");
  // The second field is the program's name, which may hold spaces and parentheses.
  const times = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    rssKB: field(status, "VmRSS"),
    anonymousKB: field(status, "RssAnon"),
    peakRssKB: field(status, "VmHWM"),
    cpuMs: stat === "" ? 0 : (Number(times[11]) + Number(times[12])) * 10,
    writtenBytes: field(readProc(pid, "io"), "write_bytes"),
  };
}

/**
 * Which of these processes has the local end `127.0.0.1:port` of a TCP connection over IPv4;
 * undefined when none. A proxy on the same machine learns from it whose connection it serves.
 */
export function ownerOfPort(port: number, pids: readonly number[]): number | undefined {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  let inode: string | undefined;
  for (const line of readProc("self", "net/tcp").split("\n")) {
    const fields = line.trim().split(/\s+/);
    // While somebody listens on the same port number there are lines with inode 0 of old peers.
    if (fields[1] === local && fields[9] !== "0") inode = fields[9];
  }
  if (inode === undefined) return undefined;
  const wanted = `socket:[${inode}]`;
  return pids.find((pid) => {
    let names: string[];
    try {
      names = readdirSync(`/proc/${pid}/fd`);
    } catch {
      // It ended meanwhile.
      return false;
    }
    return names.some((name) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${name}`) === wanted;
      } catch {
        // That descriptor was closed meanwhile.
        return false;
      }
    });
  });
}

function readProc(pid: number | "self", file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    // The process is gone, or this is no Linux.
    return "";
  }
}
