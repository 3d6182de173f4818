/// <reference types="npm:bun-types@1.4.5" />
/** The harness for Bun and Deno: real sockets on loopback, a folder of its own, real time. */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import type { Address } from "../../src/base/address.ts";
import { concatBytes } from "../../src/base/bytes.ts";
import type { Runtime } from "../../src/runtime/port.ts";
import { type CertificateSet, makeCertificates } from "../support/certificates.ts";
import { openSilentPort } from "../support/silent_port.ts";
import type { Ability, Harness, World } from "./harness.ts";
import { lacksOpenssl, opensslClient } from "./openssl.ts";
import { startNameServer } from "./name_server.ts";
import { listenOn, Probe } from "./probe.ts";

/** Picks the runtime by the engine; the other one's files must not even load. */
export async function pickRuntime(): Promise<() => Runtime> {
  if ("Bun" in globalThis) {
    const { createBunRuntime } = await import("../../src/runtime/bun.ts");
    return createBunRuntime;
  }
  const { createDenoRuntime } = await import("../../src/runtime/deno.ts");
  return createDenoRuntime;
}

/** The harness of this process. */
export async function createRealHarness(): Promise<Harness> {
  const create = await pickRuntime();
  const name = create().name;
  let certificates: Promise<CertificateSet> | undefined;
  const shared = { certificates: () => certificates ??= makeCertificates() };
  // deno-lint-ignore require-await -- the harness's form
  return { name, lacks: lacks(), create: async () => createWorld(create(), shared) };
}

function lacks(): Partial<Record<Ability, string>> {
  const linux = process.platform === "linux" ? undefined : "made for Linux only";
  const ipv6 = Object.values(os.networkInterfaces()).flat().some((one) => one?.address === "::1");
  return {
    silentAddress: linux,
    kernelTimers: fs.existsSync("/proc/net/tcp") ? undefined : "no /proc/net/tcp on this machine",
    resumption: lacksOpenssl(),
    denied: linux,
    brokenDisk: linux,
    processTable: linux,
    unprivileged: lacksUnprivileged(),
    privilegedPort: lacksUnprivileged() ?? lacksPrivilegedPort(),
    permissions: "Bun" in globalThis ? "Bun grants everything" : undefined,
    quietMulticast: "the loopback interface brings back what is sent, whatever the option says",
    ipv6: ipv6 ? undefined : "this machine has no IPv6 loopback",
    fullDisk: fs.existsSync("/dev/full") ? undefined : "no /dev/full on this machine",
  };
}

/** Takes from the superuser what others do not have, and leaves everybody else as they are. */
function unprivileged(): string {
  const taken = "-dac_override,-dac_read_search,-net_bind_service";
  return process.getuid?.() === 0 ? `setpriv --bounding-set ${taken} -- ` : "";
}

function lacksUnprivileged(): string | undefined {
  const { status } = spawnSync("/bin/sh", ["-c", `${unprivileged()}true`]);
  return status === 0 ? undefined : "this user's rights cannot be taken away";
}

function lacksPrivilegedPort(): string | undefined {
  const setting = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
  const first = fs.existsSync(setting) ? Number(fs.readFileSync(setting, "utf8")) : 0;
  return first > 1 ? undefined : "every port is everybody's on this machine";
}

function createWorld(runtime: Runtime, shared: Pick<World, "certificates">): World {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "covey-compliance-"));
  const cleanups: (() => void)[] = [];
  return {
    runtime,
    directory,
    ...shared,
    run: (body) => body,
    connectWithoutCertificate,
    // deno-lint-ignore require-await -- the harness's form
    resumingClient: async (set, version) => opensslClient(directory, set, version),
    keepAlive,
    async nameServer(table, mode) {
      const server = await startNameServer(table, mode);
      cleanups.push(server.close);
      return server;
    },
    async silentAddress() {
      const silent = await openSilentPort();
      cleanups.push(silent.close);
      return { kind: "tcp", host: "127.0.0.1", port: silent.port };
    },
    async staleUnixPath() {
      // Renamed while it is listened on, the file is not found when its listener removes it.
      const probe = new Probe(runtime);
      const listener = await runtime.net.listen(
        listenOn({ kind: "unix", path: `${directory}/fresh` }, probe),
      );
      fs.renameSync(`${directory}/fresh`, `${directory}/stale`);
      listener.stop();
      return `${directory}/stale`;
    },
    program,
    // The reader is gone before the program writes.
    brokenPipeProgram: (name, ...args) => inShell(`{ "$@" | true; } ; exit 0`, name, ...args),
    redirectedProgram: (path, name, ...args) => {
      return inShell(`exec "$@" >>'${path}'`, name, ...args);
    },
    openDescriptors: () => fs.readdirSync("/proc/self/fd").length,
    children,
    forbid(path) {
      const { mode } = fs.statSync(path);
      fs.chmodSync(path, 0);
      cleanups.push(() => {
        if (fs.existsSync(path)) fs.chmodSync(path, mode);
      });
    },
    unprivilegedProgram: (name, ...args) => inShell(`exec ${unprivileged()}"$@"`, name, ...args),
    collectingProgram: (name, ...args) => {
      const { command, args: [run, ...rest] } = program(name, ...args);
      const flags = "Bun" in globalThis ? [] : ["--v8-flags=--expose-gc"];
      return { command, args: [run, ...flags, ...rest] };
    },
    ungrantedProgram: (name, ...args) => {
      const { command, args: [run, _all, ...rest] } = program(name, ...args);
      return { command, args: [run, "--no-prompt", ...rest] };
    },
    limitedProgram: (limit, name, ...args) => {
      return inShell(`ulimit -n ${limit}; exec "$@"`, name, ...args);
    },
    fullPath: () => "/dev/full",
    // The memory at address 0 is nobody's: the kernel answers EIO.
    brokenPath: () => "/proc/self/mem",
    // Nobody removes files there, not even root.
    deniedPath: () => "/proc/version",
    // deno-lint-ignore require-await -- the harness's form
    async close() {
      for (const cleanup of cleanups) cleanup();
      fs.rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Another process of this engine that runs one of the suite's programs. */
function program(name: string, ...args: string[]): { command: string; args: string[] } {
  const main = new URL("./program_main.ts", import.meta.url).pathname;
  const engine = "Bun" in globalThis ? ["run"] : ["run", "--allow-all", "--no-check", "--quiet"];
  return { command: process.execPath, args: [...engine, main, name, ...args] };
}

function inShell(
  line: string,
  name: string,
  ...args: string[]
): { command: string; args: string[] } {
  const inner = program(name, ...args);
  return { command: "/bin/sh", args: ["-c", line, "sh", inner.command, ...inner.args] };
}

/** From /proc/PID/stat: number, name in brackets, state, number of the parent. */
function children(): string[] {
  const found: string[] = [];
  for (const name of fs.readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    let stat: string;
    try {
      stat = fs.readFileSync(`/proc/${name}/stat`, "utf8");
    } catch {
      // It ended meanwhile.
      continue;
    }
    const [, program, state, parent] = /\((.*)\) (\S) (\d+)/s.exec(stat) ?? [];
    if (Number(parent) === process.pid) found.push(`${name} ${program} ${state}`);
  }
  return found;
}

/** From the kernel's table of sockets, see proc(5) and `get_tcp4_sock` in Linux. */
function keepAlive(port: number): { restsMs: number[]; systemMs: number } {
  const name = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const restsMs: number[] = [];
  for (const line of fs.readFileSync("/proc/net/tcp", "utf8").split("\n").slice(1)) {
    const [, local = "", remote = "", state, , timer = ""] = line.trim().split(/\s+/);
    // Established ones; timer 2 is this one's, in hundredths of a second.
    const here = state === "01" && (local.endsWith(name) || remote.endsWith(name));
    if (here && timer.startsWith("02:")) restsMs.push(parseInt(timer.slice(3), 16) * 10);
  }
  const setting = fs.readFileSync("/proc/sys/net/ipv4/tcp_keepalive_time", "utf8");
  return { restsMs, systemMs: Number(setting) * 1000 };
}

/** By the engine's own calls, since the port always shows a certificate. */
async function connectWithoutCertificate(
  address: Address,
  authorities: string,
): Promise<Uint8Array> {
  if (address.kind !== "tcp") throw new Error("made for TCP only");
  const chunks: Uint8Array[] = [];
  if ("Bun" in globalThis) {
    await new Promise<void>((resolve, reject) => {
      Bun.connect({
        hostname: address.host,
        port: address.port,
        tls: { ca: authorities, serverName: "localhost" },
        socket: {
          handshake: (socket) => void socket.write("hello"),
          data: (_socket, chunk) => void chunks.push(new Uint8Array(chunk)),
          close: () => resolve(),
          error: () => resolve(),
        },
      }).catch(reject);
    });
    return concatBytes(chunks);
  }
  const connection = await Deno.connectTls({
    hostname: "localhost",
    port: address.port,
    caCerts: [authorities],
  });
  try {
    await connection.write(new TextEncoder().encode("hello"));
    const buffer = new Uint8Array(1000);
    for (;;) {
      const count = await connection.read(buffer);
      if (count === null) break;
      chunks.push(buffer.slice(0, count));
    }
  } catch {
    // The server refused in the middle of it, as it should.
  } finally {
    connection.close();
  }
  return concatBytes(chunks);
}
