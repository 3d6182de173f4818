/** How a file is written: exports, erasable syntax, imports, length. */
import { lineAt, matches, type Offence, type SourceFile } from "./source.ts";

/** Past this, look for the part that wants a name of its own. */
export const linesMax = 500;
/** Tests are lists of cases: longer is no worse. */
export const testLinesMax = 800;

const generated = /^(?:src|test)\/gen\//;
const exactVersion = /^npm:(?:@[\w.-]+\/)?[\w.-]+@\d+\.\d+\.\d+(?:-[\w.]+)?(?:\/[\w./-]+)?$/;
const schemes = /^(?:node|bun|npm|data):/;

interface Pattern {
  readonly rule: string;
  readonly pattern: RegExp;
  readonly message: string;
}

const patterns: readonly Pattern[] = [
  {
    rule: "exports",
    pattern: /(?<![\w$.])export\s*\*/g,
    message: "`export *` hides what is exported: name each export",
  },
  {
    rule: "exports",
    pattern: /(?<![\w$.])export\s+default\b|\bas\s+default\b/g,
    message: "no default exports: give it a name",
  },
  {
    rule: "erasable",
    pattern: /(?<![\w$.])(?:const\s+)?enum\s+[A-Za-z_$][\w$]*\s*\{/g,
    message: "no enum: use an `as const` object and a union type",
  },
  {
    rule: "erasable",
    pattern:
      /(?:^|[;{}])\s*(?:export\s+)?(?:declare\s+)?(?:namespace|module)\s+[A-Za-z_$"'][^=;\n]*\{/gm,
    message: "no namespace: a file is the module",
  },
  {
    rule: "erasable",
    pattern: /(?<![\w$.])(?:import\s+\w+\s*=\s*require|export\s*=[^=>])/g,
    message: "no CommonJS: use import and export",
  },
  {
    rule: "erasable",
    pattern: /(?<![\w$.#])require\s*\(/g,
    message: "no require(): use import",
  },
];

/** Where the parenthesis that opens at `open` closes. */
function closing(code: string, open: number): number {
  let depth = 0;
  for (let at = open; at < code.length; at++) {
    if (code[at] === "(") depth++;
    else if (code[at] === ")" && --depth === 0) return at;
  }
  return code.length;
}

function* parameterProperties(file: SourceFile): Generator<number> {
  for (const match of file.code.matchAll(/(?<![\w$.#])constructor\s*\(/g)) {
    const open = match.index + match[0].length - 1;
    const list = file.code.slice(open, closing(file.code, open));
    for (
      const property of list.matchAll(
        /[(,]\s*(?:(?:public|private|protected|readonly|override)\s+)+[\w$]/g,
      )
    ) {
      yield lineAt(file.code, open + property.index);
    }
  }
}

/** Exports by name, erasable syntax only. */
export function syntax(files: readonly SourceFile[]): Offence[] {
  const offences: Offence[] = [];
  for (const file of files) {
    if (generated.test(file.path) || !/\.tsx?$/.test(file.path)) continue;
    for (const { rule, pattern, message } of patterns) {
      for (const [, line] of matches(file, pattern)) {
        offences.push({ path: file.path, line, rule, message });
      }
    }
    for (const line of parameterProperties(file)) {
      offences.push({
        path: file.path,
        line,
        rule: "erasable",
        message: "no parameter properties: declare the field and assign it",
      });
    }
  }
  return offences;
}

/** How imports are spelled. */
export function imports(files: readonly SourceFile[]): Offence[] {
  const offences: Offence[] = [];
  for (const file of files) {
    if (!/\.tsx?$/.test(file.path)) continue;
    for (const { specifier, line, clause, typeOnly } of file.imports) {
      const say = (message: string): void => {
        offences.push({ path: file.path, line, rule: "imports", message });
      };
      const inner = /^\{(.*)\}$/.exec(clause)?.[1]?.split(",").map((part) => part.trim())
        .filter((part) => part !== "") ?? [];
      if (!typeOnly && inner.length > 0 && inner.every((part) => part.startsWith("type "))) {
        say(`${specifier} is used for types alone: \`import type { … }\``);
      }
      if (specifier.startsWith(".")) {
        if (/\.ts$/.test(specifier)) continue;
        if (/\.\w+$/.test(specifier) && !/\.[cm]?jsx?$|\.tsx$/.test(specifier)) {
          if (file.path.startsWith("src/") && !/\/assets\.ts$/.test(file.path)) {
            say(`${specifier}: files that are not code are imported by an assets.ts alone`);
          }
          continue;
        }
        say(`${specifier} must end in .ts`);
      } else if (specifier.startsWith("npm:")) {
        if (!exactVersion.test(specifier)) {
          say(`${specifier} needs an exact version: npm:name@1.2.3`);
        }
      } else if (specifier === "bun:test") {
        say("bun:test ends Deno: write tests with node:test");
      } else if (!schemes.test(specifier)) {
        if (file.path.startsWith("test/deno/") && specifier === "@std/assert") continue;
        say(
          `${specifier} is a bare name, which a program that imports mod.ts cannot resolve: ` +
            "npm:name@1.2.3, node:name or a path",
        );
      }
    }
  }
  return offences;
}

/** Files that nobody likes to open. */
export function length(files: readonly SourceFile[]): Offence[] {
  return files.flatMap((file) => {
    if (generated.test(file.path) || !/\.tsx?$/.test(file.path)) return [];
    const lines = file.text.split("\n").length - 1;
    const most = file.path.startsWith("test/") ? testLinesMax : linesMax;
    if (lines <= most) return [];
    return [{
      path: file.path,
      line: lines,
      rule: "length",
      message: `${lines} lines, past ${most}: look for the part that wants a name of its own`,
    }];
  });
}

/** State that belongs to nobody: two nodes in one process would share it. */
export function moduleState(files: readonly SourceFile[]): Offence[] {
  return files.filter((file) => file.path.startsWith("src/") && !generated.test(file.path))
    .flatMap((file) =>
      [...matches(file, /^(?:export\s+)?(?:let|var)\s+[\w$]+/gm)].map(([text, line]) => ({
        path: file.path,
        line,
        rule: "state",
        message: `\`${text}\` is module-level state: make it a field of what owns it`,
      }))
    );
}
