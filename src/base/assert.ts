/**
 * Assertions stay on in production: a broken invariant ends the step that found it, with the
 * sentence that says which one, rather than letting a wrong state spread.
 */
export function assert(condition: boolean, sentence: string): asserts condition {
  if (!condition) throw new AssertionFailure(sentence);
}

/** Thrown by {@link assert}: always a bug in covey, never a caller's mistake. */
export class AssertionFailure extends Error {
  override name = "AssertionFailure";
}

/** Marks a branch that the types rule out, so that adding a variant fails the type check. */
export function unreachable(value: never): never {
  throw new AssertionFailure(`unreachable: ${String(value)}`);
}
