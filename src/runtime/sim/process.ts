/**
 * One process on a machine: the `Runtime` that a program gets, and everything that ends with it.
 * A dead process gets no callback and no answer any more, whatever its promises still wait for.
 */
import type { Child, Features, Random, Runtime } from "../port.ts";
import { SimClock } from "./clock.ts";
import type { SimConnection } from "./connection.ts";
import type { SimUdpSocket } from "./datagram.ts";
import { ProcessDisk } from "./disk.ts";
import { ExitSignal } from "./error.ts";
import type { EventCallback, Executor, SimEvent } from "./event_queue.ts";
import { SimHost } from "./host.ts";
import { SimHttp } from "./http.ts";
import type { SimListener } from "./listener.ts";
import type { SimMachine } from "./machine.ts";
import { SimNet } from "./net.ts";
import { resolvePath } from "./path.ts";
import { TraceKind } from "./trace.ts";
import { generatorFor, type World } from "./world.ts";

const features: Features = { peerCredentials: true, vsock: false, abstractSockets: true };

export interface ProcessOptions {
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly directory: string;
}

/** How a process ended. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: string | null;
}

export class SimProcess implements Executor {
  readonly machine: SimMachine;
  readonly pid: number;
  readonly options: ProcessOptions;
  readonly runtime: Runtime;
  readonly host: SimHost;
  readonly disk: ProcessDisk;
  paused = false;
  /** Runs timers and disk, but takes nothing from the network. */
  stuck = false;
  dead = false;
  readonly held: SimEvent[] = [];
  readonly connections = new Set<SimConnection<unknown>>();
  readonly listeners = new Set<SimListener<unknown>>();
  readonly udpSockets = new Set<SimUdpSocket>();
  readonly children = new Set<Child>();
  readonly #world: World;
  /** Network events that came due while stuck, in order. */
  #parked: { readonly run: EventCallback<never>; readonly argument: unknown }[] = [];
  #exit: ProcessExit | undefined;
  #onExit: ((exit: ProcessExit) => void)[] = [];

  constructor(world: World, machine: SimMachine, options: ProcessOptions) {
    this.#world = world;
    this.machine = machine;
    this.pid = machine.nextPid++;
    this.options = options;
    this.host = new SimHost(world, this);
    this.disk = new ProcessDisk(world, this, machine.disk);
    const net = new SimNet(world, this);
    this.runtime = {
      name: "sim",
      version: "1.0.0",
      features,
      net,
      http: new SimHttp(net, this),
      clock: new SimClock(world, this),
      random: new SimRandom(world, this),
      disk: this.disk,
      host: this.host,
    };
  }

  /** Keeps an event of the network for later while the process is stuck; says whether it did. */
  park<A>(run: EventCallback<A>, argument: A): boolean {
    if (!this.stuck) return false;
    this.#parked.push({ run, argument });
    return true;
  }

  unstick(): void {
    this.stuck = false;
    const parked = this.#parked;
    this.#parked = [];
    for (const { run, argument } of parked) this.#world.kernel.post(run, argument as never, this);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#world.kernel.release(this);
  }

  resolvePath(path: string): string {
    return resolvePath(this.options.directory, path);
  }

  /** Runs a program to its exit code. What it throws fails the simulation. */
  async main(program: (runtime: Runtime) => Promise<number | void> | number | void): Promise<void> {
    try {
      const code = await program(this.runtime);
      if (!this.dead) this.end({ code: code ?? 0, signal: null });
    } catch (error) {
      if (error instanceof ExitSignal || this.dead) return;
      throw error;
    }
  }

  /** The process ends; the machine lives and its kernel tidies up. */
  end(exit: ProcessExit): void {
    if (!this.#die(exit)) return;
    for (const end of this.connections) end.orphan();
    this.#forgetSockets();
    this.disk.processDied("machine-lives");
    this.machine.processEnded(this);
    for (const callback of this.#onExit) callback(exit);
  }

  /** The machine went down with everything on it. */
  vanish(): void {
    if (!this.#die({ code: null, signal: "power" })) return;
    for (const end of this.connections) end.vanish();
    this.#forgetSockets();
    this.disk.processDied("machine-dies");
  }

  /** Called at the end, unless the whole machine went down; at once when it has ended. */
  onExit(callback: (exit: ProcessExit) => void): void {
    if (this.#exit !== undefined) callback(this.#exit);
    else this.#onExit.push(callback);
  }

  #die(exit: ProcessExit): boolean {
    if (this.dead) return false;
    this.dead = true;
    this.paused = false;
    this.stuck = false;
    this.held.length = 0;
    this.#parked = [];
    this.#exit = exit;
    const code = exit.code ?? -1;
    this.#world.trace.record(TraceKind.exit, this.machine.index, this.pid, code);
    return true;
  }

  #forgetSockets(): void {
    for (const listener of this.listeners) listener.abandon();
    for (const socket of this.udpSockets) socket.release();
    this.connections.clear();
    this.listeners.clear();
    this.udpSockets.clear();
  }
}

/** Seeded by machine and process, so that a restarted node draws other bytes. */
class SimRandom implements Random {
  readonly #world: World;
  readonly #process: SimProcess;
  readonly #generator;

  constructor(world: World, process: SimProcess) {
    this.#world = world;
    this.#process = process;
    const concern = `random ${process.machine.name} ${process.pid}`;
    this.#generator = generatorFor(world.seed, concern);
  }

  fill(target: Uint8Array): void {
    this.#generator.fill(target);
    const { index } = this.#process.machine;
    this.#world.trace.record(TraceKind.random, index, this.#process.pid, target.length);
  }
}
