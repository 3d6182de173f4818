/** What a node says about itself and about what it serves: health, info, descriptors, metrics. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  createFileRegistry,
  type DescMethodUnary,
  fromBinary,
  type MessageShape,
} from "npm:@bufbuild/protobuf@2.17.0";
import { FileDescriptorSetSchema } from "npm:@bufbuild/protobuf@2.17.0/wkt";
import { Code } from "../../src/base/error.ts";
import { Node as NodeService } from "../../src/gen/covey/node/v1/node_pb.ts";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { callMethod } from "../../src/ttrpc/client.ts";
import { version } from "../../src/version.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { testHandlers } from "../support/test_service.ts";
import { failure, makeGate, runtime, startQuiet } from "./support.ts";

const Status = { serving: 1, notServing: 2, unknown: 3 } as const;
const testName = TestService.typeName;

test("health: Check knows the node, each service, and what is not served", async () => {
  await using node = await startQuiet({ dev: true });
  const health = node.rpc.client(Health, node.rpc.addresses[0]);
  const status = async (service: string) => (await health.check({ service })).status;
  assert.equal(await status(""), Status.serving);
  assert.equal(await status(Health.typeName), Status.serving);
  await failure(
    status(testName),
    Code.notFound,
    /^unknown service "covey\.test\.v1\.TestService"$/,
  );
  node.rpc.serve(TestService, testHandlers(runtime.clock));
  assert.equal(await status(testName), Status.serving);
  node.rpc.withdraw(TestService);
  await failure(status(testName), Code.notFound, /unknown service/);
});

test("health: Watch tells each change, and the drain before the end", async () => {
  const node = await startQuiet({ dev: true });
  const reach = { peer: "covey" } as const;
  await using watcher = await startQuiet();
  const health = watcher.rpc.client(Health, node.rpc.addresses[0], reach);
  const whole = health.watch({ service: "" })[Symbol.asyncIterator]();
  const one = health.watch({ service: testName })[Symbol.asyncIterator]();
  const next = async (stream: typeof one) => (await stream.next()).value?.status;
  assert.equal(await next(whole), Status.serving);
  assert.equal(await next(one), Status.unknown);
  node.rpc.serve(TestService, testHandlers(runtime.clock));
  assert.equal(await next(one), Status.serving);
  node.rpc.withdraw(TestService);
  assert.equal(await next(one), Status.unknown);
  // A call that keeps the node draining while the watchers are told.
  const started = makeGate();
  const held = makeGate<Record<string, never>>();
  node.rpc.serve(TestService, {
    ...testHandlers(runtime.clock),
    echo() {
      started.open();
      return held.promise;
    },
  });
  assert.equal(await next(one), Status.serving);
  const call = watcher.rpc.client(TestService, node.rpc.addresses[0], reach).echo({});
  await started.promise;
  const stopped = node.stop();
  assert.equal(await next(whole), Status.notServing);
  assert.equal(await next(one), Status.notServing);
  await failure(whole.next(), Code.unavailable, /^the node is shutting down$/);
  await failure(one.next(), Code.unavailable, /^the node is shutting down$/);
  assert.equal(node.state, "draining");
  held.open({});
  await call;
  await stopped;
});

test("health: a watcher that leaves is forgotten", async () => {
  await using node = await startQuiet({ dev: true });
  const health = node.rpc.client(Health, node.rpc.addresses[0], { peer: "covey" });
  for (let round = 0; round < 20; round++) {
    for await (const { status } of health.watch({})) {
      assert.equal(status, Status.serving);
      break;
    }
  }
  // A later call on the same connection is answered after the server saw the watchers leave.
  await health.check({});
  const { calls } = (node.status().modules as { rpc: { calls: number } }).rpc;
  assert.equal(calls, 0);
});

test("info: who this is", async () => {
  await using node = await startQuiet({ dev: true, node: { name: "gate-9" } });
  const client = node.rpc.client(NodeService, node.rpc.addresses[0]);
  const info = await client.info({});
  assert.equal(info.name, "gate-9");
  assert.equal(info.nodeId, node.nodeId);
  assert.equal(info.version, version);
  assert.equal(info.runtime?.name, "Deno" in globalThis ? "deno" : "bun");
  assert.equal(info.runtime?.version, runtime.version);
  assert.equal(info.runtime?.architecture, runtime.host.architecture);
  assert.ok(info.memory!.rssBytes > 1_000_000n);
  assert.ok(info.memory!.heapUsedBytes > 0n);
  assert.ok((await client.info({})).uptimeMillis >= info.uptimeMillis);
  const shown = node.status();
  assert.equal(shown.nodeId, node.nodeId);
  assert.deepEqual(shown.listeners, node.listeners);
});

test("services: the list and its descriptors are all that a stranger needs to call", async () => {
  await using node = await startQuiet({ dev: true });
  node.rpc.serve(TestService, testHandlers(runtime.clock));
  const channel = node.rpc.channel(node.rpc.addresses[0]);
  const client = node.rpc.client(NodeService, node.rpc.addresses[0]);
  const plain = await client.services({});
  assert.deepEqual(plain.services.map(({ name }) => name), [
    "api.v1.KeyValueService",
    "api.v1.RaftService",
    "covey.cache.v1.Cache",
    ...["Election", "KV", "Lease", "Lock", "Maintenance", "Watch"].map((name) =>
      `covey.kv.v1.${name}`
    ),
    "covey.membership.v1.Members",
    "covey.membership.v1.Membership",
    NodeService.typeName,
    "covey.raft.v1.Raft",
    "covey.raft.v1.Transport",
    testName,
    Health.typeName,
  ]);
  assert.equal(plain.fileDescriptorSet.length, 0);
  const own = plain.services.find(({ name }) => name === testName);
  const methods = own?.methods.map((method) =>
    `${method.name}${method.clientStreaming ? " in" : ""}${method.serverStreaming ? " out" : ""}`
  );
  assert.deepEqual(
    methods,
    ["Echo", "Count out", "Sum in", "Chat in out", "Fail", "FailStream out", "Nothing"],
  );

  const described = await client.services({ descriptors: true });
  const set = fromBinary(FileDescriptorSetSchema, described.fileDescriptorSet);
  // Each file comes after those that it imports, and only once.
  const seen = new Set<string>();
  for (const file of set.file) {
    for (const dependency of file.dependency) assert.ok(seen.has(dependency), dependency);
    assert.ok(!seen.has(file.name), file.name);
    seen.add(file.name);
  }
  const registry = createFileRegistry(set);
  for (const { name, methods } of described.services) {
    const found = registry.getService(name);
    assert.deepEqual(found?.methods.map((method) => method.name), methods.map(({ name }) => name));
  }
  const echo = registry.getService(testName)!.method.echo as DescMethodUnary;
  const answer = await callMethod(channel, echo, { payload: new Uint8Array([1, 2]) });
  assert.deepEqual([...(answer as MessageShape<typeof TestService.method.echo.output>).payload], [
    1,
    2,
  ]);
});

test("services: added and withdrawn while the node runs, and never twice", async () => {
  await using node = await startQuiet({ dev: true });
  const client = node.rpc.client(TestService, node.rpc.addresses[0]);
  await failure(client.nothing({}), Code.unimplemented, /./);
  const started = makeGate();
  const finish = makeGate<Record<string, never>>();
  node.rpc.serve(TestService, {
    ...testHandlers(runtime.clock),
    echo() {
      started.open();
      return finish.promise;
    },
  });
  await client.nothing({});
  const again = () => node.rpc.serve(TestService, testHandlers(runtime.clock));
  await failure(
    () => Promise.resolve().then(again),
    Code.alreadyExists,
    /^service covey\.test\.v1\.TestService is served already$/,
  );
  const { fail: _, ...some } = testHandlers(runtime.clock);
  node.rpc.withdraw(TestService);
  await failure(
    () => Promise.resolve().then(() => node.rpc.serve(TestService, some as never)),
    Code.invalidArgument,
    /^service covey\.test\.v1\.TestService: method fail has no handler$/,
  );
  await failure(client.nothing({}), Code.unimplemented, /./);
  again();
  node.rpc.withdraw(TestService);
  node.rpc.withdraw(TestService);
  // Calls in flight go on when their service is withdrawn.
  node.rpc.serve(TestService, {
    ...testHandlers(runtime.clock),
    echo() {
      started.open();
      return finish.promise;
    },
  });
  const slow = client.echo({});
  await started.promise;
  node.rpc.withdraw(TestService);
  finish.open({});
  await slow;
  await failure(client.echo({}), Code.unimplemented, /./);
});

test("metrics: calls, connections and bytes of both sides are counted", async () => {
  await using node = await startQuiet({ dev: true });
  node.rpc.serve(TestService, testHandlers(runtime.clock));
  const client = node.rpc.client(TestService, node.rpc.addresses[0]);
  const value = (series: string): number => {
    const line = node.metrics.expose("prometheus").split("\n").find((one) =>
      one.startsWith(`${series} `)
    );
    assert.ok(line !== undefined, series);
    return Number(line.slice(series.length + 1));
  };
  assert.equal(value('covey_rpc_connections{side="server"}'), 0);
  for (let count = 0; count < 3; count++) await client.nothing({});
  await failure(client.fail({ code: Code.notFound, message: "x" }), Code.notFound, /^x$/);
  for (const side of ["server", "client"]) {
    assert.equal(value(`covey_rpc_connections{side="${side}"}`), 1);
    assert.equal(value(`covey_rpc_connections_total{side="${side}"}`), 1);
    assert.equal(value(`covey_rpc_calls{side="${side}"}`), 0);
    assert.equal(value(`covey_rpc_calls_total{side="${side}",code="ok"}`), 3);
    assert.equal(value(`covey_rpc_calls_total{side="${side}",code="not_found"}`), 1);
    assert.ok(value(`covey_rpc_received_bytes_total{side="${side}"}`) > 40);
  }
  assert.equal(
    value('covey_rpc_sent_bytes_total{side="client"}'),
    value('covey_rpc_received_bytes_total{side="server"}'),
  );
  assert.equal(value("covey_rpc_connections_refused_total"), 0);
});
