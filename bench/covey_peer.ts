/**
 * covey's side of the RPC benchmarks, as programs of their own: `serve ADDRESS` serves the test
 * service until its input ends; `unary ADDRESS --inflight N --seconds S [--payload B]` and
 * `stream ADDRESS --inflight N --seconds S --bytes B` call it over one connection and print one
 * line of JSON. Loops and output are those of the Go and grpc-js peers.
 */
import process from "node:process";
import { parseAddress } from "../src/base/address.ts";
import { selectRuntime } from "../src/start.ts";
import { Channel } from "../src/ttrpc/channel.ts";
import { createClient } from "../src/ttrpc/client.ts";
import { ServiceRegistry } from "../src/ttrpc/registry.ts";
import { RpcServer } from "../src/ttrpc/server.ts";
import type { Client } from "../src/ttrpc/service.ts";
import { TestService } from "../test/gen/covey/test/v1/test_pb.ts";
import { testHandlers } from "../test/support/test_service.ts";
import { Latencies } from "./latencies.ts";

const warmUpMs = 1000;

function option(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : Number(process.argv[at + 1]);
}

async function serve(address: string): Promise<void> {
  const runtime = await selectRuntime();
  const registry = new ServiceRegistry();
  registry.add(TestService, testHandlers(runtime.clock));
  const server = new RpcServer({ net: runtime.net, clock: runtime.clock, registry });
  await server.listen({ address: parseAddress(address) });
  process.stdout.write(`ready ${address}\n`);
  // A heap of live objects, for the tail latency that a collector of garbage causes.
  const liveBytes = option("live-heap-mb", 0) * (1 << 20);
  const live: { key: string; value: number[] }[] = [];
  for (let bytes = 0; bytes < liveBytes; bytes += 160) {
    live.push({ key: `key-${bytes}`, value: [bytes, bytes + 1, bytes + 2, bytes + 3] });
  }
  for await (const _ of process.stdin);
  if (live.length < 0) throw new Error("the live heap must stay alive");
  await server.stop(0);
  process.exit(0);
}

async function connect(address: string): Promise<Client<typeof TestService>> {
  const runtime = await selectRuntime();
  const channel = new Channel({
    net: runtime.net,
    clock: runtime.clock,
    random: runtime.random,
    address: parseAddress(address),
  });
  await channel.connect(5000);
  return createClient(TestService, channel);
}

/** N loops on one connection, each calling as soon as its last call was answered. */
async function unary(address: string): Promise<void> {
  const client = await connect(address);
  const inflight = option("inflight", 1);
  const payload = new Uint8Array(option("payload", 64));
  const latencies = new Latencies();
  const startMs = performance.now() + warmUpMs;
  const endMs = startMs + option("seconds", 3) * 1000;
  await Promise.all(Array.from({ length: inflight }, async () => {
    for (let nowMs = performance.now(); nowMs < endMs;) {
      await client.echo({ payload });
      const afterMs = performance.now();
      if (nowMs >= startMs) latencies.add(afterMs - nowMs);
      nowMs = afterMs;
    }
  }));
  print(latencies, performance.now() - startMs);
}

/** Calls at a fixed rate, whether or not earlier ones are answered, timed from when each was due. */
async function rate(address: string): Promise<void> {
  const client = await connect(address);
  const perSecond = option("rate", 1000);
  const payload = new Uint8Array(option("payload", 64));
  const latencies = new Latencies();
  const beginMs = performance.now();
  const startMs = beginMs + warmUpMs;
  const endMs = startMs + option("seconds", 3) * 1000;
  let due = 0;
  let open = 0;
  await new Promise<void>((resolve, reject) => {
    const finish = (): void => {
      if (open === 0 && performance.now() >= endMs) resolve();
    };
    const turn = (): void => {
      const nowMs = performance.now();
      while (true) {
        const dueMs = beginMs + due * 1000 / perSecond;
        if (dueMs > nowMs || dueMs >= endMs) break;
        due++;
        open++;
        client.echo({ payload }).then(() => {
          if (dueMs >= startMs) latencies.add(performance.now() - dueMs);
          open--;
          finish();
        }, reject);
      }
      if (nowMs < endMs) setImmediate(turn);
      else finish();
    };
    turn();
  });
  print(latencies, performance.now() - startMs);
}

/** N server streams at a time on one connection, each read to its end and begun again. */
async function stream(address: string): Promise<void> {
  const client = await connect(address);
  const bytes = option("bytes", 1024);
  const startMs = performance.now() + warmUpMs;
  const endMs = startMs + option("seconds", 3) * 1000;
  let messages = 0;
  await Promise.all(Array.from({ length: option("inflight", 1) }, async () => {
    while (performance.now() < endMs) {
      for await (const _ of client.count({ count: 10_000, bytes })) {
        if (performance.now() >= startMs) messages++;
      }
    }
  }));
  const seconds = (performance.now() - startMs) / 1000;
  process.stdout.write(
    `${JSON.stringify({ messagesPerSecond: Math.round(messages / seconds) })}\n`,
  );
}

function print(latencies: Latencies, tookMs: number): void {
  process.stdout.write(`${
    JSON.stringify({
      callsPerSecond: Math.round(latencies.count / tookMs * 1000),
      ...latencies.summary(),
    })
  }\n`);
}

const commands: Record<string, (address: string) => Promise<void>> = { serve, unary, rate, stream };
const [command, address] = process.argv.slice(2);
await commands[command](address);
if (command !== "serve") process.exit(0);
