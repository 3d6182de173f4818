/** `covey kv ls [PREFIX]`: the keys, and only they. */
import type { CliContext } from "../context.ts";
import type { NodeFlags } from "../flags.ts";
import { printEntry } from "./bytes.ts";
import { askKv } from "./client.ts";
import { readPages } from "./pages.ts";

/** The flags of `covey kv ls`. */
export interface ListFlags extends NodeFlags {
  readonly rev?: number;
  readonly limit?: number;
  readonly serializable?: boolean;
  readonly hex?: boolean;
}

export async function ls(this: CliContext, flags: ListFlags, prefix = ""): Promise<void> {
  await askKv(this, flags, async (kv) => {
    const pages = readPages(kv, { prefix }, {
      limit: flags.limit ?? 0,
      revision: flags.rev ?? 0,
      serializable: flags.serializable ?? false,
      keysOnly: true,
    });
    for await (const page of pages) {
      for (const entry of page.entries) {
        await printEntry(this, entry, { ...flags, "keys-only": true });
      }
      if (page.more) this.note(`there are more; --limit ${flags.limit} left them out`);
    }
  });
}
