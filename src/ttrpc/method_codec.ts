/** What calls of one method have in common. */
import {
  create,
  type DescMessage,
  type DescMethod,
  isMessage,
  toBinary,
} from "npm:@bufbuild/protobuf@2.17.0";
import { CallKind } from "./core/call.ts";
import { requestPrefix } from "./core/envelope.ts";

/** Everything about a method that is the same for each of its calls. */
export class MethodCodec {
  readonly descriptor: DescMethod;
  readonly kind: CallKind;
  readonly prefix: Uint8Array;

  constructor(descriptor: DescMethod) {
    this.descriptor = descriptor;
    this.prefix = requestPrefix(descriptor.parent.typeName, descriptor.name);
    this.kind = descriptor.methodKind === "unary"
      ? CallKind.unary
      : descriptor.methodKind === "client_streaming"
      ? CallKind.clientStreaming
      : descriptor.methodKind === "server_streaming"
      ? CallKind.serverStreaming
      : CallKind.bidi;
  }

  encode(value: unknown): Uint8Array {
    const schema: DescMessage = this.descriptor.input;
    return toBinary(
      schema,
      isMessage(value) ? value : create(schema, value as Record<string, unknown>),
    );
  }
}
