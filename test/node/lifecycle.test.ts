/** From the start to the end of a node: order, draining, and what others may break. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Code } from "../../src/base/error.ts";
import { startNode } from "../../src/start.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { testHandlers } from "../support/test_service.ts";
import { failure, keepLog, makeGate, quietOptions, runtime, startQuiet } from "./support.ts";

test("a node goes from ready to stopped once, however often it is told", async () => {
  const { log, records } = await keepLog();
  const node = await startQuiet({ dev: true, logger: log, node: { name: "gate-7" } });
  assert.equal(node.state, "ready");
  assert.equal(node.name, "gate-7");
  const [address] = node.rpc.addresses;
  assert.match(address, /^tcp:\/\/127\.0\.0\.1:[1-9]\d*$/);
  assert.deepEqual(node.listeners, { mesh: address });
  const first = node.stop();
  assert.equal(node.state, "draining");
  await Promise.all([first, node.stop(), node.stop()]);
  assert.equal(node.state, "stopped");
  await node.stop();
  const own = records.filter(({ component }) => component === "node");
  assert.deepEqual(own.map(({ message }) => message), ["ready", "draining", "stopped"]);
  const late = startQuiet({ dev: true }).then(async (other) => {
    await using _ = other;
    await other.rpc.client(TestService, address, { timeoutMs: 5000 }).nothing({});
  });
  await failure(late, Code.unavailable, /cannot reach/);
});

test("`await using` stops the node, also when its block throws", async () => {
  let state = (): string => "";
  await assert.rejects(async () => {
    await using node = await startQuiet();
    state = () => node.state;
    assert.equal(state(), "ready");
    throw new Error("the program's own");
  }, /the program's own/);
  assert.equal(state(), "stopped");
});

test("a call in flight finishes while the node drains, a new one is told at once", async () => {
  const node = await startQuiet({ dev: true });
  const started = makeGate();
  const finish = makeGate();
  node.rpc.serve(TestService, {
    ...testHandlers(runtime.clock),
    async echo(request) {
      started.open();
      await finish.promise;
      return { payload: request.payload };
    },
  });
  await using caller = await startQuiet();
  const client = caller.rpc.client(TestService, node.rpc.addresses[0], { peer: "covey" });
  const plain = caller.rpc.client(TestService, node.rpc.addresses[0]);
  await plain.nothing({});
  const slow = client.echo({ payload: new Uint8Array([7]) });
  await started.promise;
  const stopped = node.stop();
  await failure(plain.nothing({}, { timeoutMs: 5000 }), Code.unavailable, /./);
  // What covey's own client sends until it has read the goodbye is still taken.
  const untilRefused = async (): Promise<void> => {
    for (;;) await client.nothing({}, { timeoutMs: 5000 });
  };
  await failure(untilRefused, Code.unavailable, /./);
  assert.equal(node.state, "draining");
  finish.open();
  assert.deepEqual([...(await slow).payload], [7]);
  await stopped;
  assert.equal(node.state, "stopped");
});

test("a call that does not finish in rpc.drain_timeout is cut off with unavailable", async () => {
  const node = await startQuiet({ dev: true, rpc: { drain_timeout: "50ms" } });
  const started = makeGate();
  const aborted = makeGate<unknown>();
  node.rpc.serve(TestService, {
    ...testHandlers(runtime.clock),
    echo(_request, context) {
      started.open();
      context.signal.addEventListener("abort", () => aborted.open(context.signal.reason));
      return makeGate<Record<string, never>>().promise;
    },
  });
  await using caller = await startQuiet();
  const client = caller.rpc.client(TestService, node.rpc.addresses[0]);
  const cut = failure(client.echo({}), Code.unavailable, /./);
  await started.promise;
  await node.stop();
  await cut;
  assert.match(String(await aborted.promise), /shut down before the call finished/);
});

test("what a program's own handler throws fails its call and nothing else", async () => {
  const { log, records } = await keepLog();
  await using node = await startQuiet({ dev: true, logger: log });
  const nothing: unknown = undefined;
  node.rpc.serve(TestService, {
    ...testHandlers(runtime.clock),
    nothing: () => (nothing as { field: string }).field as never,
    echo: () => Promise.reject(new RangeError("a rejection")),
    // deno-lint-ignore require-yield
    async *count() {
      await Promise.resolve();
      throw new SyntaxError("in a generator");
    },
    // No message that could be encoded, and no iterable.
    sum: () => Promise.resolve({ sum: "no number" } as never),
    chat: () => undefined as never,
  });
  const client = node.rpc.client(TestService, node.rpc.addresses[0]);
  async function* none(): AsyncGenerator<Record<string, never>> {}
  const drain = async (results: AsyncIterable<unknown>): Promise<void> => {
    for await (const _ of results);
  };
  await failure(client.nothing({}), Code.unknown, /undefined/);
  await failure(client.echo({}), Code.unknown, /a rejection/);
  await failure(drain(client.count({})), Code.unknown, /in a generator/);
  await failure(client.sum(none()), Code.unknown, /./);
  await failure(drain(client.chat(none())), Code.unknown, /./);
  await failure(client.fail({ code: 9, message: "on purpose" }), 9, /^on purpose$/);
  assert.equal(node.state, "ready");
  const failed = records.filter(({ message }) => message === "a handler failed");
  assert.deepEqual(
    failed.map(({ level, component, fields }) => [level, component, fields?.path]),
    ["Nothing", "Echo", "Count", "Sum", "Chat"].map((method) => [
      ...["error", "rpc"],
      `covey.test.v1.TestService/${method}`,
    ]),
  );
  assert.ok(failed.every(({ cause }) => cause instanceof Error));
});

test("the program's options are judged like a file", async () => {
  await failure(
    startNode({ ...await quietOptions({}), rpc: { drain_timeout: "soon" } }),
    Code.invalidArgument,
    /^options: rpc\.drain_timeout: found "soon"/,
  );
  await failure(
    startNode({ ...await quietOptions({}), ...{ nod: { name: "x" } } }),
    Code.invalidArgument,
    /nod/,
  );
});

test("admin: off means not loaded, on means mounted and bound", async () => {
  await using off = await startQuiet();
  assert.ok(!("admin" in off.listeners));
  assert.throws(() => off.admin, /the admin endpoint is off: set admin\.enabled = true/);
  await using on = await startQuiet({ dev: true, admin: { enabled: true } });
  assert.match(on.listeners.admin, /^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
  const live = await runtime.http.fetch(new Request(`${on.listeners.admin}/livez`));
  assert.equal(live.status, 200);
  assert.equal((await on.admin.request("http://127.0.0.1/readyz")).status, 200);
  await on.stop();
  assert.equal((await on.admin.request("http://127.0.0.1/readyz")).status, 503);
  // What comes through a program's own server is nobody, until the program says who it is.
  await using closed = await startQuiet({ admin: { enabled: true } });
  assert.equal((await closed.admin.request("http://127.0.0.1/v1/status")).status, 401);
  assert.equal(
    (await runtime.http.fetch(new Request(`${closed.listeners.admin}/v1/status`))).status,
    200,
  );
});

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** Follows what is imported at once; types and `await import` are not. */
function staticImports(file: string, seen: Set<string>): Set<string> {
  if (seen.has(file) || !existsSync(join(root, file))) return seen;
  seen.add(file);
  const text = readFileSync(join(root, file), "utf8");
  for (const [, clause, target] of text.matchAll(/^(?:im|ex)port ([^;]*?)from "([^"]+)";/gm)) {
    if (clause.startsWith("type ") || /^\{(\s*type [^,}]+,?)*\s*\}\s*$/.test(clause)) continue;
    if (target.startsWith(".")) staticImports(join(dirname(file), target), seen);
    else seen.add(target);
  }
  return seen;
}

test("admin: a node with it off, and a program that only calls, never load it", () => {
  for (const entry of ["mod.ts", "src/node.ts", "src/cli/agent.ts"]) {
    const loaded = [...staticImports(entry, new Set())];
    assert.ok(loaded.length > 4, `the imports of ${entry} were followed`);
    assert.deepEqual(loaded.filter((one) => /^src\/admin\/|^npm:hono/.test(one)), []);
  }
  const program = [...staticImports("mod.ts", new Set())];
  const heavy = /^src\/node\.ts$|^src\/config\/schema\.ts$|^npm:zod|^npm:toml/;
  assert.deepEqual(
    program.filter((one) => heavy.test(one)),
    [],
    "a node is loaded by who starts it",
  );
});
