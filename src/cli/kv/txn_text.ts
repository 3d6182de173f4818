/**
 * A transaction in the form that etcdctl reads: comparisons, an empty line, what is done if they
 * hold, an empty line, what is done else.
 *
 *     version("a") = "0"
 *
 *     put a "some text"
 *
 *     get a --prefix
 */
import type { KvCompare, KvOperation, KvTransaction } from "../../kv/client_types.ts";
import { UsageError } from "../exit.ts";
import { integerIn } from "../flags.ts";
import { type SelectionFlags, selectKeys, withRangeEnd } from "./selection.ts";
import { asOrder, asSortTarget } from "./values.ts";

interface Line {
  readonly text: string;
  readonly number: number;
}

function wrong({ text, number }: Line, allowed: string): UsageError {
  return new UsageError(`standard input, line ${number}: ${JSON.stringify(text)}: ${allowed}`);
}

/** Reads it; a {@link UsageError} names the line that is wrong. */
export function transactionOfText(text: string): KvTransaction {
  const sections: Line[][] = [[]];
  for (const [index, raw] of text.split("\n").entries()) {
    const line = { text: raw.trim(), number: index + 1 };
    if (line.text !== "") sections[sections.length - 1].push(line);
    else if (sections.length < 4) sections.push([]);
  }
  // The end of the input may have any number of empty lines.
  const [compares, success = [], failure = [], rest = []] = sections;
  if (rest.length > 0) {
    throw wrong(rest[0], "there are three parts with an empty line between them, and this is more");
  }
  return {
    compare: compares.map(compareOf),
    success: success.map(operationOf),
    failure: failure.map(operationOf),
  };
}

const comparePattern =
  /^([a-z]+)\s*\(\s*("(?:[^"\\]|\\.)*"|[^)\s]+)\s*\)\s*(!=|=|<|>)\s*("(?:[^"\\]|\\.)*"|\S+)$/;
const compareForm = 'give a comparison such as version("key") = "0"; there are value, version, ' +
  "create, mod and lease";

function compareOf(line: Line): KvCompare {
  const [, target, key, is, value] = comparePattern.exec(line.text) ?? [];
  if (target === undefined) throw wrong(line, compareForm);
  const base = { keys: unquoted(line, key), is: is as "=" };
  const number = (): number => {
    const text = unquoted(line, value);
    if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
    throw wrong(line, `${target} is compared with a whole number`);
  };
  switch (target) {
    case "val":
    case "value":
      return { ...base, value: unquoted(line, value) };
    case "v":
    case "ver":
    case "version":
      return { ...base, version: number() };
    case "c":
    case "create":
      return { ...base, createRevision: number() };
    case "m":
    case "mod":
      return { ...base, modRevision: number() };
    case "lease":
      return { ...base, lease: number() };
    default:
      throw wrong(line, compareForm);
  }
}

function unquoted(line: Line, text: string): string {
  if (!text.startsWith('"')) return text;
  return text.slice(1, -1).replace(/\\(.)/g, (_all, escaped: string) => {
    const known: Readonly<Record<string, string>> = {
      n: "\n",
      t: "\t",
      r: "\r",
      '"': '"',
      "'": "'",
      "\\": "\\",
    };
    const character = known[escaped];
    if (character !== undefined) return character;
    throw wrong(line, `\\${escaped} is none of \\n, \\t, \\r, \\" and \\\\; JSON takes base64`);
  });
}

/** Words, quoted ones as one; flags with their values. */
interface Words {
  readonly plain: readonly string[];
  readonly flags: ReadonlyMap<string, string>;
}

const switches = new Set([
  "prefix",
  "from-key",
  "keys-only",
  "count-only",
  "prev-kv",
  "ignore-value",
  "ignore-lease",
]);

function wordsOf(line: Line, known: readonly string[]): Words {
  const pieces = line.text.match(/(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'])+/g) ?? [];
  const plain: string[] = [];
  const flags = new Map<string, string>();
  for (let at = 0; at < pieces.length; at++) {
    const piece = pieces[at];
    if (!piece.startsWith("--")) {
      plain.push(piece.startsWith("'") ? piece.slice(1, -1) : unquoted(line, piece));
      continue;
    }
    const [name, value] = piece.slice(2).split("=", 2);
    if (!known.includes(name)) {
      throw wrong(line, `there is no --${name}; there are --${known.join(", --")}`);
    }
    if (switches.has(name)) flags.set(name, "");
    else {
      const given = value ?? pieces[++at];
      if (given === undefined) throw wrong(line, `--${name} needs a value`);
      flags.set(name, unquoted(line, given));
    }
  }
  return { plain, flags };
}

const selection = ["prefix", "from-key"];
const whole = integerIn(1, Number.MAX_SAFE_INTEGER);

function operationOf(line: Line): KvOperation {
  const [name] = line.text.split(/\s/, 1);
  try {
    switch (name) {
      case "put":
        return putOf(line);
      case "get":
        return getOf(line);
      case "del":
        return deleteOf(line);
    }
  } catch (error) {
    // What is wrong with a flag's value is said without the line.
    if (!(error instanceof UsageError) || error.message.startsWith("standard input")) throw error;
    throw wrong(line, error.message);
  }
  throw wrong(line, 'give put KEY VALUE, get KEY or del KEY; words with spaces in "quotes"');
}

function putOf(line: Line): KvOperation {
  const { plain, flags } = wordsOf(line, ["lease", "prev-kv", "ignore-value", "ignore-lease"]);
  const [, key, value, ...rest] = plain;
  const keepsValue = flags.has("ignore-value");
  if (key === undefined || rest.length > 0 || (value === undefined) !== keepsValue) {
    throw wrong(
      line,
      'give put KEY VALUE, or put KEY --ignore-value; words with spaces in "quotes"',
    );
  }
  const lease = flags.get("lease");
  return {
    put: key,
    value,
    previous: flags.has("prev-kv"),
    keepLease: flags.has("ignore-lease"),
    ...(lease === undefined ? {} : { lease: whole(lease) }),
  };
}

function keysOf(line: Line, { plain, flags }: Words) {
  const [name, key, end, ...rest] = plain;
  if (key === undefined || rest.length > 0) throw wrong(line, `give ${name} KEY [END]`);
  const given: SelectionFlags = {
    prefix: flags.has("prefix"),
    "from-key": flags.has("from-key"),
  };
  return selectKeys(key, withRangeEnd(given, end));
}

function getOf(line: Line): KvOperation {
  const numbers = ["limit", "rev", "sort-by", "order"];
  const words = wordsOf(line, [...selection, ...numbers, "keys-only", "count-only"]);
  const { flags } = words;
  const [limit, rev, by, order] = numbers.map((name) => flags.get(name));
  return {
    range: keysOf(line, words),
    keysOnly: flags.has("keys-only"),
    countOnly: flags.has("count-only"),
    ...(limit === undefined ? {} : { limit: whole(limit) }),
    ...(rev === undefined ? {} : { revision: whole(rev) }),
    ...(by === undefined ? {} : { sortBy: asSortTarget(by) }),
    ...(order === undefined ? {} : { order: asOrder(order) }),
  };
}

function deleteOf(line: Line): KvOperation {
  const words = wordsOf(line, [...selection, "prev-kv"]);
  return { delete: keysOf(line, words), previous: words.flags.has("prev-kv") };
}
