/**
 * Durations and sizes as people write them. Both are text with a unit, "300ms", "1h30m", "4MiB",
 * and become whole numbers of milliseconds and bytes. Only zero needs no unit.
 */

/** A number, or the reason why the text is none. */
export type UnitResult =
  | { readonly ok: true; readonly value: number }
  | { readonly ok: false; readonly reason: string };

/** Largest first: a duration names its parts in this order, each at most once. */
const durationUnits: readonly (readonly [string, number])[] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
];

/** Binary units before decimal ones of the same rank, so that formatting prefers them. */
const sizeUnits: readonly (readonly [string, number])[] = [
  ["GiB", 1024 ** 3],
  ["MiB", 1024 ** 2],
  ["KiB", 1024],
  ["GB", 1_000_000_000],
  ["MB", 1_000_000],
  ["KB", 1000],
  ["B", 1],
];

const durationNames = "ms, s, m, h, d";
const sizeNames = "B, KiB, MiB, GiB, KB, MB, GB";

/** The same rules as a regular expression, for the JSON Schema. */
export const durationPattern =
  "^(?:0|(?=\\d)(?:\\d+(?:\\.\\d+)?d)?(?:\\d+(?:\\.\\d+)?h)?(?:\\d+(?:\\.\\d+)?m)?" +
  "(?:\\d+(?:\\.\\d+)?s)?(?:\\d+(?:\\.\\d+)?ms)?)$";
/** The same rules as a regular expression, for the JSON Schema. */
export const sizePattern = "^(?:0|\\d+(?:\\.\\d+)?(?:B|[KMG]i?B))$";

function fail(reason: string): UnitResult {
  return { ok: false, reason };
}

/**
 * `digits` times `scale`, exact: a fraction is kept as whole digits over a power of ten, because
 * 1.001 * 1000 is not 1001 in floating point. `what` names the unit of the result.
 */
function exactProduct(digits: string, scale: number, what: string): UnitResult {
  const [whole, fraction = ""] = digits.split(".");
  const product = BigInt(whole + fraction) * BigInt(scale);
  const divisor = 10n ** BigInt(fraction.length);
  const value = product / divisor;
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) return fail("which is out of range");
  if (product % divisor !== 0n) return fail(`which is not a whole number of ${what}`);
  return { ok: true, value: Number(value) };
}

/** What is wrong with text that has not even the form, where people slip often. */
function slip(text: string): string | undefined {
  if (/^\s*-/.test(text)) return "which is negative";
  if (/\s/.test(text) && /^\s*\d/.test(text)) return "which has a space in it";
  return undefined;
}

/** Reads "300ms", "5s", "1h30m", "1.5s" or "0" into milliseconds. */
export function parseDuration(text: string): UnitResult {
  if (text === "0") return { ok: true, value: 0 };
  if (/^\d+(\.\d+)?$/.test(text)) return fail(`which has no unit (${durationNames})`);
  // The length bound keeps the arithmetic above small whatever the input is.
  if (text.length > 64 || !/^(\d+(\.\d+)?[a-zA-Zµ]+)+$/.test(text)) {
    return fail(slip(text) ?? "which is not a duration");
  }
  let total = 0;
  let rankBefore = -1;
  for (const [, digits, unit] of text.matchAll(/(\d+(?:\.\d+)?)([a-zA-Zµ]+)/g)) {
    const rank = durationUnits.findIndex(([name]) => name === unit);
    if (rank < 0) return fail(`whose unit ${JSON.stringify(unit)} is none of ${durationNames}`);
    if (rank <= rankBefore) return fail("whose units do not go from large to small");
    rankBefore = rank;
    const part = exactProduct(digits, durationUnits[rank][1], "milliseconds");
    if (!part.ok) return part;
    total += part.value;
    if (!Number.isSafeInteger(total)) return fail("which is out of range");
  }
  return { ok: true, value: total };
}

/** Reads "64KiB", "4MiB", "1MB", "1.5KiB" or "0" into bytes. */
export function parseSize(text: string): UnitResult {
  if (text === "0") return { ok: true, value: 0 };
  if (/^\d+(\.\d+)?$/.test(text)) return fail(`which has no unit (${sizeNames})`);
  const match = text.length > 64 ? null : /^(\d+(?:\.\d+)?)([a-zA-Z]+)$/.exec(text);
  if (match === null) return fail(slip(text) ?? "which is not a size");
  const unit = sizeUnits.find(([name]) => name === match[2]);
  if (unit === undefined) {
    return fail(`whose unit ${JSON.stringify(match[2])} is none of ${sizeNames}`);
  }
  return exactProduct(match[1], unit[1], "bytes");
}

/** The shortest text that {@link parseDuration} reads back: 5400000 is "1h30m", 0 is "0s". */
export function formatDuration(milliseconds: number): string {
  let rest = milliseconds;
  let out = "";
  for (const [name, scale] of durationUnits) {
    const count = Math.floor(rest / scale);
    if (count > 0) out += `${count}${name}`;
    rest -= count * scale;
  }
  return out === "" ? "0s" : out;
}

/** Text that {@link parseSize} reads back, in the largest unit that divides it: "4MiB", "1MB". */
export function formatSize(bytes: number): string {
  for (const [name, scale] of sizeUnits) {
    if (bytes >= scale && bytes % scale === 0) return `${bytes / scale}${name}`;
  }
  return "0B";
}
