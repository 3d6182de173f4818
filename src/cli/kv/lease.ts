/** `covey kv lease`: times to live that keys hang on. */
import { Code, CoveyError } from "../../base/error.ts";
import type { CliContext } from "../context.ts";
import type { NodeFlags } from "../flags.ts";
import { Interrupt } from "../interrupt.ts";
import { printableText } from "../table.ts";
import { bytesField, shownBytes } from "./bytes.ts";
import { askKv, withKv } from "./client.ts";

/** The flags of `covey kv lease grant`. */
export interface GrantFlags extends NodeFlags {
  readonly id?: number;
}

/** The flags of `covey kv lease keep-alive`. */
export interface KeepAliveFlags extends NodeFlags {
  readonly once?: boolean;
}

/** The flags of `covey kv lease ttl`. */
export interface TtlFlags extends NodeFlags {
  readonly keys?: boolean;
}

/** Prints the lease's id alone, for scripts. */
export async function grant(this: CliContext, flags: GrantFlags, ttlMs: number): Promise<void> {
  await withKv(this, flags, async (kv) => {
    const lease = await kv.lease({ ttlMs, keepAlive: false, ...idOf(flags) });
    lease.release();
    if (flags.json) await this.printJson({ lease: lease.id, ttlMs: lease.ttlMs });
    else await this.print(String(lease.id));
    this.note(`lease ${lease.id} lives ${lease.ttlMs / 1000} s unless it is kept alive`);
  });
}

function idOf({ id }: GrantFlags): { id?: number } {
  return id === undefined ? {} : { id };
}

/** Its keys are deleted with it. */
export async function revoke(this: CliContext, flags: NodeFlags, id: number): Promise<void> {
  await withKv(this, flags, async (kv) => {
    const { revision } = await kv.revokeLease(id);
    if (flags.json) await this.printJson({ lease: id, revision });
    this.note(`lease ${id} is revoked, and its keys are gone`);
  });
}

/** Renews until Ctrl-C, which leaves the lease as it is. */
export async function keepAlive(
  this: CliContext,
  flags: KeepAliveFlags,
  id: number,
): Promise<void> {
  const { clock } = this.runtime;
  using interrupt = new Interrupt(this.runtime.host);
  await askKv(this, flags, async (kv) => {
    while (!interrupt.signal.aborted) {
      const ttlMs = await kv.renewLease(id);
      if (ttlMs === undefined) throw new CoveyError(Code.notFound, `lease ${id} is over`);
      if (flags.json) await this.printJson({ lease: id, ttlMs });
      else await this.print(`lease ${id} lives ${ttlMs / 1000} s`);
      if (flags.once) return;
      // A third of the time: two renewals may be lost.
      await new Promise<void>((resolve) => {
        const timer = clock.timer(ttlMs / 3, () => resolve(), undefined);
        interrupt.signal.addEventListener("abort", () => {
          timer.cancel();
          resolve();
        }, { once: true });
      });
    }
  });
}

/** What is left of a lease; exit code 1 when there is no such lease. */
export async function ttl(this: CliContext, flags: TtlFlags, id: number): Promise<void> {
  await askKv(this, flags, async (kv) => {
    const { remainingMs, ttlMs, keys } = await kv.leaseStatus(id, { keys: flags.keys ?? false });
    if (remainingMs === undefined) {
      throw new CoveyError(Code.notFound, `there is no lease ${id}: it is over, or never was`);
    }
    if (flags.json) {
      const attached = flags.keys ? { keys: keys.map((key) => bytesField("key", key)) } : {};
      await this.printJson({ lease: id, remainingMs, ttlMs, ...attached });
      return;
    }
    await this.print(`${remainingMs / 1000} s of ${ttlMs / 1000} s`);
    for (const key of keys) {
      await this.print(printableText(new TextDecoder().decode(shownBytes(this, key))));
    }
  });
}

export async function list(this: CliContext, flags: NodeFlags): Promise<void> {
  await askKv(this, flags, async (kv) => {
    for (const id of await kv.leases()) {
      if (flags.json) await this.printJson({ lease: id });
      else await this.print(String(id));
    }
  });
}
