/** Answering a stream of requests in their order while many are being worked on. */

/**
 * The results of `work` in the order of the inputs, of which at most so many are under way. The
 * first failure, of the work or of the inputs, ends it, and so does the signal, with its reason.
 */
export async function* pipelined<Input, Output>(
  inputs: AsyncIterable<Input>,
  options: { readonly most: number; readonly signal: AbortSignal },
  work: (input: Input) => Promise<Output>,
): AsyncGenerator<Output> {
  const { most, signal } = options;
  const pending: Promise<Output>[] = [];
  let ended = false;
  let error: unknown;
  let wake: (() => void) | undefined;
  let room: (() => void) | undefined;
  const read = async (): Promise<void> => {
    try {
      for await (const input of inputs) {
        if (ended) return;
        const promise = work(input);
        // Its failure is told when its turn comes, which may be never.
        promise.catch(() => undefined);
        pending.push(promise);
        wake?.();
        while (pending.length >= most && !ended) {
          await new Promise<void>((resolve) => room = resolve);
        }
      }
    } catch (thrown) {
      error = thrown;
    }
    ended = true;
    wake?.();
  };
  void read();
  const stop = (): void => wake?.();
  signal.addEventListener("abort", stop);
  try {
    for (;;) {
      signal.throwIfAborted();
      const next = pending[0];
      if (next !== undefined) {
        const output = await next;
        pending.shift();
        room?.();
        yield output;
      } else if (ended) {
        if (error !== undefined) throw error;
        return;
      } else await new Promise<void>((resolve) => wake = resolve);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    ended = true;
    room?.();
  }
}
