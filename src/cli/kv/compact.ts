/** `covey kv compact REV`: forget what was superseded up to a revision. */
import type { CliContext } from "../context.ts";
import type { NodeFlags } from "../flags.ts";
import { withKv } from "./client.ts";

export async function compact(this: CliContext, flags: NodeFlags, rev: number): Promise<void> {
  await withKv(this, flags, async (kv) => {
    const { revision } = await kv.compact(rev);
    if (flags.json) await this.printJson({ compactRevision: rev, revision });
    else await this.print(`compacted revision ${rev}`);
  });
}
