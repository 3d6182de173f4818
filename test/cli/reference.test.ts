/** docs/reference/cli.md and admin.md name what there is, and nothing else. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { generateHelpTextForAllCommands } from "npm:@stricli/core@1.3.0";
import { routePaths } from "../../src/admin/access.ts";
import { buildCli } from "../../src/cli/app.ts";
import { ExitCode } from "../../src/cli/exit.ts";

function page(name: string): string {
  const url = import.meta.resolve(`../../docs/reference/${name}.md`);
  return readFileSync(fileURLToPath(url), "utf8");
}

test("cli.md names every command and every flag, and no others", () => {
  const text = page("cli");
  const named = new Set(text.match(/--[a-z][a-z0-9-]+/g));
  // Flags of other programs that the page speaks of.
  for (const other of ["--include_imports", "--include"]) named.delete(other);
  const known = new Set(["--help"]);
  // Its type has the context for a contravariant one; help needs no context at all.
  const cli = buildCli() as unknown as Parameters<typeof generateHelpTextForAllCommands>[0];
  for (const [command, help] of generateHelpTextForAllCommands(cli)) {
    const route = command.trim();
    assert.match(text, new RegExp(`^${route}(?: |$)`, "m"), `${route} is missing`);
    for (const [flag] of help.matchAll(/(?<=^ +(?:-\w +)?\[?)--[a-z][a-z0-9-]+/gm)) known.add(flag);
  }
  assert.deepEqual([...named].sort(), [...known].sort());
});

test("cli.md has every exit code", () => {
  const rows = [...page("cli").matchAll(/^\| (\d) +\| (\S[^|]*?) +\|/gm)];
  assert.deepEqual(rows.map(([, code]) => Number(code)), Object.values(ExitCode));
});

test("admin.md names every route", () => {
  const rows = [...page("admin").matchAll(/^\| `(\/[^`]*)` +\|/gm)].map(([, path]) => path);
  assert.deepEqual(rows, [...routePaths, "/SERVICE/METHOD"]);
});
