/** What a program starts with: a node from options, file and environment, or RPC alone. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import {
  Code,
  ConfigError,
  createClient,
  createRpcServer,
  formatAddress,
  type Handlers,
  Health,
  NetError,
  openChannel,
  parseAddress,
  type ServerInterceptor,
  startNode,
} from "../../mod.ts";
import { anyPort, failure, inFolder, quietOptions, runtime, startQuiet } from "./support.ts";

const handlers: Handlers<typeof Health> = {
  check: () => ({ status: 1 }),
  async *watch() {
    yield { status: 1 };
  },
};

test("start: options win over the environment, the environment over the file", () =>
  inFolder(async (folder) => {
    const file = `${folder}/covey.toml`;
    writeFileSync(
      file,
      `[node]\nname = "file"\ntags = ["a"]\n[rpc]\ndrain_timeout = "1s"\nidle_timeout = "2s"\n` +
        `keepalive_interval = "3s"\n`,
    );
    process.env.COVEY_RPC__IDLE_TIMEOUT = "20s";
    process.env.COVEY_RPC__KEEPALIVE_INTERVAL = "30s";
    try {
      await using node = await startQuiet({
        file,
        environment: true,
        rpc: { keepalive_interval: "300s" },
      });
      assert.equal(node.name, "file");
      assert.deepEqual(node.config.node.tags, ["a"]);
      const { drain_timeout, idle_timeout, keepalive_interval } = node.config.rpc;
      assert.deepEqual([drain_timeout, idle_timeout, keepalive_interval], [1000, 20_000, 300_000]);
      // Who does not ask for the environment is not ruled by it.
      await using plain = await startQuiet({ file });
      assert.equal(plain.config.rpc.idle_timeout, 2000);
    } finally {
      delete process.env.COVEY_RPC__IDLE_TIMEOUT;
      delete process.env.COVEY_RPC__KEEPALIVE_INTERVAL;
    }
  }));

test("start: a bad configuration is a ConfigError with every problem and its place", () =>
  inFolder(async (folder) => {
    const file = `${folder}/covey.toml`;
    writeFileSync(file, '[node]\nnam = "x"\n[log]\nlevel = "loud"\n');
    const options = await quietOptions({ file, rpc: { drain_timeout: "soon" } });
    const error = await startNode(options).then(() => undefined, (thrown: unknown) => thrown);
    assert.ok(error instanceof ConfigError, String(error));
    assert.equal(error.code, Code.invalidArgument);
    assert.deepEqual(error.problems.map(({ key, origin }) => [key, origin.layer]), [
      ["node.nam", "file"],
      ["log.level", "file"],
      ["rpc.drain_timeout", "options"],
    ]);
    const missing = await quietOptions({ file: `${folder}/none.toml` });
    await failure(startNode(missing), Code.invalidArgument, /none\.toml: there is no such file/);
  }));

test("start: what Deno does not grant is named, and what is only nice to have is done without", async () => {
  const denied = (what: string): never => {
    throw new NetError("denied", `${what}: Deno needs the permission --allow-${what}`);
  };
  const written: string[] = [];
  const host = new Proxy(runtime.host, {
    get(target, name) {
      if (name === "hostname") return denied("sys=hostname");
      if (name === "environment") return (variable: string) => denied(`env=${variable}`);
      if (name === "isTerminal") return () => true;
      if (name === "stderr") return (text: string) => void written.push(text);
      return Reflect.get(target, name, target);
    },
  });
  const bound = { ...runtime, host };
  await failure(
    startQuiet({ runtime: bound }),
    Code.permissionDenied,
    /^sys=hostname: Deno needs the permission .*; or name the node yourself with node\.name$/,
  );
  const options = await quietOptions({ runtime: bound, node: { name: "x" } });
  await using node = await startNode({ ...options, logger: undefined });
  assert.equal(node.name, "x");
  // Whether NO_COLOR is set cannot be known: the lines are plain.
  const lines = written.join("").trimEnd().split("\n");
  for (const line of lines) assert.match(line, /^[\d:.]+ INF \w+: /);
  assert.match(lines.at(-1) ?? "", /^\S+ INF node: ready nodeId=[0-9a-f]{32} /);
});

test("rpc alone: a server with interceptors and identities of its own", async () => {
  const steps: string[] = [];
  const note = (name: string): ServerInterceptor => (call, next) => {
    steps.push(`${name} ${call.context.method.name} ${call.context.identity.name}`);
    return next(call);
  };
  const server = await createRpcServer({
    interceptors: [note("outer"), note("inner")],
    identify: () => ({ kind: "token", name: "visitor" }),
  });
  server.registry.add(Health, handlers);
  try {
    const listener = await server.listen({ address: parseAddress(anyPort) });
    using channel = await openChannel(formatAddress(listener.address));
    const health = createClient(Health, channel, [(call, next) => {
      steps.push(`client ${call.method.name}`);
      return next(call);
    }]);
    assert.equal((await health.check({})).status, 1);
    for await (const { status } of health.watch({})) assert.equal(status, 1);
    assert.deepEqual(
      steps,
      ["Check", "Watch"].flatMap((name) => [
        ...[`client ${name}`, `outer ${name} visitor`, `inner ${name} visitor`],
      ]),
    );
  } finally {
    await server.stop(100);
  }
});

test("rpc alone: addresses that are none, and those that are taken", async () => {
  await failure(openChannel("127.0.0.1:7946"), Code.invalidArgument, /unknown or missing scheme/);
  const server = await createRpcServer();
  try {
    const { address } = await server.listen({ address: parseAddress(anyPort) });
    const error = await failure(
      server.listen({ address }),
      Code.failedPrecondition,
      new RegExp(
        `^cannot listen on ${formatAddress(address)}: another process listens there already`,
      ),
    );
    assert.ok(error.cause instanceof NetError && error.cause.kind === "in-use");
    // Of a reserved network: no machine has it.
    await failure(
      server.listen({ address: parseAddress("tcp://192.0.2.1:0") }),
      Code.failedPrecondition,
      /^cannot listen on tcp:\/\/192\.0\.2\.1:0: listen on .*: \w+$/,
    );
  } finally {
    await server.stop(0);
  }
  await failure(
    server.listen({ address: parseAddress(anyPort) }),
    Code.failedPrecondition,
    /^the server is shutting down$/,
  );
});

test("rpc alone: a peer that is refused never reaches a handler", async () => {
  let reached = false;
  const server = await createRpcServer({ identify: () => Promise.reject(new Error("not you")) });
  server.registry.add(Health, {
    ...handlers,
    check: () => {
      reached = true;
      return { status: 1 };
    },
  });
  try {
    const listener = await server.listen({ address: parseAddress(anyPort) });
    using channel = await openChannel(formatAddress(listener.address));
    await failure(createClient(Health, channel).check({}), Code.unavailable, /./);
    assert.equal(reached, false);
    // What was certainly not sent is tried again on a new connection.
    assert.ok(server.counters.connectionsRefusedTotal >= 1);
  } finally {
    await server.stop(0);
  }
});
