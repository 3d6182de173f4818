/** Ctrl-C for commands that go on until they are told to stop. */
import type { Host, SignalName } from "../runtime/port.ts";

export interface InterruptOptions {
  /** Default: SIGINT and SIGTERM. */
  readonly names?: readonly SignalName[];
  /** Called at every further signal. Default: the process ends as it would without this. */
  readonly again?: () => void;
}

/** Fires once at SIGINT or SIGTERM; a second signal is the user's impatience. */
export class Interrupt implements Disposable {
  readonly #controller: AbortController = new AbortController();
  readonly #subscriptions: { cancel(): void }[];
  readonly #again: (() => void) | undefined;
  #name: SignalName | undefined = undefined;

  constructor(host: Pick<Host, "onSignal">, options: InterruptOptions = {}) {
    this.#again = options.again;
    const names = options.names ?? ["SIGINT", "SIGTERM"];
    this.#subscriptions = names.map((name) => host.onSignal(name, () => this.#fire(name)));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Which signal came; undefined when none did. */
  get name(): SignalName | undefined {
    return this.#name;
  }

  /** What a shell expects of a process that this signal ended: 128 and its number. */
  get exitCode(): number {
    return 128 + { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }[this.#name ?? "SIGINT"];
  }

  /** Resolves when a signal came. */
  wait(): Promise<void> {
    return aborted(this.signal);
  }

  [Symbol.dispose](): void {
    for (const subscription of this.#subscriptions) subscription.cancel();
  }

  #fire(name: SignalName): void {
    if (this.#name !== undefined) return this.#again?.();
    if (this.#again === undefined) this[Symbol.dispose]();
    this.#name = name;
    this.#controller.abort();
  }
}

/** Resolves when the signal fires; at once when it has. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(), { once: true })
  );
}
