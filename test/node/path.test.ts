/** Absolute paths, without a look at the disk. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Address } from "../../src/base/address.ts";
import { Code, CoveyError } from "../../src/base/error.ts";
import { absoluteAddress, absolutePath } from "../../src/node/path.ts";
import { NetError, type NetErrorKind } from "../../src/runtime/port.ts";

const host = { directory: "/work/here" };

test("paths become absolute, and keep what a link may bend", () => {
  const cases: [path: string, whole: string][] = [
    ["/data", "/data"],
    ["/data//a/./b/", "/data/a/b"],
    ["./covey-data", "/work/here/covey-data"],
    [".", "/work/here"],
    ["../data", "/work/here/../data"],
    ["/", "/"],
  ];
  for (const [path, whole] of cases) assert.equal(absolutePath(host, path, "node.data"), whole);
});

test("only unix sockets have a path", () => {
  const tcp: Address = { kind: "tcp", host: "a", port: 1 };
  assert.equal(absoluteAddress(host, tcp, "node.listen"), tcp);
  const unix: Address = { kind: "unix", path: "a.sock" };
  assert.deepEqual(absoluteAddress(host, unix, "node.listen"), {
    kind: "unix",
    path: "/work/here/a.sock",
  });
  const fits = "a".repeat(107 - "/work/here/".length);
  absoluteAddress(host, { kind: "unix", path: fits }, "node.listen");
  assert.throws(() => absoluteAddress(host, { kind: "unix", path: `${fits}a` }, "node.listen"), {
    message:
      /^\[failed_precondition\] node\.listen unix:a+: the whole path, \/work\/here\/a+, has 108 /,
  });
});

test("a working directory that is gone or hidden is said so", () => {
  const cases: [NetErrorKind, Code][] = [
    ["denied", Code.permissionDenied],
    ["not-found", Code.failedPrecondition],
  ];
  for (const [kind, code] of cases) {
    const lost = {
      get directory(): string {
        throw new NetError(kind, "working directory: x");
      },
    };
    assert.equal(absolutePath(lost, "/data", "node.data"), "/data");
    assert.throws(() => absolutePath(lost, "data", "node.data"), (error) => {
      assert.ok(error instanceof CoveyError);
      assert.equal(error.code, code);
      assert.match(error.rawMessage, /^node\.data data is relative, .*: name an absolute path$/);
      return true;
    });
  }
});
