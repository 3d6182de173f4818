/** `covey kv del KEY`. */
import type { CliContext } from "../context.ts";
import type { NodeFlags } from "../flags.ts";
import { entryObject, printEntry } from "./bytes.ts";
import { withKv } from "./client.ts";
import { type SelectionFlags, selectKeys, withRangeEnd } from "./selection.ts";

/** The flags of `covey kv del`. */
export interface DeleteFlags extends NodeFlags, SelectionFlags {
  readonly "prev-kv"?: boolean;
}

/** Prints how many keys are gone. */
export async function del(
  this: CliContext,
  flags: DeleteFlags,
  key: string,
  end?: string,
): Promise<void> {
  const keys = selectKeys(key, withRangeEnd(flags, end));
  await withKv(this, flags, async (kv) => {
    const { deleted, revision, previous } = await kv.delete(keys, {
      previous: flags["prev-kv"] ?? false,
    });
    if (flags.json) {
      const before = flags["prev-kv"]
        ? { previous: previous.map((entry) => entryObject(entry)) }
        : {};
      await this.printJson({ deleted, revision, ...before });
      return;
    }
    await this.print(String(deleted));
    for (const entry of previous) await printEntry(this, entry, {});
  });
}
