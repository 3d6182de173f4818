/** The `Host` of one process: what surrounds it, and the programs that it starts. */
import { concatBytes, decodeText, encodeText } from "../../base/bytes.ts";
import {
  type Child,
  type ChildExit,
  DiskError,
  type Host,
  type MemoryUsage,
  NetError,
  type SignalName,
  type SpawnOptions,
  type Subscription,
} from "../port.ts";
import { ExitSignal } from "./error.ts";
import { never } from "./never.ts";
import type { SimProcess } from "./process.ts";
import { TraceKind } from "./trace.ts";
import type { World } from "./world.ts";

const mebibyte = 1024 * 1024;
const memory: MemoryUsage = {
  rssBytes: 64 * mebibyte,
  heapUsedBytes: 16 * mebibyte,
  heapTotalBytes: 32 * mebibyte,
};

export class SimHost implements Host {
  readonly architecture = "x64";
  readonly executable = "/usr/bin/covey";
  readonly descriptorsMax = 65_536;
  readonly pid: number;
  readonly #world: World;
  readonly #process: SimProcess;
  readonly #handlers = new Map<SignalName, Set<() => void>>();
  readonly #output: Record<"stdout" | "stderr", Uint8Array[]> = { stdout: [], stderr: [] };
  /** Where a parent wants the output. */
  #listener: ((stream: "stdout" | "stderr", chunk: Uint8Array) => void) | undefined;
  #outputClosed = false;
  #outputSink: ((bytes: Uint8Array) => void) | undefined;
  #input: Uint8Array[] = [];
  #inputEnded = true;
  #inputWaiter: (() => void) | undefined;

  constructor(world: World, process: SimProcess) {
    this.#world = world;
    this.#process = process;
    this.pid = process.pid;
  }

  get args(): readonly string[] {
    return this.#process.options.args;
  }

  get directory(): string {
    return this.#process.options.directory;
  }

  get hostname(): string {
    return this.#process.machine.hostname;
  }

  environment(name: string): string | undefined {
    const { environment } = this.#process.options;
    return Object.hasOwn(environment, name) ? environment[name] : undefined;
  }

  environmentNames(prefix: string): string[] {
    const names = Object.keys(this.#process.options.environment);
    return names.filter((name) => name.startsWith(prefix)).sort();
  }

  onSignal(name: SignalName, callback: () => void): Subscription {
    const handlers = this.#handlers.get(name) ?? new Set();
    // Two subscriptions of one function are two; cancelling one leaves the other.
    const handler = () => callback();
    this.#handlers.set(name, handlers.add(handler));
    return { cancel: () => void handlers.delete(handler) };
  }

  memory(): MemoryUsage {
    return memory;
  }

  collectGarbage(): void {
    // There is no engine of the machine's own.
  }

  isTerminal(_stream: "stdin" | "stdout" | "stderr"): boolean {
    return false;
  }

  stdout(text: string | Uint8Array): Promise<void> {
    if (this.#process.dead) return never();
    if (this.#outputClosed) return Promise.reject(new NetError("reset", "broken pipe"));
    this.#write("stdout", typeof text === "string" ? encodeText(text) : text.slice());
    const { kernel } = this.#world;
    return new Promise((resolve) => kernel.post(runResolve, resolve, this.#process));
  }

  stderr(text: string): void {
    if (!this.#process.dead) this.#write("stderr", encodeText(text));
  }

  async *stdin(): AsyncIterable<Uint8Array> {
    for (;;) {
      const chunk = this.#input.shift();
      if (chunk !== undefined) yield chunk;
      else if (this.#inputEnded) return;
      else await new Promise<void>((resolve) => this.#inputWaiter = resolve);
    }
  }

  spawn(options: SpawnOptions): Promise<Child> {
    if (this.#process.dead) return never();
    const program = this.#process.machine.programs.get(options.command);
    const parent = this.#process;
    this.#world.trace.record(
      TraceKind.spawn,
      parent.machine.index,
      parent.pid,
      0,
      encodeText([options.command, ...options.args].join(" ")),
    );
    if (program === undefined) {
      const error = new DiskError("not-found", options.command, "no such program");
      return Promise.reject(error);
    }
    const child = parent.machine.newProcess({
      args: options.args,
      environment: options.environment ?? parent.options.environment,
      directory: options.directory ?? parent.options.directory,
    });
    const handle = new SimChild(this.#world, parent, { child, spawn: options });
    parent.machine.run(child, program);
    return Promise.resolve(handle);
  }

  /**
   * The process is dead when this throws. The throw is caught where the simulator called: in an
   * event, or in a program's own promise. A promise that nobody awaits must not call it.
   */
  exit(code: number): never {
    this.#process.end({ code, signal: null });
    throw new ExitSignal(code);
  }

  // -------------------------------------------------------------------------------------------
  // For parents and tests

  /** All that was written so far. */
  text(stream: "stdout" | "stderr"): string {
    return decodeText(concatBytes(this.#output[stream])) ?? "";
  }

  listen(listener: (stream: "stdout" | "stderr", chunk: Uint8Array) => void): void {
    this.#listener = listener;
  }

  /** Nobody reads standard output any more. */
  closeOutput(): void {
    this.#outputClosed = true;
  }

  /** Standard output goes there instead, as the shell's `>>` does it. */
  redirectOutput(sink: (bytes: Uint8Array) => void): void {
    this.#outputSink = sink;
  }

  openInput(): void {
    this.#inputEnded = false;
  }

  input(bytes: Uint8Array): void {
    this.#input.push(bytes);
    this.#inputWaiter?.();
  }

  endInput(): void {
    this.#inputEnded = true;
    this.#inputWaiter?.();
  }

  /** Delivers a signal as an event; without a handler it ends the process. */
  signal(name: SignalName): void {
    this.#world.kernel.post(runSignal, { host: this as SimHost, name }, this.#process);
  }

  /** Called by the signal's event. */
  signalled(name: SignalName): boolean {
    this.#world.trace.record(TraceKind.signal, this.#process.machine.index, this.pid);
    const handlers = [...this.#handlers.get(name) ?? []];
    if (handlers.length === 0) this.#process.end({ code: null, signal: name });
    for (const handler of handlers) handler();
    return true;
  }

  #write(stream: "stdout" | "stderr", bytes: Uint8Array): void {
    const kind = stream === "stdout" ? TraceKind.stdout : TraceKind.stderr;
    this.#world.trace.record(kind, this.#process.machine.index, this.pid, 0, bytes);
    if (stream === "stdout" && this.#outputSink !== undefined) return this.#outputSink(bytes);
    this.#output[stream].push(bytes);
    this.#listener?.(stream, bytes);
  }
}

class SimChild implements Child {
  readonly pid: number;
  readonly exit: Promise<ChildExit>;
  readonly #world: World;
  readonly #parent: SimProcess;
  readonly #child: SimProcess;
  readonly #hasInput: boolean;

  constructor(world: World, parent: SimProcess, options: {
    child: SimProcess;
    spawn: SpawnOptions;
  }) {
    const { child, spawn } = options;
    this.#world = world;
    this.#parent = parent;
    this.#child = child;
    this.#hasInput = spawn.stdin === true;
    this.pid = child.pid;
    if (this.#hasInput) child.host.openInput();
    const { kernel } = world;
    child.host.listen((stream, chunk) => {
      const callback = spawn[stream];
      if (callback === undefined) return;
      const output: Output = { callback, chunk: chunk.slice() };
      kernel.post(runOutput, output, parent);
    });
    // Output was posted before the end, so that it is handed over before it.
    this.exit = new Promise((resolve) => {
      child.onExit((exit) => kernel.post(runResolveExit, { resolve, exit }, parent));
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#parent.dead) return never();
    if (!this.#hasInput || this.#child.dead) {
      return Promise.reject(new NetError("reset", "the child reads no input"));
    }
    const input: Input = { host: this.#child.host, bytes: bytes.slice() };
    this.#world.kernel.post(runInput, input, this.#child);
    return new Promise((resolve) => this.#world.kernel.post(runResolve, resolve, this.#parent));
  }

  closeStdin(): void {
    if (!this.#hasInput || this.#parent.dead) return;
    this.#world.kernel.post(runEndInput, this.#child.host, this.#child);
  }

  kill(signal: SignalName | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    if (this.#parent.dead || this.#child.dead) return;
    if (signal === "SIGKILL") this.#child.end({ code: null, signal });
    else if (signal === "SIGSTOP") this.#child.pause();
    else if (signal === "SIGCONT") this.#child.resume();
    else this.#child.host.signal(signal);
  }
}

interface Output {
  readonly callback: (chunk: Uint8Array) => void;
  readonly chunk: Uint8Array;
}

interface Input {
  readonly host: SimHost;
  readonly bytes: Uint8Array;
}

function runResolve(resolve: () => void): boolean {
  resolve();
  return true;
}

function runResolveExit(
  { resolve, exit }: { resolve: (exit: ChildExit) => void; exit: ChildExit },
): boolean {
  resolve(exit);
  return true;
}

function runSignal({ host, name }: { host: SimHost; name: SignalName }): boolean {
  return host.signalled(name);
}

function runOutput({ callback, chunk }: Output): boolean {
  callback(chunk);
  chunk.fill(0xdb);
  return true;
}

function runInput({ host, bytes }: Input): boolean {
  host.input(bytes);
  return true;
}

function runEndInput(host: SimHost): boolean {
  host.endInput();
  return true;
}
