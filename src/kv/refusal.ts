/** Refusals and failures as errors that say what is wrong and what to do. */
import { create, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError, type ErrorDetail } from "../base/error.ts";
import { ErrorInfoSchema } from "../gen/covey/kv/v1/kv_pb.ts";
import { type Failure, type FailureReason, failureTexts } from "./core/result.ts";
import type { KvLimits } from "./core/limits.ts";

export const errorInfoType = `type.googleapis.com/${ErrorInfoSchema.typeName}`;

/** The error of a refusal. A refusal changes nothing, but it may hide an earlier success. */
export function refused(failure: Failure, limits: KvLimits): CoveyError {
  const { reason, revision, compactRevision } = failure;
  const { code, message } = failureTexts[reason];
  const info = create(ErrorInfoSchema, {
    reason,
    notApplied: !mayBeApplied.has(reason),
    revision: BigInt(revision),
    compactRevision: BigInt(compactRevision),
  });
  return new CoveyError(code, message + noteOn(failure, limits), {
    details: [{ typeUrl: errorInfoType, value: toBinary(ErrorInfoSchema, info) }],
  });
}

/** They say nothing about what an earlier try of the command did. */
const mayBeApplied: ReadonlySet<FailureReason> = new Set([
  "session_expired",
  "session_stale",
  "result_dropped",
]);

/** The number that a sentence leaves out. */
function noteOn(failure: Failure, limits: KvLimits): string {
  switch (failure.reason) {
    case "request_too_large":
      return ` (${limits.requestBytesMax} bytes)`;
    case "key_too_large":
      return ` (${limits.keyBytesMax} bytes)`;
    case "too_many_operations":
      return ` (${limits.operationsMax})`;
    case "compacted":
      return ` (the oldest is ${failure.compactRevision})`;
    case "future_revision":
      return ` (the newest is ${failure.revision})`;
    case "no_space":
      return ` (${limits.databaseBytesMax} bytes)`;
    case "too_many_leases":
      return ` (${limits.leasesMax})`;
    case "lease_ttl_invalid":
      return ` (${Math.floor(limits.leaseTtlMsMax / 1000)} s)`;
    case "session_full":
      return ` (${limits.sessionResultsMax})`;
    case "result_too_large":
      return ` (${limits.resultBytesMax} bytes)`;
    case "too_many_keys":
      return ` (${limits.scanKeysMax})`;
    default:
      return "";
  }
}

/** Something of the request that no store would take. */
export function invalid(message: string): CoveyError {
  return new CoveyError(Code.invalidArgument, message, { details: [notApplied] });
}

/** For errors of the group: where nothing was proposed, the client may know that. */
export function withOutcome(thrown: unknown): CoveyError {
  const error = CoveyError.from(thrown, Code.internal);
  if (error.sent !== false) return error;
  if (error.details.some((detail) => detail.typeUrl === errorInfoType)) return error;
  return new CoveyError(error.code, error.rawMessage, {
    cause: error.cause,
    details: [...error.details, notApplied],
    sent: false,
  });
}

const notApplied: ErrorDetail = {
  typeUrl: errorInfoType,
  value: toBinary(ErrorInfoSchema, create(ErrorInfoSchema, { notApplied: true })),
};

/** Nothing was done, and another node or another time may do. */
export function unavailable(message: string): CoveyError {
  return new CoveyError(Code.unavailable, message, { details: [notApplied], sent: false });
}

/** The group has stopped on this node: only another one can do it. */
export function stoppedHere({ rawMessage }: CoveyError): CoveyError {
  const info = create(ErrorInfoSchema, { notApplied: true, stopped: true });
  return new CoveyError(Code.unavailable, rawMessage, {
    details: [{ typeUrl: errorInfoType, value: toBinary(ErrorInfoSchema, info) }],
    sent: false,
  });
}
