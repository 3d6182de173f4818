/** What the codes of the system and of the engines become; the cases above meet only some of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { codeOf, diskKindOf, messageOf, netKindOf, reasonOf } from "../../src/runtime/error.ts";
import { pickRuntime } from "./real.ts";

test("errors: what forbids is denied, on sockets and on files", () => {
  for (const code of ["EACCES", "EPERM", "EROFS"]) {
    assert.equal(netKindOf(code), "denied", code);
    assert.equal(diskKindOf(code), "denied", code);
  }
});

test("errors: files, by the system's codes", () => {
  const kinds = {
    ENOSPC: "full",
    EDQUOT: "full",
    EIO: "io",
    EBADF: "io",
    ENOENT: "not-found",
    EEXIST: "exists",
    EFBIG: "too-large",
    EBUSY: "busy",
    ENOTDIR: "not-a-directory",
    EISDIR: "is-a-directory",
  };
  for (const [code, kind] of Object.entries(kinds)) assert.equal(diskKindOf(code), kind, code);
  assert.equal(diskKindOf(""), "io");
});

test("errors: sockets, by the system's codes", () => {
  const kinds = {
    ECONNREFUSED: "refused",
    ETIMEDOUT: "timeout",
    ECONNRESET: "reset",
    EADDRINUSE: "in-use",
    EHOSTUNREACH: "unreachable",
    EMFILE: "limit",
    ERR_SOCKET_BAD_PORT: "invalid",
  };
  for (const [code, kind] of Object.entries(kinds)) assert.equal(netKindOf(code), kind, code);
  assert.equal(netKindOf("EWHATEVER"), undefined);
});

test("errors: code, text and reason of whatever is thrown", () => {
  const coded = Object.assign(new Error("text"), { code: "ECODE" });
  assert.deepEqual([codeOf(coded), messageOf(coded), reasonOf(coded)], ["ECODE", "text", "ECODE"]);
  const plain = new Error("text");
  assert.deepEqual([codeOf(plain), messageOf(plain), reasonOf(plain)], ["", "text", "text"]);
  for (const thrown of [undefined, null, 7, "text", { code: 7 }]) {
    assert.equal(codeOf(thrown), "");
    assert.equal(messageOf(thrown), String(thrown));
  }
});

test("errors: the runtime's own errors pass as they are, others become theirs", async () => {
  const runtime = (await pickRuntime())();
  const gone = `/no/such/folder/${runtime.host.pid}`;
  const error = await runtime.disk.readFile(gone, 1).catch((error: unknown) => error);
  assert.equal((error as { kind?: string }).kind, "not-found");
  assert.equal((error as { path?: string }).path, gone);
  assert.match(messageOf(error), /ENOENT/);
});
