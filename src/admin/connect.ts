/**
 * Calls of services by HTTP, in the Connect protocol (https://connectrpc.com/docs/protocol): what
 * curl with JSON speaks, and browsers. Loaded at the first call.
 *
 * The handlers that Connect makes depend on a method's descriptor only; who serves it is looked up
 * at each call, so services may come and go.
 */
import type {
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  Message,
} from "npm:@bufbuild/protobuf@2.17.0";
import {
  type Code as ConnectCode,
  ConnectError,
  type ContextKey,
  createContextKey,
  createContextValues,
  createMethodImplSpec,
  type HandlerContext,
} from "npm:@connectrpc/connect@2.2.0";
import {
  createUniversalMethodHandler,
  type UniversalHandler,
  universalServerRequestFromFetch,
  universalServerResponseToFetch,
} from "npm:@connectrpc/connect@2.2.0/protocol";
import { createHandlerFactory } from "npm:@connectrpc/connect@2.2.0/protocol-connect";
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Clock } from "../runtime/port.ts";
import { orAborted } from "./abort.ts";
import { atMost, readWhole, withEnd, withinTime } from "./connect_body.ts";
import { HttpError } from "./error.ts";
import { methodNotAllowed, type Visit } from "./gate.ts";
import { addResponseMetadata, requestMetadata } from "./metadata.ts";
import type { AdminCallContext, AdminService } from "./parts.ts";

/** Who is called, beside what Connect itself carries. */
interface CallSite {
  readonly visit: Visit;
  readonly service: AdminService;
}

/** For a request of one message to arrive as a whole: a client that dawdles holds a place. */
const bodyTimeoutMs = 30_000;

type HandlerFactory = ReturnType<typeof createHandlerFactory>;

export interface ConnectEdgeParts {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly bodyBytesMax: number;
  /** Called when a body turns out to be larger. */
  readonly bodyLimitHit: () => void;
  /** Fires when calls in flight must end. */
  readonly stop: AbortSignal;
  /** The server stops reading a request once its answer has begun. */
  readonly halfDuplex: boolean;
}

export class ConnectEdge {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #site: ContextKey<CallSite | undefined> = createContextKey<CallSite | undefined>(
    undefined,
  );
  readonly #bodyBytesMax: number;
  readonly #bodyLimitHit: () => void;
  readonly #halfDuplex: boolean;
  readonly #clients: Handlers;
  readonly #people: Handlers;

  constructor(parts: ConnectEdgeParts) {
    this.#logger = parts.logger;
    this.#clock = parts.clock;
    this.#bodyBytesMax = parts.bodyBytesMax;
    this.#bodyLimitHit = parts.bodyLimitHit;
    this.#halfDuplex = parts.halfDuplex;
    const spec = (method: DescMethod) => this.#spec(method);
    const handlers = (ignoreUnknownFields: boolean) => {
      // Bytes that are not UTF-8 fail, where the default would replace them without a word.
      const textDecoder = new TextDecoder("utf-8", { fatal: true });
      const factory = createHandlerFactory({
        readMaxBytes: parts.bodyBytesMax,
        shutdownSignal: parts.stop,
        jsonOptions: Object.assign({ ignoreUnknownFields }, { textDecoder }),
      });
      return new Handlers(factory, spec);
    };
    // JSON that a person typed fails on an unknown field, where a misspelt one would be lost. A
    // generated client may be newer than this node and says so by its protocol header.
    this.#clients = handlers(true);
    this.#people = handlers(false);
  }

  /** Serves one request. `finished` runs, perhaps twice, when the answer is taken or given up. */
  async serve(
    visit: Visit,
    service: AdminService,
    method: DescMethod,
    finished: () => void,
  ): Promise<Response> {
    const { request } = visit;
    const handlers = request.headers.has("connect-protocol-version") ? this.#clients : this.#people;
    const handler = handlers.of(method);
    checkRequest(request, handler, visit);
    const input = universalServerRequestFromFetch(request, {});
    let body = input.body as AsyncIterable<Uint8Array>;
    let tooLarge: HttpError | undefined;
    if (method.methodKind === "unary") {
      // A body without Content-Length shows its size only while it comes.
      body = atMost(body, this.#bodyBytesMax, (error) => {
        this.#bodyLimitHit();
        tooLarge = error;
      });
    }
    if (method.methodKind === "unary" || method.methodKind === "server_streaming") {
      input.body = withinTime(body, this.#clock, bodyTimeoutMs);
    } else if (method.methodKind === "bidi_streaming" && this.#halfDuplex) {
      // Messages that come after the first answer would never be read, and the call would hang.
      input.body = await readWhole(body, this.#bodyBytesMax);
    }
    const response = await handler({
      ...input,
      contextValues: createContextValues().set(this.#site, { visit, service }),
    });
    if (tooLarge !== undefined) throw tooLarge;
    request.signal.addEventListener("abort", finished);
    if (response.body === undefined) {
      finished();
      return universalServerResponseToFetch(response);
    }
    return universalServerResponseToFetch({
      ...response,
      body: withEnd(response.body, finished),
    });
  }

  #spec(method: DescMethod): Parameters<HandlerFactory>[0] {
    // The kinds differ in types only: input and result are what the descriptor says.
    switch (method.methodKind) {
      case "unary":
        return createMethodImplSpec(
          method as DescMethodUnary,
          (input, context) => this.#single(method, input, context),
        );
      case "client_streaming":
        return createMethodImplSpec(
          method as DescMethodClientStreaming,
          (input, context) => this.#single(method, input, context),
        );
      case "server_streaming":
        return createMethodImplSpec(
          method as DescMethodServerStreaming,
          (input, context) => this.#stream(method, input, context),
        );
      case "bidi_streaming":
        return createMethodImplSpec(
          method as DescMethodBiDiStreaming,
          (input, context) => this.#stream(method, input, context),
        );
    }
  }

  async #single(
    method: DescMethod,
    input: Message | AsyncIterable<Message>,
    context: HandlerContext,
  ): Promise<Message> {
    try {
      // A handler that ignores its signal must not make the client wait past the deadline.
      return await orAborted(
        Promise.resolve(this.#call(method, input, context) as Message | Promise<Message>),
        context.signal,
      );
    } catch (error) {
      throw this.#failure(method, error);
    }
  }

  async *#stream(
    method: DescMethod,
    input: Message | AsyncIterable<Message>,
    context: HandlerContext,
  ): AsyncGenerator<Message, void, undefined> {
    let results: AsyncIterator<Message> | undefined;
    // Not awaited: a generator that hangs in `next` would never answer. And not left to `finally`
    // alone: a client that left pulls nothing, so that this function may never be resumed.
    const end = () => void results?.return?.()?.catch(() => {});
    context.signal.addEventListener("abort", end);
    try {
      const iterable = this.#call(method, input, context) as AsyncIterable<Message>;
      results = iterable[Symbol.asyncIterator]();
      for (;;) {
        const result = await orAborted(results.next(), context.signal);
        if (result.done === true) {
          results = undefined;
          return;
        }
        yield result.value;
      }
    } catch (error) {
      throw this.#failure(method, error);
    } finally {
      end();
    }
  }

  #call(
    method: DescMethod,
    input: Message | AsyncIterable<Message>,
    context: HandlerContext,
  ): unknown {
    const site = context.values.get(this.#site);
    if (site === undefined) throw new CoveyError(Code.internal, "the call came without its site");
    return site.service.call(method, input, new HttpCallContext(site.visit, context));
  }

  #failure(method: DescMethod, thrown: unknown): ConnectError {
    if (thrown instanceof ConnectError) return thrown;
    if (!(thrown instanceof CoveyError) && !isAbort(thrown)) {
      this.#logger.error("handler failed", {
        method: `${method.parent.typeName}/${method.name}`,
        cause: thrown,
      });
    }
    const error = CoveyError.from(thrown);
    const details = error.details.map(({ typeUrl, value }) => ({
      type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
      value,
    }));
    // The codes are the same numbers on both sides.
    const failure = new ConnectError(error.rawMessage, error.code as number as ConnectCode);
    failure.details = details;
    return failure;
  }
}

/** The universal handler of each method, made when it is first called. */
class Handlers {
  readonly #factory: HandlerFactory;
  readonly #spec: (method: DescMethod) => Parameters<HandlerFactory>[0];
  readonly #made: WeakMap<DescMethod, UniversalHandler> = new WeakMap();

  constructor(
    factory: HandlerFactory,
    spec: (method: DescMethod) => Parameters<HandlerFactory>[0],
  ) {
    this.#factory = factory;
    this.#spec = spec;
  }

  of(method: DescMethod): UniversalHandler {
    let handler = this.#made.get(method);
    if (handler === undefined) {
      handler = createUniversalMethodHandler(this.#spec(method), [this.#factory]);
      this.#made.set(method, handler);
    }
    return handler;
  }
}

/** What a handler of the node sees of a call over HTTP. */
class HttpCallContext implements AdminCallContext {
  readonly identity: AdminCallContext["identity"];
  readonly address: AdminCallContext["address"];
  readonly signal: AbortSignal;
  readonly metadata: readonly (readonly [string, string])[];
  readonly #context: HandlerContext;

  constructor(visit: Visit, context: HandlerContext) {
    this.identity = visit.identity;
    this.address = { kind: "tcp", host: visit.http?.remoteHost ?? "unknown", port: 0 };
    this.signal = context.signal;
    this.metadata = requestMetadata(context.requestHeader);
    this.#context = context;
  }

  get timeoutMs(): number | undefined {
    const left = this.#context.timeoutMs();
    return left === undefined ? undefined : Math.max(0, left);
  }

  respond(key: string, value: string): void {
    const { method, responseHeader, responseTrailer } = this.#context;
    addResponseMetadata(
      method.methodKind === "unary" ? responseHeader : responseTrailer,
      key,
      value,
    );
  }
}

function checkRequest(request: Request, handler: UniversalHandler, visit: Visit): void {
  const { method } = handler;
  const path = `${visit.base}/${method.parent.typeName}/${method.name}`;
  const streams = method.methodKind !== "unary";
  const how = streams
    ? `this method streams: use a Connect client, or covey call`
    : `curl -H 'content-type: application/json' -d '{}' ${visit.url.origin}${path}`;
  if (!handler.allowedMethods.includes(request.method)) {
    throw methodNotAllowed(request, handler.allowedMethods.join(", "), how);
  }
  if (request.method === "GET") return;
  const type = request.headers.get("content-type") ?? "";
  if (handler.supportedContentType(type)) return;
  throw new HttpError(
    415,
    Code.invalidArgument,
    `Content-Type ${JSON.stringify(type)} does not fit this ${method.methodKind} method`,
    { hint: how },
  );
}

function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error &&
    (thrown.name === "AbortError" || thrown.name === "TimeoutError");
}
