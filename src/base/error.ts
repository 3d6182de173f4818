/**
 * One error class with a closed set of codes: gRPC's, because every protocol that covey speaks
 * carries them. Nobody branches on message text; the code and the fields are the contract.
 */

/** The gRPC status codes (https://grpc.io/docs/guides/status-codes/), OK left out. */
export const Code = {
  canceled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

/** One of the {@link Code} values. */
export type Code = (typeof Code)[keyof typeof Code];

const names: readonly string[] = [
  "ok",
  "canceled",
  "unknown",
  "invalid_argument",
  "deadline_exceeded",
  "not_found",
  "already_exists",
  "permission_denied",
  "resource_exhausted",
  "failed_precondition",
  "aborted",
  "out_of_range",
  "unimplemented",
  "internal",
  "unavailable",
  "data_loss",
  "unauthenticated",
];

/** The code's name as people and JSON see it: `resource_exhausted`. */
export function codeName(code: number): string {
  return names[code] ?? `code_${code}`;
}

/** The code of a number from a peer; a number outside the set becomes `unknown`. */
export function codeFromNumber(value: number): Code {
  return Number.isInteger(value) && value >= 1 && value <= 16 ? value as Code : Code.unknown;
}

/** One `google.protobuf.Any`, as it came with a status. */
export interface ErrorDetail {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/** What a {@link CoveyError} can carry beside its code and message. */
export interface CoveyErrorOptions {
  cause?: unknown;
  details?: readonly ErrorDetail[];
  /**
   * For a failed call: whether any of its bytes may have reached the peer. `false` means that it
   * certainly did not run there, so that it is safe to try again.
   */
  sent?: boolean;
}

/** Every error that covey's API throws. */
export class CoveyError extends Error {
  override name = "CoveyError";
  readonly code: Code;
  /** The message without the code in front. */
  readonly rawMessage: string;
  readonly details: readonly ErrorDetail[];
  /** See {@link CoveyErrorOptions.sent}; undefined where no call was involved. */
  readonly sent: boolean | undefined;

  constructor(code: Code, message: string, options: CoveyErrorOptions = {}) {
    super(
      `[${codeName(code)}] ${message}`,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.code = code;
    this.rawMessage = message;
    this.details = options.details ?? [];
    this.sent = options.sent;
  }

  /** Wraps whatever was thrown; a CoveyError passes through unchanged. Never throws itself. */
  static from(value: unknown, code: Code = Code.unknown): CoveyError {
    try {
      // Asking a proxy for its class runs its traps.
      if (value instanceof CoveyError) return value;
      if (!(value instanceof Error)) return new CoveyError(code, String(value), { cause: value });
      const message = String(value.message);
      const known = value.name === "AbortError"
        ? Code.canceled
        : value.name === "TimeoutError"
        ? Code.deadlineExceeded
        : code;
      return new CoveyError(known, message, { cause: value });
    } catch {
      // An object without a prototype, a getter that throws: it has no text.
      return new CoveyError(code, "something without a text was thrown", { cause: value });
    }
  }
}
