/** Each tidy rule broken on purpose, and the nearest innocent thing beside it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { accessRows, committed, fileBytesMax, lockFile, pins } from "./committed.ts";
import { layout, nodeSockets } from "./layout.ts";
import { corePurity, effectsOutsideTheSeam } from "./purity.ts";
import { deadFiles } from "./reach.ts";
import { imports, length, linesMax, moduleState, syntax, testLinesMax } from "./shape.ts";
import {
  applyExceptions,
  blank,
  formatOffences,
  type Offence,
  readSource,
  type Rule,
} from "./source.ts";
import { testHabits } from "./tests.ts";

/** In pieces, because test/versions.test.ts holds every specifier against package.json. */
const npm = "npm" + ":";

function run(rule: Rule, files: Readonly<Record<string, string>>): Offence[] {
  return rule(Object.entries(files).map(([path, text]) => readSource(path, text)));
}

/** The rule says exactly this many things about one file, and the first mentions `about`. */
function offends(rule: Rule, path: string, text: string, about: string | RegExp, times = 1): void {
  const found = run(rule, { [path]: text });
  assert.equal(found.length, times, `${path}: ${text}\n${formatOffences(found)}`);
  assert.match(
    found[0]?.message ?? "",
    about instanceof RegExp ? about : new RegExp(escape(about)),
  );
  assert.equal(found[0]?.path, path);
}

function passes(rule: Rule, path: string, text: string): void {
  const found = run(rule, { [path]: text });
  assert.equal(found.length, 0, formatOffences(found));
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

test("scan: strings, comments, templates and regular expressions are not code", () => {
  const text = [
    'const a = "Date.now()"; // Date.now()',
    "/* Date.now()",
    " */ const b = 'x\\'Date'; const c = /Date['\"`]/g.test(a);",
    "const d = `Date ${Date.now() + `${e} Date`} Date`;",
    "const f = 4 / 2 / g; const h = '\"'; const i = Date;",
  ].join("\n");
  const code = blank(text);
  assert.equal(code.length, text.length);
  assert.deepEqual(code.split("\n").map((line) => line.split("Date").length - 1), [0, 0, 0, 1, 1]);
  assert.match(code, /4 \/ 2 \/ g/);
});

test("scan: every form of import is found, with its line", () => {
  const file = readSource(
    "src/x.ts",
    [
      `/// <reference types="${npm}a@1.0.0" />`,
      'import { a } from "./a.ts";',
      'import type { B } from "./b.ts";',
      'import * as c from "./c.ts";',
      'import "./d.ts";',
      'export { e } from "./e.ts";',
      'export type { F } from "./f.ts";',
      'const g = await import("./g.ts");',
      "import {",
      "  h,",
      "  type I,",
      '} from "./h.ts";',
      'import page from "./page.html" with { type: "text" };',
      'const no = "import { z } from \\"./z.ts\\"";',
      '// import { y } from "./y.ts";',
      "const meta = import.meta.url;",
    ].join("\n"),
  );
  assert.deepEqual(
    file.imports.map(({ specifier, line, typeOnly, dynamic }) => [
      specifier,
      line,
      `${typeOnly ? "type" : ""}${dynamic ? "dynamic" : ""}`,
    ]),
    [
      [`${npm}a@1.0.0`, 1, "type"],
      ["./a.ts", 2, ""],
      ["./b.ts", 3, "type"],
      ["./c.ts", 4, ""],
      ["./d.ts", 5, ""],
      ["./e.ts", 6, ""],
      ["./f.ts", 7, "type"],
      ["./g.ts", 8, "dynamic"],
      ["./h.ts", 9, ""],
      ["./page.html", 13, ""],
    ],
  );
});

test("layout: each row of the table has an offender", () => {
  const bad: [string, string, RegExp][] = [
    ["src/base/a.ts", "../runtime/port.ts", /base may not import port/],
    ["src/base/a.ts", `${npm}zod@4.6.7`, /base may not use npm:zod/],
    ["src/gen/a_pb.ts", "../base/bytes.ts", /gen may not import base/],
    ["src/raft/core/a.ts", "../../kv/core/b.ts", /raft\/core may not import kv\/core/],
    ["src/raft/core/a.ts", "../driver.ts", /raft\/core may not import raft/],
    ["src/raft/core/a.ts", "../../runtime/port.ts", /raft\/core may not import port/],
    ["src/raft/core/a.ts", `${npm}hono@4.13.19`, /raft\/core may not use npm:hono/],
    ["src/kv/core/a.ts", `${npm}msgpackr@2.1.3`, /only @bufbuild\/protobuf, msgpackr\/pack/],
    ["src/runtime/port.ts", "./bun.ts", /port may not import runtime\/bun/],
    ["src/runtime/bun.ts", "./deno.ts", /runtime\/bun may not import runtime\/deno/],
    ["src/runtime/deno/net.ts", "../bun/net.ts", /runtime\/deno may not import runtime\/bun/],
    ["src/runtime/sim/net.ts", "node:fs", /runtime\/sim may not name node:fs/],
    ["src/runtime/sim/net.ts", "../../ttrpc/client.ts", /runtime\/sim may not import ttrpc/],
    ["src/kv/service.ts", "../raft/driver.ts", /handed to it by node\.ts/],
    ["src/kv/service.ts", "../runtime/sim/net.ts", /kv may not import runtime\/sim/],
    ["src/kv/service.ts", "node:fs", /kv may not name node:fs/],
    ["src/ttrpc/link.ts", "../config/schema.ts", /ttrpc may not import config/],
    ["src/config/load.ts", "../ttrpc/link.ts", /config may not import ttrpc/],
    ["src/admin/app.ts", "../ttrpc/registry.ts", /admin may not import ttrpc/],
    ["src/admin/app.ts", `${npm}toml-eslint-parser@1.0.3`, /admin may not use npm:toml-eslint/],
    ["src/report/raft.ts", "../raft/raft_module.ts", /report may not import raft/],
    ["src/cli/status.ts", "../admin/app.ts", /cli may not import admin/],
    ["src/cli/status.ts", "../runtime/bun.ts", /cli may not import runtime\/bun/],
    ["src/node.ts", "./runtime/bun.ts", /node may not import runtime\/bun/],
    ["src/node.ts", "./cli/agent.ts", /node may not import cli/],
    ["src/start.ts", "./runtime/bun.ts", /must be loaded by await import/],
    ["src/kv/service.ts", "../../test/support/x.ts", /in no place of the brief's table/],
  ];
  for (const [path, specifier, about] of bad) {
    offends(layout, path, `import { a } from "${specifier}";`, about);
  }
  offends(layout, "src/util/a.ts", "", /this path is in no place/);
});

test("layout: what the table allows passes", () => {
  const good: [string, string][] = [
    ["src/raft/core/a.ts", 'import { b } from "./b.ts"; import { c } from "../../base/bytes.ts";'],
    ["src/raft/core/a.ts", `import { pack } from "${npm}msgpackr@2.1.3/pack";`],
    [
      "src/raft/driver.ts",
      'import { a } from "./core/a.ts"; import { b } from "../ttrpc/link.ts";',
    ],
    ["src/runtime/bun/net.ts", 'import fs from "node:fs"; import { dlopen } from "bun:ffi";'],
    ["src/start.ts", 'const { a } = await import("./runtime/deno.ts");'],
    ["src/node.ts", 'import { a } from "./kv/service.ts"; import { b } from "./admin/admin.ts";'],
    ["src/main.ts", 'import process from "node:process"; import { a } from "./cli/run.ts";'],
    ["src/cli/call.ts", 'import { a } from "../ttrpc/client.ts"; import { b } from "../start.ts";'],
    ["src/admin/routes/raft.ts", 'import { a } from "../../report/raft.ts";'],
    ["src/cli/raft/status.ts", 'import { a } from "../../report/raft.ts";'],
  ];
  for (const [path, text] of good) passes(layout, path, text);
});

test("layout: mod.ts holds named re-exports and nothing else", () => {
  passes(
    layout,
    "mod.ts",
    '/** Doc. */\nexport { a } from "./src/a.ts";\nexport type { B } from "./src/b.ts";\n',
  );
  offends(
    layout,
    "mod.ts",
    'export { a } from "./src/a.ts";\nexport const b = 1;\n',
    "export const b",
  );
});

test("sockets: Node's stream modules are banned in the product and its scripts", () => {
  for (
    const name of ["net", "tls", "http", "https", "http2", "dgram", "stream", "stream/promises"]
  ) {
    offends(nodeSockets, "src/runtime/deno/x.ts", `import x from "node:${name}";`, `node:${name}`);
    offends(nodeSockets, "scripts/x.ts", `await import("node:${name}");`, `node:${name}`);
    passes(nodeSockets, "test/x.test.ts", `await import("node:${name}");`);
  }
  passes(
    nodeSockets,
    "src/runtime/bun/x.ts",
    'import fs from "node:fs"; import http from "./net.ts";',
  );
});

test("effects: every effect has an offender and its replacement", () => {
  const bad: [string, RegExp][] = [
    ["const a = Date.now();", /Clock\.wallMs/],
    ["const a = new Date();", /Clock\.wallMs/],
    ["const a = performance.now();", /Clock\.monotonicMs/],
    ["setTimeout(f, 1);", /Clock\.timer/],
    ["setInterval(f, 1);", /Clock\.timer/],
    ["const a = setImmediate;", /Clock\.timer/],
    ["a(AbortSignal.timeout(5));", /AbortController/],
    ["const a = Math.random();", /Random\.fill/],
    ["crypto.getRandomValues(a);", /Random\.fill/],
    ["const a = globalThis.x ?? crypto.subtle;", /Random\.fill/],
    ['console.log("x");', /Host\.stdout/],
    ["await fetch(url);", /Http\.fetch/],
    ["new WebSocket(url);", /Http\.webSocket/],
    ["process.exit(1);", /use Host/],
    ["Bun.serve({});", /the port/],
    ["Deno.serve(f);", /the port/],
    ['import { setTimeout as sleep } from "node:timers/promises";', /Clock\.timer/],
    ["const a = Atomics.wait(b, 0, 0);", /Clock\.timer/],
  ];
  for (const [text, about] of bad) {
    offends(effectsOutsideTheSeam, "src/kv/service.ts", text, about);
    passes(effectsOutsideTheSeam, "src/runtime/bun/x.ts", text);
    passes(effectsOutsideTheSeam, "test/kv/x.test.ts", text);
  }
  offends(effectsOutsideTheSeam, "src/runtime/sim/x.ts", "const a = Date.now();", /Clock/);
});

test("effects: what only looks like one passes", () => {
  for (
    const text of [
      "clock.setTimeout(1);",
      "const a = this.#process.pid;",
      "function f(process: SimProcess) { process.exit(); }",
      "const process = world.process; process.exit();",
      "const a = { process: b, Date: c };",
      "interface Http { fetch(request: Request): Promise<Response>; }",
      "class A { async fetch(request: Request): Promise<Response> { return b; } }",
      "// Date.now() is banned\nconst a = 'Date.now()';",
      'import { fetch } from "./own.ts"; fetch(x);',
    ]
  ) passes(effectsOutsideTheSeam, "src/kv/service.ts", text);
});

test("purity: a core has no async, no platform, no maths that differs, no locale", () => {
  const bad: [string, RegExp][] = [
    ["export async function f() {}", /async is banned/],
    ["const a = async () => {};", /async is banned/],
    ['import fs from "node:fs";', /node:fs is banned/],
    ["const a = Math.log(2);", /Math\.log differs/],
    ["const a = Math.exp(2);", /Math\.exp differs/],
    ["const a = Math.hypot(2, 3);", /Math\.hypot differs/],
    ["const a = Math.PI;", /Math\.PI differs/],
    ["const a = b.toLocaleString();", /locale/],
    ["a.sort((b, c) => b.localeCompare(c));", /locale/],
    ["const a = new Intl.NumberFormat();", /locale/],
  ];
  for (const [text, about] of bad) {
    offends(corePurity, "src/raft/core/a.ts", text, about);
    offends(corePurity, "src/base/a.ts", text, about);
  }
  for (const text of ["const a = Date.now();", "console.log(1);", "const a = Math.random();"]) {
    offends(effectsOutsideTheSeam, "src/raft/core/a.ts", text, /is banned/);
    offends(effectsOutsideTheSeam, "src/base/a.ts", text, /is banned/);
  }
  offends(corePurity, "src/runtime/sim/a.ts", "const a = Math.sin(1);", /Math\.sin/);
  passes(corePurity, "src/runtime/sim/a.ts", "export async function f() {}");
  passes(corePurity, "src/raft/driver.ts", "export async function f() { Math.log(2); }");
  passes(corePurity, "src/raft/core/a.ts", "const a = Math.imul(Math.floor(b), 3); c.async = 1;");
});

test("syntax: names only, erasable only", () => {
  const bad: [string, RegExp][] = [
    ['export * from "./a.ts";', /export \*/],
    ['export * as a from "./a.ts";', /export \*/],
    ["export default 3;", /default/],
    ["const a = 1;\nexport { a as default };", /default/],
    ["enum A { b }", /enum/],
    ["export const enum A { b }", /enum/],
    ["namespace A { export const b = 1; }", /namespace/],
    ['declare module "x" { }', /namespace/],
    ["class A { constructor(private b: number) {} }", /parameter properties/],
    ["class A { constructor(a: number, readonly b = f(1)) {} }", /parameter properties/],
    ['import a = require("a");', /CommonJS/],
    ['const a = require("a");', /require/],
  ];
  for (const [text, about] of bad) {
    const found = run(syntax, { "src/a.ts": text });
    assert.ok(found.length > 0, text);
    assert.match(formatOffences(found), about);
  }
  for (
    const text of [
      "const a = z.enum([1]); const enumerate = 1;",
      "class A { readonly b: number; constructor(b: number) { this.b = b; } }",
      "const namespace = 1; const module = {};",
      "// export default\nconst a = 'enum A {';",
      "export { a } from './a.ts';",
    ]
  ) passes(syntax, "src/a.ts", text);
  passes(syntax, "src/gen/a_pb.ts", "export enum A { b }");
});

test("imports: extensions, exact versions, types, no bare names", () => {
  const bad: [string, RegExp][] = [
    ['import { a } from "./a";', /must end in \.ts/],
    ['import { a } from "./a.js";', /must end in \.ts/],
    [`import { z } from "${npm}zod";`, /exact version/],
    [`import { z } from "${npm}zod@^4.6.7";`, /exact version/],
    [`import { z } from "${npm}zod@4";`, /exact version/],
    ['import { z } from "zod";', /bare name/],
    ['import { test } from "bun:test";', /ends Deno/],
    ['import { type A, type B } from "./a.ts";', /types alone/],
    ['import a from "./page.html" with { type: "text" };', /assets\.ts alone/],
    [`/// <reference types="${npm}bun-types@1" />`, /exact version/],
  ];
  for (const [text, about] of bad) offends(imports, "src/a.ts", text, about);
  for (
    const text of [
      'import { a, type B } from "./a.ts"; import type { C } from "./c.ts";',
      `import { z } from "${npm}zod@4.6.7"; import x from "${npm}@a/b@1.0.0-rc.1/c/d.js";`,
      'import fs from "node:fs";',
    ]
  ) passes(imports, "src/a.ts", text);
  passes(imports, "src/admin/assets.ts", 'import a from "./page.html" with { type: "text" };');
  passes(imports, "test/deno/a.test.ts", 'import { assertEquals } from "@std/assert";');
});

test("length: files past the limit are named", () => {
  offends(length, "src/a.ts", "\n".repeat(linesMax + 1), `${linesMax + 1} lines`);
  passes(length, "src/a.ts", "\n".repeat(linesMax));
  passes(length, "test/a.test.ts", "\n".repeat(testLinesMax));
  offends(length, "test/a.test.ts", "\n".repeat(testLinesMax + 1), "lines");
  passes(length, "src/gen/a_pb.ts", "\n".repeat(5000));
});

test("state: no variables at the top of a module", () => {
  offends(moduleState, "src/a.ts", "let a = 1;", "let a");
  offends(moduleState, "src/a.ts", "export var a = 1;", "var a");
  passes(moduleState, "src/a.ts", "const a = 1;\nfunction f() {\n  let b = 1;\n}\n");
});

test("tests: no sleeps, no focus, no silent skips, both runtimes", () => {
  const bad: [string, RegExp][] = [
    ["await new Promise((resolve) => setTimeout(resolve, 100));", /a sleep/],
    ["setTimeout(done, 2_000);", /a sleep/],
    ["await setTimeout(1500);", /a sleep/],
    ["await sleep(250);", /a sleep/],
    ["await Bun.sleep(1);", /a sleep/],
    ["test.only('x', () => {});", /silently/],
    ["test('x', { only: true }, () => {});", /silently/],
    ["test.todo('x');", /silently/],
    ["test('x', (t) => { t.skip('no'); });", /options of a top-level test/],
    ["test.skip('x', () => {});", /options of a top-level test/],
    ["test('x', { skip: true }, () => {});", /says why/],
    ["Deno.test('x', () => {});", /node:test/],
  ];
  for (const [text, about] of bad) offends(testHabits, "test/a.test.ts", text, about);
  for (
    const text of [
      "setTimeout(() => controller.abort(), 10_000);",
      "await new Promise((resolve) => setTimeout(resolve, 5));",
      "test('x', { skip: go ? false : 'Go is not installed' }, () => {});",
      "clock.timer(500, done, undefined);",
    ]
  ) passes(testHabits, "test/a.test.ts", text);
  passes(testHabits, "test/deno/a.test.ts", "Deno.test('x', () => {});");
});

test("dead: what nothing reaches, and what only tests reach", () => {
  const files = {
    "mod.ts": 'export { a } from "./src/a.ts";',
    "src/main.ts": 'await import("./cli.ts");',
    "src/a.ts": 'import page from "./page.html" with { type: "text" };',
    "src/cli.ts": "",
    "src/sim/x.ts": 'import { y } from "../y.ts";',
    "src/y.ts": "",
    "test/a.test.ts": 'import "./support/b.ts"; import "../src/sim/x.ts"; import "../src/lone.ts";',
    "test/support/b.ts": "",
    "test/support/unused.ts": "",
    "src/lone.ts": "",
    "src/dead.ts": 'import "./dead_too.ts";',
    "src/dead_too.ts": "",
  };
  const check = (testOnly: Record<string, string>): string[] =>
    run(
      (sources) =>
        deadFiles(sources, ["src/page.html", "src/old.html"], {
          product: ["mod.ts", "src/main.ts"],
          testOnly,
        }),
      files,
    ).map((offence) => offence.path).sort();
  assert.deepEqual(check({ "src/sim/": "a simulator" }), [
    "src/dead.ts",
    "src/dead_too.ts",
    "src/lone.ts",
    "src/old.html",
    "test/support/unused.ts",
  ]);
  assert.ok(check({ "src/sim/": "a simulator", "src/cli.ts": "not so" }).includes("src/cli.ts"));
});

test("committed: blobs, registries and machines", () => {
  const one = (path: string, text: string, sizeBytes = text.length): Offence[] =>
    committed([{ path, sizeBytes, text }]);
  assert.equal(one("docs/film.bin", "", fileBytesMax + 1)[0]?.rule, "blob");
  const host = ["registry", "npmjs", "org"].join(".");
  assert.equal(one("README.md", `npm config set registry https://${host}/`)[0]?.rule, "registry");
  assert.equal(one("README.md", "see https://github.com/containerd/ttrpc").length, 0);
  for (const folder of ["root/x", "home/me/x", "Users/Me/x"]) {
    assert.equal(one("test/a.ts", `const a = "${"/" + folder}";`)[0]?.rule, "machine");
    assert.equal(one("README.md", `cd ${"/" + folder}`)[0]?.rule, "machine");
  }
  assert.equal(one("README.md", `cp covey ${"/"}tmp/covey`)[0]?.rule, "machine");
  assert.equal(one("test/a.ts", `const a = "${"/"}tmp/x";`).length, 0);
  assert.equal(one("src/a.ts", 'import { a } from "../work/b.ts"; // src/tmp/x').length, 0);
});

test("lock and pins: no addresses, hashes, exact versions", () => {
  const lock = (entry: object): Offence[] =>
    lockFile(JSON.stringify({ packages: { "": { name: "covey" }, "node_modules/a": entry } }));
  assert.equal(lock({ version: "1.0.0", integrity: "sha512-x" }).length, 0);
  assert.match(lock({ integrity: "sha512-x", resolved: "https://x" })[0]?.message ?? "", /address/);
  assert.match(lock({ version: "1.0.0" })[0]?.message ?? "", /integrity/);
  assert.equal(pins(JSON.stringify({ dependencies: { a: "1.2.3" } })).length, 0);
  assert.match(
    pins(JSON.stringify({ devDependencies: { a: "^1.2.3" } }))[0]?.message ?? "",
    /exact/,
  );
});

test("access: every method a row, every row a method", () => {
  const services = [{ service: "a.B", methods: ["C", "D"] }];
  const row = { action: "b.read", resource: "b" };
  assert.equal(accessRows(services, { "a.B/C": row, "a.B/D": row }).length, 0);
  assert.match(accessRows(services, { "a.B/C": row })[0]?.message ?? "", /a\.B\/D has no row/);
  assert.match(
    accessRows(services, { "a.B/C": row, "a.B/D": row, "a.B/E": row })[0]?.message ?? "",
    /a\.B\/E is no method/,
  );
  const empty = { action: "", resource: "b" };
  assert.match(accessRows(services, { "a.B/C": row, "a.B/D": empty })[0]?.message ?? "", /empty/);
});

test("exceptions excuse what they name, and nothing for ever", () => {
  const offence: Offence = {
    path: "src/a.ts",
    line: 3,
    rule: "effects",
    message: "Date is banned",
  };
  const about = { path: "src/a.ts", rule: "effects", about: "Date", reason: "a reason" };
  assert.deepEqual(applyExceptions([offence], [about]), []);
  const other = { ...about, about: "crypto" };
  const left = applyExceptions([offence], [other]);
  assert.equal(left.length, 2);
  assert.match(left[1]?.message ?? "", /not needed any more/);
});
