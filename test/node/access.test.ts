/** Who calls, as a handler sees it, and who may. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code } from "../../src/base/error.ts";
import { anonymous, type Identity } from "../../src/base/identity.ts";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { Node as NodeService } from "../../src/gen/covey/node/v1/node_pb.ts";
import type { Node } from "../../src/node.ts";
import type { PeerCertificate } from "../../src/runtime/port.ts";
import { accessRule, authorize } from "../../src/security/access.ts";
import { identify } from "../../src/security/identify.ts";
import { startNode } from "../../src/start.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { testHandlers } from "../support/test_service.ts";
import {
  anyPort,
  failure,
  inFolder,
  makeTlsFiles,
  quietOptions,
  runtime,
  startQuiet,
} from "./support.ts";

/** Serves the test service and gives the identity of whoever calls `Nothing`. */
function watchCallers(node: Node): Identity[] {
  const seen: Identity[] = [];
  node.rpc.serve(TestService, {
    ...testHandlers(runtime.clock),
    nothing(_request, context) {
      seen.push(context.identity);
      return {};
    },
  });
  return seen;
}

async function* one(): AsyncGenerator<Record<string, never>> {
  yield {};
}

async function drain(results: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of results);
}

test("access: who opens the socket in the data directory may do everything", () =>
  inFolder(async (folder) => {
    await using node = await startQuiet({ node: { data: `${folder}/data` } });
    const seen = watchCallers(node);
    const { local } = node.listeners;
    const options = { timeoutMs: 5000 };
    await node.rpc.client(TestService, local, options).nothing({});
    await node.rpc.client(Health, local, options).check({});
    await node.rpc.client(NodeService, local, options).services({ descriptors: true });
    assert.deepEqual(seen, [{ kind: "local", name: "unix socket" }]);
  }));

test("access: over TCP without a certificate nothing is allowed, every kind of call included", () =>
  inFolder(async (folder) => {
    const listen = [anyPort];
    if (runtime.features.abstractSockets) {
      // A socket without a file has no permissions either.
      listen.push(`unix://@covey-access-${runtime.name}-${runtime.host.pid}`);
    }
    await using node = await startQuiet({ node: { data: `${folder}/data`, listen } });
    const seen = watchCallers(node);
    const refused =
      /^\w+\.\w+ on .* needs an identity: use the unix socket in the data directory, or a cert/;
    for (const address of node.rpc.addresses) {
      const reach = { timeoutMs: 5000 };
      const client = node.rpc.client(TestService, address, reach);
      const health = node.rpc.client(Health, address, reach);
      for (
        const call of [
          client.nothing({}),
          client.sum(one()),
          drain(client.count({ count: 1 })),
          drain(client.chat(one())),
          health.check({}),
          drain(health.watch({})),
          node.rpc.client(NodeService, address, reach).info({}),
        ]
      ) await failure(call, Code.unauthenticated, refused);
    }
    assert.deepEqual(seen, []);
    const told = node.metrics.expose("prometheus");
    assert.match(told, /^covey_rpc_calls_total\{side="server",code="unauthenticated"\} [1-9]/m);
  }));

test("access: with dev whoever reaches loopback may do everything", async () => {
  await using node = await startQuiet({ dev: true });
  const seen = watchCallers(node);
  await node.rpc.client(TestService, node.rpc.addresses[0]).nothing({});
  assert.deepEqual(seen, [anonymous]);
});

test("access: a certificate brings its name, its node id and its role", () =>
  inFolder(async (folder) => {
    const write = await makeTlsFiles(folder);
    await using node = await startQuiet({ tls: write("good") });
    await using peer = await startQuiet({ tls: write("renewed") });
    const seen = watchCallers(node);
    await peer.rpc.client(TestService, node.rpc.addresses[0], { timeoutMs: 5000 }).nothing({});
    assert.deepEqual(seen, [{
      kind: "certificate",
      name: "renewed",
      nodeId: "00112233445566778899aabbccddeeff",
      role: "voter",
    }]);
  }));

test("access: credentials of a unix peer where the runtime has them, else refused at the start", () =>
  inFolder(async (folder) => {
    const options = { node: { data: `${folder}/data` }, rpc: { peer_credentials: true } };
    if (!runtime.features.peerCredentials) {
      await failure(
        startNode(await quietOptions(options)),
        Code.invalidArgument,
        /^options: rpc\.peer_credentials: found true, but \w+ [\d.]+ cannot read them; allowed here: false$/,
      );
      return;
    }
    await using node = await startQuiet(options);
    const seen = watchCallers(node);
    await node.rpc.client(TestService, node.listeners.local, { timeoutMs: 5000 }).nothing({});
    const user = process.getuid?.();
    assert.deepEqual(seen, [{ kind: "local", name: `pid ${runtime.host.pid} uid ${user}` }]);
  }));

test("access: what an identity is made of", () => {
  const local = { kind: "tcp", host: "127.0.0.1", port: 1 } as const;
  const address = { kind: "tcp", host: "127.0.0.1", port: 2 } as const;
  const certificate: PeerCertificate = {
    commonName: "",
    names: [
      "DNS:covey:node:ffffffffffffffffffffffffffffffff",
      "URI:covey:node:0123",
      "URI:covey:node:00112233445566778899AABBCCDDEEFF",
      "URI:covey:role:Voter",
      "URI:covey:role:-x",
      `URI:covey:role:${"x".repeat(33)}`,
      "URI:other:covey:role:admin",
    ],
    notAfterMs: 0,
    fingerprint: "ab12",
  };
  const none = { kind: "certificate", name: "ab12", nodeId: undefined, role: undefined };
  assert.deepEqual(identify({ address, local, certificate }), none);
  const names = [
    `URI:covey:node:${"a1".repeat(16)}`,
    `URI:covey:node:${"b2".repeat(16)}`,
    "URI:covey:role:edge-gateway",
    "URI:covey:role:voter",
  ];
  assert.deepEqual(identify({ address, local, certificate: { ...certificate, names } }), {
    ...none,
    nodeId: "a1".repeat(16),
    role: "edge-gateway",
  });
  assert.deepEqual(identify({ address, local }), anonymous);
  const abstract = { kind: "abstract", name: "x" } as const;
  assert.deepEqual(identify({ address: abstract, local: abstract }), anonymous);
});

test("access: the policy, and the rule of what is not covey's own", () => {
  const closed = { anonymousMayAll: false };
  const may = (kind: Identity["kind"], policy = closed): boolean =>
    authorize(policy, { kind, name: "x" }, "node.read", "node");
  assert.deepEqual(
    [may("local"), may("certificate"), may("token"), may("anonymous")],
    [true, true, false, false],
  );
  assert.ok(may("anonymous", { anonymousMayAll: true }));
  // Nothing issues tokens: whoever comes with one is refused even where nobody else is.
  assert.ok(!may("token", { anonymousMayAll: true }));
  assert.deepEqual(accessRule("covey.node.v1.Node", "Info"), {
    action: "node.read",
    resource: "node",
  });
  assert.deepEqual(accessRule("demo.v1.Hello", "Greet"), {
    action: "service.call",
    resource: "demo.v1.Hello/Greet",
  });
  // A service that is called like something every object has gets no rule from there.
  assert.equal(accessRule("constructor", "x").action, "service.call");
});
