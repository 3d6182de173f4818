/**
 * A machine that speaks ttrpc badly on purpose: it sends garbage, frames that break the rules and
 * frames that stop in the middle, does not read its answers, and goes away. Nodes must neither
 * fall over nor remember it.
 */
import type { Prng } from "../../../src/base/prng.ts";
import { encodeText } from "../../../src/base/bytes.ts";
import type { Connection, ConnectionHandler, Runtime } from "../../../src/runtime/port.ts";
import {
  requestBytes,
  requestMetadata,
  requestPrefix,
  writeRequest,
} from "../../../src/ttrpc/core/envelope.ts";
import { frameHeaderBytes, FrameType } from "../../../src/ttrpc/core/frame.ts";
import type { World } from "./agent.ts";
import { meshPort } from "../node_config.ts";
import { sleep } from "../sleep.ts";
import { operationKey, rawOperation } from "./service.ts";

const service = "covey.test.v1.TestService";
const none = new Uint8Array(0);
/** With its head, field 1 of an EchoRequest. */
const gorgePayload = new Uint8Array(0x9800);
const gorgeCalls = 40;

const handler: ConnectionHandler<null> = {
  open: () => {},
  data: () => {},
  drain: () => {},
  end: (connection) => connection.close(),
  close: () => {},
};

export async function runMalformed(world: World, runtime: Runtime): Promise<void> {
  const random = world.simulation.random("malformed");
  while (!world.rests) {
    await sleep(runtime, random.between(200, 1200));
    const host = random.pick(world.plan.names);
    if (random.chance(0.03)) await gorge(runtime, random, host);
    else await visit(runtime, random, host);
  }
  await new Promise<void>(() => {});
}

function dial(runtime: Runtime, host: string): Promise<Connection<null> | undefined> {
  const address = { kind: "tcp", host, port: meshPort } as const;
  return runtime.net.connect<null>({ address, handler, state: null, timeoutMs: 500 })
    .catch(() => undefined);
}

/** Asks for far more than it reads. */
async function gorge(runtime: Runtime, random: Prng, host: string): Promise<void> {
  const connection = await dial(runtime, host);
  if (connection === undefined) return;
  connection.pause();
  const request = call(random, "Echo", new Uint8Array([0x0a, 0x80, 0xb0, 0x02, ...gorgePayload]));
  const view = new DataView(request.buffer);
  for (let id = 1; id < 2 * gorgeCalls; id += 2) {
    view.setUint32(4, id);
    for (let sent = 0, tries = 0; sent < request.length && tries < 20; tries++) {
      sent += connection.write(request, sent);
      if (sent < request.length) await sleep(runtime, 10);
    }
  }
}

async function visit(runtime: Runtime, random: Prng, host: string): Promise<void> {
  const connection = await dial(runtime, host);
  if (connection === undefined) return;
  if (random.chance(0.3)) connection.pause();
  for (let sent = 0; sent < random.between(1, 6); sent++) {
    connection.write(random.pick(makers)(random));
    if (random.chance(0.4)) await sleep(runtime, random.between(1, 300));
  }
  // Some stay open and silent until the node loses patience, or the run ends.
  if (random.chance(0.4)) return;
  if (random.chance(0.5)) connection.close();
  else connection.abort();
}

type Maker = (random: Prng) => Uint8Array;

const makers: readonly Maker[] = [
  (random) => {
    const bytes = new Uint8Array(random.between(1, 200));
    random.fill(bytes);
    return bytes;
  },
  // A header that promises more than ever comes.
  (random) => frame(random, { length: random.between(100, 70_000), data: new Uint8Array(50) }),
  (random) => frame(random, {}).subarray(0, random.between(1, 9)),
  // Ids that are even, or used before; types that nobody knows; Data on no stream.
  (random) => frame(random, { id: random.below(8) * 2 }),
  (random) => frame(random, { id: 1 }),
  (random) => frame(random, { type: random.between(4, 255), data: new Uint8Array(4) }),
  (random) => frame(random, { type: FrameType.data, id: random.below(50) }),
  (random) => frame(random, { length: 1 << 24 }),
  // Whole calls, also of streams, whose answers it may not read.
  (random) => call(random, "Nothing"),
  (random) => call(random, "Echo", new Uint8Array(random.below(4000))),
  (random) => call(random, "Chat"),
  (random) => call(random, "Sum"),
  (random) => call(random, "Count", new Uint8Array([8, 200, 1, 16, 200, 1])),
];

interface Parts {
  readonly id?: number;
  readonly type?: number;
  readonly flags?: number;
  /** What the header says. */
  readonly length?: number;
  readonly data?: Uint8Array;
}

function frame(random: Prng, parts: Parts): Uint8Array {
  const data = parts.data ?? encodeText("garbage");
  const bytes = new Uint8Array(frameHeaderBytes + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, parts.length ?? data.length);
  view.setUint32(4, parts.id ?? random.below(100) * 2 + 1);
  bytes[8] = parts.type ?? FrameType.request;
  bytes[9] = parts.flags ?? random.below(8);
  bytes.set(data, frameHeaderBytes);
  return bytes;
}

function call(random: Prng, method: string, payload: Uint8Array = none): Uint8Array {
  const prefix = requestPrefix(service, method);
  const metadata = requestMetadata([operationKey, rawOperation]);
  const data = new Uint8Array(requestBytes(prefix, payload.length, 0, 0, metadata));
  writeRequest(data, 0, prefix, payload, 0, 0, metadata);
  return frame(random, { data, flags: 0, id: random.below(1000) * 2 + 1 });
}
