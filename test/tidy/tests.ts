/** How tests are written: no sleeping, no silent skipping, and on both runtimes. */
import { matches, type Offence, type SourceFile } from "./source.ts";

interface Pattern {
  readonly rule: string;
  readonly pattern: RegExp;
  readonly message: string;
}

const patterns: readonly Pattern[] = [
  {
    rule: "sleep",
    // A bare name as the callback is somebody waiting; a function is a limit that ends the test.
    pattern: /(?<![\w$#])setTimeout\s*\(\s*[\w$.]+\s*,\s*(?:\d_?){3,}\s*[,)]/g,
    message: "a sleep: wait for the event itself, or name the test in exceptions.ts",
  },
  {
    rule: "sleep",
    pattern: /(?<![\w$#])(?:setTimeout|sleep|delay|pause|wait)\s*\(\s*(?:\d_?){3,}\s*[,)]/g,
    message: "a sleep: wait for the event itself, or name the test in exceptions.ts",
  },
  {
    rule: "sleep",
    pattern: /\bBun\.sleep(?:Sync)?\b|\bAtomics\.wait\b/g,
    message: "a sleep: wait for the event itself, or name the test in exceptions.ts",
  },
  {
    rule: "focus",
    pattern:
      /(?<![\w$])(?:test|it|describe|suite|t)\.(?:only|todo)\b|\bonly\s*:\s*true\b|(?<![\w$.])(?:fit|fdescribe)\s*\(/g,
    message: "`only` and `todo` leave tests out silently: take it away",
  },
  {
    rule: "skip",
    pattern: /(?<![\w$])\w*\.skip\s*\(/g,
    message:
      "a skip stands in the options of a top-level test, with its reason: Deno counts t.skip() as passed",
  },
  {
    rule: "skip",
    pattern: /(?<![\w$])skip\s*:\s*true\b/g,
    message: 'a skip says why: skip: "Go is not installed"',
  },
];

/** Every file below test/ that is not generated. */
export function testHabits(files: readonly SourceFile[]): Offence[] {
  const offences: Offence[] = [];
  for (const file of files) {
    if (!file.path.startsWith("test/") || file.path.startsWith("test/gen/")) continue;
    for (const { rule, pattern, message } of patterns) {
      for (const [, line] of matches(file, pattern)) {
        offences.push({ path: file.path, line, rule, message });
      }
    }
    if (!file.path.startsWith("test/deno/")) {
      for (const [, line] of matches(file, /(?<![\w$.])Deno\s*\.\s*test\b/g)) {
        offences.push({
          path: file.path,
          line,
          rule: "runtime",
          message: "Deno.test runs on Deno alone: use node:test, or move the file to test/deno/",
        });
      }
    }
  }
  return offences;
}
