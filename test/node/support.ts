/** Nodes for tests, on the runtime that executes them: quiet, in memory, on free ports. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LogRecord } from "../../src/base/log.ts";
import { type Code, CoveyError } from "../../src/base/error.ts";
import { createLog, type Log } from "../../src/log.ts";
import type { Node } from "../../src/node.ts";
import type { Runtime } from "../../src/runtime/port.ts";
import { makeCertificates } from "../support/certificates.ts";
import { selectRuntime, startNode, type StartOptions } from "../../src/start.ts";

/** The engine that executes this test; the other one's files must not even load. */
export const runtime: Runtime = await selectRuntime();

/** Without a port of its own: the system chooses. */
export const anyPort = "tcp://127.0.0.1:0";

/** A log that prints nothing and keeps everything. */
export async function keepLog(): Promise<{ log: Log; records: LogRecord[] }> {
  const log = await createLog(runtime, { level: "trace", node: "test", format: "none" });
  const records: LogRecord[] = [];
  log.subscribe((record) => void records.push(record));
  return { log, records };
}

/** What a test's node is, where it does not say otherwise. */
export async function quietOptions(options: StartOptions): Promise<StartOptions> {
  return {
    runtime,
    logger: (await keepLog()).log,
    ...options,
    node: { memory_only: options.node?.data === undefined, listen: [anyPort], ...options.node },
    admin: { enabled: false, listen: anyPort, ...options.admin },
  };
}

/** Starts a node: in memory unless the options name a data directory, admin off unless they do. */
export async function startQuiet(options: StartOptions = {}): Promise<Node> {
  return await startNode(await quietOptions(options));
}

/** Runs a test in a folder of its own that is gone afterwards. */
export async function inFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "covey-node-"));
  try {
    return await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Makes certificates; what it returns writes one pair and gives the section `tls` that names it. */
export async function makeTlsFiles(folder: string) {
  const certificates = await makeCertificates();
  return (name: "good" | "renewed" | "rogue" | "expired") => {
    const files = {
      certificate_file: `${folder}/${name}.crt`,
      key_file: `${folder}/${name}.key`,
      authorities_file: `${folder}/authorities.crt`,
    };
    writeFileSync(files.certificate_file, certificates[name].certificate);
    writeFileSync(files.key_file, certificates[name].key);
    writeFileSync(files.authorities_file, certificates.authorities);
    return { mode: "on", ...files } as const;
  };
}

/** The error of what must fail: a CoveyError with this code and a message that fits. */
export async function failure(
  work: Promise<unknown> | (() => Promise<unknown>),
  code: Code,
  message: RegExp,
): Promise<CoveyError> {
  let error: unknown;
  try {
    await (typeof work === "function" ? work() : work);
  } catch (thrown) {
    error = thrown;
  }
  assert.ok(error instanceof CoveyError, `it threw ${String(error)}`);
  assert.equal(error.code, code, error.message);
  assert.match(error.rawMessage, message);
  return error;
}

/** A promise and what settles it. */
export interface Gate<T = void> {
  readonly promise: Promise<T>;
  open(value: T): void;
}

/** Something that a test lets through when it is time. */
export function makeGate<T = void>(): Gate<T> {
  let open: (value: T) => void = () => {};
  const promise = new Promise<T>((resolve) => open = resolve);
  return { promise, open };
}
