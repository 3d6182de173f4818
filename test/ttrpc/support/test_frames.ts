/** Frames of the test service, made and read with the protobuf library. */
import {
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
} from "npm:@bufbuild/protobuf@2.17.0";
import {
  type CountRequestSchema,
  type EchoRequestSchema,
  EchoResponseSchema,
  TestService,
} from "../../gen/covey/test/v1/test_pb.ts";
import { type Frame, pack, readResponse, request, type RequestInit } from "./frames.ts";

export const testService = TestService.typeName;

/** A request of the test service without a message, as client-streaming calls begin. */
export function open(
  id: number,
  flags: number,
  method: string,
  extras: RequestInit = {},
): Uint8Array {
  return request(id, flags, { service: testService, method, ...extras });
}

export function echo(
  id: number,
  init: MessageInitShape<typeof EchoRequestSchema>,
  extras: RequestInit = {},
): Uint8Array {
  const payload = pack(TestService.method.echo.input, init);
  return open(id, 0, "Echo", { payload, ...extras });
}

export function count(
  id: number,
  init: MessageInitShape<typeof CountRequestSchema>,
  extras: RequestInit = {},
): Uint8Array {
  const payload = pack(TestService.method.count.input, init);
  return open(id, 1, "Count", { payload, ...extras });
}

export function sumMessage(value: bigint): Uint8Array {
  return pack(TestService.method.sum.input, { value });
}

/** The message in an OK Response. */
export function result<S extends DescMessage>(schema: S, frame: Frame): MessageShape<S> {
  return fromBinary(schema, readResponse(frame).payload);
}

export function echoed(frame: Frame): Uint8Array {
  return result(EchoResponseSchema, frame).payload;
}
