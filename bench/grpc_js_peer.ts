/**
 * The gRPC peer of the benchmarks that needs nothing but npm: the test service on grpc-js, with
 * the same messages and the same message library as covey, so that only the protocol differs.
 *
 *   bun bench/grpc_js_peer.ts server ADDRESS [--heap-mb N] [--stdin]
 *   bun bench/grpc_js_peer.ts client ADDRESS [--inflight N] [--seconds S] [--payload N]
 *                                            [--stream N] [--rate R]
 *   bun bench/grpc_js_peer.ts hold ADDRESS --pid P [--idle N] [--busy N] [--seconds S]
 *
 * The server prints `ready ADDRESS`, the others one line of JSON as the Go programs do.
 */
import { parseArgs } from "node:util";
import process from "node:process";
import { create, fromBinary, type MessageShape, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import type { DescMessage } from "npm:@bufbuild/protobuf@2.17.0";
import grpc from "npm:@grpc/grpc-js@1.14.7";
import type {
  handleServerStreamingCall,
  handleUnaryCall,
  MethodDefinition,
  ServiceDefinition,
} from "npm:@grpc/grpc-js@1.14.7";
import {
  CountRequestSchema,
  CountResponseSchema,
  EchoRequestSchema,
  EchoResponseSchema,
  TestService,
} from "../test/gen/covey/test/v1/test_pb.ts";
import type {
  CountRequest,
  CountResponse,
  EchoRequest,
  EchoResponse,
} from "../test/gen/covey/test/v1/test_pb.ts";
import {
  checkLoadOptions,
  type HeldConnection,
  liveHeap,
  runClosed,
  runHold,
  runOpen,
  runStreams,
} from "./load.ts";

const peer = "grpc-js";
const serverLimitMs = 3_600_000;
/** More messages than any run reads; the stream is canceled when the time is over. */
const countMax = 100_000_000;

function method<I extends DescMessage, O extends DescMessage>(
  name: string,
  input: I,
  output: O,
  responseStream: boolean,
): MethodDefinition<MessageShape<I>, MessageShape<O>> {
  return {
    path: `/${TestService.typeName}/${name}`,
    requestStream: false,
    responseStream,
    requestSerialize: (message) => serialize(input, message),
    requestDeserialize: (bytes) => fromBinary(input, bytes),
    responseSerialize: (message) => serialize(output, message),
    responseDeserialize: (bytes) => fromBinary(output, bytes),
  };
}

function serialize<D extends DescMessage>(schema: D, message: MessageShape<D>): Buffer {
  const bytes = toBinary(schema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const methods = {
  echo: method("Echo", EchoRequestSchema, EchoResponseSchema, false),
  count: method("Count", CountRequestSchema, CountResponseSchema, true),
} satisfies ServiceDefinition;

const echo: handleUnaryCall<EchoRequest, EchoResponse> = (call, answer) =>
  answer(null, create(EchoResponseSchema, { payload: call.request.payload }));

/** Waits for the drain when the stream says so, else a fast handler would fill the memory. */
const count: handleServerStreamingCall<CountRequest, CountResponse> = (call) => {
  const payload = new Uint8Array(call.request.bytes);
  let index = 0;
  const send = (): void => {
    while (index < call.request.count && !call.cancelled) {
      if (!call.write(create(CountResponseSchema, { index: index++, payload }))) {
        return void call.once("drain", send);
      }
    }
    call.end();
  };
  send();
};

/** What grpc-js dials and listens on, from the forms that the Go programs take. */
function target(address: string): string {
  if (address.startsWith("tcp://")) return address.slice("tcp://".length);
  if (address.startsWith("unix:")) return address;
  return address.includes("/") ? `unix:${address}` : address;
}

async function serve(address: string, heapMegabytes: number, stdin: boolean): Promise<void> {
  const live = liveHeap(heapMegabytes);
  const server = new grpc.Server();
  server.addService(methods, { echo, count });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(
      target(address),
      grpc.ServerCredentials.createInsecure(),
      (error, bound) => error === null ? resolve(bound) : reject(error),
    )
  );
  const ready = address.includes("/") ? address : address.replace(/:\d+$/, `:${port}`);
  process.stdout.write(`ready ${ready}\n`);
  await new Promise<void>((resolve) => {
    const limit = setTimeout(resolve, serverLimitMs);
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve());
    if (stdin) process.stdin.on("end", () => resolve()).resume();
    limit.unref();
  });
  server.forceShutdown();
  if (live.length !== heapMegabytes) throw new Error("the live heap was lost");
}

/** A channel with a connection of its own: grpc-js shares them between channels by default. */
function connect(address: string): InstanceType<typeof grpc.Client> {
  return new grpc.Client(target(address), grpc.credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
  });
}

function echoCall(
  client: InstanceType<typeof grpc.Client>,
  payload: number,
): HeldConnection["call"] {
  const { path, requestSerialize, responseDeserialize } = methods.echo;
  const message = create(EchoRequestSchema, { payload: new Uint8Array(payload) });
  return (done) =>
    void client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      message,
      (error, response) =>
        done(error ?? (response?.payload.length === payload ? undefined : new Error("wrong size"))),
    );
}

function countStream(
  client: InstanceType<typeof grpc.Client>,
  bytes: number,
  received: () => void,
  failed: (error: unknown) => void,
): () => void {
  const { path, requestSerialize, responseDeserialize } = methods.count;
  const request = create(CountRequestSchema, { count: countMax, bytes });
  const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
  call.on("data", (message: CountResponse) => {
    if (message.payload.length === bytes) received();
    else failed(new Error(`asked for ${bytes} bytes, got ${message.payload.length}`));
  });
  call.on("error", failed);
  return () => call.cancel();
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
    throw new Error("usage: grpc_js_peer.ts server|client|hold ADDRESS [flags]");
  }
  const load = {
    inflight: Number(values.inflight),
    seconds: Number(values.seconds),
    warmup: Number(values.warmup),
    rate: Number(values.rate),
    payload: Number(values.payload),
    stream: Number(values.stream),
  };
  checkLoadOptions(load);
  if (command === "server") return serve(address, Number(values["heap-mb"]), values.stdin);
  if (command === "hold") {
    const hold = { idle: Number(values.idle), busy: Number(values.busy), pid: Number(values.pid) };
    return print(
      await runHold(peer, { ...hold, seconds: load.seconds }, () => {
        const client = connect(address);
        return { call: echoCall(client, load.payload), close: () => client.close() };
      }),
    );
  }
  if (command !== "client") throw new Error(`unknown command ${command}`);
  const client = connect(address);
  if (load.stream > 0) {
    print(
      await runStreams(
        peer,
        load,
        (received, failed) => countStream(client, load.stream, received, failed),
      ),
    );
  } else {
    const call = echoCall(client, load.payload);
    print(await (load.rate > 0 ? runOpen(peer, load, call) : runClosed(peer, load, call)));
  }
  client.close();
}

try {
  await main();
  process.exit(0);
} catch (error) {
  console.error("grpc_js_peer:", error instanceof Error ? error.message : error);
  process.exit(1);
}
