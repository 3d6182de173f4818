/**
 * `covey version --self-test`: uses every library that is built into the binary, and every part of
 * the seam that a device can break, once. A binary that was built for another libc, or a library
 * that only works beside its package, fails here and not in the field.
 */
import { create, fromBinary, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { encodeText, equalBytes, toHex } from "../base/bytes.ts";
import { CoveyError } from "../base/error.ts";
import { HealthCheckRequestSchema } from "../gen/grpc/health/v1/health_pb.ts";
import type { Runtime } from "../runtime/port.ts";

/** One part and what came of it. */
export interface SelfTestResult {
  readonly part: string;
  /** Undefined when it works. */
  readonly failure?: string;
}

/** Runs every part in turn; a failure does not stop the others. */
export async function runSelfTest(runtime: Runtime): Promise<SelfTestResult[]> {
  const results: SelfTestResult[] = [];
  for (const [part, test] of Object.entries(parts)) {
    try {
      await test(runtime);
      results.push({ part });
    } catch (error) {
      results.push({ part, failure: CoveyError.from(error).rawMessage });
    }
  }
  return results;
}

function check(condition: boolean, sentence: string): void {
  if (!condition) throw new Error(sentence);
}

const parts: Readonly<Record<string, (runtime: Runtime) => void | Promise<void>>> = {
  "random bytes": (runtime) => {
    const bytes = new Uint8Array(16);
    runtime.random.fill(bytes);
    check(toHex(bytes) !== "0".repeat(32), "sixteen random bytes were all zero");
  },
  "clock and timer": async (runtime) => {
    const startMs = runtime.clock.monotonicMs();
    await new Promise<void>((resolve) => runtime.clock.timer(5, () => resolve(), undefined));
    check(runtime.clock.monotonicMs() - startMs >= 4, "a timer fired early");
    check(runtime.clock.wallMs() > 0, "the wall clock stands at zero");
  },
  "host facts": (runtime) => {
    check(runtime.host.memory().rssBytes > 0, "the process has no memory");
    check(runtime.host.descriptorsMax > 0, "the process may open nothing");
  },
  "protobuf": () => {
    const message = create(HealthCheckRequestSchema, { service: "covey" });
    const bytes = toBinary(HealthCheckRequestSchema, message);
    check(
      fromBinary(HealthCheckRequestSchema, bytes).service === "covey",
      "a message did not survive encoding",
    );
  },
  "zod and the configuration": async (runtime) => {
    const { loadConfig } = await import("../config/load.ts");
    const { config } = await loadConfig(runtime, { dev: true });
    check(config.node.memory_only, "--dev did not keep the node in memory");
  },
  "toml": async () => {
    const { parseTOML } = await import("npm:toml-eslint-parser@1.0.3");
    check(parseTOML("a = 1").body.length === 1, "a TOML text was not read");
  },
  "msgpackr": async () => {
    const { pack } = await import("npm:msgpackr@2.1.3/pack");
    const { unpack } = await import("npm:msgpackr@2.1.3/unpack");
    check(unpack(pack({ a: [1, "b"] })).a[1] === "b", "an object did not survive packing");
  },
  "logtape": async (runtime) => {
    const { createTextFormatter } = await import("../log_text.ts");
    const line = createTextFormatter({ color: false })({
      timeMs: runtime.clock.wallMs(),
      level: "info",
      component: "self-test",
      node: "here",
      message: "a line",
      fields: undefined,
      cause: undefined,
    });
    check(line.includes("a line"), "a log line was lost");
  },
  "rpc, hono, connect, raft and kv": testNode,
};

/** A whole node in memory, called over a socket, over ttrpc and as HTTP with JSON. */
async function testNode(runtime: Runtime): Promise<void> {
  const { startNode } = await import("../start.ts");
  const { Health } = await import("../gen/grpc/health/v1/health_pb.ts");
  const { KV } = await import("../gen/covey/kv/v1/kv_pb.ts");
  const { createLog } = await import("../log.ts");
  const logger = await createLog(runtime, { level: "error", node: "self-test", format: "none" });
  await using node = await startNode({
    runtime,
    dev: true,
    logger,
    node: { listen: ["tcp://127.0.0.1:0"] },
    admin: { listen: "tcp://127.0.0.1:0" },
  });
  const client = node.rpc.client(Health, node.rpc.addresses[0], { peer: "covey" });
  check((await client.check({}, { timeoutMs: 5000 })).status === 1, "the node is not serving");
  const kv = node.rpc.client(KV, node.rpc.addresses[0], { peer: "covey" });
  const key = encodeText("covey");
  await kv.put({ key, value: key }, { timeoutMs: 10_000 });
  const { kvs } = await kv.range({ key }, { timeoutMs: 10_000 });
  check(kvs.length === 1 && equalBytes(kvs[0].value, key), "the store lost a key");
  const { admin } = node.listeners;
  const live = await runtime.http.fetch(new Request(`${admin}/livez`));
  check(live.status === 200, `/livez answered ${live.status}`);
  const page = await (await runtime.http.fetch(new Request(`${admin}/`))).text();
  check(page.includes("covey"), "the embedded page is missing");
  const answer = await runtime.http.fetch(
    new Request(`${admin}/grpc.health.v1.Health/Check`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    }),
  );
  const body = await answer.text();
  check(answer.status === 200 && body.includes("SERVING"), `Connect answered ${body}`);
}
