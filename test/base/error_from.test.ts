/** CoveyError.from takes whatever JavaScript can throw, and throws nothing itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { statusFromError } from "../../src/ttrpc/status.ts";
import { failure } from "../ttrpc/support/outcome.ts";
import { memoryTest, type TestHandlers } from "../ttrpc/support/stage.ts";

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

function thrower(): never {
  throw new Error("a trap");
}

function withGetter(name: "name" | "message", get: () => unknown): Error {
  return Object.defineProperty(new Error("plain"), name, { get });
}

/** Values without a text, and values whose text fights back. */
const strange: Readonly<Record<string, () => unknown>> = {
  "null prototype": () => Object.create(null),
  "toString that throws": () => ({ toString: thrower }),
  "toString that gives an object": () => ({ toString: () => ({}), valueOf: () => ({}) }),
  "toPrimitive that throws": () => ({ [Symbol.toPrimitive]: thrower }),
  "message that throws": () => withGetter("message", thrower),
  "name that throws": () => withGetter("name", thrower),
  "message without a text": () => withGetter("message", () => Object.create(null)),
  "revoked proxy": revoked,
  "proxy that throws for its prototype": () => new Proxy({}, { getPrototypeOf: thrower }),
  "proxy that throws for its members": () => new Proxy({}, { get: thrower }),
  "proxy of an error that throws": () => new Proxy(new Error("inner"), { get: thrower }),
};

/** Values that do have a text. */
const ordinary: readonly (readonly [unknown, string])[] = [
  ["words", "words"],
  ["", ""],
  [undefined, "undefined"],
  [null, "null"],
  [0, "0"],
  [12n, "12"],
  [Symbol("s"), "Symbol(s)"],
  [{ toString: () => "mine" }, "mine"],
  [withGetter("message", () => Symbol("m")), "Symbol(m)"],
  [withGetter("message", () => undefined), "undefined"],
  [withGetter("name", () => Symbol("n")), "plain"],
];

for (const [name, make] of Object.entries(strange)) {
  test(`CoveyError.from: ${name}`, () => {
    const value = make();
    const error = CoveyError.from(value);
    assert.ok(error instanceof CoveyError);
    assert.equal(error.code, Code.unknown);
    assert.equal(typeof error.rawMessage, "string");
    assert.ok(Object.is(error.cause, value));
    assert.equal(CoveyError.from(value, Code.internal).code, Code.internal);
    assert.equal(statusFromError(value).code, Code.unknown);
  });
}

test("CoveyError.from: values with a text keep it", () => {
  for (const [value, text] of ordinary) {
    const error = CoveyError.from(value, Code.dataLoss);
    assert.deepEqual([error.code, error.rawMessage], [Code.dataLoss, text]);
  }
  const own = new CoveyError(Code.aborted, "own");
  assert.equal(CoveyError.from(own), own);
  const named = (name: string) => Object.assign(new Error("words"), { name });
  assert.equal(CoveyError.from(named("AbortError"), Code.internal).code, Code.canceled);
  assert.equal(CoveyError.from(named("TimeoutError")).code, Code.deadlineExceeded);
});

for (const [name, make] of Object.entries(strange)) {
  memoryTest(`a handler that throws is answered unknown: ${name}`, async (stage) => {
    let thrown = 0;
    const handlers: Partial<TestHandlers> = {
      nothing: () => {
        throw make();
      },
      // A promise that is rejected by hand, as a library may.
      echo: () => Promise.reject(make()),
      // deno-lint-ignore require-yield
      async *count() {
        await Promise.resolve();
        throw make();
      },
      async *chat(requests) {
        for await (const _ of requests) {
          yield {};
          throw make();
        }
      },
      sum: () => {
        throw make();
      },
      failStream: () => {
        throw make();
      },
    };
    const { client, server } = await stage.pair({ handlers, onHandlerError: () => thrown++ });
    async function* inputs(): AsyncGenerator<Record<string, never>> {
      yield {};
      yield {};
    }
    const first = (stream: AsyncIterable<unknown>) => Array.fromAsync(stream);
    for (
      const call of [
        () => client.nothing({}),
        () => client.echo({}),
        () => client.sum(inputs()),
        () => first(client.count({})),
        () => first(client.chat(inputs())),
        () => first(client.failStream({})),
      ]
    ) {
      assert.equal((await failure(call())).code, Code.unknown);
    }
    assert.equal(thrown, 6);
    assert.equal((await failure(client.fail({ code: 5 }))).code, 5);
    assert.deepEqual([server.connections, server.counters.callsOpen], [1, 0]);
  });
}
