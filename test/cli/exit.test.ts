/** Errors become the documented exit codes and one line each. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import {
  describeCrash,
  describeError,
  exitCodeOf,
  OutputClosed,
  UsageError,
} from "../../src/cli/exit.ts";
import { ConfigError } from "../../src/config/problem.ts";
import { DiskError, NetError } from "../../src/runtime/port.ts";
import { isAtLeast } from "../../src/start.ts";

test("every error has its exit code", () => {
  const problem = { origin: { layer: "default" }, key: "log.level", message: "bad" } as const;
  const expected: [unknown, number][] = [
    [new UsageError("x"), 2],
    [new ConfigError([problem]), 3],
    [new CoveyError(Code.invalidArgument, "x"), 1],
    [new CoveyError(Code.unavailable, "x"), 4],
    [new CoveyError(Code.deadlineExceeded, "x"), 1],
    [new CoveyError(Code.permissionDenied, "x"), 5],
    [new CoveyError(Code.unauthenticated, "x"), 5],
    [new NetError("refused", "x"), 4],
    [new NetError("timeout", "x"), 4],
    [new NetError("denied", "x"), 5],
    [new NetError("in-use", "x"), 1],
    [new DiskError("full", "f", "x"), 1],
    [new DiskError("denied", "f", "x"), 5],
    [new TypeError("x"), 1],
    ["a thrown string", 1],
    [undefined, 1],
  ];
  for (const [error, code] of expected) assert.equal(exitCodeOf(error), code, String(error));
});

test("every error is one line that a person can read", () => {
  assert.equal(
    describeError(new CoveyError(Code.unavailable, "no answer from unix:/run/x")),
    "covey: no answer from unix:/run/x (unavailable)",
  );
  assert.equal(describeError(new DiskError("full", "/data", "no space")), "covey: /data: no space");
  assert.equal(describeError(new UsageError("give it once")), "covey: give it once");
  assert.equal(describeError(new OutputClosed()), "");
  const crash = describeError(new TypeError("two\n  lines"));
  assert.match(crash, /^covey: internal error: TypeError: two lines \(.*exit\.test\.ts.*\)$/);
  assert.equal(describeCrash("text"), "internal error: text");
});

test("versions compare by number", () => {
  assert.ok(isAtLeast("1.4.5", "1.4.5"));
  assert.ok(isAtLeast("1.10.0", "1.4.5"));
  assert.ok(isAtLeast("2.0.0-canary.1", "1.4.5"));
  assert.ok(!isAtLeast("1.4.4", "1.4.5"));
  assert.ok(!isAtLeast("1.4", "1.4.5"));
});
