/** Child processes by `Deno.Command`. */
import { type Child, type ChildExit, NetError, type SpawnOptions } from "../port.ts";
import { diskError, netError } from "./error.ts";

/** Starts a program; rejects with a DiskError when its file cannot be run. */
// deno-lint-ignore require-await -- what Deno throws at once must reach the caller as a rejection
export async function spawn(options: SpawnOptions): Promise<Child> {
  try {
    const command = new Deno.Command(options.command, {
      args: [...options.args],
      cwd: options.directory,
      clearEnv: options.environment !== undefined,
      env: options.environment,
      stdin: options.stdin ? "piped" : "null",
      stdout: options.stdout === undefined ? "null" : "piped",
      stderr: options.stderr === undefined ? "null" : "piped",
    });
    return new DenoChild(command.spawn(), options);
  } catch (error) {
    throw diskError(error, options.command, "spawn", ["run"]);
  }
}

class DenoChild implements Child {
  readonly pid: number;
  readonly exit: Promise<ChildExit>;
  readonly #native: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #over = false;

  constructor(native: Deno.ChildProcess, options: SpawnOptions) {
    this.pid = native.pid;
    this.#native = native;
    this.#stdin = options.stdin ? native.stdin.getWriter() : undefined;
    // A child that ends before it reads its input closes the pipe; a later `write` tells.
    this.#stdin?.closed.catch(() => {});
    this.exit = this.#finish(
      options.stdout === undefined ? undefined : hand(native.stdout, options.stdout),
      options.stderr === undefined ? undefined : hand(native.stderr, options.stderr),
    );
  }

  async #finish(...outputs: (Promise<void> | undefined)[]): Promise<ChildExit> {
    const status = await this.#native.status;
    this.#over = true;
    // Deno leaves our end of the pipe open. What is still to be written has nobody to read it.
    this.#stdin?.abort().catch(() => {});
    await Promise.all(outputs);
    // Deno gives 128 + the signal as the code.
    if (status.signal !== null) return { code: null, signal: status.signal };
    return { code: status.code, signal: null };
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#stdin === undefined) {
      throw new NetError("invalid", `child ${this.pid} was started without standard input`);
    }
    if (this.#over) throw this.#gone();
    try {
      await this.#stdin.write(bytes);
    } catch (error) {
      // While it waited the child ended.
      if (this.#over) throw this.#gone(error);
      throw netError(error, `standard input of child ${this.pid}`);
    }
  }

  #gone(cause?: unknown): NetError {
    return new NetError("reset", `standard input of child ${this.pid}: it has ended`, cause);
  }

  closeStdin(): void {
    // Closing twice, or after the child ended, changes nothing.
    this.#stdin?.close().catch(() => {});
  }

  kill(signal: "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    if (this.#over) return;
    try {
      this.#native.kill(signal);
    } catch (error) {
      // It ended, and its status is on the way to us.
      if (!(error instanceof TypeError)) throw error;
    }
  }
}

/** Hands over what comes out of a pipe until its end. */
async function hand(
  stream: ReadableStream<Uint8Array>,
  callback: (chunk: Uint8Array) => void,
): Promise<void> {
  for await (const chunk of stream) callback(chunk);
}
