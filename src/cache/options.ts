/** What bounds the cache of a node, with its defaults. */
import { Code, CoveyError } from "../base/error.ts";

export interface CacheOptions {
  /** What keys, values and their overhead may take, copies included. Default 32 MiB. */
  readonly memoryBytesMax?: number;
  /** The part of it, from 0 to 1, for copies of values that other members own. Default 0.12. */
  readonly copyShare?: number;
  /** One in so many answers of other members is kept as a copy; 1 for all, 0 for none. Default 8. */
  readonly copyOneIn?: number;
  /** A larger value is passed on and not kept. Default 1 MiB. */
  readonly valueBytesMax?: number;
  /** Longest key in UTF-8. Default 1 KiB. */
  readonly keyBytesMax?: number;
  /** Largest message that a connection carries. Default 4 MiB. */
  readonly messageBytesMax?: number;
  readonly namespacesMax?: number;
  /** Sources that run at the same time; further keys wait. Default 64. */
  readonly fillsMax?: number;
  /** Callers that wait for values; one more is refused. Default 16,384. */
  readonly waitersMax?: number;
  /** How long a key may take to be filled, the wait for its turn included. Default 30 s. */
  readonly fillTimeoutMs?: number;
  /** An owner that says nothing for so long is asked whether it is there. Default 1 s. */
  readonly ownerTimeoutMs?: number;
  /** For how long an owner that did not answer is passed over. Default 5 s. */
  readonly ownerBackoffMs?: number;
  /** Times to live are shortened at random by up to this part, from 0 to 1. Default 0.1. */
  readonly ttlJitter?: number;
  /** How often values whose time is over are looked for. Default 1 min. */
  readonly sweepMs?: number;
}

export type CacheSettings = Readonly<Required<CacheOptions>>;

const defaults: CacheSettings = {
  memoryBytesMax: 32 << 20,
  copyShare: 0.12,
  copyOneIn: 8,
  valueBytesMax: 1 << 20,
  keyBytesMax: 1024,
  messageBytesMax: 4 << 20,
  namespacesMax: 256,
  fillsMax: 64,
  waitersMax: 16_384,
  fillTimeoutMs: 30_000,
  ownerTimeoutMs: 1000,
  ownerBackoffMs: 5000,
  ttlJitter: 0.1,
  sweepMs: 60_000,
};

/** What each must be at least; those of whole numbers, and the two parts. */
const least: Readonly<Record<keyof CacheSettings, number>> = {
  memoryBytesMax: 64 << 10,
  copyShare: 0,
  copyOneIn: 0,
  valueBytesMax: 1,
  keyBytesMax: 1,
  messageBytesMax: 4096,
  namespacesMax: 1,
  fillsMax: 1,
  waitersMax: 1,
  fillTimeoutMs: 1,
  ownerTimeoutMs: 1,
  ownerBackoffMs: 0,
  ttlJitter: 0,
  sweepMs: 1000,
};

/** With the defaults; throws `invalid_argument` for what cannot be. */
export function settingsOf(options: CacheOptions): CacheSettings {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const settings: CacheSettings = { ...defaults, ...Object.fromEntries(given) };
  for (const name of Object.keys(least) as (keyof CacheSettings)[]) {
    const value = settings[name];
    const isPart = name === "copyShare" || name === "ttlJitter";
    if (value >= least[name] && (isPart ? value <= 1 : Number.isSafeInteger(value))) continue;
    throw new CoveyError(
      Code.invalidArgument,
      `cache: ${name} is ${value}: it must be ` +
        (isPart ? "from 0 to 1" : `a whole number from ${least[name]}`),
    );
  }
  return settings;
}
