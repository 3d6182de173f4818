/** `covey kv elect NAME VALUE`: stand for election, or see who is elected. */
import { Code, CoveyError } from "../../base/error.ts";
import { toHex } from "../../base/bytes.ts";
import type { KvClient } from "../../kv/client.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../exit.ts";
import type { NodeFlags } from "../flags.ts";
import { aborted, Interrupt } from "../interrupt.ts";
import { OutputWatch } from "../output_watch.ts";
import { bytesField, entryObject, printEntry, printLines, shownBytes } from "./bytes.ts";
import { withKv } from "./client.ts";
import { saidOfWaiting } from "./waited.ts";

/** The flags of `covey kv elect`. */
export interface ElectFlags extends NodeFlags {
  readonly listen?: boolean;
  /** Milliseconds. */
  readonly ttl?: number;
}

/** Prints the key of the candidacy once it is elected, and holds it until Ctrl-C. */
export async function elect(
  this: CliContext,
  flags: ElectFlags,
  name: string,
  value?: string,
): Promise<void> {
  if (name === "") throw new UsageError("NAME is empty; name the election");
  if (flags.listen && value !== undefined) {
    throw new UsageError("--listen looks on; VALUE is for candidates");
  }
  if (!flags.listen && value === undefined) {
    throw new UsageError("VALUE is missing: what the elected one is known by; --listen looks on");
  }
  using interrupt = new Interrupt(this.runtime.host);
  await withKv(this, flags, async (kv) => {
    try {
      if (value === undefined) await observe(this, flags, kv, name, interrupt);
      else await campaign(this, flags, kv, name, value, interrupt);
    } catch (error) {
      if (!interrupt.signal.aborted || CoveyError.from(error).code !== Code.canceled) {
        throw saidOfWaiting(error, "the election was not won", flags.timeout);
      }
      // Looking on has no end of its own; a candidate that was not elected has failed.
      if (value !== undefined) this.exitWith(interrupt.exitCode);
    }
  });
}

async function campaign(
  context: CliContext,
  flags: ElectFlags,
  kv: KvClient,
  name: string,
  value: string,
  interrupt: Interrupt,
): Promise<void> {
  await using leadership = await kv.election(name).campaign(value, {
    signal: interrupt.signal,
    ...(flags.timeout === undefined ? {} : { timeoutMs: flags.timeout }),
    ...(flags.ttl === undefined ? {} : { ttlMs: flags.ttl }),
  });
  const { key, revision, lease } = leadership;
  if (flags.json) {
    await context.printJson({ event: "elected", ...bytesField("key", key), revision, lease });
  } else await printLines(context, [shownBytes(context, key), value]);
  await Promise.race([interrupt.wait(), aborted(leadership.signal)]);
  if (interrupt.signal.aborted) return;
  const { reason } = leadership.signal;
  throw new CoveyError(
    Code.aborted,
    `no longer elected: ${CoveyError.from(reason).rawMessage} (${toHex(key)})`,
    { cause: reason },
  );
}

async function observe(
  context: CliContext,
  flags: ElectFlags,
  kv: KvClient,
  name: string,
  interrupt: Interrupt,
): Promise<void> {
  using output = new OutputWatch(context.runtime.host);
  const signal = AbortSignal.any([interrupt.signal, output.signal]);
  try {
    for await (const entry of kv.election(name).observe({ signal })) {
      if (flags.json) await context.printJson({ event: "elected", ...entryObject(entry) });
      else await printEntry(context, entry, {});
    }
  } finally {
    output.signal.throwIfAborted();
  }
}
