/** `covey kv limits`: the replicated limits of the store. */
import { formatDuration } from "../../config/units.ts";
import type { KvLimitsChange } from "../../kv/client_types.ts";
import type { CliContext } from "../context.ts";
import { formatBytes, formatTable } from "../table.ts";
import { askKv, withKv } from "./client.ts";
import { type LimitFlag, type LimitKind, type LimitsFlags, limitTable } from "./limit_flags.ts";

const names = Object.keys(limitTable) as LimitFlag[];

/** Changes those that are named, and prints them all. */
export async function limits(this: CliContext, flags: LimitsFlags): Promise<void> {
  const given = names.filter((name) => flags[name] !== undefined);
  if (given.length > 0) {
    const change = Object.fromEntries(given.map((name) => [limitTable[name][0], flags[name]]));
    await withKv(this, flags, async (kv) => {
      await kv.setLimits(change);
      // What is printed is read at the node that answers, which must have it by then.
      await kv.get("\0");
      await print(this, flags, (await kv.status()).limits);
    });
  } else await askKv(this, flags, async (kv) => print(this, flags, (await kv.status()).limits));
}

async function print(
  context: CliContext,
  { json }: LimitsFlags,
  limits: Required<KvLimitsChange>,
): Promise<void> {
  if (json) return await context.printJson(limits);
  const rows = names.map((name) => {
    const [field, kind, brief] = limitTable[name];
    return [name, shown(kind, limits[field]), brief];
  });
  await context.print(formatTable(rows));
}

function shown(kind: LimitKind, value: number): string {
  if (kind === "number") return String(value);
  return kind === "time" ? formatDuration(value) : formatBytes(value);
}
