/** `covey raft repair`: the node that is left goes on alone. */
import { loadConfig } from "../../config/load.ts";
import { repairData } from "../../start.ts";
import { askLine } from "../ask.ts";
import { loadRequest } from "../config_flags.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../exit.ts";

/** The flags of `covey raft repair`. */
export interface RepairFlags {
  readonly config?: string;
  readonly data?: string;
  readonly yes?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** Nothing can undo it, so that it takes a name typed on a terminal, or `--yes`. */
export async function repair(this: CliContext, flags: RepairFlags): Promise<void> {
  const { config, data } = flags;
  const loaded = await loadConfig(this.runtime, loadRequest({ config, data }));
  const { node } = loaded.config;
  if (flags.yes !== true) await confirm(this, node.name, node.data);
  const repaired = await repairData(this.runtime, loaded, { force: flags.force });
  for (const { group, replica, lastIndex, dropped } of repaired) {
    if (flags.json) await this.printJson({ group, replica, lastIndex, dropped });
    else {
      await this.print(
        `group ${group}: replica ${replica} is the only voter, with entries up to ${lastIndex}; ` +
          `without ${dropped.join(", ")}`,
      );
    }
  }
  this.note(
    repaired.length === 0
      ? "there was nothing to repair: it is alone already"
      : "start this node, and none of the others ever again; covey raft add brings new ones. The " +
        "cluster has a new id, under which the others are refused",
  );
}

async function confirm(context: CliContext, name: string, data: string): Promise<void> {
  if (!context.runtime.host.isTerminal("stdin")) {
    throw new UsageError("nothing was repaired: without a terminal to ask on, --yes must say so");
  }
  const typed = await askLine(
    context,
    `The node in ${data} goes on alone. What only the other voters had is gone, and none of them ` +
      `may ever be started again. Type ${name} to go on: `,
  );
  if (typed !== name) throw new UsageError("nothing was repaired");
}
