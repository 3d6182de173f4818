/** What ends a simulation run. */

export type SimulationErrorKind =
  /** The queue is empty while what was awaited has not come. */
  | "deadlock"
  /** `untilMs` was reached before what was awaited came. */
  | "timeout"
  /** `eventsMax` was reached. */
  | "limit"
  /** A callback threw, or a boot function rejected; see `cause`. */
  | "callback"
  /** A fault or a mark that had to happen did not. */
  | "coverage";

/** The kind is the contract, the message is a report for people. */
export class SimulationError extends Error {
  override name = "SimulationError";
  readonly kind: SimulationErrorKind;
  constructor(kind: SimulationErrorKind, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
  }
}

/** Thrown by `host.exit` to leave the caller; the process is dead by then. */
export class ExitSignal extends Error {
  override name = "ExitSignal";
  readonly code: number;
  constructor(code: number) {
    super(`exit ${code}`);
    this.code = code;
  }
}
