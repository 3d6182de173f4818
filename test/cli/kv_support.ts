/** A node of its own in memory, for the commands of `covey kv`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "../../src/log.ts";
import { selectRuntime, startNode, type StartOptions } from "../../src/start.ts";
import { covey, type CoveyOptions, type CoveyRun } from "./node_support.ts";

export interface Store {
  /** For files of the test. */
  readonly folder: string;
  readonly address: string;
  /** `covey kv …` against the node. */
  kv(args: readonly string[], options?: CoveyOptions): Promise<CoveyRun>;
}

/** Runs a test with a node of its own. */
export async function withStore(
  body: (store: Store) => Promise<void>,
  options: StartOptions = {},
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "covey-kv-"));
  const address = `unix:${folder}/mesh.sock`;
  const runtime = await selectRuntime();
  try {
    await using _node = await startNode({
      dev: true,
      logger: await createLog(runtime, { level: "error", node: "test", format: "none" }),
      node: { listen: [address] },
      admin: { enabled: false },
      ...options,
    });
    await body({
      folder,
      address,
      kv: (args, more) =>
        covey(["kv", ...args], {
          ...more,
          environment: { COVEY_NODE: address, PATH: "/usr/bin:/bin" },
        }),
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
