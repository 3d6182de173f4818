/**
 * What stops one call to an owner. Every caller with a deadline needs one, and an AbortController
 * with its signal and listener takes longer than the call itself (2 µs, measured). A call asks no
 * more of a signal than what is here (ttrpc/pending_call.ts); it goes to no interceptor.
 */
export class CallStop {
  aborted = false;
  readonly reason: unknown = undefined;
  #listener: (() => void) | undefined = undefined;

  /** For the options of the one call. */
  get signal(): AbortSignal {
    return this as unknown as AbortSignal;
  }

  addEventListener(_type: "abort", listener: () => void): void {
    this.#listener = listener;
  }

  removeEventListener(): void {
    this.#listener = undefined;
  }

  abort(): void {
    this.aborted = true;
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.();
  }
}
