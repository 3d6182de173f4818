/** The end of whoever reads standard output, for commands that may have nothing to print for long. */
import type { Host, Subscription } from "../runtime/port.ts";
import { OutputClosed } from "./exit.ts";

/** Fires with {@link OutputClosed} where the platform tells; elsewhere the next write fails. */
export class OutputWatch implements Disposable {
  readonly #controller = new AbortController();
  readonly #subscription: Subscription | undefined;

  constructor(host: Pick<Host, "onStdoutClosed">) {
    this.#subscription = host.onStdoutClosed?.(() => this.#controller.abort(new OutputClosed()));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    this.#subscription?.cancel();
  }
}
