/** `covey kv get KEY`. */
import type { KvSortOrder, KvSortTarget, RangeOptions } from "../../kv/client_types.ts";
import type { CliContext } from "../context.ts";
import { ExitCode, UsageError } from "../exit.ts";
import type { NodeFlags } from "../flags.ts";
import { printEntry, type ShowFlags } from "./bytes.ts";
import { askKv } from "./client.ts";
import { readPages } from "./pages.ts";
import type { Sort } from "./values.ts";
import { isInterval, type SelectionFlags, selectKeys, withRangeEnd } from "./selection.ts";

/** The flags of `covey kv get`. */
export interface GetFlags extends NodeFlags, SelectionFlags, ShowFlags {
  readonly rev?: number;
  readonly limit?: number;
  readonly sort?: Sort;
  readonly "sort-by"?: KvSortTarget;
  readonly order?: KvSortOrder;
  readonly "count-only"?: boolean;
  readonly serializable?: boolean;
}

/** A single key that is not there is exit code 1; an interval may well be empty. */
export async function get(
  this: CliContext,
  given: GetFlags,
  key: string,
  end?: string,
): Promise<void> {
  const flags = withRangeEnd(given, end);
  const shapes = (["keys-only", "print-value-only", "count-only"] as const)
    .filter((name) => flags[name] === true);
  if (shapes.length > 1) throw new UsageError(`give one of --${shapes.join(" and --")}`);
  const keys = selectKeys(key, flags);
  const options: RangeOptions = {
    limit: flags.limit ?? 0,
    revision: flags.rev ?? 0,
    serializable: flags.serializable ?? false,
    keysOnly: flags["keys-only"] ?? false,
  };
  await askKv(this, flags, async (kv) => {
    if (flags["count-only"]) {
      const { count, revision } = await kv.range(keys, { ...options, countOnly: true });
      if (flags.json) await this.printJson({ count, revision });
      else await this.print(String(count));
      return;
    }
    const sort = sortOf(flags);
    // Only in the keys' order does a page say where the next begins.
    const byKey = sort === undefined || (sort.by === "key" && sort.order === "ascend");
    const pages = byKey
      ? readPages(kv, keys, options)
      : [await kv.range(keys, { ...options, sortBy: sort.by, order: sort.order })];
    let found = 0;
    let more = false;
    for await (const page of pages) {
      for (const entry of page.entries) await printEntry(this, entry, flags);
      found += page.entries.length;
      more = page.more;
    }
    if (more) this.note(`there are more; --limit ${flags.limit} left them out`);
    if (found === 0 && !isInterval(flags)) {
      const when = flags.rev ? ` at revision ${flags.rev}` : "";
      this.note(`there is no key ${JSON.stringify(key)}${when}`);
      this.exitWith(ExitCode.failed);
    }
  });
}

/** One flag of ours, or etcdctl's two. */
function sortOf({ sort, "sort-by": by, order }: GetFlags): Sort | undefined {
  if (by === undefined && order === undefined) return sort;
  if (sort !== undefined) throw new UsageError("give --sort, or --sort-by and --order");
  return { by: by ?? "key", order: order ?? "ascend" };
}
