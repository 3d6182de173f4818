/** Keys and values on standard output: as they are, readable, in hexadecimal, or as JSON. */
import { base64Encode } from "npm:@bufbuild/protobuf@2.17.0/wire";
import { concatBytes, decodeText, encodeText, toHex } from "../../base/bytes.ts";
import type { KvEntry } from "../../kv/client_types.ts";
import type { CliContext } from "../context.ts";
import { printable } from "../table.ts";

/** The flags that say how entries are shown. */
export interface ShowFlags {
  readonly json?: boolean;
  readonly hex?: boolean;
  readonly "keys-only"?: boolean;
  readonly "print-value-only"?: boolean;
}

/**
 * Bytes as a field of a JSON object: text under `name`; under `nameBase64` what is no UTF-8, and
 * under `nameHex` whatever is asked for so.
 */
export function bytesField(
  name: string,
  bytes: Uint8Array,
  hex = false,
): Readonly<Record<string, string>> {
  if (hex) return { [`${name}Hex`]: toHex(bytes) };
  const text = decodeText(bytes);
  return text === undefined ? { [`${name}Base64`]: base64Encode(bytes) } : { [name]: text };
}

/** An entry as JSON. A lease of 0 is none. */
export function entryObject(entry: KvEntry, flags: ShowFlags = {}): Record<string, unknown> {
  return {
    ...(flags["print-value-only"] ? {} : bytesField("key", entry.key, flags.hex)),
    ...(flags["keys-only"] ? {} : bytesField("value", entry.value, flags.hex)),
    createRevision: entry.createRevision,
    modRevision: entry.modRevision,
    version: entry.version,
    lease: entry.lease,
  };
}

/** Bytes as one text on a terminal, and unchanged everywhere else. */
export function shownBytes(context: CliContext, bytes: Uint8Array, hex = false): Uint8Array {
  if (hex) return encodeText(toHex(bytes));
  if (!context.runtime.host.isTerminal("stdout")) return bytes;
  return encodeText(printable(bytes));
}

const lineEnd = encodeText("\n");

/** Writes each of them on a line of its own, in one piece. */
export async function printLines(
  context: CliContext,
  lines: readonly (string | Uint8Array)[],
): Promise<void> {
  const parts = lines.flatMap((line) => [
    typeof line === "string" ? encodeText(line) : line,
    lineEnd,
  ]);
  await context.write(concatBytes(parts));
}

/** Key and value on a line each, as far as they are wanted; with `--json` one object. */
export async function printEntry(
  context: CliContext,
  entry: KvEntry,
  flags: ShowFlags,
): Promise<void> {
  if (flags.json) return await context.printJson(entryObject(entry, flags));
  const lines: Uint8Array[] = [];
  if (!flags["print-value-only"]) lines.push(shownBytes(context, entry.key, flags.hex));
  if (!flags["keys-only"]) lines.push(shownBytes(context, entry.value, flags.hex));
  await printLines(context, lines);
}
