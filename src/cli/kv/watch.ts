/** `covey kv watch KEY`: changes as they happen, until Ctrl-C. */
import { Code, CoveyError } from "../../base/error.ts";
import { CompactedError } from "../../kv/client_error.ts";
import type { KvWatchEvent } from "../../kv/client_types.ts";
import type { CliContext } from "../context.ts";
import type { NodeFlags } from "../flags.ts";
import { Interrupt } from "../interrupt.ts";
import { entryObject, printLines, type ShowFlags, shownBytes } from "./bytes.ts";
import { askKv } from "./client.ts";
import { type SelectionFlags, selectKeys } from "./selection.ts";

/** The flags of `covey kv watch`. */
export interface WatchFlags extends NodeFlags, SelectionFlags, Pick<ShowFlags, "hex"> {
  readonly rev?: number;
  readonly "prev-kv"?: boolean;
}

/** Each event is written at once: what happened, the key, and the value of a put. */
export async function watch(this: CliContext, flags: WatchFlags, key: string): Promise<void> {
  const keys = selectKeys(key, flags);
  using interrupt = new Interrupt(this.runtime.host);
  await askKv(this, flags, async (kv) => {
    await using watch = kv.watch(keys, {
      signal: interrupt.signal,
      previous: flags["prev-kv"] ?? false,
      ...(flags.rev === undefined ? {} : { from: flags.rev }),
    });
    try {
      for await (const event of watch) await printEvent(this, event, flags);
    } catch (error) {
      if (interrupt.signal.aborted && CoveyError.from(error).code === Code.canceled) return;
      if (!(error instanceof CompactedError)) throw error;
      throw new CoveyError(
        error.code,
        `the revision is compacted; the oldest that can be watched is --rev ` +
          `${error.compactRevision}`,
        { cause: error },
      );
    }
  });
}

async function printEvent(
  context: CliContext,
  event: KvWatchEvent,
  flags: WatchFlags,
): Promise<void> {
  if (event.type === "progress") return;
  const { type, revision, entry, previous } = event;
  if (flags.json) {
    const isPut = type === "put";
    await context.printJson({
      event: type,
      revision,
      ...entryObject(entry, { hex: flags.hex, "keys-only": !isPut }),
      ...(previous === undefined ? {} : { previous: entryObject(previous, { hex: flags.hex }) }),
    });
    return;
  }
  const show = (bytes: Uint8Array): Uint8Array => shownBytes(context, bytes, flags.hex);
  const lines: (string | Uint8Array)[] = [type.toUpperCase()];
  if (previous !== undefined) lines.push(show(previous.key), show(previous.value));
  lines.push(show(entry.key), show(entry.value));
  await printLines(context, lines);
}
