/**
 * The Go program of test/interop/go, which speaks ttrpc with the public Go module: built once per
 * content of its sources into a folder below the system's temporary one, started as a server, run
 * as a client that checks a server. Without Go, or without its modules, {@link buildGoPeer} says
 * which of both is missing, and a test that needs the program is skipped with that reason.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The program, or the reason why there is none. */
export type GoPeer =
  | { readonly program: string; readonly skip?: undefined }
  | { readonly program?: undefined; readonly skip: string };

/** One line of `interop check`. */
export interface CheckedCase {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly millis: number;
}

export interface Checked {
  readonly cases: readonly CheckedCase[];
  /** 0 when every case passed; null when the time limit or a signal ended the program. */
  readonly code: number | null;
  readonly stderr: string;
}

/** A running `interop serve`. */
export interface GoServer {
  /** What a client dials: the path of the socket, or host:port with the port that was found. */
  readonly address: string;
  readonly pid: number;
  /** Ends the program and waits for it. */
  stop(): Promise<void>;
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Why the program could not be started. */
  readonly failure?: NodeJS.ErrnoException;
}

interface RunOptions {
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly limitMs: number;
}

const interopSources = fileURLToPath(new URL("../interop/go/", import.meta.url).href);
const benchSources = fileURLToPath(new URL("../../bench/go/", import.meta.url).href);
const versionLimitMs = 30_000;
const fetchLimitMs = 180_000;
const buildLimitMs = 300_000;
const readyLimitMs = 15_000;
const stopLimitMs = 5_000;
const checkLimitMs = 300_000;
/** More than this of a program's output is dropped: a line of it is a few hundred characters. */
const outputCharactersMax = 4_000_000;

/** The program of test/interop/go, built or found built. */
export function buildGoPeer(): Promise<GoPeer> {
  return build("interop", [interopSources]);
}

/** The program of bench/go, the same service on grpc-go; its load generator is the interop one's. */
export function buildGrpcGoPeer(): Promise<GoPeer> {
  return build("grpc", [benchSources, interopSources]);
}

/**
 * Builds the program of the first folder. Throws when the sources themselves do not compile: that
 * is a failure and no reason to skip.
 */
async function build(name: string, folders: readonly string[]): Promise<GoPeer> {
  const sources = folders[0] as string;
  const version = await run("go", ["version"], { limitMs: versionLimitMs });
  if (version.failure?.code === "ENOENT") return { skip: "go is not on PATH" };
  if (version.code !== 0) return { skip: `go does not run: ${firstLine(version)}` };
  const folder = privateFolder(`covey-go-${name}-${hashOfSources(folders, version.stdout)}`);
  const program = join(folder, name);
  if (existsSync(program)) return { program };

  // What the person has set for other Go programs (flags, a workspace) must not change this one.
  const environment = { GOFLAGS: "-buildvcs=false", GOWORK: "off", CGO_ENABLED: "0" };
  const offline = { ...environment, GOPROXY: "off" };
  const list = ["list", "-deps", "-f", "{{.ImportPath}}", "."];
  const cached = await run("go", list, { cwd: sources, environment: offline, limitMs: 60_000 });
  if (cached.code !== 0) {
    const fetched = await run("go", list, { cwd: sources, environment, limitMs: fetchLimitMs });
    if (fetched.code !== 0) {
      return {
        skip:
          `the modules of the ${name} program are neither in Go's module cache nor could they ` +
          `be fetched: ${firstLine(fetched)}`,
      };
    }
  }
  // Both runtimes may build at the same time: each writes a file of its own, the last rename wins.
  const building = `${program}.${process.pid}`;
  const built = await run("go", ["build", "-trimpath", "-o", building, "."], {
    cwd: sources,
    environment: offline,
    limitMs: buildLimitMs,
  });
  if (built.code !== 0) throw new Error(`${sources} does not build: ${built.stderr}`);
  renameSync(building, program);
  return { program };
}

/**
 * Starts `interop serve`, or another command of the same kind (`grpc-server`); resolves once it
 * listens. A port of 0 is replaced by the one it got.
 */
export function startGoServer(
  program: string,
  address: string,
  command = "serve",
  args: readonly string[] = [],
): Promise<GoServer> {
  // With --stdin the server ends with its pipe, so it cannot outlive a test that was killed.
  const child = spawn(program, [command, address, "--stdin", ...args], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
  child.stdin.on("error", () => {}); // The pipe breaks when the server ends first.
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    if (stderr.length < outputCharactersMax) stderr += text;
  });
  return new Promise<GoServer>((resolve, reject) => {
    const limit = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`${command} ${address} was not ready in ${readyLimitMs} ms: ${stderr}`));
    }, readyLimitMs);
    child.once("error", (error) => {
      clearTimeout(limit);
      reject(error);
    });
    child.once("close", (code) => {
      clearTimeout(limit);
      reject(new Error(`${command} ${address} ended with ${code}: ${stderr}`));
    });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      if (stdout.length < outputCharactersMax) stdout += text;
      const ready = /^ready (.+)$/m.exec(stdout);
      if (ready === null) return;
      clearTimeout(limit);
      resolve({
        address: ready[1] as string,
        pid: child.pid as number,
        stop: () => stop(child, exited),
      });
    });
  });
}

/**
 * Runs the client that checks a server. `only` is a regular expression for the names of the cases;
 * test/interop/README.md lists them.
 */
export async function runGoCheck(
  program: string,
  address: string,
  options: { readonly only?: string; readonly limitMs?: number } = {},
): Promise<Checked> {
  const ended = await run(program, ["check", address, "--only", options.only ?? ""], {
    limitMs: options.limitMs ?? checkLimitMs,
  });
  if (ended.failure !== undefined) throw ended.failure;
  return { cases: jsonLines<CheckedCase>(ended.stdout), code: ended.code, stderr: ended.stderr };
}

/** Runs any other command of the program, such as `bench-client`, and gives its JSON lines. */
export async function runGoLines<T>(
  program: string,
  args: readonly string[],
  limitMs: number,
): Promise<readonly T[]> {
  const ended = await run(program, args, { limitMs });
  if (ended.failure !== undefined) throw ended.failure;
  if (ended.code !== 0) {
    throw new Error(`${args.join(" ")} ended with ${ended.code}: ${ended.stderr}`);
  }
  return jsonLines<T>(ended.stdout);
}

function jsonLines<T>(text: string): T[] {
  return text.split("\n").filter((line) => line.startsWith("{")).map((line) =>
    JSON.parse(line) as T
  );
}

async function stop(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.stdin?.end();
  const limit = setTimeout(() => child.kill("SIGKILL"), stopLimitMs);
  await exited;
  clearTimeout(limit);
}

function run(command: string, args: readonly string[], options: RunOptions): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    const limit = setTimeout(() => {
      stderr += `\nno end within ${options.limitMs} ms`;
      child.kill("SIGKILL");
    }, options.limitMs);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      if (stdout.length < outputCharactersMax) stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (stderr.length < outputCharactersMax) stderr += text;
    });
    child.once("error", (failure: NodeJS.ErrnoException) => {
      clearTimeout(limit);
      resolve({ code: null, stdout, stderr: `${stderr}${failure.message}`, failure });
    });
    child.once("close", (code) => {
      clearTimeout(limit);
      resolve({ code, stdout, stderr });
    });
  });
}

/** The line that says what went wrong: Go's notes on what it downloads come before it. */
function firstLine(ended: Ended): string {
  const lines = ended.stderr.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  return lines.find((line) => !line.startsWith("go: downloading")) ?? `exit code ${ended.code}`;
}

function hashOfSources(folders: readonly string[], salt: string): string {
  const hash = createHash("sha256").update(salt);
  for (const folder of folders) {
    const files = (readdirSync(folder, { recursive: true }) as string[])
      .filter((name) => name.endsWith(".go") || name === "go.mod" || name === "go.sum")
      .sort();
    for (const name of files) {
      const text = readFileSync(join(folder, name));
      hash.update(`${name} ${text.length}\n`).update(text);
    }
  }
  return hash.digest("hex").slice(0, 20);
}

/** A program that another user of the machine put at a name that can be guessed is not run. */
function privateFolder(name: string): string {
  const user = process.getuid?.() ?? 0;
  const folder = join(tmpdir(), `${name}-${user}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const found = lstatSync(folder);
  const foreign = process.getuid !== undefined &&
    (found.uid !== user || (found.mode & 0o022) !== 0);
  if (!found.isDirectory() || foreign) throw new Error(`${folder} belongs to somebody else`);
  return folder;
}
