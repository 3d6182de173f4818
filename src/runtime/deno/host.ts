/** The process and the machine around it. Everything that takes a permission is read when asked. */
import { type Host, NetError, type SignalName, type Subscription } from "../port.ts";
import { spawn } from "./child.ts";
import { descriptorsMaxUnknown, readDescriptorsMax } from "./descriptors.ts";
import { isMissingPermission, netDenied, netError } from "./error.ts";

const stdinBytes = 16_384;

/** This process. */
export function createHost(): Host {
  return new DenoHost();
}

class DenoHost implements Host {
  readonly args: readonly string[] = Deno.args;
  readonly pid: number = Deno.pid;
  readonly architecture: string = Deno.build.arch === "aarch64" ? "arm64" : "x64";
  #descriptorsMax: number | undefined = undefined;
  /** Output goes out in the order of the calls, each whole. */
  #written: Promise<void> = Promise.resolve();

  get hostname(): string {
    return permitted("hostname", "--allow-sys=hostname", () => Deno.hostname());
  }

  get executable(): string {
    return permitted("path of the executable", "--allow-read", () => Deno.execPath());
  }

  get directory(): string {
    return permitted("working directory", "--allow-read", () => Deno.cwd());
  }

  get descriptorsMax(): number {
    return this.#descriptorsMax ??= readDescriptorsMax() ?? descriptorsMaxUnknown;
  }

  environment(name: string): string | undefined {
    return permitted(`environment ${name}`, `--allow-env=${name}`, () => Deno.env.get(name));
  }

  environmentNames(prefix: string): string[] {
    const names = permitted("environment", "--allow-env", () => Object.keys(Deno.env.toObject()));
    return names.filter((name) => name.startsWith(prefix));
  }

  onSignal(name: SignalName, callback: () => void): Subscription {
    // One of our own, so that the same callback can be subscribed twice.
    const listener = (): void => callback();
    Deno.addSignalListener(name, listener);
    return { cancel: () => Deno.removeSignalListener(name, listener) };
  }

  collectGarbage() {
    // V8 keeps its heap near to what lives by itself, and offers no collection beside the thread.
  }

  memory() {
    const usage = Deno.memoryUsage();
    return {
      rssBytes: usage.rss,
      heapUsedBytes: usage.heapUsed,
      heapTotalBytes: usage.heapTotal,
    };
  }

  isTerminal(stream: "stdin" | "stdout" | "stderr"): boolean {
    return Deno[stream].isTerminal();
  }

  stdout(text: string | Uint8Array): Promise<void> {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    const written = this.#written.then(() => writeStdout(bytes));
    this.#written = written.catch(() => {});
    return written;
  }

  stderr(text: string): void {
    const bytes = new TextEncoder().encode(text);
    try {
      for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
    } catch {
      // There is nowhere left to say so.
    }
  }

  async *stdin(): AsyncIterable<Uint8Array> {
    const buffer = new Uint8Array(stdinBytes);
    for (;;) {
      let count: number | null;
      try {
        count = await Deno.stdin.read(buffer);
      } catch (error) {
        throw new NetError("other", "standard input", error);
      }
      if (count === null) return;
      yield buffer.slice(0, count);
    }
  }

  spawn = spawn;

  exit(code: number): never {
    Deno.exit(code);
  }
}

function permitted<T>(what: string, flag: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw isMissingPermission(error) ? netDenied(what, flag, error) : error;
  }
}

async function writeStdout(bytes: Uint8Array): Promise<void> {
  try {
    for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
  } catch (error) {
    throw netError(error, "standard output");
  }
}
