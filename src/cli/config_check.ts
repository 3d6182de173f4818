/** `covey config check`: would a node start with this? */
import { certificateWarning } from "../base/certificate.ts";
import { checkMaterial } from "../config/files.ts";
import { checkSocketPaths } from "../config/socket_paths.ts";
import { loadConfig } from "../config/load.ts";
import { ConfigError, type Problem } from "../config/problem.ts";
import { type ConfigFlags, loadRequest } from "./config_flags.ts";
import type { CliContext } from "./context.ts";
import { ExitCode } from "./exit.ts";

/** The flags of `covey config check`. */
export interface CheckFlags extends ConfigFlags {
  readonly json?: boolean;
}

/** Prints the verdict; with `--json` each problem is a line of its own on standard output. */
export async function configCheck(this: CliContext, flags: CheckFlags): Promise<void> {
  const request = loadRequest(flags);
  try {
    const loaded = await loadConfig(this.runtime, request);
    checkSocketPaths(this.runtime.host, loaded);
    const validity = await checkMaterial(this.runtime, loaded);
    const expiry = validity && certificateWarning(validity, this.runtime.clock.wallMs());
    const { file } = loaded;
    const warnings = [...loaded.warnings, ...(expiry === undefined ? [] : [expiry])];
    for (const warning of warnings) this.note(warning);
    if (flags.json) await this.printJson({ ok: true, file: file ?? null, warnings });
    else await this.print(`${file ?? "variables and flags"}: ok`);
  } catch (error) {
    if (!flags.json || !(error instanceof ConfigError)) throw error;
    for (const problem of error.problems) await this.printJson(problemObject(problem));
    this.exitWith(ExitCode.badConfig);
  }
}

function problemObject({ origin, key, message }: Problem): Record<string, unknown> {
  return { ok: false, ...origin, key: key === "" ? null : key, message };
}
