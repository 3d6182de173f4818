/** `covey version`. */
import { version } from "../version.ts";
import type { CliContext } from "./context.ts";
import { ExitCode } from "./exit.ts";

/** The flags of `covey version`. */
export interface VersionFlags {
  readonly json?: boolean;
  readonly "self-test"?: boolean;
}

/** Prints what runs here: covey, the engine below it, the processor. */
export async function versionCommand(this: CliContext, flags: VersionFlags): Promise<void> {
  const { name, version: engine, host } = this.runtime;
  if (flags.json) {
    await this.printJson({
      version,
      runtime: name,
      runtime_version: engine,
      architecture: host.architecture,
    });
  } else {
    await this.print(`covey ${version} (${name} ${engine}, ${host.architecture})`);
  }
  if (flags["self-test"] !== true) return;
  const { runSelfTest } = await import("./self_test.ts");
  for (const result of await runSelfTest(this.runtime)) {
    if (flags.json) await this.printJson({ ...result, ok: result.failure === undefined });
    else await this.print(`${result.failure === undefined ? "ok" : "FAILED"} ${result.part}`);
    if (result.failure !== undefined) {
      this.note(`${result.part}: ${result.failure}`);
      this.exitWith(ExitCode.failed);
    }
  }
}
