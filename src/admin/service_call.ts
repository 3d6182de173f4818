/**
 * Calls of the node's own services by routes that speak plain JSON. They go the same way as a call
 * from elsewhere, through the same interceptors to the same handlers, as the identity that asked:
 * what is allowed, what is refused and how it is said cannot differ.
 */
import {
  create,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "npm:@bufbuild/protobuf@2.17.0";
import type { Address } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import { orAborted } from "./abort.ts";
import type { CallSlots } from "./call_slots.ts";
import { HttpError, statusOfCode } from "./error.ts";
import type { Visit } from "./gate.ts";
import type { AdminCallContext, AdminService, AdminServices } from "./parts.ts";

export interface ServiceCallerParts {
  readonly services: AdminServices;
  readonly slots: CallSlots;
  /** Fires when calls in flight must end. */
  readonly stop: AbortSignal;
}

/** Of services that a setting of their own turns off. */
const membershipPackage = "covey.membership.";

/** A stream of answers that was begun. */
export interface OpenStream<O extends DescMessage> {
  readonly answers: AsyncIterator<MessageInitShape<O>>;
  /** Ends it, whatever it waits for. */
  readonly end: () => void;
  readonly signal: AbortSignal;
}

export class ServiceCaller {
  readonly #parts: ServiceCallerParts;

  constructor(parts: ServiceCallerParts) {
    this.#parts = parts;
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    visit: Visit,
    method: DescMethodUnary<I, O>,
    input: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    const service = this.#find(method.parent.typeName);
    const finished = this.#parts.slots.take();
    const signal = AbortSignal.any([visit.request.signal, this.#parts.stop]);
    try {
      const message = create(method.input, input);
      const answer = service.call(method, message, new RouteCallContext(visit, signal));
      // A handler that ignores its signal must not make the client wait.
      const init = await orAborted(Promise.resolve(answer as MessageInitShape<O>), signal);
      return create(method.output, init);
    } catch (error) {
      throw told(error);
    } finally {
      finished();
    }
  }

  /** Begins a stream on which this side says one thing and then listens. */
  listen<I extends DescMessage, O extends DescMessage>(
    visit: Visit,
    method: DescMethodBiDiStreaming<I, O>,
    input: MessageInitShape<I>,
  ): OpenStream<O> {
    const service = this.#find(method.parent.typeName);
    const finished = this.#parts.slots.take();
    const ended = new AbortController();
    const signal = AbortSignal.any([ended.signal, this.#parts.stop]);
    try {
      const requests = saidOnce(create(method.input, input), signal);
      const results = service.call(method, requests, new RouteCallContext(visit, signal));
      const answers = (results as AsyncIterable<MessageInitShape<O>>)[Symbol.asyncIterator]();
      const end = (): void => {
        finished();
        ended.abort(new CoveyError(Code.canceled, "nobody listens any more"));
        // Not awaited: an iterator that hangs would never answer.
        answers.return?.()?.catch(() => {});
      };
      return { answers, end, signal };
    } catch (error) {
      finished();
      throw told(error);
    }
  }

  #find(name: string): AdminService {
    const service = this.#parts.services.find(name);
    if (service !== undefined) return service;
    throw new HttpError(501, Code.unimplemented, `this node does not serve ${name}`, {
      hint: name.startsWith(membershipPackage)
        ? "set membership.enabled = true"
        : "set raft.enabled = true and kv.enabled = true",
    });
  }
}

/** What a service refuses is for whoever asked; only what is a bug is for the log. */
export function told(thrown: unknown): unknown {
  const isRefusal = thrown instanceof CoveyError && !(thrown instanceof HttpError) &&
    thrown.code !== Code.internal && thrown.code !== Code.unknown;
  if (!isRefusal) return thrown;
  return new HttpError(statusOfCode(thrown.code), thrown.code, thrown.rawMessage);
}

/** One request; the stream stays open until the signal fires. */
async function* saidOnce<T>(message: T, signal: AbortSignal): AsyncGenerator<T> {
  yield message;
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** What a handler sees of a call by a route. */
class RouteCallContext implements AdminCallContext {
  readonly identity: AdminCallContext["identity"];
  readonly address: Address;
  readonly signal: AbortSignal;
  readonly timeoutMs: undefined = undefined;
  readonly metadata: readonly (readonly [string, string])[] = [];

  constructor(visit: Visit, signal: AbortSignal) {
    this.identity = visit.identity;
    this.address = { kind: "tcp", host: visit.http?.remoteHost ?? "unknown", port: 0 };
    this.signal = signal;
  }

  /** Routes answer with a body alone. */
  respond(): void {}
}
