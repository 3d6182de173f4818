/** How a server that cannot listen says so. */
import assert from "node:assert/strict";
import { CoveyError } from "../../src/base/error.ts";
import { type Net, NetError, type NetErrorKind } from "../../src/runtime/port.ts";
import { ServiceRegistry } from "../../src/ttrpc/registry.ts";
import { RpcServer } from "../../src/ttrpc/server.ts";
import { failure } from "./support/outcome.ts";
import { type MemoryStage, memoryTest } from "./support/stage.ts";

/** A server on a network where listening ends so. */
function serverOn(stage: MemoryStage, listen: Net["listen"]): RpcServer {
  const { clock } = stage;
  const net: Net = {
    listen,
    connect: (options) => stage.net.connect(options),
    bindUdp: () => stage.net.bindUdp(),
    resolve: () => stage.net.resolve(),
    inspectTls: () => stage.net.inspectTls(),
  };
  return new RpcServer({ net, clock, registry: new ServiceRegistry() });
}

memoryTest("an address that is taken is failed_precondition, and named", async (stage) => {
  const { server, address } = await stage.serve();
  const error = await failure(server.listen({ address }));
  assert.equal(error.code, 9);
  assert.match(
    error.rawMessage,
    /^cannot listen on tcp:\/\/127\.0\.0\.1:\d+: another process listens there already; /,
  );
  assert.ok(error.cause instanceof NetError && error.cause.kind === "in-use");
});

memoryTest("what the system answers is in the message, the cause is kept", async (stage) => {
  const codes: Partial<Record<NetErrorKind, number>> = {
    denied: 7,
    invalid: 9,
    unsupported: 9,
    limit: 9,
    other: 9,
  };
  for (const [kind, code] of Object.entries(codes)) {
    const cause = new NetError(kind as NetErrorKind, `listen: ${kind}`);
    const server = serverOn(stage, () => Promise.reject(cause));
    const error = await failure(server.listen({ address: { kind: "unix", path: "/run/a.sock" } }));
    assert.deepEqual([error.code, error.cause], [code, cause]);
    assert.equal(error.rawMessage, `cannot listen on unix:/run/a.sock: listen: ${kind}`);
    await server.stop(0);
  }
});

memoryTest("a bug is not dressed up as an answer of the system", async (stage) => {
  const bug = new TypeError("a bug");
  const server = serverOn(stage, () => Promise.reject(bug));
  await assert.rejects(
    server.listen({ address: { kind: "unix", path: "/run/a.sock" } }),
    (error) => error === bug && !(error instanceof CoveyError),
  );
  await server.stop(0);
});
