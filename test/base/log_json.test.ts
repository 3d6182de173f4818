import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { formatTime, logRecordToJson, toJsonValue } from "../../src/base/log_json.ts";

test("log json: times are what the engine's calendar says", () => {
  const days = [-719_162, -1, 0, 58, 59, 60, 364, 365, 11_016, 19_782, 20_778, 47_541, 2_932_896];
  for (const day of days) {
    for (const ms of [0, 1, 999, 43_200_000, 86_399_999]) {
      const time = day * 86_400_000 + ms;
      assert.equal(formatTime(time), new Date(time).toISOString());
    }
  }
  for (let day = 0; day < 80_000; day += 13) {
    assert.equal(formatTime(day * 86_400_000), new Date(day * 86_400_000).toISOString());
  }
  assert.equal(formatTime(1795224600123.9), "2026-11-21T01:30:00.123Z");
});

test("log json: the record's order is fixed and empty parts are left out", () => {
  const record = {
    timeMs: 0,
    level: "info",
    component: "node",
    node: "n",
    message: "m",
    fields: undefined,
    cause: undefined,
  } as const;
  assert.equal(
    JSON.stringify(logRecordToJson(record)),
    '{"time":"1970-01-01T00:00:00.000Z","level":"info","component":"node","node":"n","message":"m"}',
  );
  const full = logRecordToJson({ ...record, fields: { b: 1 }, cause: "why" });
  assert.deepEqual(Object.keys(full).slice(5), ["fields", "cause"]);
});

test("log json: every value becomes JSON, however odd", () => {
  assert.equal(toJsonValue(2n ** 64n), "18446744073709551616");
  assert.equal(toJsonValue(NaN), "NaN");
  assert.equal(toJsonValue(undefined), "undefined");
  assert.equal(toJsonValue(null), null);
  assert.equal(toJsonValue(Symbol("s")), "Symbol(s)");
  assert.equal(toJsonValue(new Uint8Array([1, 255])), "01ff");
  assert.match(String(toJsonValue(new Uint8Array(100))), /^(?:00){32}… \(100 bytes\)$/);
  assert.deepEqual(toJsonValue(new Map([["a", 1n]])), [["a", "1"]]);
  assert.deepEqual(toJsonValue(new Set([1])), [1]);
  assert.equal(toJsonValue(new Date(0)), "1970-01-01T00:00:00.000Z");
  assert.equal(toJsonValue(new URL("http://a/")), "http://a/");
  const bomb = {
    get fuse(): never {
      throw new Error("boom");
    },
  };
  assert.deepEqual(toJsonValue({ bomb, after: 1 }), { bomb: "[unreadable]", after: 1 });
});

test("log json: cycles, long text, many items and deep nests are cut", () => {
  const ring: Record<string, unknown> = {};
  ring.self = ring;
  assert.match(JSON.stringify(toJsonValue(ring)), /\[deeper\]/);
  assert.match(String(toJsonValue("x".repeat(5000))), /^x{4096}… \(5000 characters\)$/);
  const many = toJsonValue(Array.from({ length: 1000 }, (_, at) => at));
  assert.ok(Array.isArray(many) && many.length === 65 && many[64] === "… (1000 items)");
  const wide = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`k${at}`, at]));
  assert.equal((toJsonValue(wide) as Record<string, unknown>)["…"], "100 keys");
});

test("log json: errors tell their code and cause; only unforeseen ones their stack", () => {
  const inner = Object.assign(new Error("refused"), { kind: "refused" });
  const error = new CoveyError(Code.unavailable, "no leader", { cause: inner });
  assert.deepEqual(toJsonValue(error), {
    name: "CoveyError",
    code: "unavailable",
    message: "no leader",
    cause: { name: "Error", kind: "refused", message: "refused" },
  });
  const bug = toJsonValue(new TypeError("x is not a function")) as Record<string, unknown>;
  assert.equal(bug.name, "TypeError");
  assert.match(String(bug.stack), /log_json\.test/);
});
