/** What people are shown: tables, sizes, times, bytes that may be anything, words of a shell. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { CliContext } from "../../src/cli/context.ts";
import { Screen } from "../../src/cli/demo/screen.ts";
import { restAfter } from "../../src/cli/kv/pages.ts";
import { asSort, asTtl } from "../../src/cli/kv/values.ts";
import { bytesField } from "../../src/cli/kv/bytes.ts";
import { isInterval, selectKeys } from "../../src/cli/kv/selection.ts";
import { programToType, shellWord } from "../../src/cli/program.ts";
import { formatBytes, formatTable, formatTime, printable } from "../../src/cli/table.ts";

test("tables are aligned and end without blanks", () => {
  assert.equal(formatTable([["a", "bb", ""], ["ccc", "d", "e"]]), "a    bb\nccc  d   e");
  assert.equal(formatTable([]), "");
});

test("sizes and times have as many digits as people read", () => {
  const sizes: [number, string][] = [
    [0, "0 B"],
    [1023, "1023 B"],
    [1536, "1.5 KiB"],
    [512 << 20, "512 MiB"],
    [3 * 1024 ** 4, "3 TiB"],
    [5000 * 1024 ** 4, "5000 TiB"],
  ];
  for (const [bytes, text] of sizes) assert.equal(formatBytes(bytes), text);
  const times: [number, string][] = [
    [999, "0s"],
    [61_000, "1m 1s"],
    [3_600_000, "1h"],
    [90_061_000, "1d 1h"],
  ];
  for (const [milliseconds, text] of times) assert.equal(formatTime(milliseconds), text);
});

test("what a terminal would act on is escaped", () => {
  const shown = (text: string): string => printable(new TextEncoder().encode(text));
  assert.equal(shown("grün\tund\nso"), "grün\tund\nso");
  assert.equal(shown("\u001b[31m\u0007\r\u009b"), "\\x1b[31m\\x07\\x0d\\x9b");
  assert.equal(shown("a\u202eb"), "a\\u202eb");
  assert.equal(printable(Uint8Array.of(0xff, 0x41, 0x00)), "\\xffA\\x00");
});

test("bytes as JSON: text where they are text", () => {
  assert.deepEqual(bytesField("key", new TextEncoder().encode("ä")), { key: "ä" });
  assert.deepEqual(bytesField("key", Uint8Array.of(0xff)), { keyBase64: "/w==" });
  assert.deepEqual(bytesField("key", Uint8Array.of(0xff), true), { keyHex: "ff" });
});

test("which keys are meant", () => {
  assert.equal(selectKeys("a", {}), "a");
  assert.deepEqual(selectKeys("", { prefix: true }), { prefix: "" });
  assert.deepEqual(selectKeys("", { "from-key": true }), { prefix: "" });
  assert.deepEqual(selectKeys("a", { "from-key": true }), { from: "a" });
  assert.deepEqual(selectKeys("a", { "range-end": "b" }), { from: "a", to: "b" });
  assert.throws(() => selectKeys("", {}), /KEY is empty; an empty KEY with --prefix means every/);
  assert.throws(() => selectKeys("a", { "range-end": "" }), /--range-end is empty; --from-key/);
  assert.throws(
    () => selectKeys("a", { prefix: true, "range-end": "b" }),
    /give one of --prefix and --range-end/,
  );
  assert.equal(isInterval({ "range-end": "" }), true);
  assert.equal(isInterval({ prefix: false }), false);
});

test("the rest of an interval begins behind a key and ends where the whole did", () => {
  const key = Uint8Array.of(0x61);
  const from = Uint8Array.of(0x61, 0);
  assert.deepEqual(restAfter({ prefix: "a" }, key), { from, to: Uint8Array.of(0x62) });
  assert.deepEqual(restAfter({ prefix: "" }, key), { from });
  const high = Uint8Array.of(0x61, 0xff, 0xff);
  assert.deepEqual(restAfter({ prefix: high }, key), { from, to: Uint8Array.of(0x62) });
  assert.deepEqual(restAfter({ prefix: Uint8Array.of(0xff) }, key), { from });
  assert.deepEqual(restAfter({ from: "", to: "z" }, key), { from, to: "z" });
  assert.deepEqual(restAfter({ from: "a" }, key), { from });
  assert.deepEqual(restAfter("a", key), { from, to: from }, "nothing is behind a single key");
});

test("values of flags", () => {
  assert.deepEqual(asSort("mod:desc"), { by: "mod", order: "descend" });
  assert.deepEqual(asSort("key"), { by: "key", order: "ascend" });
  for (const bad of ["", "size", "mod:down", "mod:asc:asc"]) {
    assert.throws(() => asSort(bad), /give one of key, version, create, mod, value/);
  }
  assert.equal(asTtl("60"), 60_000);
  assert.equal(asTtl("5m"), 300_000);
  for (const bad of ["", "0", "-1", "1500ms", "1.5", "soon"]) {
    assert.throws(() => asTtl(bad), /give whole seconds, such as 60 or 5m/);
  }
});

test("what to type for covey", () => {
  assert.equal(programToType("/opt/covey"), "/opt/covey");
  assert.equal(programToType("/opt/it's a/covey-linux-x64"), "'/opt/it'\\''s a/covey-linux-x64'");
  for (const engine of ["/usr/bin/deno", "/opt/covey/node_modules/bun/bin/bun.exe"]) {
    assert.equal(programToType(engine), "covey");
  }
  assert.equal(shellWord("unix:/a,unix:/b"), "unix:/a,unix:/b");
});

test("the demo's status is rewritten in place on a terminal, and a line of its own elsewhere", async () => {
  const show = async (terminal: boolean, json: boolean): Promise<string> => {
    let out = "";
    const write = (data: string | Uint8Array) => Promise.resolve(void (out += data));
    const context = {
      runtime: { host: { isTerminal: () => terminal } },
      write,
      print: (text: string) => write(`${text}\n`),
      printJson: (value: unknown) => write(`${JSON.stringify(value)}\n`),
    } as unknown as CliContext;
    const screen = new Screen(context, json);
    await screen.say("first");
    for (const status of ["3 up", "3 up", "2 up"]) await screen.status(status);
    await screen.say("one is gone");
    await screen.event({ event: "down" });
    await screen.end();
    await screen.end();
    return out;
  };
  assert.equal(await show(false, false), "first\n3 up\n2 up\none is gone\n");
  const [clear, line] = ["\r\u001b[K", "\n"];
  assert.equal(
    await show(true, false),
    `first${line}${clear}3 up${clear}2 up${clear}one is gone${line}2 up${line}`,
  );
  assert.equal(await show(true, true), '{"event":"down"}\n');
});
