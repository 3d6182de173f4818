/**
 * The test command. `npm test` runs all there is; arguments narrow it:
 *
 *   npm test -- test/base              only these folders or files, no checks
 *   npm test -- --runtime bun          only one runtime
 *   npm test -- --checks               only the checks: formatting, lint, types, generated files
 *
 * Checks run two at a time. Each folder below test/ gets a process of its own per runtime, because
 * Bun shares globals between the files of a process. They run one after the other, except for the
 * simulator's, which run beside them: their time is virtual, so it does not matter to them who else
 * uses the machine. A process counts by its report and by how it ended; see judge() for what makes a
 * run fail that looks fine.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { judge, type Run } from "./judge.ts";
import { endWithSteps, formatDuration, runStep, type StepEnd } from "./steps.ts";
import { writeCheckConfiguration } from "./typecheck.ts";

const cache = "node_modules/.cache/covey";
/** Reports of this run alone: two runs in one checkout do not read each other's. */
const reports = `${cache}/reports-${process.pid}`;
const bun = "node_modules/.bin/bun";
const deno = "node_modules/.bin/deno";
/** Nothing is left in the user's home, no color codes in what is kept. */
const environment: Readonly<Record<string, string>> = {
  DENO_DIR: resolve(cache, "deno"),
  DENO_NO_UPDATE_CHECK: "1",
  DENO_NO_PROMPT: "1",
  NO_COLOR: "1",
};
/** The few names of `@std/assert` that test/deno uses, for where JSR is out of reach, and for tsc. */
const jsrStandIn = "test/deno/std_assert.ts";
const sourceRoots = ["mod.ts", "src", "test", "scripts", "bench"];

/** Limits per process and, for Bun, per test: seeds of the simulator take their time. */
function limits(area: string): { minutes: number; testMilliseconds: number } {
  return area === "simulation"
    ? { minutes: 25, testMilliseconds: 1_200_000 }
    : { minutes: 10, testMilliseconds: 120_000 };
}

interface Check {
  readonly name: string;
  run(): Promise<StepEnd>;
}

interface Area {
  readonly name: string;
  readonly files: readonly string[];
  readonly preload?: string;
}

const started = performance.now();

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** What both runtimes print for what passed, and Deno's empty trace at the end. */
const passedLines =
  /^(?:\(pass\) .*|.* \.\.\. ok \([^)]*\)|running \d+ tests? from .*|Check .*|Stack backtrace:|\s+0: <unknown>)\n?/gm;

/** What a test has measured or counted, for people: such lines are shown when it passed, too. */
const measuredLines = /^measured: (.*)$/gm;

function sayStep(ok: boolean, name: string, note: string, end: StepEnd): void {
  const mark = ok ? "ok  " : "FAIL";
  say(`${mark} ${name.padEnd(34)} ${note.padEnd(30)} ${formatDuration(end.milliseconds)}`);
  if (ok) {
    for (const [, line] of end.output.matchAll(measuredLines)) say(`     ${line}`);
    return;
  }
  const output = end.output.replace(passedLines, "").replace(/\n{3,}/g, "\n\n").trim();
  if (output !== "") say(output.replace(/^/gm, "     "));
  if (end.trouble !== undefined) say(`     ${name}: ${end.trouble}`);
  else if (end.code !== 0) say(`     ${name}: ended with exit code ${end.code ?? "none"}`);
}

/** Files below a folder whose name ends so, sorted, as paths from the checkout. */
function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return filesBelow(path, ending);
      return entry.name.endsWith(ending) ? [path] : [];
    })
    .sort();
}

/** Test files by the first folder below test/; those that lie directly in test/ are one area. */
function findAreas(wanted: readonly string[]): Area[] {
  const chosen = filesBelow("test", ".test.ts").filter((file) =>
    wanted.length === 0 ||
    wanted.some((path) => file === path || file.startsWith(`${path}/`))
  );
  const areas = new Map<string, string[]>();
  for (const file of chosen) {
    const parts = file.split("/");
    const name = parts.length > 2 ? parts[1] as string : "house";
    areas.set(name, [...areas.get(name) ?? [], file]);
  }
  return [...areas].sort(([a], [b]) => a < b ? -1 : 1).map(([name, files]) => {
    const preload = `test/${name}/preload.ts`;
    return existsSync(preload) ? { name, files, preload } : { name, files };
  });
}

/**
 * `@std/assert` comes from JSR. Where that is out of reach, an import map puts the few names that
 * the tests use in its place; the path of that map, or undefined when it is not needed.
 */
async function standInForJsr(): Promise<string | undefined> {
  const imports: Record<string, string> = JSON.parse(readFileSync("deno.json", "utf8")).imports ??
    {};
  const specifier = imports["@std/assert"];
  if (specifier === undefined || !existsSync(jsrStandIn)) return undefined;
  const probe = await runStep("timeout", ["20", deno, "cache", "--no-config", specifier], {
    environment,
    limitMinutes: 1,
  });
  if (probe.code === 0) return undefined;
  const target = relative(cache, jsrStandIn);
  const map = `${cache}/import_map.json`;
  writeFileSync(
    map,
    JSON.stringify({ imports: { ...imports, "@std/assert": target, [specifier]: target } }),
  );
  say(`note ${specifier} is out of reach: ${jsrStandIn} stands in for it`);
  return map;
}

function planChecks(importMap: string | undefined): Check[] {
  const step = (command: string, args: readonly string[]): Promise<StepEnd> =>
    runStep(command, args, { environment, limitMinutes: 10 });
  const roots = sourceRoots.filter((path) => existsSync(path));
  const mapped = importMap === undefined ? [] : [`--import-map=${importMap}`];
  const checks: Check[] = [
    // One program each: with Bun's types in it, Deno's own check of node:fs differs a little.
    ...roots.map((root) => ({
      name: `types, Deno, ${root}`,
      run: () => step(deno, ["check", ...mapped, root]),
    })),
    {
      name: "types, TypeScript",
      run: async () => {
        const types = await step(deno, ["types"]);
        if (types.code !== 0) return types;
        const configuration = writeCheckConfiguration(
          types.output,
          existsSync(jsrStandIn) ? { "@std/assert": jsrStandIn } : {},
        );
        return step("node_modules/.bin/tsc", ["-p", configuration]);
      },
    },
    { name: "formatting", run: () => step(deno, ["fmt", "--check"]) },
    { name: "lint", run: () => step(deno, ["lint"]) },
    { name: "lint, protos", run: () => step("node_modules/.bin/buf", ["lint"]) },
  ];
  for (const file of readdirSync("scripts").sort()) {
    if (!/^generate.*\.(sh|ts)$/.test(file)) continue;
    const [command, ...args] = file.endsWith(".sh") ? ["sh"] : [bun, "--no-install"];
    checks.push({
      name: `generated, ${file}`,
      run: () => step(command as string, [...args, `scripts/${file}`, "--check"]),
    });
  }
  if (existsSync("mod.ts")) {
    checks.push({
      name: "deno publish --dry-run",
      run: () => step(deno, ["publish", "--dry-run", "--allow-dirty"]),
    });
  }
  return checks;
}

/** Runs the checks two at a time and says how many failed. */
async function runChecks(checks: readonly Check[]): Promise<number> {
  let failed = 0;
  let next = 0;
  const work = async (): Promise<void> => {
    for (let check = checks[next++]; check !== undefined; check = checks[next++]) {
      const end = await check.run();
      const ok = end.code === 0 && end.trouble === undefined;
      if (!ok) failed++;
      sayStep(ok, check.name, "", end);
    }
  };
  await Promise.all([work(), work()]);
  return failed;
}

async function runArea(
  runtime: "bun" | "deno",
  area: Area,
  importMap: string | undefined,
): Promise<Run> {
  const limit = limits(area.name);
  const reportPath = `${reports}/${runtime}-${area.name}.xml`;
  const uncaughtPath = `${reports}/uncaught-${area.name}.txt`;
  const files = area.files.map((file) => `./${file}`);
  const preload = area.preload === undefined ? [] : [`--preload=./${area.preload}`];
  const end = runtime === "bun"
    ? await runStep(bun, [
      ...["test", "--no-install", `--timeout=${limit.testMilliseconds}`, ...preload],
      ...["--reporter=junit", `--reporter-outfile=${reportPath}`, ...files],
    ], { environment, limitMinutes: limit.minutes })
    : await runStep(deno, [
      ...["test", "-A", "--no-check", "--preload=./scripts/uncaught.ts", ...preload],
      ...(importMap === undefined ? [] : [`--import-map=${importMap}`]),
      ...[`--junit-path=${reportPath}`, ...files],
    ], {
      environment: { ...environment, TEST_UNCAUGHT_FILE: resolve(uncaughtPath) },
      limitMinutes: limit.minutes,
    });
  const read = (path: string): string | undefined =>
    existsSync(path) ? readFileSync(path, "utf8") : undefined;
  return judge({
    runtime,
    area: area.name,
    files: area.files,
    end,
    report: read(reportPath),
    uncaught: read(uncaughtPath),
    root: resolve("."),
  });
}

/** What the source says about why a test is skipped; neither report carries the reason. */
function skipReason(file: string, name: string): string {
  const source = readFileSync(file, "utf8");
  const at = source.indexOf(name);
  if (at < 0) return "";
  const match = /\bskip:\s*([^\n]{1,140}?)\s*[,}]?\s*(?:\}|\n)/.exec(source.slice(at, at + 400));
  return match?.[1] === undefined ? "" : ` (skip: ${match[1]})`;
}

function sayTimes(runs: readonly Run[]): void {
  const names = [...new Set(runs.map((run) => run.area))];
  const total = (of: readonly Run[]): string =>
    formatDuration(of.reduce((sum, run) => sum + run.milliseconds, 0));
  say(`\n${"time".padEnd(16)}${"bun".padStart(14)}${"deno".padStart(14)}${"both".padStart(14)}`);
  const row = (title: string, of: readonly Run[]): void => {
    const cells = (["bun", "deno"] as const).map((runtime) => {
      const own = of.filter((run) => run.runtime === runtime);
      return (own.length === 0 ? "–" : total(own)).padStart(14);
    });
    say(`${title.padEnd(16)}${cells.join("")}${total(of).padStart(14)}`);
  };
  for (const name of names) row(name, runs.filter((run) => run.area === name));
  row("all tests", runs);
  say(`${"everything".padEnd(16)}${formatDuration(performance.now() - started).padStart(42)}`);
}

function sayRun(run: Run): void {
  const counts = [
    `${run.passed} passed`,
    ...(run.failed > 0 ? [`${run.failed} failed`] : []),
    ...(run.skipped.length > 0 ? [`${run.skipped.length} skipped`] : []),
  ];
  const name = `${run.runtime.padEnd(4)} test ${run.area}`;
  sayStep(run.failed === 0, name, counts.join(", "), run);
  for (const problem of run.problems) say(`     ${run.runtime}: ${problem}`);
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { runtime: { type: "string" }, checks: { type: "boolean" } },
  });
  const wanted = positionals.map((path) => relative(".", path));
  for (const path of wanted) {
    if (!existsSync(path) || !path.startsWith("test")) {
      say(`npm test: ${path} is not a folder or file below test/`);
      return 2;
    }
    if (statSync(path).isFile() && !path.endsWith(".test.ts")) {
      say(`npm test: ${path} is not a test: their names end in .test.ts`);
      return 2;
    }
  }
  if (values.runtime !== undefined && !["bun", "deno"].includes(values.runtime)) {
    say(`npm test: --runtime is bun or deno, not ${values.runtime}`);
    return 2;
  }
  endWithSteps();
  mkdirSync(reports, { recursive: true });
  const importMap = await standInForJsr();
  let failed = 0;
  if (wanted.length === 0) failed += await runChecks(planChecks(importMap));
  const runs: Run[] = [];
  const areas = values.checks === true ? [] : findAreas(wanted.filter((path) => path !== "test"));
  const runLane = async (lane: readonly Area[]): Promise<void> => {
    for (const area of lane) {
      for (const runtime of ["bun", "deno"] as const) {
        if (runtime === "bun" && area.name === "deno") continue;
        if (values.runtime !== undefined && values.runtime !== runtime) continue;
        const run = await runArea(runtime, area, importMap);
        sayRun(run);
        runs.push(run);
      }
    }
  };
  const isVirtual = ({ name }: Area): boolean => name === "simulation";
  await Promise.all([
    runLane(areas.filter((area) => !isVirtual(area))),
    runLane(areas.filter(isVirtual)),
  ]);
  const skipped = runs.flatMap((run) =>
    run.skipped.map(({ file, name }) => `${run.runtime} ${file}: ${name}${skipReason(file, name)}`)
  );
  if (skipped.length > 0) say(`\nskipped\n  ${skipped.join("\n  ")}`);
  const slow = runs.flatMap((run) =>
    run.slow.map(({ file, name, seconds }) =>
      `${run.runtime} ${file}: ${name}, ${seconds.toFixed(0)} s`
    )
  );
  if (slow.length > 0) say(`\nten seconds or more\n  ${slow.join("\n  ")}`);
  const broken = runs.flatMap((run) => run.problems.map((text) => `${run.runtime} ${text}`));
  if (broken.length > 0) say(`\nfailed\n  ${broken.join("\n  ")}`);
  if (runs.length > 0) sayTimes(runs);
  const passed = runs.reduce((sum, run) => sum + run.passed, 0);
  failed += runs.reduce((sum, run) => sum + run.failed, 0);
  if (passed + failed + skipped.length === 0 && values.checks !== true) {
    say("no test ran");
    failed++;
  }
  say(`\n${passed} passed, ${failed} failed, ${skipped.length} skipped`);
  return failed === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} finally {
  rmSync(reports, { recursive: true, force: true });
}
