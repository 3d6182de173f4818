/** Refusals as JSON: what went wrong, and what to do about it. */
import { Code, codeName, CoveyError } from "../base/error.ts";
import type { ErrorReport } from "./schema.ts";

/** An error that knows its HTTP status and advice. */
export class HttpError extends CoveyError {
  override name = "HttpError";
  readonly status: number;
  readonly hint: string | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: Code,
    message: string,
    advice: {
      readonly hint?: string;
      readonly headers?: Readonly<Record<string, string>>;
    } = {},
  ) {
    super(code, message);
    this.status = status;
    this.hint = advice.hint;
    this.headers = advice.headers ?? {};
  }
}

/** The HTTP status of a code, as Connect maps it (https://connectrpc.com/docs/protocol). */
export function statusOfCode(code: Code): number {
  switch (code) {
    case Code.invalidArgument:
    case Code.failedPrecondition:
    case Code.outOfRange:
      return 400;
    case Code.unauthenticated:
      return 401;
    case Code.permissionDenied:
      return 403;
    case Code.notFound:
      return 404;
    case Code.alreadyExists:
    case Code.aborted:
      return 409;
    case Code.resourceExhausted:
      return 429;
    case Code.canceled:
      return 499;
    case Code.unimplemented:
      return 501;
    case Code.unavailable:
      return 503;
    case Code.deadlineExceeded:
      return 504;
    case Code.unknown:
    case Code.internal:
    case Code.dataLoss:
      return 500;
  }
}

/** Whatever was thrown, as the answer to the request that met it. */
export function errorResponse(thrown: unknown): Response {
  const error = CoveyError.from(thrown, Code.internal);
  const report: { -readonly [K in keyof ErrorReport]: ErrorReport[K] } = {
    code: codeName(error.code),
    message: error.rawMessage,
  };
  let status = statusOfCode(error.code);
  let headers: Readonly<Record<string, string>> = {};
  if (error instanceof HttpError) {
    ({ status, headers } = error);
    if (error.hint !== undefined) report.hint = error.hint;
  }
  return new Response(JSON.stringify(report) + "\n", {
    status,
    headers: { "content-type": "application/json", ...headers },
  });
}
