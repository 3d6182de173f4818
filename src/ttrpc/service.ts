/**
 * The one shape of a service for both ends. A client's method takes what a handler takes and
 * returns what a handler returns, so a generated client is itself a valid handler:
 * `registry.add(S, createClient(S, channel))` is a proxy, and metadata, deadline and cancellation
 * pass through it, because a handler's {@link CallContext} is a valid {@link CallOptions}.
 */
import type {
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  Message,
  MessageInitShape,
  MessageShape,
} from "npm:@bufbuild/protobuf@2.17.0";
import type { Identity } from "../base/identity.ts";
import type { Address } from "../base/address.ts";
import type { Metadata } from "./metadata.ts";

/** What a caller may say about one call. */
export interface CallOptions {
  /** Cancels the call; it then fails with `canceled`. */
  readonly signal?: AbortSignal;
  /**
   * Milliseconds for the whole call: waiting for a connection, queueing, writing and the reply.
   * The server is told what is left when the request is written. Absent: the client's default.
   */
  readonly timeoutMs?: number;
  readonly metadata?: Metadata | Readonly<Record<string, string | readonly string[]>>;
  /**
   * Called once with the response metadata, before the result is handed over; only between covey
   * peers, since ttrpc itself has none.
   */
  readonly onResponseMetadata?: (metadata: Metadata) => void;
}

/** What a handler knows about the call that it serves. */
export interface CallContext extends CallOptions {
  readonly method: DescMethod;
  /** Who calls. */
  readonly identity: Identity;
  /** The caller's transport address. */
  readonly address: Address;
  /** Fires when the peer disconnects, the deadline passes, the call is reset, or it finished. */
  readonly signal: AbortSignal;
  /** Milliseconds left until the deadline when read; undefined when the call has none. */
  readonly timeoutMs: number | undefined;
  readonly metadata: Metadata;
  /** Sent with the result, to peers that negotiated it; otherwise ignored. */
  readonly responseMetadata: Metadata;
}

/** The calling side of a service. */
export type Client<S extends DescService> = {
  readonly [K in keyof S["method"]]: S["method"][K] extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : S["method"][K] extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncIterable<MessageShape<O>>
    : S["method"][K] extends DescMethodClientStreaming<infer I, infer O> ? (
        requests: AsyncIterable<MessageInitShape<I>>,
        options?: CallOptions,
      ) => Promise<MessageShape<O>>
    : S["method"][K] extends DescMethodBiDiStreaming<infer I, infer O> ? (
        requests: AsyncIterable<MessageInitShape<I>>,
        options?: CallOptions,
      ) => AsyncIterable<MessageShape<O>>
    : never;
};

/** The serving side of a service. A unary handler may answer without a promise. */
export type Handlers<S extends DescService> = {
  readonly [K in keyof S["method"]]: S["method"][K] extends DescMethodUnary<infer I, infer O> ? (
      request: MessageShape<I>,
      context: CallContext,
    ) => Promise<MessageInitShape<O>> | MessageInitShape<O>
    : S["method"][K] extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageShape<I>, context: CallContext) => AsyncIterable<MessageInitShape<O>>
    : S["method"][K] extends DescMethodClientStreaming<infer I, infer O> ? (
        requests: AsyncIterable<MessageShape<I>>,
        context: CallContext,
      ) => Promise<MessageInitShape<O>>
    : S["method"][K] extends DescMethodBiDiStreaming<infer I, infer O> ? (
        requests: AsyncIterable<MessageShape<I>>,
        context: CallContext,
      ) => AsyncIterable<MessageInitShape<O>>
    : never;
};

/** One call on its way to a handler. `input` is a message, or an iterable of messages. */
export interface ServerCall {
  readonly context: CallContext;
  input: Message | AsyncIterable<Message>;
}

/** What serving a call gives: a message (or a promise of one) or an iterable of messages. */
export type CallResult = unknown;

/** Serves a call of any kind; the method's kind says what the result is. */
export type ServerHandler = (call: ServerCall) => CallResult;

/** Wraps every call of every kind: look at it, refuse it by throwing, or change its result. */
export type ServerInterceptor = (call: ServerCall, next: ServerHandler) => CallResult;

/** One call on its way out. `input` is a message, or an iterable of messages. */
export interface ClientCall {
  readonly method: DescMethod;
  options: CallOptions;
  input: Message | AsyncIterable<Message>;
}

/** A promise of a message, or an iterable of messages, by the method's kind. */
export type ClientHandler = (call: ClientCall) => Promise<Message> | AsyncIterable<Message>;

export type ClientInterceptor = (
  call: ClientCall,
  next: ClientHandler,
) => Promise<Message> | AsyncIterable<Message>;
