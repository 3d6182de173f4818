/** The requests of a stream, as they come up. */
export class Requests<T> implements AsyncIterableIterator<T> {
  readonly #queue: T[] = [];
  #ended = false;
  #wake: (() => void) | undefined = undefined;

  /** False when nobody takes them any more. */
  push(request: T): boolean {
    if (this.#ended) return false;
    this.#queue.push(request);
    this.#wake?.();
    return true;
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<T>> {
    for (;;) {
      const request = this.#queue.shift();
      if (request !== undefined) return { done: false, value: request };
      if (this.#ended) return { done: true, value: undefined };
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  return(): Promise<IteratorResult<T>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }
}
