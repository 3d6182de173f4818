/**
 * grpc.health.v1.Health, truthful: a service that is served is SERVING as long as the node is, and
 * the module behind it can work; the empty name is the node itself, and a node that drains is NOT_SERVING before it stops to answer.
 */
import { Code, CoveyError } from "../base/error.ts";
import {
  type Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../gen/grpc/health/v1/health_pb.ts";
import type { ServiceRegistry } from "../ttrpc/registry.ts";
import type { Handlers } from "../ttrpc/service.ts";

/** A module that may be unable to work while its node serves. */
export interface FollowedModule {
  /** Those that need it to work, by their full names. */
  readonly services: readonly string[];
  /** Why not, in one line; undefined when it can. */
  readonly problem: string | undefined;
  onChange(listener: () => void): unknown;
}

export class HealthState {
  readonly #registry: ServiceRegistry;
  readonly #watchers: Set<() => void> = new Set();
  readonly #followed = new Map<string, FollowedModule>();
  #serving = false;
  #closed = false;

  constructor(registry: ServiceRegistry) {
    this.#registry = registry;
    registry.onChange(() => this.#changed());
  }

  /** Whether the node as a whole can do its work. */
  get serving(): boolean {
    return this.#serving;
  }

  set serving(serving: boolean) {
    if (this.#serving === serving) return;
    this.#serving = serving;
    this.#changed();
  }

  /** Says of a module's services what it says of itself, while the node serves. */
  follow(module: FollowedModule): void {
    for (const service of module.services) this.#followed.set(service, module);
    module.onChange(() => this.#changed());
  }

  /** Ends every watch, after it was told the last state: they would hold up the drain for ever. */
  close(): void {
    this.#closed = true;
    this.#changed();
  }

  handlers(): Handlers<typeof Health> {
    return {
      check: (request) => {
        const status = this.#status(request.service);
        if (status === ServingStatus.SERVICE_UNKNOWN) {
          throw new CoveyError(Code.notFound, `unknown service ${JSON.stringify(request.service)}`);
        }
        return { status };
      },
      watch: (request, context) => this.#watch(request.service, context.signal),
    };
  }

  #status(service: string): ServingStatus {
    if (service !== "" && this.#registry.service(service) === undefined) {
      return ServingStatus.SERVICE_UNKNOWN;
    }
    const isServing = this.#serving && this.#followed.get(service)?.problem === undefined;
    return isServing ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  }

  /** The present state at once, then each change; a slow watcher sees the latest, not each. */
  async *#watch(service: string, signal: AbortSignal): AsyncGenerator<{ status: ServingStatus }> {
    let sent: ServingStatus | undefined;
    while (!signal.aborted) {
      const status = this.#status(service);
      if (status !== sent) {
        sent = status;
        yield { status };
        continue;
      }
      if (this.#closed) throw new CoveyError(Code.unavailable, "the node is shutting down");
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#watchers.delete(wake);
          signal.removeEventListener("abort", wake);
          resolve();
        };
        this.#watchers.add(wake);
        signal.addEventListener("abort", wake);
      });
    }
  }

  #changed(): void {
    for (const wake of [...this.#watchers]) wake();
  }
}
