/// <reference types="npm:bun-types@1.4.5" />
/** The harness for Bun and Deno: real sockets on loopback, a folder of its own, real time. */
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
    denied: linux,
    quietMulticast: "the loopback interface brings back what is sent, whatever the option says",
    ipv6: ipv6 ? undefined : "this machine has no IPv6 loopback",
    fullDisk: fs.existsSync("/dev/full") ? undefined : "no /dev/full on this machine",
  };
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
    limitedProgram: (limit, name, ...args) => {
      return inShell(`ulimit -n ${limit}; exec "$@"`, name, ...args);
    },
    fullPath: () => "/dev/full",
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
