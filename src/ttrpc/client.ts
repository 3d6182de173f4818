/** Clients of services: an object with one function per method, over a channel. */
import type { DescMethod, DescService, Message } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import type { Channel } from "./channel.ts";
import { MethodCodec } from "./method_codec.ts";
import { SingleCall } from "./single_call.ts";
import { StreamCall } from "./stream_call.ts";
import { CallKind } from "./core/call.ts";
import type {
  CallOptions,
  Client,
  ClientCall,
  ClientHandler,
  ClientInterceptor,
} from "./service.ts";

const noOptions: CallOptions = {};

/**
 * Makes a client of a service. The first interceptor is the outermost. What it returns is also a
 * valid set of handlers for the same service.
 */
export function createClient<S extends DescService>(
  service: S,
  channel: Channel,
  interceptors: readonly ClientInterceptor[] = [],
): Client<S> {
  const client: Record<string, unknown> = {};
  for (const method of service.methods) {
    const plain = plainMethod(method, channel);
    client[method.localName] = interceptors.length === 0
      ? plain
      : intercepted(method, plain, interceptors);
  }
  return client as Client<S>;
}

/**
 * Calls one method whose descriptor is only known at run time. `input` is a message, or an
 * iterable of messages where the client streams; the result is a promise of a message, or an
 * iterable where the server streams.
 */
export function callMethod(
  channel: Channel,
  method: DescMethod,
  input: unknown,
  options: CallOptions = noOptions,
): Promise<Message> | AsyncIterable<Message> {
  return plainMethod(method, channel)(input, options);
}

type MethodFunction = (
  input: unknown,
  options?: CallOptions,
) => Promise<Message> | AsyncIterable<Message>;

function plainMethod(method: DescMethod, channel: Channel): MethodFunction {
  const codec = new MethodCodec(method);
  switch (codec.kind) {
    case CallKind.unary:
      return (input, options = noOptions) => {
        try {
          channel.encoder.encode(codec.input, input);
        } catch (error) {
          return Promise.reject(notEncodable(method, error));
        }
        const call = new SingleCall(channel, codec, options, undefined);
        call.begin();
        return call.promise;
      };
    case CallKind.clientStreaming:
      return (input, options = noOptions) => {
        const inputs = input as AsyncIterable<unknown>;
        const call = new SingleCall(channel, codec, options, inputs);
        call.begin();
        return call.promise;
      };
    case CallKind.serverStreaming:
      return (input, options = noOptions) => {
        try {
          channel.encoder.encode(codec.input, input);
        } catch (error) {
          throw notEncodable(method, error);
        }
        const call = new StreamCall(channel, codec, options, undefined);
        call.begin();
        return call;
      };
    default:
      return (input, options = noOptions) => {
        const inputs = input as AsyncIterable<unknown>;
        const call = new StreamCall(channel, codec, options, inputs);
        call.begin();
        return call;
      };
  }
}

function notEncodable(method: DescMethod, cause: unknown): CoveyError {
  const message = `the request is no valid ${method.input.typeName}: ${
    CoveyError.from(cause).rawMessage
  }`;
  return new CoveyError(Code.invalidArgument, message, { cause, sent: false });
}

function intercepted(
  method: DescMethod,
  plain: MethodFunction,
  interceptors: readonly ClientInterceptor[],
): MethodFunction {
  let handle: ClientHandler = (call) => plain(call.input, call.options);
  for (let at = interceptors.length - 1; at >= 0; at--) {
    const interceptor = interceptors[at];
    const next = handle;
    handle = (call) => interceptor(call, next);
  }
  return (input, options = noOptions) =>
    handle({ method, options, input: input as ClientCall["input"] });
}
