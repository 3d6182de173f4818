/**
 * What child processes do in the suite. Written against the port alone, so that the same programs
 * run as processes of an engine and as processes on the sim.
 */
import { decodeText } from "../../src/base/bytes.ts";
import type { DiskFile, Runtime } from "../../src/runtime/port.ts";
import { kindOf, pass, pattern } from "./harness.ts";
import { anyTcp, connectTo, listenOn, Probe } from "./probe.ts";

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

  /** Tries what it may not, and tells the kinds of the errors. `locked` is a folder. */
  async forbidden(runtime, [socket, locked]) {
    const { net, disk, host } = runtime;
    const probe = new Probe(runtime);
    const inside = { kind: "unix", path: `${locked}/socket` } as const;
    const kinds = {
      dial: await kindOf(connectTo(runtime, { kind: "unix", path: socket }, probe)),
      dialInside: await kindOf(connectTo(runtime, inside, probe)),
      listenInside: await kindOf(net.listen(listenOn(inside, probe))),
      open: await kindOf(disk.open(`${locked}/file`, { write: true, create: true })),
      lock: await kindOf(disk.lock(`${locked}/lock`)),
      list: await kindOf(disk.list(locked)),
      makeDirectory: await kindOf(disk.makeDirectory(`${locked}/folder`)),
    };
    await host.stdout(JSON.stringify(kinds));
    return 0;
  },

  /** Tries to serve on a port that only the superuser may have, and tells the kinds. */
  async ports(runtime) {
    const { net, http, host } = runtime;
    const local = { host: "127.0.0.1", port: 1 };
    const handler = { message() {}, error() {} };
    const fetch = () => new Response();
    const kinds = {
      listen: await kindOf(net.listen(listenOn({ kind: "tcp", ...local }, new Probe(runtime)))),
      udp: await kindOf(net.bindUdp({ ...local, handler })),
      http: await kindOf(http.serve({ ...local, bodyBytesMax: 0, fetch })),
    };
    await host.stdout(JSON.stringify(kinds));
    return 0;
  },

  /** Tries everything that needs a permission of the runtime, and tells the kinds. */
  async ungranted(runtime, [path, authorities, certificate, key]) {
    const { net, http, disk, host } = runtime;
    const probe = new Probe(runtime);
    const local = { host: "127.0.0.1", port: 49151 };
    const tcp = { kind: "tcp", ...local } as const;
    const unix = { kind: "unix", path } as const;
    const tls = { authorities, certificate, key, serverName: "localhost" };
    const log = { open() {}, message() {}, close() {} };
    const url = `127.0.0.1:${local.port}/`;
    const name = { name: "localhost", timeoutMs: 10_000 };
    const kinds = {
      listen: await kindOf(net.listen(listenOn(tcp, probe))),
      listenTls: await kindOf(net.listen(listenOn(tcp, probe, { tls }))),
      listenUnix: await kindOf(net.listen(listenOn(unix, probe))),
      listenAbstract: await kindOf(net.listen(listenOn({ kind: "abstract", name: "x" }, probe))),
      dial: await kindOf(connectTo(runtime, tcp, probe)),
      dialTls: await kindOf(connectTo(runtime, tcp, probe, { tls })),
      dialUnix: await kindOf(connectTo(runtime, unix, probe)),
      udp: await kindOf(net.bindUdp({ ...local, handler: { message() {}, error() {} } })),
      lookUp: await kindOf(net.resolve({ ...name, kind: "A" })),
      lookUpService: await kindOf(net.resolve({ ...name, kind: "SRV" })),
      lookUpThere: await kindOf(net.resolve({ ...name, kind: "A", server: local })),
      http: await kindOf(http.serve({ ...local, bodyBytesMax: 0, fetch: () => new Response() })),
      fetch: await kindOf(http.fetch(new Request(`http://${url}`))),
      webSocket: await kindOf(http.webSocket(`ws://${url}`, log, 1000)),
      open: await kindOf(disk.open(path, { read: true })),
      lock: await kindOf(disk.lock(path)),
      spawn: await kindOf(host.spawn({ command: "true", args: [] })),
    };
    await host.stdout(JSON.stringify(kinds));
    return 0;
  },

  /**
   * Is connected to with TLS in mind, again and again, by somebody who leaves without a word; tells
   * how many bytes that left behind.
   */
  async left(runtime, [authorities, certificate, key]) {
    const { host, net } = runtime;
    const tls = { authorities, certificate, key };
    const listener = await net.listen(listenOn(anyTcp, new Probe(runtime), { tls }));
    const visit = async (count: number): Promise<void> => {
      for (let index = 0; index < count; index++) {
        const client = new Probe(runtime);
        const side = await connectTo(runtime, listener.address, client);
        side.connection.close();
        await client.until("close", () => side.count("close") === 1);
      }
      while (listener.handshakesFailed < visited + count) await pass(runtime, 10);
      visited += count;
    };
    let visited = 0;
    const used = (): number => {
      // Bun's collector, or what V8's flag gives.
      const { Bun, gc } = globalThis as unknown as {
        Bun?: { gc(force: boolean): void };
        gc?: () => void;
      };
      if (Bun !== undefined) Bun.gc(true);
      else gc?.();
      return host.memory().heapUsedBytes;
    };
    await visit(200);
    const before = used();
    await visit(1000);
    await host.stdout(`${used() - before}\n`);
    return 0;
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

  /** Opens files until it cannot; tells how each call that needs a descriptor fails, and after. */
  async openings({ disk, host }, [folder]) {
    const path = `${folder}/file`;
    const file = await disk.open(path, { write: true, create: true });
    await file.close();
    const calls: Readonly<Record<string, () => Promise<unknown>>> = {
      open: async () => await (await disk.open(path, { read: true })).close(),
      readFile: () => disk.readFile(path, 100),
      replaceFile: () => disk.replaceFile(path, pattern(10)),
      list: () => disk.list(folder),
      syncDirectory: () => disk.syncDirectory(folder),
    };
    const opened: DiskFile[] = [];
    const kinds: Record<string, string> = {};
    const openAll = async (): Promise<never> => {
      for (;;) opened.push(await disk.open("/dev/null", { read: true }));
    };
    kinds.first = await kindOf(openAll());
    for (const [name, call] of Object.entries(calls)) kinds[name] = await kindOf(call());
    for (const one of opened) await one.close();
    for (const call of Object.values(calls)) await call();
    await host.stdout(JSON.stringify(kinds));
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
