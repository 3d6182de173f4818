/**
 * The closing line of the test command counts right: files made for the purpose run under both
 * runtimes, and what judge() makes of their reports is compared with what they hold.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { judge, type Run } from "../../scripts/judge.ts";
import { readBunReport, readDenoReport } from "../../scripts/junit.ts";
import { formatDuration, runStep } from "../../scripts/steps.ts";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const head = 'import { describe, it, test } from "node:test";\nvoid [describe, it, test];\n';

/** What a test file may share with others by import. */
const suite = `export function register(name) { test(name, () => {}); }`;

/** Runs one file under one runtime, as the test command does, and judges it. */
async function count(runtime: "bun" | "deno", body: string): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), "covey-count-"));
  try {
    const file = join(folder, "a.test.ts");
    const report = join(folder, "report.xml");
    const uncaught = join(folder, "uncaught.txt");
    writeFileSync(file, head + body);
    writeFileSync(join(folder, "suite.ts"), head + suite);
    const end = runtime === "bun"
      ? await runStep(join(root, "node_modules/.bin/bun"), [
        ...["test", "--timeout=500", "--reporter=junit", `--reporter-outfile=${report}`, file],
      ], { limitMinutes: 1 })
      : await runStep(join(root, "node_modules/.bin/deno"), [
        ...["test", "-A", "--no-check", "--no-config"],
        ...[`--preload=${join(root, "scripts/uncaught.ts")}`, `--junit-path=${report}`, file],
      ], { limitMinutes: 1, environment: { NO_COLOR: "1", TEST_UNCAUGHT_FILE: uncaught } });
    const read = (path: string): string | undefined =>
      existsSync(path) ? readFileSync(path, "utf8") : undefined;
    // Reports name the file relative to the working directory or in full; only its name counts here.
    const shorten = (text: string | undefined): string | undefined =>
      text?.replace(/[^"<>\s]*\/([ab]\.test\.ts)/g, "$1");
    return judge({
      runtime,
      area: "count",
      files: ["a.test.ts"],
      end: { ...end, output: shorten(end.output) ?? "" },
      report: shorten(read(report)),
      uncaught: shorten(read(uncaught)),
      root: folder,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const cases: Readonly<
  Record<string, {
    readonly body: string;
    /** Passed, failed, skipped. */
    readonly bun: readonly [number, number, number];
    readonly deno?: readonly [number, number, number];
  }>
> = {
  "passed, failed and skipped": {
    body: `test("a", () => {}); test("b", () => { throw new Error("no"); });
      test("c", { skip: "a reason" }, () => {}); test("<d> & \\"e\\" > f", () => {});`,
    bun: [2, 1, 1],
  },
  "subtests count with their test": {
    body: `test("a", async (t) => { await t.test("b", () => {}); await t.test("c", () => {}); });
      test("d", async (t) => { await t.test("e", () => { throw new Error("no"); }); });`,
    bun: [1, 1, 0],
  },
  "a describe is one": {
    body: `describe("a", () => { it("b", () => {}); describe("c", () => { it("d", () => {}); }); });
      describe("e", () => { it("f", () => {}); it("g", () => { throw new Error("no"); }); });`,
    bun: [1, 1, 0],
  },
  "tests that an imported file registers": {
    body: `import { register } from "./suite.ts"; register("a"); register("b");`,
    bun: [2, 0, 0],
  },
  "a file that throws before its first test": {
    body: `throw new Error("early");`,
    bun: [0, 1, 0],
  },
  "a file that throws after its first test": {
    body: `test("a", () => {}); throw new Error("half way");`,
    // Bun runs nothing of such a file; Deno runs what it had registered and says nothing.
    bun: [0, 1, 0],
    deno: [1, 1, 0],
  },
  "a file that does not parse": { body: `test("a", () => {`, bun: [0, 1, 0] },
  "a file without tests": { body: "", bun: [0, 1, 0] },
  "a rejection that nobody handles": {
    body: `test("a", () => { Promise.reject(new Error("lost")); });
      test("b", async () => { await new Promise((done) => setTimeout(done, 20)); });`,
    bun: [1, 1, 0],
    deno: [2, 1, 0],
  },
  "an error in a timer": {
    body: `test("a", async () => {
        setTimeout(() => { throw new Error("late"); }, 1);
        await new Promise((done) => setTimeout(done, 30));
      });`,
    bun: [0, 1, 0],
    deno: [1, 1, 0],
  },
  "a process that ends itself with code 0": {
    body: `test("a", () => {}); test("b", () => { process.exit(0); }); test("c", () => {});`,
    bun: [0, 1, 0],
    // Deno's report marks the test that ended the process, and the rest as skipped.
    deno: [1, 1, 1],
  },
};

for (const [title, { body, ...expected }] of Object.entries(cases)) {
  for (const runtime of ["bun", "deno"] as const) {
    test(`count: ${title}, ${runtime}`, async () => {
      const run = await count(runtime, body);
      const want = expected[runtime] ?? expected.bun;
      assert.deepEqual(
        [run.passed, run.failed, run.skipped.length],
        want,
        `${run.problems.join("\n")}\n${run.output}`,
      );
      assert.equal(run.problems.length, run.failed);
    });
  }
}

test("count: a test that hangs fails, by Bun's time-out", async () => {
  const run = await count("bun", `test("a", async () => { await new Promise(() => {}); });`);
  assert.deepEqual([run.passed, run.failed], [0, 1]);
});

test("count: a process beyond its limit is killed and counts as failed", async () => {
  const end = await runStep("sleep", ["30"], { limitMinutes: 0.002 });
  assert.match(end.trouble ?? "", /did not end within/);
  const run = judge({
    runtime: "deno",
    area: "a",
    files: ["test/a/b.test.ts"],
    end,
    report: undefined,
    uncaught: undefined,
    root,
  });
  assert.equal(run.failed, 1);
});

test("count: an exit code other than 0 fails a report that looks fine", () => {
  const report =
    '<testsuites><testsuite name="a.test.ts"><testcase name="a"/></testsuite></testsuites>';
  const evidence = { area: "a", files: ["a.test.ts"], report, uncaught: undefined, root };
  const end = { output: "running 1 test from ./a.test.ts\n", milliseconds: 1 };
  for (const runtime of ["bun", "deno"] as const) {
    assert.equal(judge({ ...evidence, runtime, end: { ...end, code: 0 } }).failed, 0);
    const run = judge({ ...evidence, runtime, end: { ...end, code: 3 } });
    assert.deepEqual([run.passed, run.failed], [1, 1]);
    assert.match(run.problems[0] ?? "", /exit code is 3/);
  }
});

test("count: a report that is cut off is no report", () => {
  const cut = '<testsuites><testsuite name="a.test.ts"><testcase name="a"/>';
  assert.throws(() => readBunReport(cut), /cut off/);
  assert.throws(() => readDenoReport(cut), /cut off/);
});

test("count: durations read well", () => {
  assert.equal(formatDuration(3240), "3.2 s");
  assert.equal(formatDuration(64_000), "1 min 04 s");
});
