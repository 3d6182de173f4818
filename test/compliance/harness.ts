/**
 * What the compliance suite needs of whatever it runs on.
 *
 * Each case gets a fresh {@link World}. A case never waits by itself: on the sim time is virtual
 * and somebody must turn the wheel, so the body runs inside `World.run`, waits for events through a
 * {@link Probe} and for time through the runtime's own clock.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Address } from "../../src/base/address.ts";
import type { Runtime } from "../../src/runtime/port.ts";
import type { CertificateSet } from "../support/certificates.ts";
import type { NameServerMode, NameServerTable } from "./name_server.ts";

/** What not every runtime or machine can do. */
export type Ability =
  | "unix"
  | "unixFiles"
  | "ipv6"
  | "names"
  /** A name server of the suite's own. */
  | "nameServer"
  | "tls"
  | "tlsMaterial"
  /** TLS as it is on the wire, open to whoever speaks it. */
  | "certificateless"
  | "kernelTimers"
  /** A TLS client that keeps its session and takes it up again. */
  | "resumption"
  | "udp"
  | "multicast"
  | "quietMulticast"
  | "http"
  | "httpTls"
  | "httpBytes"
  | "webSocket"
  | "child"
  | "brokenPipe"
  | "silentAddress"
  | "descriptorLimit"
  | "processTable"
  /** A collector of garbage that can be called. */
  | "collector"
  | "fullDisk"
  | "brokenDisk"
  /** A process that the modes of files apply to. */
  | "unprivileged"
  | "privilegedPort"
  /** What the user of the runtime grants, beside what the system does. */
  | "permissions"
  | "denied";

/** One of the three runtimes, as the suite sees it. */
export interface Harness {
  readonly name: Runtime["name"];
  /** Why cases that need an ability are skipped here, shown in the test output. */
  readonly lacks: Partial<Record<Ability, string>>;
  create(): Promise<World>;
}

/** The surroundings of one case. */
export interface World {
  readonly runtime: Runtime;
  /** An empty folder that exists. */
  readonly directory: string;
  /** Waits for `body` while the world's events happen. */
  run<T>(body: Promise<T>): Promise<T>;
  /** Releases everything, also after a failure. */
  close(): Promise<void>;
  /** With `tls`. */
  certificates?(): Promise<CertificateSet>;
  /** With `unixFiles`: a socket file whose process is gone. */
  staleUnixPath?(): Promise<string>;
  /** With `nameServer`: where to ask for this table; the sim asks nobody. */
  nameServer?(
    table: NameServerTable,
    mode: NameServerMode,
  ): Promise<{ readonly host: string; readonly port: number }>;
  /** With `silentAddress`: an address where connections are neither accepted nor refused. */
  silentAddress?(): Promise<Address>;
  /**
   * With `certificateless`: connects with TLS, shows no certificate, sends a few bytes, and tells
   * what came back until the end.
   */
  connectWithoutCertificate?(address: Address, authorities: string): Promise<Uint8Array>;
  /**
   * With `resumption`: a client that shows the good certificate, waits for a line or the end, and
   * goes. It takes up its session from its second connection on.
   */
  resumingClient?(
    set: CertificateSet,
    version: "TLSv1.3" | "TLSv1.2",
  ): Promise<(address: Address) => Promise<{ greeted: boolean; resumed: boolean }>>;
  /**
   * With `kernelTimers`: how long the kernel waits before it asks the peers of this port's TCP
   * connections for a sign of life, both ends, and how long it waits unless it is told.
   */
  keepAlive?(port: number): { restsMs: number[]; systemMs: number };
  /** With `fullDisk`: a path that can be opened for writing and has no room. */
  fullPath?(): string;
  /** With `brokenDisk`: a file that can be opened and whose medium fails. */
  brokenPath?(): string;
  /** With `denied`: a file that exists and that the system does not let anybody remove. */
  deniedPath?(): string;
  /** With `unprivileged`: takes every right to a file, a folder or a socket away. */
  forbid?(path: string): void;
  /** With `unprivileged`: a program without the rights of the superuser. */
  unprivilegedProgram?(name: string, ...args: string[]): { command: string; args: string[] };
  /** With `collector`: a program that can call it. */
  collectingProgram?(name: string, ...args: string[]): { command: string; args: string[] };
  /** With `permissions`: a program that was granted nothing. */
  ungrantedProgram?(name: string, ...args: string[]): { command: string; args: string[] };
  /** With `child`: what to spawn to run one of the {@link programs} with arguments. */
  program?(name: string, ...args: string[]): { command: string; args: string[] };
  /** With `brokenPipe`: the same, with a standard output that nobody reads. */
  brokenPipeProgram?(name: string, ...args: string[]): { command: string; args: string[] };
  /** With `brokenPipe`: the same, with standard output appended to a file. */
  redirectedProgram?(path: string, name: string, ...args: string[]): {
    command: string;
    args: string[];
  };
  /** With `processTable`: how many descriptors this process has open. */
  openDescriptors?(): number;
  /** With `processTable`: its children, zombies among them, each with its state and name. */
  children?(): string[];
  /** With `descriptorLimit`: the same, with that many descriptors for the new process. */
  limitedProgram?(limit: number, name: string, ...args: string[]): {
    command: string;
    args: string[];
  };
}

/** Declares one case. `needs` decides before the declaration whether it is skipped. */
export function compliance(
  harness: Harness,
  name: string,
  body: (world: World) => Promise<void>,
  ...needs: Ability[]
): void {
  const lacking = needs.map((need) => harness.lacks[need]).find((reason) => reason !== undefined);
  const skip = lacking === undefined ? false : `${harness.name}: ${lacking}`;
  const label = skip === false ? name : `${name} (skipped: ${skip})`;
  test(label, { skip }, async () => {
    const world = await harness.create();
    try {
      await world.run(body(world));
    } finally {
      await world.close();
    }
  });
}

/** Lets time pass where no event tells that nothing happened. */
export function pass(runtime: Runtime, ms: number): Promise<void> {
  return new Promise((resolve) => void runtime.clock.timer(ms, resolve, undefined));
}

/** Fails a case that waits for what never comes, with the name of what it waited for. */
export function within<T>(
  runtime: Runtime,
  what: string,
  work: Promise<T>,
  ms = 20_000,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = runtime.clock.timer(ms, () => reject(new Error(`waited for ${what}`)), undefined);
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}

/** Waits for a rejection and gives the kind of its NetError or DiskError. */
export async function kindOf(work: Promise<unknown>): Promise<string> {
  const outcome = await work.then(
    () => "no error",
    (error: unknown) => {
      const kind = (error as { kind?: unknown }).kind;
      assert.equal(typeof kind, "string", `expected an error with a kind, got ${error}`);
      return kind as string;
    },
  );
  return outcome;
}

/** Bytes that differ at every place, so that a lost, doubled or swapped piece shows. */
export function pattern(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0;
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

/** assert.deepEqual on megabytes takes seconds; this names the first difference. */
export function sameBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(actual.length, expected.length, `${what}: length`);
  for (let at = 0; at < actual.length; at++) {
    if (actual[at] !== expected[at]) {
      assert.fail(`${what}: byte ${at} is ${actual[at]}, expected ${expected[at]}`);
    }
  }
}
