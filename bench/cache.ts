/**
 * The table of the shared cache: hits in memory, and values of another member beside plain ttrpc
 * calls of the same size, in the same run on the same machine, in turns, several rounds; medians and
 * ratios.
 *
 *   bun bench/cache.ts [--rounds N] [--seconds S] [--write]
 *
 * Two processes, a unix socket between them: the one owns the keys, the other one asks. Both calls
 * go through the same connection. `--write` puts the table into README.md between its markers.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { arch, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { create } from "npm:@bufbuild/protobuf@2.17.0";
import { parseAddress } from "../src/base/address.ts";
import { silentLogger } from "../src/base/log.ts";
import { CacheModule } from "../src/cache/cache_module.ts";
import type { CacheCluster } from "../src/cache/cluster.ts";
import type { CacheNamespace } from "../src/cache/namespace.ts";
import type { Runtime } from "../src/runtime/port.ts";
import { selectRuntime } from "../src/start.ts";
import { Channel } from "../src/ttrpc/channel.ts";
import { createClient } from "../src/ttrpc/client.ts";
import { ServiceRegistry } from "../src/ttrpc/registry.ts";
import { RpcServer } from "../src/ttrpc/server.ts";
import { EchoRequestSchema, TestService } from "../test/gen/covey/test/v1/test_pb.ts";
import { testHandlers } from "../test/support/test_service.ts";
import { DocumentTable } from "./document_table.ts";
import { median, medianRatio, perSecond } from "./kv_table.ts";
import { type LoadResult, runClosed } from "./load.ts";

const root = fileURLToPath(new URL("..", import.meta.url).href);
const namespace = "images";
const keyCount = 10_000;
const ownerId = "1".repeat(32);
const askerId = "2".repeat(32);
/** Of a value, and of what the plain call echoes. */
const sizes = [64, 4096] as const;

function keysOf(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `device/${at}/frame`);
}

/** The size of a value is in its key. */
function valueOf(key: string): Uint8Array {
  return new Uint8Array(Number(key.slice(key.indexOf(":") + 1)) || sizes[0]);
}

/** A view of the two; only the owner has a source. */
function clusterOf(nodeId: string, address: string): CacheCluster {
  return {
    nodeId,
    current: {
      epoch: 7,
      digest: 0x0123456789abcdefn,
      members: [{ nodeId: ownerId, address }, { nodeId: askerId, address: "unix:/nowhere" }],
    },
    namespacesOf: (member) => member.nodeId === ownerId ? [namespace] : [],
    changed: () => ({ cancel: () => {} }),
  };
}

function cacheOf(runtime: Runtime, nodeId: string, address: string, channel: Channel | undefined) {
  return new CacheModule({
    clock: runtime.clock,
    random: runtime.random,
    logger: silentLogger,
    // Copies would make a call to the owner a hit here.
    options: { copyOneIn: 0, memoryBytesMax: 256 << 20 },
    cluster: clusterOf(nodeId, address),
    channel: () => {
      if (channel === undefined) throw new Error("the owner asks nobody");
      return channel;
    },
  });
}

async function serve(runtime: Runtime, path: string): Promise<void> {
  const cache = cacheOf(runtime, ownerId, `unix:${path}`, undefined);
  cache.open(namespace, { fill: valueOf });
  const registry = new ServiceRegistry();
  registry.add(TestService, testHandlers(runtime.clock));
  for (const [service, handlers] of cache.services()) registry.add(service, handlers);
  const server = new RpcServer({ net: runtime.net, clock: runtime.clock, registry });
  await server.listen({ address: { kind: "unix", path } });
  process.stdout.write("ready\n");
  await once(process.stdin.resume(), "end");
  cache.stop();
  await server.stop(0);
}

async function startOwner(path: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), "serve", path], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  for await (const chunk of child.stdout!) if (`${chunk}`.includes("ready")) return child;
  throw new Error("the owner did not start");
}

/** Hits in memory, awaited one by one, by a clock that is read once before and once after. */
async function hitsPerSecond(images: CacheNamespace, keys: readonly string[], seconds: number) {
  let hits = 0;
  let bytes = 0;
  const begunMs = performance.now();
  let tookMs = 0;
  while (tookMs < seconds * 1000) {
    for (const key of keys) bytes += (await images.get(key)).length;
    hits += keys.length;
    tookMs = performance.now() - begunMs;
  }
  if (bytes !== hits * sizes[0]) throw new Error("wrong values");
  return hits / tookMs * 1000;
}

async function local(runtime: Runtime, rounds: number, seconds: number): Promise<string[]> {
  const cache = new CacheModule({
    clock: runtime.clock,
    random: runtime.random,
    logger: silentLogger,
    channel: () => {
      throw new Error("a node alone asks nobody");
    },
  });
  const images = cache.open(namespace, { fill: valueOf, ttlMs: 3_600_000 });
  const keys = keysOf(keyCount);
  for (const key of keys) await images.get(key);
  await hitsPerSecond(images, keys, 0.5);
  const rates: number[] = [];
  for (let round = 0; round < rounds; round++) {
    rates.push(await hitsPerSecond(images, keys, seconds));
  }
  cache.stop();
  return [
    `hit in memory, 64 B values with a time to live, ${keyCount / 1000}k keys, one caller`,
    `${(median(rates) / 1e6).toFixed(1)} M/s`,
    "",
    "",
    "≥ 1 M/s",
  ];
}

async function remote(
  runtime: Runtime,
  path: string,
  size: number,
  inflight: number,
  options: { rounds: number; seconds: number },
): Promise<string[]> {
  const channel = new Channel({
    net: runtime.net,
    clock: runtime.clock,
    random: runtime.random,
    address: parseAddress(`unix:${path}`),
    peer: "covey",
  });
  const cache = cacheOf(runtime, askerId, `unix:${path}`, channel);
  const images = cache.open(namespace, {});
  const keys = keysOf(1000).map((key) => `${key}:${size}`);
  for (const key of keys) await images.get(key);
  const plain = createClient(TestService, channel);
  const message = create(EchoRequestSchema, { payload: new Uint8Array(size) });
  let next = 0;
  const check = (value: Uint8Array): Error | undefined =>
    value.length === size ? undefined : new Error(`${value.length} bytes instead of ${size}`);
  const asked: LoadResult[] = [];
  const called: LoadResult[] = [];
  const load = {
    inflight,
    seconds: options.seconds,
    warmup: 0.3,
    rate: 0,
    payload: size,
    stream: 0,
  };
  for (let round = 0; round < options.rounds; round++) {
    asked.push(
      await runClosed("cache", load, (done) => {
        const key = keys[next++ % keys.length];
        images.get(key).then((value) => done(check(value)), done);
      }),
    );
    called.push(
      await runClosed("call", load, (done) => {
        plain.echo(message).then(({ payload }) => done(check(payload)), done);
      }),
    );
  }
  if (cache.store.entries > 0) throw new Error("a copy was kept");
  cache.stop();
  channel.close();
  const rate = (results: readonly LoadResult[]) => results.map((one) => one.perSecond);
  const latency = (results: readonly LoadResult[]) =>
    `${median(results.map((one) => one.latencyMicros!.p50)).toFixed(0)} µs`;
  return [
    `value of ${size} B from its owner, ${inflight} in flight, beside a plain call`,
    `${perSecond(median(rate(asked)))}, p50 ${latency(asked)}`,
    `${perSecond(median(rate(called)))}, p50 ${latency(called)}`,
    medianRatio(rate(called), rate(asked)),
    "≤ 1.3×",
  ];
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "2" },
      write: { type: "boolean", default: false },
    },
  });
  const runtime = await selectRuntime();
  if (positionals[0] === "serve") return await serve(runtime, positionals[1]);
  const options = { rounds: Number(values.rounds), seconds: Number(values.seconds) };
  const folder = mkdtempSync(join(tmpdir(), "covey-bench-"));
  const path = join(folder, "owner.sock");
  const table = new DocumentTable(["measure", "cache", "plain ttrpc call", "ratio", "to reach"]);
  const measures: string[] = [];
  const add = (cells: readonly string[]): void => {
    measures.push(cells[0]);
    console.error(table.add(cells));
  };
  const owner = await startOwner(path);
  try {
    add(await local(runtime, options.rounds, options.seconds));
    for (const size of sizes) {
      for (const inflight of [1, 64]) add(await remote(runtime, path, size, inflight, options));
    }
  } finally {
    const ended = once(owner, "exit");
    owner.stdin!.end();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
  const note = `${cpus().length} cores (${arch()}), Bun ${process.versions.bun}, ` +
    `${options.rounds} rounds of ${options.seconds} s, medians.`;
  console.log(`${table.text()}\n\n${note}`);
  if (values.write) table.write(join(root, "README.md"), "cache", measures, note);
}

main().then(() => process.exit(0), (error) => {
  console.error("cache:", error instanceof Error ? error.message : error);
  process.exit(1);
});
