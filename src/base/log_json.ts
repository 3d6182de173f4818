/**
 * Log lines as JSON. Whatever was handed to the logger becomes plain, bounded values: a line about
 * a broken thing must not break on it.
 */
import { toHex } from "./bytes.ts";
import { codeName, CoveyError } from "./error.ts";
import type { LogRecord } from "./log.ts";

/** What survives of long values. The line says what was left out. */
const textLengthMax = 4096;
const itemsMax = 64;
const depthMax = 6;
const bytesShown = 32;

/** A value that `JSON.stringify` takes without a surprise. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | JsonObject;

/** An object of them. A type, not an interface, so that literals fit it. */
export type JsonObject = { readonly [key: string]: JsonValue };

/** The line in the order in which people read it. */
export function logRecordToJson(record: LogRecord): JsonObject {
  const out: Record<string, JsonValue> = {
    time: formatTime(record.timeMs),
    level: record.level,
    component: record.component,
    node: record.node,
    message: shorten(record.message),
  };
  if (record.fields !== undefined) out.fields = toJsonValue(record.fields);
  if (record.cause !== undefined) out.cause = toJsonValue(record.cause);
  return out;
}

/** Any value as JSON: cycles end at a depth, long things are cut, errors become their parts. */
export function toJsonValue(value: unknown, depth = 0): JsonValue {
  switch (typeof value) {
    case "string":
      return shorten(value);
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "object":
      break;
    default:
      return shorten(String(value));
  }
  if (value === null) return null;
  if (depth >= depthMax) return "[deeper]";
  try {
    return objectToJson(value, depth);
  } catch {
    // A getter or toJSON of somebody's object threw; the rest of the line is still worth having.
    return "[unreadable]";
  }
}

function objectToJson(value: object, depth: number): JsonValue {
  if (value instanceof Uint8Array) {
    const shown = toHex(value.subarray(0, bytesShown));
    return value.length <= bytesShown ? shown : `${shown}… (${value.length} bytes)`;
  }
  if (value instanceof Error) return errorToJson(value, depth);
  if (Array.isArray(value)) {
    const items = value.slice(0, itemsMax).map((item) => toJsonValue(item, depth + 1));
    if (value.length > itemsMax) items.push(`… (${value.length} items)`);
    return items;
  }
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === "function") return toJsonValue(toJSON.call(value), depth + 1);
  if (value instanceof Map) return toJsonValue([...value], depth);
  if (value instanceof Set) return toJsonValue([...value], depth);
  const out: Record<string, JsonValue> = {};
  const keys = Object.keys(value);
  for (const key of keys.slice(0, itemsMax)) {
    const field = (value as Record<string, unknown>)[key];
    if (field !== undefined) out[key] = toJsonValue(field, depth + 1);
  }
  if (keys.length > itemsMax) out["…"] = `${keys.length} keys`;
  return out;
}

function errorToJson(error: Error, depth: number): JsonValue {
  const out: Record<string, JsonValue> = { name: error.name };
  if (error instanceof CoveyError) {
    out.code = codeName(error.code);
    out.message = shorten(error.rawMessage);
  } else {
    const { code, kind } = error as { code?: unknown; kind?: unknown };
    if (code !== undefined) out.code = toJsonValue(code, depth + 1);
    if (kind !== undefined) out.kind = toJsonValue(kind, depth + 1);
    out.message = shorten(error.message);
    // A failure with a code or kind was foreseen; without one the place where it arose matters.
    if (code === undefined && kind === undefined) out.stack = shorten(error.stack ?? "");
  }
  if (error.cause !== undefined) out.cause = toJsonValue(error.cause, depth + 1);
  return out;
}

function shorten(text: string): string {
  if (text.length <= textLengthMax) return text;
  return `${text.slice(0, textLengthMax)}… (${text.length} characters)`;
}

/**
 * RFC 3339 in UTC, `2026-11-21T01:30:00.123Z`. Written out because simulated processes have no
 * calendar of the engine. Days become a date by the algorithm of
 * https://howardhinnant.github.io/date_algorithms.html#civil_from_days.
 */
export function formatTime(timeMs: number): string {
  const whole = Math.floor(timeMs);
  const days = Math.floor(whole / 86_400_000);
  const inDay = whole - days * 86_400_000;
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra -
    (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * marchMonth + 2) / 5) + 1;
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const hour = Math.floor(inDay / 3_600_000);
  const minute = Math.floor(inDay / 60_000) % 60;
  const second = Math.floor(inDay / 1000) % 60;
  return `${pad(year, 4)}-${pad(month, 2)}-${pad(day, 2)}T` +
    `${pad(hour, 2)}:${pad(minute, 2)}:${pad(second, 2)}.${pad(inDay % 1000, 3)}Z`;
}

function pad(value: number, digits: number): string {
  return String(value).padStart(digits, "0");
}
