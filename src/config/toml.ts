/**
 * TOML 1.0 into a {@link SourceTable} that keeps every position. Loaded only when a TOML file is
 * given. The parser is toml-eslint-parser because it keeps positions; it is fast enough on hostile
 * input (a megabyte of brackets, 60,000 tables) and does not recurse.
 */
import { type AST, parseTOML } from "npm:toml-eslint-parser@1.0.3";
import { ConfigError, type Origin, quote } from "./problem.ts";
import { syntaxProblem } from "./toml_problem.ts";
import { emptyTable, type Source, type SourceScalar, type SourceTable } from "./tree.ts";

/** Deeper than any setting; it keeps the walks over the tree far from the stack's end. */
export const depthMax = 32;

/** Reads a TOML document; throws a {@link ConfigError} that names line and column. */
export function readToml(text: string, file: string): SourceTable {
  let program: AST.TOMLProgram;
  try {
    program = parseTOML(text, { tomlVersion: "1.0" });
  } catch (error) {
    throw new ConfigError([syntaxProblem(error, text, file)]);
  }
  return new Reader(file).read(program);
}

class Reader {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  read(program: AST.TOMLProgram): SourceTable {
    const root = emptyTable({ layer: "file", file: this.#file });
    for (const node of program.body[0].body) {
      if (node.type === "TOMLKeyValue") this.#keyValue(root, node, 0);
      else {
        const table = this.#openTable(root, node);
        for (const pair of node.body) this.#keyValue(table, pair, node.key.keys.length);
      }
    }
    return root;
  }

  #origin(node: AST.TOMLNode): Origin {
    const { line, column } = node.loc.start;
    return { layer: "file", file: this.#file, line, column: column + 1 };
  }

  #tooDeep(node: AST.TOMLNode): ConfigError {
    const message = `tables and lists nest deeper than ${depthMax}; no setting does`;
    return new ConfigError([{ origin: this.#origin(node), key: "", message }]);
  }

  /** `[a.b]` or `[[a.b]]`: the parser has resolved which element of which list is meant. */
  #openTable(root: SourceTable, node: AST.TOMLTable): SourceTable {
    if (node.resolvedKey.length > depthMax) throw this.#tooDeep(node);
    let at = root as Source;
    let keyIndex = 0;
    for (let index = 0; index < node.resolvedKey.length; index++) {
      const part = node.resolvedKey[index];
      const makesList = typeof node.resolvedKey[index + 1] === "number";
      if (typeof part === "number") {
        if (at.type !== "list") throw new Error("the parser resolved a list that is none");
        const item: Source = at.items[part] ?? emptyTable(this.#origin(node));
        at.items[part] = item;
        at = item;
      } else {
        if (at.type !== "table") throw new Error("the parser resolved a table that is none");
        const origin = this.#origin(node.key.keys[keyIndex++]);
        let entry = at.entries.get(part);
        if (entry === undefined) {
          const value: Source = makesList
            ? { type: "list", origin, items: [] }
            : emptyTable(origin);
          entry = { keyOrigin: origin, value };
          at.entries.set(part, entry);
        }
        at = entry.value;
      }
    }
    if (at.type !== "table") throw new Error("the parser resolved a table that is none");
    return at;
  }

  #keyValue(table: SourceTable, node: AST.TOMLKeyValue, depth: number): void {
    const keys = node.key.keys;
    if (depth + keys.length > depthMax) throw this.#tooDeep(node);
    let at = table;
    for (const [index, keyNode] of keys.entries()) {
      const key = keyNode.type === "TOMLBare" ? keyNode.name : keyNode.value;
      const keyOrigin = this.#origin(keyNode);
      if (index === keys.length - 1) {
        at.entries.set(key, { keyOrigin, value: this.#value(node.value, depth + keys.length) });
        return;
      }
      const entry = at.entries.get(key);
      if (entry?.value.type === "table") at = entry.value;
      else {
        const value = emptyTable(keyOrigin);
        at.entries.set(key, { keyOrigin, value });
        at = value;
      }
    }
  }

  #value(node: AST.TOMLContentNode, depth: number): Source {
    if (depth > depthMax) throw this.#tooDeep(node);
    const origin = this.#origin(node);
    switch (node.type) {
      case "TOMLArray":
        return {
          type: "list",
          origin,
          items: node.elements.map((element) => this.#value(element, depth + 1)),
        };
      case "TOMLInlineTable": {
        const table = emptyTable(origin);
        for (const pair of node.body) this.#keyValue(table, pair, depth + 1);
        return table;
      }
      case "TOMLValue":
        return { type: "scalar", origin, ...scalar(node) };
    }
  }
}

function scalar(node: AST.TOMLValue): Pick<SourceScalar, "value" | "found"> {
  switch (node.kind) {
    case "string":
      return { value: node.value, found: quote(node.value) };
    case "boolean":
      return { value: node.value, found: String(node.value) };
    case "integer":
      // A bigint is what no field accepts, so that a rounded number never passes for the written one.
      return Number.isSafeInteger(node.value)
        ? { value: node.value, found: String(node.value) }
        : { value: node.bigint, found: `${shorten(node.number)}, an integer beyond 2^53` };
    case "float":
      // Wrapped, so that 5.0 does not pass for the integer 5: no setting takes a fraction.
      return { value: Object(node.value), found: `the number ${shorten(node.number)}` };
    default:
      return { value: node.value, found: `the date or time ${node.datetime} (quote it)` };
  }
}

function shorten(digits: string): string {
  return digits.length > 40 ? `${digits.slice(0, 37)}...` : digits;
}
