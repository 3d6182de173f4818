/** The answers on a stream, once its first frame has come. */
export class LinkAnswers<Outgoing> implements AsyncIterableIterator<Outgoing> {
  readonly #begin: () => Promise<AsyncIterator<Outgoing>>;
  #answers: AsyncIterator<Outgoing> | undefined = undefined;

  constructor(begin: () => Promise<AsyncIterator<Outgoing>>) {
    this.#begin = begin;
  }

  async next(): Promise<IteratorResult<Outgoing>> {
    this.#answers ??= await this.#begin();
    return await this.#answers.next();
  }

  async return(): Promise<IteratorResult<Outgoing>> {
    await this.#answers?.return?.();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
