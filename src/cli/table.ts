/** Text for people: tables, sizes, times, and bytes that may be anything. */
import { decodeText } from "../base/bytes.ts";

/** Columns two spaces apart; the last one is not filled up. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => widths[column] = Math.max(widths[column] ?? 0, cell.length));
  }
  return rows.map((row) =>
    row.map((cell, column) => cell.padEnd(widths[column])).join("  ").trimEnd()
  ).join("\n");
}

/** Three digits are enough for people: "1.5 MiB". */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const rounded = unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1);
  return `${rounded.replace(/\.0$/, "")} ${units[unit]}`;
}

/** "3d 2h", "5m 12s", "40s": the two largest parts. */
export function formatTime(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) return "0s";
  return parts.slice(first, first + 2).filter(([value]) => value > 0)
    .map(([value, unit]) => `${value}${unit}`).join(" ");
}

/**
 * What may be shown on a terminal: control characters, and bytes that are no UTF-8, as `\xNN`, so
 * that a stored value cannot move the cursor or type for the user.
 */
export function printable(bytes: Uint8Array): string {
  const text = decodeText(bytes);
  if (text === undefined) {
    return [...bytes].map((byte) =>
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : escaped(byte)
    ).join("");
  }
  return printableText(text);
}

/** The same of text. */
export function printableText(text: string): string {
  return text.replace(
    // deno-lint-ignore no-control-regex -- Controls are what is looked for; line ends and tabs stay.
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (character) => {
      const code = character.charCodeAt(0);
      return code < 0x100 ? escaped(code) : `\\u${code.toString(16)}`;
    },
  );
}

function escaped(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, "0")}`;
}
