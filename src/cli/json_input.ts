/** JSON that somebody typed: what is wrong with it is said with its line and column. */
import { readJson } from "../config/json.ts";
import { ConfigError } from "../config/problem.ts";
import { UsageError } from "./exit.ts";

/** JSON as data. */
export type JsonValue = string | number | boolean | null | JsonValue[] | {
  [key: string]: JsonValue;
};

/** Reads a text whose first line is line `line` of `source`; a {@link UsageError} names the place. */
export function parseJson(text: string, source: string, line = 1): JsonValue {
  try {
    return JSON.parse(text, keepDigits);
  } catch {
    // The engines disagree on the words and on whether they say where; our own reader does.
    throw new UsageError(`${source}, ${whereNotJson(text, line)}`);
  }
}

/** Whole numbers that a double cannot hold keep their digits: protobuf reads 64 bits from text. */
function keepDigits(
  this: unknown,
  _key: string,
  value: unknown,
  context?: { readonly source?: string },
): unknown {
  const exact = typeof value !== "number" || Number.isSafeInteger(value) ||
    context?.source === undefined || !/^-?\d+$/.test(context.source);
  return exact ? value : context.source;
}

function whereNotJson(text: string, line: number): string {
  try {
    readJson(text, "");
  } catch (error) {
    const problem = error instanceof ConfigError ? error.problems[0] : undefined;
    if (problem?.origin.layer === "file") {
      const { line: inner = 1, column = 1 } = problem.origin;
      return `line ${line + inner - 1}, column ${column}: ${problem.message}`;
    }
  }
  return `line ${line}: this is not valid JSON`;
}
