/** The test service as its .proto describes it; what the Go and Rust peers serve too. */
import { toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { codeFromNumber, CoveyError } from "../../src/base/error.ts";
import type { CallContext, Handlers } from "../../src/ttrpc/service.ts";
import type { Clock } from "../../src/runtime/port.ts";
import { FailRequestSchema, type TestService } from "../gen/covey/test/v1/test_pb.ts";

/** Error details beyond this many would only make the frame longer. */
const detailsMax = 16;

export function testHandlers(clock: Clock): Handlers<typeof TestService> {
  const echo = (
    request: { payload: Uint8Array; metadataKey: string },
    context: CallContext,
  ) => ({
    payload: request.payload,
    metadataValues: request.metadataKey === "" ? [] : context.metadata.getAll(request.metadataKey),
    hasDeadline: context.timeoutMs !== undefined,
  });
  const delay = (millis: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = clock.timer(millis, resolve, undefined);
      signal.addEventListener("abort", () => {
        timer.cancel();
        reject(signal.reason);
      });
    });
  return {
    echo(request, context) {
      if (request.delayMillis === 0) return echo(request, context);
      return delay(request.delayMillis, context.signal).then(() => echo(request, context));
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
      for await (const request of requests) {
        if (request.delayMillis > 0) await delay(request.delayMillis, context.signal);
        yield echo(request, context);
      }
    },
    fail(request) {
      if (request.code === 0) return {};
      const value = toBinary(FailRequestSchema, request);
      const details = Array.from({ length: Math.min(request.after, detailsMax) }, () => ({
        typeUrl: `type.googleapis.com/${FailRequestSchema.typeName}`,
        value,
      }));
      throw new CoveyError(codeFromNumber(request.code), request.message, { details });
    },
    async *failStream(request) {
      for (let index = 0; index < request.after; index++) {
        yield { payload: new Uint8Array([index]) };
      }
      if (request.code === 0) return;
      throw new CoveyError(codeFromNumber(request.code), request.message);
    },
    nothing() {
      return {};
    },
  };
}
