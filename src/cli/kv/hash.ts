/** `covey kv hash`: whether nodes hold the same. */
import type { CliContext } from "../context.ts";
import type { NodeFlags } from "../flags.ts";
import { askKv } from "./client.ts";

export async function hash(this: CliContext, flags: NodeFlags): Promise<void> {
  await askKv(this, flags, async (kv) => {
    const { hash, appliedIndex, header } = await kv.hash();
    const { revision } = header;
    if (flags.json) await this.printJson({ hash, appliedIndex, revision });
    else await this.print(hash);
    this.note(`at index ${appliedIndex}, revision ${revision}`);
  });
}
