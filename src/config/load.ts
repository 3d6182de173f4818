/**
 * Reads the configuration: a file in TOML or JSON, `COVEY_` variables, flags, options. Everything
 * that is read goes through the seam, and nothing heavy is loaded before it is needed.
 */
import { decodeText } from "../base/bytes.ts";
import { DiskError, type Runtime } from "../runtime/port.ts";
import type { FlagSetting } from "./layers.ts";
import { ConfigError } from "./problem.ts";
import type { Resolved } from "./resolve.ts";
import type { SourceTable } from "./tree.ts";
import type { ConfigOptions } from "./types.ts";

/** Where to look. All of it is optional: nothing at all gives a single durable node. */
export interface LoadRequest {
  /** A TOML file, or a JSON file when its name ends in `.json`. */
  readonly file?: string;
  /** Read `COVEY_` variables, and `COVEY_CONFIG` for a file that is not named otherwise. */
  readonly environment?: boolean;
  readonly flags?: readonly FlagSetting[];
  /** Memory only, and refuse anything beyond loopback. */
  readonly dev?: boolean;
  /** The options of `mod.ts`. */
  readonly options?: ConfigOptions;
}

/** A configuration that has passed every check. */
export interface LoadedConfig extends Resolved {
  /** The file that was read, if any. */
  readonly file?: string;
}

/** Far above any sensible configuration. */
export const fileBytesMax: number = 1024 * 1024;

/** Reads, merges (flag over environment over file over default) and checks. */
export async function loadConfig(
  runtime: Pick<Runtime, "name" | "version" | "features" | "disk" | "host">,
  request: LoadRequest = {},
): Promise<LoadedConfig> {
  const environment = request.environment ?? false;
  const file = request.file ??
    ((environment && runtime.host.environment("COVEY_CONFIG")) || undefined);
  // Whoever did not name the file on the command line may have forgotten the variable.
  const named = request.file === undefined ? "COVEY_CONFIG names it" : undefined;
  const tree = file === undefined ? undefined : await readSource(runtime, file, named);
  const { resolve } = await import("./resolve.ts");
  const resolved = resolve(runtime, {
    file: tree,
    options: request.options,
    environment,
    flags: request.flags ?? [],
    dev: request.dev ?? false,
  });
  return file === undefined ? resolved : { ...resolved, file };
}

async function readSource(
  runtime: Pick<Runtime, "disk">,
  file: string,
  named: string | undefined,
): Promise<SourceTable> {
  if (file === "") throw unreadable(file, "the name of the file is empty");
  const text = decode(await readBytes(runtime, file, named), file);
  if (file.toLowerCase().endsWith(".json")) {
    const { readJson } = await import("./json.ts");
    return readJson(text, file);
  }
  const { readToml } = await import("./toml.ts");
  return readToml(text, file);
}

function unreadable(file: string, message: string): ConfigError {
  return new ConfigError([{ origin: { layer: "file", file }, key: "", message }]);
}

async function readBytes(
  runtime: Pick<Runtime, "disk">,
  file: string,
  named: string | undefined,
): Promise<Uint8Array> {
  try {
    return await runtime.disk.readFile(file, fileBytesMax);
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    throw unreadable(file, `${whyUnreadable(error)}${named === undefined ? "" : ` (${named})`}`);
  }
}

function whyUnreadable(error: DiskError): string {
  switch (error.kind) {
    case "not-found":
      return 'there is no such file; "covey config init" writes a sample to start from';
    case "not-a-directory":
      return "there is no such file: what its path names as a folder is none";
    case "denied":
      return `this process may not read the file: ${reasonOf(error)}`;
    case "too-large":
      return "the file is larger than 1MiB, so it is no configuration";
    case "is-a-directory":
      return "this is a folder; name the file in it";
    default:
      return `the file cannot be read: ${reasonOf(error)}`;
  }
}

/** A disk error's message begins with the path, which the line already names. */
function reasonOf(error: DiskError): string {
  const before = `${error.path}: `;
  return error.message.startsWith(before) ? error.message.slice(before.length) : error.message;
}

function decode(bytes: Uint8Array, file: string): string {
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    throw unreadable(file, "the file is UTF-16; save it as UTF-8");
  }
  const text = decodeText(bytes);
  if (text === undefined) {
    const { line, column } = firstBadByte(bytes);
    throw new ConfigError([{
      origin: { layer: "file", file, line, column },
      key: "",
      message: "the file is not UTF-8 from here on; save it as UTF-8",
    }]);
  }
  // Editors on Windows put a byte order mark in front; it means nothing in UTF-8.
  return text.startsWith("\ufeff") ? text.slice(1) : text;
}

/** The longest prefix that is UTF-8, found by halving, as a position. */
function firstBadByte(bytes: Uint8Array): { line: number; column: number } {
  let good = 0;
  let bad = bytes.length;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    // A cut through a character must not count as bad, so up to three more bytes may complete it.
    const valid = [0, 1, 2, 3].some((more) =>
      decodeText(bytes.subarray(0, Math.min(middle + more, bytes.length))) !== undefined
    );
    if (valid) good = middle;
    else bad = middle;
  }
  const lines = new TextDecoder().decode(bytes.subarray(0, good)).split("\n");
  return { line: lines.length, column: lines[lines.length - 1].length + 1 };
}
