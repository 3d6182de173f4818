/** The handlers of every node: they do what the operation's plan says and write down that they did. */
import { Code, codeFromNumber, CoveyError } from "../../../src/base/error.ts";
import type { Runtime } from "../../../src/runtime/port.ts";
import type { SimProcess } from "../../../src/runtime/sim/process.ts";
import type { CallContext, Handlers } from "../../../src/ttrpc/service.ts";
import type { TestService } from "../../gen/covey/test/v1/test_pb.ts";
import { sleep } from "../sleep.ts";
import {
  describe,
  type Execution,
  isPattern,
  type Ledger,
  type Operation,
  pattern,
} from "./ledger.ts";

/** Metadata key by which a request names its operation. */
export const operationKey = "operation";
/** What the malformed peer calls itself there. */
export const rawOperation = "raw";

/** Where a handler was called: the link that reads a chunk at this moment. */
export interface Whereabouts {
  readonly link: object;
  readonly streamId: number;
  /** The peer is the one that breaks the rules on purpose. */
  readonly malformed: boolean;
}

export interface ServiceParts {
  readonly ledger: Ledger;
  readonly runtime: Runtime;
  readonly process: SimProcess;
  readonly whereabouts: () => Whereabouts;
}

export function simulatedHandlers(parts: ServiceParts): Handlers<typeof TestService> {
  const { ledger, runtime } = parts;
  const { verdict } = ledger;

  const begin = (context: CallContext): Execution | undefined => {
    const name = context.metadata.get(operationKey);
    const { link, streamId, malformed } = parts.whereabouts();
    if (name === rawOperation || malformed) return undefined;
    const operation = ledger.operations[Number(name) - 1];
    if (operation === undefined) {
      verdict.violate("a request arrives as it was sent", `metadata names operation ${name}`);
      return undefined;
    }
    ledger.executed(operation);
    const nowMs = runtime.clock.monotonicMs();
    const { timeoutMs } = context;
    if ((operation.timeoutMs === undefined) !== (timeoutMs === undefined)) {
      verdict.violate("a deadline reaches the handler", describe(operation));
    }
    const execution: Execution = {
      operation,
      process: parts.process,
      signal: context.signal,
      deadlineMs: timeoutMs === undefined ? Infinity : nowMs + timeoutMs,
      link,
      streamId,
      finishedMs: Infinity,
    };
    ledger.executions.add(execution);
    return execution;
  };
  const finish = (execution: Execution | undefined): void => {
    if (execution !== undefined) execution.finishedMs = runtime.clock.monotonicMs();
  };
  /** The delay of the plan; a stubborn handler does not listen to its signal. */
  const delay = (execution: Execution | undefined, ms: number): Promise<void> | undefined => {
    if (execution === undefined || ms <= 0) return undefined;
    const stubborn = execution.operation.handling === "stubborn";
    return sleep(runtime, ms, stubborn ? undefined : execution.signal);
  };
  const checkRequest = (operation: Operation | undefined, bytes: Uint8Array, index: number) => {
    if (operation === undefined || isPattern(bytes, operation.id, index)) return;
    verdict.violate(
      "no byte of one call in another",
      `request ${index} of ${describe(operation)}`,
    );
  };

  return {
    echo(request, context) {
      const execution = begin(context);
      const operation = execution?.operation;
      checkRequest(operation, request.payload, 0);
      const answer = () => ({
        payload: request.payload,
        metadataValues: context.metadata.getAll(operationKey),
        hasDeadline: context.timeoutMs !== undefined,
      });
      try {
        if (operation?.kind === "throw") throw new Error("thrown on purpose");
        const waits = delay(execution, operation?.delayMs ?? 0);
        if (waits === undefined) return answer();
        return waits.then(answer).finally(() => finish(execution));
      } finally {
        if (!((operation?.delayMs ?? 0) > 0)) finish(execution);
      }
    },
    async *count(request, context) {
      const execution = begin(context);
      const operation = execution?.operation;
      try {
        await delay(execution, operation?.delayMs ?? 0);
        for (let index = 0; index < request.count; index++) {
          await delay(execution, operation?.gapMs ?? 0);
          yield { index, payload: pattern(operation?.id ?? 0, index, request.bytes) };
        }
      } finally {
        finish(execution);
      }
    },
    async sum(requests, context) {
      const execution = begin(context);
      const operation = execution?.operation;
      let sum = 0n;
      let count = 0;
      try {
        await delay(execution, operation?.delayMs ?? 0);
        if (operation?.handling === "deaf") return { sum: -1n, count: 0 };
        for await (const request of requests) {
          if (operation !== undefined && request.value !== valueOf(operation.id, count)) {
            verdict.violate(
              "streams keep their order",
              `message ${count} is ${request.value} in ${describe(operation)}`,
            );
          }
          sum += request.value;
          count++;
          if (operation?.handling === "hasty" && count > 1) break;
        }
        return { sum, count };
      } finally {
        finish(execution);
      }
    },
    async *chat(requests, context) {
      const execution = begin(context);
      const operation = execution?.operation;
      try {
        await delay(execution, operation?.delayMs ?? 0);
        if (operation?.handling === "deaf") return;
        let index = 0;
        for await (const request of requests) {
          checkRequest(operation, request.payload, index);
          index++;
          yield { payload: request.payload };
          if (operation?.handling === "hasty" && index > 2) return;
        }
      } finally {
        finish(execution);
      }
    },
    fail(request, context) {
      const execution = begin(context);
      finish(execution);
      throw new CoveyError(codeFromNumber(request.code), request.message);
    },
    async *failStream(request, context) {
      const execution = begin(context);
      const operation = execution?.operation;
      try {
        for (let index = 0; index < request.after; index++) {
          yield { payload: pattern(operation?.id ?? 0, index, operation?.bytes ?? 0) };
        }
        throw new CoveyError(codeFromNumber(request.code || Code.aborted), request.message);
      } finally {
        finish(execution);
      }
    },
    nothing(_request, context) {
      finish(begin(context));
      return {};
    },
  };
}

/** What the client of a sum sends as its message of this index. */
export function valueOf(operation: number, index: number): bigint {
  return BigInt(operation) * 1000n + BigInt(index);
}
