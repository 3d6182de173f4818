/** The flags of `covey kv limits`: one for each limit of the store. */
import { parseDuration, parseSize, type UnitResult } from "../../config/units.ts";
import type { KvLimitsChange } from "../../kv/client_types.ts";
import { UsageError } from "../exit.ts";
import { integerIn, type NodeFlags, type Option, option } from "../flags.ts";

type LimitFlagValues = { readonly [name in LimitFlag]?: number };

/** The flags of `covey kv limits`. */
export interface LimitsFlags extends NodeFlags, LimitFlagValues {}

export type LimitKind = "bytes" | "time" | "number";

/** By flag: the limit's own name, what it counts, and for whom it is. */
export const limitTable = {
  "request-bytes-max": ["requestBytesMax", "bytes", "the largest request"],
  "key-bytes-max": ["keyBytesMax", "bytes", "the longest key"],
  "operations-max": ["operationsMax", "number", "operations of a transaction"],
  "database-bytes-max": ["databaseBytesMax", "bytes", "the quota"],
  "leases-max": ["leasesMax", "number", "leases"],
  "lease-ttl-min": ["leaseTtlMsMin", "time", "a shorter time to live is raised to it"],
  "lease-ttl-max": ["leaseTtlMsMax", "time", "the longest time to live"],
  "sessions-max": ["sessionsMax", "number", "sessions of clients"],
  "session-results-max": ["sessionResultsMax", "number", "results that one session may keep"],
  "session-bytes-max": ["sessionBytesMax", "bytes", "the results of all sessions"],
  "session-result-bytes-max": ["sessionResultBytesMax", "bytes", "a result that is kept"],
  "result-bytes-max": ["resultBytesMax", "bytes", "the result of a command"],
  "scan-keys-max": ["scanKeysMax", "number", "keys that a transaction may look at"],
} as const satisfies Record<string, readonly [keyof KvLimitsChange, LimitKind, string]>;

export type LimitFlag = keyof typeof limitTable;

function withUnit(parse: (text: string) => UnitResult, example: string): (text: string) => number {
  return (text) => {
    const parsed = parse(text);
    if (parsed.ok && parsed.value > 0) return parsed.value;
    throw new UsageError(`give ${example}`);
  };
}

const asBytes = withUnit(
  (text) => parseSize(/^\d+$/.test(text) ? `${text}B` : text),
  "a size such as 64KiB",
);
const asTime = withUnit(parseDuration, "a time such as 5s");
const readers: Readonly<Record<LimitKind, readonly [string, (text: string) => number]>> = {
  bytes: ["size", asBytes],
  time: ["duration", asTime],
  number: ["number", integerIn(1, Number.MAX_SAFE_INTEGER)],
};

export function limitFlags(): Record<LimitFlag, Option<number>> {
  const flags = Object.entries(limitTable).map(([name, [, kind, brief]]) => {
    const [placeholder, parse] = readers[kind];
    return [name, option(placeholder, brief, parse)] as const;
  });
  return Object.fromEntries(flags) as Record<LimitFlag, Option<number>>;
}
