/**
 * Preloaded into every `deno test` of the test command. As soon as a file has registered one test
 * through `node:test`, Deno 2.9.5 swallows what nobody catches in it, without a word: a file that
 * throws half way loses the rest of its tests, a rejected promise nobody awaits passes (tried).
 * Bun fails both. This writes them down; the test command counts each file that had one as failed.
 */
const path = Deno.env.get("TEST_UNCAUGHT_FILE");

function report(what: unknown): void {
  if (path === undefined) return;
  const text = what instanceof Error ? what.stack ?? what.message : String(what);
  const line = JSON.stringify({ file: Deno.mainModule, error: text });
  Deno.writeTextFileSync(path, `${line}\n`, { append: true });
}

// Where Bun's types are loaded too, the events' own types are not Deno's: hence the plain look-up.
function fieldOf(event: Event, name: string): unknown {
  return (event as unknown as Readonly<Record<string, unknown>>)[name];
}

globalThis.addEventListener("error", (event) => {
  report(fieldOf(event, "error") ?? fieldOf(event, "message"));
});
globalThis.addEventListener("unhandledrejection", (event) => report(fieldOf(event, "reason")));
