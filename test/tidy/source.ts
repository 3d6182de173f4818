/**
 * Reads TypeScript well enough for the tidy rules: strings, templates, regular expressions and
 * comments are blanked, so that a rule sees code and nothing else, and every import is listed.
 * Not a parser: a rule that needs types belongs to the compiler or to `deno lint`.
 */

/** One import or re-export, wherever it stands. */
export interface Import {
  readonly specifier: string;
  readonly line: number;
  /** `import type`, `export type … from`, or a `/// <reference types>`. */
  readonly typeOnly: boolean;
  /** `import(…)`. */
  readonly dynamic: boolean;
  /** What stands between `import` and `from`, blanks squeezed; empty for the other forms. */
  readonly clause: string;
}

export interface SourceFile {
  /** From the checkout, with `/`. */
  readonly path: string;
  readonly text: string;
  /** Like `text`, same length and lines, with everything but code turned into blanks. */
  readonly code: string;
  readonly imports: readonly Import[];
}

/** One line of the report: who, where, which rule, and what to do instead. */
export interface Offence {
  readonly path: string;
  readonly line: number;
  readonly rule: string;
  readonly message: string;
}

export type Rule = (files: readonly SourceFile[]) => Offence[];

/** A word after which a slash begins a regular expression, not a division. */
const beforeRegex =
  /(?:^|[^\w$.#])(?:return|typeof|case|in|of|do|else|void|delete|throw|new|instanceof|yield|await)$/;

function startsRegex(codeBefore: string): boolean {
  const before = codeBefore.trimEnd();
  if (before === "" || beforeRegex.test(before)) return true;
  return !/[\w$)\]}"'`]/.test(before[before.length - 1] as string);
}

/**
 * Blanks what is not code. Quotes stay, so that the shape of a statement can still be seen; the
 * code inside a template's `${…}` stays too.
 */
export function blank(text: string): string {
  const out: string[] = [];
  // Open templates: how many braces are open inside their current `${`.
  const templates: number[] = [];
  let at = 0;
  const keep = (count: number): void => {
    out.push(text.slice(at, at + count));
    at += count;
  };
  const hide = (end: number): void => {
    out.push(text.slice(at, end).replace(/[^\n]/g, " "));
    at = end;
  };
  const templateText = (): void => {
    let end = at;
    while (end < text.length && text[end] !== "`" && !text.startsWith("${", end)) {
      end += text[end] === "\\" ? 2 : 1;
    }
    hide(Math.min(end, text.length));
    if (text[at] === "`") keep(1);
    else if (at < text.length) {
      keep(2);
      templates.push(0);
    }
  };
  while (at < text.length) {
    const character = text[at] as string;
    if (text.startsWith("//", at)) {
      const end = text.indexOf("\n", at);
      hide(end < 0 ? text.length : end);
    } else if (text.startsWith("/*", at)) {
      const end = text.indexOf("*/", at + 2);
      hide(end < 0 ? text.length : end + 2);
    } else if (character === '"' || character === "'") {
      let end = at + 1;
      while (end < text.length && text[end] !== character && text[end] !== "\n") {
        end += text[end] === "\\" ? 2 : 1;
      }
      keep(1);
      hide(Math.min(end, text.length));
      if (text[at] === character) keep(1);
    } else if (character === "`") {
      keep(1);
      templateText();
    } else if (character === "/" && startsRegex(out.slice(-40).join("").slice(-40))) {
      const match = /^\/(?:[^\\/[\n]|\\.|\[(?:[^\\\]\n]|\\.)*\])+\/[a-z]*/.exec(text.slice(at));
      if (match === null) keep(1);
      else hide(at + match[0].length);
    } else if (character === "{" && templates.length > 0) {
      templates.push((templates.pop() as number) + 1);
      keep(1);
    } else if (character === "}" && templates.length > 0) {
      const open = templates.pop() as number;
      keep(1);
      if (open > 0) templates.push(open - 1);
      else templateText();
    } else {
      keep(1);
    }
  }
  return out.join("");
}

/** The line of an offset, from 1. */
export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at >= 0 && at < offset; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

/** The content of the string whose opening quote stands at `quote`. */
function stringAt(text: string, quote: number): string {
  const end = text.indexOf(text[quote] as string, quote + 1);
  return text.slice(quote + 1, end);
}

function findImports(text: string, code: string): Import[] {
  const found: Import[] = [];
  const add = (offset: number, quote: number, more: Partial<Import>): void => {
    found.push({
      specifier: stringAt(text, quote),
      line: lineAt(text, offset),
      typeOnly: false,
      dynamic: false,
      clause: "",
      ...more,
    });
  };
  const statement =
    /(?<![\w$.])(?:import|export)\s+(type\s+(?!from\b|,))?((?:[\w$*\s,]|\{[^}]*\})*?)\s*\bfrom\s*(["'])/g;
  for (const match of code.matchAll(statement)) {
    const clause = (match[2] ?? "").replace(/\s+/g, " ").trim();
    add(match.index, match.index + match[0].length - 1, {
      typeOnly: match[1] !== undefined,
      clause,
    });
  }
  for (const match of code.matchAll(/(?<![\w$.])import\s*(["'])/g)) {
    add(match.index, match.index + match[0].length - 1, {});
  }
  for (const match of code.matchAll(/(?<![\w$.])import\s*\(\s*(["'])/g)) {
    add(match.index, match.index + match[0].length - 1, { dynamic: true });
  }
  for (const match of text.matchAll(/^\/\/\/\s*<reference\s+types=(["'])/gm)) {
    add(match.index, match.index + match[0].length - 1, { typeOnly: true });
  }
  return found.sort((a, b) => a.line - b.line);
}

/** Reads one file. */
export function readSource(path: string, text: string): SourceFile {
  const code = blank(text);
  return { path, text, code, imports: findImports(text, code) };
}

/** Joins `../x` onto the folder of `from`; both from the checkout. */
export function resolveFrom(from: string, relative: string): string {
  const parts = from.split("/").slice(0, -1);
  for (const part of relative.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** Every place where a pattern matches the code. */
export function* matches(file: SourceFile, pattern: RegExp): Generator<[string, number]> {
  for (const match of file.code.matchAll(pattern)) {
    const leading = match[0].length - match[0].trimStart().length;
    yield [match[0].trim(), lineAt(file.code, match.index + leading)];
  }
}

/** An offence that stands for a reason. One that no longer applies is an offence itself. */
export interface Exception {
  readonly path: string;
  readonly rule: string;
  /** Part of the message that it excuses; all of the file's under this rule when left out. */
  readonly about?: string;
  readonly reason: string;
}

/** Takes the excused offences out, and adds one for each exception that excuses nothing. */
export function applyExceptions(
  offences: readonly Offence[],
  exceptions: readonly Exception[],
): Offence[] {
  const used = new Set<Exception>();
  const left = offences.filter((offence) => {
    const excuse = exceptions.find((one) =>
      one.path === offence.path && one.rule === offence.rule &&
      (one.about === undefined || offence.message.includes(one.about))
    );
    if (excuse !== undefined) used.add(excuse);
    return excuse === undefined;
  });
  for (const exception of exceptions) {
    if (used.has(exception)) continue;
    left.push({
      path: exception.path,
      line: 0,
      rule: exception.rule,
      message: `an exception for ${exception.about ?? "this file"} is not needed any more: ` +
        "take it out of test/tidy/exceptions.ts",
    });
  }
  return left;
}

/** "src/a.ts:3 layout: …", one line each. */
export function formatOffences(offences: readonly Offence[]): string {
  return offences.map(({ path, line, rule, message }) =>
    `${path}${line > 0 ? `:${line}` : ""} ${rule}: ${message}`
  ).join("\n");
}
