/** The end of a node's own certificate: what is said, when, and the number beside it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { certificateWarning, dayMs, formatUtc } from "../../src/base/certificate.ts";
import type { Logger } from "../../src/base/log.ts";
import { MetricsRegistry } from "../../src/base/metrics.ts";
import { CertificateWatch } from "../../src/node/certificate_watch.ts";
import { HandClock } from "./hand_clock.ts";

test("times of the wall clock are written as they are, leap years and all", () => {
  const parts: [number, number, number, number, number][] = [
    [1970, 0, 1, 0, 0],
    [2000, 1, 29, 23, 59],
    [2024, 1, 29, 1, 2],
    [2026, 11, 31, 12, 0],
    [2027, 2, 1, 0, 0],
    [2100, 1, 28, 5, 6],
    [2100, 2, 1, 5, 6],
    [9999, 11, 31, 23, 59],
  ];
  for (const [year, month, day, hour, minute] of parts) {
    const wallMs = Date.UTC(year, month, day, hour, minute);
    const expected = `${new Date(wallMs).toISOString().slice(0, 16).replace("T", " ")} UTC`;
    assert.equal(formatUtc(wallMs), expected);
  }
});

test("what is said of a certificate depends on the clock", () => {
  const validity = { notBeforeMs: 100 * dayMs, notAfterMs: 200 * dayMs };
  const at = (days: number): string => certificateWarning(validity, days * dayMs) ?? "";
  assert.match(at(99), /is not good before 1970-04-11 00:00 UTC, and the clock says 1970-04-10 /);
  assert.equal(at(100), "");
  assert.equal(at(170), "");
  assert.match(
    at(170.5),
    /expires at 1970-07-20 00:00 UTC, in 29 days: renew it and start the node/,
  );
  assert.match(at(198.5), /in a day: renew/);
  assert.match(at(199.5), /in less than a day: renew/);
  assert.match(
    at(201),
    /expired at 1970-07-20 00:00 UTC, .*renew it and start the node again, or set/,
  );
});

test("a warning a day in the last 30 days, until the node stops, and the time that is left", () => {
  const clock = new HandClock();
  const lines: string[] = [];
  const logger = { warning: (line: string) => void lines.push(line) } as unknown as Logger;
  const metrics = new MetricsRegistry();
  const nowMs = clock.wallMs();
  const validity = { notBeforeMs: nowMs - dayMs, notAfterMs: nowMs + 31.5 * dayMs };
  const watch = new CertificateWatch(clock, logger, metrics, validity);
  const shown = (): string => metrics.expose("prometheus");
  watch.start();
  assert.match(shown(), new RegExp(`^covey_tls_certificate_expiry_seconds ${31.5 * 86_400}$`, "m"));
  clock.passes(dayMs);
  assert.deepEqual(lines, []);
  clock.passes(dayMs);
  assert.match(lines.join("\n"), /^the node's own certificate .* expires at .*, in 29 days: renew/);
  clock.passes(30 * dayMs);
  assert.equal(lines.length, 31);
  assert.match(lines[30], / expired at /);
  assert.match(shown(), /^covey_tls_certificate_expiry_seconds -43200$/m);
  watch.stop();
  clock.passes(3 * dayMs);
  assert.equal(lines.length, 31);
});
