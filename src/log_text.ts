/**
 * Log lines for people: `12:30:01.123 INF ttrpc.server  connection refused  address=… limit=64`.
 * Loaded only when standard error is a terminal.
 */
import {
  getAnsiColorFormatter,
  getTextFormatter,
  type LogRecord as SinkRecord,
  sanitizeControlSequences,
} from "npm:@logtape/logtape@2.4.2";
import type { LogRecord } from "./base/log.ts";
import { formatTime, type JsonValue, toJsonValue } from "./base/log_json.ts";

/** Makes the function that writes one line, its end included. */
export function createTextFormatter(
  options: { readonly color: boolean },
): (record: LogRecord) => string {
  // LogTape's own words for the time go through Date, which simulated processes do not have.
  const shape = { timestamp: timeOfDay, level: "ABBR", category: "." } as const;
  const format = options.color ? getAnsiColorFormatter(shape) : getTextFormatter({
    ...shape,
    format: ({ timestamp, level, category, message }) =>
      `${timestamp} ${level} ${category}: ${message}`,
  });
  return (record) => format(toSinkRecord(record));
}

function timeOfDay(timeMs: number): string {
  return formatTime(timeMs).slice(11, 23);
}

function toSinkRecord(record: LogRecord): SinkRecord {
  let text = clean(record.message);
  const fields = record.fields ?? {};
  for (const key of Object.keys(fields)) {
    if (fields[key] !== undefined) text += ` ${clean(key)}=${fieldText(toJsonValue(fields[key]))}`;
  }
  if (record.cause !== undefined) text += causeText(toJsonValue(record.cause));
  return {
    category: [record.component],
    level: record.level,
    message: [text],
    rawMessage: text,
    timestamp: record.timeMs,
    properties: {},
  };
}

/** Words stand bare; whatever could be misread is quoted. */
function fieldText(value: JsonValue): string {
  if (typeof value === "string" && /^[\w.:/@+-]+$/.test(value)) return value;
  return clean(JSON.stringify(value));
}

/** The chain of errors, one after the other, and the stack of one that nobody foresaw. */
function causeText(cause: JsonValue): string {
  if (typeof cause !== "object" || cause === null || Array.isArray(cause)) {
    return `: ${fieldText(cause)}`;
  }
  const { name, message, stack, cause: next } = cause as { readonly [key: string]: JsonValue };
  if (typeof name !== "string" || typeof message !== "string") return `: ${fieldText(cause)}`;
  const own = typeof stack === "string" && stack !== ""
    ? `\n  ${name}: ${clean(message)}\n${indent(stack)}`
    : `: ${clean(message)}`;
  return own + (next === undefined ? "" : causeText(next));
}

function indent(stack: string): string {
  // The engines repeat the name and message above the frames.
  const frames = stack.split("\n").map((line) => line.trim()).filter((line) => /^at /.test(line));
  return frames.map((frame) => `    ${clean(frame)}`).join("\n");
}

/** A device's answer may hold escape sequences; they must not reach the terminal. */
function clean(text: string): string {
  return sanitizeControlSequences(text, { sgr: "escape", newlines: "escape" });
}
