/** `/livez`, `/readyz` and `/healthz`: yes or no, and with `?verbose` why. */
import { CoveyError } from "../../base/error.ts";
import type { Clock } from "../../runtime/port.ts";
import type { Gate, Visit } from "../gate.ts";
import type { AdminLimits, AdminParts, ReadinessCheck } from "../parts.ts";
import { jsonReply } from "../reply.ts";
import type { CheckReport, ReadyReport, Reply } from "../schema.ts";

export function healthRoutes(gate: Gate, parts: AdminParts, limits: AdminLimits): void {
  gate.serve("GET /livez", () => jsonReply({ alive: true }, 200));
  gate.serve("GET /readyz", (visit) => ready(visit, parts, limits));
  gate.serve("GET /healthz", (visit) => ready(visit, parts, limits));
}

async function ready(
  visit: Visit,
  parts: AdminParts,
  limits: AdminLimits,
): Promise<Reply<"GET /readyz">> {
  const { clock } = parts.runtime;
  const checks = await Promise.all(
    parts.checks().map((check) => ask(check, clock, limits.checkTimeoutMs)),
  );
  const failing = checks.filter((check) => !check.ready).map((check) => check.name);
  const report: { -readonly [K in keyof ReadyReport]: ReadyReport[K] } = {
    ready: failing.length === 0,
  };
  if (failing.length > 0) report.failing = failing;
  if (visit.url.searchParams.has("verbose")) report.checks = checks;
  return failing.length === 0 ? jsonReply(report, 200) : jsonReply(report, 503);
}

/** One check; an answer that does not come, or a throw, is a no. */
function ask(check: ReadinessCheck, clock: Clock, timeoutMs: number): Promise<CheckReport> {
  return new Promise((resolve) => {
    const { name } = check;
    const timer = clock.timer(timeoutMs, () => {
      resolve({ name, ready: false, reason: `no answer within ${timeoutMs} ms` });
    }, undefined);
    const answer = (reason: string | undefined) => {
      timer.cancel();
      const note = check.note?.();
      resolve({
        name,
        ready: reason === undefined,
        ...(reason === undefined ? {} : { reason }),
        ...(note === undefined ? {} : { note }),
      });
    };
    // The promise is made inside `then`, so that a check that throws at once is caught too.
    Promise.resolve().then(() => check.check()).then(
      answer,
      (error) => answer(CoveyError.from(error).rawMessage),
    );
  });
}
