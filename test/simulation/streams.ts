/** Streams for the simulator's own tests: a recording handler and short forms of listen and dial. */
import { concatBytes } from "../../src/base/bytes.ts";
import type {
  Connection,
  ConnectionHandler,
  Listener,
  ListenOptions,
  NetError,
  Runtime,
} from "../../src/runtime/port.ts";
import type { SimMachine } from "../../src/runtime/sim/machine.ts";
import type { Simulation } from "../../src/runtime/sim/simulation.ts";

/** Everything that a connection's callbacks said. */
export class Recorder implements ConnectionHandler<null> {
  readonly events: string[] = [];
  readonly chunks: Uint8Array[] = [];
  /** The chunks themselves, which nobody should keep. */
  readonly kept: Uint8Array[] = [];
  connection: Connection<null> | undefined;
  error: NetError | undefined;

  get bytes(): Uint8Array {
    return concatBytes(this.chunks);
  }

  has(event: string): boolean {
    return this.events.includes(event);
  }

  open(connection: Connection<null>): void {
    this.connection = connection;
    this.events.push("open");
  }

  data(_connection: Connection<null>, chunk: Uint8Array): void {
    this.chunks.push(chunk.slice());
    this.kept.push(chunk);
    this.events.push("data");
  }

  drain(_connection: Connection<null>): void {
    this.events.push("drain");
  }

  end(_connection: Connection<null>): void {
    this.events.push("end");
  }

  close(_connection: Connection<null>, error?: NetError): void {
    this.error = error;
    this.events.push("close");
  }
}

export const port = 7946;

export function listen(
  runtime: Runtime,
  handler: Recorder,
  more: Partial<ListenOptions<null>> = {},
): Promise<Listener> {
  return runtime.net.listen({
    address: { kind: "tcp", host: "0.0.0.0", port },
    handler,
    state: () => null,
    connectionsMax: 100,
    ...more,
  });
}

export function dial(
  runtime: Runtime,
  host: string,
  handler: Recorder,
  timeoutMs = 5000,
): Promise<Connection<null>> {
  return runtime.net.connect({
    address: { kind: "tcp", host, port },
    handler,
    state: null,
    timeoutMs,
  });
}

/** Two machines with one open connection; `near` dialled `far`. */
export interface Pair {
  readonly a: SimMachine;
  readonly b: SimMachine;
  readonly near: Recorder;
  readonly far: Recorder;
  readonly listener: Listener;
}

export async function connectPair(simulation: Simulation): Promise<Pair> {
  const a = simulation.machine("a");
  const b = simulation.machine("b");
  const near = new Recorder();
  const far = new Recorder();
  const listener = await simulation.wait(listen(b.runtime, far));
  await simulation.wait(dial(a.runtime, "b", near));
  await simulation.run({ until: () => far.has("open") });
  return { a, b, near, far, listener };
}

/** Bytes that differ from place to place. */
export function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = (Math.imul(at, 0x9e3779b1) >>> 24) & 255;
  return bytes;
}
