/** Durations and sizes: what is read, what is refused, and that formatting is the inverse. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "npm:fast-check@4.10.2";
import {
  durationPattern,
  formatDuration,
  formatSize,
  parseDuration,
  parseSize,
  sizePattern,
} from "../../src/config/units.ts";

function value(result: ReturnType<typeof parseSize>): number | string {
  return result.ok ? result.value : result.reason;
}

test("durations are read", () => {
  const cases: [string, number][] = [
    ["0", 0],
    ["0s", 0],
    ["300ms", 300],
    ["5s", 5000],
    ["1.5s", 1500],
    ["1.001s", 1001],
    ["0.5ms", NaN],
    ["90m", 5_400_000],
    ["1h30m", 5_400_000],
    ["1d2h3m4s5ms", 93_784_005],
    ["365d", 31_536_000_000],
  ];
  for (const [text, expected] of cases) {
    const result = parseDuration(text);
    assert.equal(result.ok ? result.value : NaN, expected, text);
  }
});

test("sizes are read", () => {
  const cases: [string, number][] = [
    ["0", 0],
    ["1B", 1],
    ["1KiB", 1024],
    ["1KB", 1000],
    ["4MiB", 4_194_304],
    ["1.5KiB", 1536],
    ["0.1KiB", NaN],
    ["2GiB", 2_147_483_648],
    ["3GB", 3_000_000_000],
  ];
  for (const [text, expected] of cases) {
    const result = parseSize(text);
    assert.equal(result.ok ? result.value : NaN, expected, text);
  }
});

test("what is no duration is refused with its reason", () => {
  assert.equal(value(parseDuration("5")), "which has no unit (ms, s, m, h, d)");
  assert.equal(value(parseDuration("5us")), 'whose unit "us" is none of ms, s, m, h, d');
  assert.equal(value(parseDuration("5S")), 'whose unit "S" is none of ms, s, m, h, d');
  assert.equal(value(parseDuration("1m1h")), "whose units do not go from large to small");
  assert.equal(value(parseDuration("1s1s")), "whose units do not go from large to small");
  assert.equal(value(parseDuration("0.1ms")), "which is not a whole number of milliseconds");
  for (const text of ["9007199254740993ms", "99999999999d", "9007199254740s1000ms"]) {
    assert.equal(value(parseDuration(text)), "which is out of range", text);
  }
  for (const text of ["", " ", "s", "Infinity", "٣s", "five s"]) {
    assert.equal(value(parseDuration(text)), "which is not a duration", JSON.stringify(text));
  }
  for (const text of ["5 s", "5s ", " 5s", "1h 30m"]) {
    assert.equal(value(parseDuration(text)), "which has a space in it", JSON.stringify(text));
  }
  assert.equal(value(parseDuration("-5s")), "which is negative");
  assert.equal(value(parseDuration("1".repeat(100_000) + "s")), "which is not a duration");
});

test("what is no size is refused with its reason", () => {
  assert.equal(value(parseSize("5")), "which has no unit (B, KiB, MiB, GiB, KB, MB, GB)");
  assert.equal(
    value(parseSize("4mib")),
    'whose unit "mib" is none of B, KiB, MiB, GiB, KB, MB, GB',
  );
  assert.equal(value(parseSize("0.5B")), "which is not a whole number of bytes");
  assert.equal(value(parseSize("9007199254740993B")), "which is out of range");
  for (const text of ["", "1e3B", "B", "5B5B"]) {
    assert.equal(value(parseSize(text)), "which is not a size", JSON.stringify(text));
  }
  assert.equal(value(parseSize("4 MiB")), "which has a space in it");
  assert.equal(value(parseSize("-5B")), "which is negative");
});

test("formatting is the inverse of reading", () => {
  fc.assert(fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (number) => {
    assert.equal(value(parseDuration(formatDuration(number))), number);
    assert.equal(value(parseSize(formatSize(number))), number);
  }));
  assert.equal(formatSize(4_194_304), "4MiB");
  assert.equal(formatSize(1_000_000), "1MB");
  assert.equal(formatSize(1025), "1025B");
  assert.equal(formatSize(0), "0B");
  assert.equal(formatDuration(0), "0s");
  assert.equal(formatDuration(5_400_000), "1h30m");
});

test("a fraction is exact: no rounding of binary floating point", () => {
  fc.assert(fc.property(fc.nat({ max: 10 ** 9 }), fc.nat({ max: 999 }), (whole, thousandths) => {
    const digits = String(thousandths).padStart(3, "0");
    assert.equal(value(parseDuration(`${whole}.${digits}s`)), whole * 1000 + thousandths);
    assert.equal(value(parseSize(`${whole}.${digits}KB`)), whole * 1000 + thousandths);
  }));
});

test("the JSON Schema's patterns accept what is read", () => {
  const duration = new RegExp(durationPattern, "u");
  const size = new RegExp(sizePattern, "u");
  const part = fc.constantFrom(
    "0",
    "1",
    "1.5",
    "30",
    "h",
    "m",
    "s",
    "ms",
    "d",
    "B",
    "KiB",
    "MB",
    " ",
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const text = parts.join("");
      // The pattern knows no whole numbers of milliseconds, so it may accept a little more.
      if (parseDuration(text).ok) assert.match(text, duration);
      if (parseSize(text).ok) assert.match(text, size);
    }),
    { numRuns: 2000 },
  );
  for (const text of ["5", "1m1h", "5us", ""]) assert.doesNotMatch(text, duration);
  for (const text of ["5", "4mib", ""]) assert.doesNotMatch(text, size);
});
