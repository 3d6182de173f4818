/**
 * covey's side of the RPC benchmarks, with the commands, measures and output of the Go and grpc-js
 * peers, so that their lines can be laid side by side.
 *
 *   bun bench/covey_peer.ts server ADDRESS [--heap-mb N] [--stdin]
 *   bun bench/covey_peer.ts client ADDRESS [--inflight N] [--seconds S] [--payload N]
 *                                          [--stream N] [--rate R]
 *   bun bench/covey_peer.ts hold ADDRESS --pid P [--idle N] [--busy N] [--seconds S]
 */
import { once } from "node:events";
import process from "node:process";
import { parseArgs } from "node:util";
import { create } from "npm:@bufbuild/protobuf@2.17.0";
import { formatAddress, parseAddress } from "../src/base/address.ts";
import type { Runtime } from "../src/runtime/port.ts";
import { selectRuntime } from "../src/start.ts";
import { Channel } from "../src/ttrpc/channel.ts";
import { createClient } from "../src/ttrpc/client.ts";
import { ServiceRegistry } from "../src/ttrpc/registry.ts";
import { RpcServer } from "../src/ttrpc/server.ts";
import { EchoRequestSchema, TestService } from "../test/gen/covey/test/v1/test_pb.ts";
import { testHandlers } from "../test/support/test_service.ts";
import {
  checkLoadOptions,
  type HeldConnection,
  liveHeap,
  runClosed,
  runHold,
  runOpen,
  runStreams,
} from "./load.ts";

const peer = "covey";
/** More messages than any run reads; the stream is left when the time is over. */
const countMax = 100_000_000;

function openChannel(runtime: Runtime, address: string): Channel {
  return new Channel({
    net: runtime.net,
    clock: runtime.clock,
    random: runtime.random,
    address: parseAddress(withScheme(address)),
  });
}

/** The other peers name their sockets by path alone. */
function withScheme(address: string): string {
  return address.startsWith("/") ? `unix:${address}` : address;
}

async function serve(
  runtime: Runtime,
  address: string,
  heapMegabytes: number,
  stdin: boolean,
): Promise<void> {
  const live = liveHeap(heapMegabytes);
  const registry = new ServiceRegistry();
  registry.add(TestService, testHandlers(runtime.clock));
  const server = new RpcServer({
    net: runtime.net,
    clock: runtime.clock,
    registry,
    limits: { connectionsPerListenerMax: 16_384, connectionsMax: 16_384 },
  });
  const listener = await server.listen({ address: parseAddress(withScheme(address)) });
  process.stdout.write(`ready ${formatAddress(listener.address)}\n`);
  const ends = [once(process, "SIGTERM"), once(process, "SIGINT")];
  if (stdin) ends.push(once(process.stdin.resume(), "end"));
  await Promise.race(ends);
  await server.stop(0);
  if (live.length !== heapMegabytes) throw new Error("the live heap was lost");
}

function echoCall(channel: Channel, payload: number): HeldConnection["call"] {
  const client = createClient(TestService, channel);
  const message = create(EchoRequestSchema, { payload: new Uint8Array(payload) });
  return (done) => {
    client.echo(message).then(
      (response) => done(response.payload.length === payload ? undefined : new Error("wrong size")),
      done,
    );
  };
}

function countStream(
  channel: Channel,
  bytes: number,
  received: () => void,
  failed: (error: unknown) => void,
): () => void {
  const stream = createClient(TestService, channel).count({ count: countMax, bytes });
  let ended = false;
  const read = async (): Promise<void> => {
    for await (const message of stream) {
      if (ended) return;
      if (message.payload.length === bytes) received();
      else failed(new Error(`asked for ${bytes} bytes, got ${message.payload.length}`));
    }
  };
  read().catch((error) => {
    if (!ended) failed(error);
  });
  return () => ended = true;
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      inflight: { type: "string", default: "1" },
      seconds: { type: "string", default: "5" },
      warmup: { type: "string", default: "1" },
      rate: { type: "string", default: "0" },
      payload: { type: "string", default: "64" },
      stream: { type: "string", default: "0" },
      idle: { type: "string", default: "1000" },
      busy: { type: "string", default: "64" },
      pid: { type: "string", default: "0" },
      "heap-mb": { type: "string", default: "0" },
      stdin: { type: "boolean", default: false },
    },
  });
  const [command, address] = positionals;
  if (address === undefined || positionals.length > 2) {
    throw new Error("usage: covey_peer.ts server|client|hold ADDRESS [flags]");
  }
  const runtime = await selectRuntime();
  const load = {
    inflight: Number(values.inflight),
    seconds: Number(values.seconds),
    warmup: Number(values.warmup),
    rate: Number(values.rate),
    payload: Number(values.payload),
    stream: Number(values.stream),
  };
  checkLoadOptions(load);
  if (command === "server") {
    return await serve(runtime, address, Number(values["heap-mb"]), values.stdin);
  }
  if (command === "hold") {
    const hold = { idle: Number(values.idle), busy: Number(values.busy), pid: Number(values.pid) };
    const held = await runHold(peer, { ...hold, seconds: load.seconds }, () => {
      const channel = openChannel(runtime, address);
      return { call: echoCall(channel, load.payload), close: () => channel.close() };
    });
    return print(held);
  }
  if (command !== "client") throw new Error(`unknown command ${command}`);
  const channel = openChannel(runtime, address);
  if (load.stream > 0) {
    const open = (received: () => void, failed: (error: unknown) => void): () => void =>
      countStream(channel, load.stream, received, failed);
    print(await runStreams(peer, load, open));
  } else {
    const call = echoCall(channel, load.payload);
    print(await (load.rate > 0 ? runOpen(peer, load, call) : runClosed(peer, load, call)));
  }
  channel.close();
}

// No top-level await: the benchmark compiles this file to bytecode, as the product is.
main().then(() => process.exit(0), (error) => {
  console.error("covey_peer:", error instanceof Error ? error.message : error);
  process.exit(1);
});
