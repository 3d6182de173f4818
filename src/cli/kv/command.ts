/** A program that runs while a lock is held, or for a change that is watched. */
import { DiskError, type SignalName, type Timer } from "../../runtime/port.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../exit.ts";
import type { Interrupt } from "../interrupt.ts";

/** Time for the program to end by itself once it is told to. */
const graceMs = 5000;
/** What a shell adds to the number of the signal that ended a program. */
const signalNumbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};

export interface CommandOptions {
  /** Added to this process's own. */
  readonly environment: Readonly<Record<string, string>>;
  /** Its signal is passed on. */
  readonly interrupt: Interrupt;
  /** When it fires the program has to end. */
  readonly end: AbortSignal;
  /** Hand this process's input on. Default true. */
  readonly input?: boolean;
}

/** Runs it with this process's streams; its exit code, or 128 and the number of its signal. */
export async function runCommand(
  context: CliContext,
  [command, ...args]: readonly string[],
  options: CommandOptions,
): Promise<number> {
  const { host, clock } = context.runtime;
  // What it prints is written in order, and all of it before its exit code counts.
  let written: Promise<void> = Promise.resolve();
  let failure: unknown;
  const child = await host.spawn({
    command,
    args,
    environment: { ...environmentOf(host), ...options.environment },
    stdin: options.input ?? true,
    stdout(chunk) {
      const bytes = chunk.slice();
      written = written.then(() => context.write(bytes)).catch((error) => {
        // Nobody reads it any more; the program learns it from its own pipe.
        failure ??= error;
      });
    },
    stderr: (chunk) => host.stderr(new TextDecoder().decode(chunk)),
  }).catch((error: unknown) => {
    if (!(error instanceof DiskError)) throw error;
    throw new UsageError(`${command} cannot be run: ${error.message}`);
  });
  let grace: Timer | undefined;
  const end = (name: SignalName): void => {
    child.kill(name);
    grace ??= clock.timer(graceMs, () => child.kill("SIGKILL"), undefined);
  };
  const { interrupt } = options;
  const interrupted = (): void => end(interrupt.name ?? "SIGTERM");
  const ended = (): void => end("SIGTERM");
  interrupt.signal.addEventListener("abort", interrupted, { once: true });
  options.end.addEventListener("abort", ended, { once: true });
  if (interrupt.signal.aborted) interrupted();
  else if (options.end.aborted) ended();
  if (options.input ?? true) void feed(context, child);
  const { code, signal } = await child.exit;
  interrupt.signal.removeEventListener("abort", interrupted);
  options.end.removeEventListener("abort", ended);
  grace?.cancel();
  await written;
  if (failure !== undefined) throw failure;
  return code ?? 128 + (signalNumbers[signal ?? ""] ?? 0);
}

function environmentOf(host: CliContext["runtime"]["host"]): Record<string, string> {
  return Object.fromEntries(
    host.environmentNames("").map((name) => [name, host.environment(name) ?? ""]),
  );
}

/** Hands this process's input on until either side ends. */
async function feed(
  { runtime: { host } }: CliContext,
  child: Awaited<ReturnType<typeof host.spawn>>,
): Promise<void> {
  try {
    for await (const chunk of host.stdin()) await child.write(chunk);
  } catch {
    // The program does not read its input, or has ended; its exit code says the rest.
  }
  child.closeStdin();
}
