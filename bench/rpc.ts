/**
 * The RPC table of the README: covey beside Go's ttrpc, grpc-js and grpc-go, in the same run on the
 * same machine, in turns, several rounds; medians and ratios.
 *
 *   bun bench/rpc.ts [--rounds N] [--seconds S] [--only NAME] [--write]
 *
 * `--write` puts the table into README.md between its markers. What needs Go is left out, visibly,
 * where Go is missing. The compiled agent is measured when `dist/covey` is there.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { arch, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildGoPeer, buildGrpcGoPeer } from "../test/support/go_peer.ts";
import { type HeldResult, type Latency, type LoadResult, sampleMemory } from "./load.ts";

/** How one peer's programs are started; the rest of the command line is the same for all. */
interface Peer {
  readonly server: readonly string[];
  readonly client: readonly string[];
  readonly hold: readonly string[];
}

interface Row {
  readonly measure: string;
  readonly covey: string;
  readonly other: string;
  readonly ratio: string;
  readonly reach: string;
}

interface Options {
  readonly rounds: number;
  readonly seconds: number;
}

const root = fileURLToPath(new URL("..", import.meta.url).href);
const folder = mkdtempSync(join(tmpdir(), "covey-bench-"));
const bun = process.execPath;
let sockets = 0;

/** How compile.sh builds, as far as it matters here. */
const asCompileSh = "--compile --bytecode --format=esm --splitting --minify-syntax " +
  "--minify-whitespace";

const covey: Peer = script("covey_peer.ts");
const grpcJs: Peer = script("grpc_js_peer.ts");

function script(name: string): Peer {
  const program = [bun, join(root, "bench", name)];
  return {
    server: [...program, "server"],
    client: [...program, "client"],
    hold: [...program, "hold"],
  };
}

/** A server that runs, and where it is reached. */
class Server {
  readonly address: string;
  readonly #child: ChildProcess;
  stderr = "";

  private constructor(child: ChildProcess, address: string) {
    this.#child = child;
    this.address = address;
    child.stderr!.on("data", (chunk) => this.stderr += chunk);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  static async start(peer: Peer, flags: readonly string[] = [], environment = {}): Promise<Server> {
    const address = join(folder, `${sockets++}.sock`);
    const [command, ...first] = peer.server;
    const child = spawn(command, [...first, address, ...flags], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...environment },
    });
    const server = new Server(child, address);
    let text = "";
    for await (const chunk of child.stdout!) {
      text += chunk;
      if (text.includes("ready ")) break;
    }
    if (!text.includes("ready ")) throw new Error(`${command} did not start: ${server.stderr}`);
    return server;
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await ended;
  }
}

async function lastLine<T>(command: readonly string[], flags: readonly string[]): Promise<T> {
  const [program, ...first] = command;
  const child = spawn(program, [...first, ...flags], { stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => stdout += chunk);
  child.stderr.on("data", (chunk) => stderr += chunk);
  const [code] = await once(child, "close");
  const line = stdout.trim().split("\n").at(-1) ?? "";
  if (code !== 0 || line === "") throw new Error(`${command.join(" ")} failed: ${stderr}`);
  return JSON.parse(line) as T;
}

/** One client against one server, both started for it. */
async function load(
  server: Peer,
  client: Peer,
  flags: readonly string[],
  options: Options,
  serverFlags: readonly string[] = [],
): Promise<LoadResult> {
  const running = await Server.start(server, serverFlags);
  try {
    return await lastLine(client.client, [
      running.address,
      "--seconds",
      `${options.seconds}`,
      ...flags,
    ]);
  } finally {
    await running.stop();
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function thousands(value: number): string {
  return value >= 10_000 ? `${Math.round(value / 1000)}k` : `${Math.round(value)}`;
}

/** The same load on two pairs in turns; the ratio is taken round by round. */
async function compare(
  measure: string,
  reach: string,
  flags: readonly string[],
  [ourServer, ourClient]: readonly [Peer, Peer],
  [theirServer, theirClient]: readonly [Peer, Peer],
  options: Options,
): Promise<Row> {
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < options.rounds; round++) {
    ours.push((await load(ourServer, ourClient, flags, options)).perSecond);
    theirs.push((await load(theirServer, theirClient, flags, options)).perSecond);
  }
  const ratio = median(ours.map((value, index) => value / theirs[index]));
  return {
    measure,
    covey: `${thousands(median(ours))}/s`,
    other: `${thousands(median(theirs))}/s`,
    ratio: `${ratio.toFixed(1)}×`,
    reach,
  };
}

/**
 * A script as one executable, as covey is delivered: what the runtime needs to read and translate
 * sources is in neither server then.
 */
function compiled(name: string): Peer {
  const program = join(folder, name.replace(".ts", ""));
  const built = spawnSync(
    bun,
    ["build", join(root, "bench", name), ...asCompileSh.split(" "), `--outfile=${program}`],
    { cwd: root, encoding: "utf8" },
  );
  if (built.status !== 0) throw new Error(`${name} cannot be compiled: ${built.stderr}`);
  return { server: [program, "server"], client: [program, "client"], hold: [program, "hold"] };
}

async function hold(peer: Peer, client: Peer, idle: number, busy: number): Promise<HeldResult> {
  const server = await Server.start(peer);
  try {
    return await lastLine(client.hold, [
      server.address,
      "--pid",
      `${server.pid}`,
      "--idle",
      `${idle}`,
      "--busy",
      `${busy}`,
      "--seconds",
      "3",
    ]);
  } finally {
    await server.stop();
  }
}

function megabytes(kilobytes: number): string {
  return `${(kilobytes / 1024).toFixed(1)} MB`;
}

/**
 * Latency at fixed rates, a tenth and a half of what Go reaches, with a large live heap in both
 * servers. The same client, Go's, drives both, so only the server differs; what that client itself
 * is late, on the same two cores, stands beside it.
 */
async function tail(go: Peer, options: Options): Promise<Row[]> {
  const heap = ["--heap-mb", "100"];
  const peaks: number[] = [];
  for (let round = 0; round < options.rounds; round++) {
    peaks.push((await load(go, go, ["--inflight", "64"], options, heap)).perSecond);
  }
  const rows: Row[] = [];
  let pauseMs = 0;
  for (const [part, name] of [[0.1, "a tenth"], [0.5, "half"]] as const) {
    const rate = Math.round(median(peaks) * part);
    const flags = ["--inflight", "4096", "--rate", `${rate}`];
    const results: Record<"ours" | "theirs", LoadResult[]> = { ours: [], theirs: [] };
    for (let round = 0; round < options.rounds; round++) {
      for (const [side, peer] of [["ours", covey], ["theirs", go]] as const) {
        const environment = peer === covey ? { BUN_JSC_logGC: "1" } : {};
        const server = await Server.start(peer, heap, environment);
        try {
          const seconds = ["--seconds", `${options.seconds * 2}`];
          results[side].push(await lastLine(go.client, [server.address, ...flags, ...seconds]));
        } finally {
          await server.stop();
        }
        if (side === "ours") pauseMs = Math.max(pauseMs, longestPauseMs(server.stderr));
      }
    }
    const at = (side: "ours" | "theirs", key: keyof Latency, of: "latencyMicros" | "lagMicros") =>
      median(results[side].map((one) => one[of]![key])) / 1000;
    for (const [label, key] of [["p99", "p99"], ["p99.9", "p999"], ["worst", "max"]] as const) {
      const ours = at("ours", key, "latencyMicros");
      const theirs = at("theirs", key, "latencyMicros");
      const lags = `${at("ours", key, "lagMicros").toFixed(1)} / ${
        at("theirs", key, "lagMicros").toFixed(1)
      }`;
      rows.push({
        measure: `${label} at ${name} of Go's peak (${
          thousands(rate)
        }/s), 100 MB live heap, under Go's client`,
        covey: `${ours.toFixed(2)} ms`,
        other: `Go ${theirs.toFixed(2)} ms (the client's own lag: ${lags} ms)`,
        ratio: `${(ours / theirs).toFixed(1)}×`,
        reach: key === "p999" ? "≤ 2×" : "",
      });
    }
  }
  rows.push({
    measure: "longest pause of the collector in that server",
    covey: pauseMs === 0 ? "not told" : `${pauseMs.toFixed(1)} ms`,
    other: "",
    ratio: "",
    reach: "",
  });
  return rows;
}

/** JavaScriptCore's log of collections names the pause of each: `=> FullCollection, … p=1.2ms`. */
function longestPauseMs(log: string): number {
  let longest = 0;
  for (const match of log.matchAll(/\bp=(\d+(?:\.\d+)?)ms/g)) {
    longest = Math.max(longest, Number(match[1]));
  }
  return longest;
}

function field(pid: number, file: string, name: string): number {
  const text = readFileSync(`/proc/${pid}/${file}`, "utf8");
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? NaN);
}

/** User and system time of a process in milliseconds. */
function cpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** The compiled agent with RPC and the admin endpoint: memory, start, writes and CPU while idle. */
async function agent(options: Options): Promise<Row[]> {
  const binary = join(root, "dist", "covey");
  if (!existsSync(binary)) return [];
  const ready: number[] = [];
  const rss: number[] = [];
  const anonymous: number[] = [];
  const cpu: number[] = [];
  const writes: number[] = [];
  const idleMs = 30_000;
  for (let round = 0; round < options.rounds; round++) {
    const data = join(folder, `agent-${round}`);
    const begunMs = performance.now();
    const child = spawn(binary, [
      "agent",
      "--json",
      ...["--data", data],
      ...["--listen", "tcp://127.0.0.1:0", "--admin-listen", "tcp://127.0.0.1:0"],
    ], {
      stdio: ["ignore", "pipe", "ignore"],
      // These rows are the ground floor's; what consensus takes is in the table of bench/kv.ts.
      env: { ...process.env, COVEY_RAFT__ENABLED: "false", COVEY_KV__ENABLED: "false" },
    });
    for await (const chunk of child.stdout) if (`${chunk}`.includes('"ready"')) break;
    ready.push(performance.now() - begunMs);
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const pid = child.pid!;
    const [cpuBefore, writesBefore] = [cpuMs(pid), field(pid, "io", "write_bytes")];
    await new Promise((resolve) => setTimeout(resolve, idleMs));
    cpu.push((cpuMs(pid) - cpuBefore) / idleMs * 100);
    writes.push(field(pid, "io", "write_bytes") - writesBefore);
    const memory = sampleMemory(pid);
    rss.push(memory.rssKB);
    anonymous.push(memory.anonymousKB);
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await ended;
  }
  const row = (measure: string, value: string, reach: string): Row => ({
    measure,
    covey: value,
    other: "",
    ratio: "",
    reach,
  });
  return [
    row(
      "idle compiled agent without raft, RSS / of it anonymous",
      `${megabytes(median(rss))} / ${megabytes(median(anonymous))}`,
      "≤ 58 / ≤ 16 MB",
    ),
    row(
      "idle compiled agent without raft, exec to ready",
      `${Math.round(median(ready))} ms`,
      "≤ 100 ms",
    ),
    row(
      "idle compiled agent without raft, disk writes in 30 s / CPU",
      `${median(writes)} bytes / ${median(cpu).toFixed(2)} %`,
      "0 / ≤ 0.2 %",
    ),
  ];
}

async function memory(grpcGo: Peer | undefined): Promise<Row[]> {
  const ownServer = compiled("covey_peer.ts");
  const ours = await hold(ownServer, covey, 1000, 64);
  const theirs = await hold(compiled("grpc_js_peer.ts"), grpcJs, 1000, 64);
  const go = grpcGo === undefined ? undefined : await hold(grpcGo, grpcGo, 1000, 64);
  // What one more costs: the code that the first calls compile is there in both.
  const few = await hold(ownServer, covey, 1000, 0);
  const many = await hold(ownServer, covey, 6000, 0);
  const perConnection = (many.whileIdle.rssKB - few.whileIdle.rssKB) * 1024 / 5000;
  return [
    {
      measure: "server RSS with 1,000 idle and 64 busy connections",
      covey: megabytes(ours.whileBusy.rssKB),
      other: `grpc-js on Bun ${megabytes(theirs.whileBusy.rssKB)}` +
        (go === undefined ? "" : `, grpc-go ${megabytes(go.whileBusy.rssKB)}`),
      ratio: `${(ours.whileBusy.rssKB / theirs.whileBusy.rssKB).toFixed(2)} : 1`,
      reach: "≤ 0.5 : 1",
    },
    {
      measure: "of it anonymous, without the pages of the runtime's file",
      covey: megabytes(ours.whileBusy.anonymousKB),
      other: `grpc-js on Bun ${megabytes(theirs.whileBusy.anonymousKB)}` +
        (go === undefined ? "" : `, grpc-go ${megabytes(go.whileBusy.anonymousKB)}`),
      ratio: `${(ours.whileBusy.anonymousKB / theirs.whileBusy.anonymousKB).toFixed(2)} : 1`,
      reach: "",
    },
    {
      measure: "one idle connection (RSS, the 1,001st to the 6,000th)",
      covey: `${(perConnection / 1024).toFixed(2)} KB`,
      other: "",
      ratio: "",
      reach: "≤ 2 KB",
    },
  ];
}

function table(rows: readonly Row[]): string {
  const lines = [
    "| measure | covey | peer | ratio | to reach |",
    "|---|---|---|---|---|",
    ...rows.map((row) =>
      `| ${row.measure} | ${row.covey} | ${row.other} | ${row.ratio} | ${row.reach} |`
    ),
  ];
  return lines.join("\n");
}

function write(text: string): void {
  const path = join(root, "README.md");
  const readme = readFileSync(path, "utf8");
  const markers = /(<!-- bench:rpc -->\n)[\s\S]*?(<!-- \/bench:rpc -->)/;
  if (!markers.test(readme)) throw new Error("README.md has no bench:rpc markers");
  writeFileSync(path, readme.replace(markers, (_, open, close) => `${open}${text}\n${close}`));
  // The formatter aligns the columns; the test command would find it otherwise.
  spawnSync(join(root, "node_modules", ".bin", "deno"), ["fmt", "--quiet", path]);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "3" },
      only: { type: "string", default: "" },
      write: { type: "boolean", default: false },
    },
  });
  const options = { rounds: Number(values.rounds), seconds: Number(values.seconds) };
  const built = await buildGoPeer();
  const builtGrpc = await buildGrpcGoPeer();
  const go: Peer | undefined = built.program === undefined ? undefined : {
    server: [built.program, "bench-server"],
    client: [built.program, "bench-client"],
    hold: [built.program, "hold"],
  };
  const grpcGo: Peer | undefined = builtGrpc.program === undefined ? undefined : {
    server: [builtGrpc.program, "grpc-server"],
    client: [builtGrpc.program, "grpc-client"],
    hold: [builtGrpc.program, "grpc-hold"],
  };
  if (go === undefined) console.error(`without Go's ttrpc: ${built.skip}`);
  if (grpcGo === undefined) console.error(`without grpc-go: ${builtGrpc.skip}`);
  const own = [covey, covey] as const;
  const groups: [name: string, run: () => Promise<Row[]>][] = [];
  if (go !== undefined) {
    const both = [go, go] as const;
    for (const [inflight, reach] of [[1, "≥ 1.0×"], [64, "≥ 2.5×"], [256, "≥ 4×"]] as const) {
      const measure = `unary 64 B, ${inflight} in flight, against Go`;
      const flags = ["--inflight", `${inflight}`];
      groups.push(["unary", async () => [
        await compare(measure, reach, flags, own, both, options),
      ]]);
    }
    groups.push(["mixed", async () => [
      await compare(
        "covey's server under Go's client, 64 in flight, against Go's server",
        "≥ 1.5×",
        ["--inflight", "64"],
        [covey, go],
        both,
        options,
      ),
    ]]);
    for (const streams of [1, 8]) {
      groups.push(["stream", async () => [
        await compare(
          `server streaming, 1 KiB messages, ${streams} at a time, against Go`,
          "≥ 2×",
          ["--stream", "1024", "--inflight", `${streams}`],
          own,
          both,
          options,
        ),
      ]]);
    }
  }
  groups.push(["grpc-js", async () => [
    await compare(
      "unary 64 B, 64 in flight, against grpc-js on Bun",
      "≥ 5×",
      ["--inflight", "64"],
      own,
      [grpcJs, grpcJs],
      options,
    ),
  ]]);
  if (go !== undefined) groups.push(["tail", () => tail(go, options)]);
  groups.push(["memory", () => memory(grpcGo)]);
  groups.push(["agent", () => agent(options)]);
  const rows: Row[] = [];
  for (const [name, run] of groups) {
    if (values.only !== "" && !values.only.split(",").includes(name)) continue;
    for (const row of await run()) {
      rows.push(row);
      console.error(`${row.measure}: ${row.covey} ${row.other} ${row.ratio} (${row.reach})`);
    }
  }
  const machine = `${cpus().length} cores (${arch()}), Bun ${process.versions.bun}, ` +
    `${options.rounds} rounds of ${options.seconds} s, medians.`;
  const text = `${table(rows)}\n\n${machine}`;
  console.log(text);
  if (values.write) write(text);
}

try {
  await main();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
