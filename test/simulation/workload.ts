/**
 * A small random workload for the simulator's own tests: each machine keeps a stream to every other
 * one, appends records to a log and sends datagrams, while the nemesis does what it likes. It
 * checks what TCP and a disk promise: no byte lost, doubled or swapped on a connection, no synced
 * record lost at a crash.
 */
import { assert } from "../../src/base/assert.ts";
import { Prng } from "../../src/base/prng.ts";
import type { Connection, ConnectionHandler, DiskFile, Runtime } from "../../src/runtime/port.ts";
import { roughFaults } from "../../src/runtime/sim/faults.ts";
import { createSimulation, type Simulation } from "../../src/runtime/sim/simulation.ts";

const names = ["a", "b", "c"];
const port = 7946;
const recordBytesMax = 700;

/** The byte at a place of the stream that a seed stands for. */
function patternByte(seed: number, at: number): number {
  return (Math.imul(seed ^ at, 0x9e3779b1) >>> 24) & 255;
}

/** One end of a stream: the first four bytes name the seed, then comes its pattern. */
interface StreamState {
  seed: number;
  headBytes: number;
  position: number;
}

/** Records that `sync` has answered for, by machine. They live outside of the machines. */
type Synced = Map<string, number>;

class Node {
  readonly #runtime: Runtime;
  readonly #name: string;
  readonly #synced: Synced;
  readonly #simulation: Simulation;
  readonly #random: Prng;
  readonly #streams = new Map<string, Connection<StreamState>>();
  readonly #out: ConnectionHandler<StreamState>;

  constructor(simulation: Simulation, name: string, runtime: Runtime, synced: Synced) {
    this.#simulation = simulation;
    this.#name = name;
    this.#runtime = runtime;
    this.#synced = synced;
    const seed = new Uint8Array(4);
    runtime.random.fill(seed);
    this.#random = new Prng(new DataView(seed.buffer).getUint32(0));
    this.#out = {
      open: () => {},
      data: () => assert(false, "nothing comes back on these streams"),
      drain: () => this.#simulation.mark("drain"),
      end: (connection) => connection.close(),
      close: (connection) => {
        for (const [peer, stream] of this.#streams) {
          if (stream !== connection) continue;
          this.#streams.delete(peer);
          this.#dialSoon(peer);
        }
      },
    };
  }

  async run(): Promise<number> {
    const { net, disk, clock } = this.#runtime;
    await disk.lock("/lock");
    const log = await this.#openLog();
    await net.listen({
      address: { kind: "tcp", host: "0.0.0.0", port },
      state: (): StreamState => ({ seed: 0, headBytes: 0, position: 0 }),
      connectionsMax: 100,
      handler: {
        open: () => this.#simulation.mark("accepted"),
        data: (connection, chunk) => checkPattern(connection.state, chunk),
        drain: () => {},
        end: (connection) => connection.close(),
        close: (_connection, error) => {
          if (error !== undefined) this.#simulation.mark(`closed with ${error.kind}`);
        },
      },
    });
    const udp = await net.bindUdp({
      host: "0.0.0.0",
      port,
      handler: { message: () => this.#simulation.mark("datagram"), error: () => {} },
    });
    for (const peer of names) if (peer !== this.#name) this.#dialSoon(peer);
    const tick = (round: number): void => {
      this.#sendSome();
      udp.send(new Uint8Array([round & 255]), this.#random.pick(names), port);
      clock.timer(this.#random.between(2, 20), tick, round + 1);
    };
    tick(0);
    for (;;) {
      const index = await this.#append(log);
      if (index % 3 === 0) await disk.replaceFile("/state", new Uint8Array(300).fill(index));
      await new Promise<void>((resolve) => clock.timer(this.#random.below(40), resolve, undefined));
    }
  }

  /** Reads what a crash has left: every synced record must be there, whole. */
  async #openLog(): Promise<DiskFile> {
    const { disk } = this.#runtime;
    const log = await disk.open("/log", { read: true, write: true, create: true });
    await disk.syncDirectory("/");
    const bytes = new Uint8Array(await log.size());
    await log.read(bytes, 0);
    let at = 0;
    let records = 0;
    for (;;) {
      const end = recordEnd(bytes, at, records);
      if (end === undefined) break;
      at = end;
      records++;
    }
    const synced = this.#synced.get(this.#name) ?? 0;
    assert(records >= synced, `${this.#name} has ${records} records of ${synced} synced ones`);
    if (at < bytes.length) this.#simulation.mark("torn tail");
    const state = await disk.readFile("/state", 1000).catch(() => new Uint8Array(300));
    const whole = state.length === 300 && state.every((byte) => byte === state[0]);
    assert(whole, `${this.#name} has a part of a replaced file`);
    await log.truncate(at);
    await log.sync();
    this.#synced.set(this.#name, records);
    return log;
  }

  /** Answers the number of the record. */
  async #append(log: DiskFile): Promise<number> {
    const index = this.#synced.get(this.#name) ?? 0;
    const record = new Uint8Array(this.#random.between(6, recordBytesMax));
    const view = new DataView(record.buffer);
    view.setUint16(0, record.length);
    view.setUint32(2, index);
    for (let at = 6; at < record.length; at++) record[at] = patternByte(index, at);
    await log.append(record);
    await log.sync();
    this.#synced.set(this.#name, index + 1);
    return index;
  }

  #dialSoon(peer: string): void {
    this.#runtime.clock.timer(this.#random.between(5, 50), () => void this.#dial(peer), undefined);
  }

  async #dial(peer: string): Promise<void> {
    const seed = this.#random.next();
    try {
      const stream = await this.#runtime.net.connect<StreamState>({
        address: { kind: "tcp", host: peer, port },
        handler: this.#out,
        state: { seed, headBytes: 0, position: 0 },
        timeoutMs: 2000,
      });
      this.#streams.set(peer, stream);
      this.#simulation.mark("dialled");
    } catch {
      // Refused, cut off, timed out: all the same, it is tried again.
      this.#simulation.mark("dial failed");
      this.#dialSoon(peer);
    }
  }

  #sendSome(): void {
    if (this.#streams.size === 0) return;
    const stream = this.#random.pick([...this.#streams.values()]);
    const state = stream.state;
    const bytes = new Uint8Array(this.#random.between(1, this.#random.chance(0.1) ? 9000 : 400));
    const head = new DataView(new ArrayBuffer(4));
    head.setUint32(0, state.seed);
    for (let at = 0; at < bytes.length; at++) {
      const place = state.headBytes + state.position + at;
      bytes[at] = place < 4 ? head.getUint8(place) : patternByte(state.seed, place - 4);
    }
    const taken = stream.write(bytes);
    if (taken < bytes.length) this.#simulation.mark("short write");
    const forHead = Math.min(4 - state.headBytes, taken);
    state.headBytes += forHead;
    state.position += taken - forHead;
  }
}

function recordEnd(bytes: Uint8Array, at: number, index: number): number | undefined {
  if (at + 6 > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, at);
  const end = at + view.getUint16(0);
  if (end < at + 6 || end > bytes.length || view.getUint32(2) !== index) return undefined;
  for (let place = at + 6; place < end; place++) {
    if (bytes[place] !== patternByte(index, place - at)) return undefined;
  }
  return end;
}

function checkPattern(state: StreamState, chunk: Uint8Array): void {
  let at = 0;
  for (; at < chunk.length && state.headBytes < 4; at++, state.headBytes++) {
    state.seed = ((state.seed << 8) | chunk[at]) >>> 0;
  }
  const { seed, position } = state;
  const start = at;
  for (; at < chunk.length; at++) {
    const expected = patternByte(seed, position + at - start);
    // The sentence is made only when it is needed: this loop sees every byte.
    if (chunk[at] !== expected) assert(false, `byte ${position + at - start} is ${chunk[at]}`);
  }
  state.position = position + at - start;
}

/** Runs the workload for so long and hands over the simulation. */
export async function runWorkload(seed: number, forMs: number): Promise<Simulation> {
  const simulation = createSimulation({
    seed,
    marks: ["accepted", "dialled", "dial failed", "datagram", "torn tail", "short write", "drain"],
    ...roughFaults,
    windowBytes: 16 * 1024,
    nemesis: {
      partitionEveryMs: 6000,
      oneWayCutEveryMs: 6000,
      connectionResetEveryMs: 4000,
      slowLinkEveryMs: 5000,
      stuckPeerEveryMs: 6000,
      pauseEveryMs: 6000,
      killEveryMs: 5000,
      crashEveryMs: 5000,
      powerLossEveryMs: 6000,
      clockJumpEveryMs: 5000,
      lastsMs: [100, 3000],
      machinesMax: 2,
    },
  });
  const synced: Synced = new Map();
  for (const name of names) {
    simulation.machine(name, {
      boot: (runtime) => new Node(simulation, name, runtime, synced).run(),
    });
  }
  await simulation.run({ forMs });
  return simulation;
}
