/**
 * The memory of a run, outside of every machine: each operation that a client began, and each time
 * a handler ran for it. Most invariants compare the two.
 */
import { codeName, CoveyError } from "../../../src/base/error.ts";
import type { SimProcess } from "../../../src/runtime/sim/process.ts";
import type { Verdict } from "../seeds/verdict.ts";

export type OperationKind =
  | "echo"
  | "nothing"
  | "fail"
  | "throw"
  | "count"
  | "failStream"
  | "sum"
  | "chat"
  | "flood"
  | "watch"
  | "badMetadata"
  | "badInput";

/** How a client reads a stream. */
export type Reading = "all" | "slow" | "early" | "late" | "never";

/** How a handler treats its call beyond the obvious. */
export type Handling = "plain" | "stubborn" | "deaf" | "hasty";

export interface OperationPlan {
  readonly kind: OperationKind;
  readonly covey: boolean;
  readonly timeoutMs: number | undefined;
  /** Cancelled after so long; undefined for never. */
  readonly cancelAfterMs: number | undefined;
  /** Bytes of each message, and how many there are. */
  readonly bytes: number;
  readonly count: number;
  /** Between two messages of the sender of a stream. */
  readonly gapMs: number;
  /** Before the handler's first answer. */
  readonly delayMs: number;
  readonly reading: Reading;
  readonly handling: Handling;
  readonly code: number;
}

export interface Operation extends OperationPlan {
  readonly id: number;
  readonly client: string;
  readonly target: string;
  readonly process: SimProcess;
  /** By the client's clock. */
  readonly startedMs: number;
  executions: number;
  ended: boolean;
  error: CoveyError | undefined;
  canceled: boolean;
  /** Its channel or node was closed meanwhile. */
  closed: boolean;
  /** Time is up: readers stop dawdling. */
  hurry: boolean;
  /** How the server's end looked to the wire: set when a Response or an end came in. */
  note: string;
}

/** One run of a handler. */
export interface Execution {
  readonly operation: Operation;
  readonly process: SimProcess;
  readonly signal: AbortSignal;
  /** By the server's clock; Infinity without one. */
  readonly deadlineMs: number;
  /** The server's link and the stream on it. */
  readonly link: object;
  readonly streamId: number;
  /** By the server's clock. */
  finishedMs: number;
}

export class Ledger {
  readonly verdict: Verdict;
  readonly operations: Operation[] = [];
  readonly running: Set<Operation> = new Set();
  readonly executions: Set<Execution> = new Set();

  constructor(verdict: Verdict) {
    this.verdict = verdict;
  }

  begin(
    plan: OperationPlan,
    where: { client: string; target: string; process: SimProcess; startedMs: number },
  ): Operation {
    const operation: Operation = {
      ...plan,
      ...where,
      id: this.operations.length + 1,
      executions: 0,
      ended: false,
      error: undefined,
      canceled: false,
      closed: false,
      hurry: false,
      note: "",
    };
    this.operations.push(operation);
    this.running.add(operation);
    return operation;
  }

  /** A handler runs for an operation. */
  executed(operation: Operation): void {
    operation.executions++;
    const { verdict } = this;
    if (operation.executions > 1) {
      verdict.violate("no request runs twice", describe(operation));
    }
    if (operation.error?.sent === false) {
      verdict.violate("what was not sent never runs", describe(operation));
    }
  }

  /** An operation's outcome is known to its client. */
  end(operation: Operation, error: unknown, nowMs: number): void {
    const { verdict } = this;
    if (operation.ended) {
      verdict.violate("every call ends exactly once", describe(operation));
      return;
    }
    operation.ended = true;
    this.running.delete(operation);
    if (error === undefined) {
      verdict.check(
        operation.executions === 1 || operation.kind === "watch" || operation.note === "left",
        "a result comes from a handler",
        () => describe(operation),
      );
      return;
    }
    if (!(error instanceof CoveyError)) {
      const text = error instanceof Error ? error.stack ?? error.message : String(error);
      verdict.violate("every failure is a CoveyError", `${describe(operation)}: ${text}`);
      return;
    }
    operation.error = error;
    if (error.sent === false && operation.executions > 0) {
      verdict.violate("what was not sent never runs", describe(operation));
    }
    this.#judge(operation, error, nowMs);
  }

  /** Whether this operation may fail so. */
  #judge(operation: Operation, error: CoveyError, nowMs: number): void {
    const { kind, timeoutMs, startedMs } = operation;
    const elapsedMs = nowMs - startedMs;
    const may = (allowed: boolean): void =>
      this.verdict.check(
        allowed,
        "a failure has its reason",
        () => `${describe(operation)} after ${elapsedMs.toFixed(3)} ms`,
      );
    if (error.code === operation.code && (kind === "fail" || kind === "failStream")) return;
    switch (error.code) {
      // Drifting clocks of client and server may differ by a few parts in ten thousand.
      case 4:
        return may(timeoutMs !== undefined && elapsedMs >= timeoutMs * 0.99 - 1);
      case 1:
        return may(operation.canceled || operation.closed);
      case 2:
        return may(kind === "throw" || kind === "badInput" || kind === "badMetadata");
      case 3:
        return may(kind === "badMetadata");
      // Full, not served at present, not reachable: the world is rough.
      case 8:
      case 12:
      case 14:
        return;
      default:
        may(false);
    }
  }

  /** Its process died: nobody waits any more. */
  forget(process: SimProcess): void {
    for (const operation of [...this.running]) {
      if (operation.process === process) this.running.delete(operation);
    }
    for (const execution of [...this.executions]) {
      if (execution.process === process) this.executions.delete(execution);
    }
  }
}

export function describe(operation: Operation): string {
  const { id, kind, client, target, covey, timeoutMs, error } = operation;
  const outcome = error === undefined
    ? operation.ended ? "ok" : "open"
    : `${codeName(error.code)} sent=${error.sent} "${error.rawMessage}"`;
  return `operation ${id} ${kind} ${client}→${target} ${covey ? "covey" : "any"} ` +
    `timeout=${timeoutMs ?? "none"} canceled=${operation.canceled} count=${operation.count} ` +
    `bytes=${operation.bytes} ${operation.reading}/${operation.handling} ` +
    `ran ${operation.executions}×: ${outcome} ${operation.note}`;
}

/** The bytes that only this message of this operation has. */
export function pattern(operation: number, index: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const start = Math.imul(operation, 31) + Math.imul(index, 7);
  for (let at = 0; at < length; at++) bytes[at] = start + at;
  for (let at = 0; at < length && at < 4; at++) bytes[at] = operation >>> (at * 8);
  return bytes;
}

export function isPattern(bytes: Uint8Array, operation: number, index: number): boolean {
  const start = Math.imul(operation, 31) + Math.imul(index, 7);
  for (let at = 0; at < bytes.length; at++) {
    const expected = at < 4 ? (operation >>> (at * 8)) & 255 : (start + at) & 255;
    if (bytes[at] !== expected) return false;
  }
  return true;
}
