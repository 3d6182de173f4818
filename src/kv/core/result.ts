/** What the store answers. Everything in it is a copy and stays as it is. */
import { Code } from "../../base/error.ts";

/** One key as it was at some revision. */
export interface KeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly createRevision: number;
  readonly modRevision: number;
  /** Counts the puts since the key was created, from 1; 0 for a deleted key. */
  readonly version: number;
  /** 0 for none. */
  readonly lease: number;
}

/** One change. A delete has only the key and the mod revision. */
export interface KvEvent {
  readonly type: "put" | "delete";
  readonly entry: KeyValue;
  /** What was there before, if it was asked for, existed and is not compacted. */
  readonly previous: KeyValue | undefined;
}

/** Every result but a failure carries the store's revision after the command. */
export type KvResult =
  | PutResult
  | DeleteRangeResult
  | RangeResult
  | TransactionResult
  | CompactResult
  | LeaseGrantResult
  | LeaseRevokeResult
  | SessionOpenResult
  | DoneResult
  | Failure;

export type OperationResult = PutResult | DeleteRangeResult | RangeResult | TransactionResult;

export interface PutResult {
  readonly kind: "put";
  readonly revision: number;
  readonly previous: KeyValue | undefined;
}

export interface DeleteRangeResult {
  readonly kind: "deleteRange";
  readonly revision: number;
  readonly deleted: number;
  readonly previous: readonly KeyValue[];
}

export interface RangeResult {
  readonly kind: "range";
  readonly revision: number;
  /** Keys in the interval, whatever the limit and the bounds say. */
  readonly count: number;
  /** The limit left some out. */
  readonly more: boolean;
  readonly entries: readonly KeyValue[];
}

export interface TransactionResult {
  readonly kind: "transaction";
  readonly revision: number;
  readonly succeeded: boolean;
  readonly results: readonly OperationResult[];
}

export interface CompactResult {
  readonly kind: "compact";
  readonly revision: number;
}

export interface LeaseGrantResult {
  readonly kind: "leaseGrant";
  readonly revision: number;
  readonly id: number;
  /** As granted: never below the limit. */
  readonly ttlMs: number;
}

export interface LeaseRevokeResult {
  readonly kind: "leaseRevoke";
  readonly revision: number;
  /** Keys that went with it. */
  readonly deleted: number;
}

export interface SessionOpenResult {
  readonly kind: "sessionOpen";
  readonly revision: number;
  readonly session: number;
}

/** The command has nothing to say but that it was applied. */
export interface DoneResult {
  readonly kind: "done";
  readonly revision: number;
}

/** A refusal. The store is as it was before. */
export interface Failure {
  readonly kind: "failure";
  readonly revision: number;
  readonly reason: FailureReason;
  /** The oldest revision that can be asked for. */
  readonly compactRevision: number;
}

/** The numbers are in snapshots and on the wire: only ever append. */
export const failureReasons = [
  "malformed",
  "unsupported_version",
  "request_too_large",
  "key_empty",
  "key_too_large",
  "value_provided",
  "lease_provided",
  "key_not_found",
  "duplicate_key",
  "too_many_operations",
  "compacted",
  "future_revision",
  "no_space",
  "lease_not_found",
  "lease_exists",
  "lease_ttl_invalid",
  "too_many_leases",
  "session_unknown",
  "session_expired",
  "session_stale",
  "session_full",
  "result_dropped",
  "result_too_large",
  "too_many_keys",
] as const;

export type FailureReason = (typeof failureReasons)[number];

interface FailureText {
  readonly code: Code;
  /** What it means and what to do, for people. */
  readonly message: string;
}

/** The status code and the sentence of each refusal. */
export const failureTexts: Readonly<Record<FailureReason, FailureText>> = {
  malformed: { code: Code.invalidArgument, message: "the command's bytes cannot be read" },
  unsupported_version: {
    code: Code.unimplemented,
    message: "the command was written by a newer version: update this node",
  },
  request_too_large: {
    code: Code.invalidArgument,
    message: "the request is larger than the limit: send less at a time",
  },
  key_empty: { code: Code.invalidArgument, message: "the key is empty" },
  key_too_large: { code: Code.invalidArgument, message: "the key is longer than the limit" },
  value_provided: {
    code: Code.invalidArgument,
    message: "a value is given although the present one is to be kept",
  },
  lease_provided: {
    code: Code.invalidArgument,
    message: "a lease is given although the present one is to be kept",
  },
  key_not_found: {
    code: Code.invalidArgument,
    message: "the key does not exist, so there is no value or lease to keep",
  },
  duplicate_key: {
    code: Code.invalidArgument,
    message: "the transaction changes one key twice",
  },
  too_many_operations: {
    code: Code.invalidArgument,
    message: "the transaction has more operations than the limit: split it",
  },
  compacted: {
    code: Code.outOfRange,
    message: "the revision has been compacted: begin with a later one",
  },
  future_revision: { code: Code.outOfRange, message: "the revision has not happened yet" },
  no_space: {
    code: Code.resourceExhausted,
    message: "the database is at its quota: delete keys and compact, or raise kv's quota",
  },
  lease_not_found: { code: Code.notFound, message: "the lease does not exist or has expired" },
  lease_exists: { code: Code.alreadyExists, message: "a lease of this id exists" },
  lease_ttl_invalid: {
    code: Code.outOfRange,
    message: "the lease's time to live must be above 0 and within the limit",
  },
  too_many_leases: {
    code: Code.resourceExhausted,
    message: "there are as many leases as the limit allows: revoke some",
  },
  session_unknown: { code: Code.invalidArgument, message: "no session of this id was ever opened" },
  session_expired: {
    code: Code.failedPrecondition,
    message: "the session is gone: it is unknown whether the command was applied; open a new one",
  },
  session_stale: {
    code: Code.failedPrecondition,
    message: "the command's result was acknowledged already and is forgotten",
  },
  session_full: {
    code: Code.resourceExhausted,
    message: "the session holds as many results as the limit allows: acknowledge some",
  },
  result_dropped: {
    code: Code.alreadyExists,
    message: "the command was applied before; its result was too large to be kept",
  },
  result_too_large: {
    code: Code.resourceExhausted,
    message: "the result would be larger than the limit: give limits to the ranges, ask for " +
      "keys_only or count_only, or for fewer previous values at a time",
  },
  too_many_keys: {
    code: Code.resourceExhausted,
    message: "the transaction looks at more keys than the limit: narrow its compares and ranges, " +
      "or read and delete many keys outside of it",
  },
};
