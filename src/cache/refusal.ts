/** Errors of the cache, each with the reason that programs look at. */
import { create, fromBinary, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError, type ErrorDetail } from "../base/error.ts";
import { ErrorInfoSchema } from "../gen/covey/cache/v1/cache_pb.ts";
import type { KeyFault } from "./core/key_hash.ts";

export const errorInfoType = `type.googleapis.com/${ErrorInfoSchema.typeName}`;

/** The reasons with their codes; docs/reference/cache.md says when. */
const codes = {
  key_empty: Code.invalidArgument,
  key_too_large: Code.invalidArgument,
  key_malformed: Code.invalidArgument,
  namespace_invalid: Code.invalidArgument,
  namespace_taken: Code.alreadyExists,
  too_many_namespaces: Code.resourceExhausted,
  not_offered: Code.unavailable,
  no_owner: Code.unavailable,
  too_many_waiters: Code.resourceExhausted,
  fill_failed: Code.unknown,
  fill_timeout: Code.deadlineExceeded,
  value_too_large: Code.resourceExhausted,
  stopping: Code.unavailable,
} as const;

export type CacheReason = keyof typeof codes;

/** What an error of a source may say to those who wait: they may be many, and far away. */
const messageCharactersMax = 1024;

export function refused(reason: CacheReason, message: string): CoveyError {
  return new CoveyError(codes[reason], message, { details: [detailOf(reason)] });
}

/** Why a text is no key. */
export function badKey(fault: KeyFault, keyBytesMax: number): CoveyError {
  switch (fault) {
    case "key_empty":
      return refused(fault, "the key is empty: it needs at least one character");
    case "key_too_large":
      return refused(fault, `the key is longer than ${keyBytesMax} bytes: use a shorter one`);
    case "key_malformed":
      return refused(fault, "the key has half a surrogate pair: it must be well-formed Unicode");
  }
}

/** What a source threw, for everybody who waits, here and elsewhere; it keeps its code. */
export function fillFailed(namespace: string, thrown: unknown): CoveyError {
  const error = CoveyError.from(thrown, codes.fill_failed);
  const text = error.rawMessage.length > messageCharactersMax
    ? `${error.rawMessage.slice(0, messageCharactersMax)}…`
    : error.rawMessage;
  return new CoveyError(error.code, `the source of ${namespace} failed: ${text}`, {
    cause: error,
    details: [...error.details.filter(({ typeUrl }) => typeUrl !== errorInfoType), failedDetail],
  });
}

/** The reason in an error of the cache; undefined when it is none of those. */
export function cacheReasonOf(error: unknown): string | undefined {
  if (!(error instanceof CoveyError)) return undefined;
  const detail = error.details.find(({ typeUrl }) => typeUrl === errorInfoType);
  if (detail === undefined) return undefined;
  try {
    return fromBinary(ErrorInfoSchema, detail.value).reason;
  } catch {
    // Who made it is not known: what cannot be read says nothing.
    return undefined;
  }
}

/** Reasons of an owner that another member would have, too: its answer counts. */
const final: ReadonlySet<string | undefined> = new Set<CacheReason>([
  "fill_failed",
  "fill_timeout",
  "key_empty",
  "key_too_large",
  "key_malformed",
]);

/** Whether an owner's error is the answer; otherwise somebody else is asked. */
export function isFinal(error: unknown): boolean {
  return final.has(cacheReasonOf(error));
}

function detailOf(reason: CacheReason): ErrorDetail {
  return {
    typeUrl: errorInfoType,
    value: toBinary(ErrorInfoSchema, create(ErrorInfoSchema, { reason })),
  };
}

const failedDetail = detailOf("fill_failed");

/** The caller does not want the value any more. */
export function canceled(): CoveyError {
  return new CoveyError(Code.canceled, "the call was canceled");
}

/** The caller's own time. */
export function expired(): CoveyError {
  return new CoveyError(Code.deadlineExceeded, "the value did not come before the deadline");
}
