/** What the demo shows on a terminal, and elsewhere. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Screen } from "../../src/cli/demo/screen.ts";
import type { CliContext } from "../../src/cli/context.ts";

function shown(isTerminal: boolean): { readonly screen: Screen; readonly written: string[] } {
  const written: string[] = [];
  const context = {
    runtime: { host: { isTerminal: () => isTerminal } },
    write: (text: string) => Promise.resolve(void written.push(text)),
    print: (text: string) => Promise.resolve(void written.push(`${text}\n`)),
  };
  return { screen: new Screen(context as unknown as CliContext, false), written };
}

test("on a terminal the status below a message is the one that comes with it", async () => {
  const { screen, written } = shown(true);
  await screen.status("3 of 3 up");
  await screen.say("node-3 is gone", "2 of 3 up");
  await screen.status("2 of 3 up");
  await screen.say("hello");
  const clear = "\r\u001b[K";
  assert.deepEqual(written, [
    `${clear}3 of 3 up`,
    `${clear}node-3 is gone\n2 of 3 up`,
    `${clear}hello\n2 of 3 up`,
  ]);
});

test("elsewhere each is a line, once per change", async () => {
  const { screen, written } = shown(false);
  await screen.status("3 of 3 up");
  await screen.say("node-3 is gone", "2 of 3 up");
  await screen.status("2 of 3 up");
  await screen.status("2 of 3 up");
  assert.deepEqual(written, ["3 of 3 up\n", "node-3 is gone\n", "2 of 3 up\n"]);
});
