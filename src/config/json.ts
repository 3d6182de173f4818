/**
 * JSON (RFC 8259) into a {@link SourceTable} that keeps every position, which `JSON.parse` does not.
 * Strict: no comments, no trailing commas, and a key that comes twice is an error.
 */
import { ConfigError, type Origin, quote } from "./problem.ts";
import { describe, emptyTable, type Source, type SourceTable } from "./tree.ts";

const depthMax = 32;

/** Reads a JSON document whose root is an object; throws a {@link ConfigError} with the place. */
export function readJson(text: string, file: string): SourceTable {
  const reader = new Reader(text, file);
  const root = reader.document();
  if (root.type !== "table") {
    throw problem(root.origin, `found ${describe(root)}; allowed: one object around all sections`);
  }
  // Editors find the schema by this key, as they do by TOML's "#:schema" comment.
  root.entries.delete("$schema");
  return root;
}

function problem(origin: Origin, message: string): ConfigError {
  return new ConfigError([{ origin, key: "", message }]);
}

class Reader {
  readonly #text: string;
  readonly #file: string;
  #at = 0;
  /** Where the current line begins, kept up by `#space`, so that a position costs nothing. */
  #line = 1;
  #lineStart = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
  }

  #wrong(origin: Origin, reason: string): ConfigError {
    return problem(origin, `this is not valid JSON: ${reason}`);
  }

  document(): Source {
    this.#space();
    const value = this.#value(0);
    this.#space();
    if (this.#at < this.#text.length) throw this.#unexpected("the end of the file");
    return value;
  }

  #here(): Origin {
    return {
      layer: "file",
      file: this.#file,
      line: this.#line,
      column: this.#at - this.#lineStart + 1,
    };
  }

  #unexpected(wanted: string): ConfigError {
    const rest = /^(?:[\w.+-]+|[^])/u.exec(this.#text.slice(this.#at, this.#at + 80));
    const found = rest === null ? "the end of the file" : quote(rest[0]);
    return this.#wrong(this.#here(), `found ${found} where ${wanted} belongs`);
  }

  #space(): void {
    for (;;) {
      const character = this.#text[this.#at];
      if (character === "\n") {
        this.#line++;
        this.#lineStart = this.#at + 1;
      } else if (character !== " " && character !== "\t" && character !== "\r") return;
      this.#at++;
    }
  }

  #value(depth: number): Source {
    const origin = this.#here();
    if (depth > depthMax) {
      throw problem(origin, `objects and lists nest deeper than ${depthMax}; no setting does`);
    }
    const character = this.#text[this.#at];
    if (character === "{") return this.#object(origin, depth);
    if (character === "[") return this.#list(origin, depth);
    if (character === '"') {
      const value = this.#string();
      return { type: "scalar", origin, value, found: quote(value) };
    }
    const match =
      /^(?:true|false|null)(?![\w.+-])|^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.+-])/
        .exec(this.#text.slice(this.#at, this.#at + 400));
    if (match === null) throw this.#unexpected("a value");
    this.#at += match[0].length;
    return { type: "scalar", origin, ...word(match[0]) };
  }

  #object(origin: Origin, depth: number): SourceTable {
    const table = emptyTable(origin);
    this.#at++;
    this.#space();
    if (this.#text[this.#at] === "}") {
      this.#at++;
      return table;
    }
    for (;;) {
      const keyOrigin = this.#here();
      if (this.#text[this.#at] !== '"') throw this.#unexpected("a quoted key");
      const key = this.#string();
      if (table.entries.has(key)) throw this.#wrong(keyOrigin, `the key ${quote(key)} comes twice`);
      this.#space();
      if (this.#text[this.#at] !== ":") throw this.#unexpected('":"');
      this.#at++;
      this.#space();
      table.entries.set(key, { keyOrigin, value: this.#value(depth + 1) });
      if (this.#closes("}")) return table;
    }
  }

  #list(origin: Origin, depth: number): Source {
    const items: Source[] = [];
    this.#at++;
    this.#space();
    if (this.#text[this.#at] === "]") {
      this.#at++;
      return { type: "list", origin, items };
    }
    for (;;) {
      items.push(this.#value(depth + 1));
      if (this.#closes("]")) return { type: "list", origin, items };
    }
  }

  /** After an element: true at the closing bracket, false after a comma and the space behind it. */
  #closes(bracket: string): boolean {
    this.#space();
    const character = this.#text[this.#at];
    if (character !== bracket && character !== ",") throw this.#unexpected(`"," or "${bracket}"`);
    this.#at++;
    if (character === bracket) return true;
    this.#space();
    return false;
  }

  #string(): string {
    const origin = this.#here();
    const start = this.#at;
    for (let at = start + 1; at < this.#text.length; at++) {
      const code = this.#text.charCodeAt(at);
      if (code === 0x5c) at++;
      else if (code < 0x20) break;
      else if (code === 0x22) {
        this.#at = at + 1;
        try {
          return JSON.parse(this.#text.slice(start, at + 1)) as string;
        } catch {
          // The engine's own words differ between runtimes; a bad escape is all that is left here.
          throw this.#wrong(origin, "this string holds a bad escape");
        }
      }
    }
    throw this.#wrong(origin, "this string does not end on its line");
  }
}

function word(text: string): { value: unknown; found: string } {
  if (text === "true" || text === "false") return { value: text === "true", found: text };
  if (text === "null") return { value: null, found: "null" };
  const value = Number(text);
  const shown = text.length > 40 ? `${text.slice(0, 37)}...` : text;
  if (!/^-?\d+$/.test(text)) return { value, found: `the number ${shown}` };
  return Number.isSafeInteger(value)
    ? { value, found: shown }
    : { value: BigInt(text), found: `${shown}, an integer beyond 2^53` };
}
