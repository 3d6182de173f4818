/** What a command says that waited for its turn, as long as `--timeout` allows, and did not get it. */
import { Code, CoveyError } from "../../base/error.ts";
import { formatDuration } from "../../config/units.ts";

/** The error with what was waited for in it; as it is when something else went wrong. */
export function saidOfWaiting(
  error: unknown,
  what: string,
  timeoutMs: number | undefined,
): unknown {
  const given = CoveyError.from(error);
  if (timeoutMs === undefined || given.code !== Code.deadlineExceeded) return error;
  const message = `${what} within ${formatDuration(timeoutMs)}: somebody else may have it; ` +
    "--timeout says how long to wait";
  return new CoveyError(given.code, message, { cause: error, sent: given.sent });
}
