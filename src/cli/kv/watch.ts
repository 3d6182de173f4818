/** `covey kv watch KEY`: changes as they happen, until Ctrl-C. */
import { decodeText, toHex } from "../../base/bytes.ts";
import { Code, CoveyError } from "../../base/error.ts";
import { CompactedError } from "../../kv/client_error.ts";
import type { KvWatchEvent } from "../../kv/client_types.ts";

import type { CliContext } from "../context.ts";
import { UsageError } from "../exit.ts";
import type { NodeFlags } from "../flags.ts";
import { Interrupt } from "../interrupt.ts";
import { OutputWatch } from "../output_watch.ts";
import { entryObject, printLines, type ShowFlags, shownBytes } from "./bytes.ts";
import { askKv } from "./client.ts";
import { runCommand } from "./command.ts";
import { type SelectionFlags, selectKeys } from "./selection.ts";

/** The flags of `covey kv watch`. */
export interface WatchFlags extends NodeFlags, SelectionFlags, Pick<ShowFlags, "hex"> {
  readonly rev?: number;
  readonly "prev-kv"?: boolean;
}

/**
 * Each event is written at once: what happened, the key, and the value of a put. A command is run
 * for each instead, one after the other.
 */
export async function watch(
  this: CliContext,
  flags: WatchFlags,
  key: string,
  ...command: string[]
): Promise<void> {
  if (command.length > 0 && !this.args.includes("--")) {
    const [end] = command;
    throw new UsageError(
      `${JSON.stringify(end)} is one argument too many: --range-end ${end} ends a range, and a ` +
        "command stands behind --",
    );
  }
  const keys = selectKeys(key, flags);
  using interrupt = new Interrupt(this.runtime.host);
  using output = new OutputWatch(this.runtime.host);
  // What a command does is not for a reader alone.
  const ends = command.length === 0 ? [interrupt.signal, output.signal] : [interrupt.signal];
  await askKv(this, flags, async (kv) => {
    await using watch = kv.watch(keys, {
      signal: AbortSignal.any(ends),
      previous: flags["prev-kv"] ?? false,
      ...(flags.rev === undefined ? {} : { from: flags.rev }),
    });
    try {
      for await (const event of watch) {
        if (command.length === 0) await printEvent(this, event, flags);
        else if (event.type !== "progress") await runFor(this, event, command, interrupt);
        if (interrupt.signal.aborted) return;
      }
    } catch (error) {
      if (command.length === 0) output.signal.throwIfAborted();
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

/** What the command makes of it is its own matter; that it failed is told, and the watch goes on. */
async function runFor(
  context: CliContext,
  { type, revision, entry }: Extract<KvWatchEvent, { readonly entry: unknown }>,
  command: readonly string[],
  interrupt: Interrupt,
): Promise<void> {
  const code = await runCommand(context, command, {
    environment: {
      COVEY_WATCH_EVENT: type.toUpperCase(),
      COVEY_WATCH_KEY: variableOf(entry.key),
      COVEY_WATCH_VALUE: variableOf(entry.value),
      COVEY_WATCH_REVISION: String(revision),
    },
    interrupt,
    end: interrupt.signal,
    input: false,
  });
  if (code !== 0 && !interrupt.signal.aborted) {
    context.note(`${command[0]} ended with exit code ${code} at revision ${revision}`);
  }
}

/** A variable can hold text without zeros; anything else is given in hexadecimal behind `0x`. */
function variableOf(bytes: Uint8Array): string {
  const text = decodeText(bytes);
  return text === undefined || text.includes("\0") ? `0x${toHex(bytes)}` : text;
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
