/**
 * What a node serves: services by name, each method with its handler behind the interceptors.
 * The ttrpc server, the Connect edge and the descriptions all read this one table, so a call meets
 * the same interceptors whichever way it came.
 */
import type { DescMethod, DescService } from "npm:@bufbuild/protobuf@2.17.0";
import { assert } from "../base/assert.ts";
import { Code, CoveyError } from "../base/error.ts";
import { type MessagePlan, planOf } from "./codec/plan.ts";
import type { Handlers, ServerCall, ServerHandler, ServerInterceptor } from "./service.ts";

/** One method that can be called. */
export interface ServedMethod {
  readonly descriptor: DescMethod;
  readonly input: MessagePlan;
  readonly output: MessagePlan;
  readonly handle: ServerHandler;
}

export class ServiceRegistry {
  readonly #interceptors: readonly ServerInterceptor[];
  readonly #services: Map<string, DescService> = new Map();
  readonly #methods: Map<string, ServedMethod> = new Map();
  readonly #listeners: Set<() => void> = new Set();

  /** The first interceptor is the outermost. */
  constructor(interceptors: readonly ServerInterceptor[] = []) {
    this.#interceptors = interceptors;
  }

  /** Starts to serve; `already_exists` when the service's name is taken. */
  add<S extends DescService>(service: S, handlers: Handlers<S>): void {
    if (this.#services.has(service.typeName)) {
      throw new CoveyError(Code.alreadyExists, `service ${service.typeName} is served already`);
    }
    const methods: [string, ServedMethod][] = [];
    for (const descriptor of service.methods) {
      const handler = (handlers as Record<string, unknown>)[descriptor.localName];
      if (typeof handler !== "function") {
        throw new CoveyError(
          Code.invalidArgument,
          `service ${service.typeName}: method ${descriptor.localName} has no handler`,
        );
      }
      const innermost = (call: ServerCall) => handler.call(handlers, call.input, call.context);
      methods.push([
        `${service.typeName}/${descriptor.name}`,
        {
          descriptor,
          input: planOf(descriptor.input),
          output: planOf(descriptor.output),
          handle: this.#intercept(innermost),
        },
      ]);
    }
    this.#services.set(service.typeName, service);
    for (const [path, method] of methods) this.#methods.set(path, method);
    this.#changed();
  }

  /** Stops serving; calls in flight go on. */
  remove(service: DescService): void {
    if (!this.#services.delete(service.typeName)) return;
    for (const method of service.methods) {
      const known = this.#methods.delete(`${service.typeName}/${method.name}`);
      assert(known, "a served service has all of its methods in the table");
    }
    this.#changed();
  }

  service(name: string): DescService | undefined {
    return this.#services.get(name);
  }

  method(service: string, method: string): ServedMethod | undefined {
    return this.#methods.get(`${service}/${method}`);
  }

  /** Sorted by name. */
  services(): DescService[] {
    return [...this.#services.values()].sort((a, b) => a.typeName < b.typeName ? -1 : 1);
  }

  /** Calls back after every change, until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  #intercept(innermost: ServerHandler): ServerHandler {
    let handle = innermost;
    for (let at = this.#interceptors.length - 1; at >= 0; at--) {
      const interceptor = this.#interceptors[at];
      const next = handle;
      handle = (call) => interceptor(call, next);
    }
    return handle;
  }
}
