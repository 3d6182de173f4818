/**
 * What child processes do in the suite. Written against the port alone, so that the same programs
 * run as processes of an engine and as processes on the sim.
 */
import { decodeText } from "../../src/base/bytes.ts";
import type { Runtime } from "../../src/runtime/port.ts";
import { pattern } from "./harness.ts";
import { anyTcp, listenOn, Probe } from "./probe.ts";

/** A program's body; what it returns is its exit code. */
export type Program = (runtime: Runtime, args: readonly string[]) => Promise<number>;

/** All programs by name. */
export const programs: Readonly<Record<string, Program>> = {
  /** Prints so many bytes of the pattern on standard output, and a line on standard error. */
  async print({ host }, [size]) {
    await host.stdout(pattern(Number(size)));
    host.stderr("printed\n");
    return 0;
  },

  /** Prints without waiting in between. */
  async lines({ host }) {
    const lines = Array.from({ length: 50 }, (_, index) => `${index} `.repeat(index * 7) + "\n");
    await Promise.all([...lines, ""].map((line) => host.stdout(line)));
    await host.stdout("end\n");
    await host.stdout("");
    return 0;
  },

  /** Copies standard input to standard output. */
  async copy({ host }) {
    for await (const chunk of host.stdin()) await host.stdout(chunk);
    return 0;
  },

  // deno-lint-ignore require-await -- the program's form
  async exit(_runtime, [code]) {
    return Number(code);
  },

  /** What a process knows about itself. */
  async about({ host }, args) {
    const about = {
      args: host.args,
      pid: host.pid,
      variable: host.environment("COVEY_TEST_VARIABLE") ?? null,
      missing: host.environment("COVEY_TEST_MISSING") ?? null,
      names: host.environmentNames("COVEY_TEST_"),
      rest: args,
      terminal: host.isTerminal("stdout"),
    };
    await host.stdout(JSON.stringify(about));
    return 0;
  },

  /** Waits for SIGTERM, unless a signal without a handler ends it. */
  async wait({ host }) {
    const first = new Promise<void>((resolve) => void host.onSignal("SIGTERM", resolve));
    const dropped = host.onSignal("SIGTERM", () => host.stderr("a cancelled one was called\n"));
    dropped.cancel();
    await host.stdout("ready\n");
    await first;
    await host.stdout("got SIGTERM\n");
    return 7;
  },

  /** Ends at once with what is in its way. */
  async quit({ host }): Promise<number> {
    await host.stdout("before\n");
    return host.exit(9);
  },

  /** Holds the lock for ever. */
  async lock(runtime, [path]) {
    await runtime.disk.lock(path);
    await runtime.host.stdout("locked\n");
    await new Promise((resolve) => void runtime.clock.timer(60_000, resolve, undefined));
    return 0;
  },

  /** Writes to a standard output that nobody reads any more, and tells how it ended. */
  async broken({ host, clock }) {
    await new Promise((resolve) => void clock.timer(200, resolve, undefined));
    try {
      for (let round = 0; round < 100; round++) await host.stdout(pattern(100_000));
    } catch (error) {
      host.stderr(`${(error as { kind?: string }).kind}\n`);
      return 0;
    }
    return 1;
  },

  /** Accepts as many connections as it may; tells its port, and how it went with so many. */
  async accept(runtime, [total]) {
    const { host, net } = runtime;
    const probe = new Probe(runtime);
    const listener = await net.listen(listenOn(anyTcp, probe, { connectionsMax: 100_000 }));
    const port = listener.address.kind === "tcp" ? listener.address.port : 0;
    await host.stdout(JSON.stringify({ port, descriptorsMax: host.descriptorsMax }) + "\n");
    while (listener.connections + listener.refused < Number(total)) {
      await new Promise((resolve) => void runtime.clock.timer(10, resolve, undefined));
    }
    // With some descriptors spared, other work goes on.
    const file = await runtime.disk.open("/dev/null", { read: true });
    await file.close();
    const { connections, refused } = listener;
    await host.stdout(JSON.stringify({ connections, refused }) + "\n");
    return 0;
  },
};

/** Runs the program that the first argument names. */
export async function runProgram(runtime: Runtime): Promise<void> {
  const [name, ...args] = runtime.host.args;
  const program = programs[name];
  if (program === undefined) {
    runtime.host.stderr(`no program ${name}\n`);
    runtime.host.exit(2);
  }
  runtime.host.exit(await program(runtime, args));
}

/** Gathers a child's output. */
export class Output {
  bytes = new Uint8Array(0);
  #waiters: (() => void)[] = [];

  readonly take = (chunk: Uint8Array): void => {
    const grown = new Uint8Array(this.bytes.length + chunk.length);
    grown.set(this.bytes);
    grown.set(chunk, this.bytes.length);
    this.bytes = grown;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  };

  text(): string {
    return decodeText(this.bytes) ?? "";
  }

  /** Waits until the output contains this. */
  async has(part: string): Promise<void> {
    while (!this.text().includes(part)) {
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }
}
