/** What calls of one method have in common. */
import type { DescMethod } from "npm:@bufbuild/protobuf@2.17.0";
import { type MessagePlan, planOf } from "./codec/plan.ts";
import { CallKind } from "./core/call.ts";
import { requestPrefix } from "./core/envelope.ts";

/** Everything about a method that is the same for each of its calls. */
export class MethodCodec {
  readonly descriptor: DescMethod;
  readonly kind: CallKind;
  readonly prefix: Uint8Array;
  readonly input: MessagePlan;
  readonly output: MessagePlan;

  constructor(descriptor: DescMethod) {
    this.descriptor = descriptor;
    this.prefix = requestPrefix(descriptor.parent.typeName, descriptor.name);
    this.input = planOf(descriptor.input);
    this.output = planOf(descriptor.output);
    this.kind = descriptor.methodKind === "unary"
      ? CallKind.unary
      : descriptor.methodKind === "client_streaming"
      ? CallKind.clientStreaming
      : descriptor.methodKind === "server_streaming"
      ? CallKind.serverStreaming
      : CallKind.bidi;
  }
}
