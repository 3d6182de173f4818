/** Flags that many commands share, and the short forms in which commands declare their own. */
import type { FlagParametersForType } from "npm:@stricli/core@1.3.0";
import { parseDuration } from "../config/units.ts";
import type { CliContext } from "./context.ts";
import { UsageError } from "./exit.ts";

/** Text as it was typed. */
export const asText = (text: string): string => text;

/** Reads a whole number within bounds. */
export function integerIn(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^-?\d{1,16}$/.test(text) ? Number(text) : NaN;
    if (value >= least && value <= most) return value;
    const to = most === Number.MAX_SAFE_INTEGER ? "or more" : `to ${most}`;
    throw new UsageError(`give a whole number, ${least} ${to}`);
  };
}

/** Reads "500ms" or "5s" into milliseconds. */
export function asDuration(text: string): number {
  const parsed = parseDuration(text);
  if (parsed.ok && parsed.value > 0) return parsed.value;
  throw new UsageError("give a duration such as 500ms or 5s");
}

/** A flag without a value. */
export function toggle(brief: string): {
  readonly kind: "boolean";
  readonly optional: true;
  readonly withNegated: false;
  readonly brief: string;
} {
  return { kind: "boolean", optional: true, withNegated: false, brief };
}

/** A flag with a value that may be left out. */
export interface Option<T> {
  readonly kind: "parsed";
  readonly parse: (text: string) => T;
  readonly optional: true;
  readonly placeholder: string;
  readonly brief: string;
}

export function option(placeholder: string, brief: string): Option<string>;
export function option<T>(
  placeholder: string,
  brief: string,
  parse: (text: string) => T,
): Option<T>;
/** `brief` gets the placeholder in front, in capitals, as the help of all flags has it. */
export function option<T>(
  placeholder: string,
  brief: string,
  parse: (text: string) => T = asText as (text: string) => T,
): Option<T> {
  const name = placeholder.toUpperCase();
  return { kind: "parsed", parse, optional: true, placeholder, brief: `${name}: ${brief}` };
}

/** The flag that every command with data has. */
export const json: ReturnType<typeof toggle> = toggle("Print JSON, one object per line");

/** What every command that talks to a node takes. */
export interface NodeFlags {
  readonly node?: string;
  readonly config?: string;
  readonly data?: string;
  /** Milliseconds. */
  readonly timeout?: number;
  readonly json?: boolean;
}

/** Stricli's description of {@link NodeFlags}. */
export const nodeFlags: FlagParametersForType<NodeFlags, CliContext> = {
  node: option(
    "address",
    "the node to ask; several, separated by commas, are tried in turn [default: COVEY_NODE, else " +
      "the socket in the data folder]",
  ),
  config: option("file", "configuration that names the data folder [default: COVEY_CONFIG]"),
  data: option("folder", "the data folder itself [default: node.data, ./covey-data]"),
  timeout: option("duration", "time for an answer [default: 10s]", asDuration),
  json,
};
