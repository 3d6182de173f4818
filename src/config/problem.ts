/** Where a setting came from, what is wrong with it, and the error that carries all of that. */
import { Code, CoveyError } from "../base/error.ts";

/** Where a value was given. The later in this list, the stronger. */
export type Origin =
  | { readonly layer: "default"; readonly note?: string }
  | {
    readonly layer: "file";
    readonly file: string;
    /** Both count from 1; absent when the file as a whole is meant. */
    readonly line?: number;
    readonly column?: number;
  }
  | { readonly layer: "environment"; readonly name: string }
  | { readonly layer: "flag"; readonly flag: string }
  | { readonly layer: "options" };

/** Keys and list indices from the root to a value. */
export type Path = readonly (string | number)[];

/** One thing that is wrong with the configuration. */
export interface Problem {
  readonly origin: Origin;
  /** The key as people write it, `rpc.message_bytes_max`; empty when no key is to blame. */
  readonly key: string;
  /** What was found and what is allowed. */
  readonly message: string;
}

/** Text of a file or of the command line, short enough for one line and without control bytes. */
export function quote(text: string): string {
  const shown = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  // JSON escapes C0; what else moves a terminal's cursor or direction is escaped by hand.
  return JSON.stringify(shown).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** `node.listen[1]`; keys that TOML could not write bare are quoted. */
export function formatPath(path: Path): string {
  let out = "";
  for (const part of path) {
    if (typeof part === "number") out += `[${part}]`;
    else {
      const key = /^[A-Za-z0-9_-]{1,80}$/.test(part) ? part : quote(part);
      out += out === "" ? key : `.${key}`;
    }
  }
  return out;
}

/** `covey.toml:3:21`, `COVEY_LOG__LEVEL`, `--log-level`, `default`. */
export function formatOrigin(origin: Origin): string {
  switch (origin.layer) {
    case "default":
      return origin.note === undefined ? "default" : `default (${origin.note})`;
    case "file": {
      // deno-lint-ignore no-control-regex -- A name may hold anything, and this is one line.
      const file = /^$|[\u0000-\u001f\u007f]/.test(origin.file) ? quote(origin.file) : origin.file;
      return origin.line === undefined ? file : `${file}:${origin.line}:${origin.column ?? 1}`;
    }
    case "environment":
      return origin.name;
    case "flag":
      return origin.flag;
    case "options":
      return "options";
  }
}

/** One line: where, which key, what was found, what is allowed. */
export function formatProblem(problem: Problem): string {
  const where = formatOrigin(problem.origin);
  // `--set log.level` has named the key already.
  const named = problem.key === "" || where.endsWith(` ${problem.key}`);
  return `${where}: ${named ? "" : `${problem.key}: `}${problem.message}`;
}

/** A configuration that cannot be used. The command line turns it into exit code 3. */
export class ConfigError extends CoveyError {
  override name = "ConfigError";
  /** Everything that was found, in the order of the layers and, in a file, of its lines. */
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(Code.invalidArgument, problems.map(formatProblem).join("\n"));
    this.problems = problems;
  }
}
