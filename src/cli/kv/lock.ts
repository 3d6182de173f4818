/** `covey kv lock NAME [-- COMMAND]`: hold a lock until Ctrl-C, or while a command runs. */
import { decodeText } from "../../base/bytes.ts";
import { Code, CoveyError } from "../../base/error.ts";
import type { KvClient } from "../../kv/client.ts";
import type { KvLock } from "../../kv/client_types.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../exit.ts";
import type { NodeFlags } from "../flags.ts";
import { aborted, Interrupt } from "../interrupt.ts";
import { bytesField, printLines, shownBytes } from "./bytes.ts";
import { withKv } from "./client.ts";
import { runCommand } from "./command.ts";
import { saidOfWaiting } from "./waited.ts";

/** The flags of `covey kv lock`. */
export interface LockFlags extends NodeFlags {
  /** Milliseconds. */
  readonly ttl?: number;
}

/** With a command, its exit code is this one's; without, the key is printed and the lock held. */
export async function lock(
  this: CliContext,
  flags: LockFlags,
  name: string,
  ...command: string[]
): Promise<void> {
  if (name === "") throw new UsageError("NAME is empty; name the lock");
  using interrupt = new Interrupt(this.runtime.host);
  await withKv(this, flags, async (kv) => {
    const held = await take(this, flags, kv, name, interrupt);
    if (held === undefined) return;
    await using lock = held;
    if (command.length === 0) await hold(this, flags, lock, interrupt);
    else await runUnder(this, lock, command, interrupt);
  });
}

/** Undefined when a signal came first. */
async function take(
  context: CliContext,
  flags: LockFlags,
  kv: KvClient,
  name: string,
  interrupt: Interrupt,
): Promise<KvLock | undefined> {
  try {
    return await kv.lock(name, {
      signal: interrupt.signal,
      ...(flags.timeout === undefined ? {} : { timeoutMs: flags.timeout }),
      ...(flags.ttl === undefined ? {} : { ttlMs: flags.ttl }),
    });
  } catch (error) {
    if (!interrupt.signal.aborted || CoveyError.from(error).code !== Code.canceled) {
      throw saidOfWaiting(error, "the lock was not acquired", flags.timeout);
    }
    context.exitWith(interrupt.exitCode);
    return undefined;
  }
}

async function hold(
  context: CliContext,
  flags: LockFlags,
  { key, lease, signal }: KvLock,
  interrupt: Interrupt,
): Promise<void> {
  if (flags.json) await context.printJson({ event: "locked", ...bytesField("key", key), lease });
  else await printLines(context, [shownBytes(context, key)]);
  await Promise.race([interrupt.wait(), aborted(signal)]);
  if (!interrupt.signal.aborted) throw lost(signal);
}

async function runUnder(
  context: CliContext,
  { key, lease, signal }: KvLock,
  command: readonly string[],
  interrupt: Interrupt,
): Promise<void> {
  const code = await runCommand(context, command, {
    environment: { COVEY_LOCK_KEY: decodeText(key) ?? "", COVEY_LOCK_LEASE: String(lease) },
    interrupt,
    end: signal,
  });
  if (signal.aborted) throw lost(signal);
  context.exitWith(code);
}

/** The signal's reason says how the lease ended. */
function lost({ reason }: AbortSignal): CoveyError {
  const { rawMessage } = CoveyError.from(reason);
  return new CoveyError(Code.aborted, `the lock is lost: ${rawMessage}`, { cause: reason });
}
