/**
 * A Connect-ES Transport over a ttrpc channel, so that `createClient(Service, transport)` of
 * `@connectrpc/connect` calls a ttrpc service with all four kinds.
 *
 * Request headers become request metadata. Response metadata, which only covey peers send, becomes
 * the trailer. Errors become ConnectErrors with the same code, message and details.
 *
 * Connect's clients hide an iterator's `return`: leaving a `for await` loop early does not end the
 * call. Abort it with a signal, as with every other transport of Connect.
 */
import type {
  DescMessage,
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  MessageShape,
} from "npm:@bufbuild/protobuf@2.17.0";
import {
  type Code,
  ConnectError,
  createContextValues,
  type Interceptor,
  type Transport,
} from "npm:@connectrpc/connect@2.2.0";
import { runStreamingCall, runUnaryCall } from "npm:@connectrpc/connect@2.2.0/protocol";
import { CoveyError } from "../base/error.ts";
import type { Channel } from "./channel.ts";
import { callMethod } from "./client.ts";
import type { CallOptions } from "./service.ts";
import type { Metadata } from "./metadata.ts";

/** What {@link connectTransport} can be told. */
export interface ConnectTransportOptions {
  /** Connect's own interceptors; the last is applied first, as everywhere in Connect. */
  readonly interceptors?: Interceptor[];
}

/** Makes the transport. The channel stays the caller's: closing it ends the transport's calls. */
export function connectTransport(
  channel: Channel,
  options: ConnectTransportOptions = {},
): Transport {
  const { interceptors } = options;
  return {
    unary(method, signal, timeoutMs, header, input, contextValues) {
      return runUnaryCall({
        interceptors,
        signal,
        req: {
          ...requestOf(method, header),
          stream: false,
          method,
          message: input,
          contextValues: contextValues ?? createContextValues(),
        },
        next: async (request) => {
          const trailer = new Headers();
          try {
            const message = await callMethod(
              channel,
              method,
              request.message,
              callOptions(request.signal, timeoutMs, request.header, trailer),
            ) as MessageShape<typeof method.output>;
            const { service } = request;
            return { stream: false, service, method, header: new Headers(), trailer, message };
          } catch (error) {
            throw connectError(error, trailer);
          }
        },
      });
    },
    stream(method, signal, timeoutMs, header, input, contextValues) {
      return runStreamingCall({
        interceptors,
        signal,
        req: {
          ...requestOf(method, header),
          stream: true,
          method,
          message: input,
          contextValues: contextValues ?? createContextValues(),
        },
        next: async (request) => {
          const trailer = new Headers();
          const options = callOptions(request.signal, timeoutMs, request.header, trailer);
          const message = await startStream(channel, method, request.message, options, trailer);
          const { service } = request;
          return { stream: true, service, method, header: new Headers(), trailer, message };
        },
      });
    },
  };
}

/** Starts the call at once, as every Connect transport does, whenever its answers are read. */
async function startStream<I extends DescMessage, O extends DescMessage>(
  channel: Channel,
  method: DescMethodStreaming<I, O>,
  inputs: AsyncIterable<MessageShape<I>>,
  options: CallOptions,
  trailer: Headers,
): Promise<AsyncIterable<MessageShape<O>>> {
  try {
    let input: unknown = inputs;
    if (method.methodKind === "server_streaming") {
      // Connect hands over the one request as an iterable.
      for await (const only of inputs) input = only;
    }
    const result = callMethod(channel, method, input, options);
    // Nobody may ever read the one answer of a client stream; its failure is then no one's.
    if (result instanceof Promise) result.catch(() => {});
    return answers(result as Answers<O>, trailer);
  } catch (error) {
    throw connectError(error, trailer);
  }
}

type Answers<O extends DescMessage> = Promise<MessageShape<O>> | AsyncIterable<MessageShape<O>>;

async function* answers<O extends DescMessage>(
  result: Answers<O>,
  trailer: Headers,
): AsyncGenerator<MessageShape<O>> {
  try {
    if (result instanceof Promise) yield await result;
    else yield* result;
  } catch (error) {
    throw connectError(error, trailer);
  }
}

function requestOf<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O> | DescMethodStreaming<I, O>,
  header: HeadersInit | undefined,
) {
  return {
    service: method.parent,
    requestMethod: "POST",
    url: `ttrpc:///${(method as DescMethod).parent.typeName}/${method.name}`,
    header: new Headers(header),
  };
}

function callOptions(
  signal: AbortSignal,
  timeoutMs: number | undefined,
  header: Headers,
  trailer: Headers,
): CallOptions {
  const metadata: Record<string, string> = {};
  header.forEach((value, key) => metadata[key] = value);
  return {
    signal,
    // In Connect, zero and less mean no deadline, whatever the default is.
    timeoutMs: timeoutMs !== undefined && timeoutMs <= 0 ? Infinity : timeoutMs,
    metadata,
    onResponseMetadata: (pairs: Metadata) => {
      for (const [key, value] of pairs) appendHeader(trailer, key, value);
    },
  };
}

/** HTTP headers hold less than ttrpc metadata: what does not fit is left out. */
function appendHeader(headers: Headers, key: string, value: string): void {
  if (/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(key) && /^[\t\x20-\x7e]*$/.test(value)) {
    headers.append(key, value);
  }
}

function connectError(thrown: unknown, trailer: Headers): ConnectError {
  const error = CoveyError.from(thrown);
  const connect = new ConnectError(error.rawMessage, error.code as Code, trailer, undefined, error);
  connect.details = error.details.map((detail) => ({
    type: detail.typeUrl.slice(detail.typeUrl.lastIndexOf("/") + 1),
    value: detail.value,
  }));
  return connect;
}
