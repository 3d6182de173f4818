/** Values of flags and arguments of `covey kv`; loaded with the command line itself. */
import { parseDuration } from "../../config/units.ts";
import type { KvSortOrder, KvSortTarget } from "../../kv/client_types.ts";
import { UsageError } from "../exit.ts";

/** Reads "60" as seconds, as etcdctl does, and "5m" as what it says; whole seconds. */
export function asTtl(text: string): number {
  const parsed = parseDuration(/^\d+$/.test(text) ? `${text}s` : text);
  if (parsed.ok && parsed.value > 0 && parsed.value % 1000 === 0) return parsed.value;
  throw new UsageError("give whole seconds, such as 60 or 5m");
}

/** By what to sort. */
export interface Sort {
  readonly by: KvSortTarget;
  readonly order: KvSortOrder;
}

const targets = ["key", "version", "create", "mod", "value"] as const;

/** Reads "mod", "mod:asc" or "mod:desc". */
export function asSort(text: string): Sort {
  const [name, order, ...rest] = text.split(":");
  const by = targets.find((one) => one === name);
  const known = order === undefined || order === "asc" || order === "desc";
  if (by === undefined || !known || rest.length > 0) {
    throw new UsageError(`give one of ${targets.join(", ")}, or one of them with :desc behind it`);
  }
  return { by, order: order === "desc" ? "descend" : "ascend" };
}

/** Reads etcdctl's CREATE, KEY, MODIFY, VALUE and VERSION, and the same in lower case. */
export function asSortTarget(text: string): KvSortTarget {
  const name = text.toLowerCase();
  const by = targets.find((one) => one === name || (one === "mod" && name === "modify"));
  if (by !== undefined) return by;
  throw new UsageError(`give one of ${targets.join(", ")}`);
}

/** Reads etcdctl's ASCEND and DESCEND, and the same in lower case. */
export function asOrder(text: string): KvSortOrder {
  const order = text.toLowerCase();
  if (order === "ascend" || order === "asc") return "ascend";
  if (order === "descend" || order === "desc") return "descend";
  throw new UsageError("give ascend or descend");
}
