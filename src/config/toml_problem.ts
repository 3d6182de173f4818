/**
 * What a TOML syntax error means to the person who wrote the file. The parser says where it
 * stopped; the slips that people make are told from the text there, in words that say what to do.
 */
import { ParseError } from "npm:toml-eslint-parser@1.0.3";
import { type Problem, quote } from "./problem.ts";

/** A place and what is wrong there; columns count from 1. */
interface Slip {
  readonly line: number;
  readonly column: number;
  readonly reason: string;
}

/** Turns what the parser threw into a problem of the file. */
export function syntaxProblem(error: unknown, text: string, file: string): Problem {
  if (!(error instanceof ParseError)) {
    // A string of some hundred thousand characters ends the parser's stack.
    const message = "this TOML cannot be read: one of its values is far too long";
    return { origin: { layer: "file", file }, key: "", message };
  }
  const lines = text.split("\n", error.lineNumber);
  const found = {
    line: error.lineNumber,
    column: error.column + 1,
    reason: error.message.charAt(0).toLowerCase() + error.message.slice(1),
  };
  const { line, column, reason } = missingValue(lines, found) ?? openSection(lines, found) ??
    keyTwice(lines, found) ?? strayReturn(lines, found) ?? colon(lines, found) ??
    bareText(lines, found) ?? found;
  const excerpt = (lines[line - 1] ?? "").trim();
  const near = excerpt === "" ? "" : `, near ${quote(excerpt)}`;
  return {
    origin: { layer: "file", file, line, column },
    key: "",
    message: `this is not valid TOML: ${reason}${near}`,
  };
}

/** The parser finds a missing value where the next line begins; people look for it at the "=". */
function missingValue(lines: readonly string[], { line, column }: Slip): Slip | undefined {
  const before = lines[line - 2];
  if (column !== 1 || before === undefined || !/=\s*$/.test(before)) return undefined;
  return { line: line - 1, column: before.lastIndexOf("=") + 1, reason: "the value is missing" };
}

/** `[log` without its bracket takes the next line for its rest. */
function openSection(lines: readonly string[], { line }: Slip): Slip | undefined {
  for (let at = line; at >= 1 && at >= line - 1; at--) {
    const match = /^\s*(\[{1,2})[\w."' -]*\r?$/.exec(lines[at - 1] ?? "");
    if (match === null) continue;
    const bracket = match[1] === "[[" ? "]]" : "]";
    const column = lines[at - 1].indexOf("[") + 1;
    return { line: at, column, reason: `the ${bracket} of this section is missing` };
  }
  return undefined;
}

const sectionPattern = /^\s*\[\s*([^\[\]]+?)\s*\]/;
const keyPattern = /^\s*([\w.-]+|"[^"]*"|'[^']*')\s*=/;

/** The same key or section above, where the first one is easily forgotten. */
function keyTwice(lines: readonly string[], { line, column }: Slip): Slip | undefined {
  const text = lines[line - 1] ?? "";
  const section = sectionPattern.exec(text);
  if (section !== null && column <= section[0].length) {
    const name = section[1];
    const first = lines.findIndex((other) => sectionPattern.exec(other)?.[1] === name) + 1;
    if (first >= line) return undefined;
    return { line, column, reason: `the section [${name}] comes twice, first on line ${first}` };
  }
  const key = keyPattern.exec(text);
  if (key === null || column > key[0].length) return undefined;
  for (let at = line - 1; at >= 1 && !/^\s*\[/.test(lines[at - 1]); at--) {
    if (keyPattern.exec(lines[at - 1])?.[1] !== key[1]) continue;
    return { line, column, reason: `the key ${quote(key[1])} comes twice, first on line ${at}` };
  }
  return undefined;
}

/** Files of very old editors, and halves of a CRLF. */
function strayReturn(lines: readonly string[], { line, column }: Slip): Slip | undefined {
  const text = lines[line - 1] ?? "";
  // The parser points behind it or at it.
  const at = text[column - 1] === "\r" ? column : column - 1;
  if (text[at - 1] !== "\r" || at === text.length) return undefined;
  return { line, column: at, reason: "lines end with LF or CRLF, and here is a CR alone" };
}

/** YAML's way. */
function colon(lines: readonly string[], { line, column }: Slip): Slip | undefined {
  if (!/^\s*[\w.-]+\s*:/.test(lines[line - 1] ?? "")) return undefined;
  return { line, column, reason: "a key and its value are written key = value" };
}

/** A word where a value belongs. */
function bareText(lines: readonly string[], { line }: Slip): Slip | undefined {
  const match = /^(\s*(?:[\w.-]+|"[^"]*"|'[^']*')\s*=\s*)([A-Za-z./][\w.:/ -]*)$/.exec(
    (lines[line - 1] ?? "").replace(/\s*(?:#.*)?$/, ""),
  );
  if (match === null || /^(?:true|false|inf|nan)$/.test(match[2])) return undefined;
  return { line, column: match[1].length + 1, reason: "text needs quotes" };
}
