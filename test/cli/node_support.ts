/**
 * The command line in this process, against services in this process: the network, the clock and
 * the disk are real, the terminal, the signals and the environment are not.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCli } from "../../src/cli/run.ts";
import { NetError, type Runtime, type SignalName } from "../../src/runtime/port.ts";
import { selectRuntime } from "../../src/start.ts";
import { ServiceRegistry } from "../../src/ttrpc/registry.ts";
import { RpcServer } from "../../src/ttrpc/server.ts";
import { fakeRuntime } from "../support/fake_host.ts";

export interface CoveyOptions {
  readonly environment?: Readonly<Record<string, string>>;
  /** Standard input; a promise for what is typed later. */
  readonly input?: string | Uint8Array | Promise<string>;
  /** Which streams are a terminal. */
  readonly terminals?: readonly ("stdin" | "stdout" | "stderr")[];
  /** Called with what standard output has so far, after each write; may send signals. */
  readonly onOutput?: (stdout: string, send: (signal: SignalName) => void) => void;
  /** Standard output breaks at this write, counted from 1. */
  readonly breaksAt?: number;
  /** Called with what says that nobody reads standard output any more. */
  readonly onReader?: (leave: () => void) => void;
}

export interface CoveyRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output, byte for byte. */
  readonly bytes: Uint8Array;
}

/** Runs `covey` to its end. */
export async function covey(
  args: readonly string[],
  options: CoveyOptions = {},
): Promise<CoveyRun> {
  const real = await selectRuntime();
  const fake = fakeRuntime({ environment: options.environment });
  const chunks: Uint8Array[] = [];
  const listeners = new Map<SignalName, Set<() => void>>();
  const send = (signal: SignalName): void => {
    for (const callback of listeners.get(signal) ?? []) callback();
  };
  const written = (): string => new TextDecoder().decode(joined(chunks));
  const host = {
    ...real.host,
    ...fake.host,
    spawn: real.host.spawn,
    executable: real.host.executable,
    isTerminal: (stream: "stdin" | "stdout" | "stderr") =>
      options.terminals?.includes(stream) === true,
    onSignal(name: SignalName, callback: () => void) {
      const all = listeners.get(name) ?? new Set();
      listeners.set(name, all.add(callback));
      return { cancel: () => void all.delete(callback) };
    },
    onStdoutClosed(listener: () => void) {
      options.onReader?.(listener);
      return { cancel: () => {} };
    },
    stdout(data: string | Uint8Array) {
      if (options.breaksAt !== undefined && chunks.length + 1 >= options.breaksAt) {
        return Promise.reject(new NetError("reset", "broken pipe"));
      }
      chunks.push(typeof data === "string" ? new TextEncoder().encode(data) : data.slice());
      options.onOutput?.(written(), send);
      return Promise.resolve();
    },
    async *stdin() {
      const input = await options.input;
      if (input !== undefined) {
        yield typeof input === "string" ? new TextEncoder().encode(input) : input;
      }
    },
  };
  const code = await runCli({ ...real, host } as Runtime, args);
  return { code, stdout: written(), stderr: fake.notes.join(""), bytes: joined(chunks) };
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}

/** Standard output as one parsed object a line. */
export function objects(run: CoveyRun): Record<string, unknown>[] {
  return run.stdout.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

/** Handlers that answer with nothing where the test says nothing. */
export function answering<H extends object>(some: Partial<H>): H {
  return new Proxy(some, {
    get: (target, name) => Reflect.get(target, name) ?? (() => ({})),
  }) as H;
}

export interface FakeNode {
  /** The folder in which its socket is, as an agent's data folder. */
  readonly data: string;
  readonly socket: string;
}

/** Runs a test against services that `serve` adds, on the socket of a data folder. */
export async function withServices(
  serve: (registry: ServiceRegistry) => void,
  body: (node: FakeNode) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "covey-node-"));
  try {
    const data = join(folder, "covey-data");
    mkdirSync(data);
    const { net, clock } = await selectRuntime();
    const registry = new ServiceRegistry();
    serve(registry);
    const server = new RpcServer({ net, clock, registry });
    try {
      const path = join(data, "covey.sock");
      await server.listen({ address: { kind: "unix", path } });
      await body({ data, socket: `unix:${path}` });
    } finally {
      await server.stop(0);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
