/**
 * Clients of services in the same process: the calls go to the registry's handlers, through the same
 * interceptors as from outside, without a socket and without encoding. What differs is only what a
 * connection adds: nothing is ever unsent, and messages are not copied.
 */
import {
  create,
  type DescMethod,
  type DescService,
  type Message,
} from "npm:@bufbuild/protobuf@2.17.0";
import type { Address } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Identity } from "../base/identity.ts";
import type { Clock } from "../runtime/port.ts";
import { CallKind } from "./core/call.ts";
import { Metadata } from "./metadata.ts";
import { MethodCodec } from "./method_codec.ts";
import type { ServiceRegistry } from "./registry.ts";
import type { CallContext, CallOptions, Client } from "./service.ts";

export interface LocalCaller {
  readonly registry: ServiceRegistry;
  readonly clock: Clock;
  /** As whom the calls are made. */
  readonly identity: Identity;
  readonly address: Address;
}

export function createLocalClient<S extends DescService>(
  service: S,
  caller: LocalCaller,
): Client<S> {
  const client: Record<string, unknown> = {};
  for (const method of service.methods) client[method.localName] = localMethod(method, caller);
  return client as Client<S>;
}

function localMethod(
  method: DescMethod,
  caller: LocalCaller,
): (input: unknown, options?: CallOptions) => unknown {
  const { kind } = new MethodCodec(method);
  const streamsIn = kind === CallKind.clientStreaming || kind === CallKind.bidi;
  const streamsOut = kind === CallKind.serverStreaming || kind === CallKind.bidi;
  const toMessage = (input: unknown): Message => create(method.input, input as never);
  return (input, options = {}) => {
    const call = new LocalCall(method, caller, options);
    const given = streamsIn ? mapped(input as AsyncIterable<unknown>, toMessage) : toMessage(input);
    if (streamsOut) return call.stream(given);
    return call.single(given);
  };
}

/** One call, as its handler sees it. */
class LocalCall implements CallContext {
  readonly method: DescMethod;
  readonly metadata = new Metadata();
  readonly responseMetadata = new Metadata();
  readonly #caller: LocalCaller;
  readonly #options: CallOptions;
  readonly #controller = new AbortController();
  readonly #deadlineMs: number;

  constructor(method: DescMethod, caller: LocalCaller, options: CallOptions) {
    this.method = method;
    this.#caller = caller;
    this.#options = options;
    this.#deadlineMs = options.timeoutMs === undefined
      ? Infinity
      : caller.clock.monotonicMs() + options.timeoutMs;
    for (const [key, value] of pairsOf(options.metadata)) this.metadata.append(key, value);
  }

  get identity(): Identity {
    return this.#caller.identity;
  }

  get address(): Address {
    return this.#caller.address;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get timeoutMs(): number | undefined {
    if (this.#deadlineMs === Infinity) return undefined;
    return Math.max(0, this.#deadlineMs - this.#caller.clock.monotonicMs());
  }

  get onResponseMetadata(): (metadata: Metadata) => void {
    return (metadata) => {
      for (const [key, value] of metadata) this.responseMetadata.append(key, value);
    };
  }

  single(input: Message | AsyncIterable<Message>): Promise<Message> {
    return new Promise((resolve, reject) => {
      const end = this.#guard(reject);
      Promise.resolve().then(() => this.#handle(input)).then(
        (result) => {
          end();
          this.#tellMetadata();
          resolve(create(this.method.output, result as never));
        },
        (error: unknown) => {
          end();
          reject(CoveyError.from(error));
        },
      );
    });
  }

  async *stream(input: Message | AsyncIterable<Message>): AsyncGenerator<Message> {
    let fail: (error: CoveyError) => void = () => {};
    const failed = new Promise<never>((_resolve, reject) => fail = reject);
    failed.catch(() => {});
    const end = this.#guard(fail);
    try {
      const results = (this.#handle(input) as AsyncIterable<unknown>)[Symbol.asyncIterator]();
      try {
        for (;;) {
          const next = await Promise.race([results.next(), failed]);
          if (next.done === true) break;
          yield create(this.method.output, next.value as never);
        }
        this.#tellMetadata();
      } finally {
        this.#controller.abort(finished());
        void Promise.resolve(results.return?.()).catch(() => {});
      }
    } catch (error) {
      throw CoveyError.from(error);
    } finally {
      end();
    }
  }

  #handle(input: Message | AsyncIterable<Message>): unknown {
    const { name, parent } = this.method;
    const served = this.#caller.registry.method(parent.typeName, name);
    if (served === undefined) {
      throw new CoveyError(Code.unimplemented, `${parent.typeName}/${name} is not served here`, {
        sent: false,
      });
    }
    return served.handle({ context: this, input });
  }

  /** Watches the deadline and the caller's signal; what it returns ends the watch. */
  #guard(fail: (error: CoveyError) => void): () => void {
    const stop = (error: CoveyError): void => {
      this.#controller.abort(error);
      fail(error);
    };
    const { signal, timeoutMs } = this.#options;
    const canceled = (): void => stop(new CoveyError(Code.canceled, "the call was canceled"));
    signal?.addEventListener("abort", canceled, { once: true });
    if (signal?.aborted) canceled();
    const timer = timeoutMs === undefined ? undefined : this.#caller.clock.timer(
      timeoutMs,
      stop,
      new CoveyError(Code.deadlineExceeded, "the call's time is over"),
    );
    return () => {
      timer?.cancel();
      signal?.removeEventListener("abort", canceled);
      this.#controller.abort(finished());
    };
  }

  #tellMetadata(): void {
    this.#options.onResponseMetadata?.(this.responseMetadata);
  }
}

function finished(): DOMException {
  return new DOMException("the call has finished", "AbortError");
}

async function* mapped(
  inputs: AsyncIterable<unknown>,
  toMessage: (input: unknown) => Message,
): AsyncGenerator<Message> {
  for await (const input of inputs) yield toMessage(input);
}

function* pairsOf(metadata: CallOptions["metadata"]): Generator<readonly [string, string]> {
  if (metadata === undefined) return;
  if (metadata instanceof Metadata) {
    yield* metadata;
    return;
  }
  for (const [key, values] of Object.entries(metadata)) {
    for (const value of typeof values === "string" ? [values] : values) yield [key, value];
  }
}
