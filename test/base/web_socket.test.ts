/** Close codes and reasons, at their edges. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { closeCode, closeReason } from "../../src/base/web_socket.ts";

test("web socket: codes that none may send become 1000", () => {
  for (const code of [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999]) {
    assert.equal(closeCode(code), code);
  }
  for (const code of [undefined, 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, -1, NaN]) {
    assert.equal(closeCode(code), 1000, `${code}`);
  }
});

test("web socket: a reason is cut at 123 bytes, between characters", () => {
  assert.equal(closeReason(undefined), undefined);
  assert.equal(closeReason(""), "");
  assert.equal(closeReason("x".repeat(123)), "x".repeat(123));
  assert.equal(closeReason("x".repeat(124)), "x".repeat(123));
  assert.equal(closeReason("ä".repeat(62)), "ä".repeat(61));
  assert.equal(closeReason("x".repeat(122) + "ä"), "x".repeat(122));
  assert.equal(closeReason("x".repeat(121) + "€"), "x".repeat(121));
  assert.equal(closeReason("x".repeat(120) + "😀"), "x".repeat(120));
  assert.equal(closeReason("x".repeat(119) + "😀"), "x".repeat(119) + "😀");
});
