/** Between the wire's status and the error that people meet. */
import { Code, codeFromNumber, CoveyError } from "../base/error.ts";
import type { Status } from "./core/envelope.ts";

/** The error of a status that a peer sent, or that a connection made up. */
export function errorFromStatus(status: Status, sent: boolean): CoveyError {
  return new CoveyError(codeFromNumber(status.code), status.message, {
    details: status.details,
    sent,
  });
}

/** The status of whatever a handler threw; what is not a CoveyError is `unknown`, as in Go. */
export function statusFromError(thrown: unknown): Status {
  const error = CoveyError.from(thrown, Code.unknown);
  return { code: error.code, message: error.rawMessage, details: error.details };
}
