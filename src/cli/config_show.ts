/** `covey config show`: what is in force, and who said so. */
import { loadConfig } from "../config/load.ts";
import { type ConfigFlags, loadRequest } from "./config_flags.ts";
import type { CliContext } from "./context.ts";

/** The flags of `covey config show`. */
export interface ShowFlags extends ConfigFlags {
  readonly origin?: boolean;
  readonly json?: boolean;
}

/** Prints the effective configuration as a file that could be used again. */
export async function configShow(this: CliContext, flags: ShowFlags): Promise<void> {
  const loaded = await loadConfig(this.runtime, loadRequest(flags));
  const { showObject, showSettings, showToml } = await import("../config/show.ts");
  for (const warning of loaded.warnings) this.note(warning);
  if (!flags.json) await this.print(showToml(loaded, flags.origin === true));
  else if (!flags.origin) await this.printJson(showObject(loaded));
  else {
    for (const { key, value, origin } of showSettings(loaded)) {
      await this.printJson({ key, value, origin });
    }
  }
}
