/** Picks the runtime. What runs here decides which half of the seam is loaded, never the reverse. */
import { Code, CoveyError } from "./base/error.ts";
import type { LoadedConfig, LoadRequest } from "./config/load.ts";
import type { ConfigOptions } from "./config/types.ts";
import type { Log } from "./log.ts";
import type { Node } from "./node.ts";
import type { RepairedGroup, RepairOptions } from "./node/repair.ts";
import type { RestoredStore } from "./node/restore.ts";
import type { SavedStore } from "./node/saved_store.ts";
import { NetError, type Runtime } from "./runtime/port.ts";

/** The oldest versions that the compliance suite passes on. */
const least = { Bun: "1.4.5", Deno: "2.9.5" } as const;

/** What the engines put into the global scope. */
interface EngineGlobals {
  readonly Bun?: { readonly version: string };
  readonly Deno?: { readonly version: { readonly deno: string } };
  readonly process?: { readonly version?: string };
}

/**
 * The runtime of this process. Rejects with `failed_precondition` on anything but a recent Bun or
 * Deno. The concrete runtime is imported only after the check: a `bun:` import ends Deno.
 */
export async function selectRuntime(): Promise<Runtime> {
  const engine = globalThis as EngineGlobals;
  if (engine.Bun !== undefined) {
    requireVersion("Bun", engine.Bun.version);
    const { createBunRuntime } = await import("./runtime/bun.ts");
    return createBunRuntime();
  }
  if (engine.Deno !== undefined) {
    requireVersion("Deno", engine.Deno.version.deno);
    const { createDenoRuntime } = await import("./runtime/deno.ts");
    return createDenoRuntime();
  }
  const here = engine.process?.version === undefined
    ? "something else"
    : `Node.js ${engine.process.version}`;
  throw new CoveyError(
    Code.failedPrecondition,
    `covey runs on Bun ${least.Bun} or Deno ${least.Deno} and later, and this is ${here}; run ` +
      "the compiled binary, which needs neither, or start it with bun or deno",
  );
}

function requireVersion(name: keyof typeof least, found: string): void {
  if (isAtLeast(found, least[name])) return;
  throw new CoveyError(
    Code.failedPrecondition,
    `covey needs ${name} ${least[name]} or later, and this is ${name} ${found}; upgrade it, or ` +
      "run the compiled binary, which needs neither",
  );
}

/** Compares "1.4.5" with "1.10.0-canary.1" number by number; what follows a hyphen is ignored. */
export function isAtLeast(found: string, wanted: string): boolean {
  const a = found.split("-")[0].split(".").map(Number);
  const b = wanted.split(".").map(Number);
  for (let index = 0; index < b.length; index++) {
    if ((a[index] ?? 0) !== b[index]) return (a[index] ?? 0) > b[index];
  }
  return true;
}

/** How a program starts a node: the configuration's sections, and what only a program can say. */
export interface StartOptions extends ConfigOptions {
  /** A TOML or JSON file; the options given here win over it. */
  readonly file?: string;
  /** Read the `COVEY_` variables too; they win over the file. Default false. */
  readonly environment?: boolean;
  /** As `covey agent --dev`: memory only, loopback only, anonymous peers may do everything. */
  readonly dev?: boolean;
  /** Where the log goes. Default: standard error. */
  readonly logger?: Log;
  /** Default: the runtime of this process. */
  readonly runtime?: Runtime;
}

/**
 * Starts a node in this process. Rejects with a CoveyError: `invalid_argument` for a bad
 * configuration (a ConfigError with all problems), `failed_precondition` for a data directory in
 * use or an address that is taken, `permission_denied` for one that is not allowed.
 */
export async function startNode(options: StartOptions = {}): Promise<Node> {
  const { file, environment, dev, logger, runtime: given, ...config } = options;
  const runtime = given ?? await selectRuntime();
  const { loadConfig } = await import("./config/load.ts");
  const request: LoadRequest = { file, environment, dev, options: config };
  let loaded: LoadedConfig;
  try {
    loaded = await loadConfig(runtime, request);
  } catch (error) {
    throw explainDenied(error, environment === true);
  }
  return await startLoaded(runtime, loaded, { dev, logger });
}

/** Starts a node from a configuration that was loaded and checked already. */
export async function startLoaded(
  runtime: Runtime,
  loaded: LoadedConfig,
  options: Pick<StartOptions, "dev" | "logger">,
): Promise<Node> {
  const { listSettings } = await import("./config/show.ts");
  const { Node } = await import("./node.ts");
  return await Node.start({
    runtime,
    config: loaded.config,
    dev: options.dev,
    warnings: loaded.warnings,
    settings: () => listSettings(loaded),
    log: options.logger,
  });
}

/**
 * What an operator does when most voters of a cluster are lost for ever: the replicas in the data
 * directory of this configuration become the only voters of their groups. The node must not run.
 */
export async function repairData(
  runtime: Runtime,
  loaded: LoadedConfig,
  options: RepairOptions = {},
): Promise<readonly RepairedGroup[]> {
  const { repairNode } = await import("./node/repair.ts");
  return await repairNode(runtime, loaded.config, options);
}

/**
 * Makes the data directory of this configuration, which is in no cluster, one of a new cluster that
 * begins with a saved store.
 */
export async function restoreData(
  runtime: Runtime,
  loaded: LoadedConfig,
  pieces: AsyncIterable<Uint8Array>,
): Promise<RestoredStore> {
  const { restoreNode } = await import("./node/restore.ts");
  return await restoreNode(runtime, loaded.config, pieces);
}

/** What a saved store holds; rejects when the pieces are not a whole one. */
export async function readSavedStore(pieces: AsyncIterable<Uint8Array>): Promise<SavedStore> {
  const { describeStore } = await import("./node/saved_store.ts");
  return await describeStore(pieces);
}

/** Reading the environment or the host's name takes a permission on Deno. */
function explainDenied(error: unknown, environment: boolean): unknown {
  if (!(error instanceof NetError)) return error;
  return new CoveyError(
    error.kind === "denied" ? Code.permissionDenied : Code.failedPrecondition,
    // Without the environment only the host's name is left to have failed.
    environment ? error.message : `${error.message}; or name the node yourself with node.name`,
    { cause: error },
  );
}
