/** The one place that turns errors into exit codes and into the line that people read. */
import { Code, codeName, CoveyError } from "../base/error.ts";
import { ConfigError } from "../config/problem.ts";
import { DiskError, NetError } from "../runtime/port.ts";

/** What scripts can rely on. */
export const ExitCode = {
  ok: 0,
  failed: 1,
  usage: 2,
  badConfig: 3,
  /** The node cannot be reached, or it has no leader. */
  unreachable: 4,
  denied: 5,
} as const;

/** One of the {@link ExitCode} values. */
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** The command line asks for something that does not exist or does not fit together. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** Whoever read standard output has gone, as `head` does. There is nobody to tell. */
export class OutputClosed extends Error {
  override name = "OutputClosed";
}

/** The exit code for what a command threw. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof ConfigError) return ExitCode.badConfig;
  if (error instanceof UsageError) return ExitCode.usage;
  if (error instanceof CoveyError) {
    switch (error.code) {
      case Code.unavailable:
        return ExitCode.unreachable;
      case Code.permissionDenied:
      case Code.unauthenticated:
        return ExitCode.denied;
      default:
        return ExitCode.failed;
    }
  }
  if (error instanceof DiskError) {
    return error.kind === "denied" ? ExitCode.denied : ExitCode.failed;
  }
  if (error instanceof NetError) {
    switch (error.kind) {
      case "refused":
      case "timeout":
      case "reset":
      case "not-found":
      case "unreachable":
        return ExitCode.unreachable;
      case "denied":
        return ExitCode.denied;
      default:
        return ExitCode.failed;
    }
  }
  return ExitCode.failed;
}

/** What a command's error says on standard error; empty when it is to be silent. */
export function describeError(error: unknown): string {
  if (error instanceof OutputClosed) return "";
  // Each line begins with its place, in the form that editors can jump to.
  if (error instanceof ConfigError) return error.rawMessage;
  if (error instanceof CoveyError) return `covey: ${error.rawMessage} (${codeName(error.code)})`;
  if (error instanceof UsageError || error instanceof NetError || error instanceof DiskError) {
    return `covey: ${error.message}`;
  }
  return `covey: ${describeCrash(error)}`;
}

/** One line about an error that nobody expected, with the place where it was thrown. */
export function describeCrash(error: unknown): string {
  if (error instanceof CoveyError) return error.rawMessage;
  if (!(error instanceof Error)) return `internal error: ${oneLine(String(error))}`;
  const frame = (error.stack ?? "").split("\n").find((line) => /:\d+:\d+\)?$/.test(line));
  const place = frame === undefined ? "" : ` (${frame.trim()})`;
  return `internal error: ${error.name}: ${oneLine(error.message)}${place}`;
}

function oneLine(text: string): string {
  return text.replace(/\s*[\r\n]+\s*/g, " ");
}
