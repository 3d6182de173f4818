/** Decides what one run of `bun test` or `deno test` counts for: its report is not believed alone. */
import { readBunReport, readDenoReport, type TestResult } from "./junit.ts";
import type { StepEnd } from "./steps.ts";

export interface Evidence {
  readonly runtime: "bun" | "deno";
  readonly area: string;
  /** What was asked to run, as paths from the checkout. */
  readonly files: readonly string[];
  readonly end: StepEnd;
  /** The JUnit report, when it was written. */
  readonly report: string | undefined;
  /** What scripts/uncaught.ts wrote down: one JSON object a line. */
  readonly uncaught: string | undefined;
  /** The checkout, to shorten paths. */
  readonly root: string;
}

export interface Run extends StepEnd {
  readonly runtime: "bun" | "deno";
  readonly area: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly TestResult[];
  /** Tests that took ten seconds or more. */
  readonly slow: readonly TestResult[];
  /** One line for each that counts as failed. */
  readonly problems: readonly string[];
}

function readUncaught(text: string, root: string): Map<string, string> {
  const byFile = new Map<string, string>();
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const { file, error } = JSON.parse(line) as { file: string; error: string };
    const path = file.replace(/^file:\/\//, "").replace(`${root}/`, "");
    if (!byFile.has(path)) byFile.set(path, error);
  }
  return byFile;
}

/**
 * Deno's report names the file in which `test()` was called, which a suite shared by several test
 * files makes another one. What it prints names the file that ran.
 */
function filesThatRan(output: string): Set<string> {
  const files = new Set<string>();
  for (const match of output.matchAll(/^running (\d+) tests? from (.+)$/gm)) {
    if (match[1] !== "0") files.add((match[2] ?? "").trim().replace(/^\.\//, ""));
  }
  return files;
}

/**
 * Every failed test counts one. So does each thing that a report does not show: a file in which no
 * test ran (a crash before the first one, a syntax error, a process that ended in the middle), a
 * file with an error that nobody caught (see uncaught.ts), a missing report (`process.exit(0)`
 * under Bun leaves none and exit code 0), an exit code other than 0 without any of these.
 */
export function judge(evidence: Evidence): Run {
  const { runtime, area, end, report, files } = evidence;
  const problems: string[] = [];
  let results: readonly TestResult[] = [];
  let read = false;
  if (end.trouble !== undefined) problems.push(`test/${area}: ${end.trouble}`);
  if (report !== undefined) {
    try {
      results = runtime === "bun" ? readBunReport(report) : readDenoReport(report);
      read = true;
    } catch (error) {
      problems.push(`test/${area}: ${error instanceof Error ? error.message : String(error)}`);
    }
  } else if (end.trouble === undefined) {
    problems.push(
      `test/${area}: no report, exit code ${end.code}: the process ended in the middle, ` +
        `or no file could be loaded`,
    );
  }
  for (const { file, name, outcome } of results) {
    if (outcome === "failed") problems.push(`${file}: ${name}`);
  }
  const silent = new Set<string>();
  if (read) {
    const heard = runtime === "bun"
      ? new Set(results.map((result) => result.file))
      : filesThatRan(end.output);
    for (const file of files) {
      if (heard.has(file)) continue;
      silent.add(file);
      problems.push(`${file}: no test ran`);
    }
  }
  for (const [file, error] of readUncaught(evidence.uncaught ?? "", evidence.root)) {
    if (!silent.has(file)) problems.push(`${file}: nobody caught ${error.split("\n")[0]}`);
  }
  if (end.code !== 0 && problems.length === 0) {
    problems.push(`test/${area}: every test passed, but the exit code is ${end.code}`);
  }
  return {
    ...end,
    runtime,
    area,
    passed: results.filter((result) => result.outcome === "passed").length,
    failed: problems.length,
    skipped: results.filter((result) => result.outcome === "skipped"),
    slow: results.filter((result) => result.seconds >= 10),
    problems,
  };
}
