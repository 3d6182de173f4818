/** Which keys a command means. */
import type { KeySelection } from "../../kv/client_types.ts";
import { UsageError } from "../exit.ts";

/** The flags that make an interval of a key. */
export interface SelectionFlags {
  readonly prefix?: boolean;
  readonly "range-end"?: string;
  readonly "from-key"?: boolean;
}

const names = ["prefix", "range-end", "from-key"] as const;

/** Whether a flag makes it more than the one key. */
export function isInterval(flags: SelectionFlags): boolean {
  return names.some((name) => flags[name] !== undefined && flags[name] !== false);
}

/** The flags with a second argument as what it means to users of etcdctl: the end of a range. */
export function withRangeEnd<Flags extends SelectionFlags>(flags: Flags, end?: string): Flags {
  if (end === undefined) return flags;
  if (isInterval(flags)) {
    throw new UsageError(
      `${JSON.stringify(end)} is the end of a range; leave it out, or --prefix, --from-key and ` +
        "--range-end",
    );
  }
  return { ...flags, "range-end": end };
}

export function selectKeys(key: string, flags: SelectionFlags): KeySelection {
  const given = names.filter((name) => flags[name] !== undefined && flags[name] !== false);
  if (given.length > 1) throw new UsageError(`give one of --${given.join(" and --")}`);
  if (flags.prefix) return { prefix: key };
  // Keys are never empty, so that there is nothing before the first.
  if (flags["from-key"]) return key === "" ? { prefix: "" } : { from: key };
  if (key === "") {
    throw new UsageError("KEY is empty; an empty KEY with --prefix means every key");
  }
  const to = flags["range-end"];
  if (to === undefined) return key;
  if (to === "") throw new UsageError("--range-end is empty; --from-key goes to the last key");
  return { from: key, to };
}
