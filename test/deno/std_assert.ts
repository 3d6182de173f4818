/**
 * Stands in for `@std/assert` where JSR is out of reach: the names that the tests of this folder
 * use, over `node:assert`. The test command maps the import here; deno.json maps it to JSR.
 */
import nodeAssert from "node:assert/strict";

export function assert(condition: unknown, message = "expected a true value"): asserts condition {
  nodeAssert.ok(condition, message);
}

export function assertEquals<T>(actual: T, expected: T): void {
  nodeAssert.deepEqual(actual, expected);
}

export function assertMatch(actual: string, expected: RegExp): void {
  nodeAssert.match(actual, expected);
}

export function assertStringIncludes(actual: string, expected: string): void {
  assert(
    actual.includes(expected),
    `${JSON.stringify(actual)} does not contain ${JSON.stringify(expected)}`,
  );
}

/** Resolves to what it rejected with; `type` and `includes` say more about it. */
export async function assertRejects(
  run: () => Promise<unknown>,
  type: new (...args: never[]) => Error = Error,
  includes = "",
): Promise<Error> {
  let caught: unknown;
  try {
    await run();
  } catch (error) {
    caught = error;
  }
  assert(caught instanceof type, `expected a rejection with ${type.name}`);
  assertStringIncludes(caught.message, includes);
  return caught;
}
