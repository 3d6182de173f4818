/**
 * What the observer sees of a connection machine and its link. They are the product's own objects:
 * TypeScript's `protected` is written around here, and nowhere else.
 */
import type { Call } from "../../../src/ttrpc/core/call.ts";
import type { Status } from "../../../src/ttrpc/core/envelope.ts";
import type { Output } from "../../../src/ttrpc/core/output.ts";
import type { RpcCounters } from "../../../src/ttrpc/counters.ts";
import type { RpcLimits } from "../../../src/ttrpc/limits.ts";

export interface CallInside extends Call {
  /** Of a client's call: where its request stands in the output, -1 before it is written. */
  readonly position?: number;
}

export interface MachineInside {
  readonly output: Output;
  readonly calls: Map<number, CallInside>;
  readonly callCount: number;
  readonly extended: boolean;
  readonly inFrame: boolean;
  readonly wantsPause: boolean;
  readonly inboxBytes: number;
  readonly outboxBytes: number;
  readonly outboxMessages: number;
  frame(id: number, type: number, flags: number, bytes: Uint8Array, from: number, to: number): void;
  oversized(id: number, type: number, flags: number, length: number): void;
  writeFrame(id: number, type: number, flags: number, data: Uint8Array): void;
  deadlinePassed(call: CallInside): void;
  fail(call: CallInside, status: Status): void;
  limitHit(limit: string): void;
  emit(call: CallInside, type: number, flags: number, data: Uint8Array): void;
  send(call: CallInside, data: Uint8Array, start?: number, end?: number): boolean;
  start?(call: CallInside, ...rest: unknown[]): Status | undefined;
}

export interface LinkInside {
  readonly machine: MachineInside;
  readonly counters: RpcCounters;
  readonly limits: RpcLimits;
  readonly isOpen: boolean;
  shut(status: Status): void;
  shatter(status: Status): void;
  drain?(): void;
  broken(reason: string): void;
}
