/** `covey kv put KEY VALUE`. */
import type { CliContext } from "../context.ts";
import { UsageError } from "../exit.ts";
import type { NodeFlags } from "../flags.ts";
import { entryObject, printEntry } from "./bytes.ts";
import { withKv } from "./client.ts";
import { readInput } from "./input.ts";

/** The flags of `covey kv put`. */
export interface PutFlags extends NodeFlags {
  readonly lease?: number;
  readonly "prev-kv"?: boolean;
  readonly "ignore-lease"?: boolean;
  readonly "ignore-value"?: boolean;
}

/** `-` reads the value from standard input, every byte of it. */
export async function put(
  this: CliContext,
  flags: PutFlags,
  key: string,
  text?: string,
): Promise<void> {
  if (key === "") throw new UsageError("KEY is empty; a key has at least one byte");
  if (flags.lease !== undefined && flags["ignore-lease"]) {
    throw new UsageError("--ignore-lease keeps the lease that is there, and --lease names another");
  }
  if (flags["ignore-value"] && text !== undefined) {
    throw new UsageError("--ignore-value keeps the value that is there; leave VALUE out");
  }
  if (text === undefined && !flags["ignore-value"]) {
    throw new UsageError(
      "VALUE is missing; - reads it from standard input, --ignore-value keeps the one that is there",
    );
  }
  const value = text === "-" ? await readInput(this, "type the value; Ctrl-D ends it") : text;
  await withKv(this, flags, async (kv) => {
    const { revision, previous } = await kv.put(key, value, {
      lease: flags.lease ?? 0,
      previous: flags["prev-kv"] ?? false,
      keepLease: flags["ignore-lease"] ?? false,
    });
    if (flags.json) {
      const before = previous === undefined ? {} : { previous: entryObject(previous) };
      await this.printJson({ revision, ...before });
      return;
    }
    await this.print("OK");
    if (previous !== undefined) await printEntry(this, previous, {});
  });
}
