/** What can be asked of the store. A {@link Command} is an entry of the log, a range alone is not. */
import type { KvLimits } from "./limits.ts";

export type Command =
  | PutCommand
  | DeleteRangeCommand
  | TransactionCommand
  | CompactCommand
  | LeaseGrantCommand
  | LeaseRevokeCommand
  | LeaseExpireCommand
  | LeaseCheckpointCommand
  | SessionOpenCommand
  | SessionCloseCommand
  | ConfigureCommand;

export interface PutCommand {
  readonly kind: "put";
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** 0 for none. */
  readonly lease: number;
  /** Answer with what was there before. */
  readonly previous: boolean;
  /** Keep the value that is there; the key must exist. */
  readonly ignoreValue: boolean;
  /** Keep the lease that is there; the key must exist. */
  readonly ignoreLease: boolean;
}

/** `key` and `end` as {@link inInterval} reads them. */
export interface DeleteRangeCommand {
  readonly kind: "deleteRange";
  readonly key: Uint8Array;
  readonly end: Uint8Array;
  readonly previous: boolean;
}

export const CompareTarget = { version: 0, create: 1, mod: 2, value: 3, lease: 4 } as const;
export type CompareTarget = (typeof CompareTarget)[keyof typeof CompareTarget];

export const CompareOperator = { equal: 0, greater: 1, less: 2, notEqual: 3 } as const;
export type CompareOperator = (typeof CompareOperator)[keyof typeof CompareOperator];

/** Holds when every key of the interval passes; a missing key counts as one of zeros. */
export interface Compare {
  readonly target: CompareTarget;
  readonly operator: CompareOperator;
  readonly key: Uint8Array;
  readonly end: Uint8Array;
  /** Compared with, unless the target is the value. */
  readonly number: number;
  /** Compared with when the target is the value. */
  readonly value: Uint8Array;
}

export type Operation = PutCommand | DeleteRangeCommand | RangeRequest | TransactionCommand;

export interface TransactionCommand {
  readonly kind: "transaction";
  readonly compares: readonly Compare[];
  readonly success: readonly Operation[];
  readonly failure: readonly Operation[];
}

export const SortOrder = { none: 0, ascend: 1, descend: 2 } as const;
export type SortOrder = (typeof SortOrder)[keyof typeof SortOrder];

export const SortTarget = { key: 0, version: 1, create: 2, mod: 3, value: 4 } as const;
export type SortTarget = (typeof SortTarget)[keyof typeof SortTarget];

export interface RangeRequest {
  readonly kind: "range";
  readonly key: Uint8Array;
  readonly end: Uint8Array;
  /** 0 for none. */
  readonly limit: number;
  /** 0 for the newest. */
  readonly revision: number;
  readonly sortOrder: SortOrder;
  readonly sortTarget: SortTarget;
  readonly keysOnly: boolean;
  readonly countOnly: boolean;
  /** Bounds, each included; 0 for none. They narrow what is returned, not the count. */
  readonly modMin: number;
  readonly modMax: number;
  readonly createMin: number;
  readonly createMax: number;
}

/** Forget what happened before this revision. */
export interface CompactCommand {
  readonly kind: "compact";
  readonly revision: number;
}

export interface LeaseGrantCommand {
  readonly kind: "leaseGrant";
  /** 0: the machine chooses. */
  readonly id: number;
  readonly ttlMs: number;
}

export interface LeaseRevokeCommand {
  readonly kind: "leaseRevoke";
  readonly id: number;
}

/** The leader found these expired. One that is gone already is passed over. */
export interface LeaseExpireCommand {
  readonly kind: "leaseExpire";
  readonly ids: readonly number[];
}

/** How long the leader still grants these, so that the next leader does not begin anew. */
export interface LeaseCheckpointCommand {
  readonly kind: "leaseCheckpoint";
  readonly leases: readonly LeaseRemainder[];
}

export interface LeaseRemainder {
  readonly id: number;
  /** 0: the whole time to live again. */
  readonly remainingMs: number;
}

export interface SessionOpenCommand {
  readonly kind: "sessionOpen";
}

export interface SessionCloseCommand {
  readonly kind: "sessionClose";
  readonly session: number;
}

/** Sets the limits that are named. */
export interface ConfigureCommand {
  readonly kind: "configure";
  readonly limits: Partial<KvLimits>;
}

/** Makes a retried command apply once (dissertation, section 6.3). */
export interface SessionHeader {
  /** 0 where {@link opening} names it. */
  readonly session: number;
  /** Counts the session's commands from 1. A retry has the number of its first try. */
  readonly sequence: number;
  /** The results up to this sequence have reached the client and are forgotten. */
  readonly acknowledged: number;
  /** Absent where the session's id is known. */
  readonly opening?: Opening;
}

/** Opens a session with its first command, and names it until its id is known. */
export interface Opening {
  /** {@link openingBytes} of them, drawn by the client. */
  readonly nonce: Uint8Array;
  /** This is its only command. */
  readonly single: boolean;
}

export const openingBytes = 16;

export interface Envelope {
  readonly session: SessionHeader | undefined;
  readonly command: Command;
}
