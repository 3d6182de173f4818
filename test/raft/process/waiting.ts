/** Waiting for other processes, of which nobody tells when they are ready: asked again and again. */

const everyMs = 20;

/** A turn of the clock. Only for questions that have to be asked again. */
export function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Asks until there is an answer. Undefined and false are none, and neither is an error, the last of
 * which is told when the time is over.
 */
export async function until<T>(
  what: string,
  limitMs: number,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const endMs = performance.now() + limitMs;
  let last: unknown = "no answer";
  for (;;) {
    try {
      const answer = await probe();
      if (answer !== undefined && answer !== false) return answer;
    } catch (error) {
      last = error;
    }
    if (performance.now() > endMs) {
      throw new Error(`not within ${limitMs} ms: ${what}; last: ${last}`, { cause: last });
    }
    await after(everyMs);
  }
}

/** Looks again and again for so long; `look` throws when something is not as it has to be. */
export async function watchFor(forMs: number, look: () => Promise<void> | void): Promise<void> {
  const endMs = performance.now() + forMs;
  while (performance.now() < endMs) {
    await look();
    await after(everyMs);
  }
}

/** How long something took, in whole milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begunMs = performance.now();
  await work();
  return Math.round(performance.now() - begunMs);
}
