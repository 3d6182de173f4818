/** The test service as its .proto describes it; what the Go and Rust peers serve too. */
import { codeFromNumber, CoveyError } from "../../src/base/error.ts";
import type { CallContext, Handlers } from "../../src/ttrpc/service.ts";
import type { Clock } from "../../src/runtime/port.ts";
import type { TestService } from "../gen/covey/test/v1/test_pb.ts";

export function testHandlers(clock: Clock): Handlers<typeof TestService> {
  const echo = (
    request: { payload: Uint8Array; metadataKey: string },
    context: CallContext,
  ) => ({
    payload: request.payload,
    metadataValues: request.metadataKey === "" ? [] : context.metadata.getAll(request.metadataKey),
    hasDeadline: context.timeoutMs !== undefined,
  });
  return {
    echo(request, context) {
      if (request.delayMillis === 0) return echo(request, context);
      return new Promise((resolve, reject) => {
        const timer = clock.timer(
          request.delayMillis,
          () => resolve(echo(request, context)),
          undefined,
        );
        context.signal.addEventListener("abort", () => {
          timer.cancel();
          reject(context.signal.reason);
        });
      });
    },
    async *count(request) {
      const payload = new Uint8Array(request.bytes);
      for (let index = 0; index < request.count; index++) yield { index, payload };
    },
    async sum(requests) {
      let sum = 0n;
      let count = 0;
      for await (const request of requests) {
        sum += request.value;
        count++;
      }
      return { sum, count };
    },
    async *chat(requests, context) {
      for await (const request of requests) yield echo(request, context);
    },
    fail(request) {
      throw new CoveyError(codeFromNumber(request.code), request.message);
    },
    async *failStream(request) {
      for (let index = 0; index < request.after; index++) yield { payload: new Uint8Array([index]) };
      throw new CoveyError(codeFromNumber(request.code), request.message);
    },
    nothing() {
      return {};
    },
  };
}

