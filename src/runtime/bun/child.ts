/// <reference types="npm:bun-types@1.4.5" />
/** Child processes by `Bun.spawn`. */
import { type Child, type ChildExit, NetError, type SpawnOptions } from "../port.ts";
import { diskError, netError } from "./error.ts";

type Native = Bun.Subprocess<"pipe" | "ignore", "pipe" | "ignore", "pipe" | "ignore">;

/** Starts a program; rejects with a DiskError when its file cannot be run. */
// deno-lint-ignore require-await -- what Bun throws at once must reach the caller as a rejection
export async function spawn(options: SpawnOptions): Promise<Child> {
  try {
    const native = Bun.spawn([options.command, ...options.args], {
      cwd: options.directory,
      env: options.environment as Record<string, string> | undefined,
      stdin: options.stdin ? "pipe" : "ignore",
      stdout: options.stdout === undefined ? "ignore" : "pipe",
      stderr: options.stderr === undefined ? "ignore" : "pipe",
    });
    return new BunChild(native, options);
  } catch (error) {
    throw diskError(error, options.command, "spawn");
  }
}

class BunChild implements Child {
  readonly pid: number;
  readonly exit: Promise<ChildExit>;
  readonly #native: Native;

  constructor(native: Native, options: SpawnOptions) {
    this.pid = native.pid;
    this.#native = native;
    this.exit = this.#finish(
      hand(native.stdout, options.stdout),
      hand(native.stderr, options.stderr),
    );
  }

  async #finish(stdout: Promise<void>, stderr: Promise<void>): Promise<ChildExit> {
    await Promise.all([this.#native.exited, stdout, stderr]);
    const signal = this.#native.signalCode;
    if (signal === null) return { code: this.#native.exitCode, signal };
    return { code: null, signal: String(signal) };
  }

  async write(bytes: Uint8Array): Promise<void> {
    const sink = this.#native.stdin;
    if (sink === undefined || typeof sink === "number") {
      throw new NetError("invalid", `child ${this.pid} was started without standard input`);
    }
    // Bun's pipe swallows what comes after the end (tried).
    if (this.#native.exitCode !== null || this.#native.signalCode !== null) {
      throw new NetError("reset", `standard input of child ${this.pid}: it has ended`);
    }
    try {
      sink.write(bytes as Uint8Array<ArrayBuffer>);
      await sink.flush();
    } catch (error) {
      throw netError(error, `standard input of child ${this.pid}`);
    }
  }

  closeStdin(): void {
    const sink = this.#native.stdin;
    if (sink !== undefined && typeof sink !== "number") sink.end();
  }

  kill(signal: "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    this.#native.kill(signal);
  }
}

/** Hands over what comes out of a pipe until its end. */
async function hand(
  stream: ReadableStream<Uint8Array> | undefined | number,
  callback: ((chunk: Uint8Array) => void) | undefined,
): Promise<void> {
  if (callback === undefined || stream === undefined || typeof stream === "number") return;
  for await (const chunk of stream) callback(chunk);
}
