/** What goes wrong with the log and the snapshots on disk, as types. */
import { Code, CoveyError } from "../../base/error.ts";

/**
 * - `damaged`: bytes that were durable are not what was written; nothing of it is served.
 * - `newer`: a later version of covey wrote it.
 * - `foreign`: it belongs to another cluster, node or replica.
 * - `lost`: a log was expected here, and there is none.
 * - `full`: no room for the next segment, and the reserve is used up.
 * - `io`: a write or sync failed; what it covered is in an unknown state.
 * - `closed`: the log was closed, or failed earlier.
 * - `too-large`: one entry is larger than a record may be.
 */
export type LogErrorKind =
  | "damaged"
  | "newer"
  | "foreign"
  | "lost"
  | "full"
  | "io"
  | "closed"
  | "too-large";

const codes: Readonly<Record<LogErrorKind, Code>> = {
  damaged: Code.dataLoss,
  newer: Code.failedPrecondition,
  foreign: Code.failedPrecondition,
  lost: Code.dataLoss,
  full: Code.resourceExhausted,
  io: Code.internal,
  closed: Code.unavailable,
  "too-large": Code.invalidArgument,
};

/** Where the trouble is, as far as it is known. */
export interface LogErrorPlace {
  readonly file: string;
  readonly offset?: number;
  readonly group?: number;
}

/** The kind and the place are the contract, the message is for people. */
export class LogError extends CoveyError {
  override name = "LogError";
  readonly kind: LogErrorKind;
  readonly file: string;
  /** Bytes from the beginning of the file. */
  readonly offset: number | undefined;
  readonly group: number | undefined;
  /** The message without the place. */
  readonly problem: string;

  constructor(kind: LogErrorKind, place: LogErrorPlace, message: string, cause?: unknown) {
    const at = place.offset === undefined ? "" : ` at byte ${place.offset}`;
    const whose = place.group === undefined ? "" : `, group ${place.group}`;
    super(codes[kind], `${place.file}${at}${whose}: ${message}`, { cause });
    this.kind = kind;
    this.file = place.file;
    this.offset = place.offset;
    this.group = place.group;
    this.problem = message;
  }

  /** The same, and behind it what to do. */
  with(remedy: string): LogError {
    return new LogError(this.kind, this, `${this.problem}: ${remedy}`, this.cause);
  }
}
